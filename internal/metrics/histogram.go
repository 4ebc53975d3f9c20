package metrics

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// NumBuckets is the number of buckets of a Histogram.
const NumBuckets = 496

// Histogram is a distribution of durations: 496 buckets, eight linear ones in each power of two of nanoseconds. A bucket is
// at most an eighth of its lower bound wide, so a quantile read from its middle is off by at most 6.25 % (observability.md
// 6.3). The zero value is ready. Recording is one atomic addition to a bucket and one to the sum.
type Histogram struct {
	sum     atomic.Uint64 // nanoseconds
	buckets [NumBuckets]atomic.Uint64
}

// Record counts one duration; a negative one counts as 0.
func (h *Histogram) Record(d time.Duration) {
	h.RecordNanos(uint64(max(d, 0)))
}

// RecordNanos counts one duration given in nanoseconds.
func (h *Histogram) RecordNanos(ns uint64) {
	h.buckets[BucketOf(ns)].Add(1)
	h.sum.Add(ns)
}

// RecordMany counts n durations of ns nanoseconds each, at the price of one.
func (h *Histogram) RecordMany(ns, n uint64) {
	h.buckets[BucketOf(ns)].Add(n)
	h.sum.Add(ns * n)
}

// BucketOf gives the index of the bucket that counts ns nanoseconds.
func BucketOf(ns uint64) int {
	e := bits.Len64(ns)
	if e <= 3 {
		return int(ns)
	}
	return (e-3)*8 + int(ns>>(e-4)&7)
}

// BucketLower gives the lowest number of nanoseconds that bucket i counts.
func BucketLower(i int) uint64 {
	if i < 8 {
		return uint64(i)
	}
	return uint64(8+i&7) << (i>>3 - 1)
}

func bucketMiddle(i int) uint64 {
	if i < 16 {
		return BucketLower(i) // one nanosecond wide
	}
	return BucketLower(i) + 1<<(i>>3-1)/2
}

// Distribution is what a Histogram held at one moment. Buckets lists the buckets that are not empty, by rising index.
type Distribution struct {
	Count   uint64        `json:"count"`
	SumNs   uint64        `json:"sumNs"`
	Buckets []BucketCount `json:"buckets,omitempty"`
}

// BucketCount is one bucket of a Distribution.
type BucketCount struct {
	Index int    `json:"i"`
	Count uint64 `json:"n"`
}

// Snapshot copies what the histogram holds.
func (h *Histogram) Snapshot() Distribution {
	d := Distribution{SumNs: h.sum.Load()}
	for i := range h.buckets {
		if n := h.buckets[i].Load(); n > 0 {
			d.Buckets = append(d.Buckets, BucketCount{i, n})
			d.Count += n
		}
	}
	return d
}

// Merge returns the sum of two distributions. Neither is changed.
func (d Distribution) Merge(o Distribution) Distribution {
	out := Distribution{Count: d.Count + o.Count, SumNs: d.SumNs + o.SumNs}
	a, b := d.Buckets, o.Buckets
	out.Buckets = make([]BucketCount, 0, len(a)+len(b))
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Index < b[0].Index:
			out.Buckets, a = append(out.Buckets, a[0]), a[1:]
		case len(a) == 0 || b[0].Index < a[0].Index:
			out.Buckets, b = append(out.Buckets, b[0]), b[1:]
		default:
			out.Buckets = append(out.Buckets, BucketCount{a[0].Index, a[0].Count + b[0].Count})
			a, b = a[1:], b[1:]
		}
	}
	return out
}

// Quantile gives the duration below which the share q (0 to 1) of the recorded ones lies, as the middle of its bucket, or 0
// when nothing was recorded.
func (d Distribution) Quantile(q float64) time.Duration {
	if d.Count == 0 {
		return 0
	}
	rank := uint64(q * float64(d.Count))
	rank = min(rank, d.Count-1)
	for _, b := range d.Buckets {
		if rank < b.Count {
			return time.Duration(min(bucketMiddle(b.Index), math.MaxInt64))
		}
		rank -= b.Count
	}
	return 0
}

// CountBelow gives how many recorded durations are shorter than ns nanoseconds. It is exact when ns is a bucket's lower
// bound.
func (d Distribution) CountBelow(ns uint64) uint64 {
	limit, n := BucketOf(ns), uint64(0)
	for _, b := range d.Buckets {
		if b.Index >= limit {
			break
		}
		n += b.Count
	}
	return n
}
