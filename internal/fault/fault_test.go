package fault_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charpoy/charpoy/internal/fault"
)

// TestOff: points that nobody armed do nothing, and neither do those of no set.
func TestOff(t *testing.T) {
	var none *fault.Set
	if err := none.Point("a").Hit(t.Context()); err != nil {
		t.Errorf("a point of no set: %v", err)
	}
	var s fault.Set
	if err := s.Point("a").Hit(t.Context()); err != nil {
		t.Errorf("an unarmed point: %v", err)
	}
	if err := s.Arm("b", fault.Action{}); !errors.Is(err, fault.ErrUnknown) {
		t.Errorf("arming a point that does not exist: %v, want ErrUnknown", err)
	}
}

// TestSkipAndTimes arms a point for its third and fourth hit.
func TestSkipAndTimes(t *testing.T) {
	var s fault.Set
	p := s.Point("write")
	broken := errors.New("broken")
	if err := s.Arm("write", fault.Action{Skip: 2, Times: 2, Err: broken}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []error{nil, nil, broken, broken, nil} {
		if got := p.Hit(t.Context()); !errors.Is(got, want) || (want == nil) != (got == nil) {
			t.Errorf("hit %d = %v, want %v", i+1, got, want)
		}
	}
	s.Disarm("write")
	if got := s.Points(); len(got) != 1 || got[0] != (fault.Status{Name: "write", Hits: 5}) {
		t.Errorf("points %+v", got)
	}
}

// TestWaits: a delay passes before the hit returns, a hold until it is closed, and the end of the context cuts both short.
func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s fault.Set
		p := s.Point("sync")
		hold := make(chan struct{})
		if err := s.Arm("sync", fault.Action{Delay: time.Second, Hold: hold, Pass: true}); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		time.AfterFunc(3*time.Second, func() { close(hold) })
		if err := p.Hit(t.Context()); err != nil || time.Since(begin) != 3*time.Second {
			t.Errorf("hit = %v after %v, want nil after 3s", err, time.Since(begin))
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		cancel(gone)
		if err := p.Hit(ctx); !errors.Is(err, gone) {
			t.Errorf("hit with an ended context = %v, want its cause", err)
		}
		if err := s.Arm("sync", fault.Action{}); err != nil {
			t.Fatal(err)
		}
		if err := p.Hit(t.Context()); !errors.Is(err, fault.ErrInjected) {
			t.Errorf("hit = %v, want ErrInjected", err)
		}
	})
}
