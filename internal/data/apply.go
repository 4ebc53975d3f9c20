package data

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/run"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Apply leaves an assignment for Run, which carries it out unless it has seen a newer one. It never blocks.
func (n *Node) Apply(_ context.Context, a *vbucket.Assignment) {
	for {
		select {
		case n.wanted <- a:
			return
		default:
		}
		select { // the mailbox is full: take the other one out and keep the newer
		case other := <-n.wanted:
			if other.Newer(a) {
				a = other
			}
		default:
		}
	}
}

// How often a Report is made when nothing calls for one, and while a bucket is not ready yet.
const (
	reportInterval = 250 * time.Millisecond
	warmInterval   = 5 * time.Millisecond
)

// Run carries out assignments until ctx ends, then closes all buckets: what they hold is flushed first. It returns what
// kept a bucket from closing cleanly.
func (n *Node) Run(ctx context.Context) error {
	n.group = run.NewGroup(context.WithoutCancel(ctx))
	timer := time.NewTimer(reportInterval)
	defer timer.Stop()
	problems := map[string]string{} // by bucket name: why it could not be opened
	for ctx.Err() == nil {
		select {
		case a := <-n.wanted:
			n.carryOut(ctx, a, problems)
		case <-timer.C:
		case <-n.group.Context().Done():
			return n.end()
		case <-ctx.Done():
			return n.end()
		}
		r := n.report(problems)
		n.offer(r)
		timer.Reset(interval(r))
	}
	return n.end()
}

func interval(r *vbucket.Report) time.Duration {
	for i := range r.Buckets {
		if !r.Buckets[i].Ready && r.Buckets[i].Problem == "" {
			return warmInterval
		}
	}
	return reportInterval
}

// end closes all buckets and waits for them.
func (n *Node) end() error {
	for _, b := range *n.buckets.Load() {
		close(b.gone)
	}
	for _, b := range *n.buckets.Load() {
		b.cancel()
	}
	progress := run.NewGroup(context.Background())
	progress.Go("progress", n.tellFlush)
	err := n.group.Wait()
	progress.Stop()
	err = errors.Join(err, progress.Wait())
	n.buckets.Store(&map[string]*Bucket{})
	return err
}

// tellFlush says once a second how much a stop has still to write, so that nobody takes a long flush for a hanging process.
func (n *Node) tellFlush(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		unsaved := uint64(0)
		for _, b := range *n.buckets.Load() {
			unsaved += b.kv.Stats().Unsaved
		}
		n.options.Logger.Info("writing to disk before the stop", "unsaved_mutations", unsaved)
	}
}

// carryOut makes the buckets what a says. What could not be done is noted in problems and goes on with the rest.
func (n *Node) carryOut(ctx context.Context, a *vbucket.Assignment, problems map[string]string) {
	if !a.Newer(n.applied.Load()) {
		return
	}
	open := maps.Clone(*n.buckets.Load())
	clear(problems)
	for name, b := range open {
		if want := a.Bucket(name); want == nil || want.Spec.UUID != b.UUID() {
			delete(open, name)
			n.hide(open)
			if err := n.drop(b); err != nil {
				problems[name] = err.Error()
			}
		}
	}
	if err := n.dropLeftovers(a); err != nil {
		n.options.Logger.Error("cannot drop buckets that are no longer assigned", "error", err)
	}
	for i := range a.Buckets {
		want := &a.Buckets[i]
		b := open[want.Spec.Name]
		if b == nil {
			made, err := n.open(ctx, want)
			if err != nil {
				n.options.Logger.Error("cannot open bucket", "bucket", want.Spec.Name, "error", err)
				problems[want.Spec.Name] = err.Error()
				continue
			}
			open[want.Spec.Name] = made
			b = made
		}
		if err := n.settle(b, want, a); err != nil {
			n.options.Logger.Error("cannot change bucket", "bucket", want.Spec.Name, "error", err)
			problems[want.Spec.Name] = err.Error()
		}
	}
	n.buckets.Store(&open)
	n.publish(a)
}

// hide takes buckets out of sight of the faces before they end.
func (n *Node) hide(open map[string]*Bucket) {
	rest := maps.Clone(open)
	n.buckets.Store(&rest)
}

// asKept is the bucket's spec as the engine must take it: without a store nothing can be kept on disk.
func (n *Node) asKept(s spec.Bucket) spec.Bucket {
	if n.store == nil && s.Type == spec.Persistent {
		s.Type, s.Eviction = spec.Ephemeral, spec.EvictNone
	}
	return s
}

// open opens one bucket and starts it.
func (n *Node) open(ctx context.Context, want *vbucket.BucketAssignment) (*Bucket, error) {
	kept := n.asKept(want.Spec)
	var store *storage.Bucket
	if kept.Type == spec.Persistent {
		var err error
		if store, err = n.store.Bucket(kept.UUID); err != nil {
			return nil, fmt.Errorf("open store of bucket %s: %w", kept.Name, err)
		}
	}
	var ceiling vbucket.CAS
	if n.store != nil {
		ceiling = n.store.CASCeiling()
	}
	engine, err := kv.Open(kv.Options{
		CASCeiling: ceiling,

		Spec:     kept,
		Manifest: want.Manifest,
		Clock:    n.options.Clock,
		Store:    store,
		Logger:   n.options.Logger.With("bucket", kept.Name),
		Trace:    n.options.Trace,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", kept.Name, err)
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b := &Bucket{kv: engine, gone: make(chan struct{}), cancel: cancel, ended: make(chan struct{})}
	b.spec.Store(&want.Spec)
	b.manifest.Store(&want.Manifest)
	n.group.Go("bucket "+kept.Name, func(context.Context) error {
		defer close(b.ended)
		err := engine.Run(own)
		if own.Err() != nil && err != nil && context.Cause(own) == err { //nolint:errorlint // its own end, not a failure
			err = nil
		}
		if closing := engine.Close(); err == nil {
			err = closing
		}
		return err
	})
	return b, nil
}

// drop ends a bucket and deletes its documents.
func (n *Node) drop(b *Bucket) error {
	close(b.gone)
	b.cancel()
	<-b.ended
	if n.store == nil {
		return nil
	}
	if err := n.store.DropBucket(b.UUID()); err != nil {
		return fmt.Errorf("drop bucket %s: %w", b.Name(), err)
	}
	return nil
}

// dropLeftovers deletes the documents of buckets that the assignment does not know: their drop was cut short by a crash.
// The store belongs to this cluster (see node.Open), so an unknown bucket is one that was dropped.
func (n *Node) dropLeftovers(a *vbucket.Assignment) error {
	if n.store == nil {
		return nil
	}
	kept, err := n.store.Buckets()
	if err != nil {
		return err
	}
	for _, uuid := range kept {
		known := slices.ContainsFunc(a.Buckets, func(b vbucket.BucketAssignment) bool { return b.Spec.UUID == uuid })
		if known {
			continue
		}
		n.options.Logger.Info("dropping a bucket that is no longer assigned", "bucket_uuid", uuid)
		if err := n.store.DropBucket(uuid); err != nil {
			return err
		}
	}
	return nil
}

// settle brings an open bucket to what is wanted: settings, manifest, states of the vBuckets, flushes.
func (n *Node) settle(b *Bucket, want *vbucket.BucketAssignment, a *vbucket.Assignment) error {
	if err := b.kv.Update(n.asKept(want.Spec), want.Manifest); err != nil {
		return err
	}
	moved := int64(0)
	for vb := range want.Rows {
		row := &want.Rows[vb]
		if b.kv.Assign(vbucket.ID(vb), stateOf(row, a.Self), row.Epoch) {
			moved++
		}
	}
	if moved > 0 && trace.MapChange.On() {
		node := n.options.Trace
		trace.MapChange.Fire(node.Shard(0), node.Intern(want.Spec.Name), a.Rev, moved)
	}
	if err := b.kv.Flush(want.Spec.FlushCount); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	b.spec.Store(&want.Spec)
	b.manifest.Store(&want.Manifest)
	return nil
}

func stateOf(row *vbucket.Row, self int) vbucket.State {
	for i, member := range row.Chain {
		switch {
		case int(member) != self:
		case i == 0:
			return vbucket.Active
		default:
			return vbucket.Replica
		}
	}
	return vbucket.Dead
}
