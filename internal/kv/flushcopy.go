package kv

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// job is some vBuckets for a worker, and what it did with them. A job goes back and forth and is used again.
type job struct {
	ids     []vbucket.ID
	results []copyResult // of those of ids in which something was written
	err     error
}

// copyResult is what a worker did with a vBucket. A sync must cover it.
type copyResult struct {
	id       vbucket.ID
	low, end vbucket.Seqno // the snapshot that was applied; 0, 0 if it was only a local row
	writes   int           // durable ones that wait for it
	bytes    int
}

// syncResult is what became of a round.
type syncResult struct {
	took     time.Duration
	released int // durable writes that were let go
	err      error
}

// start starts the workers and the syncing goroutine. The function it returns ends them and waits.
func (f *flusher) start() (stop func()) {
	var wait sync.WaitGroup
	for range f.workers {
		wait.Go(func() {
			w := &copier{b: f.p.b}
			w.out.prev = true
			for j := range f.jobs {
				w.write(j)
				f.copied <- j
			}
		})
	}
	wait.Go(func() {
		for t := range f.rounds {
			flushed := f.p.b.flushStarts(t)
			begun := time.Now()
			r := syncResult{released: t.writes, err: f.p.b.store.DB().Sync()}
			r.took = time.Since(begun)
			f.p.b.flushEnds(&flushed, r.err)
			if r.err == nil {
				f.publish(t)
			}
			f.synced <- r
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
	t.ids, t.bytes, t.writes = t.ids[:0], 0, 0
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
	b      *Bucket
	out    copied
	dead   *deadKeys
	shared *storage.Batch // of the small runs of a job; nil: none yet
	job    *job
}

// write applies what is new in the vBuckets of a job. Most runs are small, and go into one batch together.
func (w *copier) write(j *job) {
	w.job = j
	j.results, j.err = j.results[:0], nil
	for _, id := range j.ids {
		vb := &w.b.vbs[id]
		err := w.writeRun(vb)
		var damage *storage.CorruptionError
		switch {
		case err == nil:
		case errors.As(err, &damage):
			w.b.quarantine(vb, err)
		default:
			j.err = fmt.Errorf("flush vb %d: %w", id, err)
			return
		}
	}
	if err := w.applyShared(); err != nil {
		j.err = fmt.Errorf("flush: %w", err)
	}
}

func (w *copier) applyShared() error {
	batch := w.shared
	if batch == nil {
		return nil
	}
	w.shared = nil
	return batch.Apply()
}

func (w *copier) batch() *storage.Batch {
	if w.shared == nil {
		w.shared = w.b.store.NewBatch()
	}
	return w.shared
}

// writeRun adds what is new in a vBucket to the shared batch: its local row, if that has changed, and a run of its feed. A
// run that is not small is applied on its own.
func (w *copier) writeRun(vb *vBucket) error {
	b := w.b
	vb.mu.Lock()
	d := &vb.mu.disk
	c := d.cursor
	if c == nil || vb.mu.uuid == 0 {
		vb.mu.Unlock()
		return nil
	}
	res := copyResult{id: vb.id, writes: len(vb.mu.waiters)}
	var local *storage.Local
	if d.stale || !d.known {
		l := vb.localRow()
		local = &l
	}
	known, purge := d.known, false
	d.stale, d.known = false, true
	w.dead = d.dead
	run := vb.openRun(b, c)
	state := vb.stateRow(vb.mu.high, vb.mu.high)
	if run != nil {
		state.SnapStart = run.low
		res.low, res.end = run.low, run.end
	}
	vb.mu.Unlock()
	purge = b.persist.purges.take(vb.id)
	if run == nil && local == nil && !purge {
		return nil
	}
	var first *storage.State // a vBucket exists on disk from its first local rows on
	if !known {
		first = &storage.State{MaxCAS: state.MaxCAS}
	}
	b.persist.saw(state.MaxCAS)
	if local != nil {
		if err := w.batch().Local(vb.id, first, local); err != nil {
			return err
		}
	}
	if run != nil {
		if err := w.copy(vb, c, run, &state, &res); err != nil {
			return err
		}
	}
	if purge {
		if err := w.purge(vb); err != nil {
			return err
		}
	}
	w.job.results = append(w.job.results, res)
	return nil
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
func (w *copier) copy(vb *vBucket, c *cursor, run *run, state *storage.State, res *copyResult) error {
	w.out.reset(copyPiece)
	done, err := vb.copyRun(w.b, c, run, &w.out, copyPiece)
	if err != nil { // the vBucket was given up meanwhile
		return nil //nolint:nilerr // whoever did that has told everybody
	}
	if err := w.replaced(vb); err != nil {
		return err
	}
	if !done {
		return w.copyLarge(vb, c, run, state, res)
	}
	batch := w.batch()
	before := batch.Size()
	batch.Begin(vb.id)
	if err := errors.Join(batch.Add(w.out.mutations), batch.End(state)); err != nil {
		return err
	}
	res.bytes = batch.Size() - before
	if batch.Size() >= sharedBatch {
		return w.applyShared()
	}
	return nil
}

// copyLarge goes on with a run of which the first piece has been copied.
func (w *copier) copyLarge(vb *vBucket, c *cursor, run *run, state *storage.State, res *copyResult) error {
	if err := w.applyShared(); err != nil { // it may hold the vBucket's local row
		return err
	}
	batch := w.b.store.NewBatch()
	batch.Begin(vb.id)
	for done := false; ; {
		if err := batch.Add(w.out.mutations); err != nil {
			return err
		}
		part := *state
		if !done {
			part.High = batch.Last()
		}
		if done || batch.Size() >= w.b.persist.most {
			res.bytes += batch.Size()
			if err := batch.End(&part); err != nil {
				return err
			}
			if err := batch.Apply(); err != nil {
				return err
			}
			if done {
				return nil
			}
			batch = w.b.store.NewBatch()
			batch.Begin(vb.id)
		}
		w.out.reset(copyPiece)
		var err error
		if done, err = vb.copyRun(w.b, c, run, &w.out, copyPiece); err != nil { // the vBucket was given up meanwhile
			batch.Discard()
			return nil //nolint:nilerr // whoever did that has told everybody
		}
		if err := w.replaced(vb); err != nil {
			batch.Discard()
			return err
		}
	}
}

// replaced completes what was copied: a document that had no item when it was written may replace a tombstone that is on disk
// only. Then its row must go, and by-key knows where it is.
func (w *copier) replaced(vb *vBucket) error {
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
	return nil
}

// purge deletes the rows of tombstones that are old enough and that every reader has passed. The newest change stays: every
// snapshot ends with it.
func (w *copier) purge(vb *vBucket) error {
	if err := w.applyShared(); err != nil { // which may write keys that are deleted on disk
		return err
	}
	b := w.b
	now := b.clock.Now().Unix()
	age := b.config.Load().spec.PurgeAge
	vb.mu.Lock()
	limit := min(vb.lowest(b), vb.mu.high-1)
	has := vb.mu.disk.tombstones > 0 && vb.mu.high > 0
	vb.mu.Unlock()
	if !has {
		return nil
	}
	list, left, err := w.oldTombstones(vb, limit, func(at uint32) bool { return uint64(at)+uint64(age) <= uint64(now) })
	if err != nil {
		return err
	}
	vb.mu.Lock()
	vb.mu.disk.tombstones = left
	for i := range list {
		vb.mu.purge = max(vb.mu.purge, list[i].Seqno)
	}
	local := vb.localRow()
	vb.mu.Unlock()
	if len(list) == 0 {
		return nil
	}
	if err := b.store.Purge(vb.id, list, &local); err != nil {
		return err
	}
	vb.dropTombstones(b, list)
	return nil
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
