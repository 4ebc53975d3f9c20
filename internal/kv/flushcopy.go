package kv

import (
	"errors"
	"fmt"
	"sync"

	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// copyResult is what a worker did with a vBucket.
type copyResult struct {
	id       vbucket.ID
	wrote    bool // something that a sync must cover
	urgent   bool // durable writes wait for it
	low, end vbucket.Seqno
	bytes    int
	err      error
}

// start starts the workers and the syncing goroutine. The function it returns ends them and waits.
func (f *flusher) start() (stop func()) {
	var wait sync.WaitGroup
	for range cap(f.jobs) {
		wait.Go(func() {
			w := &copier{b: f.p.b}
			w.out.prev = true
			for id := range f.jobs {
				f.copied <- w.write(id)
			}
		})
	}
	wait.Go(func() {
		for t := range f.rounds {
			err := f.p.b.store.DB().Sync()
			if err == nil {
				f.publish(t)
			}
			f.synced <- err
		}
	})
	return func() {
		close(f.jobs)
		close(f.rounds)
		wait.Wait()
	}
}

// publish moves the persisted seqnos of a round whose sync has succeeded. The round is emptied and may be used again.
func (f *flusher) publish(t *round) {
	for _, id := range t.ids {
		r := &t.ends[id]
		if r.end > 0 {
			f.p.b.vbs[id].publish(f.p.b, r)
		}
		t.has[id] = false
	}
	t.ids, t.urgent, t.bytes = t.ids[:0], false, 0
}

// publish tells the vBucket that the snapshot (low, end] is safe.
func (vb *vBucket) publish(b *Bucket, r *copyResult) {
	vb.mu.Lock()
	if vb.mu.disk.damage == nil && !vb.mu.closed {
		vb.mu.snapStart, vb.mu.snapEnd = r.low, r.end
	}
	vb.mu.Unlock()
	vb.setPersisted(b, r.end)
}

// copier is one worker of the flusher.
type copier struct {
	b    *Bucket
	out  copied
	dead *deadKeys
}

// write applies what is new in a vBucket: its local row, if that has changed, and a run of its feed as one batch.
func (w *copier) write(id vbucket.ID) copyResult {
	r, err := w.writeRun(&w.b.vbs[id])
	r.id = id
	var damage *storage.CorruptionError
	switch {
	case err == nil:
	case errors.As(err, &damage):
		w.b.quarantine(&w.b.vbs[id], err)
		r = copyResult{id: id}
	default:
		r.err = fmt.Errorf("flush vb %d: %w", id, err)
	}
	return r
}

func (w *copier) writeRun(vb *vBucket) (copyResult, error) {
	b := w.b
	vb.mu.Lock()
	d := &vb.mu.disk
	c := d.cursor
	if c == nil || vb.mu.uuid == 0 {
		vb.mu.Unlock()
		return copyResult{}, nil
	}
	res := copyResult{urgent: len(vb.mu.waiters) > 0}
	change := storage.LocalChange{ID: vb.id}
	if d.stale || !d.known {
		l := vb.localRow()
		change.Local = &l
	}
	if !d.known {
		change.State = &storage.State{MaxCAS: vbucket.CAS(vb.mu.clock.Last())}
	}
	d.stale, d.known = false, true
	w.dead = d.dead
	run := vb.openRun(b, c)
	var state storage.State
	if run != nil {
		state = vb.stateRow(run.low, run.end)
		res.low, res.end = run.low, run.end
	}
	vb.mu.Unlock()

	if change.Local != nil {
		if err := b.store.PutLocal(false, []storage.LocalChange{change}); err != nil {
			return res, err
		}
		res.wrote = true
	}
	if run != nil {
		b.persist.saw(state.MaxCAS)
		if err := w.copy(vb, c, run, state, &res); err != nil {
			return res, err
		}
	}
	if b.persist.purges.take(vb.id) {
		purged, err := w.purge(vb)
		res.wrote = res.wrote || purged
		return res, err
	}
	return res, nil
}

// saw notes the highest CAS, for the ceiling.
func (p *persistence) saw(cas vbucket.CAS) {
	for {
		old := p.maxCAS.Load()
		if uint64(cas) <= old || p.maxCAS.CompareAndSwap(old, uint64(cas)) {
			return
		}
	}
}

// copy writes a run. One that is too large for a batch is written in several; until the last of them the state says that the
// vBucket on disk is in the middle of a snapshot.
func (w *copier) copy(vb *vBucket, c *cursor, run *run, state storage.State, res *copyResult) error {
	batch := w.b.store.NewBatch(vb.id)
	for {
		w.out.reset(copyPiece)
		done, err := vb.copyRun(w.b, c, run, &w.out, copyPiece)
		if err != nil { // the vBucket was given up meanwhile
			batch.Discard()
			*res = copyResult{}
			return nil
		}
		if err := w.add(vb, batch); err != nil {
			batch.Discard()
			return err
		}
		if done {
			res.wrote = true
			res.bytes += batch.Size()
			return batch.Apply(&state)
		}
		if batch.Size() < maxBatch {
			continue
		}
		part := state
		part.High = batch.Last()
		res.bytes += batch.Size()
		if err := batch.Apply(&part); err != nil {
			return err
		}
		batch = w.b.store.NewBatch(vb.id)
	}
}

// add puts what was copied into a batch. A document that had no item when it was written may replace a tombstone that is on
// disk only: then its row must go, and by-key knows where it is.
func (w *copier) add(vb *vBucket, batch *storage.Batch) error {
	tombstones := 0
	for i := range w.out.mutations {
		m := &w.out.mutations[i]
		if m.Op.Deleted() {
			tombstones++
		}
		if m.Prev != 0 || w.dead == nil || !w.dead.has(w.b.Key(vb.id, m.Collection, m.Key).hash) {
			continue
		}
		row, err := w.b.store.GetMeta(vb.id, m.Collection, m.Key)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if row.Seqno < m.Seqno {
			m.Prev = row.Seqno
		}
	}
	if tombstones > 0 {
		vb.mu.Lock()
		vb.mu.disk.tombstones += tombstones
		vb.mu.Unlock()
	}
	return batch.Add(w.out.mutations)
}

// purge deletes the rows of tombstones that are old enough and that every reader has passed. The newest change stays: every
// snapshot ends with it. It reports whether it wrote something.
func (w *copier) purge(vb *vBucket) (bool, error) {
	b := w.b
	now := b.clock.Now().Unix()
	age := b.config.Load().spec.PurgeAge
	vb.mu.Lock()
	limit := min(vb.lowest(b), vb.mu.high-1)
	has := vb.mu.disk.tombstones > 0 && vb.mu.high > 0
	vb.mu.Unlock()
	if !has {
		return false, nil
	}
	list, left, err := w.oldTombstones(vb, limit, func(at uint32) bool { return uint64(at)+uint64(age) <= uint64(now) })
	if err != nil {
		return false, err
	}
	vb.mu.Lock()
	vb.mu.disk.tombstones = left
	for i := range list {
		vb.mu.purge = max(vb.mu.purge, list[i].Seqno)
	}
	local := vb.localRow()
	vb.mu.Unlock()
	if len(list) == 0 {
		return false, nil
	}
	if err := b.store.Purge(vb.id, list, &local); err != nil {
		return false, err
	}
	vb.dropTombstones(b, list)
	return true, nil
}

// oldTombstones lists the tombstones on disk up to a seqno that old approves of, and counts the others.
func (w *copier) oldTombstones(vb *vBucket, limit vbucket.Seqno, old func(uint32) bool) (list []storage.Tombstone, left int,
	err error,
) {
	scan, err := w.b.store.ScanMeta(vb.id)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	for scan.Next() {
		r := scan.Row()
		switch {
		case !r.Op.Deleted():
		case r.Seqno <= limit && old(r.Expiry):
			coll, key := scan.Key()
			list = append(list, storage.Tombstone{Seqno: r.Seqno, Collection: coll, Key: append([]byte(nil), key...)})
		default:
			left++
		}
	}
	return list, left, scan.Err()
}

// dropTombstones removes purged tombstones from memory, those that are still their keys' newest version.
func (vb *vBucket) dropTombstones(b *Bucket, list []storage.Tombstone) {
	conf := b.config.Load()
	vb.mu.Lock()
	defer vb.mu.Unlock()
	for i := range list {
		k := b.Key(vb.id, list[i].Collection, list[i].Key)
		if at, h := vb.find(b, &k); h != nil && h.deleted() && h.seqno() == list[i].Seqno {
			vb.remove(b, conf, at, h)
		}
	}
}

// forgetTombstones removes tombstones from memory that are on disk and that every reader has passed. It returns how many.
func (vb *vBucket) forgetTombstones(b *Bucket) int {
	conf := b.config.Load()
	n := 0
	for from := uint32(0); ; from += walkSlots {
		vb.mu.Lock()
		t := vb.table.Load()
		if vb.mu.closed || vb.mu.tombstones == 0 || from >= uint32(len(t.slots)) {
			vb.mu.Unlock()
			return n
		}
		low := vb.lowest(b)
		for i := from; i < min(from+walkSlots, uint32(len(t.slots))); {
			s := t.slots[i]
			if s == 0 {
				i++
				continue
			}
			h := b.at(slotRef(s))
			if !h.deleted() || h.seqno() > low {
				i++
				continue
			}
			vb.buryKey(b, slotHash(s))
			vb.remove(b, conf, i, h) // another item may have moved here
			n++
		}
		vb.mu.Unlock()
	}
}
