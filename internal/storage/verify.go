package storage

import (
	"errors"
	"fmt"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Findings is what Verify saw of one vBucket.
type Findings struct {
	State      State
	Local      Local
	Documents  uint64
	Tombstones uint64
	Bytes      uint64 // keys and values of documents
	Breaches   []string
}

// maxBreaches bounds the list of a vBucket: after so many it is clear that the vBucket is lost.
const maxBreaches = 20

func (f *Findings) say(format string, args ...any) {
	if len(f.Breaches) < maxBreaches {
		f.Breaches = append(f.Breaches, fmt.Sprintf(format, args...))
	}
}

// Verify checks one vBucket row by row: every document row has its checksum, exactly the by-key row that it should have and
// no seqno above the state's High; every by-key row has its document row; the state counts them rightly. ErrNotFound if the
// vBucket does not exist. What is wrong is listed in Breaches; an error means that it could not be read.
func (b *Bucket) Verify(vb vbucket.ID) (Findings, error) {
	var f Findings
	var err error
	if f.State, f.Local, err = b.Local(vb); err != nil {
		return f, err
	}
	rows, err := b.verifySeq(vb, &f)
	if err != nil {
		return f, err
	}
	keys, err := b.verifyKeys(vb, &f)
	if err != nil {
		return f, err
	}
	if rows != keys {
		f.say("%d document rows and %d by-key rows", rows, keys)
	}
	if f.Documents != f.State.Items || f.Bytes != f.State.Bytes {
		f.say("the state counts %d documents of %d bytes, there are %d of %d bytes", f.State.Items, f.State.Bytes, f.Documents,
			f.Bytes)
	}
	return f, nil
}

// verifySeq walks the document rows and looks up the by-key row of each.
func (b *Bucket) verifySeq(vb vbucket.ID, f *Findings) (rows int, err error) {
	scan, err := b.ScanSeq(vb, 0)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	for ; scan.Next(); rows++ {
		m := scan.Mutation()
		if m.Seqno > f.State.High {
			f.say("seqno %d lies above the state's %d", m.Seqno, f.State.High)
		}
		if m.CAS > f.State.MaxCAS {
			f.say("seqno %d has CAS %d, the state's highest is %d", m.Seqno, m.CAS, f.State.MaxCAS)
		}
		if m.Op.Deleted() {
			f.Tombstones++
			if m.Rev > f.State.MaxDeletedRev {
				f.say("tombstone %d has revision %d, the state's highest is %d", m.Seqno, m.Rev, f.State.MaxDeletedRev)
			}
		} else if m.Op == change.OpMutation {
			f.Documents++
			f.Bytes += uint64(len(m.Key) + len(m.Value))
		}
		got, err := b.GetMeta(vb, m.Collection, m.Key)
		if errors.Is(err, ErrNotFound) {
			f.say("seqno %d, key %q: no by-key row", m.Seqno, m.Key)
			continue
		}
		if err != nil {
			return rows, err
		}
		if want := keyRowOf(m); got != want {
			f.say("seqno %d, key %q: by-key says %+v, want %+v", m.Seqno, m.Key, got, want)
		}
	}
	return rows, scan.Err()
}

func keyRowOf(m *change.Mutation) KeyRow {
	return KeyRow{
		Op: m.Op, Datatype: m.Datatype, Durability: m.Durability, CAS: m.CAS, Seqno: m.Seqno, Rev: m.Rev, Flags: m.Flags,
		Expiry: m.Expiry, ValueLen: uint32(len(m.Value)),
	}
}

// verifyKeys walks the by-key rows and looks up the document row of each.
func (b *Bucket) verifyKeys(vb vbucket.ID, f *Findings) (rows int, err error) {
	scan, err := b.ScanMeta(vb)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	var buf []byte
	for ; scan.Next(); rows++ {
		coll, key := scan.Key()
		var m change.Mutation
		m, buf, err = b.Get(vb, scan.Row().Seqno, buf[:0])
		switch {
		case errors.Is(err, ErrNotFound):
			f.say("key %q: its document row %d is not there", key, scan.Row().Seqno)
		case err != nil:
			return rows, err
		case m.Collection != coll || string(m.Key) != string(key):
			f.say("key %q: row %d holds key %q", key, scan.Row().Seqno, m.Key)
		}
	}
	return rows, scan.Err()
}
