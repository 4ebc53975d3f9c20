// Package storetest is the conformance test of store.Store: whatever passes it can stand behind the cluster plane.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/charpoy/charpoy/internal/cluster/store"
)

// Run tests a kind of store. open gives an empty one; reopen gives one that must hold what the closed one before it held, or
// is nil if the kind forgets.
func Run(t *testing.T, open func(t *testing.T) store.Store, reopen func(t *testing.T) store.Store) {
	t.Helper()
	t.Run("keys", func(t *testing.T) { testKeys(t, open(t)) })
	t.Run("conditions", func(t *testing.T) { testConditions(t, open(t)) })
	t.Run("limits", func(t *testing.T) { testLimits(t, open(t)) })
	t.Run("list", func(t *testing.T) { testList(t, open(t)) })
	t.Run("watch", func(t *testing.T) { testWatch(t, open(t)) })
	t.Run("slow watcher", func(t *testing.T) { testSlowWatcher(t, open(t)) })
	t.Run("concurrent", func(t *testing.T) { testConcurrent(t, open(t)) })
	t.Run("close", func(t *testing.T) { testClose(t, open(t)) })
	if reopen != nil {
		t.Run("reopen", func(t *testing.T) { testReopen(t, open(t), reopen) })
	}
}

func put(t *testing.T, s store.Store, pairs ...string) store.Revision {
	t.Helper()
	var x store.Txn
	for i := 0; i < len(pairs); i += 2 {
		x.Puts = append(x.Puts, store.Put{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	rev, err := s.Txn(t.Context(), x)
	if err != nil {
		t.Fatalf("put %q: %v", pairs, err)
	}
	return rev
}

// Keys keep value and revisions; revisions rise by transactions; values are copied on the way in.
func testKeys(t *testing.T, s store.Store) {
	t.Helper()
	ctx := t.Context()
	if _, err := s.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of nothing: %v, want ErrNotFound", err)
	}
	value := []byte("one")
	r1, err := s.Txn(ctx, store.Txn{Puts: []store.Put{{Key: "a", Value: value}}})
	if err != nil || r1 < 1 {
		t.Fatalf("first transaction: revision %d, %v", r1, err)
	}
	value[0] = 'X'
	r2 := put(t, s, "a", "two", "b", "")
	if r2 <= r1 {
		t.Errorf("revisions do not rise: %d, then %d", r1, r2)
	}
	for _, want := range []store.Entry{
		{Key: "a", Value: []byte("two"), Created: r1, Modified: r2},
		{Key: "b", Created: r2, Modified: r2},
	} {
		got, err := s.Get(ctx, want.Key)
		if err != nil || got.Key != want.Key || string(got.Value) != string(want.Value) || got.Created != want.Created ||
			got.Modified != want.Modified {
			t.Errorf("Get %s = %+v, %v, want %+v", want.Key, got, err, want)
		}
	}
	if _, err := s.Txn(ctx, store.Txn{Delete: []string{"a", "never"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, "a"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Get of a deleted key: %v, want ErrNotFound", err)
	}
	r3 := put(t, s, "a", "three")
	if got, err := s.Get(ctx, "a"); err != nil || got.Created != r3 {
		t.Errorf("a key that was made again = %+v, %v, want it created at %d", got, err, r3)
	}
}

// A transaction happens as a whole or not at all.
func testConditions(t *testing.T, s store.Store) {
	t.Helper()
	ctx := t.Context()
	r := put(t, s, "a", "1")
	f := func(want error, conditions ...store.Condition) {
		t.Helper()
		_, before, err := s.List(ctx, "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Txn(ctx, store.Txn{If: conditions, Puts: []store.Put{{Key: "x", Value: []byte("y")}}})
		if !errors.Is(err, want) {
			t.Errorf("conditions %+v: %v, want %v", conditions, err, want)
		}
		_, after, err := s.List(ctx, "")
		if err != nil || (want == nil) != (after > before) {
			t.Errorf("conditions %+v: revision %d, then %d, %v", conditions, before, after, err)
		}
	}
	f(store.ErrConflict, store.Condition{Key: "a", Modified: 0})
	f(store.ErrConflict, store.Condition{Key: "a", Modified: r + 1})
	f(store.ErrConflict, store.Condition{Key: "b", Modified: r})
	f(store.ErrConflict, store.Condition{Key: "a", Modified: r}, store.Condition{Key: "a2", Modified: 7})
	if _, err := s.Get(ctx, "x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a refused transaction left x: %v", err)
	}
	f(nil, store.Condition{Key: "a", Modified: r}, store.Condition{Key: "b", Modified: 0})
}

// What exceeds a limit is refused and changes nothing.
func testLimits(t *testing.T, s store.Store) {
	t.Helper()
	many := make([]store.Put, store.MaxOps+1)
	for i := range many {
		many[i].Key = fmt.Sprint(i)
	}
	for name, x := range map[string]store.Txn{
		"value":     {Puts: []store.Put{{Key: "a", Value: make([]byte, store.MaxValue+1)}}},
		"key":       {Puts: []store.Put{{Key: strings.Repeat("k", store.MaxKey+1)}}},
		"empty key": {Puts: []store.Put{{}}},
		"delete":    {Delete: []string{strings.Repeat("k", store.MaxKey+1)}},
		"puts":      {Puts: many},
	} {
		if _, err := s.Txn(t.Context(), x); !errors.Is(err, store.ErrTooBig) {
			t.Errorf("%s: %v, want ErrTooBig", name, err)
		}
	}
	twice := store.Txn{Puts: []store.Put{{Key: "a"}}, Delete: []string{"a"}}
	if _, err := s.Txn(t.Context(), twice); err == nil {
		t.Error("a key named twice was accepted")
	}
	if list, _, err := s.List(t.Context(), ""); err != nil || len(list) > 0 {
		t.Errorf("refused transactions left %v, %v", list, err)
	}
	_, err := s.Txn(t.Context(), store.Txn{Puts: []store.Put{{Key: strings.Repeat("k", store.MaxKey), Value: make([]byte, store.MaxValue)}}})
	if err != nil {
		t.Errorf("the largest key and value: %v", err)
	}
}

// A list is sorted, holds the prefix only, and names its revision.
func testList(t *testing.T, s store.Store) {
	t.Helper()
	put(t, s, "b/2", "x", "a/1", "x", "b/1", "x", "b", "x")
	r := put(t, s, "c", "x")
	got, rev, err := s.List(t.Context(), "b/")
	if err != nil || rev != r {
		t.Fatalf("List: revision %d, %v, want %d", rev, err, r)
	}
	var keys []string
	for _, e := range got {
		keys = append(keys, e.Key)
	}
	if diff := cmp.Diff([]string{"b/1", "b/2"}, keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

// A watcher gets each transaction whole, in order, from the past on into the future.
func testWatch(t *testing.T, s store.Store) {
	t.Helper()
	ctx := t.Context()
	r0 := put(t, s, "w/a", "1", "other", "x")
	put(t, s, "other", "y")
	w, err := s.Watch(ctx, "w/", r0-1)
	if err != nil {
		t.Fatal(err)
	}
	f := func(want store.Batch) {
		t.Helper()
		got, err := w.Next(ctx)
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("batch (-want +got):\n%s", diff)
		}
	}
	f(store.Batch{Revision: r0, Changes: []store.Change{{Entry: store.Entry{Key: "w/a", Value: []byte("1"), Created: r0, Modified: r0}}}})
	var wait sync.WaitGroup
	var r2 store.Revision
	wait.Go(func() {
		put(t, s, "other", "z")
		r, err := s.Txn(ctx, store.Txn{Puts: []store.Put{{Key: "w/b", Value: []byte("2")}}, Delete: []string{"w/a", "other"}})
		if err != nil {
			t.Error(err)
		}
		r2 = r
	})
	got, err := w.Next(ctx)
	wait.Wait()
	want := store.Batch{Revision: r2, Changes: []store.Change{
		{Entry: store.Entry{Key: "w/a", Created: r0, Modified: r2}, Deleted: true},
		{Entry: store.Entry{Key: "w/b", Value: []byte("2"), Created: r2, Modified: r2}},
	}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("batch, %v (-want +got):\n%s", err, diff)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := w.Next(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Next with an ended context: %v, want Canceled", err)
	}
}

// Who lies too far behind is told so; who lies behind a little misses nothing.
func testSlowWatcher(t *testing.T, s store.Store) {
	t.Helper()
	ctx := t.Context()
	first := put(t, s, "k", "v")
	w, err := s.Watch(ctx, "", first)
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		put(t, s, "k", "v")
	}
	last := first
	for range 200 {
		b, err := w.Next(ctx)
		if err != nil || b.Revision != last+1 {
			t.Fatalf("after revision %d: %d, %v", last, b.Revision, err)
		}
		last = b.Revision
	}
	for behind := 0; ; behind++ {
		_, err := s.Watch(ctx, "", first)
		if errors.Is(err, store.ErrCompacted) {
			break
		}
		if err != nil || behind == 20000 {
			t.Fatalf("Watch from %d transactions behind: %v, want ErrCompacted at some time", behind, err)
		}
		put(t, s, "k", "v")
	}
	for range 200 { // and w, which stands at a later revision
		put(t, s, "k", "v")
	}
	if _, err := w.Next(ctx); !errors.Is(err, store.ErrCompacted) {
		t.Errorf("far behind: %v, want ErrCompacted", err)
	}
}

// Concurrent increments under conditions lose nothing.
func testConcurrent(t *testing.T, s store.Store) {
	t.Helper()
	const workers, each = 4, 25
	put(t, s, "n", "")
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for done := 0; done < each; {
				e, err := s.Get(t.Context(), "n")
				if err != nil {
					t.Error(err)
					return
				}
				_, err = s.Txn(t.Context(), store.Txn{
					If:   []store.Condition{{Key: "n", Modified: e.Modified}},
					Puts: []store.Put{{Key: "n", Value: append(slices.Clip(e.Value), '+')}},
				})
				if err == nil {
					done++
				} else if !errors.Is(err, store.ErrConflict) {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
	if e, err := s.Get(t.Context(), "n"); err != nil || len(e.Value) != workers*each {
		t.Errorf("%d increments arrived, %v, want %d", len(e.Value), err, workers*each)
	}
}

// A closed store says so, also to those who wait.
func testClose(t *testing.T, s store.Store) {
	t.Helper()
	ctx := t.Context()
	r := put(t, s, "a", "1")
	w, err := s.Watch(ctx, "", r)
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		if _, err := w.Next(ctx); !errors.Is(err, store.ErrClosed) {
			t.Errorf("Next over Close: %v, want ErrClosed", err)
		}
	})
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	wait.Wait()
	_, err1 := s.Get(ctx, "a")
	_, _, err2 := s.List(ctx, "")
	_, err3 := s.Txn(ctx, store.Txn{})
	_, err4 := s.Watch(ctx, "", r)
	for _, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("after Close: %v, want ErrClosed", err)
		}
	}
}

// A store that was closed and opened again holds the same, and its revisions go on.
func testReopen(t *testing.T, s store.Store, reopen func(t *testing.T) store.Store) {
	t.Helper()
	ctx := t.Context()
	put(t, s, "a", "1", "b", "2")
	put(t, s, "b", "3")
	if _, err := s.Txn(ctx, store.Txn{Delete: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	want, rev, err := s.List(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := reopen(t)
	got, rev2, err := again.List(ctx, "")
	if err != nil || rev2 != rev {
		t.Fatalf("after opening again: revision %d, %v, want %d", rev2, err, rev)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after opening again (-want +got):\n%s", diff)
	}
	if next := put(t, again, "c", "1"); next <= rev {
		t.Errorf("the revision after opening again is %d, not above %d", next, rev)
	}
}
