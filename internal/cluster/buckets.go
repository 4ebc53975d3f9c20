package cluster

import (
	"context"
	"errors"
	"fmt"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// bucketPuts gives the keys of a new bucket: its definition under a new UUID, its name, its manifest and its rows, all of
// them active on this node.
func bucketPuts(b spec.Bucket) ([]store.Put, error) {
	b.UUID, b.FlushCount = newUUID(), 0
	b = b.WithDefaults()
	if err := b.Validate(); err != nil {
		return nil, err
	}
	puts := []store.Put{
		putJSON(keyBucket(b.UUID), bucketValue{Spec: b}),
		{Key: keyName(b.Name), Value: []byte(b.UUID)},
		putJSON(keyMan(b.UUID), spec.NewManifest()),
	}
	for shard := 0; shard*rowsPerShard < b.NumVBuckets; shard++ {
		rows := make([]storedRow, min(rowsPerShard, b.NumVBuckets-shard*rowsPerShard))
		for i := range rows {
			rows[i] = storedRow{epoch: 1, chain: []uint16{selfID}}
		}
		puts = append(puts, store.Put{Key: keyRows(b.UUID, shard), Value: encodeRows(rows)})
	}
	return puts, nil
}

// bucketKeys lists all keys of a bucket.
func bucketKeys(b spec.Bucket) []string {
	keys := []string{keyBucket(b.UUID), keyName(b.Name), keyMan(b.UUID)}
	for shard := 0; shard*rowsPerShard < b.NumVBuckets; shard++ {
		keys = append(keys, keyRows(b.UUID, shard))
	}
	return keys
}

// CreateBucket makes a bucket; empty settings get their defaults. It returns when the State has it; WaitBucketReady waits
// until it can be used. A spec.Invalid, ErrBucketExists, ErrBucketDropping, ErrTooManyBuckets or ErrQuotaExceeded.
func (c *Cluster) CreateBucket(ctx context.Context, b spec.Bucket) error {
	return c.retry(ctx, func(s *State) (store.Txn, error) {
		puts, err := bucketPuts(b)
		if err != nil {
			return store.Txn{}, err
		}
		if was := s.named(b.Name); was != nil {
			if was.Dropping {
				return store.Txn{}, ErrBucketDropping
			}
			return store.Txn{}, ErrBucketExists
		}
		if len(s.Buckets) >= spec.MaxBuckets {
			return store.Txn{}, ErrTooManyBuckets
		}
		if err := s.checkQuota(b.Name, b.QuotaBytes); err != nil {
			return store.Txn{}, err
		}
		return s.takingMemory(store.Txn{If: s.is(keyName(b.Name)), Puts: puts}), nil
	})
}

// takingMemory makes a transaction fail if the quota, or what is left of it, has changed since this state.
func (s *State) takingMemory(t store.Txn) store.Txn {
	t.If = append(t.If, s.is(keySettings, keyQuota)...)
	t.Puts = append(t.Puts, store.Put{Key: keyQuota})
	return t
}

// checkQuota checks the sum of quotas with the bucket name having quota bytes.
func (s *State) checkQuota(name string, quota int64) error {
	if s.MemoryQuotaMiB == 0 {
		return nil
	}
	for _, b := range s.Buckets {
		if b.Spec.Name != name {
			quota += b.Spec.QuotaBytes
		}
	}
	if quota > s.MemoryQuotaMiB<<20 {
		return ErrQuotaExceeded
	}
	return nil
}

// UpdateBucket changes a bucket's settings: change gets a copy of the present ones and alters it. It may be called more than
// once. Name, UUID, type, number of vBuckets, conflict resolution and flush count stay as they are whatever change does. A
// spec.Invalid, ErrNoBucket, ErrQuotaExceeded, or the error of change.
func (c *Cluster) UpdateBucket(ctx context.Context, name string, change func(*spec.Bucket) error) error {
	return c.retry(ctx, func(s *State) (store.Txn, error) {
		b := s.Bucket(name)
		if b == nil {
			return store.Txn{}, ErrNoBucket
		}
		next := b.Spec
		if err := change(&next); err != nil {
			return store.Txn{}, err
		}
		old := b.Spec
		next.Name, next.UUID, next.Type, next.NumVBuckets = old.Name, old.UUID, old.Type, old.NumVBuckets
		next.ConflictResolution, next.FlushCount = old.ConflictResolution, old.FlushCount
		next = next.WithDefaults()
		if err := next.Validate(); err != nil {
			return store.Txn{}, err
		}
		if next == old {
			return store.Txn{}, nil
		}
		t := s.putBucket(next)
		if next.QuotaBytes > old.QuotaBytes {
			if err := s.checkQuota(name, next.QuotaBytes); err != nil {
				return store.Txn{}, err
			}
			t = s.takingMemory(t)
		}
		return t, nil
	})
}

func (s *State) putBucket(b spec.Bucket) store.Txn {
	return store.Txn{
		If:   s.is(keyBucket(b.UUID)),
		Puts: []store.Put{putJSON(keyBucket(b.UUID), bucketValue{Spec: b})},
	}
}

// DropBucket drops a bucket with all its documents, and the roles that name it. The bucket is out of use when the State
// shows it as Dropping; DropBucket returns when the data plane has let go of it and its name can be used again. When ctx
// ends before, the drop goes on. ErrNoBucket.
func (c *Cluster) DropBucket(ctx context.Context, name string) error {
	uuid := ""
	for more := true; more; {
		err := c.retry(ctx, func(s *State) (store.Txn, error) {
			b := s.Bucket(name)
			if b == nil {
				return store.Txn{}, ErrNoBucket
			}
			uuid = b.Spec.UUID
			t := store.Txn{If: s.is(keyBucket(uuid))}
			if more = s.forgetRoles(&t, name); !more {
				t.Puts = append(t.Puts, putJSON(keyBucket(uuid), bucketValue{Spec: b.Spec, Dropping: true}))
			}
			return t, nil
		})
		if err != nil {
			return err
		}
	}
	c.logger.Info("bucket is being dropped", "bucket", name, "uuid", uuid)
	return c.await(ctx, func() (bool, error) { return c.State().byUUID(uuid) == nil, nil })
}

func (s *State) byUUID(uuid string) *Bucket {
	for i := range s.Buckets {
		if s.Buckets[i].Spec.UUID == uuid {
			return &s.Buckets[i]
		}
	}
	return nil
}

// finishDrops forgets buckets that are being dropped once the data plane, knowing so, has no trace of them.
func (c *Cluster) finishDrops(ctx context.Context) error {
	for {
		moved := c.Changed()
		for _, b := range c.State().Buckets {
			if !b.Dropping || !c.dropped(b.Spec.UUID) {
				continue
			}
			t := store.Txn{If: c.State().is(keyBucket(b.Spec.UUID)), Delete: bucketKeys(b.Spec)}
			_, err := c.store.Txn(ctx, t)
			switch {
			case ctx.Err() != nil:
				return nil
			case err == nil:
				c.logger.Info("bucket is dropped", "bucket", b.Spec.Name, "uuid", b.Spec.UUID)
			case !errors.Is(err, store.ErrConflict): // it is tried again at the next report
				c.logger.Warn("dropped bucket cannot be forgotten yet", "bucket", b.Spec.Name, "error", err)
			}
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil
		}
	}
}

// dropped reports whether the data plane has applied a state without the bucket and reports nothing of it.
func (c *Cluster) dropped(uuid string) bool {
	r, _ := c.Report()
	if !c.applied(r) {
		return false
	}
	for i := range r.Buckets {
		if r.Buckets[i].UUID == uuid {
			return false
		}
	}
	return true
}

// applied reports whether a report was made after the present Assignment was applied.
func (c *Cluster) applied(r *vbucket.Report) bool {
	s := c.State()
	return r != nil && (r.RevEpoch > s.RevEpoch || r.RevEpoch == s.RevEpoch && r.Rev >= s.Rev)
}

// FlushBucket empties a bucket and returns when the data plane has done so. ErrNoBucket, ErrFlushDisabled, a *DataError, or
// the context's error; then it is done later.
func (c *Cluster) FlushBucket(ctx context.Context, name string) error {
	var want spec.Bucket
	err := c.retry(ctx, func(s *State) (store.Txn, error) {
		b := s.Bucket(name)
		if b == nil {
			return store.Txn{}, ErrNoBucket
		}
		if !b.Spec.FlushEnabled {
			return store.Txn{}, ErrFlushDisabled
		}
		want = b.Spec
		want.FlushCount++
		return s.putBucket(want), nil
	})
	if err != nil {
		return err
	}
	c.logger.Info("bucket is flushed", "bucket", name, "count", want.FlushCount)
	return c.awaitBucket(ctx, want.UUID, func(r *vbucket.BucketReport) bool {
		return r.FlushCount >= want.FlushCount && r.Ready
	})
}

// WaitBucketReady waits until all vBuckets of a bucket serve. ErrNoBucket if it does not exist or is dropped meanwhile, a
// *DataError if the data plane cannot make it, or the context's error.
func (c *Cluster) WaitBucketReady(ctx context.Context, name string) error {
	s := c.State()
	if s == nil {
		return ErrNotReady
	}
	b := s.Bucket(name)
	if b == nil {
		return ErrNoBucket
	}
	return c.awaitBucket(ctx, b.Spec.UUID, func(r *vbucket.BucketReport) bool { return r.Ready })
}

func (c *Cluster) awaitBucket(ctx context.Context, uuid string, done func(*vbucket.BucketReport) bool) error {
	name := ""
	err := c.await(ctx, func() (bool, error) {
		b := c.State().byUUID(uuid)
		if b == nil || b.Dropping {
			return false, ErrNoBucket
		}
		name = b.Spec.Name
		report, _ := c.Report()
		if report == nil {
			return false, nil
		}
		r := report.Bucket(name)
		switch {
		case r == nil || r.UUID != uuid:
			return false, nil
		case r.Problem != "":
			return false, &DataError{name, r.Problem}
		}
		return done(r), nil
	})
	if err != nil {
		return fmt.Errorf("wait for bucket %s: %w", name, err)
	}
	return nil
}
