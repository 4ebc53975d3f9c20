package kv

import (
	"sync"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// entry says that a change got a seqno, and where its item was then.
type entry struct {
	seqno uint64
	slot  uint64 // hash and place
}

// chunk is a piece of a window. It has no pointers to items, so that the collector does not care how long a window is.
type chunk struct {
	next    *chunk
	n       int
	entries []entry
}

func (c *chunk) bytes() int64 { return int64(len(c.entries)) * entryBytes }
func (c *chunk) last() uint64 { return c.entries[c.n-1].seqno }
func (c *chunk) full() bool   { return c.n == len(c.entries) }

// chunkPools keeps chunks for the next one who needs them. An idle vBucket that wakes takes a small one first.
type chunkPools struct{ small, big sync.Pool }

func (p *chunkPools) get(entries int) *chunk {
	pool := &p.big
	if entries == smallChunk {
		pool = &p.small
	}
	if c, ok := pool.Get().(*chunk); ok {
		c.n, c.next = 0, nil
		return c
	}
	return &chunk{entries: make([]entry, entries)}
}

func (p *chunkPools) put(c *chunk) {
	c.next = nil
	if len(c.entries) == smallChunk {
		p.small.Put(c)
		return
	}
	p.big.Put(c)
}

// window lists the latest changes of a vBucket: every change above base is in it, in order. While nobody reads it is empty.
// It belongs to the vBucket's lock.
type window struct {
	head, tail *chunk
	base       vbucket.Seqno
}

// append notes the newest change. Call it with the lock held, in the hold that gave the seqno.
func (vb *vBucket) append(b *Bucket, slot uint64) {
	w := &vb.mu.window
	if len(vb.mu.cursors) == 0 {
		w.base = vb.mu.high
		return
	}
	t := w.tail
	if t == nil || t.full() {
		n := bigChunk
		if t == nil {
			n = smallChunk
		}
		c := b.chunks.get(n)
		b.window.Add(c.bytes())
		if t == nil {
			w.head = c
		} else {
			t.next = c
		}
		w.tail = c
		t = c
	}
	t.entries[t.n] = entry{seqno: uint64(vb.mu.high), slot: slot}
	t.n++
}

// passed is the seqno up to which nobody needs the window any more. The flusher's cursor counts only once what it read is
// safe on disk, because a reader that falls out of the window continues there.
func (vb *vBucket) passed(b *Bucket) vbucket.Seqno {
	low := vb.mu.high
	if b.store != nil {
		low = min(low, vb.mu.persisted)
	}
	for _, c := range vb.mu.cursors {
		low = min(low, c.next-1)
	}
	return low
}

// lowest is the seqno up to which items may leave memory: values that are on disk, and tombstones. A walk needs more than
// the window tells.
func (vb *vBucket) lowest(b *Bucket) vbucket.Seqno {
	low := vb.passed(b)
	for _, r := range vb.mu.runs {
		low = min(low, r.pos-1)
	}
	return low
}

// trim frees the chunks that lie wholly at or below the lowest place that somebody needs.
func (vb *vBucket) trim(b *Bucket) {
	low := uint64(vb.passed(b))
	w := &vb.mu.window
	for w.head != nil && w.head.n > 0 && w.head.last() <= low {
		c := w.head
		w.base = vbucket.Seqno(c.last())
		w.head = c.next
		if w.head == nil {
			w.tail = nil
		}
		for _, cur := range vb.mu.cursors {
			if cur.chunk == c {
				cur.chunk, cur.index = nil, 0
			}
		}
		b.window.Add(-c.bytes())
		b.chunks.put(c)
	}
}

// clearWindow forgets everything. No cursor may be left.
func (vb *vBucket) clearWindow(b *Bucket) {
	for c := vb.mu.window.head; c != nil; {
		next := c.next
		b.window.Add(-c.bytes())
		b.chunks.put(c)
		c = next
	}
	vb.mu.window = window{base: vb.mu.high}
}

// heldBy is how many bytes of the window a cursor may be the reason for: everything from its place on, and the versions saved
// for a snapshot that it would lose with its place.
func (vb *vBucket) heldBy(c *cursor) int64 {
	n := int64(0)
	if c.run != nil && c.run.walk == nil {
		n = c.run.savedBytes
	}
	from := c.chunk
	if from == nil {
		from = vb.mu.window.head
	}
	for ; from != nil; from = from.next {
		if from.n > 0 && vbucket.Seqno(from.last()) >= c.next {
			n += from.bytes()
		}
	}
	return n
}

// entry gives the first entry at or above the cursor's place that is not above end, and moves the cursor's place in the
// window to it; nil if there is none.
func (vb *vBucket) entry(c *cursor, end vbucket.Seqno) *entry {
	if c.chunk == nil {
		c.chunk, c.index = vb.mu.window.head, 0
	}
	for c.chunk != nil {
		for ; c.index < c.chunk.n; c.index++ {
			e := &c.chunk.entries[c.index]
			if vbucket.Seqno(e.seqno) > end {
				return nil
			}
			if vbucket.Seqno(e.seqno) >= c.next {
				return e
			}
		}
		if c.chunk.next == nil {
			return nil
		}
		c.chunk, c.index = c.chunk.next, 0
	}
	return nil
}
