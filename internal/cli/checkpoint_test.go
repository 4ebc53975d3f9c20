package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMark: a checkpoint comes back as it was written; a missing one is none; a torn one is refused with what to do.
func TestMark(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.charpoy-import")
	var got importMark
	if ok, err := loadMark(name, &got); ok || err != nil {
		t.Fatalf("missing file: %v, %v", ok, err)
	}
	want := importMark{Kind: "import", Source: "a", Sum: 1 << 63, Bucket: "b", Keys: "k", Line: 7, Docs: 6, Bytes: 99, Failed: 1}
	for range 2 { // over an older one too
		if err := saveMark(name, &want); err != nil {
			t.Fatal(err)
		}
	}
	if ok, err := loadMark(name, &got); !ok || err != nil || got != want {
		t.Errorf("got %+v, %v, %v, want %+v", got, ok, err, want)
	}
	left, err := os.ReadDir(filepath.Dir(name))
	if err != nil || len(left) != 1 {
		t.Errorf("temporary files stay behind: %v, %v", left, err)
	}
	if err := os.WriteFile(name, []byte(`{"kind":"imp`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = loadMark(name, &got)
	if f := describe(t.Context(), err); f.code != exitUsage || !strings.Contains(f.hint, "Remove the file") {
		t.Errorf("torn file: %d, %v, %q", f.code, err, f.hint)
	}
	if err := removeMark(name); err != nil {
		t.Error(err)
	}
	if err := removeMark(name); err != nil {
		t.Errorf("removing twice: %v", err)
	}
}

// TestFrontier: the frontier is the last line before which nothing is open, whatever the order in which lines finish.
func TestFrontier(t *testing.T) {
	f := frontier{done: 10}
	for _, c := range []struct{ line, want int64 }{{12, 10}, {13, 10}, {11, 13}, {15, 13}, {14, 15}} {
		if got := f.finish(c.line); got != c.want {
			t.Errorf("after line %d: %d, want %d", c.line, got, c.want)
		}
	}
	if len(f.ahead) != 0 {
		t.Errorf("%d lines are still remembered", len(f.ahead))
	}
}
