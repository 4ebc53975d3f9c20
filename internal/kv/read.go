package kv

import (
	"context"
	"slices"

	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// frequency is the part of an item's access byte that counts uses, up to 3; the pagers count it down.
const frequency = 3

// use notes that an item was used. Only changes are written, so that hot items cause no writes.
func (h *header) use() {
	if a := h.access(); a&frequency != frequency {
		h.setAccess(a + 1)
	}
	if h.disk>>48&stateFetched == 0 {
		h.setState(stateFetched, 0)
	}
}

// live finds a document and returns with its vBucket's lock held. Expired documents are made tombstones and are not found,
// like tombstones: ErrNotFound. Other errors are those of enter. With an error the lock is not held.
func (b *Bucket) live(ctx context.Context, conf *config, at hlc.Time, k *Key) (*vBucket, uint32, *header, error) {
	for {
		vb, err := b.enter(ctx, conf, k)
		if err != nil {
			return nil, 0, nil, err
		}
		i, h := vb.find(b, k)
		if h != nil && h.deleted() {
			h = nil
		}
		if h == nil {
			vb.mu.ops.Misses++
			vb.mu.Unlock()
			return nil, 0, nil, ErrNotFound
		}
		if h.expiry == 0 || !h.expired(at.Unix()) {
			return vb, i, h, nil
		}
		if err := b.expireHere(ctx, conf, at, vb, k, i, h); err != nil {
			return nil, 0, nil, err
		}
	}
}

// stored is live for a document whose value is wanted: it fetches the value if it is on disk only. again says that the
// operation has been here before, so that its probe fires once.
func (b *Bucket) stored(ctx context.Context, conf *config, at hlc.Time, k *Key, again bool) (*vBucket, uint32, *header, error) {
	for ; ; again = true {
		vb, i, h, err := b.live(ctx, conf, at, k)
		if err != nil || !h.ejected() {
			if !again && err == nil && trace.CacheHit.On() {
				trace.CacheHit.Fire(b.shard(vb.id), b.observed.name, uint16(vb.id), trace.KeyOf(k.Name))
			}
			return vb, i, h, err
		}
		seqno := h.seqno()
		vb.mu.Unlock()
		if err := b.fetch(ctx, vb, k, seqno); err != nil {
			return nil, 0, nil, err
		}
	}
}

// appendBody appends an item's value to dst, unless dst lacks room: memory is not allocated under the lock.
func appendBody(dst []byte, h *header) ([]byte, bool) {
	body := h.body()
	if len(body) > cap(dst)-len(dst) {
		return dst, false
	}
	return append(dst, body...), true
}

// Get reads a document. The value is appended to dst as it is stored, which may be a Snappy block: see Meta.Datatype.
// ErrNotFound. Like all operations on documents it also returns *NotMyVBucketError, *spec.UnknownCollectionError,
// ErrWarming and ErrClosed.
func (b *Bucket) Get(ctx context.Context, at hlc.Time, k Key, dst []byte) (Meta, []byte, error) {
	var m Meta
	dst, err := b.Read(ctx, at, &k, &m, dst)
	return m, dst, err
}

// Read is Get for callers that keep a Key and a Meta: copying both costs a twentieth of a read in a batch. m is what Get
// returns; with an error it is left as it was.
func (b *Bucket) Read(ctx context.Context, at hlc.Time, k *Key, m *Meta, dst []byte) ([]byte, error) {
	conf := b.config.Load()
	for again := false; ; again = true {
		vb, _, h, err := b.stored(ctx, conf, at, k, again)
		if err != nil {
			return dst, err
		}
		out, ok := appendBody(dst, h)
		if !ok {
			room := len(h.body())
			vb.mu.Unlock()
			dst = slices.Grow(dst, room)
			continue
		}
		h.use()
		*m = h.meta(vb.mu.uuid, vb.locked(h, at))
		vb.mu.ops.Gets++
		vb.mu.Unlock()
		return out, nil
	}
}

// GetMeta describes a document or its tombstone, without reading the value. ErrNotFound.
func (b *Bucket) GetMeta(ctx context.Context, at hlc.Time, k Key) (Meta, error) {
	conf := b.config.Load()
	for {
		vb, err := b.enter(ctx, conf, &k)
		if err != nil {
			return Meta{}, err
		}
		i, h := vb.find(b, &k)
		switch {
		case h == nil:
			vb.mu.ops.Misses++
			vb.mu.Unlock()
			return b.fetchMeta(ctx, vb, &k) // a tombstone may be on disk only
		case h.expired(at.Unix()):
			if err := b.expireHere(ctx, conf, at, vb, &k, i, h); err != nil {
				return Meta{}, err
			}
			continue
		}
		m := h.meta(vb.mu.uuid, vb.locked(h, at))
		vb.mu.ops.Metas++
		vb.mu.Unlock()
		return m, nil
	}
}

// GetAndTouch reads a document as Get does and gives it another expiry. If the expiry does not change it is only a read;
// otherwise it is a mutation, and Meta describes the new version. ErrNotFound, ErrLocked, ErrBusy, ErrNoMemory.
func (b *Bucket) GetAndTouch(ctx context.Context, at hlc.Time, k Key, expiry uint32, dst []byte) (Meta, []byte, error) {
	conf := b.config.Load()
	level, err := conf.durability(0)
	if err != nil {
		return Meta{}, dst, err
	}
	if b.window.Load() > conf.window {
		b.relieve(conf)
	}
	for again := false; ; again = true {
		vb, i, h, err := b.stored(ctx, conf, at, &k, again)
		if err != nil {
			return Meta{}, dst, err
		}
		if vb.locked(h, at) {
			vb.mu.Unlock()
			return Meta{}, dst, ErrLocked
		}
		out, ok := appendBody(dst, h)
		if !ok {
			room := len(h.body())
			vb.mu.Unlock()
			dst = slices.Grow(dst, room)
			continue
		}
		h.use()
		done, changed, err := vb.touch(b, conf, &k, i, h, conf.expiry(k.Coll, expiry, at), level, at)
		m := h.meta(vb.mu.uuid, false)
		vb.mu.ops.Gets++
		cursors := vb.mu.cursors
		vb.mu.Unlock()
		if err != nil {
			return Meta{}, dst, err
		}
		if changed {
			notify(cursors, vb.id)
			err = b.await(ctx, vb, &done, level, 0)
		}
		return m, out, err
	}
}

// GetAndLock reads a document as Get does and locks it for so many seconds: 1 to 30, else 15. Meta.CAS is the lock's CAS:
// only mutations that carry it, and Unlock, succeed until then. ErrNotFound, ErrLocked.
func (b *Bucket) GetAndLock(ctx context.Context, at hlc.Time, k Key, seconds uint32, dst []byte) (Meta, []byte, error) {
	conf := b.config.Load()
	for again := false; ; again = true {
		vb, _, h, err := b.stored(ctx, conf, at, &k, again)
		if err != nil {
			return Meta{}, dst, err
		}
		if vb.locked(h, at) {
			vb.mu.Unlock()
			return Meta{}, dst, ErrLocked
		}
		out, ok := appendBody(dst, h)
		if !ok {
			room := len(h.body())
			vb.mu.Unlock()
			dst = slices.Grow(dst, room)
			continue
		}
		h.use()
		m := h.meta(vb.mu.uuid, false)
		m.CAS = vb.lock(b, h, seconds, at)
		vb.mu.ops.Gets++
		vb.mu.ops.Locks++
		vb.mu.Unlock()
		return m, out, nil
	}
}

// Unlock ends a document's lock. ErrNotFound, ErrNotLocked, and ErrLocked if cas is not the lock's.
func (b *Bucket) Unlock(at hlc.Time, k Key, cas vbucket.CAS) error {
	conf := b.config.Load()
	vb, _, h, err := b.live(context.Background(), conf, at, &k)
	if err != nil {
		return err
	}
	defer vb.mu.Unlock()
	switch {
	case !vb.locked(h, at):
		return ErrNotLocked
	case vb.mu.locks[h.seqno()].cas != cas:
		return ErrLocked
	}
	vb.unlock(h)
	return nil
}
