package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// Names of a bucket's own rows.
const (
	rowClean   = "clean"   // there if the bucket was closed in order and not opened since
	rowFlushed = "flushed" // u64: the flush count that was carried out last
)

// Bucket is one bucket's rows. Get it from DB.Bucket; its methods may be called from any goroutine, but each vBucket must
// have one writer at a time.
type Bucket struct {
	db   *DB
	uuid string
	bid  bid
}

// Bucket finds the bucket of a UUID, or makes it, durably.
func (db *DB) Bucket(uuid string) (*Bucket, error) {
	db.naming.Lock()
	defer db.naming.Unlock()
	if b := db.find(uuid); b != nil {
		return b, nil
	}
	n := db.next
	if uuid == "" || n > maxBucketN {
		return nil, fmt.Errorf("no bid for bucket %q", uuid)
	}
	batch := db.pebble.NewBatch()
	if err := errors.Join(
		batch.Set(nodeKey(rowNextBid), number(uint64(n)+1), nil),
		batch.Set(nodeKey(rowBidPrefix+uuid), binary.BigEndian.AppendUint32(nil, uint32(n)), nil),
		batch.Set(bucketKey(n, rowClean), nil, nil), // there is nothing that could have been lost
	); err != nil {
		return nil, errors.Join(err, batch.Close())
	}
	if err := db.write(batch, true); err != nil {
		return nil, fmt.Errorf("note bucket %s: %w", uuid, err)
	}
	db.next++
	b := &Bucket{db: db, uuid: uuid, bid: n}
	db.mu.Lock()
	defer db.mu.Unlock()
	db.mu.buckets[uuid] = b
	return b, nil
}

func (db *DB) find(uuid string) *Bucket {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.mu.buckets[uuid]
}

// Buckets lists the UUIDs of the buckets that have rows here, in order.
func (db *DB) Buckets() ([]string, error) {
	if db.closed.Load() {
		return nil, ErrClosed
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	list := make([]string, 0, len(db.mu.buckets))
	for uuid := range db.mu.buckets {
		list = append(list, uuid)
	}
	slices.Sort(list)
	return list, nil
}

// DropBucket deletes all rows of a bucket, durably. A bucket that is not there is no error. Its readers and writers must
// have ended.
func (db *DB) DropBucket(uuid string) error {
	db.naming.Lock()
	defer db.naming.Unlock()
	b := db.find(uuid)
	if b == nil {
		return nil
	}
	batch := db.pebble.NewBatch()
	start, end := bucketSpan(b.bid)
	if err := errors.Join(
		batch.DeleteRange(start, end, nil),
		batch.Delete(nodeKey(rowBidPrefix+uuid), nil),
	); err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := db.write(batch, true); err != nil {
		return fmt.Errorf("drop bucket %s: %w", uuid, err)
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	delete(db.mu.buckets, uuid)
	return nil
}

// UUID of the bucket.
func (b *Bucket) UUID() string { return b.uuid }

// DB is the store that the bucket is in.
func (b *Bucket) DB() *DB { return b.db }

// TakeClean reports whether the bucket was closed in order after its last use, and takes that note away, durably: from now
// on a crash is what ends this use.
func (b *Bucket) TakeClean() (bool, error) {
	_, err := b.db.get(nil, bucketKey(b.bid, rowClean))
	switch {
	case errors.Is(err, ErrNotFound):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("bucket %s: read clean mark: %w", b.uuid, err)
	}
	if err := b.putRow(rowClean, nil, true); err != nil {
		return false, err
	}
	return true, nil
}

// MarkClean notes that everything the bucket had in memory is on disk, durably. Nothing may be applied after it.
func (b *Bucket) MarkClean() error {
	return b.putRow(rowClean, []byte{}, true)
}

// putRow sets or, with a nil value, deletes one of the bucket's own rows.
func (b *Bucket) putRow(name string, value []byte, sync bool) error {
	batch := b.db.pebble.NewBatch()
	var err error
	if value == nil {
		err = batch.Delete(bucketKey(b.bid, name), nil)
	} else {
		err = batch.Set(bucketKey(b.bid, name), value, nil)
	}
	if err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := b.db.write(batch, sync); err != nil {
		return fmt.Errorf("bucket %s: write row %s: %w", b.uuid, name, err)
	}
	return nil
}

// Flushed gives the flush count that was carried out last, 0 for none.
func (b *Bucket) Flushed() (uint64, error) {
	row, err := b.db.get(nil, bucketKey(b.bid, rowFlushed))
	switch {
	case errors.Is(err, ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("bucket %s: read flush count: %w", b.uuid, err)
	case len(row) != 8:
		return 0, &CorruptionError{Bucket: b.uuid, VB: bucketVB, Reason: fmt.Sprintf("flush count of %d bytes", len(row))}
	}
	return binary.BigEndian.Uint64(row), nil
}

// VB names the rows that begin a vBucket's history anew.
type VB struct {
	ID    vbucket.ID
	State State
	Local Local
}

// Flush deletes all documents of the bucket, gives the vBuckets of list these rows and notes count as carried out: all at
// once, and durably. No vBucket may be written to meanwhile.
func (b *Bucket) Flush(count uint64, list []VB) error {
	batch := b.db.pebble.NewBatch()
	start, _ := bucketSpan(b.bid)
	end := bucketKey(b.bid, "")
	err := errors.Join(
		batch.DeleteRange(start, end, nil),
		batch.Set(bucketKey(b.bid, rowFlushed), number(count), nil),
	)
	for i := range list {
		err = errors.Join(err, b.setLocal(batch, list[i].ID, &list[i].State, &list[i].Local))
	}
	if err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := b.db.write(batch, true); err != nil {
		return fmt.Errorf("flush bucket %s: %w", b.uuid, err)
	}
	return nil
}

// Reset deletes all documents of one vBucket and begins its history anew, atomically, without a sync.
func (b *Bucket) Reset(v *VB) error {
	batch := b.db.pebble.NewBatch()
	start, end := vbSpan(b.bid, v.ID)
	if err := errors.Join(
		batch.DeleteRange(start, end, nil),
		b.setLocal(batch, v.ID, &v.State, &v.Local),
	); err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := b.db.write(batch, false); err != nil {
		return fmt.Errorf("bucket %s: reset vb %d: %w", b.uuid, v.ID, err)
	}
	return nil
}

// Drop deletes all rows of one vBucket, without a sync: afterwards it does not exist. Its scans must have ended.
func (b *Bucket) Drop(vb vbucket.ID) error {
	batch := b.db.pebble.NewBatch()
	start, end := vbSpan(b.bid, vb)
	if err := batch.DeleteRange(start, end, nil); err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := b.db.write(batch, false); err != nil {
		return fmt.Errorf("bucket %s: drop vb %d: %w", b.uuid, vb, err)
	}
	return nil
}

// PutLocal writes the local rows of vBuckets at once; durable tells whether it syncs. A nil state or local leaves that row
// as it is.
func (b *Bucket) PutLocal(durable bool, list []LocalChange) error {
	batch := b.db.pebble.NewBatch()
	var err error
	for i := range list {
		err = errors.Join(err, b.setLocal(batch, list[i].ID, list[i].State, list[i].Local))
	}
	if err != nil {
		return errors.Join(err, batch.Close())
	}
	if err := b.db.write(batch, durable); err != nil {
		return fmt.Errorf("bucket %s: write local rows: %w", b.uuid, err)
	}
	return nil
}

// LocalChange names local rows to write; nil ones stay.
type LocalChange struct {
	ID    vbucket.ID
	State *State
	Local *Local
}

func (b *Bucket) setLocal(batch *pebble.Batch, vb vbucket.ID, s *State, l *Local) error {
	if s != nil {
		row := make([]byte, stateLen)
		putState(row, s)
		if err := batch.Set(localKey(b.bid, vb, stateName), row, nil); err != nil {
			return err
		}
	}
	if l == nil {
		return nil
	}
	row, err := l.encode()
	if err != nil {
		return err
	}
	return batch.Set(localKey(b.bid, vb, localName), row, nil)
}

// Local reads the local rows of a vBucket. ErrNotFound if it does not exist; *CorruptionError if its rows are damaged.
func (b *Bucket) Local(vb vbucket.ID) (State, Local, error) {
	row, err := b.db.get(nil, localKey(b.bid, vb, stateName))
	if err != nil {
		return State{}, Local{}, b.faultOf(vb, 0, err)
	}
	s, err := decodeState(row)
	if err != nil {
		return State{}, Local{}, b.rowFault(vb, 0, err)
	}
	row, err = b.db.get(nil, localKey(b.bid, vb, localName))
	if errors.Is(err, ErrNotFound) {
		return State{}, Local{}, b.corrupt(vb, 0, "it has a state but no local row", nil)
	}
	if err != nil {
		return State{}, Local{}, b.faultOf(vb, 0, err)
	}
	l, err := decodeLocal(row)
	if err != nil {
		return State{}, Local{}, b.rowFault(vb, 0, err)
	}
	return s, l, nil
}

// rowFault makes a *CorruptionError of what a decoder says, but leaves ErrNewerFormat as it is.
func (b *Bucket) rowFault(vb vbucket.ID, seqno vbucket.Seqno, err error) error {
	if errors.Is(err, errDamaged) {
		return b.corrupt(vb, seqno, "a row", err)
	}
	return fmt.Errorf("bucket %s vb %d: %w", b.uuid, vb, err)
}
