// Package fault is a list of named places at which a node can be made to fail on purpose: break points.
//
// A Point stands in product code where something can go wrong that no seam (file system, network, clock) can bring about,
// such as between writing a batch and publishing it. All points are off unless somebody arms one; a point that is off costs
// one nil check and one atomic load. Only tests and a node in drill mode arm points: nothing on a wire does.
//
// A Set holds the points of one node, so that several nodes in one process do not disturb each other. A nil *Set gives nil
// points, and a nil *Point is always off: code that is not handed a Set needs no condition.
//
// An Interceptor (operation.go) stands elsewhere: on the key-value ports, where it is told of each operation of a client and can
// have it fail. Rules about that are the business of package testcluster.
//
// All methods may be called from any goroutine.
package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUnknown says that no point of that name has been made.
var ErrUnknown = errors.New("no such break point")

// ErrInjected is what an armed point returns if its Action names no error.
var ErrInjected = errors.New("injected fault")

// Action is what an armed point does when it is hit.
type Action struct {
	Skip  uint64          // hits that pass untouched first
	Times uint64          // hits that act after those, 0 = all
	Delay time.Duration   // how long a hit waits before it returns
	Hold  <-chan struct{} // if set, a hit waits until it is closed
	Err   error           // what a hit returns; nil: ErrInjected, unless Pass is set
	Pass  bool            // a hit returns nil after its wait: slow, but not broken
}

// Set is the break points of one node. The zero value is ready.
type Set struct {
	mu struct {
		sync.Mutex
		points map[string]*Point
	}
}

// Point is one break point. Make it with Set.Point and keep it.
type Point struct {
	name  string
	hits  atomic.Uint64
	armed atomic.Pointer[arming]
}

type arming struct {
	action Action
	seen   atomic.Uint64
}

// Status describes one point.
type Status struct {
	Name  string
	Armed bool
	Hits  uint64 // since the set was made
}

// Point finds or makes the point of a name. A nil Set gives a nil Point.
func (s *Set) Point(name string) *Point {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.points == nil {
		s.mu.points = map[string]*Point{}
	}
	p := s.mu.points[name]
	if p == nil {
		p = &Point{name: name}
		s.mu.points[name] = p
	}
	return p
}

// Arm makes the point of that name act from the next hit on. ErrUnknown if there is none: code has not reached the place
// that makes it, or the name is misspelt.
func (s *Set) Arm(name string, a Action) error {
	s.mu.Lock()
	p := s.mu.points[name]
	s.mu.Unlock()
	if p == nil {
		return fmt.Errorf("%w: %q", ErrUnknown, name)
	}
	p.armed.Store(&arming{action: a})
	return nil
}

// Disarm turns the point of that name off. Hits that wait already go on waiting.
func (s *Set) Disarm(name string) {
	s.mu.Lock()
	p := s.mu.points[name]
	s.mu.Unlock()
	if p != nil {
		p.armed.Store(nil)
	}
}

// Points lists all points by name.
func (s *Set) Points() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Status, 0, len(s.mu.points))
	for name, p := range s.mu.points {
		list = append(list, Status{Name: name, Armed: p.armed.Load() != nil, Hits: p.hits.Load()})
	}
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Hit is called where the point stands. It returns nil at once unless the point is armed; otherwise it waits as the Action
// says and returns the Action's error. If ctx ends while it waits, that is what it returns.
func (p *Point) Hit(ctx context.Context) error {
	if p == nil {
		return nil
	}
	p.hits.Add(1)
	a := p.armed.Load()
	if a == nil {
		return nil
	}
	n := a.seen.Add(1)
	if n <= a.action.Skip || a.action.Times > 0 && n > a.action.Skip+a.action.Times {
		return nil
	}
	if err := a.action.wait(ctx); err != nil {
		return fmt.Errorf("break point %s: %w", p.name, err)
	}
	switch {
	case a.action.Err != nil:
		return fmt.Errorf("break point %s: %w", p.name, a.action.Err)
	case a.action.Pass:
		return nil
	}
	return fmt.Errorf("break point %s: %w", p.name, ErrInjected)
}

func (a *Action) wait(ctx context.Context) error {
	if a.Delay > 0 {
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if a.Hold == nil {
		return nil
	}
	select {
	case <-a.Hold:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
