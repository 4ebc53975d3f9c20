package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/tests/server"
)

// TestControlFromNode: a Node.js program drives faults, time, snapshots, stalls and restarts of a test server through its
// control channel, with and without a disk. It checks itself what comes of each.
func TestControlFromNode(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	binary, err := server.Build(ctx, "..", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("..", "examples", "testing-node")
	npm := exec.CommandContext(ctx, "npm", "install", "--no-save", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("install the Node.js SDK: %v\n%s", err, out)
	}
	for name, args := range map[string][]string{"memory": nil, "disk": {"--data", t.TempDir()}} {
		t.Run(name, func(t *testing.T) {
			program := exec.CommandContext(ctx, "node", append([]string{filepath.Join(dir, "main.js"), "--binary", binary}, args...)...)
			out, err := program.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("%s", out)
		})
	}
}

// TestControlOfAProcess: the URL in the line works, ends with the process, and is left out when nobody wants it.
func TestControlOfAProcess(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	binary, err := server.Build(ctx, "..", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.StartTestServer(ctx, binary, "--docs", docs(t))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(method, path, body string) map[string]any {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, method, s.Control+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		out := map[string]any{}
		if err != nil || json.Unmarshal(text, &out) != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s, %v, %s", method, path, answer.Status, err, text)
		}
		return out
	}
	if got := ask(http.MethodGet, "/doc?bucket=default&key=lamp", ""); got["key"] != "lamp" {
		t.Errorf("the document of --docs: %v", got)
	}
	if got := ask(http.MethodPost, "/advance", `{"seconds":3600}`); got["expired"] != 1.0 {
		t.Errorf("expired: %v", got)
	}
	if err := s.Stop(40 * time.Second); err != nil {
		t.Error(err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Control, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if answer, err := http.DefaultClient.Do(r); err == nil {
		answer.Body.Close()
		t.Error("the control channel has outlived its server")
	}
	quiet, err := server.StartTestServer(ctx, binary, "--no-control")
	if err != nil {
		t.Fatal(err)
	}
	if quiet.Control != "" {
		t.Errorf("a control channel that nobody wanted: %s", quiet.Control)
	}
	if err := quiet.Stop(40 * time.Second); err != nil {
		t.Error(err)
	}
}

// docs makes a directory for --docs: one document that stays and one that expires within the hour.
func docs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"lamp.json": `{"price":20}`, "sessions.ndjson": `{"key":"s","value":1,"expiry":60}` + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestGoTestingExample runs the tests of the example that uses charpoytest with gocb.
func TestGoTestingExample(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-count=1", "./...")
	cmd.Dir = filepath.Join("..", "examples", "go-testing")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}
