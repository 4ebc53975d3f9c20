package kv

import (
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Memory says what a bucket holds, in bytes.
type Memory struct {
	Items     int64 // documents and tombstones, as the arena rounds them
	Tables    int64
	Window    int64 // of the change feed, versions saved for readers included
	Slabs     int64 // what the arena has taken for items; Slabs − Items is slack for items of the same sizes
	Committed int64 // what the arena has taken from the system
	Quota     int64
}

// Used is what counts against the quota.
func (m Memory) Used() int64 { return m.Items + m.Tables + m.Window }

// Held is what the system sees.
func (m Memory) Held() int64 { return m.Committed + m.Tables + m.Window }

// Memory counts exactly. It asks each size class of the arena, so it is not for every operation.
func (b *Bucket) Memory() Memory {
	a := b.arena.Stats()
	return Memory{
		Items: a.Live, Slabs: a.Slabs, Committed: a.Committed,
		Tables: b.tables.Load(), Window: b.window.Load(),
		Quota: b.config.Load().spec.QuotaBytes,
	}
}

// applyLimits bounds the arena. Slack in its slabs does not count against the quota, because the pager cannot turn it into
// room for other sizes; this bound keeps it small all the same: beyond it, only what fits into the slack is taken.
func (b *Bucket) applyLimits() {
	q := b.config.Load().spec.QuotaBytes
	b.arena.SetLimit(q + max(q/100*overheadPercent, overheadBytes))
}

// estimate is what counts against the quota, without what the vBuckets have not folded.
func (b *Bucket) estimate() int64 { return b.used.Load() + b.tables.Load() + b.window.Load() }

// admit decides before anything else whether a mutation that brings so many bytes can be taken (kv.md 17.4).
func (b *Bucket) admit(conf *config, vb vbucket.ID, bytes int) error {
	if used := b.estimate() + int64(bytes); used > conf.writes {
		if err := b.crowded(conf, vb, int64(bytes), conf.writes); err != nil {
			return err
		}
	}
	if b.window.Load() > conf.window && !b.relieve(conf) || b.refusing.Load() {
		return b.refuse(vb, b.crowdedOut(), ErrBusy)
	}
	return nil
}

// admitDelete is admit for deletions: they free memory, so more is allowed to them, and a full disk does not stop them.
func (b *Bucket) admitDelete(conf *config, vb vbucket.ID) error {
	if b.estimate() > conf.deletes {
		if err := b.crowded(conf, vb, 0, conf.deletes); err != nil {
			return err
		}
	}
	if b.window.Load() > conf.window && !b.relieve(conf) {
		return b.refuse(vb, trace.RefusalWindow, ErrBusy)
	}
	return nil
}

// crowded decides at a limit, where the estimate is not good enough: nil if there is room, else why not.
func (b *Bucket) crowded(conf *config, vb vbucket.ID, bytes, limit int64) error {
	if b.arena.Live()+b.tables.Load()+b.window.Load()+bytes <= limit {
		return nil
	}
	b.wakePager()
	switch {
	case bytes > conf.writes, conf.spec.Eviction == spec.EvictNone, b.exhausted.Load():
		return b.refuse(vb, trace.RefusalQuota, ErrNoMemory)
	}
	return b.refuse(vb, trace.RefusalQuota, ErrBusy)
}

// wakePager has the pager look at the memory now.
func (b *Bucket) wakePager() {
	select {
	case b.pager <- struct{}{}:
	default: // it is awake already
	}
}

// relieve drops the slowest readers from the window until it is within its limit, and reports whether it is. What remains
// above it is held by the flusher, for which there is no dropping (kv.md 8.1).
func (b *Bucket) relieve(conf *config) bool {
	if !b.relieving.CompareAndSwap(false, true) {
		return true // somebody is at it; a little above the limit does no harm
	}
	defer b.relieving.Store(false)
	for b.window.Load() > conf.window {
		if !b.dropSlowest() {
			b.press() // the flusher holds the rest
			return false
		}
	}
	return true
}

// victim is a cursor that could be dropped, or a run over the table whose saved versions could be.
type victim struct {
	c     *cursor
	run   *run // nil: the cursor's place in the window
	bytes int64
}

// slowest finds who holds most of the window's memory in one vBucket, the flusher aside.
func (b *Bucket) slowest() victim {
	var worst victim
	for i := range b.vbs {
		vb := &b.vbs[i]
		vb.mu.Lock()
		for _, c := range vb.mu.cursors {
			if c.r == b.disk {
				continue
			}
			if n := vb.heldBy(c); n > worst.bytes {
				worst = victim{c: c, bytes: n}
			}
		}
		for _, r := range vb.mu.runs {
			if r.walk != nil && r.savedBytes > worst.bytes {
				worst = victim{c: r.c, run: r, bytes: r.savedBytes}
			}
		}
		vb.mu.Unlock()
	}
	return worst
}

// dropSlowest takes the memory of the window from the reader that holds most of it in one vBucket.
func (b *Bucket) dropSlowest() bool {
	v := b.slowest()
	if v.c == nil {
		return false
	}
	vb := v.c.vb
	lost := false
	vb.mu.Lock()
	switch {
	case v.run == nil:
		lost = vb.drop(b, v.c)
	case v.c.run == v.run:
		vb.lose(b, v.c)
		lost = true
	}
	vb.mu.Unlock()
	v.c.r.mark(vb.id)
	if trace.CursorDrop.On() {
		trace.CursorDrop.Fire(b.shard(vb.id), b.observed.name, uint16(vb.id), b.observed.node.Intern(v.c.r.name), lost)
	}
	if lost {
		b.dropped.runs.Add(1)
		if f := b.options.Events.ReaderTooSlow; f != nil {
			f(v.c.r.name, vb.id)
		}
		return true
	}
	b.dropped.cursors.Add(1)
	if f := b.options.Events.CursorDropped; f != nil {
		f(v.c.r.name, vb.id)
	}
	return true
}
