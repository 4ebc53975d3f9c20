package vbucket_test

import (
	"fmt"
	"testing"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// TestOf checks the placement of keys against vectors that clients agree on (wire.md 3.7).
func TestOf(t *testing.T) {
	for _, c := range []struct {
		key   string
		count int
		want  vbucket.ID
	}{
		{"hello", 1024, 528},
		{"foo", 1024, 115},
		{"counter", 1024, 290},
		{"airline_10", 1024, 361},
		{"city:0001", 1024, 256},
		{"hello", 64, 16},
		{"foo", 64, 51},
		{"anything", 1, 0},
	} {
		if got := vbucket.Of([]byte(c.key), c.count); got != c.want {
			t.Errorf("Of(%q, %d) = %d, want %d", c.key, c.count, got, c.want)
		}
	}
}

func TestValidCount(t *testing.T) {
	for n := -2; n <= 2048; n++ {
		want := false
		for p := 1; p <= 1024; p *= 2 {
			want = want || n == p
		}
		if got := vbucket.ValidCount(n); got != want {
			t.Errorf("ValidCount(%d) = %v, want %v", n, got, want)
		}
	}
}

// TestShared walks the decision where a reader continues, over a history of three branches: 100 from 0, 200 from 10 and
// 300 from 20, high 30, purged up to 5.
func TestShared(t *testing.T) {
	log := vbucket.FailoverLog{}.Begin(100, 0).Begin(200, 10).Begin(300, 20)
	for _, c := range []struct {
		at   vbucket.Position
		want vbucket.Seqno
		why  string
	}{
		{vbucket.Position{UUID: 300, Seqno: 25}, 25, "on the newest branch"},
		{vbucket.Position{UUID: 300, Seqno: 31}, 30, "ahead of us: our high is all we share"},
		{vbucket.Position{UUID: 200, Seqno: 15}, 15, "on the middle branch, before it ended"},
		{vbucket.Position{UUID: 200, Seqno: 25}, 20, "beyond the end of the middle branch"},
		{vbucket.Position{UUID: 100, Seqno: 15}, 10, "beyond the end of the first branch"},
		{vbucket.Position{UUID: 100, Seqno: 3}, 0, "below the purge mark: deletions may be missed"},
		{vbucket.Position{UUID: 999, Seqno: 15}, 0, "an unknown branch"},
		{vbucket.Position{UUID: 999, Seqno: 0}, 0, "anyone may begin"},
	} {
		if got := log.Shared(c.at, 30, 5); got != c.want {
			t.Errorf("Shared(%v) = %d, want %d: %s", c.at, got, c.want, c.why)
		}
	}
}

// TestBegin checks that a new branch hides what it cut off and that the log stays bounded.
func TestBegin(t *testing.T) {
	log := vbucket.FailoverLog{}.Begin(1, 0).Begin(2, 10).Begin(3, 20).Begin(4, 15)
	if got, want := fmt.Sprint(log), "[{4 15} {2 10} {1 0}]"; got != want {
		t.Errorf("after a branch below the newest: %s, want %s", got, want)
	}
	again := log.Begin(5, 15)
	if got, want := fmt.Sprint(again), "[{5 15} {4 15} {2 10} {1 0}]"; got != want {
		t.Errorf("after a second branch at the same seqno: %s, want %s", got, want)
	}
	if log.Current() != 4 || again.Current() != 5 || (vbucket.FailoverLog{}).Current() != 0 {
		t.Error("Current is not the newest branch")
	}
	if end, known := again.End(4, 30); !known || end != 15 {
		t.Errorf("the branch that ended where it began ends at %d (known: %v), want 15", end, known)
	}
	for i := range 100 { // deaths without a write between them push out each other, not history
		again = again.Begin(vbucket.UUID(2000+i), 15)
	}
	if got, want := fmt.Sprint(again[len(again)-2:]), "[{2 10} {1 0}]"; len(again) != vbucket.MaxFailoverEntries || got != want {
		t.Errorf("after many deaths: %d entries, the oldest %s, want %s", len(again), got, want)
	}
	for i := range 100 {
		log = log.Begin(vbucket.UUID(1000+i), vbucket.Seqno(100+i))
	}
	if last := log.Begin(7, 199); last[1].UUID != 1099 {
		t.Errorf("a full log forgot the branch that ends now: %v", last[:3])
	}
	if len(log) != vbucket.MaxFailoverEntries || log[0].UUID != 1099 {
		t.Errorf("%d entries, newest %d; want %d, 1099", len(log), log[0].UUID, vbucket.MaxFailoverEntries)
	}
}

func TestNewer(t *testing.T) {
	old := &vbucket.Assignment{RevEpoch: 1, Rev: 7}
	for _, c := range []struct {
		epoch, rev int64
		want       bool
	}{{1, 8, true}, {1, 7, false}, {2, 1, true}, {0, 99, false}} {
		a := &vbucket.Assignment{RevEpoch: c.epoch, Rev: c.rev}
		if got := a.Newer(old); got != c.want {
			t.Errorf("(%d, %d) newer than (1, 7) = %v, want %v", c.epoch, c.rev, got, c.want)
		}
	}
	if !old.Newer(nil) {
		t.Error("anything is newer than nothing")
	}
}
