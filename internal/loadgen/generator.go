package loadgen

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
)

// Generator aims a Workload at a server.
type Generator struct {
	options  Options
	workload *Workload
	maker    *maker
	replies  replies
	answered atomic.Uint64
	tries    int // of a write that a busy server refuses during a preload
}

// engine is a set of connections that are ready for load.
type engine interface {
	// run takes batches from p until it is finished and all replies are there. An engine whose run has failed is only good
	// for close.
	run(ctx context.Context, p *pass, m *measure) error
	// cpu is the CPU time that the engine has used so far; negative if the system does not tell.
	cpu() time.Duration
	close()
}

// New makes a generator; it does not connect. Errors: ErrOptions.
func New(w *Workload, o Options) (*Generator, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	g := &Generator{options: o, workload: w, tries: preloadTries}
	g.maker, g.replies = codec(o.Protocol, w)
	return g, nil
}

// Done tells how many operations were answered since New. Any goroutine may ask while the generator runs.
func (g *Generator) Done() uint64 { return g.answered.Load() }

// Run makes the load and measures it. It returns when the last reply has come, or when ctx ends, or at the first error, with
// what was measured until then. Errors: those of Dial, ErrProtocol, ErrClosed, ErrStalled, ErrWrong, and the cause of ctx.
// Replies that report an error are counted and do not end the run.
func (g *Generator) Run(ctx context.Context) (Result, error) {
	// The thread is the generator's own: that makes its CPU time measurable, and no other goroutine gets in between.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	e, err := g.open(ctx)
	if err != nil {
		return Result{}, err
	}
	defer e.close()
	o := &g.options
	if o.Warmup > 0 {
		if err := e.run(ctx, g.pass(g.workload.samples, 0, o.Warmup), &measure{}); err != nil {
			return Result{}, fmt.Errorf("warm-up: %w", err)
		}
	}
	p, m := g.pass(g.workload.samples, o.Ops, o.Duration), &measure{}
	server, serverErr := g.serverCPU()
	own := e.cpu()
	p.start = time.Now()
	err = e.run(ctx, p, m)
	elapsed := time.Since(p.start)
	r := newResult(p, m, elapsed)
	r.setOwnCPU(own, e.cpu(), elapsed)
	if after, afterErr := g.serverCPU(); serverErr == nil && afterErr == nil {
		r.setServerCPU(after - server)
	}
	return r, err
}

// serverCPU gives the CPU time of the server so far.
func (g *Generator) serverCPU() (time.Duration, error) {
	if g.options.ServerPID <= 0 {
		return 0, errNoCPU
	}
	return ProcessCPU(g.options.ServerPID)
}

func (g *Generator) pass(samples []sample, limit uint64, duration time.Duration) *pass {
	return &pass{
		samples: samples, depth: g.options.Depth, limit: limit, duration: duration, rate: g.options.Rate, done: &g.answered,
		start: time.Now(),
	}
}

// How a preload deals with writes that a busy server refuses.
const (
	preloadTries = 100
	preloadPause = 50 * time.Millisecond
	preloadDepth = 64
)

// Preload writes every key once. Writes that the server refuses are tried again for a while, because a server may ask for
// patience; ErrRefused if some stay refused.
func (g *Generator) Preload(ctx context.Context) error {
	return g.every(ctx, actionSet)
}

// Cleanup deletes every key. Keys that are not there are fine; ErrRefused if the server does not delete some.
func (g *Generator) Cleanup(ctx context.Context) error {
	return g.every(ctx, actionDelete)
}

// every does one thing to each key.
func (g *Generator) every(ctx context.Context, do action) error {
	o := g.options
	o.Depth, o.Rate, o.Verify = max(o.Depth, preloadDepth), 0, false
	if o.Protocol == BinaryQuiet {
		o.Protocol = Binary // quiet requests would not all tell that they were refused
	}
	loud, err := New(g.workload, o)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	e, err := loud.open(ctx)
	if err != nil {
		return err
	}
	defer e.close()
	list := g.workload.each(do)
	for try := range g.tries {
		p, m := loud.pass(list, uint64(len(list)), 0), &measure{}
		p.keep, p.done = true, &g.answered
		if err := e.run(ctx, p, m); err != nil {
			return err
		}
		if list = m.failed; len(list) == 0 {
			return nil
		}
		if try == g.tries-1 {
			return fmt.Errorf("%w: %d keys, such as %s: %s", ErrRefused, len(list), g.workload.Key(list[0].index()), m.example)
		}
		if !pause(ctx, preloadPause) {
			return context.Cause(ctx)
		}
	}
	return nil
}

// pause waits; false if the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
