package loadgen

import (
	"math"
	"sync/atomic"
	"time"
)

// pass is one way through a list of samples, over and over until something ends it. All connections take their batches from
// it; with the plain engine they do so at the same time.
type pass struct {
	samples  []sample
	depth    int
	limit    uint64        // operations; 0: as many as there is time for
	duration time.Duration // 0: as long as it takes
	rate     float64       // operations a second; 0: closed loop
	keep     bool          // remember the writes that were refused
	done     *atomic.Uint64

	start time.Time
	next  atomic.Uint64 // ordinal of the next operation
}

// now is the time since the pass began, in ns.
func (p *pass) now() int64 { return int64(time.Since(p.start)) }

// over reports whether the time is up.
func (p *pass) over(now int64) bool { return p.duration > 0 && now >= int64(p.duration) }

// due tells up to which ordinal operations may be sent now.
func (p *pass) due(now int64) uint64 {
	upto := uint64(math.MaxUint64)
	if p.limit > 0 {
		upto = p.limit
	}
	if p.rate > 0 {
		upto = min(upto, uint64(float64(now)*p.rate/1e9)+1)
	}
	return upto
}

// intended is when an operation of the open loop should be sent, in ns since the start.
func (p *pass) intended(ordinal uint64) int64 { return int64(float64(ordinal) * 1e9 / p.rate) }

// take gives the next batch of at most n samples and the ordinal of its first; nil if there is none to be sent now.
func (p *pass) take(now int64, n int) (batch []sample, first uint64) {
	if p.over(now) {
		return nil, 0
	}
	upto := p.due(now)
	for {
		first = p.next.Load()
		if first >= upto {
			return nil, 0
		}
		at := first % uint64(len(p.samples))
		end := min(at+uint64(n), uint64(len(p.samples)), at+upto-first)
		if p.next.CompareAndSwap(first, first+end-at) {
			return p.samples[at:end], first
		}
	}
}

// finished reports whether take will never give a batch again.
func (p *pass) finished(now int64) bool {
	if p.over(now) || p.limit > 0 && p.next.Load() >= p.limit {
		return true
	}
	return p.rate > 0 && p.duration > 0 && p.intended(p.next.Load()) >= int64(p.duration)
}

// unsent tells how many operations of the open loop should have been sent and were not, because all connections were busy.
func (p *pass) unsent() uint64 {
	if p.rate == 0 {
		return 0
	}
	total := uint64(math.Ceil(p.rate * p.duration.Seconds()))
	if p.limit > 0 && (p.duration == 0 || p.limit < total) {
		total = p.limit
	}
	return total - min(total, p.next.Load())
}

// measure is what connections have counted. It belongs to one goroutine.
type measure struct {
	tally
	latency histogram
	example string
	failed  []sample
}

// account moves what a stream has counted since the reply from onwards into the measure.
func (m *measure) account(p *pass, s *stream, from int, now int64) {
	if s.ops == 0 {
		return
	}
	if p.rate > 0 {
		for i := from; i < s.next; i++ {
			m.latency.record(now-p.intended(s.first+uint64(i)), 1)
		}
	} else {
		m.latency.record(now-s.sent, s.ops)
	}
	p.done.Add(s.ops)
	m.add(s.tally)
	s.tally = tally{}
	if s.example != "" && m.example == "" {
		m.example = s.example
	}
	if len(s.failed) > 0 {
		m.failed = append(m.failed, s.failed...)
		s.failed = s.failed[:0]
	}
}

func (t *tally) add(o tally) {
	t.ops += o.ops
	t.misses += o.misses
	t.errors += o.errors
}

func (m *measure) merge(o *measure) {
	m.add(o.tally)
	m.latency.merge(&o.latency)
	if m.example == "" {
		m.example = o.example
	}
	m.failed = append(m.failed, o.failed...)
}
