package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Get reads the document row of a seqno and checks its checksum. The row is appended to dst, which is returned; the
// mutation's key and value point into it. ErrNotFound if there is no such row, *CorruptionError if it is damaged.
func (b *Bucket) Get(vb vbucket.ID, seqno vbucket.Seqno, dst []byte) (change.Mutation, []byte, error) {
	begin := len(dst)
	dst, err := b.db.get(dst, seqKey(b.bid, vb, seqno))
	if err != nil {
		return change.Mutation{}, dst, b.faultOf(vb, seqno, err)
	}
	var m change.Mutation
	if err := decodeSeqRow(&m, dst[begin:], vb, seqno, make([]byte, placeLen)); err != nil {
		return change.Mutation{}, dst, b.rowFault(vb, seqno, err)
	}
	return m, dst, nil
}

// GetMeta reads what by-key keeps of a document or tombstone. ErrNotFound if there is none, *CorruptionError if it is
// damaged.
func (b *Bucket) GetMeta(vb vbucket.ID, c docid.Collection, key []byte) (KeyRow, error) {
	row, err := b.db.get(make([]byte, 0, keyRowLen), byKeyKey(b.bid, vb, c, key))
	if err != nil {
		return KeyRow{}, b.faultOf(vb, 0, err)
	}
	var r KeyRow
	if err := decodeKeyRow(&r, row); err != nil {
		return KeyRow{}, b.rowFault(vb, 0, err)
	}
	return r, nil
}

// SeqScan walks the document rows of a vBucket in the order of their seqnos, as they were when it was made.
type SeqScan struct {
	b       *Bucket
	vb      vbucket.ID
	rows    *pebble.Iterator
	state   State
	begun   bool
	down    bool
	current change.Mutation
	scratch []byte
	err     error
}

// ScanSeq scans the rows with seqnos above after. What is written later is not seen; State says where that view ends.
// ErrNotFound if the vBucket does not exist. Close the scan.
func (b *Bucket) ScanSeq(vb vbucket.ID, after vbucket.Seqno) (*SeqScan, error) {
	start, _ := kindSpan(b.bid, vb, kindLocal)
	_, end := kindSpan(b.bid, vb, kindBySeq)
	rows, err := b.iterate(vb, start, end)
	if err != nil {
		return nil, err
	}
	s := &SeqScan{b: b, vb: vb, rows: rows, scratch: make([]byte, placeLen)}
	if err := s.seek(after); err != nil {
		return nil, errors.Join(err, rows.Close())
	}
	return s, nil
}

// ScanSeqDown scans the same rows from the newest to the oldest.
func (b *Bucket) ScanSeqDown(vb vbucket.ID) (*SeqScan, error) {
	s, err := b.ScanSeq(vb, 0)
	if err == nil {
		s.down = true
	}
	return s, err
}

func (b *Bucket) iterate(vb vbucket.ID, start, end []byte) (*pebble.Iterator, error) {
	if b.db.closed.Load() {
		return nil, ErrClosed
	}
	rows, err := b.db.pebble.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, b.faultOf(vb, 0, fmt.Errorf("bucket %s vb %d: scan: %w", b.uuid, vb, err))
	}
	return rows, nil
}

// seek reads the state in the scan's own view and goes to the first row.
func (s *SeqScan) seek(after vbucket.Seqno) error {
	if !s.rows.SeekGE(localKey(s.b.bid, s.vb, stateName)) ||
		string(s.rows.Key()) != string(localKey(s.b.bid, s.vb, stateName)) {
		if err := s.rows.Error(); err != nil {
			return s.b.faultOf(s.vb, 0, err)
		}
		return fmt.Errorf("bucket %s vb %d: %w", s.b.uuid, s.vb, ErrNotFound)
	}
	state, err := decodeState(s.rows.Value())
	if err != nil {
		return s.b.rowFault(s.vb, 0, err)
	}
	s.state = state
	start, end := kindSpan(s.b.bid, s.vb, kindBySeq)
	if after > 0 {
		start = seqKey(s.b.bid, s.vb, after+1)
	}
	s.rows.SetBounds(start, end)
	return nil
}

// State is the vBucket's state in the scan's view. All rows are at or below its High.
func (s *SeqScan) State() State { return s.state }

// Next goes to the next row and reports whether there is one. When there is none, Err says whether something went wrong.
func (s *SeqScan) Next() bool {
	if s.err != nil {
		return false
	}
	var ok bool
	switch {
	case s.down && s.begun:
		ok = s.rows.Prev()
	case s.down:
		ok = s.rows.Last()
	case s.begun:
		ok = s.rows.Next()
	default:
		ok = s.rows.First()
	}
	s.begun = true
	if !ok {
		if err := s.rows.Error(); err != nil {
			s.err = s.b.faultOf(s.vb, 0, err)
		}
		return false
	}
	key := s.rows.Key()
	if len(key) != seqKeyLen {
		s.err = s.b.corrupt(s.vb, 0, fmt.Sprintf("a by-seqno key of %d bytes", len(key)), nil)
		return false
	}
	seqno := vbucket.Seqno(binary.BigEndian.Uint64(key[prefixLen:]))
	if err := decodeSeqRow(&s.current, s.rows.Value(), s.vb, seqno, s.scratch); err != nil {
		s.err = s.b.rowFault(s.vb, seqno, err)
		return false
	}
	return true
}

// Mutation is the row that Next went to. It and its key and value are valid until the next call of Next or Close.
func (s *SeqScan) Mutation() *change.Mutation { return &s.current }

// Err says why Next returned false; nil at the end of the rows.
func (s *SeqScan) Err() error { return s.err }

// Close ends the scan.
func (s *SeqScan) Close() error {
	if err := s.rows.Close(); err != nil && s.err == nil {
		return s.b.faultOf(s.vb, 0, err)
	}
	return nil
}

// MetaScan walks what by-key keeps of a vBucket's documents and tombstones, in the order of collections and keys.
type MetaScan struct {
	b     *Bucket
	vb    vbucket.ID
	rows  *pebble.Iterator
	begun bool
	row   KeyRow
	coll  docid.Collection
	key   []byte
	err   error
}

// ScanMeta scans the metadata of a vBucket as they are when it is made. Close the scan.
func (b *Bucket) ScanMeta(vb vbucket.ID) (*MetaScan, error) {
	start, end := kindSpan(b.bid, vb, kindByKey)
	rows, err := b.iterate(vb, start, end)
	if err != nil {
		return nil, err
	}
	return &MetaScan{b: b, vb: vb, rows: rows}, nil
}

// Next goes to the next row and reports whether there is one. When there is none, Err says whether something went wrong.
func (s *MetaScan) Next() bool {
	if s.err != nil {
		return false
	}
	var ok bool
	if s.begun {
		ok = s.rows.Next()
	} else {
		ok = s.rows.First()
	}
	s.begun = true
	if !ok {
		if err := s.rows.Error(); err != nil {
			s.err = s.b.faultOf(s.vb, 0, err)
		}
		return false
	}
	key := s.rows.Key()
	if len(key) < minByKey || len(key) > minByKey+maxKeyLen {
		s.err = s.b.corrupt(s.vb, 0, fmt.Sprintf("a by-key key of %d bytes", len(key)), nil)
		return false
	}
	if err := decodeKeyRow(&s.row, s.rows.Value()); err != nil {
		s.err = s.b.rowFault(s.vb, 0, err)
		return false
	}
	s.coll, s.key = docid.Collection(binary.BigEndian.Uint32(key[prefixLen:])), key[minByKey:]
	return true
}

// Row is the metadata that Next went to, valid until the next call of Next.
func (s *MetaScan) Row() *KeyRow { return &s.row }

// Key names the document. The bytes are valid until the next call of Next or Close.
func (s *MetaScan) Key() (docid.Collection, []byte) { return s.coll, s.key }

// Err says why Next returned false; nil at the end of the rows.
func (s *MetaScan) Err() error { return s.err }

// Close ends the scan.
func (s *MetaScan) Close() error {
	if err := s.rows.Close(); err != nil && s.err == nil {
		return s.b.faultOf(s.vb, 0, err)
	}
	return nil
}
