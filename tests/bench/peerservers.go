package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/loadgen"
)

const (
	peerBucket   = "bench"
	peerUser     = "Administrator"
	peerQuota    = "3GiB"
	peerMiB      = 3 << 10 // the same for memcached
	startPatient = 60 * time.Second
	stopPatient  = 20 * time.Second
)

// peer is a server that this program has started.
type peer struct {
	name     string
	cmd      *exec.Cmd
	log      strings.Builder
	done     chan struct{} // closed when the process has ended
	waited   error         // belongs to whoever has seen done closed
	addr     string
	textAddr string // of the port of plain memcached; empty: none
	tlsAddr  string
	tls      *tls.Config
	user     string
	bucket   string
	scratch  string // directory to remove at the end
}

// launch starts a process on the given CPUs, or on all if there are none.
func (p *peer) launch(cpus []int, env []string, binary string, args ...string) error {
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	if err := startOn(cpus, p.cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.done = make(chan struct{})
	go func() {
		p.waited = p.cmd.Wait()
		close(p.done)
	}()
	return nil
}

// await asks again and again until the server is ready, or has ended, or time is up.
func (p *peer) await(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startPatient)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %w\n%s", p.name, p.waited, p.log.String())
		case <-ctx.Done():
			return fmt.Errorf("%s does not become ready: %w", p.name, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop ends the process, in order if it does so in time, and removes what it has left.
func (p *peer) stop() error {
	if p.cmd == nil || p.done == nil {
		return nil
	}
	_ = p.cmd.Process.Signal(os.Interrupt) // an error says that it has ended
	select {
	case <-p.done:
	case <-time.After(stopPatient):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	if p.scratch == "" {
		return nil
	}
	return os.RemoveAll(p.scratch)
}

func (p *peer) pid() int { return p.cmd.Process.Pid }

func listens(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
}

func loopbackAddr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// find looks for a program of Debian's packages.
func find(program, pkg string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s is not installed; try: apt-get install -y %s (or leave it out with -servers)", program, pkg)
	}
	return path, nil
}

// startMemcached starts memcached with so many threads. perEvent is how many requests of one connection it takes before it
// answers and turns to others.
func startMemcached(ctx context.Context, cpus []int, threads, perEvent int) (*peer, error) {
	binary, err := find("memcached", "memcached")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p := &peer{name: "memcached", addr: loopbackAddr(port)}
	p.textAddr = p.addr
	args := []string{
		"-U", "0", "-l", "127.0.0.1", "-p", strconv.Itoa(port), "-t", strconv.Itoa(threads), "-m", strconv.Itoa(peerMiB), "-c", "20000",
		"-R", strconv.Itoa(perEvent),
	}
	if os.Getuid() == 0 {
		args = append(args, "-u", "nobody")
	}
	if err := p.launch(cpus, nil, binary, args...); err != nil {
		return nil, err
	}
	if err := p.await(ctx, listens(p.addr)); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// startRedis starts redis without persistence.
func startRedis(ctx context.Context, cpus []int) (*peer, error) {
	binary, err := find("redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "charpoy-redis-")
	if err != nil {
		return nil, err
	}
	p := &peer{name: "redis", addr: loopbackAddr(port), scratch: dir}
	err = p.launch(cpus, nil, binary, "--port", strconv.Itoa(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := p.await(ctx, listens(p.addr)); err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// readyFile is what a node writes when it is ready; only what is needed here.
type readyFile struct {
	KV    int    `json:"kv"`
	KVTLS int    `json:"kv_tls"`
	CA    string `json:"ca"`
}

// charpoyOptions say how a node is started.
type charpoyOptions struct {
	name       string
	binary     string
	persistent bool
	procs      int
	cpus       []int
}

// startCharpoy starts a node with one bucket.
func startCharpoy(ctx context.Context, o charpoyOptions) (*peer, error) {
	dir, err := os.MkdirTemp("", "charpoy-peer-")
	if err != nil {
		return nil, err
	}
	p := &peer{name: o.name, scratch: dir, user: peerUser, bucket: peerBucket}
	bucket := peerBucket + ":" + peerQuota
	if !o.persistent {
		bucket += ":ephemeral"
	}
	ready := filepath.Join(dir, "ready.json")
	args := []string{
		"serve", "--data", filepath.Join(dir, "data"), "--bind", "127.0.0.1", "--buckets", bucket, "--kv-port", "0", "--kv-tls-port", "0",
		"--http-port", "0", "--http-tls-port", "0", "--views-port", "0", "--log-level", "error", "--ready-json", ready,
	}
	if hasMemcachedPort(ctx, o.binary) {
		port, err := freePort()
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		p.textAddr = loopbackAddr(port)
		args = append(args, "--memcached-port", strconv.Itoa(port), "--memcached-bucket", peerBucket)
	}
	env := []string{"CHARPOY_PASSWORD=" + benchPassword}
	if o.procs > 0 {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(o.procs))
	}
	if err := p.launch(o.cpus, env, o.binary, args...); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	var got readyFile
	err = p.await(ctx, func(context.Context) error {
		content, err := os.ReadFile(ready) // it appears at once as a whole
		if err != nil {
			return err
		}
		return json.Unmarshal(content, &got)
	})
	if err == nil {
		err = p.reachable(ctx, got)
	}
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	return p, nil
}

// reachable notes the addresses of a node and waits until its bucket serves.
func (p *peer) reachable(ctx context.Context, got readyFile) error {
	p.addr, p.tlsAddr = loopbackAddr(got.KV), loopbackAddr(got.KVTLS)
	roots := x509.NewCertPool()
	if roots.AppendCertsFromPEM([]byte(got.CA)) {
		p.tls = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return p.await(ctx, func(ctx context.Context) error {
		c, err := loadgen.Dial(ctx, p.aim(loadgen.Options{}))
		if err != nil {
			return err
		}
		return c.Close()
	})
}

// aim sets in options where a server is and who asks, for the binary protocol of its main port.
func (p *peer) aim(o loadgen.Options) loadgen.Options {
	o.Addr, o.User, o.Bucket, o.ServerPID = p.addr, p.user, p.bucket, p.pid()
	if p.user != "" {
		o.Password = benchPassword
	}
	return o
}

// hasMemcachedPort reports whether a binary has the port of plain memcached.
func hasMemcachedPort(ctx context.Context, binary string) bool {
	help, err := exec.CommandContext(ctx, binary, "serve", "--help").Output()
	return err == nil && strings.Contains(string(help), "--memcached-port")
}

// versionOf runs a program that prints its version.
func versionOf(ctx context.Context, binary string, args ...string) string {
	out, err := exec.CommandContext(ctx, binary, args...).Output()
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

// machineInfo says what the figures were measured on.
type machineInfo struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Kernel   string            `json:"kernel"`
	THP      string            `json:"transparent_huge_pages"`
	Versions map[string]string `json:"versions"`
}

// firstLine gives the first line of a file that begins with prefix.
func firstLine(file, prefix string) string {
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), prefix) {
			return lines.Text()
		}
	}
	return ""
}
