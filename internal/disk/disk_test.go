package disk_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/disk/disktest"
)

func TestOS(t *testing.T) { disktest.Run(t, disk.OS(), t.TempDir()) }

func TestMemory(t *testing.T) { disktest.Run(t, disk.NewMemory(), "") }

func TestHooked(t *testing.T) { disktest.Run(t, disk.NewHooked(disk.NewMemory()), "") }

func TestFence(t *testing.T) {
	fs := disk.NewFence(disk.NewMemory(), disk.FenceOptions{})
	disktest.Run(t, fs, "")
	disktest.Write(t, fs, "kept", []byte("kept"))
	f, err := fs.Create("open", disk.Own)
	if err != nil {
		t.Fatal(err)
	}
	over := errors.New("over")
	fs.Shut(over)
	fs.Shut(errors.New("a later error"))
	_, write := f.Write([]byte("x"))
	_, create := fs.Create("new", disk.Own)
	for op, err := range map[string]error{
		"Write": write, "Sync": f.Sync(), "Create": create, "Remove": fs.Remove("kept"), "Rename": fs.Rename("kept", "x"),
		"Link": fs.Link("kept", "x"), "MkdirAll": fs.MkdirAll("d", 0o755),
	} {
		if !errors.Is(err, over) {
			t.Errorf("%s behind the fence = %v, want the error that it was shut with", op, err)
		}
	}
	if got := disktest.Read(t, fs, "kept"); string(got) != "kept" {
		t.Errorf("read %q behind the fence", got)
	}
}

// TestFenceShutsItself: a vital operation that fails seems to succeed, its owner is told, and nothing is changed after it.
func TestFenceShutsItself(t *testing.T) {
	memory := disk.NewMemory()
	below := disk.NewHooked(memory)
	broken := errors.New("broken")
	var met []string
	fs := disk.NewFence(below, disk.FenceOptions{
		Vital:  func(op disk.Op) bool { return strings.HasSuffix(op.Path, ".log") || op.Kind == disk.SyncDirectory },
		Broken: func(op disk.Op, err error) { met = append(met, op.Path+" "+err.Error()) },
	})
	disktest.Write(t, fs, "a.log", []byte("a"))
	f, err := fs.OpenReadWrite("a.log", disk.Own)
	if err != nil {
		t.Fatal(err)
	}
	below.Judge(disk.FailOnce(0, broken, disk.Write))
	if n, err := f.WriteAt([]byte("b"), 0); n != 1 || err != nil {
		t.Errorf("the vital write that failed = %d, %v; want 1, nil", n, err)
	}
	if n, err := f.WriteAt([]byte("c"), 0); n != 1 || err != nil {
		t.Errorf("a later vital write = %d, %v; want 1, nil", n, err)
	}
	disktest.Write(t, disk.FS(fs), "b.log", []byte("b")) // succeeds, and makes nothing
	if _, err := fs.Create("other", disk.Own); !errors.Is(err, broken) {
		t.Errorf("another file = %v, want the error", err)
	}
	if names, err := memory.List(""); len(names) != 1 || err != nil {
		t.Errorf("the file system holds %q, %v; want a.log", names, err)
	}
	if got := disktest.Read(t, fs, "a.log"); string(got) != "a" {
		t.Errorf("a.log holds %q, want a", got)
	}
	if len(met) != 1 || met[0] != "a.log broken" {
		t.Errorf("told %q", met)
	}
}

// TestCrash: a crash keeps what was synced, and of the rest nothing or all.
func TestCrash(t *testing.T) {
	fs := disk.NewMemory()
	disktest.Write(t, fs, "synced", []byte("synced"))
	f, err := fs.OpenReadWrite("synced", disk.Own)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("SYN"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := fs.Create("unsynced", disk.Own); err != nil {
		t.Fatal(err)
	}
	for percent, want := range map[int]string{0: "synced", 100: "SYNced unsynced"} {
		c := fs.Crash(percent, 1)
		names, err := c.List("")
		if err != nil {
			t.Fatal(err)
		}
		got := string(disktest.Read(t, c, "synced"))
		if len(names) == 2 {
			got += " unsynced"
		}
		if got != want {
			t.Errorf("crash with %d %% of the unsynced data: %q, want %q", percent, got, want)
		}
	}
}

// TestJudge: operations fail, tear and are delayed as the judge says, also on files that were open before.
func TestJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := disk.NewHooked(disk.NewMemory())
		f, err := fs.Create("f", disk.Own)
		if err != nil {
			t.Fatal(err)
		}
		fs.Judge(func(op disk.Op) disk.Verdict {
			switch op.Kind {
			case disk.Write:
				return disk.Verdict{Err: disk.ErrNoSpace, Torn: 3}
			case disk.Sync:
				return disk.Verdict{Delay: time.Minute}
			}
			return disk.Verdict{}
		})
		if n, err := f.Write([]byte("abcdef")); n != 3 || !errors.Is(err, disk.ErrNoSpace) {
			t.Errorf("torn write = %d, %v; want 3 and no space", n, err)
		}
		begin := time.Now()
		if err := f.Sync(); err != nil || time.Since(begin) != time.Minute {
			t.Errorf("slow sync = %v after %v", err, time.Since(begin))
		}
		fs.Judge(nil)
		if got := disktest.Read(t, fs, "f"); string(got) != "abc" {
			t.Errorf("file holds %q, want abc", got)
		}
	})
}

// TestFailures counts operations until the one that fails.
func TestFailures(t *testing.T) {
	broken := errors.New("broken")
	outcome := func(judge func(disk.Op) disk.Verdict) string {
		fs := disk.NewHooked(disk.NewMemory())
		fs.Judge(judge)
		var b strings.Builder
		for range 4 {
			if err := fs.MkdirAll("d", 0o755); err != nil {
				b.WriteString("x")
			} else {
				b.WriteString(".")
			}
			if _, err := fs.Stat("d"); err != nil {
				b.WriteString("s")
			}
		}
		return b.String()
	}
	if got := outcome(disk.FailFrom(2, broken)); got != "..xx" {
		t.Errorf("FailFrom(2): %s", got)
	}
	if got := outcome(disk.FailOnce(2, broken, disk.Mkdir)); got != "..x." {
		t.Errorf("FailOnce(2, Mkdir): %s", got)
	}
	if got := outcome(disk.FailOnce(1, broken)); got != ".s..." {
		t.Errorf("FailOnce(1): %s", got)
	}
}

// TestFree: a wrapper can claim any space; a file system in memory knows none.
func TestFree(t *testing.T) {
	fs := disk.NewHooked(disk.NewMemory())
	if free, total, err := disk.Free(fs, ""); free != 0 || total != 0 || err != nil {
		t.Errorf("memory: %d, %d, %v; want zeros", free, total, err)
	}
	fs.SetUsage(&disk.Usage{AvailBytes: 7, TotalBytes: 10})
	if free, total, err := disk.Free(fs, ""); free != 7 || total != 10 || err != nil {
		t.Errorf("claimed: %d, %d, %v; want 7, 10", free, total, err)
	}
	if free, total, err := disk.Free(disk.OS(), t.TempDir()); free == 0 || total < free || err != nil {
		t.Errorf("machine: %d, %d, %v", free, total, err)
	}
}

// TestWatched: an operation that takes too long is reported with its file.
func TestWatched(t *testing.T) {
	fs := disk.NewHooked(disk.NewMemory())
	slow := make(chan disk.Slow, 16)
	watched, stop := disk.Watched(fs, 10*time.Millisecond, func(s disk.Slow) {
		select {
		case slow <- s:
		default:
		}
	})
	defer stop.Close()
	release := make(chan struct{})
	fs.Judge(func(op disk.Op) disk.Verdict {
		if op.Kind == disk.Mkdir {
			<-release
		}
		return disk.Verdict{}
	})
	done := make(chan error)
	go func() { done <- watched.MkdirAll("d", 0o755) }()
	if got := <-slow; got.Path != "d" || got.For < 10*time.Millisecond {
		t.Errorf("reported %+v", got)
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestMakeDirSurvives: a directory that MakeDir made, with its parents, is there after a crash that keeps only what was
// synced.
func TestMakeDirSurvives(t *testing.T) {
	fs := disk.NewMemory()
	for range 2 { // the second call finds it
		if err := disk.MakeDir(fs, "a/b/c"); err != nil {
			t.Fatal(err)
		}
	}
	if crashed := fs.Crash(0, 1); !disk.IsDirectory(crashed, "a/b/c") {
		t.Error("the directory is gone")
	}
}
