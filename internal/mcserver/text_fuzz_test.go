package mcserver

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// twins are two worlds that are given the same input, one at once and the other in pieces: everything that they answer must be
// the same, which it is only if no reply is lost, invented or out of order.
type twins struct{ whole, pieces *world }

func newTwins(t testing.TB) *twins { return &twins{newPlainWorld(t), newPlainWorld(t)} }

func (w *twins) feed(t *testing.T, in []byte, piece int) []byte {
	t.Helper()
	w.whole.t, w.pieces.t = t, t // for flushing, which waits
	out, rest, next := w.whole.plain(t).feed(t, in)
	if rest > len(in) {
		t.Fatalf("%d of %d bytes left", rest, len(in))
	}
	c := w.pieces.plain(t)
	var again, waiting []byte
	for len(in) > 0 {
		n := min(piece, len(in))
		buf := append(waiting, in[:n]...)
		in = in[n:]
		more, left, verdict := c.feed(t, buf)
		again = append(again, more...)
		waiting = bytes.Clone(buf[len(buf)-left:])
		if verdict == hangUp {
			if next != hangUp {
				t.Fatalf("closed only in pieces, after %q; at once %q", again, out)
			}
			break
		}
	}
	if !bytes.Equal(out, again) && !bytes.Contains(out, []byte("STAT ")) && !bytes.Contains(out, []byte("curr_items")) {
		t.Fatalf("at once:\n%q\nin pieces of %d:\n%q", out, piece, again)
	}
	return out
}

// FuzzText feeds arbitrary bytes to text connections.
func FuzzText(f *testing.F) {
	for _, in := range []string{
		"get k\r\nset k 1 0 3\r\nabc\r\nget k k2 k\r\n", "gats 10 k\r\ntouch k 5\r\nincr k 1\r\ndelete k noreply\r\n",
		"ms a 2 T9 c k\r\nhi\r\nmg a v t s c f h l k O1\r\nmd a I\r\nmg a\r\nma n N0 J5 v\r\nme n\r\n",
		"mg v N5 v\r\nmg v v\r\nms v 1 C1 I\r\nx\r\n", "set big 0 0 2000000\r\nxx", "set k 0 0 1\r\nabc\r\nmn\r\n",
		"append k 0 0 1\r\nx\r\nprepend k 0 0 1\r\ny\r\ncas k 0 0 1 5\r\nz\r\n", "bogus\r\n\r\nGET / HTTP/1.1\r\n",
		"flush_all\r\nflush_all 5\r\nverbosity 1\r\nversion\r\nquit\r\n", "lru_crawler metadump all\r\nlru_crawler mgdump hash\r\n",
		"stats\r\nstats items\r\nstats slabs\r\nstats conns\r\nstats reset\r\n", "ms Zm9v 1 b k MA N9\r\nx\r\n", "\x80",
	} {
		f.Add([]byte(in), 5)
	}
	w := newTwins(f)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		if len(in) == 0 || len(in) > 1<<12 || mcbp.Magic(in[0]) == mcbp.MagicRequest {
			return
		}
		out := w.feed(t, in, max(piece&31, 1))
		if bytes.Contains(out, []byte("Internal error")) {
			t.Fatalf("%q", out)
		}
		if len(out) > 0 && !bytes.HasSuffix(out, []byte(lineEnd)) {
			t.Fatalf("replies end with %q", out[max(len(out)-40, 0):])
		}
	})
}

// FuzzClassic feeds arbitrary frames to connections that speak the classic binary protocol.
func FuzzClassic(f *testing.F) {
	for o := range 0x28 {
		frame := mcbp.Frame{Opcode: mcbp.Opcode(o), Opaque: uint32(o), Key: []byte("k")}
		for n := range 21 {
			if classicOps[o].extras&(1<<n) != 0 {
				frame.Extras = make([]byte, n)
			}
		}
		if classicOps[o].key == mcbp.Forbidden {
			frame.Key = nil
		}
		if classicOps[o].value {
			frame.Value = []byte("12345")
		}
		one := mcbp.AppendRequest(nil, &frame)
		f.Add(append(one, mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpNoop})...), 7)
	}
	w := newTwins(f)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		if len(in) < mcbp.HeaderLen || len(in) > 1<<12 {
			return
		}
		in = bytes.Clone(in)
		in[0] = byte(mcbp.MagicRequest)
		in[8], in[9] = 0, in[9]&3 // a body that is not there is not worth the wait
		out := w.feed(t, in, max(piece&63, 1))
		for len(out) > 0 {
			reply, n, err := mcbp.Decode(out)
			if err != nil {
				t.Fatalf("reply % x: %v", out[:min(len(out), 64)], err)
			}
			if reply.Magic != mcbp.MagicResponse || reply.Status() == mcbp.StatusInternal {
				t.Fatalf("reply with magic %x, status %x %q", reply.Magic, binary.BigEndian.Uint16(out[6:]), reply.Value)
			}
			out = out[n:]
		}
	})
}
