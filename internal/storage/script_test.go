package storage

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// TestScripts runs the scripts of testdata/script: each is a store in memory and what is done to it, line by line.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/script", func(t *testing.T, path string) {
		s := &script{fs: disk.NewMemory(), writers: map[string]*writer{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string { return s.run(t, d) })
		if s.db != nil {
			must(t, s.db.Close())
		}
	})
}

// script is the state of one script.
type script struct {
	fs      disk.Memory
	db      *DB
	writers map[string]*writer // by bucket/vb
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	switch d.Cmd {
	case "open": // opens the store
		db, err := Open(Options{Dir: "data", FS: s.fs})
		if err != nil {
			return err.Error()
		}
		s.db = db
		return fmt.Sprintf("boot %d", db.Boot())
	case "close": // closes it in order
		err := s.db.Close()
		s.db = nil
		return answer(err)
	case "crash": // loses what was not synced
		s.fs = s.fs.Crash(0, 1)
		must(t, s.db.Close())
		s.db = nil
		return "ok"
	case "sync":
		return answer(s.db.Sync())
	case "buckets":
		list, err := s.db.Buckets()
		return strings.Join(list, " ") + answer(err)
	case "drop-bucket":
		return answer(s.db.DropBucket(arg(t, d, "bucket")))
	}
	return s.runVB(t, d)
}

func (s *script) runVB(t *testing.T, d *datadriven.TestData) string {
	var vb int
	d.ScanArgs(t, "vb", &vb)
	name := fmt.Sprintf("%s/%d", arg(t, d, "bucket"), vb)
	w := s.writers[name]
	if w == nil {
		w = newWriter(nil, vbucket.ID(vb))
		s.writers[name] = w
	}
	w.b = bucketOf(t, s.db, arg(t, d, "bucket"))
	switch d.Cmd {
	case "begin": // gives the vBucket its local rows
		w.begin(t)
		return "ok"
	case "apply": // one line a change: set KEY VALUE, or del KEY
		return answer(w.apply(changes(t, w, d.Input)...))
	case "scan": // the document rows
		after := 0
		d.MaybeScanArgs(t, "after", &after)
		return dump(t, w.b, w.vb, vbucket.Seqno(after))
	case "meta": // the by-key rows
		return metaText(t, w)
	case "local":
		st, l, err := w.b.Local(w.vb)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("high=%d snapshot=(%d,%d] items=%d bytes=%d %s failover=%v purge=%d", st.High, st.SnapStart, st.SnapEnd,
			st.Items, st.Bytes, l.State, l.Failover, l.Purge)
	case "verify":
		f, err := w.b.Verify(w.vb)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%d documents, %d tombstones\n%s", f.Documents, f.Tombstones, strings.Join(f.Breaches, "\n"))
	case "purge": // one line a tombstone: KEY
		return answer(purge(t, w, d.Input))
	case "drop":
		delete(s.writers, name)
		return answer(w.b.Drop(w.vb))
	case "damage": // takes the by-key row of a key away, which no code of ours does
		batch := s.db.pebble.NewBatch()
		must(t, batch.Delete(byKeyKey(w.b.bid, w.vb, 0, []byte(arg(t, d, "key"))), nil))
		return answer(s.db.write(batch, false))
	}
	t.Fatalf("unknown command %q", d.Cmd)
	return ""
}

func arg(t *testing.T, d *datadriven.TestData, name string) (value string) {
	d.ScanArgs(t, name, &value)
	return value
}

func answer(err error) string {
	if err != nil {
		return err.Error()
	}
	return "ok"
}

func changes(t *testing.T, w *writer, input string) (list []change.Mutation) {
	for line := range strings.Lines(input) {
		f := strings.Fields(line)
		switch {
		case len(f) == 3 && f[0] == "set":
			list = append(list, w.set(f[1], f[2]))
		case len(f) == 2 && f[0] == "del":
			list = append(list, w.del(f[1]))
		default:
			t.Fatalf("not a change: %q", line)
		}
	}
	return list
}

func purge(t *testing.T, w *writer, input string) error {
	_, l, err := w.b.Local(w.vb)
	must(t, err)
	var list []Tombstone
	for key := range strings.FieldsSeq(input) {
		m := w.disk[key]
		list = append(list, Tombstone{Seqno: m.Seqno, Key: m.Key})
		l.Purge = max(l.Purge, m.Seqno)
		delete(w.disk, key)
	}
	return w.b.Purge(w.vb, list, &l)
}

func metaText(t *testing.T, w *writer) string {
	scan, err := w.b.ScanMeta(w.vb)
	must(t, err)
	text := ""
	for scan.Next() {
		coll, key := scan.Key()
		r := scan.Row()
		text += fmt.Sprintf("%d/%s %s seqno=%d cas=%d rev=%d vlen=%d\n", coll, key, opText(r.Op), r.Seqno, r.CAS, r.Rev, r.ValueLen)
	}
	must(t, errors.Join(scan.Err(), scan.Close()))
	return text
}

// TestGolden compares each encoding with testdata/golden: a change of one byte is a change of format.
func TestGolden(t *testing.T) {
	datadriven.RunTest(t, "testdata/golden", func(t *testing.T, d *datadriven.TestData) string {
		encode, ok := goldenRows()[d.Cmd]
		if !ok {
			t.Fatalf("unknown encoding %q", d.Cmd)
		}
		return hex.Dump(encode)
	})
}

// goldenRows is one example of each encoding, in which every field has a value of its own.
func goldenRows() map[string][]byte {
	m := exampleMutation()
	seq, key, state := make([]byte, seqRowLen(&m)), make([]byte, keyRowLen), make([]byte, stateLen)
	putSeqRow(seq, 0x0123, &m, make([]byte, placeLen))
	putKeyRow(key, &m)
	s := exampleState()
	putState(state, &s)
	l := exampleLocal()
	local, err := l.encode()
	if err != nil {
		panic(err)
	}
	return map[string][]byte{
		"seq-row": seq, "key-row": key, "state": state, "local": local,
		"seq-key": seqKey(5, 0x0123, 0x0a0b0c0d0e0f), "by-key-key": byKeyKey(5, 0x0123, 0x11121314, []byte("key")),
		"state-key": localKey(5, 0x0123, stateName), "bucket-key": bucketKey(5, rowFlushed), "node-key": nodeKey(rowCeiling),
	}
}

func exampleMutation() change.Mutation {
	return change.Mutation{
		Seqno: 0x0a0b0c0d0e0f, Prev: 0x060708090a0b, CAS: 0x1112131415161718, Rev: 0x2122232425262728, Flags: 0x31323334,
		Expiry: 0x41424344, Op: change.OpMutation, Datatype: 5, Durability: 3, Collection: 0x51525354, Key: []byte("key"),
		Value: []byte("value"),
	}
}

func exampleState() State {
	return State{
		High: 0x0101, SnapStart: 0x0100, SnapEnd: 0x0102, MaxCAS: 0x04, MaxVisible: 0x05, HighPrepared: 0x06, HighCompleted: 0x07,
		MaxDeletedRev: 0x08, Items: 0x09, Bytes: 0x0a, AcceptedEpoch: 0x0b,
	}
}

func exampleLocal() Local {
	return Local{
		State: vbucket.Active, Failover: vbucket.FailoverLog{{UUID: 9, Seqno: 7}, {UUID: 8, Seqno: 0}}, Purge: 3, Stable: 2,
	}
}
