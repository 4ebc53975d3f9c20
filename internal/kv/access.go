package kv

import (
	"context"
	"slices"

	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Caches that share a document tell each other through it who makes it anew: memcached's meta protocol has tokens for that
// (wire.md 22.4). A document can be stale: good for use, but somebody should make a new version. The first reader who may do
// so is told that it has won; the others are told that the token has been given. Both bits, and whether the document was ever
// read, live in memory only: in the state of the item's header, which is never written to disk or to a reader of the feed.
// A store clears them, a change of the expiry alone keeps them, and a restart forgets them, which costs at most one more
// winner.

// Access is the request of a read as the meta protocol has it. The zero value reads nothing but the description.
type Access struct {
	Value  bool        // the value is wanted
	Unless vbucket.CAS // but not if the document has this CAS; 0 = always
	Unseen bool        // the read does not count as use of the document

	Touch      bool   // gives the document another expiry
	Expiry     uint32 // that expiry, wire form
	Create     bool   // a missing document is made, empty and with its token given
	NewExpiry  uint32 // its expiry, wire form
	Recache    bool   // a document that expires before Threshold is there to be won
	Threshold  uint32 // wire form
	TouchFirst bool   // Recache looks at the expiry that Touch has given, not at the one before
}

// Accessed is what Bucket.Access found.
type Accessed struct {
	Meta

	OldExpiry uint32 // before Access.Touch
	HasValue  bool   // the value was appended
	Fetched   bool   // the document had been read before
	Created   bool
	Stale     bool
	Given     bool // the token had been given to somebody before
	Won       bool // it was given to the caller now
}

// Access reads a document as Get does, with the other things that the meta protocol does under the same lock. What it found is
// put into f, the value is appended to dst as it is stored. ErrNotFound unless a.Create; ErrLocked, ErrBusy and ErrNoMemory of
// requests that change the document.
func (b *Bucket) Access(ctx context.Context, at hlc.Time, k Key, a *Access, f *Accessed, dst []byte) ([]byte, error) {
	conf := b.config.Load()
	for retry := false; ; retry = true {
		out, again, err := b.access(ctx, conf, at, &k, a, f, dst, retry)
		switch {
		case again:
			dst = out
			continue
		case err != ErrNotFound || !a.Create: //nolint:errorlint // the sentinel that live returns
			return out, err
		}
		made, err := b.vivify(ctx, conf, at, &k, a, f)
		if made || err != nil {
			return dst, err
		}
	}
}

// access is one attempt to read, retry an attempt after another. again: dst had no room for the value; the returned one has.
func (b *Bucket) access(
	ctx context.Context, conf *config, at hlc.Time, k *Key, a *Access, f *Accessed, dst []byte, retry bool,
) (out []byte, again bool, err error) {
	if a.Touch && b.window.Load() > conf.window {
		b.relieve(conf)
	}
	var vb *vBucket
	var i uint32
	var h *header
	if a.Value || a.Touch { // the flusher writes whole documents, so a touch needs the value as well
		vb, i, h, err = b.stored(ctx, conf, at, k, retry)
	} else {
		vb, i, h, err = b.live(ctx, conf, at, k)
	}
	if err != nil {
		return dst, false, err
	}
	f.HasValue = a.Value && (a.Unless == 0 || uint64(a.Unless) != h.cas)
	if f.HasValue {
		var ok bool
		if out, ok = appendBody(dst, h); !ok {
			room := len(h.body())
			vb.mu.Unlock()
			return slices.Grow(dst, room), true, nil
		}
	} else {
		out = dst
	}
	locked := vb.locked(h, at)
	if locked && a.Touch {
		vb.mu.Unlock()
		return dst, false, ErrLocked
	}
	f.note(h)
	if !a.Unseen {
		h.use()
	}
	vb.mu.ops.Gets++
	if !a.Touch {
		f.decide(h, a, conf.threshold(a, at), h.expiry)
		f.Meta = h.meta(vb.mu.uuid, locked)
		vb.mu.Unlock()
		return out, false, nil
	}
	return out, false, b.accessTouch(ctx, conf, at, vb, k, i, h, a, f)
}

// accessTouch ends an access that changes the expiry. It is called with the lock held and releases it.
func (b *Bucket) accessTouch(
	ctx context.Context, conf *config, at hlc.Time, vb *vBucket, k *Key, i uint32, h *header, a *Access, f *Accessed,
) error {
	level, err := conf.durability(0)
	if err != nil {
		vb.mu.Unlock()
		return err
	}
	done, changed, err := vb.touch(b, conf, k, i, h, conf.expiry(k.Coll, a.Expiry, at), level, at)
	if err != nil {
		vb.mu.Unlock()
		return err
	}
	vb.mu.ops.Touches++
	expiry := f.OldExpiry
	if a.TouchFirst {
		expiry = h.expiry
	}
	f.decide(h, a, conf.threshold(a, at), expiry)
	f.Meta = h.meta(vb.mu.uuid, false)
	cursors := vb.mu.cursors
	vb.mu.Unlock()
	if !changed {
		return nil
	}
	notify(cursors, vb.id)
	return b.await(ctx, vb, &done, level, 0)
}

// threshold gives the time before which a document has to expire to be there to be won. A maxTTL has no say in it.
func (c *config) threshold(a *Access, at hlc.Time) uint64 {
	if !a.Recache {
		return 0
	}
	if a.Threshold <= relativeExpiry {
		return uint64(at.Unix()) + uint64(a.Threshold)
	}
	return uint64(a.Threshold)
}

// note takes what has to be seen before the access leaves its own traces.
func (f *Accessed) note(h *header) {
	s := h.state()
	f.OldExpiry = h.expiry
	f.Fetched, f.Stale, f.Given = s&stateFetched != 0, s&stateStale != 0, s&stateGiven != 0
	f.Created, f.Won = false, false
}

// decide gives the token to the caller if it is there to be won.
func (f *Accessed) decide(h *header, a *Access, threshold uint64, expiry uint32) {
	if f.Given || !f.Stale && (!a.Recache || expiry == 0 || uint64(expiry) >= threshold) {
		return
	}
	f.Won = true
	h.setState(stateGiven, 0)
}

// vivify makes the empty document that a miss asks for. made is false if somebody else was faster.
func (b *Bucket) vivify(ctx context.Context, conf *config, at hlc.Time, k *Key, a *Access, f *Accessed) (made bool, err error) {
	level, err := conf.durability(0)
	if err != nil {
		return false, err
	}
	if err := b.admit(conf, k.VB, headerBytes+len(k.Name)); err != nil {
		return false, err
	}
	vb, err := b.enter(ctx, conf, k)
	if err != nil {
		return false, err
	}
	i, h := vb.find(b, k)
	if h != nil && !h.deleted() {
		vb.mu.Unlock()
		return false, nil
	}
	v := version{expiry: conf.expiry(k.Coll, a.NewExpiry, at), level: level, state: stateGiven}
	done, err := vb.put(b, conf, k, i, h, &v, at)
	if err == nil {
		vb.mu.ops.Sets++
		*f = Accessed{
			Meta:      Meta{CAS: done.CAS, Seqno: done.Seqno, UUID: done.UUID, Expiry: v.expiry},
			OldExpiry: v.expiry, HasValue: a.Value, Created: true, Won: true,
		}
	}
	_, err = b.finish(ctx, vb, done, err, level, &Write{})
	return err == nil, err
}

// Invalidate marks a document as stale and gives it a new CAS, so that it is there to be won again. It gets w.Expiry unless
// w.PreserveExpiry; of the rest of w only CAS, Level and Timeout count. ErrNotFound, ErrCASMismatch, ErrLocked, ErrBusy,
// ErrNoMemory, and the errors of durable writes.
func (b *Bucket) Invalidate(ctx context.Context, at hlc.Time, k Key, w *Write) (Written, error) {
	conf := b.config.Load()
	level, err := conf.durability(w.Level)
	if err != nil {
		return Written{}, err
	}
	if err := b.admit(conf, k.VB, 0); err != nil {
		return Written{}, err
	}
	vb, i, h, err := b.stored(ctx, conf, at, &k, false)
	if err != nil {
		return Written{}, err
	}
	if err := vb.mayChange(h, w.CAS, at); err != nil {
		vb.mu.Unlock()
		return Written{}, err
	}
	v := version{
		flags: h.flags, expiry: h.expiry, datatype: h.datatype(), level: level, value: h.body(),
		state: h.state()&stateFetched | stateStale,
	}
	if !w.PreserveExpiry {
		v.expiry = conf.expiry(k.Coll, w.Expiry, at)
	}
	done, err := vb.put(b, conf, &k, i, h, &v, at)
	return b.finish(ctx, vb, done, err, level, w)
}

// StaleRule says whether what a mutation stores is stale.
type StaleRule uint8

// The rules.
const (
	StaleNever StaleRule = iota
	StaleAlways
	// StaleIfOlder: a CAS below the document's does not refuse the mutation. What it stores is stale then, expires with the
	// document that it replaces, and its token is given if that one's was.
	StaleIfOlder
)

// staleness applies the rule of a mutation that mayStore has judged with err. It returns the state of the new version, and
// whether that keeps the expiry of the old one.
func (w *Write) staleness(h *header, err error) (state uint16, keepsExpiry bool, _ error) {
	switch {
	case w.Stale == StaleIfOlder && err == ErrCASMismatch && uint64(w.CAS) < h.cas: //nolint:errorlint // of mayStore
		return stateStale | h.state()&stateGiven, true, nil
	case w.Stale == StaleAlways && err == nil:
		return stateStale, false, nil
	}
	return 0, false, err
}
