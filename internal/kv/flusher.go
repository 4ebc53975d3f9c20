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
// Clients that wait for the disk come back as soon as they are let go. If the next sync began at once it would miss them, and
// in time the clients would form two halves that wait for each other's syncs. So a round waits for as many durable writes as
// the last one let go and as were there already, for a quarter of a sync at most, and for less each time that they did not
// come. One client alone never waits.
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
	asleep  atomic.Bool   // run waits, and a worker has nothing to do: who adds to urgent must rouse it
	pressed atomic.Bool   // the window is full: write without waiting
	wake    chan struct{} // one slot; also the wake of the disk's reader
	quiet   chan func() error
	drain   chan struct{} // closed: write everything, then end

	turns atomic.Uint64 // of run's loop: it must not turn while there is nothing to do

	// The rest belongs to run.
	workers int
	jobs    chan *job
	copied  chan *job
	rounds  chan *round
	synced  chan syncResult
	gather  gathering
	idle    []*job // of workers that have nothing to do
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
	begun  time.Time
	bytes  int
	writes int // durable ones that wait for it
}

// gathering decides for how long an urgent round waits for more durable writes.
type gathering struct {
	expected int           // durable writes that should be in the next round
	since    time.Time     // end of the last sync
	most     time.Duration // that may be waited since then
	patience int           // 0 to maxPatience
}

const (
	maxGather   = 500 * time.Microsecond
	minGather   = 10 * time.Microsecond // below that no timer is set
	maxPatience = 6
)

// ended notes that a sync has ended that let so many writes go, while others were waiting for the next.
func (g *gathering) ended(took time.Duration, released, waiting int) {
	g.since = time.Now()
	g.expected = released + waiting
	g.most = min(took/4, maxGather) >> (maxPatience - g.patience)
}

// left is how long a round with so many writes should go on waiting.
func (g *gathering) left(writes int) time.Duration {
	if writes >= g.expected {
		return 0
	}
	if d := g.most - time.Since(g.since); d >= minGather {
		return d
	}
	return 0
}

// began notes that a round with so many writes is handed over: did those come that were waited for?
func (g *gathering) began(writes int) {
	switch {
	case g.expected == 0:
	case writes*4 >= g.expected*3:
		g.patience = min(g.patience+1, maxPatience)
	default:
		g.patience = max(g.patience-1, 1)
	}
	g.expected = 0
}

func (f *flusher) init(p *persistence) {
	f.p = p
	f.wake = p.b.disk.wake
	f.quiet = make(chan func() error)
	f.drain = make(chan struct{})
	f.workers = min(maxCopiers, max(1, runtime.GOMAXPROCS(0)/2))
	f.jobs = make(chan *job, f.workers)
	f.copied = make(chan *job, f.workers)
	for range f.workers {
		f.idle = append(f.idle, &job{})
	}
	f.rounds = make(chan *round, 1)
	f.synced = make(chan syncResult, 1)
	f.gather.patience = maxPatience
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
		f.turns.Add(1)
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
		var due <-chan time.Time
		if wait < forever {
			timer.Reset(wait)
			due = timer.C
		}
		if len(f.idle) > 0 {
			f.asleep.Store(true)
			if !f.urgent.empty() && f.waiting == nil {
				f.asleep.Store(false)
				continue
			}
		}
		select {
		case <-f.wake:
		case j := <-f.copied:
			if err := f.take(j); err != nil {
				return err
			}
		case r := <-f.synced:
			f.syncing = false
			f.spare, f.handed = f.handed, nil
			if r.err != nil {
				return r.err
			}
			f.gather.ended(r.took, r.released, f.round.writes)
		case f.waiting = <-quiet:
		case <-drain:
			drain, f.ending = nil, true
		case <-due:
		}
		f.asleep.Store(false)
		f.p.b.disk.sleeping.Store(false)
	}
}

// still reports whether nothing is being copied or synced, and nothing waits for a sync.
func (f *flusher) still() bool {
	return len(f.idle) == f.workers && !f.syncing && len(f.round.ids) == 0
}

func (f *flusher) nothingLeft() bool {
	return !f.sweeps && f.urgent.empty() && !f.dirty()
}

// dispatch gives vBuckets to idle workers, as far as something may be copied now. It returns how long run may sleep.
func (f *flusher) dispatch() time.Duration {
	if f.waiting != nil {
		return forever // what is under way ends first
	}
	for len(f.idle) > 0 {
		j := f.idle[len(f.idle)-1]
		j.ids = f.choose(j.ids[:0])
		if len(j.ids) == 0 {
			break
		}
		f.idle = f.idle[:len(f.idle)-1]
		f.jobs <- j
	}
	switch {
	case f.sweeps, len(f.idle) == 0:
		return forever // a result will come
	case len(f.round.ids) > 0 && !f.syncing:
		return f.gather.left(f.round.writes) // 0: it is about to be handed over
	case !f.since.IsZero():
		return max(0, flushInterval-time.Since(f.since))
	}
	// Nothing is dirty: the next writer shall wake us.
	f.p.b.disk.sleeping.Store(true)
	if f.dirty() {
		return 0
	}
	return forever
}

// forever is how long run may sleep when something will wake it.
const forever = time.Duration(1<<63 - 1)

// choose lists vBuckets for one job: those that durable writes wait for, else some of the present sweep.
func (f *flusher) choose(ids []vbucket.ID) []vbucket.ID {
	for len(ids) < urgentJob {
		id, ok := f.urgent.first()
		if !ok {
			break
		}
		if f.has(id) { // a worker has it; it comes back as soon as that has ended
			f.again.add(id)
			continue
		}
		ids = f.give(ids, id)
	}
	if len(ids) > 0 {
		return ids
	}
	for len(ids) < sweepJob {
		id, ok := f.sweepNext()
		if !ok {
			break
		}
		if f.has(id) { // it comes again in the next sweep
			f.p.b.disk.dirty[id/64].Or(1 << (id % 64))
			continue
		}
		ids = f.give(ids, id)
	}
	return ids
}

func (f *flusher) has(id vbucket.ID) bool { return f.busy[id/64].Load()>>(id%64)&1 != 0 }

func (f *flusher) give(ids []vbucket.ID, id vbucket.ID) []vbucket.ID {
	f.p.b.disk.dirty[id/64].And(^(uint64(1) << (id % 64))) // what comes from here on may be missed by the run
	f.busy.add(id)
	return append(ids, id)
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
		f.since = time.Time{} // durable writes have taken it along; a time that is over would keep run from sleeping
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
func (f *flusher) take(j *job) error {
	f.idle = append(f.idle, j)
	for _, id := range j.ids {
		f.busy.take(id)
		if f.again.take(id) {
			f.urgent.add(id)
		}
	}
	if j.err != nil {
		return j.err
	}
	for i := range j.results {
		f.round.add(&j.results[i])
	}
	return nil
}

func (t *round) add(r *copyResult) {
	if len(t.ids) == 0 {
		t.begun = time.Now()
	}
	t.bytes += r.bytes
	t.writes += r.writes
	old := t.ends[r.id]
	switch {
	case !t.has[r.id]:
		t.has[r.id] = true
		t.ids = append(t.ids, r.id)
		t.ends[r.id] = *r
	case r.end == 0: // only a local row
	case old.end == 0:
		t.ends[r.id] = *r
	default: // one snapshot after another: together they are one
		t.ends[r.id].end = r.end
	}
}

// handOver gives the round to the syncing goroutine, if that is idle and no more should be waited for: an urgent round waits
// for the durable writes that are here already, another for the end of its sweep.
func (f *flusher) handOver() {
	t := f.round
	if f.syncing || len(t.ids) == 0 {
		return
	}
	still := len(f.idle) == f.workers
	switch {
	case f.waiting != nil: // dispatch gives out nothing meanwhile
	case t.writes > 0:
		if f.gather.left(t.writes) > 0 || (!still || !f.urgent.empty()) && time.Since(t.begun) < maxGather {
			return
		}
	case t.bytes >= maxRound:
	case f.sweeps, !still:
		return
	}
	f.round, f.spare, f.handed = f.spare, nil, t
	f.syncing = true
	f.gather.began(t.writes)
	f.rounds <- t
}
