package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// Reports gives the mailbox of observed state: it holds the newest Report only.
func (n *Node) Reports() <-chan *vbucket.Report { return n.reports }

// report gathers the observed state.
func (n *Node) report(problems map[string]string) *vbucket.Report {
	r := &vbucket.Report{Boot: n.boot}
	if a := n.applied.Load(); a != nil {
		r.RevEpoch, r.Rev = a.RevEpoch, a.Rev
	}
	open := *n.buckets.Load()
	for name, b := range open {
		one := b.kv.Report()
		one.Name, one.UUID = name, b.UUID()
		if problem := problems[name]; problem != "" && one.Problem == "" {
			one.Problem = problem
		}
		r.Buckets = append(r.Buckets, one)
	}
	for name, problem := range problems {
		if open[name] == nil {
			r.Buckets = append(r.Buckets, vbucket.BucketReport{Name: name, Problem: problem})
		}
	}
	slices.SortFunc(r.Buckets, func(a, b vbucket.BucketReport) int { return cmp.Compare(a.Name, b.Name) })
	return r
}

// offer puts a report into the mailbox in place of an older one.
func (n *Node) offer(r *vbucket.Report) {
	select {
	case <-n.reports:
	default:
	}
	select {
	case n.reports <- r:
	default: // unreachable: Run is the only sender
	}
}

// Check reports whether operations would succeed now: an assignment has been carried out and every bucket of it serves.
// deep also syncs the disk, within ctx.
func (n *Node) Check(ctx context.Context, deep bool) error {
	a := n.applied.Load()
	if a == nil {
		return errors.New("no assignment yet")
	}
	open := *n.buckets.Load()
	var problems []error
	for i := range a.Buckets {
		name := a.Buckets[i].Spec.Name
		b := open[name]
		if b == nil {
			problems = append(problems, fmt.Errorf("bucket %s is not open", name))
			continue
		}
		if r := b.kv.Report(); !r.Ready {
			problems = append(problems, fmt.Errorf("bucket %s is warming up: %d of %d vBuckets serve", name, r.Warmed,
				b.Spec().NumVBuckets))
		}
	}
	if deep && n.store != nil && len(problems) == 0 {
		problems = append(problems, n.deepCheck(ctx))
	}
	return errors.Join(problems...)
}

// deepCheck makes the store sync, and gives up waiting for it when ctx ends.
func (n *Node) deepCheck(ctx context.Context) error {
	done := make(chan error, 1)
	n.group.Go("deep check", func(context.Context) error {
		done <- n.store.Sync()
		return nil
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the disk has not synced: %w", context.Cause(ctx))
	}
}

// names lists the open buckets in order.
func (n *Node) names() []string { return slices.Sorted(maps.Keys(*n.buckets.Load())) }
