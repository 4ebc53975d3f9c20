package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"
)

// Actor is a part of a process. Run owns all of its goroutines and returns when they have ended: with nil when ctx ended,
// with an error when the actor cannot go on.
type Actor interface {
	Run(ctx context.Context) error
}

// Func makes an Actor of a function.
type Func func(ctx context.Context) error

// Run calls f.
func (f Func) Run(ctx context.Context) error { return f(ctx) }

// Step is one actor of a Sequence.
type Step struct {
	Name  string
	Actor Actor
	// Stop bounds how long the actor may take to end; after it the stacks of all goroutines are logged and the next one is
	// told. 0 means DefaultStop.
	Stop time.Duration
}

// DefaultStop is how long an actor may take to end when its Step does not say.
const DefaultStop = 10 * time.Second

// Sequence runs actors that lean on each other: they start in order and are stopped in reverse.
type Sequence struct {
	Logger *slog.Logger
	Steps  []Step
}

type started struct {
	step   Step
	cancel context.CancelFunc
	done   chan struct{}
}

// Run starts all steps, waits until ctx ends or one of them returns, then stops them in reverse order. It returns what
// the first failing one returned, joined with those that did not end in time.
func (s *Sequence) Run(ctx context.Context) error {
	type ending struct {
		name string
		err  error
	}
	ended := make(chan ending, len(s.Steps))
	running := make([]started, 0, len(s.Steps))
	for _, step := range s.Steps {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		done := make(chan struct{})
		running = append(running, started{step, cancel, done})
		go func() {
			defer close(done)
			ended <- ending{step.Name, step.Actor.Run(own)}
		}()
	}
	var errs []error
	select {
	case <-ctx.Done():
	case e := <-ended:
		if e.err == nil {
			e.err = errors.New("ended by itself")
		}
		errs = append(errs, fmt.Errorf("%s: %w", e.name, e.err))
	}
	for _, a := range slices.Backward(running) {
		if err := s.stop(a); err != nil {
			errs = append(errs, err)
		}
	}
	for range len(ended) { // what others said while they were being stopped
		if e := <-ended; e.err != nil && !errors.Is(e.err, context.Canceled) {
			errs = append(errs, fmt.Errorf("%s: %w", e.name, e.err))
		}
	}
	return errors.Join(errs...)
}

func (s *Sequence) stop(a started) error {
	a.cancel()
	limit := a.step.Stop
	if limit == 0 {
		limit = DefaultStop
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-a.done:
		return nil
	case <-timer.C:
	}
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	s.Logger.Error("actor did not stop in time", "actor", a.step.Name, "limit", limit, "stacks", string(stacks))
	return fmt.Errorf("%s: did not stop within %s", a.step.Name, limit)
}
