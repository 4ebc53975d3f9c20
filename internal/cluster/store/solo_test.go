package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/disk/disktest"
	"github.com/charpoy/charpoy/internal/trace"
)

const testDir = "data"

func newDir(t *testing.T) disk.Memory {
	t.Helper()
	m := disk.NewMemory()
	if err := m.MkdirAll(testDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := disk.SyncDir(m, ""); err != nil {
		t.Fatal(err)
	}
	return m
}

func put(t *testing.T, s Store, value string) error {
	t.Helper()
	_, err := s.Txn(t.Context(), Txn{Puts: []Put{{Key: "k", Value: []byte(value)}, {Key: "n/" + value, Value: make([]byte, 5000)}}})
	return err
}

// A crash at any operation, with anything between none and all of what was not synced, leaves the last acknowledged state or
// the one that was being written.
func TestSoloCrash(t *testing.T) {
	const rounds = 4
	for stop := uint64(0); ; stop++ {
		files := newDir(t)
		hooked := disk.NewHooked(files)
		hooked.Judge(disk.FailFrom(stop, errors.New("the power is gone")))
		s, err := OpenSolo(hooked, testDir)
		if err != nil {
			t.Fatal(err)
		}
		acknowledged := 0
		for acknowledged < rounds && put(t, s, fmt.Sprint(acknowledged+1)) == nil {
			acknowledged++
		}
		for seed := range uint64(8) {
			checkCrash(t, files.Crash(int(seed)*100/7, seed), stop, acknowledged)
		}
		if acknowledged == rounds {
			if stop < 4*rounds {
				t.Errorf("only %d operations for %d transactions: the test does not see all of them", stop, rounds)
			}
			return
		}
	}
}

func checkCrash(t *testing.T, files disk.FS, stop uint64, acknowledged int) {
	t.Helper()
	s, err := OpenSolo(files, testDir)
	if err != nil {
		t.Fatalf("crash after %d operations: %v", stop, err)
	}
	entries, rev, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := int(rev); got != acknowledged && got != acknowledged+1 {
		t.Fatalf("crash after %d operations: revision %d, %d were acknowledged", stop, rev, acknowledged)
	}
	if rev > 0 && (len(entries) != int(rev)+1 || string(entries[0].Value) != fmt.Sprint(rev)) {
		t.Fatalf("crash after %d operations: revision %d holds %d entries, k = %s", stop, rev, len(entries), entries[0].Value)
	}
	if err := put(t, s, "after"); err != nil {
		t.Fatalf("crash after %d operations: the next transaction: %v", stop, err)
	}
}

// A transaction whose write fails at any operation is not published, and the store goes on when writing works again: a full
// disk needs no restart.
func TestSoloFailedWrite(t *testing.T) {
	for n := range uint64(12) {
		files := newDir(t)
		hooked := disk.NewHooked(files)
		s, err := OpenSolo(hooked, testDir)
		if err != nil {
			t.Fatal(err)
		}
		if err := put(t, s, "1"); err != nil {
			t.Fatal(err)
		}
		hooked.Judge(disk.FailOnce(n, disk.ErrNoSpace))
		err = put(t, s, "2")
		if err == nil {
			if n < 4 {
				t.Errorf("operation %d of a transaction may fail unnoticed", n)
			}
			continue
		}
		if !errors.Is(err, disk.ErrNoSpace) {
			t.Errorf("operation %d failed: %v", n, err)
		}
		if e, err := s.Get(t.Context(), "k"); err != nil || string(e.Value) != "1" || e.Modified != 1 {
			t.Errorf("operation %d failed: k = %+v, %v", n, e, err)
		}
		hooked.Judge(nil)
		if err := put(t, s, "3"); err != nil {
			t.Fatalf("after operation %d failed: %v", n, err)
		}
		again, err := OpenSolo(files.Crash(0, 1), testDir)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := again.Get(t.Context(), "k"); err != nil || string(e.Value) != "3" {
			t.Errorf("after operation %d failed and a crash: k = %+v, %v", n, e, err)
		}
	}
}

// What cannot be read is an error, never an empty store, and stays as it is.
func TestSoloUnreadable(t *testing.T) {
	files := newDir(t)
	path := files.PathJoin(testDir, StateFile)
	var corrupt *CorruptError
	for _, content := range []string{"", "nonsense", string(make([]byte, 100))} {
		disktest.Write(t, files, path, []byte(content))
		if _, err := OpenSolo(files, testDir); !errors.As(err, &corrupt) {
			t.Errorf("content %q: %v, want a CorruptError", content, err)
		}
		if got := disktest.Read(t, files, path); string(got) != content {
			t.Errorf("content %q has become %q", content, got)
		}
	}
	hooked := disk.NewHooked(files)
	for n := range uint64(2) { // opening, reading
		failed := errors.New("input/output error")
		hooked.Judge(disk.FailOnce(n, failed))
		if _, err := OpenSolo(hooked, testDir); !errors.Is(err, failed) {
			t.Errorf("operation %d failed: %v", n, err)
		}
	}
}

// Writing the state fires a probe, whether it succeeds or not.
func TestSoloProbe(t *testing.T) {
	if !trace.Enabled {
		t.Skip("probes are compiled out")
	}
	node := trace.NewNode()
	var got []string
	defer node.Subscribe(func(r *trace.Record) {
		got = append(got, fmt.Sprint(r.Probe, " ", r.Text("status", nil), " ", r.Value("bytes") > 0, " ", r.Value("dur") > 0))
	}, trace.MetaWrite)()
	hooked := disk.NewHooked(newDir(t))
	s, err := OpenSoloTraced(hooked, testDir, node)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, "1"); err != nil {
		t.Fatal(err)
	}
	hooked.Judge(disk.FailFrom(0, errors.New("broken")))
	if err := put(t, s, "2"); err == nil {
		t.Error("a write that failed is reported as done")
	}
	if want := []string{"meta-write ok true true", "meta-write failed true true"}; !slices.Equal(got, want) {
		t.Errorf("records %q, want %q", got, want)
	}
}
