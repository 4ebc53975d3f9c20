package mcserver

import (
	"fmt"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// textPipeline makes n requests of one kind for documents that it stores first.
func textPipeline(t testing.TB, c *conn, kind string, n int) []byte {
	t.Helper()
	const value = `{"name":"charpoy","legs":4}`
	var load, in []byte
	for i := range n {
		key := fmt.Sprintf("key-%010d", i)
		load = fmt.Appendf(load, "set %s 1 0 %d\r\n%s\r\n", key, len(value), value)
		switch kind {
		case "get", "gets":
			in = fmt.Appendf(in, "%s %s\r\n", kind, key)
		case "set":
			in = fmt.Appendf(in, "set %s 1 0 %d\r\n%s\r\n", key, len(value), value)
		case "mg":
			in = fmt.Appendf(in, "mg %s v\r\n", key)
		case "mgflags":
			in = fmt.Appendf(in, "mg %s s v t f c k O%d\r\n", key, i)
		case "ms":
			in = fmt.Appendf(in, "ms %s %d\r\n%s\r\n", key, len(value), value)
		case "touch":
			in = fmt.Appendf(in, "touch %s 0\r\n", key)
		case "multiget":
			if i == 0 {
				in = append(in, "get"...)
			}
			in = fmt.Appendf(in, " %s", key)
			if i == n-1 {
				in = append(in, lineEnd...)
			}
		}
	}
	c.feed(t, load)
	return in
}

// TestTextDoesNotAllocate: reading and storing existing documents costs no allocation once buffers are warm.
func TestTextDoesNotAllocate(t *testing.T) {
	w := newPlainWorld(t)
	for _, kind := range []string{"get", "gets", "set", "mg", "mgflags", "ms", "touch", "multiget"} {
		for _, n := range []int{1, 32} {
			c := w.plain(t)
			in := textPipeline(t, c, kind, n)
			work := new(work)
			ctx := t.Context()
			round := func() {
				if used, _ := c.step(ctx, work, in); used != len(in) {
					t.Fatalf("%d of %d bytes", used, len(in))
				}
				work.out = work.out[:0]
			}
			round()
			if got := testing.AllocsPerRun(200, round); got >= 1 {
				t.Errorf("%s × %d: %v allocations", kind, n, got)
			}
		}
	}
}

// TestClassicDoesNotAllocate is the same for the classic binary protocol, misses of quiet requests included.
func TestClassicDoesNotAllocate(t *testing.T) {
	w := newPlainWorld(t)
	for _, op := range []mcbp.Opcode{mcbp.OpGet, mcbp.OpGetKQ, mcbp.OpSet, mcbp.OpSetQ, mcbp.OpTouch} {
		for _, key := range []string{"key-%010d", "missing-%d"} {
			c := w.plain(t)
			var load, in []byte
			for i := range 32 {
				f := storeFrame(mcbp.OpSet, 0, fmt.Sprintf("key-%010d", i), `{"name":"charpoy","legs":4}`)
				load = mcbp.AppendRequest(load, &f)
				f.Opcode, f.Key = op, fmt.Appendf(nil, key, i)
				switch op {
				case mcbp.OpGet, mcbp.OpGetKQ:
					f.Extras, f.Value = nil, nil
				case mcbp.OpTouch:
					f.Extras, f.Value = f.Extras[:4], nil
				}
				in = mcbp.AppendRequest(in, &f)
			}
			c.feed(t, load)
			work := new(work)
			ctx := t.Context()
			round := func() {
				if used, _ := c.step(ctx, work, in); used != len(in) {
					t.Fatalf("%d of %d bytes", used, len(in))
				}
				work.out = work.out[:0]
			}
			round()
			if got := testing.AllocsPerRun(200, round); got >= 1 {
				t.Errorf("%v of %s: %v allocations", op, key, got)
			}
		}
	}
}

// BenchmarkText runs batches of text commands through a connection without a socket; the time is that of one document.
func BenchmarkText(b *testing.B) {
	w := newPlainWorld(b)
	for _, kind := range []string{"get", "set", "mg", "ms", "multiget"} {
		for _, n := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				c := w.plain(b)
				in := textPipeline(b, c, kind, n)
				work := new(work)
				ctx := b.Context()
				b.ReportAllocs()
				for i := 0; i < b.N; i += n {
					c.step(ctx, work, in)
					work.out = work.out[:0]
				}
			})
		}
	}
}
