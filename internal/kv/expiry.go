package kv

import (
	"bytes"
	"context"
	"time"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// tombstone is the version that a deletion makes of a document, and expiry likewise.
func tombstone(at hlc.Time, state uint16) version {
	return version{expiry: at.Unix(), state: stateDeleted | state, urgent: true}
}

// expireHere makes a tombstone of an expired document that an operation met. It is called with the vBucket's lock held and
// releases it; the operation then begins again. An error means that it cannot.
func (b *Bucket) expireHere(ctx context.Context, conf *config, at hlc.Time, vb *vBucket, k *Key, i uint32, h *header) error {
	if h.datatype()&value.Xattr != 0 {
		vb.mu.Unlock()
		return b.bury(ctx, conf, at, k)
	}
	v := tombstone(at, stateExpired)
	_, err := vb.put(b, conf, k, i, h, &v, at)
	if err == nil {
		vb.mu.ops.Expired++
	}
	cursors := vb.mu.cursors
	vb.mu.Unlock()
	if err == nil {
		notify(cursors, vb.id)
	}
	return err
}

// bury makes a tombstone of an expired document that has extended attributes: its system attributes survive, so the value is
// needed, and it is taken apart without the lock.
func (b *Bucket) bury(ctx context.Context, conf *config, at hlc.Time, k *Key) error {
	sc := b.getScratch()
	defer b.putScratch(sc)
	base := uint64(0) // CAS of the version that v was made of
	var v version
	for {
		vb, err := b.enter(ctx, conf, k)
		if err != nil {
			return err
		}
		i, h := vb.find(b, k)
		if h == nil || !h.expired(at.Unix()) {
			vb.mu.Unlock()
			return nil // somebody else was here
		}
		if base == h.cas {
			_, err := vb.put(b, conf, k, i, h, &v, at)
			if err == nil {
				vb.mu.ops.Expired++
			}
			cursors := vb.mu.cursors
			vb.mu.Unlock()
			notify(cursors, vb.id)
			return err
		}
		cas, dt, copied, err := b.takeOld(ctx, vb, k, h, sc)
		if err != nil {
			return err
		}
		if !copied {
			continue
		}
		v = tombstone(at, stateExpired)
		if v.value, v.datatype, err = systemPart(sc, dt); err != nil {
			return err
		}
		base = cas
	}
}

// takeOld copies an item's value into sc.old and releases the lock. If the value is on disk only, it is fetched into memory
// instead, and copied is false: look again. cas names the version; unlike a seqno it is not given again when the vBucket is
// emptied.
func (b *Bucket) takeOld(ctx context.Context, vb *vBucket, k *Key, h *header, sc *scratch) (
	cas uint64, dt value.Datatype, copied bool, err error,
) {
	cas, dt = h.cas, h.datatype()
	if h.ejected() {
		seqno := h.seqno()
		vb.mu.Unlock()
		return cas, dt, false, b.fetch(ctx, vb, k, seqno)
	}
	old, ok := appendBody(sc.old[:0], h)
	room := len(h.body())
	vb.mu.Unlock()
	if !ok {
		sc.old = make([]byte, 0, room)
		return cas, dt, false, nil
	}
	sc.old = old
	return cas, dt, true, nil
}

// systemPart takes the value in sc.old apart and builds what a tombstone keeps of it in sc.result: the attributes whose
// names begin with an underscore.
func systemPart(sc *scratch, dt value.Datatype) ([]byte, value.Datatype, error) {
	section, _, err := sc.split(dt)
	if err != nil {
		return nil, 0, err
	}
	sc.section = sc.section[:0]
	for name, v := range value.Xattrs(section) {
		if len(name) > 0 && name[0] == '_' {
			sc.section = value.AppendXattr(sc.section, name, v)
		}
	}
	if len(sc.section) == 0 {
		return nil, 0, nil
	}
	sc.result = value.Join(sc.result[:0], sc.section, nil)
	return sc.result, value.Xattr, nil
}

// runExpiry passes over all documents once in a while: what has expired becomes a tombstone, although nobody asks for it,
// and old tombstones go.
func (b *Bucket) runExpiry(ctx context.Context) error {
	timer := time.NewTicker(b.options.ExpiryInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		begun := time.Now()
		n := b.expirePass(ctx)
		b.expiryRan(n, time.Since(begun))
		if f := b.options.Events.Expired; f != nil {
			f(n, time.Since(begun))
		}
	}
}

// expirePass looks at every document once and tells how many have expired.
func (b *Bucket) expirePass(ctx context.Context) int {
	total := 0
	for i := range b.vbs {
		if ctx.Err() != nil {
			break
		}
		total += b.expireVBucket(ctx, &b.vbs[i])
	}
	return total
}

// expireVBucket makes tombstones of what has expired in one vBucket and removes old tombstones. A few items at a time are
// looked at under the lock; what moves meanwhile is found in the next pass.
func (b *Bucket) expireVBucket(ctx context.Context, vb *vBucket) int {
	conf := b.config.Load()
	at := b.clock.Now()
	var slow []Key // names of what has expired with attributes
	total := 0
	for from := uint32(0); ; from += walkSlots {
		vb.mu.Lock()
		if vb.mu.state != vbucket.Active || !vb.mu.ready || vb.mu.closed {
			vb.mu.Unlock()
			break
		}
		n := 0
		n, slow = b.expireSlots(conf, at, vb, from, slow)
		done := from+walkSlots >= uint32(len(vb.table.Load().slots))
		if done {
			vb.shrink(b)
		}
		cursors := vb.mu.cursors
		vb.mu.Unlock()
		if n > 0 {
			notify(cursors, vb.id)
			total += n
		}
		if done {
			break
		}
	}
	for i := range slow {
		if err := b.bury(ctx, conf, at, &slow[i]); err == nil {
			total++
		}
	}
	return total
}

// expireSlots does the slots [from, from+walkSlots). Call it with the lock held.
func (b *Bucket) expireSlots(conf *config, at hlc.Time, vb *vBucket, from uint32, slow []Key) (int, []Key) {
	now := at.Unix()
	t := vb.table.Load()
	to := min(from+walkSlots, uint32(len(t.slots)))
	n := 0
	for i := from; i < to; {
		s := t.slots[i]
		if s == 0 {
			i++
			continue
		}
		h := b.at(slotRef(s))
		k := Key{VB: vb.id, Coll: docid.Collection(h.cid), Name: h.name(), hash: slotHash(s)}
		switch {
		case h.expired(now) && h.datatype()&value.Xattr != 0:
			k.Name = bytes.Clone(k.Name)
			slow = append(slow, k)
		case h.expired(now):
			v := tombstone(at, stateExpired)
			if _, err := vb.put(b, conf, &k, i, h, &v, at); err == nil {
				vb.mu.ops.Expired++
				n++
			}
		case h.deleted() && b.mayPurge(vb, h, conf, now):
			vb.mu.purge = max(vb.mu.purge, h.seqno())
			vb.remove(b, conf, i, h)
			continue // another item may have moved here
		}
		i++
	}
	return n, slow
}

// mayPurge reports whether a tombstone of an ephemeral bucket is old enough to go: no reader that is on its way can miss it,
// and it is not the newest change, which every snapshot ends with. A persistent bucket purges its disk first.
func (b *Bucket) mayPurge(vb *vBucket, h *header, conf *config, now uint32) bool {
	return b.store == nil && uint64(h.expiry)+uint64(conf.spec.PurgeAge) <= uint64(now) && h.seqno() <= vb.lowest(b) &&
		h.seqno() < vb.mu.high
}

// shrink gives a table's memory back when far less is in it than in the last hour. Call it with the lock held.
func (vb *vBucket) shrink(b *Bucket) {
	t := vb.table.Load()
	n := vb.mu.items + vb.mu.tombstones
	if now := time.Now(); n >= vb.mu.peak || now.Sub(vb.mu.peakAt) > shrinkAfter {
		vb.mu.peak, vb.mu.peakAt = n, now
	}
	slots := len(t.slots)
	for slots > firstTable && max(n, vb.mu.peak/2)*2 <= slots/2 { // at most half full after halving
		slots /= 2
	}
	if slots < len(t.slots) {
		vb.resize(b, slots)
	}
}
