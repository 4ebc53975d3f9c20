package kv

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// loader hands out the vBuckets whose keys are still on disk only: those that somebody has asked for first, then active
// ones, then the rest.
type loader struct {
	mu struct {
		sync.Mutex
		front []vbucket.ID // asked for
		taken bitset
		next  int  // vBucket at which the search goes on
		rest  bool // the active ones have been handed out
	}
}

// ask moves a vBucket to the front of the queue.
func (l *loader) ask(id vbucket.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.taken[id/64].Load()>>(id%64)&1 == 0 && !slices.Contains(l.mu.front, id) {
		l.mu.front = append(l.mu.front, id)
	}
}

// take hands out the next vBucket to load.
func (l *loader) take(b *Bucket) (*vBucket, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.mu.front) > 0 {
		id := l.mu.front[0]
		l.mu.front = l.mu.front[1:]
		if l.claim(b, int(id), false) {
			return &b.vbs[id], true
		}
	}
	for {
		for ; l.mu.next < len(b.vbs); l.mu.next++ {
			if l.claim(b, l.mu.next, !l.mu.rest) {
				return &b.vbs[l.mu.next], true
			}
		}
		if l.mu.rest {
			return nil, false
		}
		l.mu.rest, l.mu.next = true, 0
	}
}

// claim takes a vBucket, unless that was done before, or it needs no loading, or it is not active and should be.
func (l *loader) claim(b *Bucket, i int, active bool) bool {
	id, vb := vbucket.ID(i), &b.vbs[i]
	if l.mu.taken[id/64].Load()>>(id%64)&1 != 0 {
		return false
	}
	vb.mu.Lock()
	defer vb.mu.Unlock()
	if active && vb.mu.state != vbucket.Active {
		return false
	}
	l.mu.taken.add(id)
	return !vb.mu.ready && vb.mu.disk.damage == nil
}

// awaitWarm waits for a vBucket that is still being loaded, for a short time, and has it loaded before others. nil says that
// it is worth while to look again. ErrWarming.
func (b *Bucket) awaitWarm(ctx context.Context, vb *vBucket, warm <-chan struct{}) error {
	if b.store == nil {
		return ErrWarming
	}
	b.persist.loader.ask(vb.id)
	timer := time.NewTimer(maxWarmingWait)
	defer timer.Stop()
	select {
	case <-warm:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	b.tellRefused(vb.id, trace.RefusalWarming)
	return ErrWarming
}

// loadAll loads vBuckets until there are none left or ctx ends. A vBucket that cannot be read is quarantined.
func (p *persistence) loadAll(ctx context.Context) {
	var rows loadedRows
	for ctx.Err() == nil {
		vb, ok := p.loader.take(p.b)
		if !ok {
			return
		}
		if err := p.loadVBucket(ctx, vb, &rows); err != nil && !errors.Is(err, errVoid) {
			_ = p.b.unreadable(vb, err) // it is quarantined, which is told to everybody
		}
	}
}

// errVoid says that what is being loaded is not wanted any more.
var errVoid = errors.New("vBucket was emptied or closed while it was loaded")

// loadedRows is a batch of rows on its way into memory.
type loadedRows struct {
	list []loadedRow
	buf  []byte
}

type loadedRow struct {
	storage.KeyRow

	coll docid.Collection
	key  []byte
	hash uint32
}

func (l *loadedRows) reset() { l.list, l.buf = l.list[:0], l.buf[:0] }

func (l *loadedRows) add(b *Bucket, id vbucket.ID, r *storage.KeyRow, c docid.Collection, key []byte) {
	at := len(l.buf)
	l.buf = append(l.buf, key...) // a batch is small enough that the buffer does not move after the first ones
	k := b.Key(id, c, key)
	l.list = append(l.list, loadedRow{KeyRow: *r, coll: c, key: l.buf[at:len(l.buf):len(l.buf)], hash: k.hash})
}

// loadVBucket brings the keys of one vBucket into memory, and lets it serve. Values stay on disk.
func (p *persistence) loadVBucket(ctx context.Context, vb *vBucket, rows *loadedRows) (err error) {
	b := p.b
	vb.mu.Lock()
	generation, state := vb.mu.disk.generation, vb.mu.disk.loaded
	vb.reserve(b, int(min(state.Items, maxItems)))
	vb.mu.Unlock()
	scan, err := b.store.ScanMeta(vb.id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	for more := true; more; {
		if ctx.Err() != nil {
			return errVoid
		}
		rows.reset()
		for len(rows.list) < loadRows {
			if more = scan.Next(); !more {
				break
			}
			c, key := scan.Key()
			rows.add(b, vb.id, scan.Row(), c, key)
		}
		if err := vb.insertLoaded(b, generation, rows); err != nil {
			return err
		}
	}
	if err := scan.Err(); err != nil {
		return err
	}
	return vb.endLoading(b, generation, &state)
}

// reserve makes the table large enough for so many items. Call it with the lock held.
func (vb *vBucket) reserve(b *Bucket, items int) {
	slots := len(vb.table.Load().slots)
	for (items+1)*4 > slots*3 {
		slots *= 2
	}
	if slots > len(vb.table.Load().slots) {
		vb.resize(b, slots)
	}
}

// insertLoaded makes items of rows.
func (vb *vBucket) insertLoaded(b *Bucket, generation int, rows *loadedRows) error {
	conf := b.config.Load()
	vb.mu.Lock()
	defer vb.mu.Unlock()
	if vb.mu.closed || vb.mu.disk.generation != generation {
		return errVoid
	}
	for i := range rows.list {
		r := &rows.list[i]
		switch {
		case r.Seqno > vb.mu.high:
			return &storage.CorruptionError{
				Bucket: b.store.UUID(), VB: vb.id, Seqno: r.Seqno, Reason: "a row lies above the vBucket's high seqno",
			}
		case r.Op.Deleted():
			vb.mu.disk.tombstones++
			vb.buryKey(b, r.hash)
			continue
		case r.Op != change.OpMutation:
			continue
		}
		if err := vb.insertOne(b, conf, r); err != nil {
			return err
		}
	}
	return nil
}

func (vb *vBucket) insertOne(b *Bucket, conf *config, r *loadedRow) error {
	size := headerBytes + len(r.key)
	if !vb.makeRoom(b) {
		return ErrNoMemory
	}
	ref := b.arena.Alloc(size, true)
	if ref == 0 {
		return ErrNoMemory
	}
	state := uint16(r.Datatype) | uint16(r.Durability)<<stateLevelShift
	if r.ValueLen > 0 {
		state |= stateEjected
	}
	h := b.at(ref)
	h.cas = uint64(r.CAS)
	h.seqVB = uint64(r.Seqno) | uint64(vb.id)<<48
	h.disk = uint64(state) << 48
	h.rev = r.Rev&low48 | uint64(len(r.key))<<48
	h.flags, h.expiry, h.cid, h.vlen = r.Flags, r.Expiry, uint32(r.coll), r.ValueLen
	copy(h.name(), r.key)
	vb.table.Load().insert(slotOf(r.hash, ref))
	vb.count(b, conf, h, roundOf(size))
	return nil
}

// endLoading checks the number of documents and lets the vBucket serve.
func (vb *vBucket) endLoading(b *Bucket, generation int, state *storage.State) error {
	vb.mu.Lock()
	defer vb.mu.Unlock()
	if vb.mu.closed || vb.mu.disk.generation != generation {
		return errVoid
	}
	if uint64(vb.mu.items) != state.Items || uint64(vb.mu.docBytes) != state.Bytes {
		return &storage.CorruptionError{Bucket: b.store.UUID(), VB: vb.id, Reason: "documents are missing, or there are too many"}
	}
	vb.becomeReady()
	return nil
}
