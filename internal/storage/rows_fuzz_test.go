package storage

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// fix gives a row the checksum that it needs at its place, so that fuzzing gets behind that check.
func fix(row []byte, vb vbucket.ID, seqno vbucket.Seqno) []byte {
	if len(row) < crcLen {
		return row
	}
	row = bytes.Clone(row)
	body := len(row) - crcLen
	binary.BigEndian.PutUint32(row[body:], rowSum(row[:body], vb, seqno, make([]byte, placeLen)))
	return row
}

// FuzzDecodeSeqRow: decoding never panics; what it accepts encodes to the same bytes again; one flipped bit is noticed, in
// the row and in its place.
func FuzzDecodeSeqRow(f *testing.F) {
	f.Add(goldenRows()["seq-row"], uint16(0x0123), uint64(0x0a0b0c0d0e0f), uint16(3))
	f.Add([]byte{}, uint16(0), uint64(1), uint16(0))
	f.Add(bytes.Repeat([]byte{0}, seqHeaderLen+crcLen), uint16(0), uint64(1), uint16(9))
	f.Add(append([]byte{1, 2, 0, 0}, bytes.Repeat([]byte{0}, seqHeaderLen)...), uint16(1), uint64(2), uint16(100))
	f.Fuzz(func(t *testing.T, row []byte, v uint16, s uint64, bit uint16) {
		vb, seqno := vbucket.ID(v), vbucket.Seqno(s)
		scratch := make([]byte, placeLen)
		var m change.Mutation
		if err := decodeSeqRow(&m, row, vb, seqno, scratch); err == nil && len(row) < seqHeaderLen+crcLen {
			t.Fatalf("a row of %d bytes was accepted", len(row))
		}
		row = fix(row, vb, seqno)
		if err := decodeSeqRow(&m, row, vb, seqno, scratch); err != nil {
			return
		}
		again := make([]byte, seqRowLen(&m))
		putSeqRow(again, vb, &m, scratch)
		if !bytes.Equal(again, row) {
			t.Fatalf("row %x decodes to %+v and encodes to %x", row, m, again)
		}
		if err := decodeSeqRow(&m, row, vb, seqno+1, scratch); err == nil {
			t.Fatal("the row was accepted under another seqno")
		}
		if err := decodeSeqRow(&m, row, vb^1, seqno, scratch); err == nil {
			t.Fatal("the row was accepted in another vBucket")
		}
		row[int(bit/8)%len(row)] ^= 1 << (bit % 8)
		if err := decodeSeqRow(&m, row, vb, seqno, scratch); err == nil {
			t.Fatalf("a flipped bit was not noticed: %x", row)
		}
	})
}

// FuzzDecodeKeyRow: decoding never panics, and what it accepts encodes to the same bytes again.
func FuzzDecodeKeyRow(f *testing.F) {
	f.Add(goldenRows()["key-row"])
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{1}, keyRowLen))
	f.Fuzz(func(t *testing.T, row []byte) {
		var r KeyRow
		if err := decodeKeyRow(&r, row); err != nil {
			return
		}
		m := change.Mutation{
			Seqno: r.Seqno, CAS: r.CAS, Rev: r.Rev, Flags: r.Flags, Expiry: r.Expiry, Op: r.Op, Datatype: r.Datatype,
			Durability: r.Durability,
		}
		again := make([]byte, keyRowLen)
		putKeyRow(again, &m)
		binary.BigEndian.PutUint32(again[36:], r.ValueLen)
		if !bytes.Equal(again, row) {
			t.Fatalf("row %x decodes to %+v and encodes to %x", row, r, again)
		}
	})
}

// FuzzDecodeState: decoding never panics, and what it accepts encodes to the same bytes again and makes sense.
func FuzzDecodeState(f *testing.F) {
	f.Add(goldenRows()["state"])
	f.Add([]byte{})
	f.Add(append([]byte{1}, bytes.Repeat([]byte{0}, stateLen-1)...))
	f.Fuzz(func(t *testing.T, row []byte) {
		s, err := decodeState(row)
		if err != nil {
			return
		}
		again := make([]byte, stateLen)
		putState(again, &s)
		if !bytes.Equal(again, row) || s.High < s.SnapStart || s.SnapEnd < s.High {
			t.Fatalf("row %x decodes to %+v and encodes to %x", row, s, again)
		}
	})
}

// FuzzDecodeLocal: decoding never panics, and what it accepts is the same after encoding and decoding once more.
func FuzzDecodeLocal(f *testing.F) {
	f.Add(goldenRows()["local"])
	f.Add([]byte(`{"v":1,"state":"replica","failover":[{"uuid":1,"seqno":0}],"seal":{"epoch":3},"chain":[1,2]}`))
	f.Add([]byte(`{"v":1,"State":"replica","failover":[{"uuid":1,"seqno":0}]}`))
	f.Add([]byte(`{"v":2}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, row []byte) {
		l, err := decodeLocal(row)
		if err != nil {
			return
		}
		again, err := l.encode()
		if err != nil {
			t.Fatalf("%q decodes to %+v, which does not encode: %v", row, l, err)
		}
		l2, err := decodeLocal(again)
		if err != nil {
			t.Fatalf("%q encodes to %q, which does not decode: %v", row, again, err)
		}
		once, _ := l2.encode()
		if !bytes.Equal(again, once) || !reflect.DeepEqual(l.Failover, l2.Failover) || l.State != l2.State {
			t.Fatalf("%q decodes to %+v, its encoding to %+v", row, l, l2)
		}
	})
}

// FuzzPlace: no key makes the key parser panic, and keys of ours are told apart from others.
func FuzzPlace(f *testing.F) {
	for _, name := range []string{"seq-key", "by-key-key", "state-key", "bucket-key", "node-key"} {
		f.Add(goldenRows()[name])
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		n, vb, ok := place(key)
		if ok && !bytes.HasPrefix(key, appendPrefix(nil, n, uint16(vb), key[6])) {
			t.Fatalf("key %x is said to be of bid %d, vb %d", key, n, vb)
		}
	})
}
