package client_test

import (
	"context"
	"encoding/binary"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/network"
	"github.com/charpoy/charpoy/internal/sdkconfig"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

const (
	fakeUser     = "ann"
	fakePassword = "secret,=word"
	fakeVBs      = 64
	fakeUUID     = 0xabcdef
)

// fake is a server of one bucket that keeps documents in a map. It holds every request against the protocol's own table, so
// that what the client encodes is what the protocol allows, and records whom requests act for.
type fake struct {
	t        *testing.T
	net      network.Net
	listener net.Listener
	auth     *auth.Directory
	mechs    string // offered
	offered  mcbp.FeatureSet
	config   []byte
	tasks    sync.WaitGroup
	hook     func(s *session, f *mcbp.Frame) bool // may answer itself; false: go on
	mu       struct {
		sync.Mutex
		docs   map[string]*fakeDoc
		cas    uint64
		seqno  uint64
		infos  []mcbp.RequestInfos // of requests that had framing extras
		mechs  []string            // logins tried
		conns  []net.Conn
		dialed int
	}
}

type fakeDoc struct {
	value         []byte
	flags, expiry uint32
	cas, lock     uint64
}

// session is one connection to the fake.
type session struct {
	fake     *fake
	conn     net.Conn
	out      []byte
	features mcbp.FeatureSet
	scram    *auth.SCRAM
	in       bool
	bucket   bool
}

func newFake(t *testing.T, change func(*fake)) *fake {
	t.Helper()
	credentials, err := auth.NewCredentialsAt(fakePassword, auth.CheapCost())
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, net: network.NewMemory(), auth: auth.NewDirectory(auth.Options{}), mechs: "SCRAM-SHA512 PLAIN"}
	f.auth.Replace([]spec.User{{Domain: spec.DomainLocal, ID: fakeUser, Credentials: credentials}}, nil)
	f.offered = ^mcbp.FeatureSet(0)
	f.mu.docs = map[string]*fakeDoc{}
	a := &vbucket.Assignment{
		RevEpoch: 1, Rev: 7, Nodes: []vbucket.Node{{UUID: "n1", Ports: map[string]int{"kv": 11210}, Data: true}},
		Buckets: []vbucket.BucketAssignment{{
			Spec:     spec.Bucket{Name: "b", UUID: strings.Repeat("1", 32), NumVBuckets: fakeVBs}.WithDefaults(),
			Manifest: spec.NewManifest(), Rows: make([]vbucket.Row, fakeVBs),
		}},
	}
	for i := range a.Buckets[0].Rows {
		a.Buckets[0].Rows[i].Chain = []int16{0}
	}
	f.config = sdkconfig.AppendBucket(nil, a, &a.Buckets[0])
	if change != nil {
		change(f)
	}
	f.listener, err = f.net.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.tasks.Go(f.accept)
	t.Cleanup(func() {
		f.listener.Close()
		f.hangUp()
		f.tasks.Wait()
	})
	return f
}

func (f *fake) options() client.Options {
	return client.Options{Addr: f.listener.Addr().String(), User: fakeUser, Password: fakePassword, Bucket: "b", Net: f.net}
}

// dial connects to the fake, or fails the test.
func (f *fake) dial(t *testing.T) *client.Conn {
	t.Helper()
	c, err := client.Dial(t.Context(), f.options())
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// hangUp closes every connection from the server's side.
func (f *fake) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.mu.conns {
		c.Close()
	}
	f.mu.conns = nil
}

func (f *fake) accept() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.mu.conns = append(f.mu.conns, c)
		f.mu.dialed++
		f.mu.Unlock()
		f.tasks.Go(func() { (&session{fake: f, conn: c}).serve() })
	}
}

func (s *session) serve() {
	defer s.conn.Close()
	var buf []byte
	chunk := make([]byte, 4096)
	for {
		n, err := s.conn.Read(chunk)
		if err != nil {
			return
		}
		buf = append(buf, chunk[:n]...)
		for {
			f, n, err := mcbp.Decode(buf)
			if err != nil {
				break
			}
			s.handle(&f)
			buf = buf[n:]
		}
		if _, err := s.conn.Write(s.out); err != nil {
			return
		}
		s.out = s.out[:0]
	}
}

// answer appends a reply to a request.
func (s *session) answer(q *mcbp.Frame, status mcbp.Status, reply mcbp.Frame) {
	reply.Opcode, reply.Opaque, reply.VB = q.Opcode, q.Opaque, uint16(status)
	s.out = mcbp.AppendResponse(s.out, &reply)
}

func (s *session) refuse(q *mcbp.Frame, status mcbp.Status, context string) {
	body := mcbp.ErrorBody{Context: context, Ref: "r1"}
	s.answer(q, status, mcbp.Frame{Value: body.Append(nil)})
}

func (s *session) handle(q *mcbp.Frame) {
	op := mcbp.Lookup(q.Opcode)
	if op == nil {
		s.refuse(q, mcbp.StatusUnknownCommand, "")
		return
	}
	if text := op.Validate(q, mcbp.DatatypeJSON, false); text != "" {
		s.refuse(q, mcbp.StatusInvalid, text)
		return
	}
	var infos mcbp.RequestInfos
	if status, text := infos.Parse(q.FrameExtras, op); status != mcbp.StatusSuccess {
		s.refuse(q, status, text)
		return
	}
	if len(q.FrameExtras) > 0 {
		infos.Impersonate = append([]byte(nil), infos.Impersonate...)
		s.fake.mu.Lock()
		s.fake.mu.infos = append(s.fake.mu.infos, infos)
		s.fake.mu.Unlock()
	}
	if s.fake.hook != nil && s.fake.hook(s, q) {
		return
	}
	if !s.bootstrap(q) {
		s.document(q)
	}
}

// bootstrap serves what a connection begins with; it reports false for everything else.
func (s *session) bootstrap(q *mcbp.Frame) bool {
	switch q.Opcode {
	case mcbp.OpHello:
		granted, list, _ := mcbp.Negotiate(nil, q.Value, s.fake.offered)
		s.features = granted
		s.answer(q, 0, mcbp.Frame{Value: list})
	case mcbp.OpSASLListMechs:
		s.answer(q, 0, mcbp.Frame{Value: []byte(s.fake.mechs)})
	case mcbp.OpSASLAuth, mcbp.OpSASLStep:
		s.login(q)
	case mcbp.OpSelectBucket:
		switch {
		case !s.in || string(q.Key) == "none":
			s.refuse(q, mcbp.StatusAccess, "no such bucket")
		case string(q.Key) == "soon":
			s.refuse(q, mcbp.StatusNotFound, "not ready")
		default:
			s.bucket = true
			s.answer(q, 0, mcbp.Frame{})
		}
	case mcbp.OpGetClusterConfig:
		s.answer(q, 0, mcbp.Frame{Value: s.fake.config, Datatype: 1})
	case mcbp.OpNoop:
		s.answer(q, 0, mcbp.Frame{})
	default:
		return false
	}
	return true
}

func (s *session) login(q *mcbp.Frame) {
	s.fake.mu.Lock()
	s.fake.mu.mechs = append(s.fake.mu.mechs, string(q.Key))
	s.fake.mu.Unlock()
	if string(q.Key) == mcbp.MechPlain {
		if _, err := s.fake.auth.CheckPlain(context.Background(), q.Value, "test"); err != nil {
			s.refuse(q, mcbp.StatusAuthError, "")
			return
		}
		s.in = true
		s.answer(q, 0, mcbp.Frame{})
		return
	}
	if q.Opcode == mcbp.OpSASLAuth {
		x, err := s.fake.auth.NewSCRAM(auth.Mechanism(q.Key), "test")
		if err != nil {
			s.refuse(q, mcbp.StatusAuthError, "")
			return
		}
		s.scram = x
	}
	out, done, _, err := s.scram.Step(q.Value)
	switch {
	case err != nil:
		s.refuse(q, mcbp.StatusAuthError, "")
	case done:
		s.in = true
		s.answer(q, 0, mcbp.Frame{Value: out})
	default:
		s.answer(q, mcbp.StatusAuthContinue, mcbp.Frame{Value: out})
	}
}

// document serves what concerns documents and vBuckets.
func (s *session) document(q *mcbp.Frame) {
	f := s.fake
	f.mu.Lock()
	defer f.mu.Unlock()
	if !s.bucket {
		s.refuse(q, mcbp.StatusNoBucket, "")
		return
	}
	if op := mcbp.Lookup(q.Opcode); op.VBucket && len(q.Key) > 0 && q.Opcode != mcbp.OpGetKeys &&
		vbucket.Of(q.Key, fakeVBs) != vbucket.ID(q.VB) {
		s.answer(q, mcbp.StatusNotMyVBucket, mcbp.Frame{Value: f.config})
		return
	}
	d := f.mu.docs[string(q.Key)]
	switch q.Opcode {
	case mcbp.OpSet, mcbp.OpAdd, mcbp.OpReplace, mcbp.OpAppend, mcbp.OpPrepend, mcbp.OpDelete:
		s.write(q, d)
	case mcbp.OpIncrement, mcbp.OpDecrement:
		s.count(q, d)
	case mcbp.OpStat:
		s.stat(q)
	case mcbp.OpFailoverLog:
		s.answer(q, 0, mcbp.Frame{Value: mcbp.Token{UUID: fakeUUID, Seqno: uint64(q.VB)}.Append(nil)})
	case mcbp.OpObserveSeqno:
		s.observe(q)
	case mcbp.OpGetKeys:
		s.answer(q, 0, mcbp.Frame{Value: []byte("\x00\x01a\x00\x02bc")})
	case mcbp.OpAllVBSeqnos:
		s.answer(q, 0, mcbp.Frame{Value: []byte("\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09")})
	case mcbp.OpListBuckets:
		s.answer(q, 0, mcbp.Frame{Value: []byte("b c")})
	case mcbp.OpVersion:
		s.answer(q, 0, mcbp.Frame{Value: []byte("7.6.4")})
	case mcbp.OpGetRandomKey:
		s.answer(q, 0, mcbp.Frame{Key: []byte("k"), Value: []byte("v"), Extras: make([]byte, 4), CAS: 1})
	default:
		s.read(q, d)
	}
}

func (s *session) read(q *mcbp.Frame, d *fakeDoc) {
	if d == nil {
		s.refuse(q, mcbp.StatusNotFound, "")
		return
	}
	doc := mcbp.Frame{Extras: binary.BigEndian.AppendUint32(nil, d.flags), Value: d.value, Datatype: 1, CAS: d.cas}
	switch q.Opcode {
	case mcbp.OpGetAndLock:
		if d.lock != 0 {
			s.refuse(q, mcbp.StatusLocked, "")
			return
		}
		s.fake.mu.cas++
		d.lock = s.fake.mu.cas
		doc.CAS = d.lock
		s.answer(q, 0, doc)
	case mcbp.OpUnlock:
		switch {
		case d.lock == 0:
			s.refuse(q, mcbp.StatusNotLocked, "")
		case d.lock != q.CAS:
			s.refuse(q, mcbp.StatusLocked, "")
		default:
			d.lock = 0
			s.answer(q, 0, mcbp.Frame{})
		}
	case mcbp.OpTouch:
		d.expiry = binary.BigEndian.Uint32(q.Extras)
		s.answer(q, 0, mcbp.Frame{CAS: d.cas})
	case mcbp.OpGetMeta:
		m := mcbp.DocMeta{Flags: d.flags, Expiry: d.expiry, Rev: 3, Datatype: 1}
		s.answer(q, 0, mcbp.Frame{Extras: m.Append(nil, len(q.Extras) == 1 && q.Extras[0] == 2), CAS: d.cas})
	case mcbp.OpGetAndTouch:
		d.expiry = binary.BigEndian.Uint32(q.Extras)
		s.answer(q, 0, doc)
	case mcbp.OpGet:
		s.answer(q, 0, doc)
	default:
		s.refuse(q, mcbp.StatusNotSupported, "")
	}
}

func (s *session) write(q *mcbp.Frame, d *fakeDoc) {
	if status := writable(q, d); status != 0 {
		s.refuse(q, status, "")
		return
	}
	if d == nil {
		d = &fakeDoc{}
		s.fake.mu.docs[string(q.Key)] = d
	}
	value := append([]byte(nil), q.Value...)
	switch q.Opcode {
	case mcbp.OpDelete:
		delete(s.fake.mu.docs, string(q.Key))
	case mcbp.OpAppend:
		d.value = append(d.value, value...)
	case mcbp.OpPrepend:
		d.value = append(value, d.value...)
	default:
		e := mcbp.ParseStoreExtras(q.Extras)
		d.value, d.flags, d.expiry = value, e.Flags, e.Expiry
	}
	s.written(q, d, nil)
}

// writable is the rules of wire.md 7.3 and 7.4.
func writable(q *mcbp.Frame, d *fakeDoc) mcbp.Status {
	join := q.Opcode == mcbp.OpAppend || q.Opcode == mcbp.OpPrepend
	switch {
	case d == nil && join:
		return mcbp.StatusNotStored
	case d == nil && (q.Opcode == mcbp.OpReplace || q.Opcode == mcbp.OpDelete || q.CAS != 0):
		return mcbp.StatusNotFound
	case d == nil:
		return 0
	case q.Opcode == mcbp.OpAdd:
		return mcbp.StatusExists
	case d.lock != 0 && q.CAS != d.lock:
		return mcbp.StatusLocked
	case d.lock == 0 && q.CAS != 0 && q.CAS != d.cas:
		return mcbp.StatusExists
	}
	return 0
}

func (s *session) written(q *mcbp.Frame, d *fakeDoc, value []byte) {
	f := s.fake
	f.mu.cas++
	f.mu.seqno++
	d.cas, d.lock = f.mu.cas, 0
	reply := mcbp.Frame{CAS: d.cas, Value: value}
	if s.features.Has(mcbp.FeatureMutationToken) {
		reply.Extras = mcbp.Token{UUID: fakeUUID, Seqno: f.mu.seqno}.Append(nil)
	}
	s.answer(q, 0, reply)
}

func (s *session) count(q *mcbp.Frame, d *fakeDoc) {
	e := mcbp.ParseCounterExtras(q.Extras)
	if d == nil && e.Expiry == mcbp.CounterNoCreate {
		s.refuse(q, mcbp.StatusNotFound, "")
		return
	}
	n := e.Initial
	if d == nil {
		d = &fakeDoc{expiry: e.Expiry}
		s.fake.mu.docs[string(q.Key)] = d
	} else {
		old, err := strconv.ParseUint(string(d.value), 10, 64)
		if err != nil {
			s.refuse(q, mcbp.StatusBadDelta, "not a number")
			return
		}
		if n = old + e.Delta; q.Opcode == mcbp.OpDecrement {
			n = old - min(old, e.Delta)
		}
	}
	d.value = strconv.AppendUint(nil, n, 10)
	s.written(q, d, binary.BigEndian.AppendUint64(nil, n))
}

func (s *session) stat(q *mcbp.Frame) {
	if string(q.Key) == "unknown" {
		s.refuse(q, mcbp.StatusNotFound, "")
		return
	}
	for i := range 3 {
		s.answer(q, 0, mcbp.Frame{Key: []byte("name" + strconv.Itoa(i)), Value: []byte(strconv.Itoa(i))})
	}
	s.answer(q, 0, mcbp.Frame{})
}

func (s *session) observe(q *mcbp.Frame) {
	asked := binary.BigEndian.Uint64(q.Value)
	form := byte(0)
	if asked != fakeUUID {
		form = 1
	}
	b := binary.BigEndian.AppendUint16([]byte{form}, q.VB)
	for _, n := range []uint64{fakeUUID, 5, 9} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	if form == 1 {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, asked), 4)
	}
	s.answer(q, 0, mcbp.Frame{Value: b})
}
