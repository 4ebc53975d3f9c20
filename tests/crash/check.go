package main

import (
	"fmt"
	"slices"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// checker holds what must hold over all rounds: nothing is named twice, and each restart shows a prefix of history.
type checker struct {
	base   map[string]document // what the last restart showed
	stamps map[stamp]uint64    // CAS → id of the operation that it was given to
	places map[place]uint64    // (UUID, seqno) → id of the operation that it names
	lost   int                 // acknowledged plain writes that were above S: legal, counted for the report
	kept   int                 // acknowledged writes that were found
}

func newChecker() *checker {
	return &checker{base: map[string]document{}, stamps: map[stamp]uint64{}, places: map[place]uint64{}}
}

// check compares what a restart showed with what the round was told, and returns every breach as a sentence. What it
// found becomes the base of the next round.
func (c *checker) check(r *round, f *found) []string {
	var breaches []string
	say := func(format string, args ...any) { breaches = append(breaches, fmt.Sprintf(format, args...)) }
	for _, key := range sortedKeys(r.mu.ops) {
		for _, o := range r.mu.ops[key] {
			if o.acked {
				c.unique(o, say)
			}
		}
	}
	for vb, shown := range r.mu.shown {
		if end, known := f.logs[vb].End(shown.UUID, f.high[vb]); !known || end < shown.Seqno {
			say("vb %d: seqno %d of history %x was shown as persisted, the restart has it up to %d (known: %v)", vb, shown.Seqno,
				shown.UUID, end, known)
		}
	}
	keys := map[string]bool{}
	for key := range r.mu.ops {
		keys[key] = true
	}
	for key := range f.documents {
		keys[key] = true
	}
	for key := range c.base {
		keys[key] = true
	}
	for _, key := range sortedKeys(keys) {
		c.key(key, r.mu.ops[key], f, say)
	}
	c.base = f.documents
	return breaches
}

// unique notes the names that the server gave to an acknowledged operation and says if one was given before.
func (c *checker) unique(o *op, say func(string, ...any)) {
	if other, taken := c.stamps[stamp{o.vb, o.cas}]; taken && other != o.id {
		say("vb %d: CAS %d was given to operations %d and %d", o.vb, o.cas, other, o.id)
	}
	c.stamps[stamp{o.vb, o.cas}] = o.id
	if o.uuid == 0 {
		return
	}
	if other, taken := c.places[place{o.vb, o.uuid, o.seqno}]; taken && other != o.id {
		say("vb %d: seqno %d of history %x names operations %d and %d", o.vb, o.seqno, o.uuid, other, o.id)
	}
	c.places[place{o.vb, o.uuid, o.seqno}] = o.id
}

// key checks that a key holds the newest of its versions at or below S, where S is the end of the branch that was written
// before the crash.
func (c *checker) key(key string, ops []*op, f *found, say func(string, ...any)) {
	got := f.documents[key]
	want := []document{c.base[key]}
	pending := (*op)(nil)
	survivors, acked := 0, 0
	for _, o := range ops {
		if !o.acked {
			pending = o
			continue
		}
		acked++
		end, known := f.logs[o.vb].End(o.uuid, f.high[o.vb])
		lives := known && o.seqno <= end
		switch {
		case lives && survivors < acked-1:
			say("key %s: seqno %d survived, an older version of it did not", key, o.seqno)
		case lives:
			survivors++
			want = []document{o.result()}
		case o.level >= persistLevel:
			say("key %s: operation %d was acknowledged at level %d with seqno %d, the restart ends at %d", key, o.id, o.level,
				o.seqno, end)
		case f.clean:
			say("key %s: operation %d (seqno %d) was lost by a clean stop that ends at %d", key, o.id, o.seqno, end)
		default:
			c.lost++
		}
	}
	c.kept += survivors
	if pending != nil && survivors == acked {
		want = append(want, pending.result())
	}
	if !slices.ContainsFunc(want, got.agrees) {
		say("key %s: found %+v, want one of %+v", key, got, want)
		return
	}
	if pending != nil && got.found && got.agrees(pending.result()) {
		o := *pending
		o.cas, o.uuid = got.cas, 0
		c.unique(&o, say)
	}
}

// result is what a reader finds when o was the last operation on its key.
func (o *op) result() document {
	return document{found: o.kind != kindDelete, value: o.value, cas: o.cas}
}

// agrees reports whether two observations of a document can be of the same version. A CAS of 0 is unknown.
func (d document) agrees(e document) bool {
	if !d.found || !e.found {
		return d.found == e.found
	}
	return d.value == e.value && (d.cas == e.cas || d.cas == 0 || e.cas == 0)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// vBuckets lists the vBuckets that a round wrote to.
func (r *round) vBuckets() map[vbucket.ID]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	set := map[vbucket.ID]bool{}
	for _, ops := range r.mu.ops {
		for _, o := range ops {
			set[o.vb] = true
		}
	}
	return set
}
