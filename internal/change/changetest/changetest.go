// Package changetest holds every change.Feed to the rules of package change. A test of a feed makes a Subject and calls Run;
// the same checks are available one by one through Follower, for tests with a schedule of their own.
//
// A History is the oracle: it is told each write with the seqno that it got, and knows the state of a vBucket at any seqno.
// A Follower is a reader's consumer: it applies batches to a copy of the documents, complains of everything that breaks a
// rule, and at the end of each snapshot compares its copy with the History.
//
// Read follower.go for the rules, then run.go for the schedules.
package changetest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// Version is one document version as the History knows it.
type Version struct {
	Seqno   vbucket.Seqno
	Key     string
	Value   string
	Deleted bool
}

// History records what was written to the vBuckets of a feed. It may be used from any goroutine.
type History struct {
	mu struct {
		sync.Mutex
		versions map[vbucket.ID][]Version // in the order of their seqnos
	}
}

// NewHistory gives an empty history.
func NewHistory() *History {
	h := &History{}
	h.mu.versions = map[vbucket.ID][]Version{}
	return h
}

// Note records a write. It may come late and out of order, but before a follower has completed a snapshot with it.
func (h *History) Note(vb vbucket.ID, v Version) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.mu.versions[vb]
	i := len(list)
	for i > 0 && list[i-1].Seqno > v.Seqno {
		i--
	}
	h.mu.versions[vb] = slices.Insert(list, i, v)
}

// At gives the newest version of each key at or below a seqno.
func (h *History) At(vb vbucket.ID, high vbucket.Seqno) map[string]Version {
	h.mu.Lock()
	defer h.mu.Unlock()
	state := map[string]Version{}
	for _, v := range h.mu.versions[vb] {
		if v.Seqno > high {
			break
		}
		state[v.Key] = v
	}
	return state
}

// High is the highest seqno that was noted.
func (h *History) High(vb vbucket.ID) vbucket.Seqno {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.mu.versions[vb]
	if len(list) == 0 {
		return 0
	}
	return list[len(list)-1].Seqno
}

// Count tells how many writes at or below a seqno were noted.
func (h *History) Count(vb vbucket.ID, high vbucket.Seqno) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.mu.versions[vb]
	n, _ := slices.BinarySearchFunc(list, high+1, func(v Version, s vbucket.Seqno) int { return cmp.Compare(v.Seqno, s) })
	return n
}

// difference says in what got differs from want, for people. It is empty if they are the same.
func difference(got, want map[string]Version) string {
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[k]; !ok || g != want[k] {
			return fmt.Sprintf("of %q there is %+v (there at all: %v), want %+v", k, g, ok, want[k])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			return fmt.Sprintf("there is %+v, which was never written", got[k])
		}
	}
	return ""
}
