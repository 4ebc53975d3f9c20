package run_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charpoy/charpoy/internal/run"
)

var errBroken = errors.New("broken")

// TestGroupFirstErrorEndsAll: one member fails, the others see their context end, and Wait names the one that failed.
func TestGroupFirstErrorEndsAll(t *testing.T) {
	g := run.NewGroup(t.Context())
	g.Go("patient", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	g.Go("hasty", func(context.Context) error { return errBroken })
	err := g.Wait()
	if !errors.Is(err, errBroken) || !strings.HasPrefix(err.Error(), "hasty: ") {
		t.Errorf("Wait = %v, want hasty's error", err)
	}
}

func TestGroupStop(t *testing.T) {
	g := run.NewGroup(t.Context())
	g.Go("patient", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	g.Stop()
	if err := g.Wait(); err != nil {
		t.Errorf("a stopped group says %v, want nil", err)
	}
}

// diary records in which order actors end.
type diary struct {
	sync.Mutex
	ends []string
}

func (d *diary) actor(name string) run.Actor {
	return run.Func(func(ctx context.Context) error {
		<-ctx.Done()
		d.Lock()
		defer d.Unlock()
		d.ends = append(d.ends, name)
		return nil
	})
}

// TestSequenceStopsInReverse ends a sequence by its context and looks at the order in which the steps ended.
func TestSequenceStopsInReverse(t *testing.T) {
	var d diary
	ctx, cancel := context.WithCancel(t.Context())
	s := run.Sequence{Logger: slog.New(slog.DiscardHandler), Steps: []run.Step{
		{Name: "a", Actor: d.actor("a")}, {Name: "b", Actor: d.actor("b")}, {Name: "c", Actor: d.actor("c")},
	}}
	cancel()
	if err := s.Run(ctx); err != nil {
		t.Errorf("Run = %v, want nil", err)
	}
	if want := []string{"c", "b", "a"}; !slices.Equal(d.ends, want) {
		t.Errorf("ended in the order %v, want %v", d.ends, want)
	}
}

// TestSequenceFailure: a failing step ends the others in reverse and is named.
func TestSequenceFailure(t *testing.T) {
	var d diary
	s := run.Sequence{Logger: slog.New(slog.DiscardHandler), Steps: []run.Step{
		{Name: "a", Actor: d.actor("a")},
		{Name: "bad", Actor: run.Func(func(context.Context) error { return errBroken })},
		{Name: "c", Actor: d.actor("c")},
	}}
	err := s.Run(t.Context())
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "bad: broken") {
		t.Errorf("Run = %v, want bad's error", err)
	}
	if want := []string{"c", "a"}; !slices.Equal(d.ends, want) {
		t.Errorf("ended in the order %v, want %v", d.ends, want)
	}
}

// TestSequenceOverdue: a step that does not end within its limit is reported with stacks, and the next one is stopped.
func TestSequenceOverdue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		var log strings.Builder
		release := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		s := run.Sequence{Logger: slog.New(slog.NewTextHandler(&log, nil)), Steps: []run.Step{
			{Name: "a", Actor: d.actor("a")},
			{Name: "deaf", Stop: 3 * time.Second, Actor: run.Func(func(context.Context) error { <-release; return nil })},
		}}
		cancel()
		start := time.Now()
		err := s.Run(ctx)
		if err == nil || !strings.Contains(err.Error(), "deaf: did not stop within 3s") {
			t.Errorf("Run = %v, want a complaint of deaf", err)
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %v, want exactly the limit", took)
		}
		if !slices.Equal(d.ends, []string{"a"}) || !strings.Contains(log.String(), "TestSequenceOverdue") {
			t.Errorf("ends %v, log %q", d.ends, log.String())
		}
		close(release)
	})
}
