package kv

import (
	"context"
	"errors"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/invariant"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// reader follows vBuckets for one consumer of the feed. Writers tell it with one bit a vBucket that there is something new;
// a bit that is set already costs them a load. A reader that finds no bit raises its flag, looks once more and sleeps.
//
// The flusher's cursors belong to a reader too (Bucket.disk), which uses the bits and the sleep, but not Next.
type reader struct {
	b        *Bucket
	name     string
	most     int // bytes of a batch
	dirty    [vbucket.MaxCount / 64]atomic.Uint64
	sleeping atomic.Bool
	wake     chan struct{} // one slot

	mu struct { // before the vBuckets' locks
		sync.Mutex

		closed  bool
		cursors map[vbucket.ID]*cursor
		acked   map[vbucket.ID]vbucket.Seqno
		given   map[vbucket.ID]vbucket.Seqno // highest seqno handed out
	}
	turn sync.Mutex // held by Next as long as it works; guards what follows

	current  *cursor   // whose snapshot is being read, nil: none
	snapshot *run      // from memory
	disk     *backfill // from disk
	next     int       // vBucket at which the search for a dirty one begins
	out      copied
}

func newReader(b *Bucket, o change.Options) *reader {
	r := &reader{b: b, name: o.Name, most: o.MaxBatchBytes, wake: make(chan struct{}, 1)}
	if r.most == 0 {
		r.most = copyBytes
	}
	r.mu.cursors = map[vbucket.ID]*cursor{}
	r.mu.acked = map[vbucket.ID]vbucket.Seqno{}
	r.mu.given = map[vbucket.ID]vbucket.Seqno{}
	return r
}

// Open makes a reader of the bucket's changes, which follows no vBucket yet. Close it. ErrClosed if the bucket is.
func (b *Bucket) Open(o change.Options) (change.Reader, error) {
	r := newReader(b, o)
	b.meta.Lock()
	defer b.meta.Unlock()
	if b.meta.closed {
		return nil, ErrClosed
	}
	b.meta.readers = append(slices.Clip(b.meta.readers), r)
	return r, nil
}

// mark tells the reader that there is something new in a vBucket.
func (r *reader) mark(vb vbucket.ID) {
	word, bit := &r.dirty[vb/64], uint64(1)<<(vb%64)
	if word.Load()&bit != 0 {
		return
	}
	word.Or(bit)
	r.rouse()
}

// rouse wakes the reader if it sleeps.
func (r *reader) rouse() {
	if !r.sleeping.Load() {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default: // it has been woken already
	}
}

// notify tells readers of a change. Call it after the lock was released, with the cursors that were there under it.
func notify(cursors []*cursor, vb vbucket.ID) {
	for _, c := range cursors {
		c.r.mark(vb)
	}
}

// pick takes a dirty vBucket, going round from the one after the last.
func (r *reader) pick() (vbucket.ID, bool) {
	words := len(r.dirty)
	for i := range words + 1 {
		w := (r.next/64 + i) % words
		set := r.dirty[w].Load()
		if i == 0 {
			set &= ^uint64(0) << (r.next % 64)
		}
		if set == 0 {
			continue
		}
		n := bits.TrailingZeros64(set)
		r.dirty[w].And(^(uint64(1) << n))
		r.next = (w*64 + n + 1) % vbucket.MaxCount
		return vbucket.ID(w*64 + n), true
	}
	return 0, false
}

// sleep waits until some vBucket is dirty, or for d if d is not 0.
func (r *reader) sleep(ctx context.Context, d time.Duration) error {
	r.sleeping.Store(true)
	defer r.sleeping.Store(false)
	for i := range r.dirty {
		if r.dirty[i].Load() != 0 {
			return nil
		}
	}
	var timer <-chan time.Time
	if d != 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-r.wake:
	case <-timer:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// Add starts to follow vb after a position. *change.RollbackError says that the history there and ours part before it;
// *NotMyVBucketError that the vBucket is not here, ErrWarming that it is not loaded yet.
func (r *reader) Add(id vbucket.ID, after vbucket.Position) error {
	vb, err := r.b.vb(id)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.closed {
		return ErrClosed
	}
	if old := r.mu.cursors[id]; old != nil {
		r.forget(old)
	}
	c := &cursor{r: r, vb: vb}
	if err := vb.join(c, after); err != nil {
		return err
	}
	r.mu.cursors[id] = c
	delete(r.mu.acked, id)
	r.mu.given[id] = max(r.mu.given[id], after.Seqno) // a late Ack of an earlier stream is no fault
	r.mark(id)
	return nil
}

// join places a new cursor: in the window if that reaches back far enough, else behind it.
func (vb *vBucket) join(c *cursor, after vbucket.Position) error {
	vb.mu.Lock()
	defer vb.mu.Unlock()
	switch {
	case vb.mu.closed:
		return ErrClosed
	case vb.mu.state == vbucket.Dead:
		return &NotMyVBucketError{VB: vb.id, State: vb.mu.state}
	case !vb.mu.ready:
		return ErrWarming
	}
	if to := vb.mu.failovers.Shared(after, vb.mu.high, vb.mu.purge); to != after.Seqno {
		return &change.RollbackError{VB: vb.id, To: to}
	}
	c.next, c.uuid = after.Seqno+1, vb.mu.uuid
	if after.Seqno < vb.mu.window.base {
		c.behind = true
		return nil
	}
	vb.addCursor(c)
	return nil
}

// Remove stops following vb. A batch of it that Next is filling may still come.
func (r *reader) Remove(id vbucket.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c := r.mu.cursors[id]; c != nil {
		r.forget(c)
	}
}

// forget takes a cursor out of the reader and of its vBucket. Call it with r.mu held.
func (r *reader) forget(c *cursor) {
	if r.mu.cursors[c.vb.id] == c {
		delete(r.mu.cursors, c.vb.id)
	}
	c.vb.mu.Lock()
	defer c.vb.mu.Unlock()
	c.vb.end(r.b, c, errRemoved)
}

// errRemoved ends a cursor that the reader itself gave up; nobody is told.
var errRemoved = errors.New("reader does not follow the vBucket any more")

// Next blocks until some vBucket has something new and fills batch for one vBucket. It ends with the cause of ctx, with
// ErrClosed, or with the error of reading the disk.
func (r *reader) Next(ctx context.Context, batch *change.Batch) error {
	r.turn.Lock()
	defer r.turn.Unlock()
	r.out.reset(r.most)
	for {
		if r.isClosed() {
			r.leave()
			return ErrClosed
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if r.current == nil {
			id, ok := r.pick()
			if !ok {
				if err := r.sleep(ctx, 0); err != nil {
					return err
				}
				continue
			}
			end, err := r.begin(id)
			if errors.Is(err, errPartial) {
				err = r.wait(ctx, id)
			}
			if err != nil || end != nil {
				*batch = change.Batch{VB: id, End: end}
				return err
			}
			continue
		}
		if ok, err := r.fill(batch); ok || err != nil {
			return err
		}
	}
}

// endReaders tells everybody who follows vb that it has left them, and why. The caller holds no lock.
func (b *Bucket) endReaders(vb *vBucket, why error) {
	b.meta.Lock()
	readers := b.meta.readers // replaced, never changed in place
	b.meta.Unlock()
	for _, r := range readers {
		r.mu.Lock()
		c := r.mu.cursors[vb.id]
		if c != nil {
			vb.mu.Lock()
			vb.end(b, c, why)
			vb.mu.Unlock()
		}
		r.mu.Unlock()
		if c != nil {
			r.mark(vb.id)
		}
	}
}

// end takes a cursor out of its vBucket. Call it with the lock held.
func (vb *vBucket) end(b *Bucket, c *cursor, why error) {
	if c.end == nil {
		c.end = why
	}
	if c.run != nil {
		c.run.lost = why
		vb.closeRun(b, c)
	}
	vb.removeCursor(c)
	c.chunk, c.index = nil, 0
	vb.trim(b)
}

// wait lets the flusher complete a snapshot, then has the vBucket looked at again.
func (r *reader) wait(ctx context.Context, id vbucket.ID) error {
	err := r.sleep(ctx, partialWait)
	r.mark(id)
	return err
}

func (r *reader) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.closed
}

// begin opens a snapshot of a vBucket, if there is something new. end says that the vBucket has left the reader.
func (r *reader) begin(id vbucket.ID) (end, err error) {
	r.mu.Lock()
	c := r.mu.cursors[id]
	r.mu.Unlock()
	if c == nil {
		return nil, nil
	}
	vb := c.vb
	vb.mu.Lock()
	switch {
	case c.end != nil:
		end = c.end
		vb.mu.Unlock()
		return r.finish(c, end), nil
	case c.uuid != vb.mu.uuid:
		if to := vb.mu.failovers.Shared(vbucket.Position{UUID: c.uuid, Seqno: c.next - 1}, vb.mu.high, vb.mu.purge); to != c.next-1 {
			vb.mu.Unlock()
			return r.finish(c, &change.RollbackError{VB: id, To: to}), nil
		}
		c.uuid = vb.mu.uuid // a new branch that began where the reader stands, or later
		vb.mu.Unlock()
		r.mark(id)
		return nil, nil
	case !c.behind:
		if r.snapshot = vb.openRun(r.b, c); r.snapshot != nil {
			r.current = c
		}
		vb.mu.Unlock()
		return nil, nil
	}
	if after := c.next - 1; after != 0 && after < vb.mu.purge {
		vb.mu.Unlock()
		return r.finish(c, &change.RollbackError{VB: id}), nil
	}
	if r.b.store == nil {
		r.beginWalk(c)
		return nil, nil
	}
	vb.mu.Unlock()
	return nil, r.beginBackfill(c)
}

// beginWalk reads what the window has left behind from the table. It is called with the vBucket's lock held and releases it.
func (r *reader) beginWalk(c *cursor) {
	vb := c.vb
	if c.next > vb.mu.high {
		vb.addCursor(c)
		vb.mu.Unlock()
		return
	}
	r.current, r.snapshot = c, vb.openWalk(c)
	vb.mu.Unlock()
	vb.collect(r.b, r.snapshot)
}

// finish lets go of a cursor whose vBucket has left, and gives what the reader is told: nothing, if it let go itself.
func (r *reader) finish(c *cursor, end error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(c)
	if errors.Is(end, errRemoved) {
		return nil
	}
	return end
}

// fill copies the next part of the open snapshot into batch. It reports whether there is a batch to deliver.
func (r *reader) fill(batch *change.Batch) (bool, error) {
	c := r.current
	var done bool
	var err error
	var snapshot change.Snapshot
	if r.disk != nil {
		snapshot = r.disk.snapshot
		done, err = r.disk.fill(&r.out, r.most)
		if err != nil {
			r.leave()
			return false, err
		}
		if over := c.over(); over != nil {
			done, err = true, over
		}
	} else {
		snapshot = change.Snapshot{UUID: r.snapshot.uuid, Low: r.snapshot.low, High: r.snapshot.end}
		snapshot.FromDisk = r.snapshot.walk != nil
		done, err = c.vb.copyRun(r.b, c, r.snapshot, &r.out, r.most)
	}
	if err != nil {
		r.leave()
		end := r.finish(c, err)
		*batch = change.Batch{VB: c.vb.id, End: end}
		return end != nil, nil
	}
	if done {
		r.leave()
		r.mark(c.vb.id) // what came meanwhile; the bit may be that of a drop, too
	}
	if len(r.out.mutations) == 0 {
		return false, nil
	}
	*batch = change.Batch{VB: c.vb.id, Snapshot: snapshot, Mutations: r.out.mutations}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.cursors[c.vb.id] == c {
		r.mu.given[c.vb.id] = r.out.mutations[len(r.out.mutations)-1].Seqno
	}
	return true, nil
}

// over gives the reason why the cursor has ended, nil if it has not.
func (c *cursor) over() error {
	c.vb.mu.Lock()
	defer c.vb.mu.Unlock()
	return c.end
}

// leave forgets the open snapshot.
func (r *reader) leave() {
	if r.disk != nil {
		r.disk.close()
		r.disk = nil
	}
	r.current, r.snapshot = nil, nil
}

// Ack states that the consumer has kept everything of vb up to a seqno that it was given.
func (r *reader) Ack(id vbucket.ID, to vbucket.Seqno) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.cursors[id] == nil {
		return // it was removed meanwhile
	}
	if given := r.mu.given[id]; to > given {
		invariant.Violated("kv: reader %s acknowledges seqno %d of vb %d, but was given only %d", r.name, to, id, given)
	}
	r.mu.acked[id] = max(r.mu.acked[id], to)
}

// Close ends the reader and everything that is kept for it. It returns after a blocked Next has.
func (r *reader) Close() error {
	r.b.meta.Lock()
	if i := slices.Index(r.b.meta.readers, r); i >= 0 {
		r.b.meta.readers = slices.Delete(slices.Clone(r.b.meta.readers), i, i+1)
	}
	r.b.meta.Unlock()
	r.shut()
	return nil
}

// shut is Close for a reader that the bucket does not list any more.
func (r *reader) shut() {
	r.mu.Lock()
	r.mu.closed = true
	for _, c := range r.mu.cursors {
		r.forget(c)
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	r.turn.Lock()
	defer r.turn.Unlock()
	r.leave()
}
