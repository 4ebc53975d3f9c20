package kv

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/change/changetest"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
	"pgregory.net/rapid"
)

// TestModel runs random operations on one vBucket and compares every answer with the oracle's, while a reader follows the
// changes and is made to lose its place now and then. At the end all documents, the feed and every counter are compared.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { newMachine(t, rt).run() })
}

// machine is one run of the model test.
type machine struct {
	*kit

	rt       *rapid.T
	o        *oracle
	follower *changetest.Follower
	most     int // bytes of a reader's batch
}

func newMachine(t *testing.T, rt *rapid.T) *machine {
	t.Helper()
	mode := rapid.SampledFrom([]spec.Compression{spec.CompressOff, spec.CompressPassive}).Draw(rt, "compression")
	m := &machine{kit: openKit(t, func(o *Options) { o.Spec.Compression = mode }), rt: rt}
	m.o = &oracle{docs: map[string]*odoc{}, history: changetest.NewHistory()}
	m.most = rapid.SampledFrom([]int{1, 100, 1 << 16}).Draw(rt, "batch bytes")
	m.follow()
	return m
}

func (m *machine) follow() {
	r, err := m.Open(change.Options{Name: "model", MaxBatchBytes: m.most})
	if err != nil {
		m.rt.Fatal(err)
	}
	m.follower = changetest.NewFollower(r, m.o.history)
	if err := m.follower.Add(0); err != nil {
		m.rt.Fatal(err)
	}
}

func (m *machine) run() {
	for range rapid.IntRange(1, 120).Draw(m.rt, "steps") {
		switch rapid.IntRange(0, 19).Draw(m.rt, "kind") {
		case 0:
			m.clock.Advance(time.Duration(rapid.IntRange(1, 20).Draw(m.rt, "seconds")) * time.Second / 2)
		case 1:
			m.expireAll()
		case 2:
			m.fall(0)
		case 3, 4:
			m.read()
		default:
			m.operate()
		}
	}
	m.finish()
}

// expireAll runs the pager. The order in which it buries is its own; the oracle learns it from the feed's entries.
func (m *machine) expireAll() {
	n := m.present()
	due := map[string]bool{}
	for key, d := range m.o.docs {
		if !d.deleted && d.expiry != 0 && d.expiry <= n.unix {
			due[key] = true
		}
	}
	if got := m.expirePass(m.t.Context()); got != len(due) {
		m.rt.Fatalf("the pager expired %d documents, want %d", got, len(due))
	}
	bySeqno := map[vbucket.Seqno]string{}
	for key := range due {
		k := m.key(key)
		_, h := m.vbs[0].find(m.Bucket, &k)
		bySeqno[h.seqno()] = key
	}
	for range due {
		key, ok := bySeqno[m.o.high+1]
		if !ok {
			m.rt.Fatalf("no expired document has the seqno %d", m.o.high+1)
		}
		m.o.bury(key, n)
	}
}

func (m *machine) present() now {
	at := m.now()
	return now{unix: at.Unix(), mono: time.Duration(at.Mono)}
}

// read takes a batch, if there is something to read.
func (m *machine) read() {
	if m.follower.Position(0).Seqno == m.o.high {
		return
	}
	ctx, cancel := context.WithTimeout(m.t.Context(), 10*time.Second)
	defer cancel()
	b, err := m.follower.Step(ctx)
	if err != nil {
		m.rt.Fatalf("reader: %v", err)
	}
	if b.End == nil {
		return
	}
	if !errors.Is(b.End, ErrTooSlow) {
		m.rt.Fatalf("the stream ended: %v", b.End)
	}
	m.follower.Restart(0)
	if err := m.follower.Add(0); err != nil {
		m.rt.Fatalf("after the end of a stream: %v", err)
	}
}

// ask draws an operation. CAS values are the right one, the lock's, none, or wrong.
func (m *machine) ask() *ask {
	q := &ask{
		op: rapid.SampledFrom([]string{
			"set", "set", "set", "add", "replace", "append", "prepend", "counter", "delete", "get", "getmeta", "touch", "gat",
			"getl", "unlock",
		}).Draw(m.rt, "op"),
		key: rapid.SampledFrom([]string{"a", "b", "c", "d", "a rather long key that takes another size class with it"}).
			Draw(m.rt, "key"),
		value: rapid.SampledFrom([]string{
			"", "1", "18446744073709551615", `{"a":1}`, "[1,", "text", fmt.Sprintf("%0300d", 7), fmt.Sprintf("%20000s", "x"),
		}).Draw(m.rt, "value"),
		flags:   rapid.Uint32Range(0, 3).Draw(m.rt, "flags"),
		expiry:  rapid.SampledFrom([]uint32{0, 0, 0, 1, 5, 30, relativeExpiry + 1}).Draw(m.rt, "expiry"),
		keep:    rapid.Bool().Draw(m.rt, "keep"),
		delta:   rapid.Uint64Range(1, 30).Draw(m.rt, "delta"),
		initial: rapid.Uint64Range(0, 100).Draw(m.rt, "initial"),
		down:    rapid.Bool().Draw(m.rt, "down"),
		create:  rapid.Bool().Draw(m.rt, "create"),
	}
	d := m.o.docs[q.key]
	if d == nil {
		d = &odoc{}
	}
	q.cas = rapid.SampledFrom([]vbucket.CAS{0, 0, d.cas, d.lockCAS, d.cas + 1, vbucket.LockedCAS}).Draw(m.rt, "cas")
	return q
}

func (m *machine) operate() {
	q := m.ask()
	want := m.o.expect(q, m.present())
	got := m.perform(q)
	if want.cas == 1 && got.err == nil {
		if !m.o.learn(q, got.cas) {
			m.rt.Fatalf("%+v gave the CAS %x, and %x was given before", *q, got.cas, m.o.maxCAS)
		}
		want.cas = got.cas
	}
	if d := m.o.docs[q.key]; d != nil && d.cas == 0 && q.op == "getmeta" {
		want.cas = got.cas // of an expiration that nobody was told of
	}
	if got.err != want.err || got != want { //nolint:errorlint // sentinels
		m.rt.Fatalf("%+v:\n got %+v\nwant %+v", *q, got, want)
	}
	if high := m.vbs[0].mu.high; high != m.o.high {
		m.rt.Fatalf("%+v: high seqno %d, want %d", *q, high, m.o.high)
	}
}

// perform asks the engine.
func (m *machine) perform(q *ask) answer {
	ctx, at, key := m.t.Context(), m.now(), m.key(q.key)
	w := &Write{CAS: q.cas, Flags: q.flags, Expiry: q.expiry, PreserveExpiry: q.keep, Value: []byte(q.value)}
	if q.flags&1 == 1 {
		w.Value, w.Datatype = value.Deflate(nil, w.Value), value.Snappy
	}
	var done Written
	var meta Meta
	var body []byte
	var a answer
	switch q.op {
	case "set":
		done, a.err = m.Set(ctx, at, key, w)
	case "add":
		done, a.err = m.Add(ctx, at, key, w)
	case "replace":
		done, a.err = m.Replace(ctx, at, key, w)
	case "append":
		done, a.err = m.Append(ctx, at, key, w)
	case "prepend":
		done, a.err = m.Prepend(ctx, at, key, w)
	case "delete":
		done, a.err = m.Delete(ctx, at, key, w)
	case "touch":
		done, a.err = m.Touch(ctx, at, key, w)
	case "unlock":
		a.err = m.Unlock(at, key, q.cas)
	case "counter":
		c := &Count{
			Delta: q.delta, Initial: q.initial, Decrement: q.down, Create: q.create, Expiry: q.expiry, CAS: q.cas,
		}
		a.number, done, a.err = m.Counter(ctx, at, key, c)
	case "get":
		meta, body, a.err = m.Get(ctx, at, key, nil)
	case "getmeta":
		meta, a.err = m.GetMeta(ctx, at, key)
	case "gat":
		meta, body, a.err = m.GetAndTouch(ctx, at, key, q.expiry, nil)
	case "getl":
		meta, body, a.err = m.GetAndLock(ctx, at, key, uint32(q.delta), nil)
	}
	a.cas, a.seqno = done.CAS, done.Seqno
	if meta.Seqno != 0 {
		a.cas, a.seqno, a.rev, a.flags, a.expiry = meta.CAS, meta.Seqno, meta.Rev, meta.Flags, meta.Expiry
		a.deleted, a.json = meta.Deleted, meta.Datatype&value.JSON != 0
		if q.op == "getmeta" {
			return a
		}
		if meta.ValueLen != len(body) {
			m.rt.Fatalf("%+v: a value of %d bytes, Meta says %d", *q, len(body), meta.ValueLen)
		}
		var err error
		if a.value, err = inflated(body, meta.Datatype); err != nil {
			m.rt.Fatalf("%+v: %v", *q, err)
		}
	}
	return a
}

// finish compares everything.
func (m *machine) finish() {
	n := m.present()
	for key := range m.o.docs {
		q := &ask{op: "get", key: key}
		if got, want := m.perform(q), m.o.expect(q, n); got != want {
			m.rt.Fatalf("in the end, %q:\n got %+v\nwant %+v", key, got, want)
		}
	}
	for m.follower.Position(0).Seqno < m.o.high {
		m.read()
	}
	if err := m.follower.Reader.Close(); err != nil {
		m.rt.Fatal(err)
	}
	m.follow() // another one, from the beginning
	for m.follower.Position(0).Seqno < m.o.high {
		m.read()
	}
	if err := m.follower.Reader.Close(); err != nil {
		m.rt.Fatal(err)
	}
	m.wantBooks()
	if got := m.window.Load(); got != 0 {
		m.rt.Fatalf("%d bytes of window without a reader", got)
	}
	if err := m.Close(); err != nil {
		m.rt.Fatal(err)
	}
	if m.t.Failed() {
		m.rt.FailNow()
	}
}
