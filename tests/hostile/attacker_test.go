package hostile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/tests/server"
)

// target is the server under attack.
type target struct {
	*server.Process
	ctx   context.Context
	idles int // connections that are silent
}

func (s *target) address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// attacker is a connection that does as it likes. All of it ends with the test.
type attacker struct {
	net.Conn
	in *bufio.Reader
	t  testing.TB
}

func (s *target) dial(t testing.TB, port int) *attacker {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(s.ctx, "tcp", s.address(port))
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(attackLimit)); err != nil {
		t.Fatal(err)
	}
	return &attacker{Conn: c, in: bufio.NewReaderSize(c, 512), t: t}
}

// enter logs in and selects the bucket: what an attacker with a stolen password does.
func (s *target) enter(t testing.TB) *attacker {
	t.Helper()
	a := s.dial(t, s.KV)
	a.send(mcbp.Frame{Opcode: mcbp.OpSASLAuth, Key: []byte("PLAIN"), Value: []byte("\x00" + s.User + "\x00" + s.Password)})
	a.want(mcbp.StatusSuccess)
	a.send(mcbp.Frame{Opcode: mcbp.OpSelectBucket, Key: []byte("default")})
	a.want(mcbp.StatusSuccess)
	return a
}

func (a *attacker) send(f mcbp.Frame) {
	a.t.Helper()
	a.raw(mcbp.AppendRequest(nil, &f))
}

func (a *attacker) raw(b []byte) {
	a.t.Helper()
	if _, err := a.Write(b); err != nil {
		a.t.Fatalf("write: %v", err)
	}
}

// reply reads one response frame.
func (a *attacker) reply() (mcbp.Frame, error) {
	head := make([]byte, mcbp.HeaderLen)
	if _, err := io.ReadFull(a.in, head); err != nil {
		return mcbp.Frame{}, err
	}
	size, err := mcbp.Size(head)
	if err != nil {
		return mcbp.Frame{}, err
	}
	frame := append(head, make([]byte, size-len(head))...)
	if _, err := io.ReadFull(a.in, frame[mcbp.HeaderLen:]); err != nil {
		return mcbp.Frame{}, err
	}
	var f mcbp.Frame
	_, err = f.Decode(frame)
	return f, err
}

func (a *attacker) want(status mcbp.Status) {
	a.t.Helper()
	f, err := a.reply()
	if err != nil {
		a.t.Fatalf("no reply: %v", err)
	}
	if got := mcbp.Status(f.VB); got != status {
		a.t.Fatalf("%v: status %v, want %v: %s", f.Opcode, got, status, f.Value)
	}
}

// wantClosed reads until the server closes, which it must do within limit.
func (a *attacker) wantClosed(limit time.Duration) {
	a.t.Helper()
	_ = a.SetReadDeadline(time.Now().Add(limit))
	if _, err := io.Copy(io.Discard, a.in); errors.Is(err, os.ErrDeadlineExceeded) {
		a.t.Errorf("the server has kept the connection for %v", limit)
	}
}

// pipelined is how many requests pipeline sends.
const pipelined = 1_000_000

// pipeline sends a million requests while it reads their replies. request appends one to dst, reply reads one and checks it.
func (a *attacker) pipeline(request func(dst []byte, i int) []byte, reply func(i int)) {
	_ = a.SetDeadline(time.Now().Add(2 * attackLimit))
	var writing sync.WaitGroup
	defer writing.Wait()
	writing.Go(func() {
		var batch []byte
		for i := range pipelined {
			batch = request(batch, i)
			if len(batch) > 1<<20 || i == pipelined-1 {
				if _, err := a.Write(batch); err != nil {
					a.t.Errorf("write: %v", err)
					return
				}
				batch = batch[:0]
			}
		}
	})
	for i := range pipelined {
		reply(i)
	}
}

// bystander is an ordinary client: it works all the time on one connection and opens new ones now and then, and nothing may
// go wrong for it. It returns how many operations it has done.
func (s *target) bystander(ctx context.Context) (int, error) {
	dial := func() (*client.Conn, error) {
		return client.Dial(s.ctx, client.Options{Addr: s.address(s.KV), User: s.User, Password: s.Password, Bucket: "default"})
	}
	c, err := dial()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	n := 0
	for ; ctx.Err() == nil; n++ {
		if err := s.exchange(c, n); err != nil {
			return n, err
		}
		if n%100 == 0 {
			other, err := dial()
			if err != nil {
				return n, fmt.Errorf("a new connection: %w", err)
			}
			err = s.exchange(other, n)
			other.Close()
			if err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// exchange writes a document and reads it back.
func (s *target) exchange(c *client.Conn, n int) error {
	ctx, cancel := context.WithTimeout(s.ctx, bystanderLimit)
	defer cancel()
	key, value := "bystander-"+strconv.Itoa(n%50), strconv.Itoa(n)
	if _, err := c.Set(ctx, key, []byte(value), client.With{}); err != nil {
		return fmt.Errorf("set %s: %w", key, err)
	}
	got, err := c.Get(ctx, key, client.With{})
	if err != nil {
		return fmt.Errorf("get %s: %w", key, err)
	}
	if string(got.Value) != value {
		return fmt.Errorf("get %s: %q, want %q", key, got.Value, value)
	}
	return nil
}

// memory reads a figure of the server's /proc status, in bytes.
func (s *target) memory(t testing.TB, name string) int64 {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no %s in the process's status", name)
	return 0
}

// idle says how many idle connections this machine lets the test and the server have beside those of the other attacks:
// idleCount, unless the limit of open files is low. Too few would show nothing, so that fails the test.
func idle(t testing.TB) int {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n := idleCount
	if room := int64(limit.Cur) - otherFiles; room < idleCount {
		n = int(room)
		t.Logf("only %d idle connections: %d open files are allowed", n, limit.Cur)
	}
	if n < idleCount/10 {
		t.Fatalf("%d open files are allowed; %d are needed: raise `ulimit -n`", limit.Cur, idleCount/10+otherFiles)
	}
	return n
}
