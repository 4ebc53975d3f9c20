// Package cluster is the cluster plane: it knows what the cluster should be and says so to the data plane.
//
// What should be is kept in a store.Store, key by key (keys.go). A Cluster follows the store and publishes each revision as a
// State: one immutable value with the nodes, buckets, users and groups, and with the Assignment that is made of them. The
// node's agent takes Assignments from here and carries them to the data plane; what the data plane observes comes back by
// Observe. Nothing else passes between the planes, and no document ever comes here.
//
// Operations (CreateBucket, PutUser, …) are transactions on the store. They return when the State shows them and, where a
// client is promised more, when the data plane has reported that they are carried out. A crash at any point means only that
// the same keys are read again.
//
// Invariants. A State is a function of the store's keys alone, at one revision, so that one (RevEpoch, Rev) never has two
// contents. Rev is the store's revision of the last change, never below 1, and rises over restarts. A bucket that is being
// dropped keeps its name until the data plane's report no longer has it.
//
// Bootstrap must return before anything else is called; Run follows the store and must run for operations to return. All
// methods may be called from any goroutine. Subscribers are called from the goroutine of Run, one after the other, without
// locks. Read cluster.go, then state.go, then buckets.go.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/run"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// What an operation can fail with. Values that are wrong in themselves give a spec.Invalid.
var (
	ErrNoBucket       = errors.New("no such bucket")
	ErrBucketExists   = errors.New("a bucket of this name exists")
	ErrBucketDropping = errors.New("a bucket of this name is still being dropped")
	ErrTooManyBuckets = errors.New("the cluster has as many buckets as it can")
	ErrQuotaExceeded  = errors.New("the buckets' quotas exceed the cluster's memory quota")
	ErrFlushDisabled  = errors.New("flush is disabled for this bucket")
	ErrNoUser         = errors.New("no such user")
	ErrNoGroup        = errors.New("no such group")
	ErrNotReady       = errors.New("the cluster state is not known yet")
)

// DataError says that the data plane could not carry out an operation.
type DataError struct{ Bucket, Problem string }

// Error says what the data plane reported.
func (e *DataError) Error() string { return "bucket " + e.Bucket + ": " + e.Problem }

// Options of a Cluster.
type Options struct {
	Logger *slog.Logger // nil = nowhere
}

// Cluster is the cluster plane of one node.
type Cluster struct {
	store  store.Store
	logger *slog.Logger
	state  atomic.Pointer[State]
	told   atomic.Int64 // the revision of the last state that all subscribers have been told of
	report atomic.Pointer[observed]
	assign chan *vbucket.Assignment // holds the newest that was not taken yet
	mu     struct {
		sync.Mutex
		moved chan struct{} // closed and replaced when a state or a report comes
		subs  map[int]func(*State)
		next  int
	}
}

type observed struct {
	report *vbucket.Report
	at     time.Time
}

// New returns a Cluster over a store. It does nothing until Bootstrap.
func New(s store.Store, o Options) *Cluster {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{store: s, logger: o.Logger, assign: make(chan *vbucket.Assignment, 1)}
	c.mu.moved = make(chan struct{})
	c.mu.subs = make(map[int]func(*State))
	return c
}

// State gives the newest state; nil before Bootstrap.
func (c *Cluster) State() *State { return c.state.Load() }

// Subscribe has f called with each newer State, until cancel is called. Who subscribes before Bootstrap is told of the first
// one too. f must not wait for operations of this Cluster. A
// call that is under way when cancel is called may still end after it.
func (c *Cluster) Subscribe(f func(*State)) (cancel func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.mu.next
	c.mu.next++
	c.mu.subs[n] = f
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.mu.subs, n)
	}
}

// Assignments gives the channel on which Assignments for this node come. A slow receiver gets the newest only. There must be
// one receiver.
func (c *Cluster) Assignments() <-chan *vbucket.Assignment { return c.assign }

// Observe takes a report of the data plane. It must not be changed afterwards.
func (c *Cluster) Observe(r *vbucket.Report) {
	c.report.Store(&observed{r, time.Now()})
	c.wake()
}

// Report gives the data plane's newest report and its age; nil if there is none yet.
func (c *Cluster) Report() (r *vbucket.Report, age time.Duration) {
	o := c.report.Load()
	if o == nil {
		return nil, 0
	}
	return o.report, time.Since(o.at)
}

// Changed gives a channel that is closed when a newer state or report has come.
func (c *Cluster) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.moved
}

func (c *Cluster) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.mu.moved)
	c.mu.moved = make(chan struct{})
}

// await waits until done says so. It is asked again whenever a state or report comes.
func (c *Cluster) await(ctx context.Context, done func() (bool, error)) error {
	for {
		moved := c.Changed()
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// awaitRevision waits until the published State is at least at a revision of the store and all subscribers know it: who has
// changed a password can log in with it.
func (c *Cluster) awaitRevision(ctx context.Context, rev store.Revision) error {
	return c.await(ctx, func() (bool, error) { return c.told.Load() >= int64(rev), nil })
}

// WaitApplied waits until the data plane has applied the present State.
func (c *Cluster) WaitApplied(ctx context.Context) error {
	rev := c.State().Rev
	return c.await(ctx, func() (bool, error) {
		r, _ := c.Report()
		return r != nil && (r.RevEpoch > c.State().RevEpoch || r.RevEpoch == c.State().RevEpoch && r.Rev >= rev), nil
	})
}

// Run follows the store and finishes drops until ctx ends. Bootstrap must have returned before.
func (c *Cluster) Run(ctx context.Context) error {
	if c.State() == nil {
		return ErrNotReady
	}
	g := run.NewGroup(ctx)
	g.Go("follow", c.follow)
	g.Go("finish drops", c.finishDrops)
	return g.Wait()
}

func (c *Cluster) follow(ctx context.Context) error {
	rev := c.State().revision
	w, err := c.store.Watch(ctx, prefix, rev)
	if err != nil {
		return fmt.Errorf("watch the store: %w", err)
	}
	for {
		_, err := w.Next(ctx)
		if errors.Is(err, store.ErrCompacted) {
			if rev, err = c.reload(ctx); err == nil {
				w, err = c.store.Watch(ctx, prefix, rev)
			}
		} else if err == nil {
			_, err = c.reload(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("follow the store: %w", err)
		}
	}
}

// reload makes a State of what the store holds and publishes it. The keys of a one-node cluster are few enough to be read as
// a whole at each change.
func (c *Cluster) reload(ctx context.Context) (store.Revision, error) {
	entries, rev, err := c.store.List(ctx, prefix)
	if err != nil {
		return 0, err
	}
	old := c.State()
	if old != nil && rev <= old.revision {
		return rev, nil // several batches were read at once
	}
	s, err := newState(entries, rev)
	if err != nil {
		return 0, err
	}
	c.publish(s)
	return rev, nil
}

func (c *Cluster) publish(s *State) {
	c.state.Store(s)
	select { // an Assignment that nobody took yet is of no use any more
	case <-c.assign:
	default:
	}
	c.assign <- s.Assignment
	c.mu.Lock()
	subs := make([]func(*State), 0, len(c.mu.subs))
	for n := range c.mu.next {
		if f := c.mu.subs[n]; f != nil {
			subs = append(subs, f)
		}
	}
	c.mu.Unlock()
	for _, f := range subs {
		f(s)
	}
	c.told.Store(int64(s.revision))
	c.wake()
}

// txn carries out a transaction and waits until the State shows it. One that changes nothing is not carried out.
func (c *Cluster) txn(ctx context.Context, t store.Txn) error {
	if len(t.Puts)+len(t.Delete) == 0 {
		return nil
	}
	rev, err := c.store.Txn(ctx, t)
	if err != nil {
		return err
	}
	return c.awaitRevision(ctx, rev)
}

// retry runs a decision again when another one came in between.
func (c *Cluster) retry(ctx context.Context, decide func(*State) (store.Txn, error)) error {
	for {
		s := c.State()
		if s == nil {
			return ErrNotReady
		}
		t, err := decide(s)
		if err != nil {
			return err
		}
		err = c.txn(ctx, t)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		// The State is older than the store: wait for a newer one before deciding anew.
		if err := c.await(ctx, func() (bool, error) { return c.State().revision > s.revision, nil }); err != nil {
			return err
		}
	}
}

// Metrics gives the numbers of the cluster plane.
func (c *Cluster) Metrics() *metrics.Snapshot {
	out := &metrics.Snapshot{}
	gauge := func(name, help string, v float64) {
		out.Value(metrics.Desc{Name: name, Help: help, Kind: metrics.KindGauge}, v)
	}
	s := c.State()
	if s == nil {
		return out
	}
	gauge("cluster_nodes", "Nodes that are members of the cluster.", float64(len(s.Nodes)))
	gauge("cluster_map_rev", "Revision of the cluster configuration that clients are given.", float64(s.Rev))
	gauge("cluster_buckets", "Buckets of the cluster.", float64(len(s.Buckets)))
	if _, age := c.Report(); age > 0 {
		out.Value(metrics.Desc{
			Name: "cluster_report_age_seconds", Kind: metrics.KindGauge, Unit: metrics.Seconds,
			Help: "Time since the data plane last reported what it holds.",
		}, age.Seconds())
	}
	return out
}
