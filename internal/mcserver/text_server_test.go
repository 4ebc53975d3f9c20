package mcserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/fault"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/mctext"
	"github.com/charpoy/charpoy/internal/network"
)

// lines is a text client over the network of a world.
type lines struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

func (w *world) dialText() *lines {
	w.t.Helper()
	c, err := w.net.Dial(w.t.Context(), w.server.MemcachedAddr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return &lines{w.t, c, bufio.NewReader(c)}
}

func (l *lines) send(text string) {
	l.t.Helper()
	if _, err := io.WriteString(l.conn, text); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lines) wants(want ...string) {
	l.t.Helper()
	_ = l.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for _, w := range want {
		line, err := l.in.ReadString('\n')
		if got := strings.TrimSuffix(line, lineEnd); err != nil || got != w {
			l.t.Fatalf("got %q, %v, want %q", got, err, w)
		}
	}
}

func (l *lines) closed() {
	l.t.Helper()
	_ = l.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if b, err := l.in.ReadByte(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		l.t.Errorf("expected the connection to be closed, got %q, %v", b, err)
	}
}

// TestTextConnection: a connection over a socket, with values larger than its buffers, until its bucket is dropped.
func TestTextConnection(t *testing.T) {
	w := newPlainWorld(t)
	l := w.dialText()
	big := strings.Repeat("0123456789", 50_000)
	l.send(fmt.Sprintf("set big 3 0 %d\r\n%s\r\nget big nothing\r\n", len(big), big))
	l.wants("STORED", fmt.Sprintf("VALUE big 3 %d", len(big)), big, "END")
	l.send("mg big v s\r\nquit\r\n")
	l.wants(fmt.Sprintf("VA %d s%d", len(big), len(big)), big)
	l.closed()

	l = w.dialText()
	l.send("set big 0 0 2000000\r\n" + strings.Repeat("x", 2_000_000) + "\r\nget big\r\n")
	l.wants("SERVER_ERROR object too large for cache", "END")
	l.send(strings.Repeat("x", mctext.MaxLine+1))
	l.closed()

	l = w.dialText()
	l.send("get k\r\n")
	l.wants("END")
	w.assign.Buckets = w.assign.Buckets[1:]
	w.assign.Rev++
	w.apply()
	l.closed()
}

// TestManyKeys: a get with far more keys than a batch has, whose reply is far longer than what is held, is answered in full and
// in order, also when its line comes in crumbs.
func TestManyKeys(t *testing.T) {
	w := newPlainWorld(t)
	c := w.plain(t)
	value := strings.Repeat("v", 10_000)
	const many = 300
	line, want := []byte("get"), ""
	for i := range many {
		key := fmt.Sprintf("key-%d", i)
		if i%7 != 0 {
			c.feed(t, fmt.Appendf(nil, "set %s 0 0 %d\r\n%s\r\n", key, len(value), value))
			want += fmt.Sprintf("VALUE %s 0 %d\r\n%s\r\n", key, len(value), value)
		}
		line = fmt.Appendf(line, " %s", key)
	}
	line = append(line, "\r\nversion\r\n"...)
	want += "END\r\nVERSION " + memcachedVersion + lineEnd
	out, rest, next := c.feed(t, line)
	if string(out) != want || rest != 0 || next != needInput {
		t.Errorf("%d bytes instead of %d, %d left, %v", len(out), len(want), rest, next)
	}
	s := &textScript{conns: map[string]*conn{"c": c}, pending: map[string][]byte{}}
	out, ended := s.send(t, "c", line, true)
	if string(out) != want || ended != "" {
		t.Errorf("in crumbs: %d bytes instead of %d, %s", len(out), len(want), ended)
	}
	work := new(work)
	most := 0
	for in := line; len(in) > 0; {
		used, _ := c.step(t.Context(), work, in)
		in = in[used:]
		most = max(most, len(work.out))
		work.out = work.out[:0]
	}
	if most > writeAt+2*len(value) {
		t.Errorf("%d bytes of replies were held", most)
	}
}

// TestManyKeysFail: an error ends the reply to a list of keys; the rest of the list is not looked at, and later commands are.
func TestManyKeysFail(t *testing.T) {
	w := newPlainWorld(t)
	w.assign.Buckets[0].Rows[5].Chain = []int16{1} // is on another node
	w.assign.Buckets[0].Rows[5].Epoch++
	w.assign.Rev++
	w.apply()
	for _, ahead := range []int{0, 1, 40, 70} { // keys that are found before the one that fails: in one batch with it, or not
		c := w.plain(t)
		c.feed(t, []byte("set found 0 0 1\r\nx\r\n"))
		failing := 0
		for c.plainKey(fmt.Appendf(nil, "key-%d", failing)).VB != 5 {
			failing++
		}
		line := "get" + strings.Repeat(" found", ahead) + fmt.Sprintf(" key-%d", failing) + strings.Repeat(" found", 100) + "\r\nmn\r\n"
		want := strings.Repeat("VALUE found 0 1\r\nx\r\n", ahead) + "SERVER_ERROR Another node serves this vBucket\r\nMN\r\n"
		if out, rest, _ := c.feed(t, []byte(line)); string(out) != want || rest != 0 {
			t.Errorf("%d keys ahead: %q, %d bytes left", ahead, out, rest)
		}
	}
}

// TestCrumbs: a line that grows byte by byte is not read again with each of them.
func TestCrumbs(t *testing.T) {
	w := newPlainWorld(t)
	c := w.plain(t)
	work := new(work)
	in := []byte("get " + strings.Repeat("k ", mctext.MaxLine))
	if used, next := c.step(t.Context(), work, in); used != 0 || next != needInput || c.face.scanned != len(in) {
		t.Fatalf("%d used, %v, %d scanned of %d", used, next, c.face.scanned, len(in))
	}
	in = append(in, "k"...)
	if _, next := c.step(t.Context(), work, in); next != needInput || c.face.scanned != len(in) {
		t.Fatalf("%v, %d scanned of %d", next, c.face.scanned, len(in))
	}
	out, _, _ := c.feed(t, append(in, lineEnd...))
	if string(out) != "END\r\n" {
		t.Errorf("%q", out)
	}
	in = []byte("get" + strings.Repeat(" k", mctext.MaxKeysLine/2))
	for n := mctext.MaxLine * 2; ; n += 1 << 20 {
		if _, next := c.step(t.Context(), work, in[:min(n, len(in))]); next == hangUp {
			break
		} else if n > len(in) {
			t.Fatal("a line of any length is waited for")
		}
	}
}

// TestStrangersLine: who has not logged in cannot have a long list of keys kept.
func TestStrangersLine(t *testing.T) {
	w := newPlainWorld(t, func(o *Options) { o.MemcachedAuth = MemcachedASCII })
	in := []byte("get" + strings.Repeat(" k", maxStranger))
	if _, _, next := w.plain(t).feed(t, in[:maxStranger]); next != needInput {
		t.Errorf("%d bytes: %v", maxStranger, next)
	}
	if _, _, next := w.plain(t).feed(t, in); next != hangUp {
		t.Errorf("%d bytes are waited for: %v", len(in), next)
	}
}

// statsOf reads a group of statistics.
func (l *lines) statsOf(group string) map[string]string {
	l.t.Helper()
	l.send(strings.TrimSpace("stats "+group) + lineEnd)
	stats := map[string]string{}
	for {
		line, err := l.in.ReadString('\n')
		if err != nil {
			l.t.Fatal(err)
		}
		if line == "END\r\n" {
			return stats
		}
		words := strings.SplitN(strings.TrimSuffix(line, lineEnd), " ", 3)
		if len(words) != 3 || words[0] != "STAT" {
			l.t.Fatalf("stats %s: %q", group, line)
		}
		stats[words[1]] = words[2]
	}
}

// TestTextStats: the names that clients and exporters read are there, and the counters count.
func TestTextStats(t *testing.T) {
	w := newPlainWorld(t)
	l := w.dialText()
	l.send("set n 0 0 1\r\n5\r\nget n missing\r\nincr n 1\r\ndecr n 1\r\nincr missing 1\r\ndecr missing 1\r\ntouch n 0\r\n" +
		"touch missing 0\r\ngat 0 n\r\ncas n 0 0 1 5\r\nx\r\ncas missing 0 0 1 5\r\nx\r\nmg n v\r\nmg missing\r\nms m 1\r\nx\r\n" +
		"delete m\r\ndelete m\r\nset big 0 0 2000000\r\n" + strings.Repeat("x", 2_000_000) + "\r\nflush_all 100\r\nmn\r\n")
	l.wants("STORED", "VALUE n 0 1", "5", "END", "6", "5", "NOT_FOUND", "NOT_FOUND", "TOUCHED", "NOT_FOUND", "VALUE n 0 1", "5",
		"END", "EXISTS", "NOT_FOUND", "VA 1", "5", "EN", "HD", "DELETED", "NOT_FOUND", "SERVER_ERROR object too large for cache",
		"OK", "MN")
	got := l.statsOf("")
	for name, want := range map[string]string{
		"cmd_get": "5", "get_hits": "3", "get_misses": "2", "cmd_set": "4", "cmd_touch": "3", "touch_hits": "2",
		"touch_misses": "1", "incr_hits": "1", "incr_misses": "1", "decr_hits": "1", "decr_misses": "1", "cas_badval": "1",
		"cas_misses": "1", "cas_hits": "0", "cmd_meta": "3", "delete_hits": "1", "delete_misses": "1", "store_too_large": "1",
		"cmd_flush": "1", "curr_connections": "1", "total_connections": "1", "curr_items": "1", "version": memcachedVersion,
		"limit_maxbytes": "16777216",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	for name := range strings.FieldsSeq(`pid uptime time libevent pointer_size rusage_user rusage_system max_connections
		rejected_connections connection_structures get_expired get_flushed store_no_memory auth_cmds auth_errors bytes_read
		bytes_written accepting_conns listen_disabled_num threads conn_yields hash_power_level hash_bytes hash_is_expanding bytes
		total_items evictions reclaimed expired_unfetched evicted_unfetched evicted_active crawler_reclaimed lrutail_reflocked
		slab_global_page_pool`) {
		if _, ok := got[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	if _, err := strconv.ParseFloat(got["rusage_user"], 64); err != nil {
		t.Error(err)
	}
	if n, err := strconv.Atoi(got["bytes_read"]); err != nil || n < 2_000_000 {
		t.Errorf("%d bytes read, %v", n, err)
	}
	for group, name := range map[string]string{
		"settings": "item_size_max", "items": "items:1:number", "slabs": "active_slabs", "sizes": "sizes_status",
	} {
		if _, ok := l.statsOf(group)[name]; !ok {
			t.Errorf("stats %s has no %s", group, name)
		}
	}
	conns := l.statsOf("conns")
	if len(conns) != 4 {
		t.Errorf("conns: %v", conns)
	}
	l.send("stats bogus\r\nstats detail on\r\nstats detail dump\r\nstats detail\r\nstats reset\r\n")
	l.wants("ERROR", "OK", "END", "CLIENT_ERROR usage: stats detail on|off|dump", "RESET")
	if got := l.statsOf(""); got["cmd_get"] != "0" || got["get_hits"] != "0" {
		t.Errorf("after a reset: %v", got)
	}
}

// TestDelayedFlush: a flush with a delay is carried out although nobody comes.
func TestDelayedFlush(t *testing.T) {
	flushed := make(chan string, 1)
	w := newPlainWorld(t)
	w.server.options.Flush = func(_ context.Context, bucket string) error { flushed <- bucket; return nil }
	l := w.dialText()
	l.send("flush_all 30\r\n")
	l.wants("OK")
	w.clock.Advance(29 * time.Second)
	if err := w.server.flush.overdue(t.Context(), w.server); err != nil || len(flushed) > 0 {
		t.Fatalf("flushed too early: %d, %v", len(flushed), err)
	}
	w.clock.Advance(time.Second)
	select {
	case bucket := <-flushed:
		if bucket != "default" {
			t.Errorf("flushed %s", bucket)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("not flushed")
	}
}

// TestMemcachedAddress: addresses that other machines reach are refused without a login, and a taken default port is done
// without.
func TestMemcachedAddress(t *testing.T) {
	base := newWorld(t)
	for _, c := range []struct {
		addr string
		auth MemcachedAuth
		ok   bool
	}{
		{"127.0.0.1:0", MemcachedNone, true},
		{"[::1]:0", MemcachedNone, true},
		{"localhost:0", MemcachedNone, true},
		{"0.0.0.0:0", MemcachedNone, false},
		{":0", MemcachedNone, false},
		{"10.1.2.3:0", MemcachedNone, false},
		{"0.0.0.0:0", MemcachedSASL, true},
		{"10.1.2.3:0", MemcachedASCII, true},
	} {
		_, err := New(Options{Node: base.node, Auth: base.auth, MemcachedAddr: c.addr, MemcachedAuth: c.auth})
		if (err == nil) != c.ok {
			t.Errorf("%s, %d: %v", c.addr, c.auth, err)
		}
		if err != nil && !strings.Contains(err.Error(), "memcached-auth") {
			t.Errorf("%v does not say what to do", err)
		}
	}
	taken := network.NewMemory()
	listen := taken.Listen
	taken.Listen = func(ctx context.Context, addr string) (net.Listener, error) {
		if strings.HasSuffix(addr, ":11211") {
			return nil, syscall.EADDRINUSE
		}
		return listen(ctx, addr)
	}
	for _, optional := range []bool{true, false} {
		s, err := New(Options{
			Node: base.node, Auth: base.auth, Net: taken, Addr: "127.0.0.1:0", MemcachedAddr: "127.0.0.1:11211",
			MemcachedOptional: optional,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err = s.Listen(t.Context()); (err == nil) != optional || s.MemcachedAddr() != nil {
			t.Errorf("optional %v: %v, %v", optional, err, s.MemcachedAddr())
		}
		s.Close()
	}
}

// TestTextIntercepted: rules of test servers apply to plain memcached clients too.
func TestTextIntercepted(t *testing.T) {
	var seen []string
	rule := fault.Injection{}
	w := newPlainWorld(t, func(o *Options) {
		o.Interceptor = &fault.Interceptor{
			Before: func(op *fault.Operation) fault.Injection {
				seen = append(seen, op.Op+" "+op.Key)
				if op.Key == "bad" {
					return rule
				}
				return fault.Injection{}
			},
		}
	})
	c := w.plain(t)
	feed := func(in, want string, ends verdict) {
		t.Helper()
		out, _, next := c.feed(t, []byte(in))
		if string(out) != want || next != ends {
			t.Errorf("%q: %q, %v, want %q", in, out, next, want)
		}
	}
	feed("set a 0 0 1\r\nx\r\nget a b\r\nmn\r\n", "STORED\r\nVALUE a 0 1\r\nx\r\nEND\r\nMN\r\n", needInput)
	if got := strings.Join(seen, ","); got != "set a,get a,get b,mn " {
		t.Errorf("seen %s", got)
	}
	rule = fault.Injection{Status: uint16(mcbp.StatusTempFail)}
	feed("get bad a\r\nms bad 1\r\nx\r\n", "SERVER_ERROR This error was injected by a test\r\nSERVER_ERROR This error was injected by a test\r\n", needInput)
	rule = fault.Injection{Drop: true}
	feed("get a bad\r\nmn\r\n", "VALUE a 0 1\r\nx\r\nMN\r\n", needInput)
	rule = fault.Injection{Close: true}
	feed("mn\r\nget bad\r\nmn\r\n", "MN\r\n", hangUp)

	c = w.plain(t)
	request := func(f mcbp.Frame) []byte { return mcbp.AppendRequest(nil, &f) }
	rule = fault.Injection{Status: uint16(mcbp.StatusTempFail)}
	out, _, _ := c.feed(t, append(request(mcbp.Frame{Opcode: mcbp.OpGet, Key: []byte("bad")}), request(mcbp.Frame{Opcode: mcbp.OpNoop})...))
	f, n, err := mcbp.Decode(out)
	if err != nil || f.Status() != mcbp.StatusTempFail {
		t.Errorf("%v, %v", f.Status(), err)
	}
	if f, _, err = mcbp.Decode(out[n:]); err != nil || f.Opcode != mcbp.OpNoop {
		t.Errorf("%v, %v", f, err)
	}
	rule = fault.Injection{Drop: true}
	if out, _, _ = c.feed(t, request(mcbp.Frame{Opcode: mcbp.OpGet, Key: []byte("bad")})); len(out) > 0 {
		t.Errorf("%q", out)
	}
}

// TestDumpIsCut: a long list of documents leaves in parts, and other commands wait behind it.
func TestDumpIsCut(t *testing.T) {
	w := newPlainWorld(t)
	c := w.plain(t)
	var load []byte
	const many = 6000
	for i := range many {
		load = fmt.Appendf(load, "set key-%s-%d 0 0 1 noreply\r\nx\r\n", strings.Repeat("x", 40), i)
	}
	c.feed(t, load)
	work := new(work)
	in := []byte("lru_crawler metadump all\r\nversion\r\n")
	var out []byte
	parts := 0
	for next := goOn; next != needInput; {
		var used int
		used, next = c.step(t.Context(), work, in)
		in = in[used:]
		if len(work.out) > writeAt+4096 {
			t.Fatalf("%d bytes at once", len(work.out))
		}
		out = append(out, work.out...)
		work.out = work.out[:0]
		parts++
	}
	if n := strings.Count(string(out), "key=key-"); n != many || !strings.HasSuffix(string(out), "END\r\nVERSION "+memcachedVersion+lineEnd) || parts < 4 {
		t.Errorf("%d documents in %d parts, the end is %q", n, parts, out[len(out)-60:])
	}
}
