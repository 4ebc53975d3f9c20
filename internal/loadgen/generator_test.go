package loadgen

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// everyWay runs f with each protocol on each engine.
func everyWay(t *testing.T, f func(*testing.T, Protocol, bool)) {
	for _, p := range Protocols() {
		for _, plain := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s plain=%v", p, plain), func(t *testing.T) { f(t, p, plain) })
		}
	}
}

// TestLifeOfALoad: every protocol on every engine loads all keys, reads back what it wrote, and deletes it; all that was asked
// was answered and counted once.
func TestLifeOfALoad(t *testing.T) {
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		s := &toy{protocol: p}
		addr := s.serve(t, nil)
		w := newTestWorkload(t, WorkloadOptions{GetShare: 0.5, ValueBytes: []int{5, 100, 3000}})
		g := newTestGenerator(t, w, Options{Addr: addr, Protocol: p, Plain: plain, Conns: 3, Depth: 7, Ops: 4000, Verify: true})
		if err := g.Preload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.size() != w.Keys() || g.Done() != uint64(w.Keys()) {
			t.Fatalf("after the preload %d documents and %d operations, want %d", s.size(), g.Done(), w.Keys())
		}
		r, err := g.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r.Ops != 4000 || r.Misses != 0 || r.Errors != 0 || g.Done() != 4300 {
			t.Errorf("result %v, done %d; want 4000 operations, all well", r, g.Done())
		}
		if r.P50 <= 0 || r.P50 > r.P99 || r.P99 > r.Max || r.Max.Seconds() > r.Seconds || len(r.Curve) == 0 {
			t.Errorf("latencies do not fit together: %+v", r)
		}
		if err := g.Cleanup(t.Context()); err != nil || s.size() != 0 {
			t.Errorf("after the cleanup %d documents, error %v; want none", s.size(), err)
		}
		if err := g.Cleanup(t.Context()); err != nil {
			t.Errorf("cleanup of nothing: %v", err)
		}
	})
}

// TestMisses: reads of keys that are not there are misses and no errors.
func TestMisses(t *testing.T) {
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		addr := (&toy{protocol: p}).serve(t, nil)
		w := newTestWorkload(t, WorkloadOptions{GetShare: 1})
		g := newTestGenerator(t, w, Options{Addr: addr, Protocol: p, Plain: plain, Conns: 2, Depth: 5, Ops: 501, Verify: true})
		r, err := g.Run(t.Context())
		if err != nil || r.Ops != 501 || r.Misses != 501 || r.Errors != 0 {
			t.Errorf("%v, error %v; want 501 misses", r, err)
		}
	})
}

// TestPieces: replies that arrive in pieces are put together, wherever they are cut.
func TestPieces(t *testing.T) {
	for _, piece := range []int{1, 3, 23, 25} {
		for _, verify := range []bool{false, true} {
			everyWay(t, func(t *testing.T, p Protocol, plain bool) {
				addr := (&toy{protocol: p, piece: piece}).serve(t, nil)
				w := newTestWorkload(t, WorkloadOptions{Keys: 20, GetShare: 0.7, ValueBytes: []int{40}})
				g := newTestGenerator(t, w, Options{Addr: addr, Protocol: p, Plain: plain, Conns: 2, Depth: 4, Ops: 200, Verify: verify})
				if err := g.Preload(t.Context()); err != nil {
					t.Fatal(err)
				}
				r, err := g.Run(t.Context())
				if err != nil || r.Ops != 200 || r.Misses+r.Errors != 0 {
					t.Errorf("%v, error %v; want 200 operations, all well", r, err)
				}
			})
		}
	}
}

// TestLargeBatches: batches that no socket takes at once, to a server that does not read on while its replies are not read.
func TestLargeBatches(t *testing.T) {
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		addr := (&toy{protocol: p}).serve(t, nil)
		w := newTestWorkload(t, WorkloadOptions{Keys: 100, GetShare: 0.5, Values: JSON, ValueBytes: []int{40_000}})
		g := newTestGenerator(t, w, Options{Addr: addr, Protocol: p, Plain: plain, Conns: 2, Depth: 400, Ops: 1600, Verify: true})
		if err := g.Preload(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := g.Run(t.Context())
		if err != nil || r.Ops != 1600 || r.Misses+r.Errors != 0 {
			t.Errorf("%v, error %v; want 1600 operations, all well", r, err)
		}
	})
}

// TestHangUp: a server that closes a connection midway ends the run with ErrClosed; what was answered before is counted.
func TestHangUp(t *testing.T) {
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		addr := (&toy{protocol: p, hangUp: 100}).serve(t, nil)
		g := newTestGenerator(t, newTestWorkload(t, WorkloadOptions{GetShare: 0.5}), Options{
			Addr: addr, Protocol: p, Plain: plain, Conns: 1, Depth: 3, Duration: time.Minute,
		})
		most := uint64(100)
		if p == ASCIIMulti { // an answer may be that to a whole batch
			most *= 3
		}
		r, err := g.Run(t.Context())
		if !errors.Is(err, ErrClosed) || r.Ops < 50 || r.Ops > most {
			t.Errorf("%d operations, error %v; want nearly %d and ErrClosed", r.Ops, err, most)
		}
	})
}

// TestSilence: a server that does not answer ends the run with ErrStalled.
func TestSilence(t *testing.T) {
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		addr := (&toy{protocol: p, silent: true}).serve(t, nil)
		g := newTestGenerator(t, newTestWorkload(t, WorkloadOptions{}), Options{
			Addr: addr, Protocol: p, Plain: plain, Conns: 2, Stall: 30 * time.Millisecond, Duration: time.Minute,
		})
		if r, err := g.Run(t.Context()); !errors.Is(err, ErrStalled) || r.Ops != 0 {
			t.Errorf("%v, error %v; want ErrStalled", r, err)
		}
	})
}

// TestCancel: the end of the context ends a run, also one that waits for a server that says nothing, with its cause.
func TestCancel(t *testing.T) {
	why := errors.New("enough")
	for _, silent := range []bool{false, true} {
		everyWay(t, func(t *testing.T, p Protocol, plain bool) {
			ctx, cancel := context.WithCancelCause(t.Context())
			addr := (&toy{protocol: p, silent: silent, before: func(n int) {
				if n == 20 {
					cancel(why)
				}
			}}).serve(t, nil)
			g := newTestGenerator(t, newTestWorkload(t, WorkloadOptions{}), Options{
				Addr: addr, Protocol: p, Plain: plain, Conns: 2, Depth: 20, Duration: time.Minute,
			})
			if _, err := g.Run(ctx); !errors.Is(err, why) {
				t.Errorf("error %v, want %v", err, why)
			}
		})
	}
}

// TestMalformed: replies that cannot be end the run with ErrProtocol, at once.
func TestMalformed(t *testing.T) {
	head := func(magic, opcode byte, rest string) string { return string([]byte{magic, opcode}) + rest }
	zeros := strings.Repeat("\x00", 22)
	replies := map[Protocol][]string{
		Binary:      {head(0x80, 0, zeros), head(0x81, 0, "\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"+zeros[:12]), "HTTP/1.1 400 Bad Request\r\n"},
		BinaryQuiet: {head(0x81, 9, zeros[:13]+"\x63"+zeros[:8]), head(0x81, 0x0a, "\x00\x00\x00\x00\x00\x01"+zeros[:16]), head(0x82, 1, zeros)},
		ASCII:       {"VALUE x 0 z\r\n", "VALUE x 0 99999999999\r\n", "HELLO\r\n", "END\n", "VALUE x 0 1\r\nabc\r\nEND\r\n", "VALUE x 0 1\r\na\r\nSTORED\r\n", strings.Repeat("x", 3000)},
		ASCIIMulti:  {"VALUE x 0 z\r\n", "HELLO\r\n", "VALUE x 0 1\r\nabc\r\n", "VALUE x 0 1\r\na\r\nSTORED\r\n"},
		Meta:        {"VA\r\n", "VA -1\r\n", "HD\r\n", "VA 1\r\nabc\r\n", "??\r\n", "\n"},
		RESP:        {"$\r\n", "$1\r\nabc\r\n", "+OK\r\n", "*1\r\n", "\r\n", "$99999999999999999999\r\n"},
	}
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		for _, reply := range replies[p] {
			addr := (&toy{protocol: p, replace: []byte(reply)}).serve(t, nil)
			g := newTestGenerator(t, newTestWorkload(t, WorkloadOptions{GetShare: 1}), Options{
				Addr: addr, Protocol: p, Plain: plain, Conns: 1, Depth: 4, Duration: time.Minute,
			})
			if _, err := g.Run(t.Context()); !errors.Is(err, ErrProtocol) {
				t.Errorf("reply %.60q: error %v, want ErrProtocol", reply, err)
			}
		}
	})
}

// TestSurplus: a reply that nobody asked for is an error.
func TestSurplus(t *testing.T) {
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		extra := map[Protocol]string{
			Binary: "\x81\x00" + strings.Repeat("\x00", 23), BinaryQuiet: "\x81\x0a" + strings.Repeat("\x00", 23),
			ASCII: "END\r\nEND", ASCIIMulti: "END\r\nEND", Meta: "EN\r\nE", RESP: "$-1\r\n+",
		}
		addr := (&toy{protocol: p, replace: []byte(extra[p])}).serve(t, nil)
		g := newTestGenerator(t, newTestWorkload(t, WorkloadOptions{GetShare: 1}), Options{
			Addr: addr, Protocol: p, Plain: plain, Conns: 1, Duration: time.Minute,
		})
		if r, err := g.Run(t.Context()); !errors.Is(err, ErrProtocol) || r.Ops != 1 {
			t.Errorf("%d operations, error %v; want 1 and ErrProtocol", r.Ops, err)
		}
	})
}

// TestVerify: a wrong byte anywhere in a body is found when asked for, and only then.
func TestVerify(t *testing.T) {
	for at := range 30 {
		everyWay(t, func(t *testing.T, p Protocol, plain bool) {
			if at > 0 && plain { // the engines share what is tested here
				return
			}
			addr := (&toy{protocol: p, alter: func(v []byte) []byte { v[at] ^= 1; return v }}).serve(t, nil)
			w := newTestWorkload(t, WorkloadOptions{GetShare: 0.5, Values: JSON, ValueBytes: []int{30}})
			for _, verify := range []bool{false, true} {
				g := newTestGenerator(t, w, Options{Addr: addr, Protocol: p, Plain: plain, Conns: 1, Depth: 5, Ops: 100, Verify: verify})
				if err := g.Preload(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := g.Run(t.Context()); errors.Is(err, ErrWrong) != verify {
					t.Errorf("byte %d wrong, verify %v: error %v", at, verify, err)
				}
			}
		})
	}
}

// TestShortBody: a body of another length is wrong, too.
func TestShortBody(t *testing.T) {
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		addr := (&toy{protocol: p, alter: func(v []byte) []byte { return v[:len(v)-1] }}).serve(t, nil)
		g := newTestGenerator(t, newTestWorkload(t, WorkloadOptions{GetShare: 0.5, ValueBytes: []int{4}}), Options{
			Addr: addr, Protocol: p, Plain: plain, Conns: 1, Ops: 100, Verify: true,
		})
		if _, err := g.Run(t.Context()); err != nil && !errors.Is(err, ErrWrong) {
			t.Errorf("error %v, want ErrWrong", err)
		} else if err == nil {
			t.Error("nobody noticed")
		}
	})
}

// TestRefusedWrites: errors are counted and shown by an example; a preload tries again, and gives up in the end.
func TestRefusedWrites(t *testing.T) {
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		s := &toy{protocol: p, refuse: 2}
		addr := s.serve(t, nil)
		w := newTestWorkload(t, WorkloadOptions{Keys: 150})
		g := newTestGenerator(t, w, Options{Addr: addr, Protocol: p, Plain: plain, Conns: 2, Depth: 3, Ops: 90})
		g.tries = 2
		if err := g.Preload(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "patience") {
			t.Errorf("two tries: %v, want ErrRefused with the server's words", err)
		}
		g.tries = preloadTries
		if err := g.Preload(t.Context()); err != nil || s.size() != 150 {
			t.Errorf("%d documents, error %v; want all 150", s.size(), err)
		}
		s.mu.Lock()
		s.refuse = 1 << 30
		s.mu.Unlock()
		r, err := g.Run(t.Context())
		if err != nil || r.Ops != 90 || r.Errors != 90 || !strings.Contains(r.Example, "patience") {
			t.Errorf("%v, error %v; want 90 errors with an example", r, err)
		}
	})
}

// TestOpenLoop: all operations that are due in the time are sent, and not faster.
func TestOpenLoop(t *testing.T) {
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		addr := (&toy{protocol: p}).serve(t, nil)
		g := newTestGenerator(t, newTestWorkload(t, WorkloadOptions{}), Options{
			Addr: addr, Protocol: p, Plain: plain, Conns: 8, Depth: 4, Rate: 3000, Duration: 200 * time.Millisecond,
		})
		r, err := g.Run(t.Context())
		if err != nil || r.Ops+r.Unsent != 600 || r.Ops < 300 || r.Seconds < 0.19 {
			t.Errorf("%v, error %v; want 600 operations in 0.2 s", r, err)
		}
	})
}

// TestOpenLoopSeesAStall: while the server says nothing, operations become due, and their wait counts although they could not
// be sent. A closed loop sees one slow reply.
func TestOpenLoopSeesAStall(t *testing.T) {
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		const stall = 150 * time.Millisecond
		slow := &toy{protocol: p, before: func(n int) {
			if n == 3 {
				<-time.After(stall)
			}
		}}
		o := Options{Addr: slow.serve(t, nil), Protocol: p, Plain: plain, Conns: 1, Depth: 32, Rate: 1000, Duration: 200 * time.Millisecond}
		r, err := newTestGenerator(t, newTestWorkload(t, WorkloadOptions{}), o).Run(t.Context())
		if err != nil || r.Max < stall-10*time.Millisecond || r.P50 < stall/10 {
			t.Errorf("%v, error %v; want half of the operations to have waited", r, err)
		}
	})
}

// TestWarmupIsNotCounted: what comes before the measurement is in no figure.
func TestWarmupIsNotCounted(t *testing.T) {
	everyWay(t, func(t *testing.T, p Protocol, plain bool) {
		addr := (&toy{protocol: p}).serve(t, nil)
		g := newTestGenerator(t, newTestWorkload(t, WorkloadOptions{}), Options{
			Addr: addr, Protocol: p, Plain: plain, Warmup: 20 * time.Millisecond, Ops: 100,
		})
		r, err := g.Run(t.Context())
		if err != nil || r.Ops != 100 || g.Done() <= 100 {
			t.Errorf("%v, done %d, error %v; want 100 counted of more", r, g.Done(), err)
		}
	})
}

// TestOptions: what makes no sense is refused.
func TestOptions(t *testing.T) {
	w := newTestWorkload(t, WorkloadOptions{})
	for name, o := range map[string]Options{
		"no address": {}, "protocol": {Addr: "a:1", Protocol: "soap"}, "connections": {Addr: "a:1", Conns: -1}, "depth": {Addr: "a:1", Depth: MaxDepth + 1},
		"rate": {Addr: "a:1", Rate: -1}, "negative": {Addr: "a:1", Warmup: -1}, "bucket": {Addr: "a:1", Protocol: ASCII, Bucket: "b"},
		"login": {Addr: "a:1", Protocol: Meta, User: "u"},
	} {
		if _, err := New(w, o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: error %v, want ErrOptions", name, err)
		}
	}
}
