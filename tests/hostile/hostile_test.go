package hostile

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/tests/server"
)

const (
	attackLimit    = 2 * time.Minute  // for each attack: far above what any needs
	bystanderLimit = 20 * time.Second // for an operation of the bystander: the machine may be slow, the server must not hang
	stopLimit      = 30 * time.Second
	memoryLimit    = "192MiB" // GOMEMLIMIT of the server
)

// attacks are run at once against one server.
var attacks = []struct {
	name string
	run  func(*testing.T, *target)
}{
	{"half a frame", halfFrames},
	{"announces 4 GiB", hugeAnnouncements},
	{"announces 20 MiB a thousand times", manyAnnouncements},
	{"does not read", doesNotRead},
	{"wrong passwords", wrongPasswords},
	{"a million requests at once", endlessPipeline},
	{"garbage", garbage},
	{"slow HTTP", slowHTTP},
	{"huge HTTP", hugeHTTP},
	{"ten thousand idle connections", idleConnections},
	{"memcached: lines without an end", endlessLines},
	{"memcached: announces 4 GiB", hugeItems},
	{"memcached: does not read", doesNotReadText},
	{"memcached: a million commands at once", endlessCommands},
	{"memcached: garbage", garbageText},
}

func TestHostileClients(t *testing.T) {
	for _, kind := range []struct {
		name  string
		flags []string
		bound int64 // of the server's resident memory at its highest, bytes
	}{
		{"as shipped", nil, 512 << 20},
		{"race detector", []string{"-race"}, 2560 << 20}, // its shadow memory is several times what the program uses
	} {
		t.Run(kind.name, func(t *testing.T) { attack(t, kind.bound, kind.flags...) })
	}
}

func attack(t *testing.T, bound int64, flags ...string) {
	idles := idle(t)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	binary, err := server.Build(ctx, "../..", t.TempDir(), flags...)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOMEMLIMIT", memoryLimit)
	t.Setenv("GORACE", "halt_on_error=1 exitcode=66")
	process, err := server.StartTestServer(ctx, binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(process.Kill)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server wrote:\n%s", process.Log())
		}
	})
	s := &target{process, ctx, idles}
	before := s.memory(t, "VmRSS")

	working, stop := context.WithCancel(ctx)
	var bystander sync.WaitGroup
	var done int
	var unwell error
	bystander.Go(func() { done, unwell = s.bystander(working) })
	t.Run("attacks", func(t *testing.T) {
		for _, a := range attacks {
			t.Run(a.name, func(t *testing.T) { t.Parallel(); a.run(t, s) })
		}
	})
	stop()
	bystander.Wait()
	if unwell != nil || done == 0 {
		t.Errorf("the bystander suffered after %d operations: %v", done, unwell)
	}
	peak := s.memory(t, "VmHWM")
	t.Logf("resident memory %d MiB before, %d MiB at its highest; the bystander did %d operations", before>>20, peak>>20, done)
	if peak > bound {
		t.Errorf("the server used up to %d MiB, more than %d MiB", peak>>20, bound>>20)
	}
	if err := process.Stop(stopLimit); err != nil {
		t.Errorf("the server did not end well: %v\n%s", err, process.Log())
	}
	if strings.Contains(process.Log(), "panic") {
		t.Errorf("the server panicked:\n%s", process.Log())
	}
}

// together runs f n times at once and waits for all.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// halfFrames leaves connections open in the middle of a frame, before and after the login. They may stay: they must only not
// disturb anybody. One of them goes on in the end and is served.
func halfFrames(t *testing.T, s *target) {
	set := mcbp.Frame{Opcode: mcbp.OpSet, Key: []byte("half"), Extras: make([]byte, 8), Value: make([]byte, 100_000)}
	whole := mcbp.AppendRequest(nil, &set)
	var last *attacker
	for i := range 300 {
		s.dial(t, s.KV)                           // silent
		s.dial(t, s.KV).raw(whole[:1+i%23])       // within the header
		last = s.enter(t)                         //
		last.raw(whole[:mcbp.HeaderLen+1+i*7%90]) // within the body
	}
	last.raw(whole[mcbp.HeaderLen+1+299*7%90:])
	last.want(mcbp.StatusSuccess)
}

// hugeAnnouncements says that 4 GiB follow, or just more than a frame may have. The server must hang up, not wait or allocate.
func hugeAnnouncements(t *testing.T, s *target) {
	head := mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpSet, Key: []byte("k"), Extras: make([]byte, 8)})
	for _, size := range []uint32{0xffffffff, 1 << 31, 30<<20 + 1} {
		binary.BigEndian.PutUint32(head[8:], size)
		for range 50 {
			stranger, known := s.dial(t, s.KV), s.enter(t)
			stranger.raw(head)
			known.raw(head)
			stranger.wantClosed(attackLimit)
			known.wantClosed(attackLimit)
		}
	}
}

// manyAnnouncements says on 1000 connections that a document of 20 MiB follows, which is allowed, and sends a little of it.
func manyAnnouncements(t *testing.T, s *target) {
	set := mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpSet, Key: []byte("k"), Extras: make([]byte, 8)})
	binary.BigEndian.PutUint32(set[8:], 20<<20)
	set = append(set, make([]byte, 1000)...)
	for range 1000 {
		s.enter(t).raw(set)
	}
}

// doesNotRead asks for far more than socket buffers hold and does not read. The server stops reading, holds no more than one
// round of replies, and hangs up when its time for a write is over.
func doesNotRead(t *testing.T, s *target) {
	const size, gets = 1 << 20, 64
	a := s.enter(t)
	set := mcbp.Frame{Opcode: mcbp.OpSet, Key: []byte("large"), Extras: make([]byte, 8), Value: make([]byte, size)}
	a.send(set)
	a.want(mcbp.StatusSuccess)
	var requests []byte
	for range gets {
		requests = mcbp.AppendRequest(requests, &mcbp.Frame{Opcode: mcbp.OpGet, Key: []byte("large")})
	}
	leaveUnread(t, s, s.enter, requests, gets*size)
}

// leaveUnread sends requests on many connections and reads nothing for longer than the server waits with a write, which only
// time can show from outside. What comes then must not be all of the replies.
func leaveUnread(t *testing.T, s *target, connect func(testing.TB) *attacker, requests []byte, all int64) {
	readers := make([]*attacker, 40)
	for i := range readers {
		readers[i] = connect(t)
		readers[i].raw(requests)
	}
	timer := time.NewTimer(35 * time.Second) // the server's time for a write is 30 s
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
	for i, r := range readers {
		if n, err := io.Copy(io.Discard, r.in); n >= all {
			t.Errorf("reader %d, which had not read for 35 s, got all %d bytes (%v)", i, n, err)
		}
	}
}

// wrongPasswords tries passwords on many connections, for users that exist and that do not.
func wrongPasswords(t *testing.T, s *target) {
	attackers := make([]*attacker, 480)
	for i := range attackers {
		attackers[i] = s.dial(t, s.KV)
	}
	together(16, func(i int) {
		for n := range 30 {
			a := attackers[16*n+i]
			user := fmt.Sprintf("user-%d-%d", i, n%3)
			for range 4 {
				a.send(mcbp.Frame{Opcode: mcbp.OpSASLAuth, Key: []byte("PLAIN"), Value: []byte("\x00" + user + "\x00wrong")})
				f, err := a.reply()
				if err != nil {
					break // the server may have enough of it
				}
				if mcbp.Status(f.VB) != mcbp.StatusAuthError {
					t.Errorf("a wrong password got status %v", mcbp.Status(f.VB))
				}
			}
			a.Close()
		}
	})
}

// endlessPipeline sends a million requests without waiting for replies. All are answered, in order.
func endlessPipeline(t *testing.T, s *target) {
	a := s.enter(t)
	a.pipeline(func(dst []byte, i int) []byte {
		return mcbp.AppendRequest(dst, &mcbp.Frame{Opcode: mcbp.OpGet, Key: []byte("missing"), Opaque: uint32(i)})
	}, func(i int) {
		f, err := a.reply()
		if err != nil || f.Opaque != uint32(i) || mcbp.Status(f.VB) != mcbp.StatusNotFound {
			t.Fatalf("reply %d: opaque %d, status %v, %v", i, f.Opaque, mcbp.Status(f.VB), err)
		}
	})
}

// garbage sends what is not the protocol at all: random bytes, HTTP, TLS. The server hangs up, at the latest when the client
// does.
func garbage(t *testing.T, s *target) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		b := make([]byte, 1+r.IntN(5000))
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		switch i % 3 {
		case 0:
			b = append([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), b...)
		case 1:
			b = append([]byte{22, 3, 1, 2, 0, 1}, b...)
		}
		a := s.dial(t, s.KV)
		_, _ = a.Write(b) // the server may have hung up already
		if i%3 != 2 {     // random bytes may look like the beginning of a frame
			a.wantClosed(attackLimit)
		}
	}
}

// slowHTTP holds connections of the management port open with requests that never end.
func slowHTTP(t *testing.T, s *target) {
	for range 500 {
		s.dial(t, s.Mgmt).raw([]byte("GET /pools HTTP/1.1\r\nHost: x\r\nX-Slow: "))
	}
	a := s.dial(t, s.Mgmt)
	a.raw([]byte("GET /pools HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
	if line, err := a.in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 ") {
		t.Errorf("an ordinary request beside slow ones got %q, %v", line, err)
	}
}

// hugeHTTP sends headers and bodies without an end to the management port. The server refuses and hangs up.
func hugeHTTP(t *testing.T, s *target) {
	junk := []byte(strings.Repeat("a", 64<<10))
	for _, head := range []string{
		"GET /pools HTTP/1.1\r\nHost: x\r\nX-Long: ",
		"POST /pools/default/buckets HTTP/1.1\r\nHost: x\r\nContent-Length: 4294967296\r\n\r\n",
	} {
		a := s.dial(t, s.Mgmt)
		a.raw([]byte(head))
		sent := 0
		for ; sent < 256<<20; sent += len(junk) {
			if _, err := a.Write(junk); err != nil {
				break
			}
		}
		if sent >= 256<<20 {
			t.Errorf("the server has taken %d bytes after %q", sent, head)
		}
	}
}

const (
	idleCount  = 10_000
	otherFiles = 4000 // open at most for everything else
)

// idleConnections opens 10 000 connections that have logged in and are silent, and uses some of them at the end.
func idleConnections(t *testing.T, s *target) {
	all := make([]*attacker, s.idles)
	for i := range all {
		all[i] = s.enter(t)
	}
	for _, i := range []int{0, len(all) / 2, len(all) - 1} {
		all[i].send(mcbp.Frame{Opcode: mcbp.OpNoop})
		all[i].want(mcbp.StatusSuccess)
	}
}

// endlessLines sends a command line that never ends, and one of a million keys. The server hangs up instead of keeping it.
func endlessLines(t *testing.T, s *target) {
	junk := []byte(strings.Repeat("a", 64<<10))
	for _, begin := range []string{"set ", "get ", "", "mg "} {
		a := s.dial(t, s.Memcached)
		a.raw([]byte(begin))
		sent := 0
		for ; sent < 256<<20; sent += len(junk) {
			if _, err := a.Write(junk); err != nil {
				break
			}
		}
		if sent >= 256<<20 {
			t.Errorf("the server has taken %d bytes of a line after %q", sent, begin)
		}
	}
}

// hugeItems announces items that are not allowed, sends a little or all of a moderate one, and goes on: refused, swallowed, and
// the connection stays in step.
func hugeItems(t *testing.T, s *target) {
	for _, size := range []string{"4294967295", "2147483647", "99999999999999999999", "-1"} {
		a := s.dial(t, s.Memcached)
		a.raw([]byte("set huge 0 0 " + size + "\r\n"))
		line, err := a.in.ReadString('\n')
		if err != nil || !strings.Contains(line, "ERROR") {
			t.Errorf("a set of %s bytes was answered with %q, %v", size, line, err)
		}
	}
	a := s.dial(t, s.Memcached)
	a.raw([]byte("set huge 0 0 8388608\r\n"))
	a.raw(make([]byte, 8<<20))
	a.raw([]byte("\r\nmn\r\n"))
	for _, want := range []string{"SERVER_ERROR object too large for cache\r\n", "MN\r\n"} {
		if line, err := a.in.ReadString('\n'); err != nil || line != want {
			t.Errorf("got %q, %v; want %q", line, err, want)
		}
	}
}

// doesNotReadText is doesNotRead with one command for many large documents, which fits into one packet.
func doesNotReadText(t *testing.T, s *target) {
	const size, gets = 900_000, 100
	a := s.dial(t, s.Memcached)
	a.raw(fmt.Appendf(nil, "set large-text 0 0 %d\r\n%s\r\n", size, strings.Repeat("v", size)))
	if line, err := a.in.ReadString('\n'); err != nil || line != "STORED\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	many := []byte("get" + strings.Repeat(" large-text", gets) + "\r\n")
	leaveUnread(t, s, func(t testing.TB) *attacker { return s.dial(t, s.Memcached) }, many, gets*size)
}

// endlessCommands is endlessPipeline with commands of the meta protocol.
func endlessCommands(t *testing.T, s *target) {
	a := s.dial(t, s.Memcached)
	a.pipeline(func(dst []byte, i int) []byte { return fmt.Appendf(dst, "mg missing O%d\r\n", i) }, func(i int) {
		line, err := a.in.ReadString('\n')
		if want := fmt.Sprintf("EN O%d\r\n", i); err != nil || line != want {
			t.Fatalf("reply %d: %q, %v", i, line, err)
		}
	})
}

// garbageText sends random bytes to the port that decides by the first of them what is spoken.
func garbageText(t *testing.T, s *target) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 300 {
		b := make([]byte, 1+r.IntN(5000))
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		if i%2 == 0 {
			b[0] = 0x80
		}
		a := s.dial(t, s.Memcached)
		_, _ = a.Write(b) // the server may have hung up already
	}
	a := s.dial(t, s.Memcached)
	a.raw([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	a.wantClosed(attackLimit)
}
