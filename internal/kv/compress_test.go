package kv

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/change/changetest"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
)

// TestCompress makes blocks of what is in memory while a reader is in the middle of a snapshot: documents and feed are the
// same, memory is less.
func TestCompress(t *testing.T) {
	k := newKit(t, func(o *Options) { o.Spec.Compression = spec.CompressActive })
	s, h := k.subject(), changetest.NewHistory()
	r, err := k.Open(openOptions("reader"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.(*reader).most = 500
	f := changetest.NewFollower(r, h)
	if err := f.Add(0); err != nil {
		t.Fatal(err)
	}
	body := func(i int) string { return fmt.Sprint(i, strings.Repeat(" body", 100)) }
	for i := range 50 {
		key := fmt.Sprint("doc", i)
		h.Note(0, changetest.Version{Seqno: s.Set(0, key, body(i)), Key: key, Value: body(i)})
	}
	if _, err := f.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, rev := k.Memory().Items, k.vbs[0].mu.high
	if saved := k.compressVBucket(t.Context(), &k.vbs[0]); saved != before-k.Memory().Items || saved < before/2 {
		t.Errorf("saved %d bytes of %d, %d are left", saved, before, k.Memory().Items)
	}
	if k.vbs[0].mu.high != rev {
		t.Error("compressing took a seqno")
	}
	if err := f.UntilHigh(t.Context(), 0, 50); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		m, v, err := k.get(fmt.Sprint("doc", i))
		plain, inflating := value.Inflate(nil, []byte(v))
		if err != nil || inflating != nil || m.Datatype != value.Snappy || string(plain) != body(i) || m.Rev != 1 {
			t.Fatalf("doc%d: %+v, %v, %v", i, m, err, inflating)
		}
	}
	if saved := k.compressVBucket(t.Context(), &k.vbs[0]); saved != 0 {
		t.Errorf("a second pass saved %d bytes", saved)
	}
	k.wantBooks()
}

// TestCompressOnDisk: with a store, values are blocks from the moment they are written: in memory, on disk, and after they
// were fetched again and after a restart. Small ones, and those that do not shrink, are kept as they came.
func TestCompressOnDisk(t *testing.T) {
	fs := disk.NewMemory()
	active := func(o *Options) { o.Spec.Compression = spec.CompressActive }
	l := live(t, fs, active)
	long := strings.Repeat("compressible ", 200)
	noise := make([]byte, 2000)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	want := map[string]struct {
		value string
		block bool
	}{"long": {long, true}, "short": {"short", false}, "noise": {string(noise), false}}
	for name, w := range want {
		l.durable(name, w.value)
	}
	check := func(when string) {
		t.Helper()
		for name, w := range want {
			m, v, err := l.get(name)
			if err != nil || (m.Datatype&value.Snappy != 0) != w.block || w.block && len(v) > len(w.value)/2 {
				t.Errorf("%s: %s has datatype %d, %d bytes, %v", when, name, m.Datatype, len(v), err)
			}
			if w.block {
				plain, err := value.Inflate(nil, []byte(v))
				if err != nil {
					t.Errorf("%s: %s: %v", when, name, err)
				}
				v = string(plain)
			}
			if v != w.value {
				t.Errorf("%s: %s holds another value", when, name)
			}
		}
		l.wantBooks()
	}
	check("written")
	if n := l.ejectAll(); n != len(want) {
		t.Errorf("%d values left memory, want %d", n, len(want))
	}
	check("fetched")
	l.whole()
	l.end()
	l = live(t, fs, active)
	check("restarted")
}
