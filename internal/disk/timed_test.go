package disk_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/disk"
)

// Timed tells of writes and syncs with their size and time, of what failed on the disk, and of nothing else.
func TestTimed(t *testing.T) {
	broken := errors.New("broken")
	var judged disk.Kind
	below := disk.NewHooked(disk.NewMemory())
	below.Judge(func(op disk.Op) disk.Verdict {
		if op.Kind == judged {
			return disk.Verdict{Err: broken}
		}
		if op.Kind == disk.Sync {
			return disk.Verdict{Delay: 2 * time.Millisecond}
		}
		return disk.Verdict{}
	})
	type told struct {
		kind   disk.Kind
		size   int
		timed  bool
		failed bool
	}
	var got []told
	var synced time.Duration
	fs := disk.Timed(below, func(op disk.Op, took time.Duration, err error) {
		got = append(got, told{op.Kind, op.Size, took > 0, err != nil})
		if op.Kind == disk.Sync {
			synced = took
		}
	})
	f, err := fs.Create("a", disk.Category(""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Open("none"); err == nil {
		t.Fatal("there is no such file")
	}
	for _, judged = range []disk.Kind{disk.Write, disk.Sync, disk.Remove} {
		_, _ = f.Write([]byte("x"))
		_ = f.Sync()
		_ = fs.Remove("a")
	}
	want := []told{
		{disk.Write, 5, true, false},
		{disk.Sync, 0, true, false},
		{disk.Write, 0, true, true},
		{disk.Sync, 0, true, false},
		{disk.Write, 1, true, false},
		{disk.Sync, 0, true, true},
		{disk.Write, 1, true, false},
		{disk.Sync, 0, true, false},
		{disk.Remove, 0, false, true},
	}
	if !slices.Equal(got, want) {
		t.Errorf("told\n%+v\nwant\n%+v", got, want)
	}
	if synced < 2*time.Millisecond {
		t.Errorf("a sync of 2 ms took %v", synced)
	}
}
