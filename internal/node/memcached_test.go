package node_test

import (
	"bufio"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/node"
)

// memcached is a text connection to a node's memcached port.
type memcached struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (r *running) memcached(t *testing.T) *memcached {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", r.Ports().Memcached))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &memcached{t, c, bufio.NewReader(c)}
}

// wants sends a command and holds the lines of the answer against what is wanted.
func (m *memcached) wants(command string, want ...string) {
	m.t.Helper()
	_ = m.conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := fmt.Fprintf(m.conn, "%s\r\n", command); err != nil {
		m.t.Fatal(err)
	}
	for _, w := range want {
		line, err := m.in.ReadString('\n')
		if err != nil || strings.TrimRight(line, "\r\n") != w {
			m.t.Errorf("%q: %q, %v, want %q", command, line, err, w)
		}
	}
}

// until repeats a command until its answer is the line that is wanted.
func (m *memcached) until(command, want string) {
	m.t.Helper()
	_ = m.conn.SetDeadline(time.Now().Add(20 * time.Second))
	for {
		if _, err := fmt.Fprintf(m.conn, "%s\r\n", command); err != nil {
			m.t.Fatalf("no %q: %v", want, err)
		}
		line, err := m.in.ReadString('\n')
		if err != nil {
			m.t.Fatalf("no %q: %v", want, err)
		}
		if strings.TrimRight(line, "\r\n") == want {
			return
		}
	}
}

// TestMemcached: what a plain memcached client stores, SDKs read, and it is there after a restart. A bucket is emptied and
// resized from there only if that is allowed.
func TestMemcached(t *testing.T) {
	dir := t.TempDir()
	n := start(t, node.Options{Settings: settings(t, dir)})
	m := n.memcached(t)
	m.wants("set k 7 0 7\r\n{\"a\":1}", "STORED")
	if d, err := n.dial(t, "default").Get(t.Context(), "k", client.With{}); err != nil || string(d.Value) != `{"a":1}` || d.Flags != 7 || !d.JSON() {
		t.Errorf("read %+v, %v", d, err)
	}
	m.wants("flush_all", "CLIENT_ERROR flush_all not allowed")
	m.wants("cache_memlimit 100", "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust")
	m.wants("get k", "VALUE k 7 7", `{"a":1}`, "END")
	if err := n.stop(); err != nil {
		t.Fatal(err)
	}

	n = start(t, node.Options{Settings: settings(t, dir)})
	m = n.memcached(t)
	m.wants("get k", "VALUE k 7 7", `{"a":1}`, "END")
	if err := n.rest(t).UpdateBucket(t.Context(), "default", url.Values{"flushEnabled": {"1"}}); err != nil {
		t.Fatal(err)
	}
	m.until("flush_all", "OK") // the data plane learns of the setting a moment later
	m.wants("get k", "END")
	m.wants("set k 7 0 1\r\nx", "STORED")
	m.wants("get k", "VALUE k 7 1", "x", "END")
}

// TestMemcachedPortIsTaken: a node whose default port another program has goes on without; one whose port somebody chose says
// what to do.
func TestMemcachedPortIsTaken(t *testing.T) {
	var l net.ListenConfig
	other, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := settings(t, "")
	s.MemcachedPort = other.Addr().(*net.TCPAddr).Port
	if _, err := node.Open(t.Context(), node.Options{Settings: s}); err == nil || !strings.Contains(err.Error(), "--memcached-port") {
		t.Errorf("a taken port: %v", err)
	}
	s.MemcachedGiven = false
	if n := start(t, node.Options{Settings: s}); n.Ports().Memcached != 0 {
		t.Errorf("port %d", n.Ports().Memcached)
	}
}
