package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// persistence is the part of a bucket that deals with the disk: recovery at the start (recover.go), loading (warmup.go),
// writing (flusher.go, flushcopy.go), reading what is not in memory (fetch.go, preload.go), ejecting it (evict.go) and
// watching the disk (keeper.go).
type persistence struct {
	b       *Bucket
	flusher flusher
	loader  loader
	fetches chan struct{} // one slot for each read of the disk that is under way
	ended   chan struct{} // closed when runStore has returned
	ceiling atomic.Int64  // wall time that no CAS may pass, in nanoseconds (kv.md 5)
	maxCAS  atomic.Uint64 // highest CAS that the flusher has seen
	epoch   atomic.Uint32 // of ejection, 1 to 31, see evict.go
	ejector ejector
	purges  bitset // vBuckets whose old tombstones are due
	most    int    // bytes of a run that become visible on disk at once
	brake   atomic.Int64
	space   atomic.Uint64 // bytes on disk
	failed  atomic.Bool   // nothing will reach the disk any more
}

// diskState is what a vBucket knows of its rows on disk. It belongs to the vBucket's lock.
type diskState struct {
	cursor     *cursor // the flusher's place; nil: the vBucket is not written
	known      bool    // it has local rows
	stale      bool    // its Local is not what is on disk
	generation int     // how often it was emptied or given up: what was read from disk before is void
	tombstones int     // on disk, at least; 0 means that there are none
	dead       *deadKeys
	damage     error // why it is quarantined, nil: it is not
	loaded     storage.State
	opaque     map[string]json.RawMessage
}

// bitset is a set of vBuckets that may be used by several goroutines.
type bitset [vbucket.MaxCount / 64]atomic.Uint64

func (s *bitset) add(id vbucket.ID) {
	if word, bit := &s[id/64], uint64(1)<<(id%64); word.Load()&bit == 0 {
		word.Or(bit)
	}
}

// take removes a vBucket and reports whether it was in the set.
func (s *bitset) take(id vbucket.ID) bool {
	bit := uint64(1) << (id % 64)
	return s[id/64].Load()&bit != 0 && s[id/64].And(^bit)&bit != 0
}

// first removes the lowest vBucket of the set.
func (s *bitset) first() (vbucket.ID, bool) {
	for w := range s {
		if set := s[w].Load(); set != 0 {
			n := bits.TrailingZeros64(set)
			s[w].And(^(uint64(1) << n))
			return vbucket.ID(w*64 + n), true
		}
	}
	return 0, false
}

func (s *bitset) empty() bool {
	for w := range s {
		if s[w].Load() != 0 {
			return false
		}
	}
	return true
}

func newPersistence(b *Bucket) *persistence {
	p := &persistence{b: b, fetches: make(chan struct{}, maxFetches), ended: make(chan struct{}), most: maxBatch}
	p.flusher.init(p)
	p.epoch.Store(1)
	return p
}

// capped holds a reading of the clock below the ceiling that is on disk: after a crash CAS values begin above it, so none
// that was given can be given again, even if the clock jumped ahead and back.
func (b *Bucket) capped(at hlc.Time) hlc.Time {
	if b.persist != nil {
		at.Wall = min(at.Wall, b.persist.ceiling.Load())
	}
	return at
}

// runStore loads, persists, fetches and ejects until ctx ends. Then it stops serving, writes what is still in memory only,
// and notes that the bucket was closed in order. It returns an error when the disk fails: nothing is acknowledged as
// persisted after that.
func (b *Bucket) runStore(ctx context.Context) error {
	if b.store == nil {
		return nil
	}
	p := b.persist
	defer close(p.ended)
	work, stop := context.WithCancel(ctx)
	defer stop()
	var helpers, writing sync.WaitGroup
	var failure error
	writing.Go(func() {
		if failure = p.flusher.run(); failure != nil {
			p.giveUp()
		}
		stop()
	})
	helpers.Go(func() { p.load(work) })
	helpers.Go(func() { p.keep(work) })
	helpers.Go(func() { p.runEjector(work) })
	helpers.Wait()
	p.freeze()
	close(p.flusher.drain)
	done := make(chan struct{})
	helpers.Go(func() { p.tellProgress(done) })
	writing.Wait()
	close(done)
	helpers.Wait()
	if failure != nil {
		return fmt.Errorf("bucket %s: %w", b.Spec().Name, failure)
	}
	return p.finish()
}

// giveUp lets everybody know that nothing will reach the disk any more: mutations are refused, and nobody can say of those
// that wait for the disk whether they will be there after the next start.
func (p *persistence) giveUp() {
	p.failed.Store(true)
	p.b.refusing.Store(true)
	for i := range p.b.vbs {
		vb := &p.b.vbs[i]
		vb.mu.Lock()
		vb.release(vbucket.MaxSeqno, ErrDurabilityAmbiguous)
		vb.mu.Unlock()
	}
}

// load loads all vBuckets with as many workers as there are processors, then values as far as they fit.
func (p *persistence) load(ctx context.Context) {
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() { p.loadAll(ctx) })
	}
	wait.Wait()
	if ctx.Err() == nil {
		p.b.logger.Info("all keys are loaded", "bucket", p.b.Spec().Name)
		p.preload(ctx)
	}
}

// freeze ends serving: operations are told to try again, as while loading, and find the bucket closed then.
func (p *persistence) freeze() {
	for i := range p.b.vbs {
		vb := &p.b.vbs[i]
		vb.mu.Lock()
		if vb.mu.ready {
			vb.mu.ready = false
			vb.mu.warm = make(chan struct{})
		}
		vb.mu.Unlock()
		p.b.disk.mark(vb.id) // a writer may not have come to it
	}
}

// tellProgress says every while how much is left to write before the bucket can be closed.
func (p *persistence) tellProgress(done <-chan struct{}) {
	timer := time.NewTicker(progressInterval)
	defer timer.Stop()
	for {
		select {
		case <-done:
			return
		case <-timer.C:
			p.b.logger.Info("stopping: writing what is not on disk yet", "changes", p.unsaved())
		}
	}
}

// finish marks the bucket as closed in order, if everything is on disk.
func (p *persistence) finish() error {
	for i := range p.b.vbs {
		vb := &p.b.vbs[i]
		vb.mu.Lock()
		whole := vb.mu.persisted == vb.mu.high && vb.mu.disk.damage == nil
		vb.mu.Unlock()
		if !whole {
			return nil // the next start takes it for what it is
		}
	}
	if err := p.b.store.MarkClean(); err != nil {
		return fmt.Errorf("close bucket %s: %w", p.b.Spec().Name, err)
	}
	return nil
}

// hurry has the flusher write a vBucket now: a durable write waits for it.
func (b *Bucket) hurry(id vbucket.ID) {
	if b.persist != nil {
		b.persist.flusher.urgent.add(id)
		if b.persist.flusher.asleep.Load() {
			b.persist.flusher.rouse()
		}
	}
}

// press has the flusher write everything now: the window is full.
func (b *Bucket) press() {
	if b.persist != nil && !b.persist.flusher.pressed.Swap(true) {
		b.persist.flusher.rouse()
	}
}

// diskBytes is how much of the disk the bucket took a moment ago. To find out may need the disk itself, so it is done in the
// background.
func (b *Bucket) diskBytes() uint64 {
	if b.persist == nil {
		return 0
	}
	return b.persist.space.Load()
}

// flushStore is Flush for a persistent bucket. The flusher does it between two rounds: memory first, then the disk, where
// all goes at once. A crash in between leaves the old count, and Flush is called again after the start.
func (b *Bucket) flushStore(count uint64) error {
	done := make(chan error, 1)
	select {
	case b.persist.flusher.quiet <- func() error {
		err := b.persist.emptyAll(count)
		done <- err
		return err
	}:
	case <-b.persist.ended:
		return ErrClosed
	case <-b.closing:
		return ErrClosed
	}
	select {
	case err := <-done:
		return err
	case <-b.persist.ended:
		return ErrClosed
	}
}

// emptyAll empties all vBuckets. It is called while nothing is being written.
func (p *persistence) emptyAll(count uint64) error {
	b := p.b
	list := make([]storage.VB, 0, len(b.vbs))
	for i := range b.vbs {
		vb := &b.vbs[i]
		b.empty(vb)
		vb.mu.Lock()
		vb.mu.disk.generation++
		vb.mu.disk.tombstones = 0
		if c := vb.mu.disk.cursor; c != nil {
			c.next, c.chunk, c.index = 1, nil, 0
		}
		if !vb.mu.ready && vb.mu.disk.damage == nil {
			vb.becomeReady()
		}
		if vb.mu.uuid != 0 {
			list = append(list, storage.VB{ID: vb.id, State: vb.stateRow(0, 0), Local: vb.localRow()})
			list[len(list)-1].State.High, list[len(list)-1].State.Items, list[len(list)-1].State.Bytes = 0, 0, 0
			vb.mu.disk.known, vb.mu.disk.stale = true, false
		}
		vb.mu.Unlock()
		b.disk.mark(vb.id)
	}
	if err := b.store.Flush(count, list); err != nil {
		return err
	}
	b.meta.Lock()
	b.meta.flushed = max(b.meta.flushed, count)
	b.meta.Unlock()
	b.exhausted.Store(false)
	return nil
}

// becomeReady lets a vBucket serve. Call it with the lock held.
func (vb *vBucket) becomeReady() {
	vb.mu.ready = true
	close(vb.mu.warm)
	if vb.mu.state == vbucket.Active && vb.mu.uuid == 0 {
		vb.beginBranch()
	}
}

// localRow is what is to be kept of the vBucket beside its documents. Call it with the lock held, if there is a history.
func (vb *vBucket) localRow() storage.Local {
	return storage.Local{
		State: vb.mu.state, Failover: vb.mu.failovers, Purge: vb.mu.purge, Stable: vb.mu.persisted, Opaque: vb.mu.disk.opaque,
	}
}

// stateRow describes the vBucket as it is at its high seqno, as the end of a snapshot after low. Call it with the lock held.
func (vb *vBucket) stateRow(low, end vbucket.Seqno) storage.State {
	s := vb.mu.disk.loaded // keeps what the replication protocol has there
	s.High, s.SnapStart, s.SnapEnd, s.MaxVisible = end, low, end, end
	s.MaxCAS = vbucket.CAS(vb.mu.clock.Last())
	s.MaxDeletedRev = vb.mu.maxDeletedRev
	s.Items, s.Bytes = uint64(vb.mu.items), uint64(vb.mu.docBytes)
	return s
}

// quarantine gives a vBucket up whose rows on disk are damaged: it is not served from this disk any more, and what it has in
// memory goes, because nobody can say what of it is true. Other vBuckets go on.
func (b *Bucket) quarantine(vb *vBucket, damage error) {
	vb.mu.Lock()
	if vb.mu.closed || vb.mu.disk.damage != nil {
		vb.mu.Unlock()
		return
	}
	vb.mu.disk.damage = damage
	vb.mu.disk.generation++
	vb.mu.state = vbucket.Dead
	vb.clear(b, ErrVBucketState)
	if c := vb.mu.disk.cursor; c != nil {
		vb.removeCursor(c)
		vb.mu.disk.cursor = nil
	}
	vb.release(vbucket.MaxSeqno, damage)
	if !vb.mu.ready {
		close(vb.mu.warm) // who waits shall hear of it
	}
	vb.mu.ready = false
	vb.mu.warm = make(chan struct{})
	vb.mu.Unlock()
	b.endReaders(vb, ErrVBucketState)
	b.logger.Error("vBucket is quarantined: its data on disk is damaged; the others are served", "vb", vb.id, "error", damage)
	b.meta.Lock()
	b.meta.problem = fmt.Sprintf("vb %d is quarantined: %v", vb.id, damage)
	b.meta.Unlock()
	if f := b.options.Events.Quarantined; f != nil {
		f(vb.id, damage)
	}
}

// unreadable decides what an error of reading a vBucket's rows means: the vBucket is quarantined, unless the store itself
// has ended, and then nobody is to blame.
func (b *Bucket) unreadable(vb *vBucket, err error) error {
	if errors.Is(err, storage.ErrClosed) || errors.Is(err, storage.ErrFailed) {
		return ErrBusy
	}
	var damage *storage.CorruptionError
	if !errors.As(err, &damage) {
		damage = &storage.CorruptionError{Bucket: b.store.UUID(), VB: vb.id, Reason: "it cannot be read", Err: err}
	}
	b.quarantine(vb, damage)
	return damage
}
