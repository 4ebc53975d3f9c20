package metrics

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The vectors of observability.md 6.3, and each bucket's bounds against the bucket that they fall into.
func TestBuckets(t *testing.T) {
	vectors := map[uint64]int{7: 7, 8: 8, 16: 16, 1000: 63, 1_000_000: 143, 5_242_879: 161, 5_242_880: 162, math.MaxUint64: 495}
	for ns, want := range vectors {
		if got := BucketOf(ns); got != want {
			t.Errorf("BucketOf(%d) = %d, want %d", ns, got, want)
		}
	}
	for i := range NumBuckets {
		lower := BucketLower(i)
		if BucketOf(lower) != i {
			t.Errorf("the lower bound %d of bucket %d falls into bucket %d", lower, i, BucketOf(lower))
		}
		if i > 0 && BucketOf(lower-1) != i-1 {
			t.Errorf("%d, just below bucket %d, falls into bucket %d", lower-1, i, BucketOf(lower-1))
		}
	}
	for _, e := range ExposedEdges() {
		if BucketLower(BucketOf(e)) != e {
			t.Errorf("the exposed edge %d is not the bound of a bucket", e)
		}
	}
}

// Quantiles of a known distribution are within the promised error.
func TestQuantile(t *testing.T) {
	var h Histogram
	for us := range 1000 {
		h.Record(time.Duration(us+1) * time.Microsecond)
	}
	d := h.Snapshot()
	if d.Count != 1000 || d.SumNs != 500500*1000 {
		t.Errorf("count %d, sum %d", d.Count, d.SumNs)
	}
	for _, q := range []float64{0, 0.1, 0.5, 0.9, 0.99, 1} {
		want := max(q*1e6, 1e3)
		got := float64(d.Quantile(q))
		if math.Abs(got-want) > want*0.0625+2000 {
			t.Errorf("quantile %g = %g ns, want about %g", q, got, want)
		}
	}
	if got := d.CountBelow(5 << 20); got != 1000 {
		t.Errorf("CountBelow(5<<20) = %d, want 1000", got)
	}
	if got := d.CountBelow(1 << 19); got != 524 {
		t.Errorf("CountBelow(1<<19) = %d, want 524", got)
	}
	if got := (Distribution{}).Quantile(0.5); got != 0 {
		t.Errorf("quantile of nothing = %v", got)
	}
	h.RecordNanos(math.MaxUint64)
	if got := h.Snapshot().Quantile(1); got <= 0 {
		t.Errorf("quantile with the last bucket = %v, want a positive duration", got)
	}
}

func testSet(start uint64) *Set {
	s := NewSet()
	s.Counters(Desc{Name: "ops_total", Help: "h", Labels: []Label{{Name: "op"}, BucketLabel()}}).With("get", "b").Add(start)
	s.Gauges(Desc{Name: "used_bytes", Help: "h", Unit: Bytes}).With().Set(float64(start) / 2)
	s.Histograms(Desc{Name: "wait_seconds", Help: "h"}).With().RecordNanos(start)
	return s
}

// A merged snapshot holds the sums, and an encoded one is the same after decoding.
func TestSnapshotMergeAndEncode(t *testing.T) {
	a, b := testSet(10).Snapshot(), testSet(100).Snapshot()
	other := NewSet()
	other.Counters(Desc{Name: "ops_total", Help: "h", Labels: []Label{{Name: "op"}, BucketLabel()}}).With("set", "b").Add(7)
	other.Gauges(Desc{Name: "more", Help: "h"}).With().Set(1)
	sum := &Snapshot{}
	for _, s := range []*Snapshot{a, b, other.Snapshot()} {
		sum.Merge(s)
	}
	want := []Series{{Labels: []string{"get", "b"}, Value: 110}, {Labels: []string{"set", "b"}, Value: 7}}
	if diff := cmp.Diff(want, sum.Find("ops_total").Series); diff != "" {
		t.Errorf("ops_total (-want +got):\n%s", diff)
	}
	if got := sum.Find("used_bytes").Series[0].Value; got != 55 {
		t.Errorf("used_bytes = %g, want 55", got)
	}
	d := sum.Find("wait_seconds").Series[0].Histogram
	if diff := cmp.Diff(&Distribution{2, 110, []BucketCount{{BucketOf(10), 1}, {BucketOf(100), 1}}}, d); diff != "" {
		t.Errorf("wait_seconds (-want +got):\n%s", diff)
	}
	if got := a.Find("ops_total").Series[0].Value; got != 10 {
		t.Errorf("merging changed its source: %g", got)
	}
	text, err := json.Marshal(sum)
	if err != nil {
		t.Fatal(err)
	}
	var back Snapshot
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sum, &back); diff != "" {
		t.Errorf("after encoding (-want +got):\n%s", diff)
	}
}

// A family that came with other labels or another kind is not mixed in.
func TestMergeOfStrangers(t *testing.T) {
	s := testSet(1).Snapshot()
	s.Merge(&Snapshot{Families: []Family{
		{Desc: Desc{Name: "ops_total", Kind: KindGauge, Labels: []Label{{Name: "op"}, {Name: "bucket"}}}, Series: []Series{{Value: 5}}},
		{Desc: Desc{Name: "used_bytes", Kind: KindGauge, Labels: []Label{{Name: "x"}}}, Series: []Series{{Value: 5, Labels: []string{"v"}}}},
	}})
	if len(s.Find("ops_total").Series) != 1 || len(s.Find("used_bytes").Series) != 1 {
		t.Errorf("strangers were merged: %+v", s)
	}
}

// Beyond the bound of a label, members are counted under Other; a forgotten value makes room.
func TestLabelBound(t *testing.T) {
	s := NewSet()
	f := s.Counters(Desc{Name: "x_total", Help: "h", Labels: []Label{{Name: "k", Max: 2}}})
	for i := range 5 {
		f.With(fmt.Sprint(i)).Inc()
	}
	want := []Series{{Labels: []string{"0"}, Value: 1}, {Labels: []string{"1"}, Value: 1}, {Labels: []string{Other}, Value: 3}}
	if diff := cmp.Diff(want, s.Snapshot().Find("x_total").Series); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	f.Forget(0, "1")
	f.With("7").Add(9)
	want[1] = want[2]
	want[2] = Series{Labels: []string{"7"}, Value: 9}
	if diff := cmp.Diff(want, s.Snapshot().Find("x_total").Series); diff != "" {
		t.Errorf("after Forget (-want +got):\n%s", diff)
	}
}

// What is wrong in a description is found when it is registered.
func TestBadDescriptions(t *testing.T) {
	f := func(d Desc, kind Kind) {
		t.Helper()
		defer func() {
			t.Helper()
			if recover() == nil {
				t.Errorf("%+v was accepted", d)
			}
		}()
		s := NewSet()
		s.Gauges(Desc{Name: "taken", Help: "h"})
		if kind == KindCounter {
			s.Counters(d)
		} else {
			s.Gauges(d)
		}
	}
	f(Desc{Name: "Big", Help: "h"}, KindGauge)
	f(Desc{Name: "", Help: "h"}, KindGauge)
	f(Desc{Name: "x"}, KindGauge)
	f(Desc{Name: "x", Help: "h"}, KindCounter)
	f(Desc{Name: "x_total", Help: "h"}, KindGauge)
	f(Desc{Name: "x", Help: "h", Unit: Bytes}, KindGauge)
	f(Desc{Name: "x", Help: "h", Labels: []Label{{Name: "le"}}}, KindGauge)
	f(Desc{Name: "taken", Help: "h"}, KindGauge)
}

// Concurrent use loses no count.
func TestConcurrent(t *testing.T) {
	s := NewSet()
	c := s.Counters(Desc{Name: "x_total", Help: "h", Labels: []Label{{Name: "k"}}})
	g := s.Gauges(Desc{Name: "g", Help: "h"})
	h := s.Histograms(Desc{Name: "h_seconds", Help: "h"})
	var wait sync.WaitGroup
	for w := range 4 {
		wait.Go(func() {
			for i := range 500 {
				c.With(fmt.Sprint(i % 3)).Inc()
				g.With().Add(1)
				h.With().RecordNanos(uint64(w*i) + 1)
				if i%100 == 0 {
					s.Snapshot()
				}
			}
		})
	}
	wait.Wait()
	snap := s.Snapshot()
	sum := 0.0
	for _, one := range snap.Find("x_total").Series {
		sum += one.Value
	}
	if sum != 2000 || snap.Find("g").Series[0].Value != 2000 || snap.Find("h_seconds").Series[0].Histogram.Count != 2000 {
		t.Errorf("counts were lost: %+v", snap)
	}
}
