package kv

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

const benchKeys = 1 << 20

// benchBucket holds a million documents of 100 bytes in 1024 vBuckets.
func benchBucket(b *testing.B) (*kit, []Key) {
	b.Helper()
	k := newKit(b, func(o *Options) {
		o.Spec.NumVBuckets, o.Spec.QuotaBytes = 1024, 1<<30
	})
	keys := make([]Key, benchKeys)
	w := &Write{Value: make([]byte, 100)}
	for i := range keys {
		name := fmt.Appendf(nil, "key:%012d", i)
		keys[i] = k.Key(vbucket.Of(name, 1024), docid.Default, name)
		if _, err := k.Set(b.Context(), k.now(), keys[i], w); err != nil {
			b.Fatal(err)
		}
	}
	return k, keys
}

// order gives pseudo-random indexes of keys.
type order uint64

func (o *order) next() int {
	*o = *o*6364136223846793005 + 1442695040888963407
	return int(*o >> 44)
}

// BenchmarkGet reads random documents, one at a time and in batches that are touched first.
func BenchmarkGet(b *testing.B) {
	k, keys := benchBucket(b)
	at, dst := k.now(), make([]byte, 0, 200)
	for _, batch := range []int{1, 32} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) {
			b.ReportAllocs()
			o, sum := order(1), uint64(0)
			var some [32]Key
			n := 0
			for b.Loop() {
				if n == 0 && batch > 1 {
					for i := range some {
						some[i] = keys[o.next()]
					}
					sum += k.Prefetch(some[:])
					n = batch
				}
				if batch == 1 {
					some[0] = keys[o.next()]
				} else {
					n--
				}
				key := some[n]
				if _, _, err := k.Get(b.Context(), at, key, dst); err != nil {
					b.Fatal(err)
				}
			}
			_ = sum
		})
	}
}

// BenchmarkSet overwrites random documents: in an ephemeral bucket without readers, and with readers that copy everything.
func BenchmarkSet(b *testing.B) {
	k, keys := benchBucket(b)
	w := &Write{Value: make([]byte, 100)}
	for _, readers := range []int{0, 1, 2} {
		b.Run(fmt.Sprint("readers=", readers), func(b *testing.B) {
			stop := benchReaders(b, k, readers)
			b.ReportAllocs()
			o, at := order(1), k.now()
			for b.Loop() {
				if _, err := k.Set(b.Context(), at, keys[o.next()], w); err != nil {
					b.Fatal(err)
				}
			}
			stop()
		})
	}
}

// benchReaders starts readers of all vBuckets, from where they are now.
func benchReaders(b *testing.B, k *kit, n int) (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	var wait sync.WaitGroup
	var read atomic.Int64
	for range n {
		r, err := k.Open(change.Options{Name: "bench"})
		if err != nil {
			b.Fatal(err)
		}
		for vb := range k.vbs {
			info, err := k.Seqnos(vbucket.ID(vb))
			if err != nil {
				b.Fatal(err)
			}
			if err := r.Add(vbucket.ID(vb), vbucket.Position{UUID: info.UUID, Seqno: info.High}); err != nil {
				b.Fatal(err)
			}
		}
		wait.Go(func() {
			defer r.Close()
			var batch change.Batch
			for r.Next(ctx, &batch) == nil {
				read.Add(int64(len(batch.Mutations)))
			}
		})
	}
	return func() {
		cancel()
		wait.Wait()
		b.ReportMetric(float64(read.Load())/float64(b.N), "read/op")
	}
}

// BenchmarkSetJSON writes JSON of 1 KiB, whose validation is most of the cost.
func BenchmarkSetJSON(b *testing.B) {
	k, keys := benchBucket(b)
	body := []byte(`{"name":"Kathmandu","tags":[`)
	for len(body) < 1000 {
		body = append(body, `"a tag",`...)
	}
	w := &Write{Value: append(body, `"end"]}`...)}
	at, o := k.now(), order(1)
	b.ReportAllocs()
	b.SetBytes(int64(len(w.Value)))
	for b.Loop() {
		if _, err := k.Set(b.Context(), at, keys[o.next()], w); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCounter counts in random documents.
func BenchmarkCounter(b *testing.B) {
	k, keys := benchBucket(b)
	at, o := k.now(), order(1)
	for i := range keys {
		if _, err := k.Set(b.Context(), at, keys[i], &Write{Value: []byte("1")}); err != nil {
			b.Fatal(err)
		}
	}
	c := &Count{Delta: 1}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := k.Counter(b.Context(), at, keys[o.next()], c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkGrow doubles tables of 10 000 items: how long one vBucket stands still.
func BenchmarkGrow(b *testing.B) {
	k := newKit(b)
	for i := range 10_000 {
		k.set(fmt.Sprint("key", i), "")
	}
	t := k.vbs[0].table.Load()
	for b.Loop() {
		t.resized(2 * len(t.slots))
	}
}

// TestBytesAnItem measures memory for a million documents: goal G6 of kv.md allows 66 bytes an item beyond key and value.
func TestBytesAnItem(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("a million documents")
	}
	k := newKit(t, func(o *Options) { o.Spec = bigSpec() })
	w := &Write{Value: make([]byte, 80)} // 48 + 16 + 80 is a size class, so that rounding is not measured
	for i := range 1_000_000 {
		name := fmt.Appendf(nil, "key:%012d", i)
		if _, err := k.Set(t.Context(), k.now(), k.Key(vbucket.Of(name, 1024), 0, name), w); err != nil {
			t.Fatal(err)
		}
	}
	m := k.Memory()
	if over := float64(m.Items+m.Tables)/1e6 - 96; over > 66 {
		t.Errorf("%.1f bytes an item beyond key and value (items %d, tables %d)", over, m.Items, m.Tables)
	}
	k.wantBooks()
}

func bigSpec() spec.Bucket {
	return spec.Bucket{Name: "b", UUID: "0", Type: spec.Ephemeral, QuotaBytes: 1 << 30, NumVBuckets: 1024}
}

// BenchmarkFeedWithoutReader is what the change feed adds to a mutation that nobody reads: the entry in the window and waking
// the readers.
func BenchmarkFeedWithoutReader(b *testing.B) {
	k, keys := benchBucket(b)
	vb := &k.vbs[keys[0].VB]
	b.ReportAllocs()
	for b.Loop() {
		vb.mu.Lock()
		vb.append(k.Bucket, 1<<36)
		cursors := vb.mu.cursors
		vb.mu.Unlock()
		notify(cursors, vb.id)
	}
}
