// Package run owns goroutines. Every goroutine of the product is started here, has a name, and somebody waits for its end:
// `go` statements elsewhere are refused by the layers test.
//
// A Group is for parts of one thing: the first error ends all of them. A Sequence is for the parts of a process: they start
// in order and stop in reverse order, each with its own deadline, so that what others lean on goes last.
//
// Nothing here recovers a panic: in shared memory nobody can vouch for what a panicking goroutine held.
package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Group runs functions until one of them fails or its context ends. The zero value is not usable; see NewGroup.
type Group struct {
	ctx    context.Context //nolint:containedctx // a Group is a scope: its context is what its members share
	cancel context.CancelCauseFunc
	wait   sync.WaitGroup
	first  struct {
		sync.Mutex
		err error
	}
}

// NewGroup returns a group whose members get a context derived from ctx.
func NewGroup(ctx context.Context) *Group {
	derived, cancel := context.WithCancelCause(ctx)
	return &Group{ctx: derived, cancel: cancel}
}

// Context is what the members get; it ends when a member fails, when the parent ends, or at Stop.
func (g *Group) Context() context.Context { return g.ctx }

// Go starts f in a goroutine of its own. An error other than the group's own end is kept (the first one) and ends the
// other members. It must not be called after Wait has returned.
func (g *Group) Go(name string, f func(context.Context) error) {
	g.wait.Go(func() {
		err := f(g.ctx)
		if err == nil || g.ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return
		}
		g.first.Lock()
		if g.first.err == nil {
			g.first.err = fmt.Errorf("%s: %w", name, err)
		}
		g.first.Unlock()
		g.cancel(err)
	})
}

// Stop ends the members' context. It does not wait.
func (g *Group) Stop() { g.cancel(context.Canceled) }

// Wait returns when all members have ended, with the first error of one.
func (g *Group) Wait() error {
	g.wait.Wait()
	g.cancel(context.Canceled)
	g.first.Lock()
	defer g.first.Unlock()
	return g.first.err
}
