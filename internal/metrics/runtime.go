package metrics

import (
	"math"
	"runtime/metrics"
)

// runtimeFamily says which sample of package runtime/metrics is exposed under which family.
type runtimeFamily struct {
	sample string
	desc   Desc
}

func runtimeFamilies() []runtimeFamily {
	return []runtimeFamily{
		{"/sched/goroutines:goroutines", Desc{Name: "go_goroutines", Help: "Goroutines that exist.", Kind: KindGauge}},
		{"/memory/classes/heap/objects:bytes", Desc{
			Name: "go_heap_bytes", Help: "Memory of live and not yet swept heap objects.",
			Unit: Bytes, Kind: KindGauge,
		}},
		{"/memory/classes/total:bytes", Desc{
			Name: "go_memory_bytes",
			Help: "Memory mapped by the Go runtime; documents are kept beside it.", Unit: Bytes, Kind: KindGauge,
		}},
		{"/gc/cycles/total:gc-cycles", Desc{Name: "go_gc_cycles_total", Help: "Finished collections.", Kind: KindCounter}},
		{"/cpu/classes/gc/total:cpu-seconds", Desc{
			Name: "go_gc_cpu_seconds_total", Help: "Processor time of the collector, estimated.",
			Unit: Seconds, Kind: KindCounter,
		}},
		{"/sync/mutex/wait/total:seconds", Desc{
			Name: "go_mutex_wait_seconds_total", Help: "Time goroutines have waited for mutexes.",
			Unit: Seconds, Kind: KindCounter,
		}},
		{"/sched/pauses/total/gc:seconds", Desc{
			Name: "go_gc_pause_seconds", Help: "Times for which a collection stopped the world.",
			Unit: Seconds, Kind: KindHistogram,
		}},
		{"/sched/latencies:seconds", Desc{
			Name: "go_sched_latency_seconds", Help: "Times goroutines waited to run.",
			Unit: Seconds, Kind: KindHistogram,
		}},
	}
}

// AppendRuntime appends what the Go runtime of this process says of itself.
func AppendRuntime(s *Snapshot) {
	families := runtimeFamilies()
	samples := make([]metrics.Sample, len(families))
	for i := range families {
		samples[i].Name = families[i].sample
	}
	metrics.Read(samples)
	for i, f := range families {
		switch v := samples[i].Value; v.Kind() {
		case metrics.KindUint64:
			s.Value(f.desc, float64(v.Uint64()))
		case metrics.KindFloat64:
			s.Value(f.desc, v.Float64())
		case metrics.KindFloat64Histogram:
			d := fromRuntime(v.Float64Histogram())
			s.Append(f.desc, Series{Histogram: &d})
		case metrics.KindBad: // this version of Go does not have it
		}
	}
}

// fromRuntime converts a histogram of seconds. Each bucket's count goes to our bucket of its middle; the sum is estimated
// from the middles, because the runtime keeps none.
func fromRuntime(h *metrics.Float64Histogram) Distribution {
	var counts [NumBuckets]uint64
	d := Distribution{}
	for i, n := range h.Counts {
		if n == 0 {
			continue
		}
		low, high := h.Buckets[i], h.Buckets[i+1]
		if math.IsInf(low, -1) {
			low = 0
		}
		if math.IsInf(high, 1) {
			high = low
		}
		ns := uint64((low + high) / 2 * 1e9)
		counts[BucketOf(ns)] += n
		d.Count += n
		d.SumNs += n * ns
	}
	for i, n := range counts {
		if n > 0 {
			d.Buckets = append(d.Buckets, BucketCount{i, n})
		}
	}
	return d
}
