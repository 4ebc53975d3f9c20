package kv

import (
	"context"

	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// storeMode says what store demands of the document that is there.
type storeMode uint8

const (
	storeSet     storeMode = iota // nothing
	storeAdd                      // that there is none
	storeReplace                  // that there is one
)

// Set writes a document, whether there is one or not. With a CAS there must be one. ErrNotFound, ErrCASMismatch, ErrLocked,
// ErrTooBig, ErrInflate, ErrBusy, ErrNoMemory, and of a durable write ErrDurabilityInvalid, ErrDurabilityImpossible and
// ErrDurabilityAmbiguous: the latter has been applied, and Written says as what.
func (b *Bucket) Set(ctx context.Context, at hlc.Time, k Key, w *Write) (Written, error) {
	return b.storeDocument(ctx, at, k, w, storeSet)
}

// Add writes a document that must not exist: ErrExists. Other errors are those of Set.
func (b *Bucket) Add(ctx context.Context, at hlc.Time, k Key, w *Write) (Written, error) {
	return b.storeDocument(ctx, at, k, w, storeAdd)
}

// Replace writes a document that must exist: ErrNotFound. Other errors are those of Set.
func (b *Bucket) Replace(ctx context.Context, at hlc.Time, k Key, w *Write) (Written, error) {
	return b.storeDocument(ctx, at, k, w, storeReplace)
}

func (b *Bucket) storeDocument(ctx context.Context, at hlc.Time, k Key, w *Write, mode storeMode) (Written, error) {
	conf := b.config.Load()
	level, err := conf.durability(w.Level)
	if err != nil {
		return Written{}, err
	}
	body := w.Value
	if w.Datatype&value.Snappy == 0 {
		if len(body) > conf.spec.MaxValueBytes {
			b.tellRefused(k.VB, trace.RefusalSize)
			return Written{}, ErrTooBig
		}
	} else {
		sc := b.getScratch()
		defer b.putScratch(sc)
		if body, err = sc.body(w, conf.spec.MaxValueBytes); err != nil {
			return Written{}, err
		}
	}
	v := version{flags: w.Flags, expiry: conf.expiry(k.Coll, w.Expiry, at), level: level}
	v.value, v.datatype = storedForm(conf, w, body)
	if b.compressesWrites(conf) && v.datatype&value.Snappy == 0 && len(body) >= minCompressed {
		sc := b.getScratch()
		defer b.putScratch(sc)
		if block, smaller := sc.deflate(body); smaller {
			v.value, v.datatype = block, v.datatype|value.Snappy
		}
	}
	if err := b.admit(conf, k.VB, headerBytes+len(k.Name)+len(v.value)); err != nil {
		return Written{}, err
	}
	st := storing{b: b, conf: conf, at: at, k: k, w: w, mode: mode, v: v, body: body}
	defer st.end()
	return st.run(ctx)
}

// storedForm gives the form in which a value is kept: the block that the client sent, unless it is not smaller or the bucket
// does not keep blocks.
func storedForm(conf *config, w *Write, body []byte) ([]byte, value.Datatype) {
	dt := jsonBit(body)
	if w.Datatype&value.Snappy != 0 && conf.spec.Compression != spec.CompressOff && len(w.Value) < len(body) {
		return w.Value, dt | value.Snappy
	}
	return body, dt
}

// storing is a store that has been checked as far as that can be done without the lock. A document with extended attributes
// keeps them: then the value is put together without the lock, from a copy of the old one, and the document must still be
// the same afterwards.
type storing struct {
	b    *Bucket
	conf *config
	at   hlc.Time
	k    Key // a copy: what a struct with a scratch points to would be moved to the heap
	w    *Write
	mode storeMode
	v    version
	body []byte   // inflated
	base uint64   // CAS of the version whose attributes are in v, 0: v has none
	sc   *scratch // nil until attributes are met
}

func (s *storing) end() {
	if s.sc != nil {
		s.b.putScratch(s.sc)
	}
}

func (s *storing) run(ctx context.Context) (Written, error) {
	b, k, wanted := s.b, &s.k, s.v.expiry
	for {
		vb, err := b.enter(ctx, s.conf, k)
		if err != nil {
			return Written{}, err
		}
		i, h := vb.find(b, k)
		if h != nil && h.expired(s.at.Unix()) {
			if err := b.expireHere(ctx, s.conf, s.at, vb, k, i, h); err != nil {
				return Written{}, err
			}
			continue
		}
		state, keepsExpiry, err := s.w.staleness(h, vb.mayStore(h, s.w.CAS, s.mode, s.at))
		if err != nil {
			vb.mu.Unlock()
			return Written{}, err
		}
		if attributes := attributesOf(h); attributes != s.base {
			if err := s.rebase(ctx, vb, h, attributes); err != nil {
				return Written{}, err
			}
			continue
		}
		s.v.expiry, s.v.state = wanted, state
		if (s.w.PreserveExpiry || keepsExpiry) && h != nil && !h.deleted() {
			s.v.expiry = h.expiry
		}
		done, err := vb.put(b, s.conf, k, i, h, &s.v, s.at)
		if err == nil {
			vb.mu.ops.Sets++
		}
		return b.finish(ctx, vb, done, err, s.v.level, s.w)
	}
}

// attributesOf names the version of a live document that has extended attributes by its CAS; 0 is anything else.
func attributesOf(h *header) uint64 {
	if h == nil || h.deleted() || h.datatype()&value.Xattr == 0 {
		return 0
	}
	return h.cas
}

// rebase makes the value for the version that is there now. It is called with the lock held and releases it.
func (s *storing) rebase(ctx context.Context, vb *vBucket, h *header, attributes uint64) error {
	if attributes == 0 { // they are gone meanwhile
		vb.mu.Unlock()
		s.v.value, s.v.datatype = storedForm(s.conf, s.w, s.body)
		s.base = 0
		return nil
	}
	if s.sc == nil {
		s.sc = s.b.getScratch()
	}
	cas, dt, copied, err := s.b.takeOld(ctx, vb, &s.k, h, s.sc)
	if err != nil || !copied {
		return err
	}
	section, _, err := s.sc.split(dt)
	if err != nil {
		return err
	}
	s.sc.result = value.Join(s.sc.result[:0], section, s.body)
	s.v.value, s.v.datatype = s.sc.result, jsonBit(s.body)|value.Xattr
	s.base = cas
	return nil
}

// mayStore checks a storing mutation against what is there. Call it with the lock held.
func (vb *vBucket) mayStore(h *header, cas vbucket.CAS, mode storeMode, at hlc.Time) error {
	if h == nil || h.deleted() {
		if mode == storeReplace || mode == storeSet && cas != 0 {
			vb.mu.ops.Misses++
			return ErrNotFound
		}
		return nil
	}
	if mode == storeAdd {
		return ErrExists
	}
	return vb.mayChange(h, cas, at)
}

// finish ends a mutation: it releases the lock, wakes the readers and waits until the durability level is reached.
func (b *Bucket) finish(ctx context.Context, vb *vBucket, done Written, err error, level spec.Durability, w *Write) (
	Written, error,
) {
	cursors := vb.mu.cursors
	vb.mu.Unlock()
	if err != nil {
		if err == ErrBusy { //nolint:errorlint // the sentinel that put returns
			return Written{}, b.refuse(vb.id, trace.RefusalQuota, err)
		}
		return Written{}, err
	}
	notify(cursors, vb.id)
	if level != 0 {
		return done, b.await(ctx, vb, &done, level, w.Timeout)
	}
	return done, nil
}

// Delete deletes a document; its tombstone keeps the key, and Written describes it. ErrNotFound, ErrCASMismatch, ErrLocked,
// and the errors of durable writes. Deletions are taken when other mutations are refused for want of memory.
func (b *Bucket) Delete(ctx context.Context, at hlc.Time, k Key, w *Write) (Written, error) {
	conf := b.config.Load()
	level, err := conf.durability(w.Level)
	if err != nil {
		return Written{}, err
	}
	if err := b.admitDelete(conf, k.VB); err != nil {
		return Written{}, err
	}
	var sc *scratch
	base := uint64(0)
	v := tombstone(at, 0)
	v.level = level
	for {
		vb, i, h, err := b.live(ctx, conf, at, &k)
		if err != nil {
			return Written{}, err
		}
		if err := vb.mayChange(h, w.CAS, at); err != nil {
			vb.mu.Unlock()
			return Written{}, err
		}
		if h.datatype()&value.Xattr != 0 && base != h.cas {
			if sc == nil {
				sc = b.getScratch()
				defer b.putScratch(sc)
			}
			cas, dt, copied, err := b.takeOld(ctx, vb, &k, h, sc)
			if err != nil {
				return Written{}, err
			}
			if copied {
				if v.value, v.datatype, err = systemPart(sc, dt); err != nil {
					return Written{}, err
				}
				base = cas
			}
			continue
		}
		if h.datatype()&value.Xattr == 0 {
			v.value, v.datatype = nil, 0
		}
		done, err := vb.put(b, conf, &k, i, h, &v, at)
		if err == nil {
			vb.mu.ops.Deletes++
		}
		return b.finish(ctx, vb, done, err, level, w)
	}
}

// Touch gives a document another expiry, in w's wire form. If the expiry does not change nothing is written, and Written
// describes the document as it is. ErrNotFound, ErrLocked, ErrBusy, ErrNoMemory, and the errors of durable writes.
func (b *Bucket) Touch(ctx context.Context, at hlc.Time, k Key, w *Write) (Written, error) {
	conf := b.config.Load()
	level, err := conf.durability(w.Level)
	if err != nil {
		return Written{}, err
	}
	if b.window.Load() > conf.window {
		b.relieve(conf)
	}
	// The value is needed in a persistent bucket: the flusher writes whole documents.
	vb, i, h, err := b.stored(ctx, conf, at, &k, false)
	if err != nil {
		return Written{}, err
	}
	if vb.locked(h, at) {
		vb.mu.Unlock()
		return Written{}, ErrLocked
	}
	done, changed, err := vb.touch(b, conf, &k, i, h, conf.expiry(k.Coll, w.Expiry, at), level, at)
	if err == nil {
		vb.mu.ops.Touches++
	}
	if err == nil && !changed {
		vb.mu.Unlock()
		return done, nil
	}
	return b.finish(ctx, vb, done, err, level, w)
}

// touch changes the expiry of a live document whose value is in memory. The item stays in its place. Call it with the lock
// held.
func (vb *vBucket) touch(
	b *Bucket, conf *config, k *Key, i uint32, h *header, expiry uint32, level spec.Durability, at hlc.Time,
) (done Written, changed bool, err error) {
	if h.expiry == expiry {
		return Written{CAS: vbucket.CAS(h.cas), Seqno: h.seqno(), UUID: vb.mu.uuid}, false, nil
	}
	if b.window.Load() > conf.window || b.refusing.Load() {
		return Written{}, false, b.refuse(vb.id, b.crowdedOut(), ErrBusy)
	}
	v := version{
		flags: h.flags, expiry: expiry, datatype: h.datatype(), level: level, value: h.body(), state: h.state() & stateMemory,
	}
	done, err = vb.put(b, conf, k, i, h, &v, at)
	return done, true, err
}
