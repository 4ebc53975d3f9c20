package loadgen

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// TestHexDigits compares the arithmetic with the library.
func TestHexDigits(t *testing.T) {
	check := func(x uint32) {
		var got [8]byte
		putHex(got[:], x)
		if want := fmt.Sprintf("%08x", x); string(got[:]) != want {
			t.Fatalf("digits of %d: %s, want %s", x, got, want)
		}
	}
	for _, x := range []uint32{0, 1, 9, 10, 15, 16, 0x99999999, 0xaaaaaaaa, 0x9a9a9a9a, math.MaxUint32} {
		check(x)
	}
	for range 10_000 {
		check(rand.Uint32())
	}
}

// TestSamples: keys look as documented, their vBuckets are those of all SDKs, the share of reads is met, and the same seed
// gives the same operations.
func TestSamples(t *testing.T) {
	o := WorkloadOptions{Keys: 1000, KeyBytes: 20, Prefix: "bench:", GetShare: 0.95, Samples: 100_000, VBuckets: 1024, Seed: 7}
	w, err := NewWorkload(o)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(w.Key(0x2a)), "bench:0000000000002a"; got != want {
		t.Errorf("key %q, want %q", got, want)
	}
	reads, seen := 0, map[uint32]bool{}
	for _, s := range w.samples {
		if s.action() == actionGet {
			reads++
		}
		seen[s.index()] = true
		if want := vbucket.Of(w.Key(s.index()), 1024); s.vb() != uint16(want) {
			t.Fatalf("key %s: vBucket %d, want %d", w.Key(s.index()), s.vb(), want)
		}
	}
	if share := float64(reads) / 100_000; math.Abs(share-0.95) > 0.005 {
		t.Errorf("share of reads %g, want 0.95", share)
	}
	if len(seen) != 1000 {
		t.Errorf("%d keys were drawn, want all 1000", len(seen))
	}
	again, _ := NewWorkload(o)
	if !slices.Equal(w.samples, again.samples) {
		t.Error("the same seed gave other operations")
	}
	o.Seed++
	if other, _ := NewWorkload(o); slices.Equal(w.samples, other.samples) {
		t.Error("another seed gave the same operations")
	}
}

// TestZipf: the most frequent keys come as often as the distribution says.
func TestZipf(t *testing.T) {
	const keys, theta, draws = 10_000, 0.99, 400_000
	w, err := NewWorkload(WorkloadOptions{Keys: keys, Theta: theta, Samples: draws})
	if err != nil {
		t.Fatal(err)
	}
	counts := make([]int, keys)
	for _, s := range w.samples {
		counts[s.index()]++
	}
	slices.SortFunc(counts, func(a, b int) int { return b - a })
	zeta := 0.0
	for k := range keys {
		zeta += math.Pow(float64(k+1), -theta)
	}
	for k := range 2 { // these two are drawn exactly; the others by an approximation
		got, want := float64(counts[k])/draws, math.Pow(float64(k+1), -theta)/zeta
		if math.Abs(got/want-1) > 0.05 {
			t.Errorf("key of rank %d: share %g, want %g", k+1, got, want)
		}
	}
	top := 0
	for _, n := range counts[:keys/10] {
		top += n
	}
	want := 0.0
	for k := range keys / 10 {
		want += math.Pow(float64(k+1), -theta) / zeta
	}
	if got := float64(top) / draws; math.Abs(got-want) > 0.05 {
		t.Errorf("the most frequent tenth has %g of all, want %g", got, want)
	}
}

// TestValues: values have exactly their size; JSON is JSON, and raw is not.
func TestValues(t *testing.T) {
	for n := leastJSON; n < 3000; n++ {
		v := newValue(JSON, n)
		if len(v.text) != n || !json.Valid(v.text) {
			t.Fatalf("size %d: %d bytes, JSON %v: %s", n, len(v.text), json.Valid(v.text), v.text)
		}
	}
	for n := leastRaw; n < 300; n++ {
		v := newValue(Raw, n)
		if len(v.text) != n || json.Valid(v.text) || n > keyDigits && v.digits != 1 {
			t.Fatalf("size %d: %d bytes, digits at %d: %s", n, len(v.text), v.digits, v.text)
		}
	}
}

// TestWorkloadOptions: what makes no sense is refused.
func TestWorkloadOptions(t *testing.T) {
	for name, o := range map[string]WorkloadOptions{
		"keys": {Keys: -1}, "no room": {KeyBytes: 10, Prefix: "bench:"}, "long key": {KeyBytes: 251}, "blank": {Prefix: "a b"},
		"kind": {Values: "xml"}, "small JSON": {Values: JSON, ValueBytes: []int{19}}, "large": {ValueBytes: []int{MaxValueBytes + 1}},
		"share": {GetShare: 1.1}, "theta": {Theta: 1}, "vbuckets": {VBuckets: 1025}, "samples": {Samples: -1},
		"sizes": {ValueBytes: make([]int, maxSizes+1)},
	} {
		if _, err := NewWorkload(o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: error %v, want ErrOptions", name, err)
		}
	}
}

// TestHistogram: quantiles are those of the sorted list, within 1 %.
func TestHistogram(t *testing.T) {
	var h, halves [2]histogram
	all := &h[0]
	var list []int64
	for i := range 20_000 {
		v := int64(math.Exp(rand.Float64() * 30))
		list = append(list, v)
		all.record(v, 1)
		halves[i%2].record(v, 1)
	}
	halves[0].merge(&halves[1])
	slices.Sort(list)
	for _, q := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
		want := float64(list[max(0, int(math.Ceil(q*20_000))-1)])
		if got := float64(all.quantile(q)); math.Abs(got-want) > want/100+0.5 {
			t.Errorf("quantile %g: %g, want %g", q, got, want)
		}
		if a, b := all.quantile(q), halves[0].quantile(q); a != b {
			t.Errorf("quantile %g: %v, merged %v", q, a, b)
		}
	}
	for _, v := range []uint64{0, 1, 63, 64, 127, 128, 1 << 40, math.MaxUint64} {
		if i := bucketOf(v); i < 0 || i >= numBuckets {
			t.Errorf("bucket of %d is %d of %d", v, i, numBuckets)
		}
	}
	if (&histogram{}).quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
}

// TestNoAllocation: building and scanning batches allocates nothing.
func TestNoAllocation(t *testing.T) {
	w := newTestWorkload(t, WorkloadOptions{GetShare: 0.5})
	for _, p := range Protocols() {
		m, r := codec(p, w)
		batch := w.samples[:64]
		replies := answers(p, batch, w)
		out := m.build(nil, batch)
		var s stream
		s.tail = len(m.tail) > 0
		if n := testing.AllocsPerRun(100, func() {
			out = m.build(out[:0], batch)
			s.begin(batch)
			if used, err := r.scan(&s, replies); err != nil || used != len(replies) || !s.done() {
				t.Fatalf("%s: used %d of %d, done %v, error %v", p, used, len(replies), s.done(), err)
			}
		}); n > 0 {
			t.Errorf("%s: %g allocations a batch", p, n)
		}
		if s.ops != 64*101 || s.errors+s.misses != 0 {
			t.Errorf("%s: counted %+v, want %d operations", p, s.tally, 64*101)
		}
	}
}

// TestResultJSON: the names are documented.
func TestResultJSON(t *testing.T) {
	text, err := json.Marshal(Result{Ops: 1, ServerCPU: 2, Curve: []Point{{0.5, 3}}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"ops":1,"misses":0,"errors":0,"seconds":0,"ops_per_second":0,"server_cpu_ns_per_op":2,"mean_ns":0,` +
		`"p50_ns":0,"p90_ns":0,"p99_ns":0,"p999_ns":0,"max_ns":0,"percentiles":[{"q":0.5,"ns":3}]}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}
