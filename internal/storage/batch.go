package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/invariant"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// overheadBytes is what an operation costs in a batch beside its key and value, at most.
const overheadBytes = 12

// Apply writes a batch of one vBucket's changes and its State, atomically, without a sync. The seqnos rise strictly and end
// at or below st.High. For each change that replaces a version on disk, Prev names that version's row, which goes. Nothing of
// list is kept. The rows are encoded where the batch keeps them: the call allocates nothing that depends on their number.
func (b *Bucket) Apply(vb vbucket.ID, list []change.Mutation, st State) error {
	if err := b.db.applyFault.Hit(context.Background()); err != nil {
		b.db.fail(err)
		return b.db.Failed()
	}
	size := prefixLen + len(stateName) + stateLen + overheadBytes
	for i := range list {
		m := &list[i]
		size += seqKeyLen + seqRowLen(m) + minByKey + len(m.Key) + keyRowLen + seqKeyLen + 3*overheadBytes
	}
	batch := b.db.pebble.NewBatchWithSize(size)
	if err := b.encode(batch, vb, list, &st); err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := b.db.write(batch, false); err != nil {
		return fmt.Errorf("bucket %s vb %d: %w", b.uuid, vb, err)
	}
	b.db.batches.Add(1)
	b.db.rows.Add(uint64(len(list)))
	return nil
}

// encode puts the operations of Apply into a batch.
func (b *Bucket) encode(batch *pebble.Batch, vb vbucket.ID, list []change.Mutation, st *State) error {
	scratch := make([]byte, placeLen)
	last := vbucket.Seqno(0)
	for i := range list {
		m := &list[i]
		switch {
		case m.Seqno <= last || m.Seqno > st.High:
			invariant.Violated("vb %d: seqno %d is to be written after %d in a batch up to %d", vb, m.Seqno, last, st.High)
		case len(m.Key) > maxKeyLen || len(m.Value) > maxValueLen:
			invariant.Violated("vb %d: key of %d and value of %d bytes", vb, len(m.Key), len(m.Value))
		case m.Prev >= m.Seqno:
			invariant.Violated("vb %d: seqno %d replaces %d", vb, m.Seqno, m.Prev)
		}
		last = m.Seqno
		if err := b.encodeOne(batch, vb, m, scratch); err != nil {
			return err
		}
	}
	op := batch.SetDeferred(prefixLen+len(stateName), stateLen)
	putPrefix(op.Key, b.bid, vb, kindLocal)
	copy(op.Key[prefixLen:], stateName)
	putState(op.Value, st)
	return op.Finish()
}

func (b *Bucket) encodeOne(batch *pebble.Batch, vb vbucket.ID, m *change.Mutation, scratch []byte) error {
	op := batch.SetDeferred(seqKeyLen, seqRowLen(m))
	putSeqKey(op.Key, b.bid, vb, m.Seqno)
	putSeqRow(op.Value, vb, m, scratch)
	if err := op.Finish(); err != nil {
		return err
	}
	op = batch.SetDeferred(minByKey+len(m.Key), keyRowLen)
	putByKeyKey(op.Key, b.bid, vb, m.Collection, m.Key)
	putKeyRow(op.Value, m)
	if err := op.Finish(); err != nil {
		return err
	}
	if m.Prev == 0 {
		return nil
	}
	// A plain delete: the size of the row that goes is not known without reading it, and a wrong size misleads compaction.
	// Not a single delete either: after a rollback the same seqno may be written again.
	op = batch.DeleteDeferred(seqKeyLen)
	putSeqKey(op.Key, b.bid, vb, m.Prev)
	return op.Finish()
}

// Tombstone names the rows of a deletion that is old enough to go.
type Tombstone struct {
	Seqno      vbucket.Seqno
	Collection docid.Collection
	Key        []byte
}

// Purge deletes the rows of tombstones and writes l, whose Purge covers them, atomically and without a sync. Nobody may
// write to the vBucket meanwhile, and each tombstone must still be its key's newest version.
func (b *Bucket) Purge(vb vbucket.ID, list []Tombstone, l *Local) error {
	batch := b.db.pebble.NewBatch()
	err := b.setLocal(batch, vb, nil, l)
	for i := range list {
		t := &list[i]
		if t.Seqno > l.Purge {
			invariant.Violated("vb %d: seqno %d is purged above %d", vb, t.Seqno, l.Purge)
		}
		err = errors.Join(err,
			batch.Delete(seqKey(b.bid, vb, t.Seqno), nil),
			batch.Delete(byKeyKey(b.bid, vb, t.Collection, t.Key), nil),
		)
	}
	if err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := b.db.write(batch, false); err != nil {
		return fmt.Errorf("bucket %s: purge vb %d: %w", b.uuid, vb, err)
	}
	return nil
}
