package kv

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// ErrSnapshot says that a snapshot does not fit a bucket: it was made of one with another number of vBuckets.
var ErrSnapshot = errors.New("snapshot was made of a bucket with another number of vBuckets")

// snapshotTries is how often Snapshot brings ejected values back into memory before it gives up: something else ejects them.
const snapshotTries = 5

// Snapshot is all documents of a bucket at one moment, in Go's memory. It does not change, so that it may be restored any
// number of times, also into another bucket with as many vBuckets. Tombstones and locks are not in it.
//
// It is for tests that want the same documents again: no log of changes leads from one to the next, and everything stops
// while it is made.
type Snapshot struct {
	vbs  []savedVBucket
	docs int
	size int
}

// savedVBucket has the documents of one vBucket in the order of their seqnos. Keys and values stand behind each other in blob.
type savedVBucket struct {
	docs []savedDocument
	blob []byte
}

type savedDocument struct {
	seqno    vbucket.Seqno
	cas, rev uint64
	at       int // of the key in blob; the value follows it
	vlen     uint32
	flags    uint32
	expiry   uint32
	coll     docid.Collection
	keyLen   uint8
	datatype value.Datatype
	level    spec.Durability
}

// EmptySnapshot is the snapshot of an empty bucket.
func EmptySnapshot(vBuckets int) *Snapshot { return &Snapshot{vbs: make([]savedVBucket, vBuckets)} }

// Documents is how many documents the snapshot holds.
func (s *Snapshot) Documents() int { return s.docs }

// Bytes is how many bytes their keys and values have as stored.
func (s *Snapshot) Bytes() int { return s.size }

// Snapshot copies all documents as they are at one moment: nothing is changed while it copies. In a persistent bucket values
// that are on disk only are brought into memory first. ErrWarming while keys are being loaded, ErrBusy if memory does not
// suffice, ErrClosed.
func (b *Bucket) Snapshot(ctx context.Context) (*Snapshot, error) {
	for range snapshotTries {
		if err := b.lockAll(); err != nil {
			return nil, err
		}
		ejected := 0
		for i := range b.vbs {
			ejected += b.vbs[i].mu.ejected
		}
		if ejected == 0 {
			s := b.copyAll()
			b.unlockAll()
			return s, nil
		}
		b.unlockAll()
		if err := b.fetchAll(ctx); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("snapshot: the values do not fit into memory at the same time: %w", ErrBusy)
}

// lockAll takes the locks of all vBuckets in order, which nothing else does, or none of them if one is not ready.
func (b *Bucket) lockAll() error {
	for i := range b.vbs {
		vb := &b.vbs[i]
		vb.mu.Lock()
		var err error
		switch {
		case vb.mu.closed:
			err = ErrClosed
		case vb.mu.disk.damage != nil:
			err = vb.mu.disk.damage
		case !vb.mu.ready:
			err = ErrWarming
		}
		if err != nil {
			for j := range i + 1 {
				b.vbs[j].mu.Unlock()
			}
			return err
		}
	}
	return nil
}

func (b *Bucket) unlockAll() {
	for i := range b.vbs {
		b.vbs[i].mu.Unlock()
	}
}

// copyAll copies the documents. Call it with all locks held, when all values are in memory.
func (b *Bucket) copyAll() *Snapshot {
	s := &Snapshot{vbs: make([]savedVBucket, len(b.vbs))}
	for i := range b.vbs {
		vb := &b.vbs[i]
		if vb.mu.items == 0 {
			continue
		}
		saved := &s.vbs[i]
		saved.docs = make([]savedDocument, 0, vb.mu.items)
		saved.blob = make([]byte, 0, vb.mu.docBytes)
		for _, slot := range vb.table.Load().slots {
			if slot == 0 {
				continue
			}
			if h := b.at(slotRef(slot)); !h.deleted() {
				saved.add(h)
			}
		}
		slices.SortFunc(saved.docs, func(x, y savedDocument) int { return cmp.Compare(x.seqno, y.seqno) })
		s.docs += len(saved.docs)
		s.size += len(saved.blob)
	}
	return s
}

func (s *savedVBucket) add(h *header) {
	s.docs = append(s.docs, savedDocument{
		seqno: h.seqno(), cas: h.cas, rev: h.revision(), at: len(s.blob), vlen: h.vlen, flags: h.flags, expiry: h.expiry,
		coll: docid.Collection(h.cid), keyLen: uint8(h.keyLen()), datatype: h.datatype(), level: h.level(),
	})
	s.blob = append(append(s.blob, h.name()...), h.body()...)
}

// fetchAll brings all values into memory.
func (b *Bucket) fetchAll(ctx context.Context) error {
	type absent struct {
		key   Key
		seqno vbucket.Seqno
	}
	for i := range b.vbs {
		vb := &b.vbs[i]
		var list []absent
		vb.mu.Lock()
		for _, s := range vb.table.Load().slots {
			if s == 0 {
				continue
			}
			if h := b.at(slotRef(s)); h.ejected() {
				k := Key{VB: vb.id, Coll: docid.Collection(h.cid), Name: bytes.Clone(h.name()), hash: slotHash(s)}
				list = append(list, absent{k, h.seqno()})
			}
		}
		vb.mu.Unlock()
		for j := range list {
			if err := b.fetch(ctx, vb, &list[j].key, list[j].seqno); err != nil {
				return fmt.Errorf("snapshot: %w", err)
			}
		}
	}
	return nil
}

// Restore replaces all documents by those of a snapshot, with their CAS, flags and expiry, under a new history: readers of
// the feed are told to roll back to 0. CAS values that are given later are still above all that were given before. Documents
// of collections that are gone meanwhile are left out.
//
// In an ephemeral bucket all changes at once. A persistent bucket is seen empty or filled in part meanwhile, and Restore
// returns when the documents are on disk. ErrSnapshot, ErrWarming, ErrClosed; ErrBusy or ErrNoMemory if they do not fit into
// memory, and then some of them are missing.
func (b *Bucket) Restore(ctx context.Context, s *Snapshot) error {
	if len(s.vbs) != len(b.vbs) {
		return ErrSnapshot
	}
	conf, at := b.config.Load(), b.clock.Now()
	if b.store != nil {
		return b.restoreStore(ctx, conf, at, s)
	}
	if err := b.lockAll(); err != nil {
		return err
	}
	var failure error
	for i := range b.vbs {
		vb := &b.vbs[i]
		vb.forgetAll(b)
		if failure == nil {
			failure = vb.refill(b, conf, &s.vbs[i], at)
		}
	}
	b.unlockAll()
	for i := range b.vbs { // until they hear of it the name of their history keeps them from reading on
		b.endReaders(&b.vbs[i], &change.RollbackError{VB: b.vbs[i].id})
	}
	b.exhausted.Store(false)
	return failure
}

// restoreStore is Restore for a persistent bucket: it is flushed as by Flush, without being counted as one, and filled by
// the way that all changes go.
func (b *Bucket) restoreStore(ctx context.Context, conf *config, at hlc.Time, s *Snapshot) error {
	b.meta.Lock()
	count := b.meta.flushed
	b.meta.Unlock()
	if err := b.flushStore(count); err != nil {
		return err
	}
	last := make([]Written, len(b.vbs))
	for i := range b.vbs {
		vb := &b.vbs[i]
		vb.mu.Lock()
		err := vb.refill(b, conf, &s.vbs[i], at)
		last[i] = Written{Seqno: vb.mu.high, UUID: vb.mu.uuid}
		cursors := vb.mu.cursors
		vb.mu.Unlock()
		notify(cursors, vb.id)
		if err != nil {
			return err
		}
		if len(s.vbs[i].docs) > 0 {
			b.hurry(vb.id)
		}
	}
	for i := range b.vbs {
		if len(s.vbs[i].docs) == 0 {
			continue
		}
		if err := b.await(ctx, &b.vbs[i], &last[i], spec.PersistToMajority, 0); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
	}
	return nil
}

// Sweep does at once what otherwise happens every ten minutes: documents whose time has come become tombstones, and
// tombstones that are old enough go. New CAS values are of the present time afterwards. It returns how many documents have
// expired, and is for who has moved the clock.
func (b *Bucket) Sweep(ctx context.Context) int {
	n := 0
	for i := range b.vbs {
		n += b.expireVBucket(ctx, &b.vbs[i])
	}
	if b.persist == nil {
		return n
	}
	b.persist.duePurges()
	if err := b.persist.raiseCeiling(b.clock.Now().Wall); err != nil { // the keeper goes on trying
		b.logger.Warn("cannot raise the ceiling of CAS values on disk", "error", err)
	}
	return n
}

// refill makes documents of saved ones, in the order in which they were written. Call it with the lock held.
func (vb *vBucket) refill(b *Bucket, conf *config, s *savedVBucket, at hlc.Time) error {
	switch {
	case len(s.docs) == 0:
		return nil
	case vb.mu.closed:
		return ErrClosed
	case vb.mu.state != vbucket.Active:
		return &NotMyVBucketError{VB: vb.id, State: vb.mu.state}
	}
	vb.reserve(b, len(s.docs))
	for i := range s.docs {
		d := &s.docs[i]
		if !conf.has(d.coll) {
			continue
		}
		body := d.at + int(d.keyLen)
		k := b.Key(vb.id, d.coll, s.blob[d.at:body])
		v := version{
			flags: d.flags, expiry: d.expiry, state: 0, datatype: d.datatype, level: d.level,
			value: s.blob[body : body+int(d.vlen)],
		}
		slot, h := vb.find(b, &k)
		if _, err := vb.put(b, conf, &k, slot, h, &v, at); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		vb.mu.clock.Observe(d.cas)
		_, h = vb.find(b, &k)
		h.cas = d.cas
		h.rev = h.rev&^low48 | d.rev&low48
	}
	return nil
}
