package data

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/charpoy/charpoy/internal/kv"
)

// Snapshot is the documents of all buckets, for tests: see kv.Snapshot. It does not change and outlives its Node.
type Snapshot struct{ buckets map[string]*kv.Snapshot }

// Documents is how many documents the snapshot holds.
func (s *Snapshot) Documents() int {
	n := 0
	for _, b := range s.buckets {
		n += b.Documents()
	}
	return n
}

// Snapshot copies the documents of all buckets; those of one bucket are of one moment. kv.ErrWarming, kv.ErrBusy,
// kv.ErrClosed.
func (n *Node) Snapshot(ctx context.Context) (*Snapshot, error) {
	s := &Snapshot{buckets: map[string]*kv.Snapshot{}}
	for _, name := range n.names() {
		b, err := n.Bucket(name)
		if err != nil {
			return nil, fmt.Errorf("bucket %s: %w", name, err)
		}
		if s.buckets[name], err = b.kv.Snapshot(ctx); err != nil {
			return nil, fmt.Errorf("bucket %s: %w", name, err)
		}
	}
	return s, nil
}

// Restore replaces the documents of all buckets by those of a snapshot; a bucket that was made since is emptied. ErrNoBucket
// if one of the snapshot is not there any more, and then nothing is changed; further errors are those of kv.Bucket.Restore.
func (n *Node) Restore(ctx context.Context, s *Snapshot) error {
	for _, name := range slices.Sorted(maps.Keys(s.buckets)) {
		if _, err := n.Bucket(name); err != nil {
			return fmt.Errorf("restore bucket %s: %w", name, err)
		}
	}
	for _, name := range n.names() {
		b, err := n.Bucket(name)
		if err != nil {
			return fmt.Errorf("restore bucket %s: %w", name, err)
		}
		saved := s.buckets[name]
		if saved == nil {
			saved = kv.EmptySnapshot(b.Spec().NumVBuckets)
		}
		if err := b.kv.Restore(ctx, saved); err != nil {
			return fmt.Errorf("restore bucket %s: %w", name, err)
		}
	}
	return nil
}

// Sweep makes tombstones of all documents whose time has come, instead of some minutes later, and tells how many they were.
// It is for who has moved the clock.
func (n *Node) Sweep(ctx context.Context) int {
	expired := 0
	for _, b := range n.Buckets() {
		expired += b.kv.Sweep(ctx)
	}
	return expired
}
