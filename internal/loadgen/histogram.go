package loadgen

import (
	"math"
	"math/bits"
	"time"
)

// Buckets of the histogram: 64 linear ones in each power of two of nanoseconds, so that a value read back is off by less
// than 1 %.
const (
	subBits    = 6
	subBuckets = 1 << subBits
	numBuckets = (64 - subBits + 1) * subBuckets
)

// histogram is a distribution of latencies. It belongs to one goroutine, which makes recording one addition; a histogram of
// package metrics is coarser and has atomics.
type histogram struct {
	count   uint64
	sum     uint64
	max     uint64
	buckets [numBuckets]uint64
}

func bucketOf(ns uint64) int {
	e := bits.Len64(ns)
	if e <= subBits {
		return int(ns)
	}
	return (e-subBits)*subBuckets + int(ns>>(e-subBits-1)&(subBuckets-1))
}

// bucketMiddle gives the middle of what bucket i counts.
func bucketMiddle(i int) uint64 {
	if i < 2*subBuckets {
		return uint64(i)
	}
	shift := i>>subBits - 1
	return uint64(subBuckets+i&(subBuckets-1))<<shift + 1<<shift/2
}

// record counts n latencies of ns nanoseconds each.
func (h *histogram) record(ns int64, n uint64) {
	v := uint64(max(ns, 0))
	h.buckets[bucketOf(v)] += n
	h.count += n
	h.sum += v * n
	h.max = max(h.max, v)
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.count += o.count
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// quantile gives the latency that the share q of all does not exceed; 0 if there is none.
func (h *histogram) quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.count)))
	rank = min(max(rank, 1), h.count)
	for i, n := range &h.buckets {
		if rank <= n {
			return time.Duration(min(bucketMiddle(i), h.max))
		}
		rank -= n
	}
	return time.Duration(h.max)
}
