package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/client"
)

// Bounds of bulk work.
const (
	bulkWorkers  = 64               // requests that are under way at once, unless asked otherwise
	bulkQueue    = 16               // documents that wait for each worker
	bulkPatience = 60 * time.Second // how long one document is tried while the server is busy or away
	firstPause   = 10 * time.Millisecond
	longestPause = time.Second
)

// bulk is many requests to one bucket: over one connection, which is made anew when it is lost, and with patience while
// the server is busy.
type bulk struct {
	pool     *client.Pool
	bucket   string
	patience time.Duration
}

func newBulk(o client.Options) *bulk {
	return &bulk{pool: client.NewPool(o), bucket: o.Bucket, patience: bulkPatience}
}

func (b *bulk) close() { _ = b.pool.Close() } // every request has had its answer

// do makes one request, again and again while that makes sense.
func (b *bulk) do(ctx context.Context, request func(*client.Conn) error) error {
	begun := time.Now()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		conn, err := b.pool.Conn(ctx, b.bucket)
		if err == nil {
			err = request(conn)
		}
		if err == nil || ctx.Err() != nil || !passing(err) || time.Since(begun) > b.patience || !sleep(ctx, pause) {
			return err
		}
	}
}

// passing reports whether an error may be gone in a moment.
func passing(err error) bool {
	for _, kind := range []error{
		client.ErrTemporary, client.ErrNoMemory, client.ErrConnection, client.ErrLocked, client.ErrSyncWriteInProgress,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	f := describeRemote(err)
	return f != nil && f.code == exitUnreachable
}

// aboutDocument reports whether an error says something of the one document, so that the next one may go well.
func aboutDocument(err error) bool {
	for _, kind := range []error{client.ErrTooBig, client.ErrInvalid, client.ErrExists, client.ErrNotFound, client.ErrBadDelta} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// load is one document on its way into a bucket.
type load struct {
	line  int64 // in the source, from 1
	key   string
	value []byte
	with  client.With
}

// lineError is a line that could not be loaded.
type lineError struct {
	line int64
	err  error
}

// Error names the line.
func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }

// Unwrap gives what was wrong.
func (e *lineError) Unwrap() error { return e.err }

// loader writes documents with many requests under way. Two documents with one key are written in their order, since a key
// always goes to the same worker.
type loader struct {
	bulk    *bulk
	op      storeFunc
	workers int
	// next gives the documents in turn and is called by one goroutine. Errors: io.EOF at the end; a *lineError, after which it
	// goes on; others end the load. The value must stay as it is.
	next func() (load, error)
	// bad is told of each line that cannot be loaded; an error ends the load. It may be called concurrently.
	bad func(*lineError) error
	// moved is told after each document, concurrently.
	moved func(loaderState)

	mu struct {
		sync.Mutex
		loaderState
		frontier frontier
	}
}

// loaderState is how far a loader is.
type loaderState struct {
	Line                int64 // every line up to this one is finished
	Docs, Bytes, Failed int64
}

// run loads everything. It returns when no request is under way any more; the state then says what was done.
func (l *loader) run(parent context.Context) (loaderState, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	queues := make([]chan load, l.workers)
	var wait sync.WaitGroup
	for i := range queues {
		queues[i] = make(chan load, bulkQueue)
		wait.Go(func() {
			for d := range queues[i] {
				if ctx.Err() != nil {
					continue // only to let the producer go
				}
				if err := l.write(ctx, d); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := l.feed(ctx, queues) // what is queued when the source fails is still written
	for _, q := range queues {
		close(q)
	}
	wait.Wait()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.loaderState, err
}

// begin says where an earlier run ended.
func (l *loader) begin(s loaderState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.loaderState = s
	l.mu.frontier.done = s.Line
}

// write writes one document.
func (l *loader) write(ctx context.Context, d load) error {
	err := l.bulk.do(ctx, func(c *client.Conn) error {
		_, err := l.op(c, ctx, d.key, d.value, d.with)
		return err
	})
	switch {
	case err == nil:
		l.finish(d.line, int64(len(d.value)), true)
		return nil
	case aboutDocument(err):
		return l.fault(&lineError{d.line, about(d.key, err)})
	}
	return err
}

// fault notes a line that cannot be loaded.
func (l *loader) fault(e *lineError) error {
	if err := l.bad(e); err != nil {
		return err
	}
	l.finish(e.line, 0, false)
	return nil
}

func (l *loader) finish(line, bytes int64, good bool) {
	l.mu.Lock()
	l.mu.Line = l.mu.frontier.finish(line)
	if good {
		l.mu.Docs++
		l.mu.Bytes += bytes
	} else {
		l.mu.Failed++
	}
	now := l.mu.loaderState
	l.mu.Unlock()
	l.moved(now)
}
