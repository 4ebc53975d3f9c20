package kv

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// cursor is the place of one reader in one vBucket. Its fields belong to the vBucket's lock, except r and vb.
type cursor struct {
	r      *reader
	vb     *vBucket
	next   vbucket.Seqno // everything below has been read
	chunk  *chunk        // where next is in the window, nil: not looked up
	index  int
	run    *run         // the snapshot that is being read from memory, nil: none
	own    run          // what run points to, so that a run costs no allocation
	uuid   vbucket.UUID // branch of history that next stands on
	behind bool         // it lost its place in the window and is in no list of cursors
	end    error        // the vBucket left the reader, which has not heard of it yet
}

// run is a snapshot of a vBucket that a reader is copying from memory, piece by piece.
//
// The state of the vBucket at end is what the run delivers: for each key that changed in [pos, end] the version it had at
// end. While it is copied, documents are overwritten. Skipping an entry whose item is gone is right only if the newer
// version lies in the same run. Otherwise the reader would be left with a state that never was: the key older than it was
// at end. Moving end up would cure that but could deliver a key twice. So whoever overwrites an item that a run has not
// passed yet saves the old version for it (save). The common write pays one look at the length of vBucket.mu.runs, and a hot
// key is saved at most once a run, because its next version lies above end.
//
// A run always ends at the vBucket's high seqno as it was when the run was opened: an earlier end could already have been
// overtaken. end is known before the first document is copied, so nothing needs to be buffered.
//
// Usually a run follows the window. A reader whose place the window has left behind is given a run over the table instead
// (walk), which is a list of seqnos in order; it works on the same invariant.
//
// The fields belong to the lock of the vBucket, except walk and low, which only the reader uses.
type run struct {
	c          *cursor
	pos        vbucket.Seqno // first seqno that was not delivered yet
	end        vbucket.Seqno
	low        vbucket.Seqno // position of the reader before it, exclusive
	uuid       vbucket.UUID
	saved      map[vbucket.Seqno]*savedVersion
	savedBytes int64
	lost       error // memory ran out: the reader must begin again
	walk       *walk // nil: the window
}

// savedVersion is a version that was overwritten while a run wanted it.
type savedVersion struct{ change.Mutation }

const savedOverhead = 160 // bytes of a savedVersion beside key and value, as counted

// save keeps the version h for the runs that have not passed it. Call it with the lock held, before the item changes.
func (vb *vBucket) save(b *Bucket, h *header) {
	s := h.seqno()
	for _, r := range vb.mu.runs {
		if s < r.pos || s > r.end || r.lost != nil {
			continue
		}
		if r.saved == nil {
			r.saved = map[vbucket.Seqno]*savedVersion{}
		}
		m := h.mutation()
		m.Key, m.Value = bytes.Clone(h.name()), bytes.Clone(h.body())
		r.saved[s] = &savedVersion{Mutation: m}
		n := int64(savedOverhead + len(m.Key) + len(m.Value))
		r.savedBytes += n
		b.window.Add(n)
		if trace.VersionSaved.On() {
			trace.VersionSaved.Fire(b.shard(vb.id), b.observed.name, uint16(vb.id), n)
		}
	}
}

// openRun begins to read a snapshot at the cursor's place. Nil: there is nothing new. Call it with the lock held.
func (vb *vBucket) openRun(b *Bucket, c *cursor) *run {
	if c.next > vb.mu.high {
		return nil
	}
	r := vb.beginRun(c)
	if c.r == b.disk {
		vb.mu.claimed = r.end
		vb.taken(b, r.end)
	}
	return r
}

func (vb *vBucket) beginRun(c *cursor) *run {
	r := &c.own
	*r = run{c: c, pos: c.next, end: vb.mu.high, low: c.next - 1, uuid: vb.mu.uuid}
	c.run = r
	vb.mu.runs = append(vb.mu.runs, r)
	return r
}

// closeRun ends a snapshot, delivered or not, and frees what was kept for it. Call it with the lock held.
func (vb *vBucket) closeRun(b *Bucket, c *cursor) {
	r := c.run
	if r == nil {
		return
	}
	c.run = nil
	if i := slices.Index(vb.mu.runs, r); i >= 0 {
		vb.mu.runs = slices.Delete(vb.mu.runs, i, i+1)
	}
	b.window.Add(-r.savedBytes)
	r.saved, r.savedBytes = nil, 0
	vb.trim(b)
}

// drop takes a cursor out of the window, to free what it holds there. Between two snapshots it can continue from disk or
// from a walk; within one that follows the window the snapshot is lost, and lost is true. Call it with the lock held; then
// mark the reader.
func (vb *vBucket) drop(b *Bucket, c *cursor) (lost bool) {
	if c.run != nil && c.run.walk == nil {
		vb.lose(b, c)
		lost = true
	}
	vb.removeCursor(c)
	c.behind = true
	c.chunk, c.index = nil, 0
	vb.trim(b)
	return lost
}

// lose gives up the snapshot that a cursor is reading, for the memory of the versions saved for it.
func (vb *vBucket) lose(b *Bucket, c *cursor) {
	c.run.lost = ErrTooSlow
	c.end = ErrTooSlow
	vb.closeRun(b, c)
}

// addCursor and removeCursor replace the list of cursors: others may be walking over the old one.
func (vb *vBucket) addCursor(c *cursor) {
	vb.mu.cursors = append(slices.Clip(vb.mu.cursors), c)
	c.behind = false
}

func (vb *vBucket) removeCursor(c *cursor) {
	if i := slices.Index(vb.mu.cursors, c); i >= 0 {
		vb.mu.cursors = slices.Delete(slices.Clone(vb.mu.cursors), i, i+1)
	}
}

// copied collects what a reader takes out of memory: mutations whose bytes are in one buffer that is used again.
type copied struct {
	mutations []change.Mutation
	buf       []byte
	want      int  // room that the next document needs, if it did not fit
	prev      bool // for the flusher: which row each mutation replaces on disk
}

// reset empties it for batches of most bytes. A buffer that a large document made is not kept.
func (c *copied) reset(most int) {
	c.mutations = c.mutations[:0]
	c.buf = c.buf[:0]
	if cap(c.buf) < most || cap(c.buf) > 4*most {
		c.buf = make([]byte, 0, most)
	}
	c.want = 0
}

// take copies one document, if the buffer has room for it without growing: its memory must not move any more, and it should
// not be allocated under a lock.
func (c *copied) take(m *change.Mutation, key, body []byte) bool {
	need := len(key) + len(body)
	if need > cap(c.buf)-len(c.buf) {
		c.want = need
		return false
	}
	at := len(c.buf)
	c.buf = append(append(c.buf, key...), body...)
	c.mutations = append(c.mutations, *m)
	last := &c.mutations[len(c.mutations)-1]
	last.Key = c.buf[at : at+len(key) : at+len(key)]
	last.Value = c.buf[at+len(key) : at+need : at+need]
	if !c.prev {
		last.Prev = 0
	}
	return true
}

// makeRoom makes a buffer for the document that did not fit. Only an empty one may be replaced.
func (c *copied) makeRoom() {
	c.buf = make([]byte, 0, c.want)
	c.want = 0
}

// copyRun copies documents of a cursor's run into out until the buffer is full, the run ends (then done is true) or so many
// bytes are in it. It takes the lock for at most copyEntries entries or copyBytes bytes at a time.
func (vb *vBucket) copyRun(b *Bucket, c *cursor, r *run, out *copied, most int) (done bool, err error) {
	for {
		vb.mu.Lock()
		if r.lost != nil {
			err = r.lost
			vb.mu.Unlock()
			return false, err
		}
		if r.walk != nil {
			done = vb.copyWalk(b, r, out, most)
		} else {
			done = vb.copyWindow(b, c, r, out, most)
		}
		if done {
			c.next = r.end + 1
			vb.closeRun(b, c)
		}
		vb.mu.Unlock()
		switch {
		case done, out.want != 0 && len(out.mutations) > 0, len(out.buf) >= most:
			return done, nil
		case out.want != 0:
			out.makeRoom()
		}
	}
}

// copyWindow is one lock hold of copyRun.
func (vb *vBucket) copyWindow(b *Bucket, c *cursor, r *run, out *copied, most int) (done bool) {
	stop := min(len(out.buf)+copyBytes, most)
	for range copyEntries {
		e := vb.entry(c, r.end)
		if e == nil {
			return true
		}
		if !vb.resolve(b, r, e, out) {
			return false
		}
		r.pos = vbucket.Seqno(e.seqno) + 1
		c.next = r.pos
		c.index++
		if len(out.buf) >= stop && r.pos <= r.end {
			return false
		}
	}
	return r.pos > r.end
}

// resolve finds the version that an entry of the window names and copies it. It is the item with this seqno that the table
// finds under the entry's hash, wherever it is now; else the version that was saved for the run; else it was superseded by
// a newer one of the same run, and there is nothing to copy. It returns false if the buffer has no room.
//
// The entry's place is not looked at directly: if it was freed, it may be the middle of another vBucket's value by now, and
// bytes there could be made to look like an item. The table proves that an item is ours.
func (vb *vBucket) resolve(b *Bucket, r *run, e *entry, out *copied) bool {
	t := vb.table.Load()
	hash := slotHash(e.slot)
	for i := hash & t.mask; t.slots[i] != 0; i = (i + 1) & t.mask {
		s := t.slots[i]
		if slotHash(s) != hash {
			continue
		}
		if h := b.at(slotRef(s)); uint64(h.seqno()) == e.seqno {
			m := h.mutation()
			return out.take(&m, h.name(), h.body())
		}
	}
	if v := r.saved[vbucket.Seqno(e.seqno)]; v != nil {
		if !out.take(&v.Mutation, v.Key, v.Value) {
			return false
		}
		vb.forget(b, r, v)
	}
	return true
}

// forget frees a saved version that has been delivered.
func (vb *vBucket) forget(b *Bucket, r *run, v *savedVersion) {
	n := int64(savedOverhead + len(v.Key) + len(v.Value))
	r.savedBytes -= n
	b.window.Add(-n)
	delete(r.saved, v.Seqno)
}

// walk is the list of what a run over the table delivers, in the order of seqnos.
type walk struct {
	slots   []uint64 // of the table when the run was opened; nil once they have been looked at
	entries []entry
	at      int
}

// openWalk begins a snapshot of everything after a position, from the table. The cursor joins the window behind it. Call it
// with the lock held, then collect.
func (vb *vBucket) openWalk(c *cursor) *run {
	r := vb.beginRun(c)
	r.walk = &walk{}
	r.walk.slots = vb.slots()
	c.next = r.end + 1
	vb.addCursor(c)
	return r
}

// collect finds out which seqnos a walk delivers. An item that is overwritten meanwhile is in saved; one that moved is found
// by its hash. It takes the lock for a few items at a time. If the run was lost meanwhile, copyRun says so.
func (vb *vBucket) collect(b *Bucket, r *run) {
	w := r.walk
	for slots := range slices.Chunk(w.slots, walkSlots) {
		vb.mu.Lock()
		if r.lost != nil {
			vb.mu.Unlock()
			return
		}
		vb.each(b, slots, func(slot uint64, h *header) {
			if q := h.seqno(); q >= r.pos && q <= r.end {
				w.entries = append(w.entries, entry{seqno: uint64(q), slot: slot})
			}
		})
		vb.mu.Unlock()
	}
	w.slots = nil
	// From here on everything that the run delivers is in the list or already saved: add what was saved.
	vb.mu.Lock()
	for q := range r.saved {
		w.entries = append(w.entries, entry{seqno: uint64(q)})
	}
	vb.mu.Unlock()
	slices.SortFunc(w.entries, func(x, y entry) int { return cmp.Compare(x.seqno, y.seqno) })
	w.entries = slices.CompactFunc(w.entries, func(x, y entry) bool { return x.seqno == y.seqno })
}

// copyWalk is one lock hold of copyRun over a walk.
func (vb *vBucket) copyWalk(b *Bucket, r *run, out *copied, most int) (done bool) {
	w := r.walk
	stop := min(len(out.buf)+copyBytes, most)
	for range copyEntries {
		if w.at == len(w.entries) {
			return true
		}
		if !vb.resolve(b, r, &w.entries[w.at], out) {
			return false
		}
		w.at++
		if w.at == len(w.entries) {
			return true
		}
		r.pos = vbucket.Seqno(w.entries[w.at].seqno)
		if len(out.buf) >= stop {
			return false
		}
	}
	return false
}
