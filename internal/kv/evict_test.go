package kv

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// TestFetch: values leave memory when they are on disk, and come back when they are asked for; the books stay right.
func TestFetch(t *testing.T) {
	l := live(t, disk.NewMemory())
	for i := range 200 {
		l.set(fmt.Sprint("k", i), strings.Repeat(fmt.Sprint(i), 100))
	}
	l.saved()
	if n := l.ejectAll(); n != 200 {
		t.Fatalf("%d values left memory, want 200", n)
	}
	l.wantBooks()
	reads := l.db.Stats().Reads
	for i := range 200 {
		l.wants(fmt.Sprint("k", i), strings.Repeat(fmt.Sprint(i), 100))
		_, _, err := l.get(fmt.Sprint("none", i))
		l.wantErr(err, ErrNotFound)
	}
	if got := l.db.Stats().Reads - reads; got != 200 {
		t.Errorf("%d reads of the disk for 200 values and 200 absent keys, want 200", got)
	}
	if s := l.Stats(); s.Ejected != 0 || s.Ops.Fetched != 200 || s.Ops.Ejected != 200 {
		t.Errorf("stats %+v", s)
	}
	l.wantBooks()
}

// ejectAll ejects whatever may be ejected.
func (k *kit) ejectAll() (n int) {
	conf := k.config.Load()
	for i := range k.vbs {
		vb := &k.vbs[i]
		s := &sweep{p: k.persist, conf: conf, vb: vb}
		s.walk(0, func(h *header, at uint32) bool {
			if h.seqno() <= vb.lowest(k.Bucket) && vb.eject(k.Bucket, conf, at, h) {
				n++
			}
			return false
		})
	}
	return n
}

// TestStaleFetch: a value that was read from disk does not replace a newer one.
func TestStaleFetch(t *testing.T) {
	l := live(t, disk.NewMemory())
	w := l.set("a", strings.Repeat("old", 100))
	l.saved()
	l.ejectAll()
	m, _, err := l.store.Get(0, w.Seqno, nil)
	l.wantErr(err, nil)
	l.set("a", "new")
	k := l.key("a")
	l.wantErr(l.vbs[0].fill(l.Bucket, &k, &m, true), nil)
	l.wants("a", "new")
	l.wantBooks()
}

// TestEjectorKeepsTheQuota writes three times the quota: everything can be read, and memory stays within bounds.
func TestEjectorKeepsTheQuota(t *testing.T) {
	l := live(t, disk.NewMemory(), func(o *Options) { o.Spec.QuotaBytes = 4 << 20 })
	body := strings.Repeat("v", 1000)
	for i := range 12_000 {
		k := l.Key(vbucket.ID(i%4), docid.Default, fmt.Append(nil, "key-", i))
		for {
			_, err := l.Set(t.Context(), l.now(), k, &Write{Value: fmt.Append(nil, body, i)})
			if err == nil {
				break
			}
			if !errors.Is(err, ErrBusy) {
				t.Fatalf("Set %d: %v", i, err)
			}
			l.until("the flusher and the pager make room", func() bool { return l.memoryNow() < l.config.Load().writes })
		}
	}
	if m := l.Memory(); m.Used() > m.Quota {
		t.Errorf("%d bytes used of %d", m.Used(), m.Quota)
	}
	for i := range 12_000 {
		_, v, err := l.Get(t.Context(), l.now(), l.Key(vbucket.ID(i%4), docid.Default, fmt.Append(nil, "key-", i)), nil)
		if err != nil || string(v) != fmt.Sprint(body, i) {
			t.Fatalf("Get %d = %d bytes, %v", i, len(v), err)
		}
	}
	if s := l.Stats(); s.Ops.Ejected == 0 || s.Ops.Fetched == 0 {
		t.Errorf("nothing was ejected or fetched: %+v", s.Ops)
	}
	l.whole()
	l.cancel()
	l.wait.Wait() // nothing moves any more
	l.wantBooks()
}

// TestPreload: after a restart values are in memory again without being asked for.
func TestPreload(t *testing.T) {
	memory := disk.NewMemory()
	l := live(t, memory)
	for i := range 100 {
		l.set(fmt.Sprint("k", i), strings.Repeat("v", 500))
	}
	l.end()
	l = live(t, memory)
	l.until("all values are in memory", func() bool { s := l.Stats(); return s.Items == 100 && s.Ejected == 0 })
	if s := l.Stats(); s.Ops.Fetched != 0 {
		t.Errorf("%d values were asked for", s.Ops.Fetched)
	}
	l.cancel()
	l.wait.Wait() // nothing moves any more
	l.wantBooks()
}

// zipf draws keys 0 to n−1, the key k with a weight of 1/(k+1)^theta.
type zipf struct {
	r    *rand.Rand
	sums []float64
}

func newZipf(n int, theta float64, seed uint64) *zipf {
	z := &zipf{r: rand.New(rand.NewPCG(seed, 3)), sums: make([]float64, n)}
	sum := 0.0
	for k := range z.sums {
		sum += math.Pow(float64(k+1), -theta)
		z.sums[k] = sum
	}
	return z
}

func (z *zipf) next() int {
	return sort.SearchFloat64s(z.sums, z.r.Float64()*z.sums[len(z.sums)-1])
}

// queues is S3-FIFO with real queues, the measure of the one that lives in header bits.
type queues struct {
	size               int
	small, main, ghost []int
	where              map[int]byte // 's', 'm', 'g'
	uses               map[int]int
}

func (q *queues) get(k int) bool {
	switch q.where[k] {
	case 's', 'm':
		q.uses[k] = min(q.uses[k]+1, 3)
		return true
	case 'g':
		q.where[k] = 'm'
		q.main = append(q.main, k)
	default:
		q.where[k] = 's'
		q.small = append(q.small, k)
	}
	q.uses[k] = 0
	for len(q.small)+len(q.main) > q.size {
		q.evict()
	}
	return false
}

func (q *queues) evict() {
	if len(q.small)*10 > q.size {
		k := q.small[0]
		q.small = q.small[1:]
		if q.uses[k] > 0 {
			q.where[k], q.uses[k] = 'm', 0
			q.main = append(q.main, k)
			return
		}
		q.where[k] = 'g'
		q.ghost = append(q.ghost, k)
		if len(q.ghost) > q.size {
			if old := q.ghost[0]; q.where[old] == 'g' {
				delete(q.where, old)
			}
			q.ghost = q.ghost[1:]
		}
		return
	}
	k := q.main[0]
	q.main = q.main[1:]
	if q.uses[k] > 0 {
		q.uses[k]--
		q.main = append(q.main, k)
		return
	}
	delete(q.where, k)
}

// TestHitRatio reads documents of which a part fits into memory, and holds the share that is found there against S3-FIFO with
// real queues of the same size: the header bits may cost a little, but not much (kv.md 20, G12).
func TestHitRatio(t *testing.T) {
	const keys, reads = 20_000, 200_000
	for name, c := range map[string]struct {
		theta float64
		quota int64
		scan  int // of a hundred reads so many walk over all keys
	}{
		"zipf":           {0.9, 10 << 20, 0},
		"zipf with scan": {0.9, 10 << 20, 20},
	} {
		t.Run(name, func(t *testing.T) {
			l := live(t, disk.NewMemory(), func(o *Options) { o.Spec.QuotaBytes = c.quota })
			key := func(i int) Key { return l.Key(vbucket.ID(i%4), docid.Default, fmt.Append(nil, "key-", i)) }
			for i := range keys {
				for {
					_, err := l.Set(t.Context(), l.now(), key(i), &Write{Value: make([]byte, 1000)})
					if err == nil {
						break
					}
					l.until("there is room", func() bool { return l.memoryNow() < l.config.Load().writes })
				}
			}
			l.saved()
			z := newZipf(keys, c.theta, 1)
			sequence := make([]int, reads)
			order := z.r.Perm(keys) // popular keys are spread over the table
			for i := range sequence {
				if sequence[i] = order[z.next()]; z.r.IntN(100) < c.scan {
					sequence[i] = i % keys
				}
			}
			misses, resident := 0, 0
			buf := make([]byte, 0, 1024)
			for n, i := range sequence {
				if _, _, err := l.Get(t.Context(), l.now(), key(i), buf); err != nil {
					t.Fatal(err)
				}
				if n == reads/2 {
					misses = -int(l.Stats().Ops.Fetched)
				}
				if n%1000 == 0 && n > reads/2 {
					s := l.Stats()
					resident += int(s.Items - s.Ejected)
				}
			}
			misses += int(l.Stats().Ops.Fetched)
			ours := 1 - float64(misses)/float64(reads/2)
			q := &queues{size: resident / (reads/2000 - 1), where: map[int]byte{}, uses: map[int]int{}}
			hits := 0
			for n, i := range sequence {
				if q.get(i) && n > reads/2 {
					hits++
				}
			}
			theirs := float64(hits) / float64(reads/2)
			t.Logf("%d of %d values in memory: hit ratio %.3f, with queues %.3f", q.size, keys, ours, theirs)
			if ours < theirs-0.03 {
				t.Errorf("hit ratio %.3f, with queues of the same size %.3f", ours, theirs)
			}
		})
	}
}
