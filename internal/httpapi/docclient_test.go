package httpapi

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/sdkconfig"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// kvPort answers like a KV port what our client asks, and notes for whom each operation on a document was.
type kvPort struct {
	listener net.Listener
	wait     sync.WaitGroup
	mu       sync.Mutex
	login    string
	seen     []string // "OPCODE user key"
	cut      bool     // close instead of answering the next operation on a document
}

func newKVPort(t *testing.T) *kvPort {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &kvPort{listener: l}
	k.wait.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			k.wait.Go(func() { k.serve(conn) })
		}
	})
	return k
}

func (k *kvPort) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		head, err := in.Peek(mcbp.HeaderLen)
		if err != nil {
			return
		}
		n, err := mcbp.Size(head)
		if err != nil {
			return
		}
		buf := make([]byte, n)
		if _, err := io.ReadFull(in, buf); err != nil {
			return
		}
		var q mcbp.Frame
		if _, err := q.Decode(buf); err != nil {
			return
		}
		a := mcbp.Frame{Opcode: q.Opcode, Opaque: q.Opaque}
		if !k.answer(&q, &a) {
			return
		}
		if _, err := conn.Write(mcbp.AppendResponse(nil, &a)); err != nil {
			return
		}
	}
}

// answer fills in a; false ends the connection.
func (k *kvPort) answer(q, a *mcbp.Frame) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	fail := func(s mcbp.Status) { a.VB = uint16(s) }
	switch q.Opcode {
	case mcbp.OpHello:
		a.Value = q.Value
	case mcbp.OpSASLListMechs:
		a.Value = []byte(mcbp.MechPlain)
	case mcbp.OpSASLAuth:
		k.login = string(q.Value)
	case mcbp.OpSelectBucket:
		if string(q.Key) == "none" {
			fail(mcbp.StatusAccess)
		}
	case mcbp.OpGetClusterConfig:
		a.Datatype, a.Value = 1, testConfig()
	default:
		infos := mcbp.RequestInfos{}
		if s, _ := infos.Parse(q.FrameExtras, mcbp.Lookup(q.Opcode)); s != mcbp.StatusSuccess {
			fail(s)
			return true
		}
		k.seen = append(k.seen, q.Opcode.String()+" "+string(infos.Impersonate)+" "+string(q.Key))
		if k.cut {
			return false
		}
		k.document(q, a, fail)
	}
	return true
}

// document answers by key: one for each status.
func (k *kvPort) document(q, a *mcbp.Frame, fail func(mcbp.Status)) {
	statuses := map[string]mcbp.Status{
		"missing": mcbp.StatusNotFound, "exists": mcbp.StatusExists, "big": mcbp.StatusTooBig, "bad": mcbp.StatusInvalid,
		"locked": mcbp.StatusLocked, "full": mcbp.StatusNoMemory, "busy": mcbp.StatusTempFail, "refused": mcbp.StatusAccess,
		"gone": mcbp.StatusNoBucket, "weak": mcbp.StatusDurabilityImpossible, "unsure": mcbp.StatusSyncWriteAmbiguous,
		"pending": mcbp.StatusSyncWriteInProgress, "broken": mcbp.StatusInternal,
	}
	if s, ok := statuses[string(q.Key)]; ok {
		fail(s)
		return
	}
	a.CAS = 77
	switch q.Opcode {
	case mcbp.OpGet:
		a.Extras = binary.BigEndian.AppendUint32(nil, 5)
		a.Value, a.Datatype = []byte(`{"x":1}`), uint8(value.JSON)
	case mcbp.OpSet, mcbp.OpAdd:
		if string(q.Value) != "v" || binary.BigEndian.Uint32(q.Extras) != 5 || binary.BigEndian.Uint32(q.Extras[4:]) != 60 {
			fail(mcbp.StatusInternal)
		}
	}
}

func testConfig() []byte {
	a := &vbucket.Assignment{
		RevEpoch: 1, Rev: 1, Nodes: []vbucket.Node{{UUID: "n", Data: true, Ports: map[string]int{"kv": 1, "mgmt": 2}}},
		Buckets: []vbucket.BucketAssignment{{
			Spec: spec.Bucket{Name: "b", UUID: "u", NumVBuckets: 1}, Manifest: spec.NewManifest(), Rows: []vbucket.Row{{Epoch: 1, Chain: []int16{0}}},
		}},
	}
	return sdkconfig.AppendBucket(nil, a, &a.Buckets[0])
}

func (k *kvPort) close(t *testing.T, d Documents) {
	t.Helper()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	k.listener.Close()
	k.wait.Wait()
}

// Operations go to the KV port as the node's own user, on behalf of the caller, with all that they carry.
func TestRemoteDocuments(t *testing.T) {
	k := newKVPort(t)
	d := NewDocuments(k.listener.Addr().String(), func() (string, string) { return "@charpoy", "secret" })
	defer k.close(t, d)
	ctx := t.Context()
	doc, err := d.Get(ctx, "app", "b", []byte("k"))
	if err != nil || string(doc.Value) != `{"x":1}` || !doc.JSON || doc.Flags != 5 || doc.CAS != 77 {
		t.Errorf("Get = %+v, %v", doc, err)
	}
	put := Document{Value: []byte("v"), Flags: 5, Expiry: 60}
	if cas, err := d.Put(ctx, "^ext", "b", []byte("k"), put); err != nil || cas != 77 {
		t.Errorf("Put = %d, %v", cas, err)
	}
	put.Add = true
	if cas, err := d.Put(ctx, "app", "b", []byte("k2"), put); err != nil || cas != 77 {
		t.Errorf("Put to add = %d, %v", cas, err)
	}
	if cas, err := d.Delete(ctx, "app", "b", []byte("k"), 9); err != nil || cas != 77 {
		t.Errorf("Delete = %d, %v", cas, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	want := mcbp.OpGet.String() + " app k|" + mcbp.OpSet.String() + " ^ext k|" + mcbp.OpAdd.String() + " app k2|" + mcbp.OpDelete.String() + " app k"
	if got := strings.Join(k.seen, "|"); got != want {
		t.Errorf("the port saw %s, want %s", got, want)
	}
	if k.login != "\x00@charpoy\x00secret" {
		t.Errorf("login %q", k.login)
	}
}

// Each status becomes the error that the management API has an answer to.
func TestRemoteDocumentErrors(t *testing.T) {
	k := newKVPort(t)
	d := NewDocuments(k.listener.Addr().String(), func() (string, string) { return "@charpoy", "secret" })
	defer k.close(t, d)
	for key, want := range map[string]error{
		"missing": ErrNoDocument, "exists": ErrDocumentExists, "big": ErrDocumentTooBig, "bad": ErrBadDocument,
		"locked": ErrDocumentLocked, "full": ErrNoMemory, "busy": ErrTemporary, "refused": auth.ErrNotAllowed,
		"gone": cluster.ErrNoBucket, "weak": ErrNotDurable, "unsure": ErrOutcomeUnknown, "pending": ErrTemporary,
	} {
		_, err := d.Put(t.Context(), "app", "b", []byte(key), Document{})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", key, err, want)
		}
	}
	if _, err := d.Put(t.Context(), "app", "b", []byte("exists"), Document{CAS: 5}); !errors.Is(err, ErrDocumentChanged) {
		t.Errorf("another CAS: %v, want ErrDocumentChanged", err)
	}
	if _, err := d.Put(t.Context(), "app", "b", []byte("broken"), Document{}); err == nil || answerTo(err).status != 500 {
		t.Errorf("an internal error: %v", err)
	}
	if _, err := d.Get(t.Context(), "app", "none", []byte("k")); !errors.Is(err, cluster.ErrNoBucket) {
		t.Errorf("a bucket that does not exist: %v", err)
	}
	if _, err := d.Get(t.Context(), "app", "b", []byte(strings.Repeat("x", 251))); !errors.Is(err, ErrBadDocument) {
		t.Errorf("a key that is too long: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.Get(ended, "app", "b", []byte("k")); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	k.mu.Lock()
	k.cut = true
	k.mu.Unlock()
	if _, err := d.Put(t.Context(), "app", "b", []byte("k"), Document{}); !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("a write whose answer was lost: %v, want ErrOutcomeUnknown", err)
	}
	if _, err := d.Get(t.Context(), "app", "b", []byte("k")); !errors.Is(err, ErrTemporary) {
		t.Errorf("a read whose answer was lost: %v, want ErrTemporary", err)
	}
	k.mu.Lock()
	k.cut = false
	k.mu.Unlock()
	if _, err := d.Get(t.Context(), "app", "b", []byte("k")); err != nil {
		t.Errorf("after the connection was lost: %v", err)
	}
}
