package metrics

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Counters is a family of counters.
type Counters struct{ *members[Counter] }

// Gauges is a family of gauges.
type Gauges struct{ *members[Gauge] }

// Histograms is a family of histograms.
type Histograms struct{ *members[Histogram] }

// Counters registers a family of counters. It panics if the description is wrong or the name is taken.
func (s *Set) Counters(d Desc) *Counters {
	d.Kind = KindCounter
	f := &Counters{newMembers(d, func(c *Counter) Series { return Series{Value: float64(c.Value())} })}
	s.register(d, f)
	return f
}

// Gauges registers a family of gauges. It panics if the description is wrong or the name is taken.
func (s *Set) Gauges(d Desc) *Gauges {
	d.Kind = KindGauge
	f := &Gauges{newMembers(d, func(g *Gauge) Series { return Series{Value: g.Value()} })}
	s.register(d, f)
	return f
}

// Histograms registers a family of histograms of durations. It panics if the description is wrong or the name is taken.
func (s *Set) Histograms(d Desc) *Histograms {
	d.Kind, d.Unit = KindHistogram, Seconds
	f := &Histograms{newMembers(d, func(h *Histogram) Series {
		v := h.Snapshot()
		return Series{Histogram: &v}
	})}
	s.register(d, f)
	return f
}

// members keeps one M for each combination of label values.
type members[M any] struct {
	desc Desc
	read func(*M) Series
	mu   struct {
		sync.Mutex
		byKey map[string]*M
		list  []member[M]           // in order of creation
		seen  []map[string]struct{} // the values of each label so far
	}
}

type member[M any] struct {
	values []string
	m      *M
}

func newMembers[M any](d Desc, read func(*M) Series) *members[M] {
	f := &members[M]{desc: d, read: read}
	f.mu.byKey = make(map[string]*M)
	f.mu.seen = make([]map[string]struct{}, len(d.Labels))
	for i := range f.mu.seen {
		f.mu.seen[i] = make(map[string]struct{})
	}
	return f
}

// With finds or makes the member with these label values, in the order of Desc.Labels. Callers on hot paths keep what it
// returns. It panics when the number of values is wrong.
func (f *members[M]) With(values ...string) *M {
	if len(values) != len(f.desc.Labels) {
		panic(fmt.Sprintf("metrics: %s takes %d label values, got %q", f.desc.Name, len(f.desc.Labels), values))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	values = slices.Clone(values)
	for i, v := range values {
		seen := f.mu.seen[i]
		limit := f.desc.Labels[i].Max
		if limit == 0 {
			limit = defaultMaxLabel
		}
		if _, ok := seen[v]; !ok && len(seen) >= limit {
			values[i] = Other
			continue
		}
		seen[v] = struct{}{}
	}
	key := strings.Join(values, "\x00")
	if m := f.mu.byKey[key]; m != nil {
		return m
	}
	m := new(M)
	f.mu.byKey[key] = m
	f.mu.list = append(f.mu.list, member[M]{values, m})
	return m
}

// Forget drops the members whose label i has the value v, when the thing that they counted is gone.
func (f *members[M]) Forget(i int, v string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.mu.seen[i], v)
	f.mu.list = slices.DeleteFunc(slices.Clone(f.mu.list), func(m member[M]) bool {
		if m.values[i] != v {
			return false
		}
		delete(f.mu.byKey, strings.Join(m.values, "\x00"))
		return true
	})
}

func (f *members[M]) appendTo(s *Snapshot) {
	f.mu.Lock()
	list := f.mu.list
	f.mu.Unlock()
	series := make([]Series, 0, len(list))
	for _, m := range list {
		one := f.read(m.m)
		one.Labels = m.values
		series = append(series, one)
	}
	s.Append(f.desc, series...)
}
