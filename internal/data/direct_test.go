package data_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// TestDirect reads, writes and deletes past the ports, in the default collection and another one, and refuses places that do
// not exist.
func TestDirect(t *testing.T) {
	p := run(t, disk.NewMemory())
	a := assignment(1, "shop")
	a.Buckets[0].Manifest = spec.Manifest{UID: 3, Scopes: []spec.Scope{
		{Name: "_default", Collections: []spec.Collection{{Name: "_default"}}},
		{Name: "s", ID: 8, Collections: []spec.Collection{{Name: "c", ID: 8}}},
	}}
	p.apply(a)
	ctx := t.Context()
	for _, place := range []data.Place{{Bucket: "shop"}, {Bucket: "shop", Scope: "s", Collection: "c"}} {
		const value = `{"a":1}`
		if err := p.Write(ctx, place, "k", data.Document{Value: []byte(value), Flags: 7}); err != nil {
			t.Fatal(err)
		}
		d, found, err := p.Read(ctx, place, "k")
		if err != nil || !found || string(d.Value) != value || d.Flags != 7 || !d.JSON || d.CAS == 0 {
			t.Errorf("%+v: %+v, %v, %v", place, d, found, err)
		}
		for _, want := range []bool{true, false} {
			if was, err := p.Erase(ctx, place, "k"); was != want || err != nil {
				t.Errorf("%+v: erased %v, %v; want %v", place, was, err, want)
			}
		}
		if _, found, err := p.Read(ctx, place, "k"); found || err != nil {
			t.Errorf("%+v: found %v, %v after it was erased", place, found, err)
		}
	}
	var unknown *spec.UnknownCollectionError
	var scope *spec.UnknownScopeError
	if err := p.Write(ctx, data.Place{Bucket: "none"}, "k", data.Document{}); !errors.Is(err, data.ErrNoBucket) {
		t.Errorf("no bucket: %v", err)
	}
	if _, _, err := p.Read(ctx, data.Place{Bucket: "shop", Scope: "x"}, "k"); !errors.As(err, &scope) {
		t.Errorf("no scope: %v", err)
	}
	if _, err := p.Erase(ctx, data.Place{Bucket: "shop", Collection: "x"}, "k"); !errors.As(err, &unknown) {
		t.Errorf("no collection: %v", err)
	}
	for _, key := range []string{"", strings.Repeat("k", 251)} {
		if err := p.Write(ctx, data.Place{Bucket: "shop"}, key, data.Document{}); err == nil {
			t.Errorf("a key of %d bytes was taken", len(key))
		}
	}
}

// TestSnapshotOfNode: all buckets go back together; one that came since is emptied, and without one that is gone nothing is
// touched.
func TestSnapshotOfNode(t *testing.T) {
	p := run(t, disk.NewMemory())
	p.apply(assignment(1, "a", "b"))
	write := func(bucket, value string) {
		t.Helper()
		if err := p.Write(t.Context(), data.Place{Bucket: bucket}, "k", data.Document{Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
	}
	wants := func(bucket, value string) {
		t.Helper()
		d, found, err := p.Read(t.Context(), data.Place{Bucket: bucket}, "k")
		if err != nil || string(d.Value) != value || found != (value != "") {
			t.Errorf("%s: %q, found %v, %v; want %q", bucket, d.Value, found, err, value)
		}
	}
	write("a", "1")
	s, err := p.Snapshot(t.Context())
	if err != nil || s.Documents() != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	p.apply(assignment(2, "a", "b", "c"))
	write("a", "2")
	write("b", "2")
	write("c", "2")
	if err := p.Restore(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	wants("a", "1")
	wants("b", "")
	wants("c", "")
	p.apply(assignment(3, "a", "c"))
	write("a", "3")
	if err := p.Restore(t.Context(), s); !errors.Is(err, data.ErrNoBucket) {
		t.Errorf("without bucket b: %v", err)
	}
	wants("a", "3")
}

// TestSweepOfNode: what has expired in any bucket is found at once.
func TestSweepOfNode(t *testing.T) {
	p := run(t, disk.NewMemory())
	p.apply(assignment(1, "a", "b"))
	past := uint32(time.Now().Add(-time.Hour).Unix())
	for _, bucket := range []string{"a", "b"} {
		if err := p.Write(t.Context(), data.Place{Bucket: bucket}, "k", data.Document{Expiry: past}); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.Sweep(t.Context()); n != 2 {
		t.Errorf("%d documents have expired, want 2", n)
	}
	p.await("no documents", func(r *vbucket.Report) bool { return r.Buckets[0].Items+r.Buckets[1].Items == 0 })
}
