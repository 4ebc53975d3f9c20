package kv

import (
	"math/bits"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// flusher writes the feed of a bucket to disk. One goroutine decides (run), a few copy runs of the feed into batches of the
// store (flushcopy.go), and one syncs.
//
// # Group commit
//
// What has been applied is collected in a round. When no sync is under way, the round is handed to the syncing goroutine,
// which syncs once, publishes the persisted seqnos and lets the durable writes go; meanwhile the next round collects. So one
// fsync serves all writes that came while the one before was running, and copying overlaps with syncing by one round.
//
// Durable writes name their vBucket (hurry), and it is copied at once, before all others. Everything else waits until the
// first change of a round is flushInterval old, so that a document that is written often costs one row a round.
//
// # Order
//
// A vBucket is copied by one worker at a time, so its batches reach the store in order. Different vBuckets need no order.
type flusher struct {
	p       *persistence
	urgent  bitset        // vBuckets that a durable write waits for
	pressed atomic.Bool   // the window is full: write without waiting
	wake    chan struct{} // one slot; also the wake of the disk's reader
	quiet   chan func() error
	drain   chan struct{} // closed: write everything, then end

	// The rest belongs to run.
	jobs    chan vbucket.ID
	copied  chan copyResult
	rounds  chan *round
	synced  chan error
	idle    int // workers
	busy    bitset
	again   bitset // urgent ones that a worker has at the moment
	sweep   [vbucket.MaxCount / 64]uint64
	next    int // vBucket at which a sweep goes on
	sweeps  bool
	since   time.Time // when the oldest change that waits was seen, 0: there is none
	round   *round
	spare   *round
	handed  *round // to the syncing goroutine
	syncing bool
	waiting func() error // to be done as soon as nothing is under way
	ending  bool
}

// round is what one sync covers.
type round struct {
	ids    []vbucket.ID
	ends   [vbucket.MaxCount]copyResult // valid for ids
	has    [vbucket.MaxCount]bool
	urgent bool
	begun  time.Time
	bytes  int
}

// maxGather is how long an urgent round gathers more durable writes while others are on their way into it.
const maxGather = 500 * time.Microsecond

func (f *flusher) init(p *persistence) {
	f.p = p
	f.wake = p.b.disk.wake
	f.quiet = make(chan func() error)
	f.drain = make(chan struct{})
	f.idle = min(maxCopiers, max(1, runtime.GOMAXPROCS(0)/2))
	f.jobs = make(chan vbucket.ID, f.idle)
	f.copied = make(chan copyResult, f.idle)
	f.rounds = make(chan *round, 1)
	f.synced = make(chan error, 1)
	f.round, f.spare = &round{}, &round{}
}

// rouse makes run look again.
func (f *flusher) rouse() {
	select {
	case f.wake <- struct{}{}:
	default: // it has been woken already
	}
}

// run writes until drain is closed and everything is on disk, or until the disk fails.
func (f *flusher) run() error {
	stop := f.start()
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	drain := f.drain
	for {
		wait := f.dispatch()
		f.handOver()
		if f.still() {
			if do := f.waiting; do != nil {
				f.waiting = nil
				if err := do(); err != nil {
					return err
				}
				continue
			}
			if f.ending && f.nothingLeft() {
				return nil
			}
		}
		quiet := f.quiet
		if f.waiting != nil {
			quiet = nil
		}
		timer.Reset(wait)
		select {
		case <-f.wake:
		case r := <-f.copied:
			if err := f.take(r); err != nil {
				return err
			}
		case err := <-f.synced:
			f.syncing = false
			f.spare, f.handed = f.handed, nil
			if err != nil {
				return err
			}
		case f.waiting = <-quiet:
		case <-drain:
			drain, f.ending = nil, true
		case <-timer.C:
		}
		f.p.b.disk.sleeping.Store(false)
	}
}

// still reports whether nothing is being copied or synced, and nothing waits for a sync.
func (f *flusher) still() bool {
	return f.idle == cap(f.jobs) && !f.syncing && len(f.round.ids) == 0
}

func (f *flusher) nothingLeft() bool {
	return !f.sweeps && f.urgent.empty() && !f.dirty()
}

// dispatch gives vBuckets to idle workers, as far as something may be copied now. It returns how long run may sleep.
func (f *flusher) dispatch() time.Duration {
	if f.waiting != nil {
		return time.Hour // what is under way ends first
	}
	for f.idle > 0 {
		id, ok := f.urgent.first()
		if ok && f.busy[id/64].Load()>>(id%64)&1 != 0 {
			f.again.add(id)
			continue
		}
		if !ok {
			if id, ok = f.sweepNext(); !ok {
				break
			}
		}
		if f.busy[id/64].Load()>>(id%64)&1 != 0 { // a worker has it: it comes again in the next sweep
			f.p.b.disk.dirty[id/64].Or(1 << (id % 64))
			continue
		}
		f.p.b.disk.dirty[id/64].And(^(uint64(1) << (id % 64))) // what comes from here on may be missed by the run
		f.busy.add(id)
		f.idle--
		f.jobs <- id
	}
	switch {
	case f.sweeps, f.idle == 0:
		return time.Hour // a result will come
	case len(f.round.ids) > 0 && !f.syncing:
		return maxGather
	case !f.since.IsZero():
		return max(0, flushInterval-time.Since(f.since))
	}
	// Nothing is dirty: the next writer shall wake us.
	f.p.b.disk.sleeping.Store(true)
	if f.dirty() {
		return 0
	}
	return time.Hour
}

// dirty reports whether some vBucket has changes that no sweep has taken.
func (f *flusher) dirty() bool {
	for w := range f.p.b.disk.dirty {
		if f.p.b.disk.dirty[w].Load() != 0 {
			return true
		}
	}
	return false
}

// sweepNext gives the next vBucket of the present sweep; if there is none and one is due, it begins one with everything that
// is dirty now. A sweep goes round from where the last one ended, so that none starves.
func (f *flusher) sweepNext() (vbucket.ID, bool) {
	if !f.sweeps {
		if !f.due() {
			return 0, false
		}
		f.since = time.Time{}
		f.pressed.Store(false)
		for w := range f.sweep {
			f.sweep[w] = f.p.b.disk.dirty[w].Swap(0)
		}
		f.sweeps = true
	}
	words := len(f.sweep)
	for i := range words + 1 {
		w := (f.next/64 + i) % words
		set := f.sweep[w]
		if i == 0 {
			set &= ^uint64(0) << (f.next % 64)
		}
		if set == 0 {
			continue
		}
		n := bits.TrailingZeros64(set)
		f.sweep[w] &^= 1 << n
		f.next = (w*64 + n + 1) % vbucket.MaxCount
		return vbucket.ID(w*64 + n), true
	}
	f.sweeps = false
	return 0, false
}

// due reports whether a sweep may begin.
func (f *flusher) due() bool {
	switch {
	case !f.dirty():
		return false
	case f.ending, f.pressed.Load():
		return true
	case f.since.IsZero():
		f.since = time.Now()
		return false
	}
	return time.Since(f.since) >= flushInterval
}

// take adds what a worker has applied to the round.
func (f *flusher) take(r copyResult) error {
	f.idle++
	f.busy.take(r.id)
	if f.again.take(r.id) {
		f.urgent.add(r.id)
	}
	if r.err != nil {
		return r.err
	}
	if !r.wrote {
		return nil
	}
	t := f.round
	if len(t.ids) == 0 {
		t.begun = time.Now()
	}
	if t.has[r.id] {
		r.low = t.ends[r.id].low // one snapshot after another: together they are one
	} else {
		t.has[r.id] = true
		t.ids = append(t.ids, r.id)
	}
	t.ends[r.id] = r
	t.urgent = t.urgent || r.urgent
	t.bytes += r.bytes
	return nil
}

// handOver gives the round to the syncing goroutine, if that is idle and no more should be waited for: an urgent round waits
// for the durable writes that are here already, another for the end of its sweep.
func (f *flusher) handOver() {
	t := f.round
	if f.syncing || len(t.ids) == 0 {
		return
	}
	still := f.idle == cap(f.jobs)
	switch {
	case f.waiting != nil: // dispatch gives out nothing meanwhile
	case t.urgent:
		if !(still && f.urgent.empty()) && time.Since(t.begun) < maxGather {
			return
		}
	case t.bytes >= maxRound:
	case f.sweeps, !still:
		return
	}
	f.round, f.spare, f.handed = f.spare, nil, t
	f.syncing = true
	f.rounds <- t
}
