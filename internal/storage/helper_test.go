package storage

import (
	"fmt"
	"testing"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// open opens a store on fs and closes it at the end of the test, if it is still open.
func open(t testing.TB, fs disk.FS) *DB {
	t.Helper()
	db, err := Open(Options{Dir: "data", FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func bucketOf(t testing.TB, db *DB, uuid string) *Bucket {
	t.Helper()
	b, err := db.Bucket(uuid)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writer applies changes to one vBucket as an engine would: it counts, and knows which row each key has on disk.
type writer struct {
	b     *Bucket
	vb    vbucket.ID
	state State
	disk  map[string]change.Mutation
}

func newWriter(b *Bucket, vb vbucket.ID) *writer {
	return &writer{b: b, vb: vb, disk: map[string]change.Mutation{}}
}

// begin gives the vBucket its local rows.
func (w *writer) begin(t testing.TB) {
	t.Helper()
	local := Local{State: vbucket.Active, Failover: vbucket.FailoverLog{{UUID: 77, Seqno: 0}}}
	must(t, w.b.PutLocal(false, []LocalChange{{ID: w.vb, State: &w.state, Local: &local}}))
}

func (w *writer) set(key, val string) change.Mutation {
	return change.Mutation{Op: change.OpMutation, Datatype: value.JSON, Key: []byte(key), Value: []byte(val)}
}

func (w *writer) del(key string) change.Mutation {
	return change.Mutation{Op: change.OpDeletion, Expiry: 1000, Key: []byte(key)}
}

// number gives a change its seqno, CAS, revision and predecessor, and counts it.
func (w *writer) number(m *change.Mutation) {
	w.state.High++
	old, had := w.disk[string(m.Key)]
	m.Seqno = w.state.High
	m.CAS = vbucket.CAS(1000 + m.Seqno)
	m.Rev = old.Rev + 1
	if had {
		m.Prev = old.Seqno
	}
	if had && !old.Op.Deleted() {
		w.state.Items--
		w.state.Bytes -= uint64(len(old.Key) + len(old.Value))
	}
	if m.Op.Deleted() {
		w.state.MaxDeletedRev = max(w.state.MaxDeletedRev, m.Rev)
	} else {
		w.state.Items++
		w.state.Bytes += uint64(len(m.Key) + len(m.Value))
	}
	w.state.MaxCAS = m.CAS
	w.disk[string(m.Key)] = *m
}

// apply writes changes of different keys as one batch.
func (w *writer) apply(list ...change.Mutation) error {
	w.state.SnapStart = w.state.High
	for i := range list {
		w.number(&list[i])
	}
	w.state.SnapEnd = w.state.High
	return w.b.Apply(w.vb, list, w.state)
}

// verified fails the test unless the vBucket is whole and counted right.
func verified(t testing.TB, b *Bucket, vb vbucket.ID) Findings {
	t.Helper()
	f, err := b.Verify(vb)
	if err != nil {
		t.Fatalf("verify vb %d: %v", vb, err)
	}
	for _, breach := range f.Breaches {
		t.Errorf("vb %d: %s", vb, breach)
	}
	return f
}

// dump lists the document rows of a vBucket, one line each.
func dump(t testing.TB, b *Bucket, vb vbucket.ID, after vbucket.Seqno) string {
	t.Helper()
	scan, err := b.ScanSeq(vb, after)
	if err != nil {
		return err.Error() + "\n"
	}
	defer scan.Close()
	text := ""
	for scan.Next() {
		text += rowText(scan.Mutation())
	}
	if err := scan.Err(); err != nil {
		text += err.Error() + "\n"
	}
	return text
}

func rowText(m *change.Mutation) string {
	return fmt.Sprintf("%d %s %s=%q rev=%d prev=%d\n", m.Seqno, opText(m.Op), m.Key, m.Value, m.Rev, m.Prev)
}

func opText(op change.Op) string {
	switch op {
	case change.OpMutation:
		return "set"
	case change.OpDeletion:
		return "del"
	case change.OpExpiration:
		return "exp"
	}
	return fmt.Sprint(op)
}
