package mcserver

import (
	"fmt"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// pipeline makes n requests for documents that exist.
func pipeline(t testing.TB, c *conn, op mcbp.Opcode, n int) []byte {
	t.Helper()
	var load, in []byte
	for i := range n {
		f := storeFrame(mcbp.OpSet, uint16(i%8), fmt.Sprintf("key-%010d", i), `{"name":"charpoy","legs":4}`)
		load = mcbp.AppendRequest(load, &f)
		f.Opcode = op
		if op == mcbp.OpGet || op == mcbp.OpGetK {
			f.Extras, f.Value = nil, nil
		}
		in = mcbp.AppendRequest(in, &f)
	}
	c.runAll(t, load)
	return in
}

// TestProcessDoesNotAllocate: GET and SET of existing documents cost no allocation once buffers are warm.
func TestProcessDoesNotAllocate(t *testing.T) {
	w := newWorld(t)
	t.Run("misses", func(t *testing.T) {
		c := w.direct(t, "app", "default", mcbp.FeatureTracing, mcbp.FeatureXError)
		var in []byte
		for _, op := range []mcbp.Opcode{mcbp.OpGet, mcbp.OpGetQ, mcbp.OpGetK} {
			in = mcbp.AppendRequest(in, &mcbp.Frame{Opcode: op, VB: 1, Key: []byte("missing")})
		}
		work := new(work)
		if got := testing.AllocsPerRun(200, func() { c.process(t.Context(), work, in); work.out = work.out[:0] }); got >= 1 {
			t.Errorf("%v allocations", got)
		}
	})
	for _, op := range []mcbp.Opcode{mcbp.OpGet, mcbp.OpSet, mcbp.OpSetQ, mcbp.OpGetK} {
		for _, n := range []int{1, 32} {
			c := w.direct(t, "app", "default", mcbp.FeatureTracing, mcbp.FeatureJSON, mcbp.FeatureMutationToken)
			in := pipeline(t, c, op, n)
			work := new(work)
			ctx := t.Context()
			round := func() {
				if used, _ := c.process(ctx, work, in); used != len(in) {
					t.Fatalf("%d of %d bytes", used, len(in))
				}
				work.out = work.out[:0]
			}
			round()
			if got := testing.AllocsPerRun(200, round); got >= 1 {
				t.Errorf("%v × %d: %v allocations", op, n, got)
			}
		}
	}
}

// BenchmarkProcess runs batches through a connection without a socket; the time is that of one request.
func BenchmarkProcess(b *testing.B) {
	w := newWorld(b)
	for _, op := range []mcbp.Opcode{mcbp.OpGet, mcbp.OpSet, mcbp.OpNoop} {
		for _, n := range []int{1, 32} {
			b.Run(fmt.Sprintf("%v/%d", op, n), func(b *testing.B) {
				c := w.direct(b, "app", "default", mcbp.FeatureTracing, mcbp.FeatureJSON, mcbp.FeatureMutationToken)
				var in []byte
				if op == mcbp.OpNoop {
					for range n {
						in = mcbp.AppendRequest(in, &mcbp.Frame{Opcode: op})
					}
				} else {
					in = pipeline(b, c, op, n)
				}
				work := new(work)
				ctx := b.Context()
				b.ReportAllocs()
				for i := 0; i < b.N; i += n {
					c.process(ctx, work, in)
					work.out = work.out[:0]
				}
			})
		}
	}
}
