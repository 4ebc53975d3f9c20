package kv

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/vbucket"
)

func (k *kit) access(name string, a Access) (Accessed, string, error) {
	var f Accessed
	v, err := k.Access(k.t.Context(), k.now(), k.key(name), &a, &f, nil)
	return f, string(v), err
}

// wantAccess reads with a and holds what was found against a short form of it: value, time to live, then F fetched before, C
// created, X stale, Z given, W won.
func (k *kit) wantAccess(name string, a Access, want string) Accessed {
	k.t.Helper()
	f, v, err := k.access(name, a)
	got := v + " "
	switch {
	case err != nil:
		got += err.Error()
	case f.Expiry == 0:
		got += "-1"
	default:
		got += fmt.Sprint(int64(f.Expiry) - int64(k.now().Unix()))
	}
	if err == nil {
		got += " "
		for _, bit := range []struct {
			on     bool
			letter string
		}{{f.Fetched, "F"}, {f.Created, "C"}, {f.Stale, "X"}, {f.Given, "Z"}, {f.Won, "W"}} {
			if bit.on {
				got += bit.letter
			}
		}
	}
	if got != want {
		k.t.Errorf("Access(%q, %+v): %q, want %q", name, a, got, want)
	}
	return f
}

// TestAccess: value, condition, touch, and who is told to make a document anew.
func TestAccess(t *testing.T) {
	k := newKit(t)
	read := Access{Value: true}
	k.wantAccess("none", read, " document does not exist")
	w := k.set("a", "abc")
	k.wantAccess("a", Access{Value: true, Unseen: true}, "abc -1 ")
	k.wantAccess("a", read, "abc -1 ")
	k.wantAccess("a", read, "abc -1 F")
	if f := k.wantAccess("a", Access{Value: true, Unless: w.CAS}, " -1 F"); f.HasValue || f.CAS != w.CAS {
		t.Errorf("the value was not left out: %+v", f)
	}
	k.wantAccess("a", Access{Value: true, Unless: w.CAS + 1}, "abc -1 F")
	k.wantAccess("a", Access{}, " -1 F")

	f := k.wantAccess("a", Access{Touch: true, Expiry: 100, Value: true}, "abc 100 F")
	if f.OldExpiry != 0 || f.CAS <= w.CAS || f.Seqno != w.Seqno+1 {
		t.Errorf("touched: %+v", f)
	}
	if again := k.wantAccess("a", Access{Touch: true, Expiry: 100}, " 100 F"); again.Seqno != f.Seqno {
		t.Errorf("touched without a change: %+v", again)
	}
	k.wantAccess("a", Access{Recache: true, Threshold: 100}, " 100 F")
	k.wantAccess("a", Access{Recache: true, Threshold: 101}, " 100 FW")
	k.wantAccess("a", Access{Recache: true, Threshold: 101}, " 100 FZ")
	k.wantAccess("a", Access{Touch: true, Expiry: 50}, " 50 FZ") // the token outlives a change of the expiry
	k.set("a", "def")
	k.wantAccess("a", Access{Touch: true, Expiry: 50, Recache: true, Threshold: 60, Unseen: true}, " 50 ")
	k.wantAccess("a", Access{Touch: true, Expiry: 20, Recache: true, Threshold: 30, TouchFirst: true}, " 20 W")
	k.clock.Advance(20 * time.Second)
	k.wantAccess("a", read, " document does not exist")
	k.wantBooks()
}

// TestVivify: of all who ask at the same time for a document that is missing, one makes it.
func TestVivify(t *testing.T) {
	k := newKit(t)
	create := Access{Value: true, Create: true, NewExpiry: 30}
	f := k.wantAccess("a", create, " 30 CW")
	if !f.HasValue || f.CAS == 0 || f.Seqno != 1 {
		t.Errorf("made %+v", f)
	}
	k.wantAccess("a", create, " 30 Z")
	k.set("a", "x")
	k.wantAccess("a", create, "x -1 ")
	if _, err := k.Delete(t.Context(), k.now(), k.key("a"), &Write{}); err != nil {
		t.Fatal(err)
	}
	k.wantAccess("a", create, " 30 CW")
	k.clock.Advance(30 * time.Second)
	k.wantAccess("a", create, " 30 CW")

	var won atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 100 {
				f, _, err := k.access(fmt.Sprint("race", i), create)
				if err != nil {
					t.Error(err)
				}
				if f.Won {
					won.Add(1)
				}
			}
		})
	}
	all.Wait()
	if won.Load() != 100 {
		t.Errorf("%d winners for 100 documents", won.Load())
	}
	k.wantBooks()
}

// TestInvalidate: a stale document is won once and is stale until it is stored.
func TestInvalidate(t *testing.T) {
	k := newKit(t)
	ctx := t.Context()
	_, err := k.Invalidate(ctx, k.now(), k.key("a"), &Write{})
	k.wantErr(err, ErrNotFound)
	w := k.set("a", "abc")
	_, err = k.Invalidate(ctx, k.now(), k.key("a"), &Write{CAS: w.CAS + 1})
	k.wantErr(err, ErrCASMismatch)
	done, err := k.Invalidate(ctx, k.now(), k.key("a"), &Write{CAS: w.CAS, Expiry: 40})
	if err != nil || done.CAS <= w.CAS || done.Seqno != w.Seqno+1 {
		t.Fatalf("Invalidate: %+v, %v", done, err)
	}
	read := Access{Value: true}
	k.wantAccess("a", read, "abc 40 XW")
	k.wantAccess("a", read, "abc 40 FXZ")
	done, err = k.Invalidate(ctx, k.now(), k.key("a"), &Write{PreserveExpiry: true})
	k.wantErr(err, nil)
	k.wantAccess("a", read, "abc 40 FXW")
	if _, _, err := k.Counter(ctx, k.now(), k.key("a"), &Count{}); err == nil {
		t.Error("abc was counted")
	}
	if _, err := k.Append(ctx, k.now(), k.key("a"), &Write{Value: []byte("d"), CAS: done.CAS}); err != nil {
		t.Error(err)
	}
	k.wantAccess("a", read, "abcd 40 ")
	_, v, err := k.GetAndLock(ctx, k.now(), k.key("a"), 10, nil)
	if err != nil || string(v) != "abcd" {
		t.Errorf("%s, %v", v, err)
	}
	_, err = k.Invalidate(ctx, k.now(), k.key("a"), &Write{})
	k.wantErr(err, ErrLocked)
	_, _, err = k.access("a", Access{Touch: true, Expiry: 5})
	k.wantErr(err, ErrLocked)
}

// TestStaleRules: what a store may do in spite of its CAS, and what comes of it.
func TestStaleRules(t *testing.T) {
	k := newKit(t)
	ctx := t.Context()
	first := k.set("a", "one")
	second, err := k.Set(ctx, k.now(), k.key("a"), &Write{Value: []byte("two"), Expiry: 70})
	k.wantErr(err, nil)
	_, err = k.Set(ctx, k.now(), k.key("a"), &Write{Value: []byte("bad"), CAS: first.CAS})
	k.wantErr(err, ErrCASMismatch)
	_, err = k.Set(ctx, k.now(), k.key("a"), &Write{Value: []byte("bad"), CAS: second.CAS + 1<<20, Stale: StaleIfOlder})
	k.wantErr(err, ErrCASMismatch)
	_, err = k.Set(ctx, k.now(), k.key("b"), &Write{Value: []byte("bad"), CAS: first.CAS, Stale: StaleIfOlder})
	k.wantErr(err, ErrNotFound)
	_, err = k.Set(ctx, k.now(), k.key("a"), &Write{Value: []byte("old"), CAS: first.CAS, Stale: StaleIfOlder, Expiry: 5})
	k.wantErr(err, nil)
	k.wantAccess("a", Access{Value: true}, "old 70 XW")
	third, err := k.Set(ctx, k.now(), k.key("a"), &Write{Value: []byte("old2"), CAS: first.CAS, Stale: StaleIfOlder})
	k.wantErr(err, nil)
	k.wantAccess("a", Access{Value: true}, "old2 70 XZ")
	_, err = k.Set(ctx, k.now(), k.key("a"), &Write{Value: []byte("new"), CAS: third.CAS, Stale: StaleIfOlder})
	k.wantErr(err, nil)
	k.wantAccess("a", Access{Value: true}, "new -1 ")
	_, err = k.Replace(ctx, k.now(), k.key("a"), &Write{Stale: StaleAlways})
	k.wantErr(err, nil)
	k.wantAccess("a", Access{Value: true}, " -1 XW")
}

// TestCounterTouches: a counter can get another expiry with the count, and tells both.
func TestCounterTouches(t *testing.T) {
	k := newKit(t)
	now := k.now().Unix()
	c := &Count{Delta: 2, Initial: 5, Create: true, Expiry: 30, Touch: true, NewExpiry: 90}
	n, _, err := k.Counter(t.Context(), k.now(), k.key("n"), c)
	if err != nil || n != 5 || c.Before != now+30 || c.After != now+30 {
		t.Errorf("made %d, %v, %+v", n, err, c)
	}
	n, _, err = k.Counter(t.Context(), k.now(), k.key("n"), c)
	if err != nil || n != 7 || c.Before != now+30 || c.After != now+90 {
		t.Errorf("counted %d, %v, %+v", n, err, c)
	}
	c.Touch = false
	if _, _, err = k.Counter(t.Context(), k.now(), k.key("n"), c); err != nil || c.Before != now+90 || c.After != now+90 {
		t.Errorf("%v, %+v", err, c)
	}
}

// TestSizes: Append and Prepend tell how long the body has become.
func TestSizes(t *testing.T) {
	k := newKit(t)
	k.set("a", "abc")
	w := &Write{Value: []byte("de")}
	if _, err := k.Append(t.Context(), k.now(), k.key("a"), w); err != nil || w.Size != 5 {
		t.Errorf("size %d, %v", w.Size, err)
	}
	if _, err := k.Prepend(t.Context(), k.now(), k.key("a"), w); err != nil || w.Size != 7 {
		t.Errorf("size %d, %v", w.Size, err)
	}
}

// TestMarksStayInMemory: the marks of access.go survive the ejection of the value, and reach neither the feed nor the disk.
func TestMarksStayInMemory(t *testing.T) {
	fs := disk.NewMemory()
	l := live(t, fs)
	r, err := l.Open(openOptions("marks"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	l.set("a", "abc")
	if _, err := l.Invalidate(t.Context(), l.now(), l.key("a"), &Write{PreserveExpiry: true}); err != nil {
		t.Fatal(err)
	}
	l.wantAccess("a", Access{}, " -1 XW")
	l.saved()
	if n := l.ejectAll(); n != 1 {
		t.Fatalf("%d values left memory", n)
	}
	l.wantAccess("a", Access{Unseen: true}, " -1 FXZ")
	l.wantAccess("a", Access{Value: true}, "abc -1 FXZ")

	if err := r.Add(0, vbucket.Position{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var b change.Batch
	for len(b.Mutations) == 0 {
		if err := r.Next(ctx, &b); err != nil {
			t.Fatal(err)
		}
	}
	m := b.Mutations[0]
	if m.Op != change.OpMutation || m.Datatype != 0 || m.Durability != 0 || string(m.Value) != "abc" {
		t.Errorf("the feed has %+v", m)
	}
	l.end()

	next := live(t, fs)
	next.wantAccess("a", Access{Value: true}, "abc -1 ")
}
