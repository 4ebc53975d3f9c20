// Package server builds the charpoy binary and runs it as a separate process, for black-box tests, the crash test and the
// benchmarks. What it starts it ends: by closing the standard input of a test server, by a signal, or by killing it.
//
// A Process belongs to one goroutine, but for Exited, Log and Kill, which any may call.
package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Ready is the line that a server prints when a key-value operation would succeed.
type Ready struct {
	KV               int    `json:"kv"`
	KVTLS            int    `json:"kv_tls"`
	Mgmt             int    `json:"mgmt"`
	MgmtTLS          int    `json:"mgmt_tls"`
	Views            int    `json:"views"`
	Memcached        int    `json:"memcached"`
	User             string `json:"user"`
	Password         string `json:"password"`
	ConnectionString string `json:"connection_string"`
	CA               string `json:"ca"`
	PID              int    `json:"pid"`
	Control          string `json:"control"` // of a test server
}

// Build compiles the command of the module rooted at root into dir, with further flags for the compiler, and returns the
// binary's path. The flag -race needs a C compiler; every other binary is static.
func Build(ctx context.Context, root, dir string, flags ...string) (string, error) {
	binary := filepath.Join(dir, "charpoy")
	args := append([]string{"build", "-trimpath", "-o", binary}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/charpoy")...)
	cmd.Dir = root
	cgo := "CGO_ENABLED=0"
	if slices.Contains(flags, "-race") {
		cgo = "CGO_ENABLED=1"
	}
	cmd.Env = append(os.Environ(), cgo)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
}

// Process is a running server.
type Process struct {
	Ready
	cmd    *exec.Cmd
	end    func() error // asks for the end, in order
	done   chan struct{}
	waited error // belongs to whoever has seen done closed
	log    logBuffer
}

// StartTestServer starts `charpoy test-server` with further arguments and waits for its line.
func StartTestServer(ctx context.Context, binary string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(binary, append([]string{"test-server", "--print-json"}, args...)...), done: make(chan struct{})}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.end = stdin.Close
	lines := make(chan []byte, 1)
	return p.start(ctx, lines, func() {
		line, err := bufio.NewReader(stdout).ReadBytes('\n')
		if err == nil {
			lines <- line
		}
		_, _ = io.Copy(io.Discard, stdout)
	})
}

// readyPause is how often the file of --ready-json is looked for.
const readyPause = 10 * time.Millisecond

// StartServe starts `charpoy serve` with further arguments and waits until it is ready. The password is that of the first
// start in a directory.
func StartServe(ctx context.Context, binary, password string, args ...string) (*Process, error) {
	dir, err := os.MkdirTemp("", "charpoy-ready-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "ready.json")
	p := &Process{cmd: exec.Command(binary, append([]string{"serve", "--ready-json", file}, args...)...), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "CHARPOY_PASSWORD="+password)
	p.end = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	lines := make(chan []byte, 1)
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		for waiting.Err() == nil {
			content, err := os.ReadFile(file) // it appears at once as a whole
			if err == nil {
				lines <- content
				return
			}
			time.Sleep(readyPause)
		}
	}()
	if p, err = p.start(ctx, lines, func() {}); err == nil {
		p.Password = password // the file has it only if it was made up
	}
	return p, err
}

// start runs the binary and waits for its ready line. read ends when the process has closed its standard output.
func (p *Process) start(ctx context.Context, lines <-chan []byte, read func()) (*Process, error) {
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		read()
		p.waited = p.cmd.Wait()
		close(p.done)
	}()
	var err error
	select {
	case line := <-lines:
		err = json.Unmarshal(line, &p.Ready)
	case <-p.done:
		err = errors.New("it ended")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		p.Kill()
		return nil, fmt.Errorf("the server did not become ready: %w; it wrote:\n%s", err, p.log.String())
	}
	return p, nil
}

// Kill ends the process at once, as a crash does, and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Stop ends the process in order and waits until it has; an error if it ended with a code other than 0 or not within limit.
func (p *Process) Stop(limit time.Duration) error {
	_ = p.end() // an error says that it has ended
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.Kill()
		return fmt.Errorf("the server did not stop within %s; it wrote:\n%s", limit, p.log.String())
	}
	if p.waited != nil {
		return fmt.Errorf("the server ended badly: %w; it wrote:\n%s", p.waited, p.log.String())
	}
	return nil
}

// Exited is closed when the process has ended, for whatever reason.
func (p *Process) Exited() <-chan struct{} { return p.done }

// ExitCode of a process that has ended; −1 if a signal ended it.
func (p *Process) ExitCode() int {
	var exit *exec.ExitError
	switch {
	case p.waited == nil:
		return 0
	case errors.As(p.waited, &exit):
		return exit.ExitCode()
	}
	return -1
}

// Log is what the server wrote to its standard error so far.
func (p *Process) Log() string { return p.log.String() }

// logBuffer keeps the last part of what is written to it.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

const keptLog = 1 << 20

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf.Len()+len(b) > keptLog {
		l.buf.Reset()
	}
	return l.buf.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}
