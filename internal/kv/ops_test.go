package kv

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// TestStore walks set, add and replace through what may be there: nothing, a document, a tombstone; with and without CAS.
func TestStore(t *testing.T) {
	k := newKit(t)
	ctx, w := t.Context(), func(cas vbucket.CAS) *Write { return &Write{Value: []byte(`{"a":1}`), CAS: cas, Flags: 7} }
	_, err := k.Replace(ctx, k.now(), k.key("x"), w(0))
	k.wantErr(err, ErrNotFound)
	_, err = k.Set(ctx, k.now(), k.key("x"), w(1))
	k.wantErr(err, ErrNotFound)
	first, err := k.Add(ctx, k.now(), k.key("x"), w(0))
	k.wantErr(err, nil)
	_, err = k.Add(ctx, k.now(), k.key("x"), w(0))
	k.wantErr(err, ErrExists)
	_, err = k.Set(ctx, k.now(), k.key("x"), w(first.CAS+1))
	k.wantErr(err, ErrCASMismatch)
	_, err = k.Set(ctx, k.now(), k.key("x"), w(vbucket.LockedCAS))
	k.wantErr(err, ErrCASMismatch)
	second, err := k.Replace(ctx, k.now(), k.key("x"), w(first.CAS))
	k.wantErr(err, nil)
	if second.CAS <= first.CAS || second.Seqno != first.Seqno+1 || second.UUID != first.UUID || second.UUID == 0 {
		t.Errorf("first %+v, second %+v", first, second)
	}
	m := k.wants("x", `{"a":1}`)
	if m.Rev != 2 || m.Flags != 7 || m.Datatype != value.JSON || m.CAS != second.CAS || m.Seqno != second.Seqno {
		t.Errorf("meta %+v", m)
	}
	gone, err := k.Delete(ctx, k.now(), k.key("x"), &Write{})
	k.wantErr(err, nil)
	_, _, err = k.get("x")
	k.wantErr(err, ErrNotFound)
	_, err = k.Delete(ctx, k.now(), k.key("x"), &Write{})
	k.wantErr(err, ErrNotFound)
	m, err = k.GetMeta(ctx, k.now(), k.key("x"))
	k.wantErr(err, nil)
	if !m.Deleted || m.CAS != gone.CAS || m.Rev != 3 || m.Flags != 0 || m.Expiry != k.now().Unix() || m.Datatype != 0 {
		t.Errorf("tombstone %+v", m)
	}
	_, err = k.Add(ctx, k.now(), k.key("x"), w(0))
	k.wantErr(err, nil)
	if m := k.wants("x", `{"a":1}`); m.Rev != 4 {
		t.Errorf("revision %d after the tombstone, want 4", m.Rev)
	}
	if m, err := k.GetMeta(ctx, k.now(), k.key("never")); !errors.Is(err, ErrNotFound) {
		t.Errorf("GetMeta of nothing: %+v, %v", m, err)
	}
	k.wantBooks()
}

// TestRefused asks for what the bucket does not have: vBuckets, collections, sizes, levels.
func TestRefused(t *testing.T) {
	k := newKit(t, func(o *Options) { o.Spec.MaxValueBytes = 100 })
	ctx := t.Context()
	var nmvb *NotMyVBucketError
	if _, _, err := k.Get(ctx, k.now(), k.Key(4, 0, []byte("x")), nil); !errors.As(err, &nmvb) || nmvb.VB != 4 {
		t.Errorf("vBucket 4 of 4: %v", err)
	}
	k.Assign(1, vbucket.Dead, 2)
	k.Assign(1, vbucket.Active, 1) // an older epoch
	if _, err := k.Set(ctx, k.now(), k.Key(1, 0, []byte("x")), &Write{}); !errors.As(err, &nmvb) || nmvb.State != vbucket.Dead {
		t.Errorf("dead vBucket: %v", err)
	}
	var unknown *spec.UnknownCollectionError
	if _, _, err := k.Get(ctx, k.now(), k.Key(0, 9, []byte("x")), nil); !errors.As(err, &unknown) {
		t.Errorf("collection 9: %v", err)
	}
	big := make([]byte, 101)
	_, err := k.Set(ctx, k.now(), k.key("x"), &Write{Value: big})
	k.wantErr(err, ErrTooBig)
	_, err = k.Set(ctx, k.now(), k.key("x"), &Write{Value: value.Deflate(nil, big), Datatype: value.Snappy})
	k.wantErr(err, ErrTooBig)
	_, err = k.Set(ctx, k.now(), k.key("x"), &Write{Value: []byte("\x03no"), Datatype: value.Snappy})
	k.wantErr(err, ErrInflate)
	_, err = k.Set(ctx, k.now(), k.key("x"), &Write{Value: big[:100]})
	k.wantErr(err, nil)
	_, err = k.Append(ctx, k.now(), k.key("x"), &Write{Value: big[:1]})
	k.wantErr(err, ErrTooBig)
	for level, want := range map[spec.Durability]error{
		spec.Majority: nil, spec.MajorityAndPersistOnActive: ErrDurabilityInvalid, spec.PersistToMajority: ErrDurabilityInvalid,
		9: ErrDurabilityInvalid,
	} {
		_, err := k.Set(ctx, k.now(), k.key("x"), &Write{Level: level})
		k.wantErr(err, want)
	}
	s := k.Spec()
	s.NumReplicas = 1
	k.wantErr(k.Update(s, spec.Manifest{}), nil)
	_, err = k.Set(ctx, k.now(), k.key("x"), &Write{Level: spec.Majority})
	k.wantErr(err, ErrDurabilityImpossible)
	s.NumVBuckets = 8
	k.wantErr(k.Update(s, spec.Manifest{}), errFixed)
}

// TestLocks follows the table of wire.md 7.3.
func TestLocks(t *testing.T) {
	k := newKit(t)
	ctx, x := t.Context(), k.key("x")
	_, _, err := k.GetAndLock(ctx, k.now(), x, 5, nil)
	k.wantErr(err, ErrNotFound)
	k.wantErr(k.Unlock(k.now(), x, 1), ErrNotFound)
	own := k.set("x", "1").CAS
	k.wantErr(k.Unlock(k.now(), x, own), ErrNotLocked)
	m, v, err := k.GetAndLock(ctx, k.now(), x, 5, []byte("dst:"))
	k.wantErr(err, nil)
	if string(v) != "dst:1" || m.CAS == own || m.CAS == vbucket.LockedCAS {
		t.Errorf("GetAndLock = %q, CAS %d", v, m.CAS)
	}
	if got := k.wants("x", "1"); got.CAS != vbucket.LockedCAS {
		t.Errorf("CAS of a locked document: %x", got.CAS)
	}
	if got, err := k.GetMeta(ctx, k.now(), x); err != nil || got.CAS != vbucket.LockedCAS {
		t.Errorf("GetMeta of a locked document: %x, %v", got.CAS, err)
	}
	for _, cas := range []vbucket.CAS{0, own, vbucket.LockedCAS} {
		w := &Write{CAS: cas, Value: []byte("2")}
		for name, f := range map[string]func() error{
			"set":     func() error { _, err := k.Set(ctx, k.now(), x, w); return err },
			"replace": func() error { _, err := k.Replace(ctx, k.now(), x, w); return err },
			"delete":  func() error { _, err := k.Delete(ctx, k.now(), x, w); return err },
			"append":  func() error { _, err := k.Append(ctx, k.now(), x, w); return err },
			"prepend": func() error { _, err := k.Prepend(ctx, k.now(), x, w); return err },
			"counter": func() error { _, _, err := k.Counter(ctx, k.now(), x, &Count{}); return err },
			"touch":   func() error { _, err := k.Touch(ctx, k.now(), x, &Write{Expiry: 9}); return err },
			"gat":     func() error { _, _, err := k.GetAndTouch(ctx, k.now(), x, 9, nil); return err },
			"getl":    func() error { _, _, err := k.GetAndLock(ctx, k.now(), x, 9, nil); return err },
		} {
			if err := f(); !errors.Is(err, ErrLocked) {
				t.Errorf("%s with CAS %x on a locked document: %v", name, cas, err)
			}
		}
	}
	_, err = k.Add(ctx, k.now(), x, &Write{})
	k.wantErr(err, ErrExists)
	k.wantErr(k.Unlock(k.now(), x, own), ErrLocked)
	k.wantErr(k.Unlock(k.now(), x, m.CAS), nil)
	if got := k.wants("x", "1"); got.CAS != own {
		t.Errorf("CAS after unlock %x, want %x", got.CAS, own)
	}
	m, _, err = k.GetAndLock(ctx, k.now(), x, 31, nil) // more than 30 gives 15
	k.wantErr(err, nil)
	k.clock.Advance(15*time.Second - 1)
	_, err = k.Set(ctx, k.now(), x, &Write{})
	k.wantErr(err, ErrLocked)
	k.clock.Advance(1)
	_, err = k.Set(ctx, k.now(), x, &Write{CAS: m.CAS})
	k.wantErr(err, ErrCASMismatch) // the lock is over and its CAS with it
	if got := k.wants("x", "1"); got.CAS != own {
		t.Errorf("CAS after the deadline %x, want %x", got.CAS, own)
	}
	m, _, err = k.GetAndLock(ctx, k.now(), x, 0, nil)
	k.wantErr(err, nil)
	_, err = k.Append(ctx, k.now(), x, &Write{CAS: m.CAS, Value: []byte("2")})
	k.wantErr(err, nil)
	if got := k.wants("x", "12"); got.CAS == vbucket.LockedCAS {
		t.Error("a mutation with the lock's CAS did not unlock")
	}
	if n := len(k.vbs[0].mu.locks); n != 0 {
		t.Errorf("%d locks are left", n)
	}
}

// TestExpiry follows the rules of wire.md 7.5.
func TestExpiry(t *testing.T) {
	k := newKit(t)
	ctx, x := t.Context(), k.key("x")
	now := k.now().Unix()
	for wire, want := range map[uint32]uint32{
		0: 0, 1: now + 1, relativeExpiry: now + relativeExpiry, relativeExpiry + 1: relativeExpiry + 1,
		math.MaxUint32: math.MaxUint32, now + 50: now + 50,
	} {
		_, err := k.Set(ctx, k.now(), k.key("y"), &Write{Expiry: wire})
		k.wantErr(err, nil)
		m, err := k.GetMeta(ctx, k.now(), k.key("y"))
		if dead := wire == relativeExpiry+1; err != nil || m.Deleted != dead || !dead && m.Expiry != want {
			t.Errorf("expiry %d: %+v, %v, want %d", wire, m, err, want)
		}
	}
	_, err := k.Set(ctx, k.now(), x, &Write{Expiry: 10, Value: []byte("v")})
	k.wantErr(err, nil)
	_, err = k.Set(ctx, k.now(), x, &Write{Expiry: 99, PreserveExpiry: true, Value: []byte("v")})
	k.wantErr(err, nil)
	k.clock.Advance(9 * time.Second)
	if m := k.wants("x", "v"); m.Expiry != now+10 {
		t.Errorf("preserved expiry %d, want %d", m.Expiry, now+10)
	}
	k.clock.Advance(time.Second)
	high := k.vbs[0].mu.high
	_, err = k.Replace(ctx, k.now(), x, &Write{})
	k.wantErr(err, ErrNotFound)
	if k.vbs[0].mu.high != high+1 {
		t.Error("the first access did not make a tombstone")
	}
	_, h := k.vbs[0].find(k.Bucket, &x)
	if h.op() != change.OpExpiration {
		t.Errorf("op %d, want an expiration", h.op())
	}
	_, err = k.Set(ctx, k.now(), x, &Write{Expiry: 10})
	k.wantErr(err, nil)
	_, err = k.Set(ctx, k.now(), x, &Write{})
	k.wantErr(err, nil)
	if m := k.wants("x", ""); m.Expiry != 0 {
		t.Errorf("a set without expiry left %d", m.Expiry)
	}
	k.wantBooks()
}

// TestMaxTTL sets a maximum on the bucket and others on collections.
func TestMaxTTL(t *testing.T) {
	m := spec.NewManifest()
	m.Scopes[0].Collections = append(m.Scopes[0].Collections, spec.Collection{Name: "own", ID: 8, MaxTTL: 50},
		spec.Collection{Name: "none", ID: 9, MaxTTL: -1})
	k := newKit(t, func(o *Options) { o.Spec.MaxTTL, o.Manifest = 100, m })
	now := k.now().Unix()
	for _, c := range []struct {
		coll docid.Collection
		wire uint32
		want uint32
	}{
		{0, 0, now + 100},
		{0, 200, now + 100},
		{0, 20, now + 20},
		{0, now + 1000, now + 100},
		{8, 0, now + 50},
		{8, 49, now + 49},
		{9, 0, 0},
		{9, 1000, now + 1000},
	} {
		key := k.Key(0, c.coll, []byte("x"))
		if _, err := k.Set(t.Context(), k.now(), key, &Write{Expiry: c.wire}); err != nil {
			t.Fatal(err)
		}
		if m, err := k.GetMeta(t.Context(), k.now(), key); err != nil || m.Expiry != c.want {
			t.Errorf("collection %d, expiry %d: %d, %v, want %d", c.coll, c.wire, m.Expiry, err, c.want)
		}
	}
}

// TestTouch checks that an expiry that does not change is no mutation.
func TestTouch(t *testing.T) {
	k := newKit(t)
	ctx, x := t.Context(), k.key("x")
	_, err := k.Touch(ctx, k.now(), x, &Write{Expiry: 5})
	k.wantErr(err, ErrNotFound)
	first := k.set("x", "body")
	same, err := k.Touch(ctx, k.now(), x, &Write{})
	k.wantErr(err, nil)
	if same != first {
		t.Errorf("touch without a change: %+v, want %+v", same, first)
	}
	m, v, err := k.GetAndTouch(ctx, k.now(), x, 0, nil)
	k.wantErr(err, nil)
	if string(v) != "body" || m.CAS != first.CAS || k.vbs[0].mu.high != first.Seqno {
		t.Errorf("get and touch without a change: %q, %+v", v, m)
	}
	m, v, err = k.GetAndTouch(ctx, k.now(), x, 7, nil)
	k.wantErr(err, nil)
	if string(v) != "body" || m.Expiry != k.now().Unix()+7 || m.Seqno != first.Seqno+1 || m.CAS == first.CAS {
		t.Errorf("get and touch: %q, %+v", v, m)
	}
	w, err := k.Touch(ctx, k.now(), x, &Write{Expiry: 8})
	k.wantErr(err, nil)
	if got := k.wants("x", "body"); got.CAS != w.CAS || got.Expiry != k.now().Unix()+8 || got.Rev != 3 {
		t.Errorf("after touch: %+v", got)
	}
}

// TestConcat appends and prepends with and without compression on either side.
func TestConcat(t *testing.T) {
	k := newKit(t)
	ctx, x := t.Context(), k.key("x")
	_, err := k.Append(ctx, k.now(), x, &Write{Value: []byte("1")})
	k.wantErr(err, ErrNotStored)
	_, err = k.Append(ctx, k.now(), x, &Write{Value: []byte("1"), CAS: 5})
	k.wantErr(err, ErrNotStored)
	long := strings.Repeat(" ", 200)
	if _, err := k.Set(ctx, k.now(), x, &Write{
		Value: value.Deflate(nil, []byte("[1"+long)), Datatype: value.Snappy | value.JSON, Flags: 3, Expiry: 100,
	}); err != nil {
		t.Fatal(err)
	}
	if m, _, _ := k.get("x"); m.Datatype != value.Snappy || m.ValueLen > 50 {
		t.Errorf("stored as %+v", m)
	}
	_, err = k.Append(ctx, k.now(), x, &Write{Value: value.Deflate(nil, []byte(long+"]")), Datatype: value.Snappy})
	k.wantErr(err, nil)
	if m := k.wants("x", "[1"+long+long+"]"); m.Datatype != value.JSON || m.Flags != 3 || m.Expiry == 0 {
		t.Errorf("after append: %+v", m)
	}
	w, err := k.Prepend(ctx, k.now(), x, &Write{Value: []byte("x")})
	k.wantErr(err, nil)
	if m := k.wants("x", "x[1"+long+long+"]"); m.Datatype != 0 {
		t.Errorf("after prepend: %+v", m)
	}
	_, err = k.Prepend(ctx, k.now(), x, &Write{Value: []byte("x"), CAS: w.CAS - 1})
	k.wantErr(err, ErrCASMismatch)
	_, err = k.Prepend(ctx, k.now(), x, &Write{Value: []byte("x"), CAS: w.CAS})
	k.wantErr(err, nil)
	k.wantBooks()
}

// TestCounter follows wire.md 7.6.
func TestCounter(t *testing.T) {
	k := newKit(t)
	ctx, x := t.Context(), k.key("x")
	count := func(c Count) (uint64, error) { n, _, err := k.Counter(ctx, k.now(), x, &c); return n, err }
	_, err := count(Count{Delta: 1})
	k.wantErr(err, ErrNotFound)
	if n, err := count(Count{Delta: 1, Initial: 40, Create: true, Expiry: 9}); n != 40 || err != nil {
		t.Errorf("created %d, %v", n, err)
	}
	if m := k.wants("x", "40"); m.Datatype != value.JSON || m.Expiry != k.now().Unix()+9 {
		t.Errorf("created %+v", m)
	}
	for _, c := range []struct {
		c    Count
		want uint64
		body string
	}{
		{Count{Delta: 2}, 42, "42"},
		{Count{Delta: 50, Decrement: true}, 0, "0"},
		{Count{Delta: math.MaxUint64}, math.MaxUint64, "18446744073709551615"},
		{Count{Delta: 3, Expiry: 1000}, 2, "2"},
	} {
		if n, err := count(c.c); n != c.want || err != nil {
			t.Errorf("%+v = %d, %v, want %d", c.c, n, err, c.want)
		}
		if m := k.wants("x", c.body); m.Expiry != k.now().Unix()+9 {
			t.Errorf("expiry changed: %+v", m)
		}
	}
	for _, bad := range []string{"", "-1", " 1", "1 ", "x", "18446744073709551616", "99999999999999999999", "000000000000000000001"} {
		k.set("x", bad)
		if _, err := count(Count{Delta: 1}); !errors.Is(err, ErrBadDelta) {
			t.Errorf("counting %q: %v", bad, err)
		}
	}
	digits := value.Deflate(nil, []byte("00000000000000000041"))
	if _, err := k.Set(ctx, k.now(), x, &Write{Value: digits, Datatype: value.Snappy}); err != nil {
		t.Fatal(err)
	}
	if n, err := count(Count{Delta: 1}); n != 42 || err != nil {
		t.Errorf("counting a compressed value: %d, %v", n, err)
	}
	k.wants("x", "42")
	k.wantBooks()
}

// TestXattrs gives documents attributes, which no operation here can write, and sees them kept, or their system part.
func TestXattrs(t *testing.T) {
	k := newKit(t)
	ctx, x := t.Context(), k.key("x")
	section := value.AppendXattr(value.AppendXattr(nil, []byte("_sys"), []byte("1")), []byte("user"), []byte("2"))
	system := value.AppendXattr(nil, []byte("_sys"), []byte("1"))
	plant := func(expiry uint32, dt value.Datatype, body string) {
		v := version{value: value.Join(nil, section, []byte(body)), datatype: dt | value.Xattr, expiry: expiry}
		if dt&value.Snappy != 0 {
			v.value = value.Deflate(nil, v.value)
		}
		vb := &k.vbs[0]
		vb.mu.Lock()
		defer vb.mu.Unlock()
		i, h := vb.find(k.Bucket, &x)
		if _, err := vb.put(k.Bucket, k.config.Load(), &x, i, h, &v, k.now()); err != nil {
			t.Fatal(err)
		}
	}
	joined := func(body string) string { return string(value.Join(nil, section, []byte(body))) }
	for _, dt := range []value.Datatype{0, value.Snappy} {
		plant(0, dt, "12")
		k.set("x", "{}")
		if m := k.wants("x", joined("{}")); m.Datatype != value.Xattr|value.JSON {
			t.Errorf("after set: %+v", m)
		}
		plant(0, dt, "12")
		_, err := k.Append(ctx, k.now(), x, &Write{Value: []byte("3")})
		k.wantErr(err, nil)
		k.wants("x", joined("123"))
		plant(0, dt, "12")
		n, _, err := k.Counter(ctx, k.now(), x, &Count{Delta: 1})
		k.wantErr(err, nil)
		if n != 13 {
			t.Errorf("counted %d", n)
		}
		k.wants("x", joined("13"))
		plant(0, dt, "12")
		_, err = k.Delete(ctx, k.now(), x, &Write{})
		k.wantErr(err, nil)
		k.wantTombstone(x, string(value.Join(nil, system, nil)), 2)
		plant(k.now().Unix(), dt, "12")
		_, _, err = k.get("x")
		k.wantErr(err, ErrNotFound)
		k.wantTombstone(x, string(value.Join(nil, system, nil)), 3)
		plant(k.now().Unix(), dt, "12")
		if n := k.expirePass(ctx); n != 1 {
			t.Errorf("the pager expired %d documents, want 1", n)
		}
		k.wantTombstone(x, string(value.Join(nil, system, nil)), 3)
	}
	k.wantBooks()
}

func (k *kit) wantTombstone(key Key, body string, op uint8) {
	k.t.Helper()
	_, h := k.vbs[key.VB].find(k.Bucket, &key)
	if h == nil || !h.deleted() || string(h.body()) != body || uint8(h.op()) != op {
		k.t.Errorf("no tombstone with op %d and body %q", op, body)
	}
}

// TestFlush empties the bucket once a count.
func TestFlush(t *testing.T) {
	k := newKit(t)
	old := k.set("x", "1")
	k.wantErr(k.Flush(0), nil)
	k.wants("x", "1")
	k.wantErr(k.Flush(1), nil)
	_, _, err := k.get("x")
	k.wantErr(err, ErrNotFound)
	k.wantBooks()
	fresh := k.set("y", "2")
	if fresh.UUID == old.UUID || fresh.Seqno != 1 || fresh.CAS <= old.CAS {
		t.Errorf("before %+v, after %+v", old, fresh)
	}
	k.wantErr(k.Flush(1), nil)
	k.wants("y", "2")
	if r := k.Report(); r.FlushCount != 1 || !r.Ready || r.Items != 1 {
		t.Errorf("report %+v", r)
	}
	log, err := k.FailoverLog(0)
	if err != nil || len(log) != 1 || log[0].UUID != fresh.UUID || log[0].Seqno != 0 {
		t.Errorf("failover log %v, %v", log, err)
	}
}

// TestClosed uses a bucket after its end.
func TestClosed(t *testing.T) {
	k := newKit(t)
	k.set("x", "1")
	key := k.key("x")
	k.wantErr(k.Close(), nil)
	_, _, err := k.get("x")
	k.wantErr(err, ErrClosed)
	_, err = k.Set(t.Context(), k.now(), key, &Write{})
	k.wantErr(err, ErrClosed)
	k.Prefetch([]Key{key, key})
	k.Assign(0, vbucket.Active, 9)
	_, err = k.Keys(k.now(), 0, 0, nil, 10)
	k.wantErr(err, ErrClosed)
}

// TestKeysAndRandom lists keys in order and samples documents.
func TestKeysAndRandom(t *testing.T) {
	k := newKit(t)
	_, err := k.Random(t.Context(), k.now(), 0)
	k.wantErr(err, ErrNotFound)
	for _, name := range []string{"c", "a", "e", "b", "d"} {
		k.set(name, name)
	}
	if _, err := k.Delete(t.Context(), k.now(), k.key("d"), &Write{}); err != nil {
		t.Fatal(err)
	}
	keys, err := k.Keys(k.now(), 0, 0, []byte("b"), 10)
	if got := bytesJoin(keys); got != "b c e" || err != nil {
		t.Errorf("keys from b: %q, %v", got, err)
	}
	if keys, _ = k.Keys(k.now(), 0, 0, nil, 2); bytesJoin(keys) != "a b" {
		t.Errorf("two keys: %q", bytesJoin(keys))
	}
	seen := map[string]bool{}
	for range 200 {
		d, err := k.Random(t.Context(), k.now(), 0)
		if err != nil || string(d.Key) != string(d.Value) {
			t.Fatalf("random: %+v, %v", d, err)
		}
		seen[string(d.Key)] = true
	}
	if len(seen) != 4 {
		t.Errorf("200 samples of 4 documents saw %v", seen)
	}
}

func bytesJoin(list [][]byte) string {
	var s []string
	for _, b := range list {
		s = append(s, string(b))
	}
	return strings.Join(s, " ")
}
