package metrics

import (
	"math"
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each family is there with a plausible value and passes the check of descriptions.
func TestRuntime(t *testing.T) {
	runtime.GC()
	s := &Snapshot{}
	AppendRuntime(s)
	if len(s.Families) != len(runtimeFamilies()) {
		t.Errorf("%d families, want %d", len(s.Families), len(runtimeFamilies()))
	}
	for _, f := range s.Families {
		if err := f.validate(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"go_goroutines", "go_heap_bytes", "go_memory_bytes", "go_gc_cycles_total"} {
		if v := s.Find(name).Series[0].Value; v < 1 {
			t.Errorf("%s = %g", name, v)
		}
	}
	if n := s.Find("go_gc_pause_seconds").Series[0].Histogram.Count; n == 0 {
		t.Error("no pause after a collection")
	}
}

// The runtime's buckets, the endless ones too, end up in ours.
func TestFromRuntime(t *testing.T) {
	got := fromRuntime(&metrics.Float64Histogram{
		Counts:  []uint64{1, 0, 2, 3},
		Buckets: []float64{math.Inf(-1), 0.000001, 0.000002, 0.000004, math.Inf(1)},
	})
	want := Distribution{Count: 6, SumNs: 500 + 2*3000 + 3*4000, Buckets: []BucketCount{{BucketOf(500), 1}, {BucketOf(3000), 2}, {BucketOf(4000), 3}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
