package metrics

import "testing"

func BenchmarkRecord(b *testing.B) {
	var h Histogram
	for i := range b.N {
		h.RecordNanos(uint64(i))
	}
}

func BenchmarkCounter(b *testing.B) {
	c := NewSet().Counters(Desc{Name: "x_total", Help: "h"}).With()
	for range b.N {
		c.Inc()
	}
}
