package main

import (
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// story makes a round in which key k got three acknowledged versions at the seqnos 1, 2 and 3 of history 7 and one that
// was not answered, persisted up to 2; the restart ended that history at 2.
func story() (*round, *found) {
	r := newRound()
	for i := range vbucket.Seqno(4) {
		o := &op{id: uint64(i) + 1, vb: 5, key: "k", value: string(rune('a' + i))}
		r.issue(o)
		if i < 3 {
			r.ack(o, 7, i+1, vbucket.CAS(100+i))
		}
	}
	r.show(5, vbucket.Position{UUID: 7, Seqno: 2})
	return r, &found{
		logs:      map[vbucket.ID]vbucket.FailoverLog{5: {{UUID: 8, Seqno: 2}, {UUID: 7, Seqno: 0}}},
		high:      map[vbucket.ID]vbucket.Seqno{5: 2},
		documents: map[string]document{"k": {found: true, value: "b", cas: 101}},
	}
}

// TestCheckAccepts: losing what was above S is legal after a kill.
func TestCheckAccepts(t *testing.T) {
	r, f := story()
	c := newChecker()
	if got := c.check(r, f); len(got) != 0 {
		t.Errorf("breaches of a good story: %q", got)
	}
	if c.lost != 1 || c.kept != 2 {
		t.Errorf("lost %d, kept %d; want 1, 2", c.lost, c.kept)
	}
}

// TestCheckNotices plants one breach at a time and demands that it is named.
func TestCheckNotices(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*round, *found)
		want   string
	}{
		"an older version":        {func(_ *round, f *found) { f.documents["k"] = document{true, "a", 100} }, "found"},
		"a newer version":         {func(_ *round, f *found) { f.documents["k"] = document{true, "c", 102} }, "found"},
		"the unanswered one":      {func(_ *round, f *found) { f.documents["k"] = document{true, "d", 103} }, "found"},
		"no document":             {func(_ *round, f *found) { delete(f.documents, "k") }, "found"},
		"another CAS":             {func(_ *round, f *found) { f.documents["k"] = document{true, "b", 999} }, "found"},
		"a document from nowhere": {func(_ *round, f *found) { f.documents["x"] = document{true, "x", 1} }, "key x"},
		"shown but lost":          {func(r *round, _ *found) { r.show(5, vbucket.Position{UUID: 7, Seqno: 3}) }, "shown as persisted"},
		"durable but lost":        {func(r *round, _ *found) { r.mu.ops["k"][2].level = 3 }, "acknowledged at level 3"},
		"lost by a clean stop":    {func(_ *round, f *found) { f.clean = true }, "lost by a clean stop"},
		"a CAS twice":             {func(r *round, _ *found) { r.mu.ops["k"][2].cas = 101 }, "CAS 101"},
		"a seqno twice":           {func(r *round, _ *found) { r.mu.ops["k"][2].seqno = 2 }, "names operations"},
		"history forgotten":       {func(_ *round, f *found) { f.logs[5] = f.logs[5][:1] }, "known: false"},
	} {
		t.Run(name, func(t *testing.T) {
			r, f := story()
			c.change(r, f)
			got := strings.Join(newChecker().check(r, f), "\n")
			if !strings.Contains(got, c.want) {
				t.Errorf("breaches %q, want one with %q", got, c.want)
			}
		})
	}
}

// TestCheckRemembers: what one restart showed must still be there after the next.
func TestCheckRemembers(t *testing.T) {
	r, f := story()
	c := newChecker()
	c.check(r, f)
	next := *f
	next.documents = map[string]document{}
	if got := c.check(newRound(), &next); len(got) != 1 || !strings.Contains(got[0], "key k") {
		t.Errorf("a document that vanished over an idle round: %q", got)
	}
}

// TestCheckUnansweredMayLive: an unanswered write after which nothing was lost may have taken effect or not.
func TestCheckUnansweredMayLive(t *testing.T) {
	for _, value := range []string{"c", "d"} {
		r, f := story()
		f.logs[5] = vbucket.FailoverLog{{UUID: 8, Seqno: 4}, {UUID: 7, Seqno: 0}}
		f.high[5] = 4
		f.documents["k"] = document{found: true, value: value}
		if got := newChecker().check(r, f); len(got) != 0 {
			t.Errorf("found %q: %q", value, got)
		}
	}
}
