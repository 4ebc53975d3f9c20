package kv

import (
	"errors"
	"fmt"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/storage"
)

// partialWait is how long a reader waits for the flusher to complete a snapshot on disk.
const partialWait = 5 * time.Millisecond

// errPartial says that the rows on disk are in the middle of a snapshot: they are no state that ever was.
var errPartial = errors.New("the flusher has not completed the snapshot on disk")

// backfill reads a snapshot of a vBucket from disk, for a reader whose place the window has left behind.
type backfill struct {
	scan     *storage.SeqScan
	snapshot change.Snapshot
	pending  bool // the scan's present row has not been delivered
}

// beginBackfill opens a snapshot of everything on disk after the cursor's place. The cursor joins the window at the persisted
// seqno first, so that what follows is kept while the scan runs. If it is dropped again meanwhile, another backfill follows.
func (r *reader) beginBackfill(c *cursor) error {
	vb := c.vb
	vb.mu.Lock()
	after := c.next - 1
	if c.end != nil || after >= vb.mu.persisted {
		if c.end == nil {
			vb.addCursor(c)
		}
		vb.mu.Unlock()
		r.mark(vb.id)
		return nil
	}
	uuid := vb.mu.uuid
	c.next = vb.mu.persisted + 1
	vb.addCursor(c)
	vb.mu.Unlock()

	scan, err := r.b.store.ScanSeq(vb.id, after)
	if err == nil {
		if state := scan.State(); state.Whole() && state.High > after {
			vb.mu.Lock()
			c.next = max(c.next, state.High+1)
			vb.mu.Unlock()
			r.disk = &backfill{scan: scan, snapshot: change.Snapshot{UUID: uuid, Low: after, High: state.High, FromDisk: true}}
			r.current = c
			return nil
		}
		if err = scan.Close(); err == nil {
			err = errPartial
		}
	}
	vb.mu.Lock()
	defer vb.mu.Unlock()
	c.next = after + 1
	vb.removeCursor(c)
	c.behind = true
	c.chunk, c.index = nil, 0
	vb.trim(r.b)
	if errors.Is(err, errPartial) {
		return err
	}
	return fmt.Errorf("backfill vb %d for reader %s: %w", vb.id, r.name, err)
}

// fill copies rows into out until so many bytes are in it, or the scan ends: then done is true.
func (f *backfill) fill(out *copied, most int) (done bool, err error) {
	for len(out.buf) < most {
		if !f.pending && !f.scan.Next() {
			return true, f.scan.Err()
		}
		m := f.scan.Mutation()
		f.pending = !out.take(m, m.Key, m.Value)
		if !f.pending {
			continue
		}
		if len(out.mutations) > 0 {
			return false, nil
		}
		out.makeRoom()
	}
	return false, nil
}

func (f *backfill) close() { _ = f.scan.Close() } // whatever was wrong with the scan has been told by fill
