package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/config"
	"github.com/google/go-cmp/cmp"
)

// update rewrites the golden files.
var update = flag.Bool("update", false, "rewrite testdata/help")

// TestHelp compares the help of every command with its golden file, so that a change of the library or of a flag is seen
// in review.
func TestHelp(t *testing.T) {
	t.Setenv("COLUMNS", "80")
	for _, command := range []string{
		"", "serve", "demo", "dev", "test-server", "kv get", "kv set", "kv incr", "kv lock", "kv ls", "import", "export",
		"bucket", "bucket create", "bucket delete", "user", "user put", "stats", "metrics", "slow", "bench", "config", "completion", "version",
	} {
		code, got, stderr := outcome(t, nil, append(strings.Fields(command), "--help")...)
		if code != exitDone || stderr != "" {
			t.Errorf("%s --help: code %d, stderr %q", command, code, stderr)
		}
		file := filepath.Join("testdata", "help", strings.ReplaceAll("charpoy "+command, " ", "-")+".txt")
		golden(t, strings.TrimSuffix(file, "-.txt"), got)
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if !strings.HasSuffix(file, ".txt") {
		file += ".txt"
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test ./internal/cli -run TestHelp -update rewrites it):\n%s", file, diff)
	}
}

// TestServeHasEverySetting: the flags of serve and config are those of the table of settings, and none is a secret.
func TestServeHasEverySetting(t *testing.T) {
	for _, command := range []string{"serve", "config"} {
		_, help, _ := outcome(t, nil, command, "--help")
		for _, s := range config.All() {
			if has := strings.Contains(help, "--"+s.Name+"="); has != s.Flag {
				t.Errorf("%s --%s: in the help: %v, want %v", command, s.Name, has, s.Flag)
			}
		}
	}
}

// TestPasswordIsNoFlag: no command takes a password as an argument, where every user of the machine could see it.
func TestPasswordIsNoFlag(t *testing.T) {
	a := &app{Process: &Process{Name: "charpoy", Args: []string{"completion", "bash"}, Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}, ctx: t.Context()}
	if err := a.run(); err != nil {
		t.Fatal(err)
	}
	for _, l := range levelsOf(a.parser.Model.Node, "", a.parser.Model.Flags) {
		for _, f := range l.valued {
			if strings.Contains(f, "pass") || strings.Contains(f, "secret") {
				t.Errorf("charpoy %s takes %s", l.path, f)
			}
		}
	}
}
