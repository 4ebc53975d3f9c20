package data_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// An assignment that changes what this node does with vBuckets fires a probe for each bucket, one that does not none.
func TestMapChangeProbe(t *testing.T) {
	if !trace.Enabled {
		t.Skip("probes are compiled out")
	}
	node := trace.NewNode()
	var mu sync.Mutex
	var got []string
	defer node.Subscribe(func(r *trace.Record) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, fmt.Sprint(r.Text("bucket", nil), " rev ", r.Value("rev"), " moved ", r.Value("moved")))
	}, trace.MapChange)()
	n := data.New(data.Options{Trace: node})
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := errors.Join(n.Run(ctx), n.Close()); err != nil {
			t.Error(err)
		}
	})
	p := &plane{Node: n, t: t}
	p.apply(assignment(1, "a"))
	p.apply(assignment(2, "a"))
	third := assignment(3, "a")
	third.Buckets[0].Rows[0] = vbucket.Row{Epoch: 2}
	p.apply(third)
	cancel()
	wait.Wait()
	if want := []string{fmt.Sprint("a rev 1 moved ", vBuckets), "a rev 3 moved 1"}; !slices.Equal(got, want) {
		t.Errorf("records %q, want %q", got, want)
	}
}

// Buckets that have no name of their own in metrics any more are added up, and those of the disk are there.
func TestManyBuckets(t *testing.T) {
	n := data.New(data.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := errors.Join(n.Run(ctx), n.Close()); err != nil {
			t.Error(err)
		}
	})
	p := &plane{Node: n, t: t}
	var names []string
	for i := range metrics.MaxBucketLabels + 3 {
		names = append(names, fmt.Sprintf("b%02d", i))
	}
	p.apply(assignment(1, names...))
	m, err := p.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := m.Find("cache_quota_bytes")
	if f == nil || len(f.Series) != metrics.MaxBucketLabels+1 {
		t.Fatalf("cache_quota_bytes: %+v", f)
	}
	if last := f.Series[len(f.Series)-1]; last.Labels[0] != metrics.Other || last.Value != 3*f.Series[0].Value {
		t.Errorf("the rest is %+v, want three quotas under %s", last, metrics.Other)
	}
	cancel()
	wait.Wait()
}
