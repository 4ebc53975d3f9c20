package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/node"
)

// session runs commands in this process against one node.
type session struct {
	t    *testing.T
	node *node.Node
	now  func() time.Time
}

func (s *session) run(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	env := nodeEnv(s.node)
	var out, errs bytes.Buffer
	code = Main(ctx, &Process{
		Name: "charpoy", Args: args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Version: "1.2.3", Now: s.now,
		Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok },
	})
	return code, out.String(), errs.String()
}

// interrupting gives a clock on which 6 s pass between two looks, so that a checkpoint is due each time, and which ends
// the context at the given look.
func interrupting(at int64, cancel context.CancelFunc) func() time.Time {
	var looks atomic.Int64
	begin := time.Unix(1_700_000_000, 0)
	return func() time.Time {
		n := looks.Add(1)
		if n == at {
			cancel()
		}
		return begin.Add(time.Duration(n) * (checkpointInterval + time.Second))
	}
}

const bulkDocs = 3000

// TestImportAndExportAreResumed interrupts an import again and again until it is through, then an export likewise, and
// compares the exported documents with the imported ones.
func TestImportAndExportAreResumed(t *testing.T) {
	s := &session{t: t, node: startNode(t, "default:64MiB")}
	dir := t.TempDir()
	source := filepath.Join(dir, "in.ndjson")
	var text bytes.Buffer
	for i := range bulkDocs {
		fmt.Fprintf(&text, "{\"id\":%d,\"text\":\"document %d\"}\n", i, i)
	}
	if err := os.WriteFile(source, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	rounds := s.untilDone("import", 700, "import", source, "--key", "doc::{id}", "--workers", "8")
	if rounds < 3 {
		t.Errorf("the import was interrupted %d times, want several", rounds)
	}
	for _, name := range []string{"out.ndjson", "out.ndjson.gz"} {
		file := filepath.Join(dir, name)
		if rounds := s.untilDone("export", 500, "export", file, "--workers", "8"); rounds < 2 {
			t.Errorf("the export was interrupted %d times, want several", rounds)
		}
		compareExport(t, file)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*charpoy*"))
	if err != nil || len(left) != 0 {
		t.Errorf("checkpoints stay behind: %v, %v", left, err)
	}
}

// untilDone runs a command that is interrupted each time after some looks at the clock, and counts how often.
func (s *session) untilDone(what string, looks int64, args ...string) int {
	s.t.Helper()
	for round := range 100 {
		ctx, cancel := context.WithCancel(s.t.Context())
		s.now = interrupting(looks, cancel)
		code, _, stderr := s.run(ctx, args...)
		cancel()
		switch code {
		case exitDone:
			return round
		case exitInterrupted:
			if !strings.Contains(stderr, "same command goes on") {
				s.t.Fatalf("%s: stderr %q does not say how to go on", what, stderr)
			}
		default:
			s.t.Fatalf("%s ended with %d: %s", what, code, stderr)
		}
	}
	s.t.Fatalf("the %s makes no progress", what)
	return 0
}

// compareExport checks that a file holds each document once, as it was imported.
func compareExport(t *testing.T, file string) {
	t.Helper()
	source, err := openLines(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer source.close()
	lines, _ := all(t, source)
	seen := map[int]bool{}
	for _, line := range lines {
		d, err := exportedLine([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		id, err := strconv.Atoi(strings.TrimPrefix(d.key, "doc::"))
		if want := fmt.Sprintf(`{"id":%d,"text":"document %d"}`, id, id); err != nil || seen[id] || string(d.value) != want {
			t.Fatalf("%s: key %q, value %s (twice: %v)", file, d.key, d.value, seen[id])
		}
		seen[id] = true
	}
	if len(seen) != bulkDocs {
		t.Errorf("%s holds %d documents, want %d", file, len(seen), bulkDocs)
	}
}

// TestLaterLineWins: of two lines with one key the later one is what remains, however many workers there are.
func TestLaterLineWins(t *testing.T) {
	s := &session{t: t, node: startNode(t, "default:64MiB")}
	source := filepath.Join(t.TempDir(), "in.ndjson")
	var text bytes.Buffer
	for i := range 5000 {
		fmt.Fprintf(&text, "{\"id\":%d,\"version\":%d}\n", i%10, i)
	}
	if err := os.WriteFile(source, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := s.run(t.Context(), "import", source, "--key-field", "id"); code != exitDone {
		t.Fatalf("code %d: %s", code, stderr)
	}
	for i := range 10 {
		_, stdout, stderr := s.run(t.Context(), "kv", "get", strconv.Itoa(i))
		if want := fmt.Sprintf("{\"id\":%d,\"version\":%d}\n", i, 4990+i); stdout != want {
			t.Errorf("got %q (%s), want %q", stdout, stderr, want)
		}
	}
}
