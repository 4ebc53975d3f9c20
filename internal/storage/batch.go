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

// Batch collects changes of vBuckets that become visible together. Its rows are encoded where the engine keeps them: adding
// allocates nothing that depends on the number of changes, but for the growing buffer. It belongs to one goroutine.
//
// For each vBucket: Begin, Add as often as needed, End. Then Apply, or Discard.
type Batch struct {
	b       *Bucket
	batch   *pebble.Batch
	vb      vbucket.ID
	last    vbucket.Seqno
	begun   bool
	rows    int
	scratch [placeLen]byte
}

// NewBatch begins an empty batch.
func (b *Bucket) NewBatch() *Batch { return &Batch{b: b, batch: b.db.pebble.NewBatch()} }

// Begin makes vb the vBucket that is added to. A vBucket is in a batch once.
func (x *Batch) Begin(vb vbucket.ID) {
	invariant.Check(!x.begun, "storage: a vBucket in a batch was not ended")
	x.vb, x.last, x.begun = vb, 0, true
}

// Local sets the local rows of a vBucket that are not nil.
func (x *Batch) Local(vb vbucket.ID, s *State, l *Local) error {
	return x.b.setLocal(x.batch, vb, s, l)
}

// Add adds changes whose seqnos rise strictly, above those that were added before. For each change that replaces a version
// on disk, Prev names that version's row, which goes. Nothing of list is kept.
func (x *Batch) Add(list []change.Mutation) error {
	invariant.Check(x.begun, "storage: changes of no vBucket in a batch")
	for i := range list {
		m := &list[i]
		switch {
		case m.Seqno <= x.last || m.Seqno > vbucket.MaxSeqno:
			invariant.Violated("vb %d: seqno %d is to be written after %d", x.vb, m.Seqno, x.last)
		case len(m.Key) > maxKeyLen || len(m.Value) > maxValueLen:
			invariant.Violated("vb %d: key of %d and value of %d bytes", x.vb, len(m.Key), len(m.Value))
		case m.Prev >= m.Seqno:
			invariant.Violated("vb %d: seqno %d replaces %d", x.vb, m.Seqno, m.Prev)
		}
		x.last = m.Seqno
		if err := x.b.encodeOne(x.batch, x.vb, m, x.scratch[:]); err != nil {
			return err
		}
	}
	x.rows += len(list)
	return nil
}

// End adds the vBucket's State. What was added ends at or below st.High.
func (x *Batch) End(st *State) error {
	invariant.Check(x.begun && x.last <= st.High, "storage: a batch goes beyond its state")
	x.begun = false
	op := x.batch.SetDeferred(prefixLen+len(stateName), stateLen)
	putPrefix(op.Key, x.b.bid, x.vb, kindLocal)
	copy(op.Key[prefixLen:], stateName)
	putState(op.Value, st)
	return op.Finish()
}

// Empty reports whether there is nothing in the batch.
func (x *Batch) Empty() bool { return x.batch.Empty() }

// Size is what the batch takes in memory, in bytes.
func (x *Batch) Size() int { return x.batch.Len() }

// Last is the seqno that was added last, 0 if there is none.
func (x *Batch) Last() vbucket.Seqno { return x.last }

// Discard ends the batch without an effect.
func (x *Batch) Discard() { _ = x.batch.Close() } // gives memory back

// Apply writes the batch atomically, without a sync, and ends it.
func (x *Batch) Apply() error {
	invariant.Check(!x.begun, "storage: a vBucket in a batch was not ended")
	db := x.b.db
	if err := db.applyFault.Hit(context.Background()); err != nil {
		db.fail(err)
		x.Discard()
		return db.Failed()
	}
	if err := db.write(x.batch, false); err != nil {
		return fmt.Errorf("bucket %s: %w", x.b.uuid, err)
	}
	db.batches.Add(1)
	db.rows.Add(uint64(x.rows))
	return nil
}

// Apply writes changes of one vBucket and its State as one Batch.
func (b *Bucket) Apply(vb vbucket.ID, list []change.Mutation, st State) error {
	x := b.NewBatch()
	x.Begin(vb)
	if err := errors.Join(x.Add(list), x.End(&st)); err != nil {
		x.Discard()
		return err
	}
	return x.Apply()
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
