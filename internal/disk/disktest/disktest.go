// Package disktest holds file systems to what the product expects of them, and has the means to damage files in tests.
package disktest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/disk"
)

// Run checks a file system in dir, an existing empty directory.
func Run(t *testing.T, fs disk.FS, dir string) {
	t.Run("files", func(t *testing.T) { files(t, fs, dir) })
	t.Run("names", func(t *testing.T) { names(t, fs, dir) })
	t.Run("absence", func(t *testing.T) { absence(t, fs, dir) })
	t.Run("lock", func(t *testing.T) { lock(t, fs, dir) })
}

// files writes a file, appends to it in place, and reads it back whole and in part.
func files(t *testing.T, fs disk.FS, dir string) {
	path := fs.PathJoin(dir, "file")
	Write(t, fs, path, []byte("0123456789"))
	f, err := fs.OpenReadWrite(path, disk.Own)
	check(t, err)
	_, err = f.WriteAt([]byte("abc"), 4)
	check(t, err)
	check(t, f.SyncData())
	check(t, f.Close())
	if got := Read(t, fs, path); string(got) != "0123abc789" {
		t.Errorf("read %q, want 0123abc789", got)
	}
	f, err = fs.Open(path)
	check(t, err)
	defer f.Close()
	part := make([]byte, 4)
	if _, err := f.ReadAt(part, 3); err != nil || string(part) != "3abc" {
		t.Errorf("ReadAt = %q, %v", part, err)
	}
	if n, err := f.ReadAt(part, 8); n != 2 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadAt over the end = %d, %v; want 2, EOF", n, err)
	}
	info, err := f.Stat()
	check(t, err)
	if info.Size() != 10 {
		t.Errorf("size %d, want 10", info.Size())
	}
	Write(t, fs, path, []byte("new"))
	if got := Read(t, fs, path); string(got) != "new" {
		t.Errorf("after Create: %q, want new", got)
	}
	all := make([]byte, 10)
	if n, _ := f.ReadAt(all, 0); n != 10 || string(all) != "0123abc789" {
		t.Errorf("the open file changed to %q when another of its name was made", all[:n])
	}
}

// names renames over another file, links, lists and removes.
func names(t *testing.T, fs disk.FS, dir string) {
	sub := fs.PathJoin(dir, "one", "two")
	check(t, fs.MkdirAll(sub, 0o755))
	check(t, fs.MkdirAll(sub, 0o755))
	a, b, c := fs.PathJoin(sub, "a"), fs.PathJoin(sub, "b"), fs.PathJoin(sub, "c")
	Write(t, fs, a, []byte("A"))
	Write(t, fs, b, []byte("B"))
	check(t, fs.Rename(a, b))
	check(t, fs.Link(b, c))
	check(t, disk.SyncDir(fs, sub))
	got, err := fs.List(sub)
	check(t, err)
	slices.Sort(got)
	if strings.Join(got, " ") != "b c" {
		t.Errorf("listed %q, want b c", got)
	}
	if got := Read(t, fs, c); string(got) != "A" {
		t.Errorf("the link holds %q, want A", got)
	}
	check(t, fs.Remove(b))
	if got := Read(t, fs, c); string(got) != "A" {
		t.Errorf("the link holds %q after its twin went, want A", got)
	}
	if !disk.IsDirectory(fs, sub) || disk.IsDirectory(fs, c) {
		t.Error("IsDirectory confuses files and directories")
	}
	check(t, fs.RemoveAll(fs.PathJoin(dir, "one")))
	if disk.IsDirectory(fs, sub) {
		t.Error("RemoveAll left a directory")
	}
	if fs.PathBase(sub) != "two" || fs.PathBase(fs.PathDir(sub)) != "one" {
		t.Errorf("path %q is taken apart into %q and %q", sub, fs.PathBase(sub), fs.PathDir(sub))
	}
}

// absence: what is not there is said to be so in the way that the standard library's errors compare to.
func absence(t *testing.T, f disk.FS, dir string) {
	none := f.PathJoin(dir, "none")
	_, open := f.Open(none)
	_, stat := f.Stat(none)
	for op, err := range map[string]error{"Open": open, "Stat": stat, "Remove": f.Remove(none)} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of nothing = %v, want fs.ErrNotExist", op, err)
		}
	}
}

// lock: a directory is locked once, and again after it was let go.
func lock(t *testing.T, fs disk.FS, dir string) {
	own := fs.PathJoin(dir, "locked")
	first, err := disk.LockDir(fs, own)
	check(t, err)
	if _, err := disk.LockDir(fs, own); !errors.Is(err, disk.ErrInUse) {
		t.Errorf("locking twice = %v, want ErrInUse", err)
	}
	check(t, first.Close())
	again, err := disk.LockDir(fs, own)
	check(t, err)
	check(t, again.Close())
}

// Write makes a file with the content and syncs it and its directory.
func Write(t testing.TB, fs disk.FS, path string, content []byte) {
	t.Helper()
	f, err := fs.Create(path, disk.Own)
	check(t, err)
	_, err = f.Write(bytes.Clone(content))
	check(t, err)
	check(t, f.Sync())
	check(t, f.Close())
	check(t, disk.SyncDir(fs, fs.PathDir(path)))
}

// Read gives the content of a file.
func Read(t testing.TB, fs disk.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	check(t, err)
	defer f.Close()
	content, err := io.ReadAll(f)
	check(t, err)
	return content
}

// Flip inverts one bit of the byte at offset of a file, for good: what a failing disk or memory does.
func Flip(t testing.TB, fs disk.FS, path string, offset int64) {
	t.Helper()
	content := Read(t, fs, path)
	f, err := fs.OpenReadWrite(path, disk.Own)
	check(t, err)
	_, err = f.WriteAt([]byte{content[offset] ^ 0x10}, offset)
	check(t, err)
	check(t, f.Sync())
	check(t, f.Close())
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
