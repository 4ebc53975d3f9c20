package store_test

import (
	"testing"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/cluster/store/storetest"
	"github.com/charpoy/charpoy/internal/disk"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return store.NewMemory() }, nil)
}

// testSolo runs the conformance test over directories of a file system.
func testSolo(t *testing.T, files disk.FS, dir func(*testing.T) string) {
	t.Helper()
	last := ""
	open := func(t *testing.T) store.Store {
		t.Helper()
		s, err := store.OpenSolo(files, last)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	storetest.Run(t, func(t *testing.T) store.Store {
		t.Helper()
		last = dir(t)
		return open(t)
	}, open)
}

func TestSoloInMemory(t *testing.T) {
	var files disk.FS
	n := 0
	files = disk.NewMemory()
	testSolo(t, files, func(t *testing.T) string {
		t.Helper()
		n++
		dir := "d" + string(rune('a'+n))
		if err := files.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	})
}

func TestSoloOnDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("two thousand transactions with a real sync each")
	}
	testSolo(t, disk.OS(), func(t *testing.T) string { t.Helper(); return t.TempDir() })
}
