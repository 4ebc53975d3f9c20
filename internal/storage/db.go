package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/fault"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Options of a DB. Dir is required.
type Options struct {
	Dir    string  // made if it is not there
	FS     disk.FS // nil: the machine's
	Logger *slog.Logger
	Events Events
	Faults *fault.Set  // break points storage.apply and storage.sync; nil: none
	Trace  *trace.Node // what the probes fire into; nil: nobody looks

	CacheBytes int64 // of blocks read from disk, 0 = 128 MiB
	// ReserveBytes is the free space below which new mutations are refused; 0 = 1 GiB or 2 % of the disk, what is less.
	ReserveBytes uint64
	ReadOnly     bool // nothing is written; for checkpoints and verification
}

// Events are optional callbacks. They are called from background goroutines without any lock held and must not block, nor
// call back into the DB.
type Events struct {
	Fatal      func(error)            // the store has failed; the process must end. Called once
	Corruption func(*CorruptionError) // damage was found
	DiskSlow   func(disk.Slow)        // an operation takes long
	DiskFull   func()                 // an operation met a full disk
	Space      func(Space)            // the free space fell below the reserve, or rose above it again
	Stall      func(reason string)    // writes are held up by the engine; "" when that is over
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = disk.OS()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	return o
}

// DB is one data directory. Open it with Open; its methods may be called from any goroutine.
type DB struct {
	options Options
	fence   *disk.Fence // all of the engine's files are behind it
	watch   io.Closer   // ends the watching of slow operations
	cache   *pebble.Cache
	pebble  *pebble.DB
	gate    sync.RWMutex // shared by writers, exclusive for Checkpoint
	failed  atomic.Pointer[error]
	stopped chan struct{} // closed when it has failed
	node    nodeRows
	space   spaceWatch

	pressure pressureWatch

	applyFault, syncFault *fault.Point

	shard    *trace.Shard
	observed observed

	syncTime    metrics.Histogram
	applyTime   metrics.Histogram
	batches     atomic.Uint64
	rows        atomic.Uint64
	reads       atomic.Uint64
	stalls      atomic.Uint64
	corruptions atomic.Uint64

	closed atomic.Bool
	naming sync.Mutex // held by who adds or drops a bucket, over the write
	next   bid        // the next bid to give; guarded by naming
	mu     struct {
		sync.Mutex
		buckets map[string]*Bucket
	}
}

// Open opens the data directory, recovers what a crash left and notes that this start has begun. ErrNewerFormat if a newer
// program wrote it. Opening a directory that somebody else has open is an error of the engine's lock.
func Open(o Options) (*DB, error) {
	db := &DB{options: o.withDefaults(), stopped: make(chan struct{})}
	db.applyFault = db.options.Faults.Point("storage.apply")
	db.syncFault = db.options.Faults.Point("storage.sync")
	db.shard = db.options.Trace.Shard(0)
	db.observed.opened = time.Now()
	timed := db.options.FS
	if trace.Enabled {
		timed = disk.Timed(timed, db.observe)
	}
	full := disk.OnFull(timed, db.diskFull)
	watched, stop := disk.Watched(full, slowDisk, db.diskSlow)
	db.watch = stop
	db.fence = disk.NewFence(watched, disk.FenceOptions{Vital: vital, Broken: func(op disk.Op, err error) {
		db.fail(fmt.Errorf("%s: %w", op.Path, err))
	}})
	db.cache = pebble.NewCache(db.options.CacheBytes)
	if err := db.guarded(func() (err error) {
		db.pebble, err = pebble.Open(db.options.Dir, db.engineOptions())
		return err
	}); err != nil {
		db.release()
		return nil, fmt.Errorf("open store %s: %w", db.options.Dir, err)
	}
	if err := db.begin(); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", db.options.Dir, err), db.Close())
	}
	return db, nil
}

// begin reads the node's rows and the list of buckets, and notes the start.
func (db *DB) begin() error {
	if err := db.readNode(); err != nil {
		return err
	}
	if err := db.readBuckets(); err != nil {
		return err
	}
	if db.options.ReadOnly {
		return nil
	}
	if err := db.noteStart(); err != nil {
		return err
	}
	if err := db.dropUnfinishedCheckpoints(); err != nil {
		return err
	}
	_, err := db.CheckSpace()
	return err
}

// release gives back what Open took before the engine ran.
func (db *DB) release() {
	db.cache.Unref()
	_ = db.watch.Close() // only ends goroutines
}

// fail makes the store stop for good. Only the first error counts.
func (db *DB) fail(err error) {
	failure := fmt.Errorf("%w: %w", ErrFailed, err)
	if !db.failed.CompareAndSwap(nil, &failure) {
		return
	}
	db.fence.Shut(failure)
	close(db.stopped)
	db.options.Logger.Error("store failed; the process must end, and the next start recovers", "error", err)
	if f := db.options.Events.Fatal; f != nil {
		f(failure)
	}
}

// Failed gives the error that made the store stop, nil while it works.
func (db *DB) Failed() error {
	if err := db.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// vital reports whether an operation of the engine is one whose failure it cannot survive: those on its log and manifest,
// and the syncs of directories. See disk.Fence.
func vital(op disk.Op) bool {
	if op.Kind == disk.SyncDirectory {
		return true
	}
	if op.Kind == disk.Remove {
		return false
	}
	name := op.Path[strings.LastIndexAny(op.Path, `/\`)+1:]
	return strings.HasSuffix(name, ".log") || strings.HasPrefix(name, "MANIFEST-")
}

// guarded calls the engine for something that may write. What failed on the disk comes to fail, by way of the fence or of the
// engine's logger, and the engine returns as if all were well, or panics: all of that becomes ErrFailed here. A panic that
// says something else is a bug and stays one.
func (db *DB) guarded(call func() error) (err error) {
	defer func() {
		switch met := recover().(type) {
		case nil:
		case runtime.Error:
			panic(met)
		case error:
			db.fail(met)
		default:
			panic(met)
		}
		if failed := db.Failed(); failed != nil {
			err = failed
		}
	}()
	return call()
}

// write applies a batch and closes it. The batch is visible when it returns; it is durable only with sync.
func (db *DB) write(b *pebble.Batch, sync bool) error {
	options := pebble.NoSync
	if sync {
		options = pebble.Sync
	}
	db.gate.RLock()
	defer db.gate.RUnlock()
	if err := db.writable(); err != nil {
		return errors.Join(err, b.Close())
	}
	begin := time.Now()
	err := db.guarded(func() error { return db.pebble.Apply(b, options) })
	db.applyTime.Record(time.Since(begin))
	if err != nil { // the engine may still hold the batch
		return fmt.Errorf("apply batch: %w", err)
	}
	if err := b.Close(); err != nil {
		return fmt.Errorf("close batch: %w", err)
	}
	return nil
}

// writable says why nothing can be written, if so.
func (db *DB) writable() error {
	if err := db.Failed(); err != nil {
		return err
	}
	if db.closed.Load() {
		return ErrClosed
	}
	return nil
}

// Sync returns when everything that was applied before it was called is on disk. ErrFailed if that cannot be said: then it
// must not be acknowledged, and nothing more can be written.
func (db *DB) Sync() error {
	db.gate.RLock()
	defer db.gate.RUnlock()
	return db.syncGated()
}

func (db *DB) syncGated() error {
	if err := db.writable(); err != nil {
		return err
	}
	if err := db.syncFault.Hit(context.Background()); err != nil {
		db.fail(err)
		return db.Failed()
	}
	begin := time.Now()
	err := db.guarded(func() error { return db.pebble.LogData(nil, pebble.Sync) })
	db.syncTime.Record(time.Since(begin))
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// Close ends the store. It does not sync: what was not synced may be lost. It is idempotent. After a failure the engine is
// left as it is, because it cannot be ended in order; the process must end.
func (db *DB) Close() error {
	if db.closed.Swap(true) {
		return nil
	}
	if db.Failed() != nil {
		_ = db.watch.Close() // only ends goroutines
		return nil
	}
	db.gate.Lock() // a writer may still be inside
	defer db.gate.Unlock()
	err := db.pebble.Close()
	db.release()
	if err != nil {
		return fmt.Errorf("close store: %w", err)
	}
	return nil
}

// get reads one row. The value is a copy appended to dst. ErrNotFound if it is not there.
func (db *DB) get(dst, key []byte) ([]byte, error) {
	if db.closed.Load() {
		return dst, ErrClosed
	}
	db.reads.Add(1)
	row, done, err := db.pebble.Get(key)
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return dst, ErrNotFound
	case err != nil:
		return dst, fmt.Errorf("read row: %w", err)
	}
	dst = append(dst, row...)
	if err := done.Close(); err != nil {
		return dst, fmt.Errorf("read row: %w", err)
	}
	return dst, nil
}

// Dir is the data directory.
func (db *DB) Dir() string { return db.options.Dir }

// CASCeiling is a CAS that no start before this one has passed (kv.md 5): who gives CAS values begins above it.
func (db *DB) CASCeiling() vbucket.CAS { return vbucket.CAS(db.node.startCeiling) }
