package kv

import (
	"context"
	"slices"
	"time"

	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// waiter is a durable write that waits until its seqno is persisted.
type waiter struct {
	seqno vbucket.Seqno
	done  chan error // one slot
	taken int64      // monotonic time at which the flusher took it; belongs to the vBucket's lock until done
}

// await waits until a write has reached its level. On one node a majority is memory, so only the levels that ask for the
// disk wait. ErrDurabilityAmbiguous says that the time is over, or that ctx ended: the write stays applied.
func (b *Bucket) await(ctx context.Context, vb *vBucket, w *Written, level spec.Durability, timeout time.Duration) (err error) {
	if level != 0 && trace.DurableDone.On() {
		begun := b.clock.Now().Mono
		defer func() { b.durableDone(vb.id, level, begun, err) }()
	}
	if level <= spec.Majority {
		return nil
	}
	if timeout <= 0 {
		timeout = defaultDurable
	}
	wait := &waiter{seqno: w.Seqno, done: make(chan error, 1)}
	vb.mu.Lock()
	switch {
	case vb.mu.uuid != w.UUID || vb.mu.closed || b.persist != nil && b.persist.failed.Load(): // emptied meanwhile, or the disk has failed
		vb.mu.Unlock()
		return ErrDurabilityAmbiguous
	case vb.mu.persisted >= w.Seqno:
		vb.mu.Unlock()
		return nil
	}
	at := len(vb.mu.waiters) // nearly always the end: the lock was given up only since put
	for at > 0 && vb.mu.waiters[at-1].seqno > wait.seqno {
		at--
	}
	vb.mu.waiters = slices.Insert(vb.mu.waiters, at, wait)
	vb.mu.Unlock()
	b.hurry(vb.id)
	waiting := b.observed.flushes.enter(b, vb.id, trace.QueueFlush, b.clock.Now().Mono)
	defer func() {
		end := b.clock.Now().Mono
		waiting.leave(end)
		wait.waited(ctx, waiting.begun, end)
	}()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case err := <-wait.done:
		return err
	case <-timer.C:
	case <-ctx.Done():
	}
	vb.mu.Lock()
	defer vb.mu.Unlock()
	if i := slices.Index(vb.mu.waiters, wait); i >= 0 {
		vb.mu.waiters = slices.Delete(vb.mu.waiters, i, i+1)
		return ErrDurabilityAmbiguous
	}
	return <-wait.done // it was released in the same moment
}

// setPersisted moves the persisted seqno, after the fsync that covers it, lets the writes go that waited for it, in seqno
// order, and frees the window up to it. It never goes back.
func (vb *vBucket) setPersisted(b *Bucket, to vbucket.Seqno) {
	vb.mu.Lock()
	defer vb.mu.Unlock()
	if to <= vb.mu.persisted {
		return
	}
	vb.mu.persisted = to
	vb.persisted.Store(uint64(to))
	vb.release(to, nil)
	vb.trim(b)
}

// release lets the writes go that wait for seqnos up to to. Their channels have room, so nothing blocks. Call it with the
// lock held.
func (vb *vBucket) release(to vbucket.Seqno, err error) {
	n := 0
	for n < len(vb.mu.waiters) && vb.mu.waiters[n].seqno <= to {
		vb.mu.waiters[n].done <- err
		n++
	}
	vb.mu.waiters = slices.Delete(vb.mu.waiters, 0, n)
}
