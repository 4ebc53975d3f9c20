package mcserver

import (
	"encoding/binary"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// FuzzProcess feeds arbitrary bytes to connections in different states of bootstrap: no panic, no bytes taken twice or
// invented, and every reply is a proper frame that answers something. The first byte chooses the state.
func FuzzProcess(f *testing.F) {
	for state := range byte(8) {
		for o := range 256 {
			op := mcbp.Lookup(mcbp.Opcode(o))
			if op == nil {
				continue
			}
			frame := mcbp.Frame{Opcode: mcbp.Opcode(o), VB: 1, Opaque: uint32(o)}
			for n := range 64 {
				if op.Extras&(1<<n) != 0 {
					frame.Extras = make([]byte, n)
				}
			}
			if op.Key == mcbp.Required {
				frame.Key = []byte("\x00key")
			}
			if op.Value != mcbp.Forbidden {
				frame.Value = []byte("12345678")
			}
			f.Add(append([]byte{state}, mcbp.AppendRequest(nil, &frame)...))
		}
	}
	w := newWorld(f, discard)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return
		}
		state, in := b[0], b[1:]
		var features []mcbp.Feature
		if state&1 != 0 {
			features = usual()
		}
		user, bucket := "", ""
		if state&2 != 0 {
			user = "app"
		}
		if state&4 != 0 && user != "" {
			bucket = "default"
		}
		c := w.direct(t, user, bucket, features...)
		out, rest, next := c.runAll(t, in)
		if rest > len(in) || next == needInput && rest == len(in) && len(out) > 0 {
			t.Fatalf("%d of %d bytes left, %d replied", rest, len(in), len(out))
		}
		for len(out) > 0 {
			reply, n, err := mcbp.Decode(out)
			if err != nil {
				t.Fatalf("reply % x: %v", out[:min(len(out), 64)], err)
			}
			if reply.Magic != mcbp.MagicResponse && reply.Magic != mcbp.MagicFlexResponse {
				t.Fatalf("reply with magic %x", reply.Magic)
			}
			if reply.Status().Info() == nil {
				t.Fatalf("status %x is not in the error map", uint16(reply.Status()))
			}
			if reply.Status() == mcbp.StatusInternal {
				t.Fatalf("internal error: %s", reply.Value)
			}
			if len(reply.FrameExtras) > 0 && binary.BigEndian.Uint16(reply.FrameExtras[1:]) != 0 {
				t.Fatalf("a duration although the clock stands still: % x", reply.FrameExtras)
			}
			out = out[n:]
		}
	})
}
