package kv

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/charpoy/charpoy/internal/arena"
	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Bucket holds the documents of one bucket on one node. Its methods may be called from any goroutine, also while Run works;
// after Close they answer ErrClosed.
type Bucket struct {
	options Options
	seed    maphash.Seed // per bucket, so that clients cannot aim at one probe sequence
	arena   *arena.Arena
	vbs     []vBucket
	config  atomic.Pointer[config] // what Update changes; replaced whole
	clock   *hlc.Source
	store   *storage.Bucket // nil: ephemeral
	logger  *slog.Logger
	disk    *reader      // the flusher's place in the feed: cursor 0 of each vBucket. nil: ephemeral
	persist *persistence // nil: ephemeral
	rows    fetchBuffers
	scratch sync.Pool
	chunks  chunkPools

	observed observed

	// memory, in bytes; see memory.go
	used   atomic.Int64 // of items; behind by what the vBuckets have not folded yet
	tables atomic.Int64
	window atomic.Int64 // chunks, and versions saved for runs

	exhausted atomic.Bool   // the pager found nothing more to free
	refusing  atomic.Bool   // no writes for now: the disk is nearly full (set by the storage side)
	pager     chan struct{} // one slot: wakes the pager
	relieving atomic.Bool   // one goroutine at a time drops cursors
	refused   struct{ busy, noMemory atomic.Uint64 }
	dropped   struct{ cursors, runs atomic.Uint64 }

	meta struct { // the first lock of the order
		sync.Mutex
		closed  bool
		flushed uint64 // spec.Bucket.FlushCount that was carried out
		readers []*reader
		problem string // for the Report
	}
	closing chan struct{} // closed by Close
}

var _ change.Feed = (*Bucket)(nil)

// Open makes a bucket. All its vBuckets are dead until Assign says otherwise. Nothing runs in the background until Run; a
// persistent bucket serves no document before Run has loaded it.
func Open(o Options) (*Bucket, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	a, err := arena.New(o.Spec.QuotaBytes)
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", o.Spec.Name, err)
	}
	b := &Bucket{
		options: o,
		seed:    maphash.MakeSeed(),
		arena:   a,
		vbs:     make([]vBucket, o.Spec.NumVBuckets),
		clock:   o.Clock,
		store:   o.Store,
		logger:  o.Logger,
		pager:   make(chan struct{}, 1),
		closing: make(chan struct{}),
	}
	b.observed.node, b.observed.name = o.Trace, o.Trace.Intern(o.Spec.Name)
	b.scratch.New = func() any { return new(scratch) }
	b.config.Store(newConfig(&o.Spec, &o.Manifest))
	b.applyLimits()
	b.meta.flushed = o.Spec.FlushCount
	if b.store != nil {
		b.disk = newReader(b, change.Options{Name: "disk"})
	}
	for i := range b.vbs {
		b.vbs[i].init(b, vbucket.ID(i))
	}
	if b.store != nil {
		b.persist = newPersistence(b)
		if err := b.persist.recovered(); err != nil {
			return nil, errors.Join(fmt.Errorf("recover bucket %s: %w", o.Spec.Name, err), b.Close())
		}
	}
	return b, nil
}

// Key names a document by vBucket, collection and key, and hashes it once for all that follows. name is lent for as long as
// the Key is used.
func (b *Bucket) Key(vb vbucket.ID, c docid.Collection, name []byte) Key {
	h := maphash.Bytes(b.seed, name) ^ uint64(c)*0x9E3779B97F4A7C15
	return Key{VB: vb, Coll: c, Name: name, hash: uint32(h^h>>32) & (1<<hashBits - 1)}
}

// Run does the bucket's work in the background until ctx ends: it loads and persists documents if there is a store, removes
// what has expired and keeps memory within the quota. It returns after all of that has ended.
func (b *Bucket) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wait sync.WaitGroup
	var first struct {
		sync.Mutex
		err error
	}
	for _, part := range []func(context.Context) error{b.runStore, b.runExpiry, b.runPager} {
		wait.Go(func() {
			if err := part(ctx); err != nil && ctx.Err() == nil {
				first.Lock()
				defer first.Unlock()
				if first.err == nil {
					first.err = err
				}
				cancel(err)
			}
		})
	}
	wait.Wait()
	first.Lock()
	defer first.Unlock()
	return first.err
}

// Close ends all readers, refuses operations from now on and gives the memory back. Call it after Run has returned.
func (b *Bucket) Close() error {
	b.meta.Lock()
	if b.meta.closed {
		b.meta.Unlock()
		return nil
	}
	b.meta.closed = true
	readers := b.meta.readers
	b.meta.readers = nil
	b.meta.Unlock()
	close(b.closing)
	for _, r := range readers {
		r.shut()
	}
	for i := range b.vbs {
		b.vbs[i].close(b)
	}
	b.arena.Close()
	return nil
}

// Spec is the bucket's present desired state.
func (b *Bucket) Spec() spec.Bucket { return b.config.Load().spec }

// vb finds a vBucket without looking at its state.
func (b *Bucket) vb(id vbucket.ID) (*vBucket, error) {
	if int(id) >= len(b.vbs) {
		return nil, &NotMyVBucketError{VB: id, State: vbucket.Dead}
	}
	return &b.vbs[id], nil
}

// enter finds the vBucket of a key and returns with its lock held, if documents of the key's collection can be served.
func (b *Bucket) enter(ctx context.Context, conf *config, k *Key) (*vBucket, error) {
	vb, err := b.vb(k.VB)
	if err != nil {
		return nil, err
	}
	if !conf.has(k.Coll) {
		return nil, &spec.UnknownCollectionError{Manifest: conf.manifest.UID}
	}
	for {
		if !trace.Enabled {
			vb.mu.Lock()
		} else if !vb.mu.TryLock() {
			vb.await(ctx, b)
		}
		if vb.mu.state == vbucket.Active && vb.mu.ready {
			return vb, nil
		}
		state, closed, warm, damage := vb.mu.state, vb.mu.closed, vb.mu.warm, vb.mu.disk.damage
		vb.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case damage != nil:
			return nil, damage
		case state != vbucket.Active:
			return nil, &NotMyVBucketError{VB: k.VB, State: state}
		}
		if err := b.awaitWarm(ctx, vb, warm); err != nil {
			return nil, err
		}
	}
}
