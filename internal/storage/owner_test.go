package storage_test

import (
	"testing"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/storage"
)

// TestOwner: nobody at first, then who was written, also after a crash that keeps only what was synced.
func TestOwner(t *testing.T) {
	fs := disk.NewMemory()
	db, err := storage.Open(storage.Options{Dir: "docs", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	if owner, err := db.Owner(); owner != "" || err != nil {
		t.Errorf("owner of a new store: %q, %v", owner, err)
	}
	if err := db.SetOwner("cluster-1"); err != nil {
		t.Fatal(err)
	}
	crashed := fs.Crash(0, 1)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db, err = storage.Open(storage.Options{Dir: "docs", FS: crashed})
	if err != nil {
		t.Fatal(err)
	}
	if owner, err := db.Owner(); owner != "cluster-1" || err != nil {
		t.Errorf("owner after a crash: %q, %v", owner, err)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
