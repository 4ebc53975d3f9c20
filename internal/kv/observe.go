package kv

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// observed is what a bucket tells of itself beside its Stats: records of probes, what operations waited for, and how long
// the disk took for it. Nothing here is touched by an operation that neither waits nor fails.
type observed struct {
	node  *trace.Node
	name  trace.Text // of the bucket
	fetch metrics.Histogram
	flush metrics.Histogram

	fetches, flushes queue
}

// queue counts those who wait for their turn.
type queue struct{ length atomic.Int64 }

// turn is one who waits.
type turn struct {
	q     *queue
	b     *Bucket
	vb    vbucket.ID
	which trace.Queue
	begun int64 // monotonic
}

// enter begins a wait at a monotonic time.
func (q *queue) enter(b *Bucket, vb vbucket.ID, which trace.Queue, now int64) turn {
	n := q.length.Add(1)
	if trace.QueueEnter.On() {
		trace.QueueEnter.Fire(b.shard(vb), which, n)
	}
	return turn{q, b, vb, which, now}
}

// leave ends it at a monotonic time.
func (t *turn) leave(now int64) {
	n := t.q.length.Add(-1)
	if trace.QueueLeave.On() {
		trace.QueueLeave.Fire(t.b.shard(t.vb), t.which, n, time.Duration(now-t.begun))
	}
}

// durableDone tells of a durable write that has ended.
func (b *Bucket) durableDone(vb vbucket.ID, level spec.Durability, begun int64, err error) {
	status := statusOf(err)
	if err == ErrDurabilityAmbiguous { //nolint:errorlint // the sentinel that await returns
		status = trace.StatusAmbiguous
	}
	took := time.Duration(b.clock.Now().Mono - begun)
	local := took
	if level == spec.Majority {
		local = 0 // it did not wait for the disk
	}
	trace.DurableDone.Fire(b.shard(vb), trace.DurableDoneFields{
		Bucket: b.observed.name, VB: uint16(vb), Level: trace.Level(level), Local: local, Dur: took, Status: status,
	})
}

// lockWaitShown is the shortest wait for a lock that fires a probe. All of them are counted.
const lockWaitShown = time.Millisecond

// shard is where the probes of a vBucket fire.
func (b *Bucket) shard(vb vbucket.ID) *trace.Shard { return b.observed.node.Shard(uint64(vb)) }

// await takes the lock of a vBucket that was not free at the first try, and notes how long that took.
func (vb *vBucket) await(ctx context.Context, b *Bucket) {
	begun := b.clock.Now().Mono
	vb.mu.Lock()
	ns := b.clock.Now().Mono - begun
	vb.mu.ops.LockWaits++
	vb.mu.ops.LockWaitNanos += uint64(max(0, ns))
	trace.WaitsOf(ctx).Add(trace.StageLock, ns)
	if time.Duration(ns) > lockWaitShown && trace.LockWait.On() {
		trace.LockWait.Fire(b.shard(vb.id), trace.SiteVbucket, time.Duration(ns), b.observed.name, uint16(vb.id))
	}
}

// fetching is one read of a value from disk, with its times.
type fetching struct {
	begun, got int64 // monotonic: asked for, and a slot was free. got is 0 if there was none
	bytes      int
}

// fetched notes that a read of the disk has ended.
func (b *Bucket) fetched(ctx context.Context, vb *vBucket, f *fetching, err error) {
	end := b.clock.Now().Mono
	wait := end - f.begun
	if f.got != 0 {
		wait = f.got - f.begun
	}
	took := time.Duration(end - f.begun)
	trace.WaitsOf(ctx).Add(trace.StageFetch, int64(took))
	b.observed.fetch.Record(took)
	if trace.FetchDone.On() {
		trace.FetchDone.Fire(b.shard(vb.id), trace.FetchDoneFields{
			Bucket: b.observed.name, VB: uint16(vb.id), Wait: time.Duration(wait), Dur: took, Bytes: int64(f.bytes), Status: statusOf(err),
		})
	}
}

func statusOf(err error) trace.Status {
	if err != nil {
		return trace.StatusFailed
	}
	return trace.StatusOK
}

// refuse counts a mutation that is refused and gives the error for it.
func (b *Bucket) refuse(vb vbucket.ID, why trace.Refusal, err error) error {
	if err == ErrNoMemory { //nolint:errorlint // a sentinel that callers pass
		b.refused.noMemory.Add(1)
	} else {
		b.refused.busy.Add(1)
	}
	b.tellRefused(vb, why)
	return err
}

// tellRefused fires the probe of an operation that is refused.
func (b *Bucket) tellRefused(vb vbucket.ID, why trace.Refusal) {
	if trace.OpRefused.On() {
		trace.OpRefused.Fire(b.shard(vb), b.observed.name, uint16(vb), why, b.memoryNow(), b.config.Load().spec.QuotaBytes)
	}
}

// crowdedOut says why a mutation that the window or the disk has no room for is refused.
func (b *Bucket) crowdedOut() trace.Refusal {
	if b.refusing.Load() {
		return trace.RefusalDisk
	}
	return trace.RefusalWindow
}

// waited notes what a durable write waited for: until the flusher took it, and until the disk had it.
func (w *waiter) waited(ctx context.Context, begun, end int64) {
	waits := trace.WaitsOf(ctx)
	taken := min(max(w.taken, begun), end)
	if w.taken == 0 {
		taken = end // nobody took it
	}
	waits.Add(trace.StageFlush, taken-begun)
	waits.Add(trace.StageFsync, end-taken)
}

// taken notes for the durable writes that the flusher's new run covers when that was. Call it with the lock held.
func (vb *vBucket) taken(b *Bucket, end vbucket.Seqno) {
	if !trace.Enabled || len(vb.mu.waiters) == 0 {
		return
	}
	now := b.clock.Now().Mono
	for _, w := range vb.mu.waiters {
		if w.seqno <= end && w.taken == 0 {
			w.taken = now
		}
	}
}

// flushing is one round of the flusher on its way to disk.
type flushing struct {
	bytes, vbs, waiters int64
	begun               time.Time
}

// flushStarts notes that a round is about to be synced.
func (b *Bucket) flushStarts(t *round) flushing {
	f := flushing{int64(t.bytes), int64(len(t.ids)), int64(t.writes), t.begun}
	if trace.FlushStart.On() {
		trace.FlushStart.Fire(b.shard(0), b.observed.name, f.bytes, f.vbs, f.waiters)
	}
	return f
}

// flushEnds notes what became of it.
func (b *Bucket) flushEnds(f *flushing, err error) {
	took := time.Since(f.begun)
	b.observed.flush.Record(took)
	if trace.FlushDone.On() {
		trace.FlushDone.Fire(b.shard(0), trace.FlushDoneFields{
			Bucket: b.observed.name, Bytes: f.bytes, VBs: f.vbs, Waiters: f.waiters, Dur: took, Status: statusOf(err),
		})
	}
}

// evicted notes that a pass over a vBucket took something out of memory.
func (b *Bucket) evicted(vb *vBucket, items int, bytes int64) {
	if items > 0 && trace.CacheEvict.On() {
		trace.CacheEvict.Fire(b.shard(vb.id), b.observed.name, uint16(vb.id), bytes, int64(items), trace.EvictReasonPager)
	}
}

// pagerRan notes that a pass of the pager over all vBuckets has ended, which began with so much memory in use.
func (b *Bucket) pagerRan(items int, before int64, took time.Duration) {
	if trace.PagerRun.On() {
		trace.PagerRun.Fire(b.shard(0), b.observed.name, int64(items), max(0, before-b.memoryNow()), took)
	}
}

// expiryRan notes that a pass of the expiry pager has ended.
func (b *Bucket) expiryRan(expired int, took time.Duration) {
	if !trace.ExpiryRun.On() {
		return
	}
	looked := expired
	for i := range b.vbs {
		vb := &b.vbs[i]
		vb.mu.Lock()
		looked += vb.mu.items
		vb.mu.Unlock()
	}
	trace.ExpiryRun.Fire(b.shard(0), b.observed.name, int64(looked), int64(expired), took)
}

// DiskTimes are how long the disk took for a bucket.
type DiskTimes struct {
	Fetch metrics.Distribution // from asking for a value until it was in memory, or could not be had
	Flush metrics.Distribution // from the first change of a round until the round was on disk
}

// DiskTimes reads them. Both are empty in a bucket without a store.
func (b *Bucket) DiskTimes() DiskTimes {
	return DiskTimes{b.observed.fetch.Snapshot(), b.observed.flush.Snapshot()}
}
