package kv

import (
	"slices"

	"github.com/charpoy/charpoy/internal/arena"
	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Assign says what this node does with a vBucket from now on. One of a lower epoch than was assigned before is ignored, and
// so is a vBucket that does not exist. A vBucket that becomes active for the first time begins its history. It reports
// whether the state is another one now.
func (b *Bucket) Assign(id vbucket.ID, state vbucket.State, epoch vbucket.Epoch) (changed bool) {
	vb, err := b.vb(id)
	if err != nil {
		return false
	}
	vb.mu.Lock()
	old := vb.mu.state
	if epoch < vb.mu.epoch || vb.mu.closed {
		vb.mu.Unlock()
		return false
	}
	vb.mu.epoch = epoch
	if vb.mu.disk.damage != nil {
		state = vbucket.Dead // it is quarantined
	}
	vb.mu.disk.stale = vb.mu.disk.stale || state != old
	vb.mu.state = state
	if state == vbucket.Active && vb.mu.ready && vb.mu.uuid == 0 {
		vb.beginBranch()
	}
	stale := vb.mu.disk.stale && vb.mu.uuid != 0
	vb.mu.Unlock()
	if stale && b.disk != nil {
		b.disk.mark(id)
	}
	if old != state && state == vbucket.Dead {
		b.endReaders(vb, ErrVBucketState)
	}
	return old != state
}

// Seqnos says where a vBucket stands. *NotMyVBucketError if there is no such vBucket.
func (b *Bucket) Seqnos(id vbucket.ID) (SeqnoInfo, error) {
	vb, err := b.vb(id)
	if err != nil {
		return SeqnoInfo{}, err
	}
	vb.mu.Lock()
	defer vb.mu.Unlock()
	if vb.mu.closed {
		return SeqnoInfo{}, ErrClosed
	}
	return SeqnoInfo{
		State: vb.mu.state, UUID: vb.mu.uuid, High: vb.mu.high, Persisted: vb.mu.persisted, Purge: vb.mu.purge,
		SnapStart: vb.mu.snapStart, SnapEnd: vb.mu.snapEnd, MaxCAS: vbucket.CAS(vb.mu.clock.Last()),
		Items: vb.mu.items, Ready: vb.mu.ready,
	}, nil
}

// FailoverLog lists the branches of a vBucket's history, newest first. *NotMyVBucketError if there is no such vBucket.
func (b *Bucket) FailoverLog(id vbucket.ID) (vbucket.FailoverLog, error) {
	vb, err := b.vb(id)
	if err != nil {
		return nil, err
	}
	vb.mu.Lock()
	defer vb.mu.Unlock()
	if vb.mu.closed {
		return nil, ErrClosed
	}
	return slices.Clone(vb.mu.failovers), nil
}

// Flush empties every vBucket, once for each count: calls with a count that was carried out before do nothing. Each vBucket
// begins a new branch of history from seqno 0, and readers are told to roll back to 0. In a persistent bucket what is on
// disk goes first, so that a crash in the middle leaves either the old count or nothing to empty.
func (b *Bucket) Flush(count uint64) error {
	b.meta.Lock()
	done := count <= b.meta.flushed
	b.meta.Unlock()
	if done {
		return nil
	}
	if b.store != nil {
		return b.flushStore(count)
	}
	for i := range b.vbs {
		b.empty(&b.vbs[i])
	}
	b.meta.Lock()
	b.meta.flushed = max(b.meta.flushed, count)
	b.meta.Unlock()
	b.exhausted.Store(false)
	return nil
}

// empty forgets all documents of a vBucket. Afterwards its readers hear of it.
func (b *Bucket) empty(vb *vBucket) {
	vb.mu.Lock()
	if vb.mu.closed {
		vb.mu.Unlock()
		return
	}
	vb.forgetAll(b)
	vb.mu.Unlock()
	b.endReaders(vb, &change.RollbackError{VB: vb.id})
}

// forgetAll forgets all documents and begins another history at seqno 0. Call it with the lock held; readers have to be told
// afterwards (see empty).
func (vb *vBucket) forgetAll(b *Bucket) {
	vb.clear(b, &change.RollbackError{VB: vb.id})
	vb.mu.high, vb.mu.claimed, vb.mu.persisted, vb.mu.snapStart, vb.mu.snapEnd, vb.mu.purge = 0, 0, 0, 0, 0, 0
	vb.persisted.Store(0)
	vb.release(vbucket.MaxSeqno, ErrDurabilityAmbiguous)
	if vb.mu.uuid != 0 {
		vb.mu.failovers = nil // nothing of the old branches is left that a reader could go on from
		vb.beginBranch()
	}
}

// clear frees all items, the window and the table. Runs end with why, because what they would copy is gone; cursors stay
// listed until their readers hear of it. Call it with the lock held.
func (vb *vBucket) clear(b *Bucket, why error) {
	for len(vb.mu.runs) > 0 {
		r := vb.mu.runs[0]
		r.lost = why
		if r.c.end == nil && r.c.r != b.disk {
			r.c.end = why
		}
		vb.closeRun(b, r.c)
	}
	for _, c := range vb.mu.cursors {
		c.chunk, c.index = nil, 0
	}
	for _, s := range vb.table.Load().slots {
		if s != 0 {
			b.arena.Free(slotRef(s))
		}
	}
	b.used.Add(vb.mu.unfolded - vb.mu.bytes)
	vb.mu.bytes, vb.mu.unfolded, vb.mu.valueBytes = 0, 0, 0
	vb.mu.items, vb.mu.tombstones, vb.mu.ejected, vb.mu.docBytes = 0, 0, 0, 0
	vb.mu.locks = nil
	vb.mu.high = 0
	vb.clearWindow(b)
	t := newTable(firstTable)
	b.tables.Add(int64(t.bytes() - vb.table.Load().bytes()))
	vb.table.Store(t)
}

// Report gives the observed state of the bucket.
func (b *Bucket) Report() vbucket.BucketReport {
	conf := b.config.Load()
	r := vbucket.BucketReport{Name: conf.spec.Name, UUID: conf.spec.UUID, Ready: true}
	b.meta.Lock()
	r.FlushCount, r.Problem = b.meta.flushed, b.meta.problem
	b.meta.Unlock()
	r.Copies = make([]vbucket.Copy, len(b.vbs))
	for i := range b.vbs {
		vb := &b.vbs[i]
		vb.mu.Lock()
		r.Copies[i] = vbucket.Copy{
			Epoch: vb.mu.epoch, State: vb.mu.state, Ready: vb.mu.ready && !vb.mu.closed, High: vb.mu.high,
			Persisted: vb.mu.persisted, UUID: vb.mu.uuid,
		}
		if vb.mu.ready || vb.mu.disk.damage != nil {
			r.Warmed++
		} else if vb.mu.state != vbucket.Dead {
			r.Ready = false
		}
		r.Items += uint64(vb.mu.items)
		vb.mu.Unlock()
	}
	r.MemBytes = uint64(b.Memory().Held())
	r.DiskBytes = b.diskBytes()
	return r
}

// roundedItems walks over all items and adds up what they take: the slow twin of the counters, for tests.
func (vb *vBucket) roundedItems(b *Bucket) (bytes int64) {
	for _, s := range vb.table.Load().slots {
		if s != 0 {
			bytes += int64(arena.Round(b.at(slotRef(s)).size()))
		}
	}
	return bytes
}
