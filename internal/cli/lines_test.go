package cli

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// all reads a source to its end.
func all(t *testing.T, s *lineSource) (lines []string, numbers []int64) {
	t.Helper()
	for {
		line, n, err := s.next()
		if errors.Is(err, io.EOF) {
			return lines, numbers
		}
		if errors.Is(err, errLongLine) {
			line = []byte("(long)")
		} else if err != nil {
			t.Fatal(err)
		}
		lines, numbers = append(lines, string(line)), append(numbers, n)
	}
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLines: lines keep their numbers over blank ones, with and without compression, whatever the file's name says.
func TestLines(t *testing.T) {
	const text = "one\r\n\n  \n{\"two\":2}\nlast"
	for name, content := range map[string][]byte{
		"plain": []byte(text), "zip-without-name": zipped(t, text), "with-name.gz": zipped(t, text),
		"members.gz": append(zipped(t, text[:10]), zipped(t, text[10:])...),
	} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openLines(file, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		lines, numbers := all(t, s)
		if strings.Join(lines, "|") != `one|{"two":2}|last` || len(numbers) != 3 || numbers[1] != 4 || numbers[2] != 5 {
			t.Errorf("%s: got %q with numbers %v", name, lines, numbers)
		}
		if s.at.Load() != s.size || s.size != int64(len(content)) {
			t.Errorf("%s: read %d of %d bytes", name, s.at.Load(), s.size)
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLongLine: a line that is too long is one bad line; the next one is read.
func TestLongLine(t *testing.T) {
	text := "a\n" + strings.Repeat("x", maxInput+lineBuffer) + "\nb\n"
	s, err := openLines("-", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	lines, numbers := all(t, s)
	if strings.Join(lines, "|") != "a|(long)|b" || numbers[1] != 2 || numbers[2] != 3 {
		t.Errorf("got %q with numbers %v", lines, numbers)
	}
}

// TestNoGzip: a file that only claims to be compressed is refused with its name.
func TestNoGzip(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.gz")
	if err := os.WriteFile(file, []byte("no gzip at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openLines(file, nil); err == nil || !strings.Contains(err.Error(), "x.gz") {
		t.Errorf("got %v", err)
	}
}

// TestExportFileResumes: an export that is cut at its checkpoint and continued is one readable file, compressed or not.
func TestExportFileResumes(t *testing.T) {
	for _, name := range []string{"x.ndjson", "x.ndjson.gz"} {
		file := filepath.Join(t.TempDir(), name)
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		e := newExportFile(f, f, strings.HasSuffix(name, ".gz"), 0)
		write(t, e, "first\n")
		size, err := e.sync()
		if err != nil {
			t.Fatal(err)
		}
		write(t, e, "written after the checkpoint, so written again\n")
		if err := e.close(); err != nil {
			t.Fatal(err)
		}
		if e, err = continueExportFile(file, size); err != nil {
			t.Fatal(err)
		}
		write(t, e, "second\n")
		if err := e.close(); err != nil {
			t.Fatal(err)
		}
		s, err := openLines(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		if lines, _ := all(t, s); strings.Join(lines, "|") != "first|second" {
			t.Errorf("%s: got %q", name, lines)
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if _, err := continueExportFile(file, 1<<20); describe(t.Context(), err).code != exitConflict {
			t.Errorf("%s: a file shorter than its checkpoint: %v", name, err)
		}
	}
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}
