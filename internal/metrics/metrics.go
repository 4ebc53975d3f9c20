// Package metrics counts and times what the product does, at a price that hot paths can pay.
//
// A Set holds families. A family is a name with its help, unit and label names (Desc); its members are Counters, Gauges and
// Histograms, one for each combination of label values. Whoever counts keeps a pointer to its member and adds to it without
// a look-up and without a lock. Reading goes the other way: Set.Snapshot copies all numbers into a Snapshot, which is a plain
// value that can be encoded (encoding/json), sent to another process and merged with others. Package metrics/prom exposes a
// Snapshot to Prometheus.
//
// Invariants: a family is registered once in a Set, with one Desc; counters and histogram buckets never go back; merging
// adds counters and histograms element by element and so loses nothing. The number of label values is bounded: beyond
// Label.Max values a member is counted under Other, so that a set cannot grow without limit.
//
// All methods may be called from any goroutine. Creating members takes the family's lock; using them takes none.
// Read metrics.go first, then histogram.go and snapshot.go.
package metrics

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Prefix begins the name of each metric that the product exposes.
const Prefix = "charpoy_"

// Other is the label value under which everything beyond Label.Max is counted.
const Other = "_other"

// Bounds of label values (observability.md 18).
const (
	MaxBucketLabels = 20
	MaxPeerLabels   = 32
	defaultMaxLabel = 64
)

// Kind says how the numbers of a family behave.
type Kind uint8

// The kinds of families.
const (
	KindCounter   Kind = 1 // only rises
	KindGauge     Kind = 2 // rises and falls
	KindHistogram Kind = 3 // a distribution of durations
)

// Unit is the unit of a family's numbers. It is always a base unit and is the end of the name where it says something.
type Unit string

// The units in use.
const (
	Seconds Unit = "seconds"
	Bytes   Unit = "bytes"
	Ratio   Unit = "ratio"
	Count   Unit = "" // things
)

// Label is one label of a family. Max bounds how many values it may have; 0 means 64.
type Label struct {
	Name string `json:"name"`
	Max  int    `json:"max,omitempty"`
}

// Desc describes a family. Name has no prefix; a counter's name ends in _total.
type Desc struct {
	Name   string  `json:"name"`
	Help   string  `json:"help"`
	Unit   Unit    `json:"unit,omitempty"`
	Kind   Kind    `json:"kind"`
	Labels []Label `json:"labels,omitempty"`
}

// BucketLabel is the label that names a bucket, with its bound.
func BucketLabel() Label { return Label{Name: "bucket", Max: MaxBucketLabels} }

// Counter is a number that only rises. The zero value is ready.
type Counter struct{ n atomic.Uint64 }

// Add raises the counter by n.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Inc raises the counter by one.
func (c *Counter) Inc() { c.n.Add(1) }

// Value reads the counter.
func (c *Counter) Value() uint64 { return c.n.Load() }

// Gauge is a number that rises and falls. The zero value is ready.
type Gauge struct{ bits atomic.Uint64 }

// Set replaces the value.
func (g *Gauge) Set(v float64) { g.bits.Store(math.Float64bits(v)) }

// Add changes the value by d, which may be negative.
func (g *Gauge) Add(d float64) {
	for {
		old := g.bits.Load()
		if g.bits.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+d)) {
			return
		}
	}
}

// Value reads the gauge.
func (g *Gauge) Value() float64 { return math.Float64frombits(g.bits.Load()) }

// Set is a collection of families. Create one with NewSet.
type Set struct {
	mu struct {
		sync.Mutex
		families []family // in order of registration
		names    map[string]bool
		funcs    []func(*Snapshot)
	}
}

// family is what a Set needs of a Family, whatever its members are.
type family interface{ appendTo(*Snapshot) }

// NewSet returns an empty set.
func NewSet() *Set {
	s := &Set{}
	s.mu.names = make(map[string]bool)
	return s
}

// Snapshot copies all numbers of the set. Members of one family are read one after the other, not at one moment.
func (s *Set) Snapshot() *Snapshot {
	s.mu.Lock()
	families := slices.Clip(s.mu.families)
	funcs := slices.Clip(s.mu.funcs)
	s.mu.Unlock()
	out := &Snapshot{}
	for _, f := range families {
		f.appendTo(out)
	}
	for _, f := range funcs {
		f(out)
	}
	return out
}

// OnSnapshot has f called at each Snapshot to append numbers that are kept elsewhere. f must be safe for concurrent calls.
func (s *Set) OnSnapshot(f func(*Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.funcs = append(s.mu.funcs, f)
}

// register panics for a name that is taken or a description that is wrong: both are mistakes in the program text.
func (s *Set) register(d Desc, f family) {
	if err := d.validate(); err != nil {
		panic("metrics: " + err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.names[d.Name] {
		panic("metrics: family " + d.Name + " is registered twice")
	}
	s.mu.names[d.Name] = true
	s.mu.families = append(s.mu.families, f)
}

func (d Desc) validate() error {
	switch {
	case !validName(d.Name):
		return fmt.Errorf("bad name %q", d.Name)
	case d.Help == "":
		return fmt.Errorf("%s: no help", d.Name)
	case (d.Kind == KindCounter) != strings.HasSuffix(d.Name, "_total"):
		return fmt.Errorf("%s: counters, and only they, end in _total", d.Name)
	case d.Unit != Count && !strings.Contains(d.Name, string(d.Unit)):
		return fmt.Errorf("%s: the name lacks its unit %s", d.Name, d.Unit)
	case d.Kind < KindCounter || d.Kind > KindHistogram:
		return fmt.Errorf("%s: unknown kind", d.Name)
	}
	for _, l := range d.Labels {
		if !validName(l.Name) || l.Name == "le" {
			return fmt.Errorf("%s: bad label %q", d.Name, l.Name)
		}
	}
	return nil
}

func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
