package metrics

import (
	"slices"
	"strings"
)

// Snapshot is a copy of numbers. It is a plain value: encode it with encoding/json, add others to it with Merge.
type Snapshot struct {
	Families []Family `json:"families"`
}

// Family is one family with its series.
type Family struct {
	Desc
	Series []Series `json:"series,omitempty"`
}

// Series is one member of a family. Labels are the values of Desc.Labels in order. Histogram is set for KindHistogram,
// Value for the others.
type Series struct {
	Labels    []string      `json:"labels,omitempty"`
	Value     float64       `json:"value,omitempty"`
	Histogram *Distribution `json:"histogram,omitempty"`
}

// Append adds a family, or series to the family of that name if the snapshot has it already. Whoever keeps its numbers
// outside of a Set uses it to hand them in.
func (s *Snapshot) Append(d Desc, series ...Series) {
	for i := range s.Families {
		if s.Families[i].Name == d.Name {
			s.Families[i].Series = append(s.Families[i].Series, series...)
			return
		}
	}
	s.Families = append(s.Families, Family{Desc: d, Series: series})
}

// Value appends one number to a family: short for Append with one Series.
func (s *Snapshot) Value(d Desc, v float64, labels ...string) {
	s.Append(d, Series{Labels: labels, Value: v})
}

// Find gives the family of that name, or nil.
func (s *Snapshot) Find(name string) *Family {
	for i := range s.Families {
		if s.Families[i].Name == name {
			return &s.Families[i]
		}
	}
	return nil
}

// Merge adds the numbers of o to s: counters, gauges and histograms with the same labels add up, others are taken over.
// Gauges add up because each process measures its own share. A family whose kind or labels differ from the one that s has
// comes from another version and is left out. o is not changed and shares no memory with s afterwards.
func (s *Snapshot) Merge(o *Snapshot) {
	for _, f := range o.Families {
		mine := s.Find(f.Name)
		if mine == nil {
			s.Families = append(s.Families, Family{Desc: f.Desc})
			mine = &s.Families[len(s.Families)-1]
		}
		if mine.Kind == f.Kind && slices.EqualFunc(mine.Labels, f.Labels, sameLabel) {
			mine.merge(f.Series)
		}
	}
}

func sameLabel(a, b Label) bool { return a.Name == b.Name }

func (f *Family) merge(series []Series) {
	index := make(map[string]int, len(f.Series))
	for i := range f.Series {
		index[strings.Join(f.Series[i].Labels, "\x00")] = i
	}
	for _, add := range series {
		key := strings.Join(add.Labels, "\x00")
		i, ok := index[key]
		if !ok {
			i = len(f.Series)
			index[key] = i
			f.Series = append(f.Series, Series{Labels: slices.Clone(add.Labels)})
		}
		f.Series[i].add(add)
	}
}

func (s *Series) add(o Series) {
	s.Value += o.Value
	if o.Histogram == nil {
		return
	}
	var mine Distribution
	if s.Histogram != nil {
		mine = *s.Histogram
	}
	sum := mine.Merge(*o.Histogram)
	s.Histogram = &sum
}

// Len gives the number of time series that the snapshot amounts to when it is exposed: a histogram counts with all of its
// exposed buckets, its sum and its count.
func (s *Snapshot) Len() int {
	n := 0
	for _, f := range s.Families {
		per := 1
		if f.Kind == KindHistogram {
			per = len(ExposedEdges()) + 3
		}
		n += per * len(f.Series)
	}
	return n
}

// ExposedEdges lists the upper bounds, in nanoseconds, of the histogram buckets that are exposed. Each is the lower bound of
// one of our buckets, so nothing is interpolated (observability.md 18).
func ExposedEdges() []uint64 {
	return []uint64{1 << 16, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21, 1 << 22, 5 << 20, 1 << 24, 1 << 26, 1 << 28, 1 << 30}
}
