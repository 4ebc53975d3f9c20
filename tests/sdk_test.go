// Package tests looks at a built server from outside: real SDK programs against every kind of server.
package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/tests/server"
)

// TestExamples runs the example programs against servers with and without a disk, over plain sockets and TLS. The
// programs check every answer and every error themselves and end with a code other than 0 at the first difference.
func TestExamples(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	binary, err := server.Build(ctx, "..", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	goProgram := buildGo(t, ctx)
	nodeProgram := prepareNode(t, ctx)
	for _, kind := range []string{"memory", "disk"} {
		var args []string
		if kind == "disk" {
			args = []string{"--data", t.TempDir()}
		}
		for _, transport := range []string{"plain", "tls"} {
			for name, program := range map[string][]string{"go": goProgram, "node": nodeProgram} {
				t.Run(kind+"/"+transport+"/"+name, func(t *testing.T) {
					s, err := server.StartTestServer(ctx, binary, args...)
					if err != nil {
						t.Fatal(err)
					}
					runProgram(t, ctx, s, program, kind, transport)
					if err := s.Stop(40 * time.Second); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func runProgram(t *testing.T, ctx context.Context, s *server.Process, program []string, kind, transport string) {
	t.Helper()
	address := s.ConnectionString
	args := append([]string{}, program[1:]...)
	if transport == "tls" {
		address = fmt.Sprintf("couchbases://127.0.0.1:%d", s.KVTLS)
		ca := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(ca, []byte(s.CA), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--ca", ca)
	}
	args = append(args, "--connect", address, "--user", s.User, "--bucket", "default")
	if kind == "memory" {
		args = append(args, "--ephemeral")
	}
	cmd := exec.CommandContext(ctx, program[0], args...)
	cmd.Env = append(os.Environ(), "CHARPOY_PASSWORD="+s.Password)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Errorf("%s: %v\n%s\nserver:\n%s", strings.Join(args, " "), err, out.String(), s.Log())
		return
	}
	t.Log(out.String())
}

func buildGo(t *testing.T, ctx context.Context) []string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "example")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	cmd.Dir = filepath.Join("..", "examples", "go")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the Go example: %v\n%s", err, out)
	}
	return []string{binary}
}

// prepareNode installs the Node.js SDK. Not `npm ci`: the lock file lists the builds of some systems only.
func prepareNode(t *testing.T, ctx context.Context) []string {
	t.Helper()
	dir := filepath.Join("..", "examples", "node")
	cmd := exec.CommandContext(ctx, "npm", "install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("install the Node.js SDK: %v\n%s", err, out)
	}
	return []string{"node", filepath.Join(dir, "main.js")}
}
