package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/cockroachdb/pebble/v2"

	"github.com/charpoy/charpoy/internal/disk"
)

// Names below the data directory. A checkpoint counts only once it has its completion file: a crash may leave one that the
// engine could not open.
const (
	checkpointDir  = "checkpoints"
	checkpointDone = "COMPLETE"
)

// Checkpoint makes a consistent copy of the store as it is now, below the data directory, mostly of links, and returns its
// directory; open it with ReadOnly. With buckets given, only their rows can be relied on in it, without, all can. Writers
// wait while it is made: about as long as a sync. RemoveCheckpoint gives its space back.
func (db *DB) Checkpoint(ctx context.Context, name string, buckets ...*Bucket) (string, error) {
	fsys := db.fence
	dir := fsys.PathJoin(db.options.Dir, checkpointDir, name)
	if _, err := fsys.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("checkpoint %s: %w", name, errors.Join(fs.ErrExist, err))
	}
	var spans []pebble.CheckpointSpan
	for _, b := range buckets {
		start, end := bucketSpan(b.bid)
		spans = append(spans, pebble.CheckpointSpan{Start: start, End: end})
	}
	if len(spans) > 0 { // node rows name the buckets
		spans = append(spans, pebble.CheckpointSpan{Start: nodeKey(""), End: bucketStart()})
	}
	// Once without the gate, so that there is little left to flush behind it.
	if err := db.flush(ctx); err != nil {
		return "", fmt.Errorf("checkpoint %s: %w", name, err)
	}
	if err := db.checkpointGated(ctx, dir, spans); err != nil {
		return "", errors.Join(fmt.Errorf("checkpoint %s: %w", name, err), fsys.RemoveAll(dir))
	}
	f, err := fsys.Create(fsys.PathJoin(dir, checkpointDone), disk.Own)
	if err != nil {
		return "", fmt.Errorf("checkpoint %s: %w", name, err)
	}
	if err := errors.Join(f.Sync(), f.Close(), disk.SyncDir(fsys, dir)); err != nil {
		return "", fmt.Errorf("checkpoint %s: %w", name, err)
	}
	return dir, nil
}

func bucketStart() []byte {
	start, _ := bucketSpan(nodeBid + 1)
	return start
}

// checkpointGated makes the copy while nobody writes: this version of the engine copies its log while it is written to, and
// that copy may be torn.
func (db *DB) checkpointGated(ctx context.Context, dir string, spans []pebble.CheckpointSpan) error {
	db.gate.Lock()
	defer db.gate.Unlock()
	ctx, cancel := context.WithTimeout(ctx, gatedFlush)
	defer cancel()
	if err := db.flush(ctx); err != nil {
		return err
	}
	if err := db.syncGated(); err != nil {
		return err
	}
	var options []pebble.CheckpointOption
	if len(spans) > 0 {
		options = append(options, pebble.WithRestrictToSpans(spans))
	}
	return db.guarded(func() error { return db.pebble.Checkpoint(dir, options...) })
}

// flush brings what was written into table files. On a full disk it waits for space until ctx ends.
func (db *DB) flush(ctx context.Context) error {
	if err := db.writable(); err != nil {
		return err
	}
	var done <-chan struct{}
	if err := db.guarded(func() (err error) {
		done, err = db.pebble.AsyncFlush()
		return err
	}); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	select {
	case <-done:
		return nil
	case <-db.stopped:
		return db.Failed()
	case <-ctx.Done():
		return fmt.Errorf("flush: %w", context.Cause(ctx))
	}
}

// RemoveCheckpoint deletes a checkpoint. One that is not there is no error.
func (db *DB) RemoveCheckpoint(name string) error {
	dir := db.fence.PathJoin(db.options.Dir, checkpointDir, name)
	if err := db.fence.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove checkpoint %s: %w", name, err)
	}
	return nil
}

// dropUnfinishedCheckpoints deletes what a crash left of checkpoints that were being made.
func (db *DB) dropUnfinishedCheckpoints() error {
	root := db.fence.PathJoin(db.options.Dir, checkpointDir)
	names, err := db.fence.List(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list checkpoints: %w", err)
	}
	for _, name := range names {
		_, err := db.fence.Stat(db.fence.PathJoin(root, name, checkpointDone))
		if errors.Is(err, fs.ErrNotExist) {
			err = db.RemoveCheckpoint(name)
		}
		if err != nil {
			return fmt.Errorf("unfinished checkpoint %s: %w", name, err)
		}
	}
	return nil
}
