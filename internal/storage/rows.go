package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Sizes of the encodings (docs/formats/disk.md).
const (
	rowVersion   = 1
	seqHeaderLen = 44
	crcLen       = 4
	keyRowLen    = 40
	placeLen     = 2 + 8 // vb and seqno, the part of the place that a checksum covers
)

// errDamaged is what decoders say about bytes that they cannot have written.
var errDamaged = errors.New("damaged row")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errDamaged, fmt.Sprintf(format, args...))
}

// KeyRow is what is kept of a document under its key: everything that a memory header needs.
type KeyRow struct {
	Op         change.Op
	Datatype   value.Datatype
	Durability uint8
	CAS        vbucket.CAS
	Seqno      vbucket.Seqno
	Rev        uint64
	Flags      uint32
	Expiry     uint32 // Unix seconds, 0 = none; for a tombstone the time of deletion
	ValueLen   uint32 // as stored
}

func seqRowLen(m *change.Mutation) int { return seqHeaderLen + len(m.Key) + len(m.Value) + crcLen }

// putSeqRow encodes m into dst, which has exactly seqRowLen(m) bytes. scratch has placeLen bytes; it is handed in because
// the checksum's argument would be allocated otherwise.
func putSeqRow(dst []byte, vb vbucket.ID, m *change.Mutation, scratch []byte) {
	dst[0], dst[1], dst[2], dst[3] = rowVersion, byte(m.Op), byte(m.Datatype), m.Durability
	be := binary.BigEndian
	be.PutUint64(dst[4:], uint64(m.CAS))
	be.PutUint64(dst[12:], m.Rev)
	be.PutUint64(dst[20:], uint64(m.Prev))
	be.PutUint32(dst[28:], m.Flags)
	be.PutUint32(dst[32:], m.Expiry)
	be.PutUint32(dst[36:], uint32(m.Collection))
	be.PutUint16(dst[40:], uint16(len(m.Key)))
	be.PutUint16(dst[42:], 0)
	n := seqHeaderLen
	n += copy(dst[n:], m.Key)
	n += copy(dst[n:], m.Value)
	be.PutUint32(dst[n:], rowSum(dst[:n], vb, m.Seqno, scratch))
}

// castagnoli gives the table of CRC-32C; the standard library makes it once and hands out the same one.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// rowSum is the checksum of a row and of the place that it belongs to: a row that lands under a wrong key is found.
func rowSum(row []byte, vb vbucket.ID, seqno vbucket.Seqno, scratch []byte) uint32 {
	binary.BigEndian.PutUint16(scratch, uint16(vb))
	binary.BigEndian.PutUint64(scratch[2:], uint64(seqno))
	return crc32.Update(crc32.Checksum(scratch[:placeLen], castagnoli()), castagnoli(), row)
}

// decodeSeqRow takes a row apart that was found under (vb, seqno). m.Key and m.Value point into row. It fills in m.Seqno.
func decodeSeqRow(m *change.Mutation, row []byte, vb vbucket.ID, seqno vbucket.Seqno, scratch []byte) error {
	if err := checkHeader(row, seqHeaderLen+crcLen); err != nil {
		return err
	}
	body := len(row) - crcLen
	be := binary.BigEndian
	if got, want := rowSum(row[:body], vb, seqno, scratch), be.Uint32(row[body:]); got != want {
		return damaged("its checksum is %08x, not %08x", got, want)
	}
	klen := int(be.Uint16(row[40:]))
	if klen > maxKeyLen || seqHeaderLen+klen > body {
		return damaged("a key of %d bytes in a row of %d", klen, len(row))
	}
	if be.Uint16(row[42:]) != 0 {
		return damaged("a reserved field is set")
	}
	*m = change.Mutation{
		Seqno:      seqno,
		Prev:       vbucket.Seqno(be.Uint64(row[20:])),
		CAS:        vbucket.CAS(be.Uint64(row[4:])),
		Rev:        be.Uint64(row[12:]),
		Flags:      be.Uint32(row[28:]),
		Expiry:     be.Uint32(row[32:]),
		Op:         change.Op(row[1]),
		Datatype:   value.Datatype(row[2]),
		Durability: row[3],
		Collection: docid.Collection(be.Uint32(row[36:])),
		Key:        row[seqHeaderLen : seqHeaderLen+klen : seqHeaderLen+klen],
		Value:      row[seqHeaderLen+klen : body : body],
	}
	return nil
}

// checkHeader checks the four bytes that the two row encodings share.
func checkHeader(row []byte, least int) error {
	if len(row) < 1 {
		return damaged("it is empty")
	}
	switch {
	case row[0] > rowVersion:
		return fmt.Errorf("row version %d: %w", row[0], ErrNewerFormat)
	case row[0] != rowVersion:
		return damaged("row version %d", row[0])
	case len(row) < least:
		return damaged("it has %d bytes, at least %d are due", len(row), least)
	case row[2]&^byte(value.AllBits) != 0:
		return damaged("datatype %#x", row[2])
	case row[3] > 3:
		return damaged("durability level %d", row[3])
	}
	switch change.Op(row[1]) {
	case change.OpMutation, change.OpDeletion, change.OpExpiration, change.OpSystem:
		return nil
	}
	return damaged("operation %d", row[1])
}

// putKeyRow encodes what by-key keeps of m into dst, which has keyRowLen bytes.
func putKeyRow(dst []byte, m *change.Mutation) {
	dst[0], dst[1], dst[2], dst[3] = rowVersion, byte(m.Op), byte(m.Datatype), m.Durability
	be := binary.BigEndian
	be.PutUint64(dst[4:], uint64(m.CAS))
	be.PutUint64(dst[12:], uint64(m.Seqno))
	be.PutUint64(dst[20:], m.Rev)
	be.PutUint32(dst[28:], m.Flags)
	be.PutUint32(dst[32:], m.Expiry)
	be.PutUint32(dst[36:], uint32(len(m.Value)))
}

func decodeKeyRow(r *KeyRow, row []byte) error {
	if err := checkHeader(row, keyRowLen); err != nil {
		return err
	}
	if len(row) != keyRowLen {
		return damaged("it has %d bytes, %d are due", len(row), keyRowLen)
	}
	be := binary.BigEndian
	*r = KeyRow{
		Op:         change.Op(row[1]),
		Datatype:   value.Datatype(row[2]),
		Durability: row[3],
		CAS:        vbucket.CAS(be.Uint64(row[4:])),
		Seqno:      vbucket.Seqno(be.Uint64(row[12:])),
		Rev:        be.Uint64(row[20:]),
		Flags:      be.Uint32(row[28:]),
		Expiry:     be.Uint32(row[32:]),
		ValueLen:   be.Uint32(row[36:]),
	}
	if r.Seqno == 0 || r.Seqno > vbucket.MaxSeqno || r.ValueLen > maxValueLen {
		return damaged("seqno %d, value of %d bytes", r.Seqno, r.ValueLen)
	}
	return nil
}
