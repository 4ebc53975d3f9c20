package client_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// want fails the test unless err is what was wanted; nil means success.
func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if target == nil && err != nil || target != nil && !errors.Is(err, target) {
		t.Errorf("%s: error %v, want %v", what, err, target)
	}
}

// TestDocuments goes through the operations on one document, their successes and their refusals.
func TestDocuments(t *testing.T) {
	c := newFake(t, nil).dial(t)
	ctx := t.Context()
	_, err := c.Get(ctx, "k", client.With{})
	want(t, "Get of nothing", err, client.ErrNotFound)
	_, err = c.Replace(ctx, "k", []byte("1"), client.With{})
	want(t, "Replace of nothing", err, client.ErrNotFound)
	_, err = c.Append(ctx, "k", []byte("1"), client.With{})
	want(t, "Append to nothing", err, client.ErrNotStored)

	added, err := c.Add(ctx, "k", []byte("1"), client.With{Flags: 77, Expiry: 100})
	want(t, "Add", err, nil)
	if added.CAS == 0 || added.Token.UUID != fakeUUID || added.Token.Seqno != 1 || added.VB != vbucket.Of([]byte("k"), fakeVBs) {
		t.Errorf("Add = %+v", added)
	}
	_, err = c.Add(ctx, "k", []byte("1"), client.With{})
	want(t, "Add again", err, client.ErrExists)
	if errors.Is(err, client.ErrCASMismatch) {
		t.Error("Add again is a CAS mismatch, though it had none")
	}

	d, err := c.Get(ctx, "k", client.With{})
	want(t, "Get", err, nil)
	if diff := cmp.Diff(client.Doc{Value: []byte("1"), Flags: 77, Datatype: value.JSON, CAS: added.CAS}, d); diff != "" || !d.JSON() {
		t.Errorf("Get (-want +got):\n%s", diff)
	}
	_, err = c.Set(ctx, "k", []byte("2"), client.With{CAS: added.CAS + 1})
	want(t, "Set with another CAS", err, client.ErrCASMismatch)
	set, err := c.Set(ctx, "k", []byte("2"), client.With{CAS: added.CAS})
	want(t, "Set with the CAS", err, nil)
	_, err = c.Append(ctx, "k", []byte("3"), client.With{CAS: set.CAS})
	want(t, "Append", err, nil)
	_, err = c.Prepend(ctx, "k", []byte("1"), client.With{})
	want(t, "Prepend", err, nil)
	d, err = c.GetAndTouch(ctx, "k", client.With{Expiry: 50})
	want(t, "GetAndTouch", err, nil)
	if string(d.Value) != "123" {
		t.Errorf("value %q, want 123", d.Value)
	}
	m, err := c.GetMeta(ctx, "k", client.With{})
	want(t, "GetMeta", err, nil)
	if m.Expiry != 50 || m.Datatype != 1 || m.CAS != d.CAS || m.Rev != 3 || m.Deleted {
		t.Errorf("GetMeta = %+v", m)
	}
	touched, err := c.Touch(ctx, "k", client.With{Expiry: 60})
	want(t, "Touch", err, nil)
	if touched.Token != (vbucket.Position{}) || touched.CAS != d.CAS {
		t.Errorf("Touch = %+v", touched)
	}
	_, err = c.Delete(ctx, "k", client.With{CAS: 1})
	want(t, "Delete with another CAS", err, client.ErrCASMismatch)
	_, err = c.Delete(ctx, "k", client.With{})
	want(t, "Delete", err, nil)
	_, err = c.Delete(ctx, "k", client.With{})
	want(t, "Delete again", err, client.ErrNotFound)
}

// TestLocks goes through the life of a lock.
func TestLocks(t *testing.T) {
	c := newFake(t, nil).dial(t)
	ctx := t.Context()
	if _, err := c.Set(ctx, "k", []byte("1"), client.With{}); err != nil {
		t.Fatal(err)
	}
	want(t, "Unlock of an unlocked one", c.Unlock(ctx, "k", client.With{CAS: 1}), client.ErrNotLocked)
	d, err := c.Lock(ctx, "k", 15, client.With{})
	want(t, "Lock", err, nil)
	_, err = c.Lock(ctx, "k", 15, client.With{})
	want(t, "Lock again", err, client.ErrLocked)
	_, err = c.Set(ctx, "k", []byte("2"), client.With{})
	want(t, "Set of a locked one", err, client.ErrLocked)
	want(t, "Unlock with another CAS", c.Unlock(ctx, "k", client.With{CAS: d.CAS + 1}), client.ErrLocked)
	want(t, "Unlock without a CAS", c.Unlock(ctx, "k", client.With{}), client.ErrInvalid)
	want(t, "Unlock", c.Unlock(ctx, "k", client.With{CAS: d.CAS}), nil)
}

// TestCounters checks what counters become.
func TestCounters(t *testing.T) {
	c := newFake(t, nil).dial(t)
	ctx := t.Context()
	_, _, err := c.Incr(ctx, "n", client.Count{Delta: 1}, client.With{})
	want(t, "Incr of nothing", err, client.ErrNotFound)
	n, w, err := c.Incr(ctx, "n", client.Count{Delta: 1, Initial: 10, Create: true}, client.With{Expiry: 9})
	want(t, "Incr", err, nil)
	if n != 10 || w.CAS == 0 || w.Token.Seqno != 1 {
		t.Errorf("Incr = %d, %+v", n, w)
	}
	if n, _, err = c.Incr(ctx, "n", client.Count{Delta: 5}, client.With{}); n != 15 || err != nil {
		t.Errorf("Incr = %d, %v, want 15", n, err)
	}
	if n, _, err = c.Decr(ctx, "n", client.Count{Delta: 99}, client.With{}); n != 0 || err != nil {
		t.Errorf("Decr = %d, %v, want 0", n, err)
	}
	if _, err := c.Set(ctx, "n", []byte("x"), client.With{}); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.Incr(ctx, "n", client.Count{Delta: 1}, client.With{})
	want(t, "Incr of a word", err, client.ErrBadDelta)
	var status *client.StatusError
	if !errors.As(err, &status) || status.Context != "not a number" || status.Ref != "r1" ||
		err.Error() != "increment: DELTA_BADVAL: not a number (ref r1)" {
		t.Errorf("error %v", err)
	}
}

// TestFrames checks what the framing extras of a call say, and that they are refused where they were not granted.
func TestFrames(t *testing.T) {
	f := newFake(t, nil)
	c := f.dial(t)
	ctx := t.Context()
	for _, w := range []client.With{
		{As: "bob"},
		{As: "^" + strings.Repeat("x", 128)},
		{Level: spec.Majority},
		{PreserveExpiry: true},
		{Level: spec.PersistToMajority, Timeout: 1500 * time.Millisecond},
		{Level: spec.Majority, Timeout: time.Hour},
		{Level: spec.Majority, Timeout: time.Microsecond, As: "bob", PreserveExpiry: true},
	} {
		_, err := c.Set(ctx, "k", []byte("1"), w)
		want(t, "Set", err, nil)
	}
	name := []byte("^" + strings.Repeat("x", 128))
	wanted := []mcbp.RequestInfos{
		{Impersonate: []byte("bob")},
		{Impersonate: name},
		{Durability: 1},
		{PreserveExpiry: true},
		{Durability: 3, Timeout: 1500},
		{Durability: 1, Timeout: 65534},
		{Durability: 1, Timeout: 1, Impersonate: []byte("bob"), PreserveExpiry: true},
	}
	f.mu.Lock()
	for i := range f.mu.infos {
		if len(f.mu.infos[i].Impersonate) == 0 {
			f.mu.infos[i].Impersonate = nil
		}
	}
	if diff := cmp.Diff(wanted, f.mu.infos); diff != "" {
		t.Errorf("framing extras (-want +got):\n%s", diff)
	}
	f.mu.Unlock()
	_, err := c.Get(ctx, "k", client.With{As: strings.Repeat("x", 300)})
	want(t, "too long a name", err, client.ErrInvalid)
	_, err = c.Get(ctx, strings.Repeat("k", 251), client.With{})
	want(t, "too long a key", err, client.ErrInvalid)
	_, err = c.Set(ctx, "k", make([]byte, mcbp.MaxBody+1), client.With{})
	want(t, "too large a value", err, client.ErrTooBig)

	plain := newFake(t, func(f *fake) { f.offered = 0 }).dial(t)
	for _, w := range []client.With{{As: "bob"}, {Level: 1}, {PreserveExpiry: true}} {
		_, err := plain.Set(ctx, "k", []byte("1"), w)
		want(t, "frame that was not granted", err, client.ErrUnsupported)
	}
	w, err := plain.Set(ctx, "k", []byte("1"), client.With{})
	want(t, "Set without features", err, nil)
	if w.Token != (vbucket.Position{}) {
		t.Errorf("token %+v without the feature", w.Token)
	}
}

// TestAdmin goes through what is not about one document.
func TestAdmin(t *testing.T) {
	c := newFake(t, nil).dial(t)
	ctx := t.Context()
	check := func(what string, got any, err error, wanted any) {
		t.Helper()
		if diff := cmp.Diff(wanted, got); err != nil || diff != "" {
			t.Errorf("%s: error %v (-want +got):\n%s", what, err, diff)
		}
	}
	stats, err := c.Stats(ctx, "")
	check("Stats", stats, err, []client.Stat{{"name0", "0"}, {"name1", "1"}, {"name2", "2"}})
	_, err = c.Stats(ctx, "unknown")
	want(t, "Stats of an unknown group", err, client.ErrNotFound)
	log, err := c.FailoverLog(ctx, 3)
	check("FailoverLog", log, err, vbucket.FailoverLog{{UUID: fakeUUID, Seqno: 3}})
	o, err := c.ObserveSeqno(ctx, 3, fakeUUID)
	check("ObserveSeqno", o, err, client.Observed{VB: 3, UUID: fakeUUID, Persisted: 5, High: 9})
	o, err = c.ObserveSeqno(ctx, 3, 77)
	check("ObserveSeqno of an older history", o, err, client.Observed{
		VB: 3, UUID: fakeUUID, Persisted: 5, High: 9, Old: vbucket.Position{UUID: 77, Seqno: 4},
	})
	keys, err := c.Keys(ctx, 3, "a", 10)
	check("Keys", keys, err, []string{"a", "bc"})
	seqnos, err := c.Seqnos(ctx, vbucket.Active)
	check("Seqnos", seqnos, err, map[vbucket.ID]vbucket.Seqno{1: 9})
	buckets, err := c.Buckets(ctx)
	check("Buckets", buckets, err, []string{"b", "c"})
	version, err := c.Version(ctx)
	check("Version", version, err, "7.6.4")
	key, d, err := c.RandomKey(ctx)
	check("RandomKey", key+string(d.Value), err, "kv")
	reply, err := c.Do(ctx, &mcbp.Frame{Opcode: 0xee})
	check("Do", reply.Status(), err, mcbp.StatusUnknownCommand)
}

// TestPool checks that a pool shares connections, dials again after a loss and after its bucket was dropped, and forgets
// buckets that do not exist.
func TestPool(t *testing.T) {
	gone := false
	f := newFake(t, func(f *fake) {
		f.hook = func(s *session, q *mcbp.Frame) bool {
			if q.Opcode == mcbp.OpSet && gone {
				gone = false
				s.refuse(q, mcbp.StatusNoBucket, "the bucket was dropped")
				return true
			}
			return false
		}
	})
	p := client.NewPool(f.options())
	ctx := t.Context()
	set := func() error {
		return p.Do(ctx, "b", func(c *client.Conn) error {
			_, err := c.Set(ctx, "k", []byte("1"), client.With{As: "bob"})
			return err
		})
	}
	dialed := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.mu.dialed
	}
	want(t, "first", set(), nil)
	want(t, "second", set(), nil)
	if n := dialed(); n != 1 {
		t.Errorf("%d connections for two calls, want 1", n)
	}
	first, err := p.Conn(ctx, "b")
	want(t, "Conn", err, nil)
	f.hangUp()
	<-first.Done()
	want(t, "after a loss", set(), nil)
	gone = true
	want(t, "after a drop", set(), nil)
	if n := dialed(); n != 3 {
		t.Errorf("%d connections after a loss and a drop, want 3", n)
	}
	_, err = p.Conn(ctx, "none")
	want(t, "unknown bucket", err, client.ErrNoBucket)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = p.Conn(canceled, "none")
	want(t, "canceled", err, context.Canceled)
	p.Close()
	p.Close()
	want(t, "closed", set(), client.ErrClosed)
}
