package mcserver

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/mctext"
)

// memcachedVersion is what clients of the port are told: they read three numbers and take from them what a server can do.
const memcachedVersion = "1.6.31-charpoy"

// textLogin answers the commands of a connection that has not logged in: only a set whose data are user and password is
// listened to.
func (c *conn) textLogin(ctx context.Context, w *work, command *mctext.Command) (outcome, error) {
	if c.server.options.MemcachedAuth != MemcachedASCII || command.Verb != mctext.Set || command.Fault != "" && !command.TooLarge {
		return w.refusal(mctext.FaultUnauthorized)
	}
	t := &w.plain.tally
	t.add(statAuth)
	c.server.numbers.logins.Add(1)
	user, password, ok := bytes.Cut(command.Value, []byte(" "))
	var id *auth.Identity
	err := auth.ErrBadCredentials
	if ok {
		id, err = c.server.auth.CheckPassword(ctx, string(user), string(password), c.remote())
	}
	c.loginDone(mcbp.MechPlain, w.begun, err)
	if err != nil {
		t.add(statAuthError)
		_ = c.loginFailed(mcbp.MechPlain, err)
		return w.refusal(mctext.FaultLogin)
	}
	c.login(id)
	return w.line("STORED")
}

// textSilence is for commands that are answered by what comes after them.
func (c *conn) textSilence(context.Context, *work, *mctext.Command, *kv.Key) (outcome, error) {
	return succeeded, nil
}

func (c *conn) textVersion(_ context.Context, w *work, _ *mctext.Command, _ *kv.Key) (outcome, error) {
	return w.line("VERSION " + memcachedVersion)
}

// textVerbosity answers verbosity: how much is logged is the operator's business.
func (c *conn) textVerbosity(_ context.Context, w *work, _ *mctext.Command, _ *kv.Key) (outcome, error) {
	return w.line("OK")
}

func (c *conn) textShutdown(_ context.Context, w *work, _ *mctext.Command, _ *kv.Key) (outcome, error) {
	return w.refusal("ERROR: shutdown not enabled")
}

// textTuning answers lru and slabs: there is nothing to tune, and tools that try are content with that.
func (c *conn) textTuning(_ context.Context, w *work, command *mctext.Command, _ *kv.Key) (outcome, error) {
	word, rest := mctext.NextKey(command.Args)
	known := false
	switch string(word) {
	case "mode", "temp_ttl":
		known = command.Verb == mctext.LRU && len(rest) > 0
	case "tune":
		known = command.Verb == mctext.LRU && len(bytes.Fields(rest)) >= 4
	case "automove":
		known = command.Verb == mctext.Slabs && len(rest) > 0
	case "reassign":
		known = command.Verb == mctext.Slabs && len(bytes.Fields(rest)) >= 2
	}
	if !known {
		return w.refusal(mctext.FaultUnknown)
	}
	return w.line("OK")
}

// textWatch answers watch: events are for the server's own tracing.
func (c *conn) textWatch(_ context.Context, w *work, _ *mctext.Command, _ *kv.Key) (outcome, error) {
	return w.refusal(mctext.FaultUnknown)
}

// mayFlush checks that the bucket may be emptied by this client: its settings allow it, and so do rights that reach everywhere
// in the bucket, since all collections go.
func (c *conn) mayFlush() error {
	s := &c.session
	if err := c.mayPlain(mcbp.NeedLogin); err != nil {
		return err
	}
	if !s.bucket.Spec().FlushEnabled || c.server.options.Flush == nil || !s.access.Has(auth.Delete) && !s.access.Has(auth.BucketFlush) {
		return errNoFlush
	}
	return nil
}

var errNoFlush = errors.New("flush_all not allowed")

// flushAll empties the bucket, now or after a delay in wire form.
func (c *conn) flushAll(ctx context.Context, w *work, delay uint32) error {
	if err := c.mayFlush(); err != nil {
		return err
	}
	w.plain.tally.add(statFlush)
	return c.server.flush.order(ctx, c.server, int64(w.at.Unix()), delay)
}

// textFlush answers flush_all.
func (c *conn) textFlush(ctx context.Context, w *work, command *mctext.Command, _ *kv.Key) (outcome, error) {
	err := c.flushAll(ctx, w, command.Expiry)
	switch {
	case errors.Is(err, errNoFlush):
		return w.refusal("CLIENT_ERROR flush_all not allowed")
	case err != nil:
		return failed, err
	}
	return w.line("OK")
}

// textMemLimit answers cache_memlimit: the bucket's quota, for users who may change the bucket.
func (c *conn) textMemLimit(ctx context.Context, w *work, command *mctext.Command, _ *kv.Key) (outcome, error) {
	const refusal = "MEMLIMIT_ADJUST_FAILED out of bounds or unable to adjust"
	s := &c.session
	if err := c.mayPlain(mcbp.NeedLogin); err != nil {
		return refused, err
	}
	if c.server.options.Resize == nil || !s.access.Has(auth.BucketWrite) || command.Delta > maxMemLimit {
		return w.refusal(refusal)
	}
	if err := c.server.options.Resize(ctx, s.bucketName(), int64(command.Delta)<<20); err != nil {
		return w.refusal(refusal)
	}
	return w.line("OK")
}

// flusher carries out flush_all with a delay. Documents that are older than the moment count as missing from then on: whoever
// comes next on the port empties the bucket first, and if nobody comes a goroutine does. A later order replaces an earlier one.
// It is memory only: a restart forgets it.
type flusher struct {
	due  atomic.Int64  // Unix seconds, 0 = nothing is ordered
	wake chan struct{} // mailbox of one: due has changed
	turn chan struct{} // holds one token while somebody flushes
}

func newFlusher() *flusher {
	return &flusher{wake: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
}

// order empties the bucket now, or remembers when.
func (f *flusher) order(ctx context.Context, s *Server, now int64, delay uint32) error {
	at := int64(delay)
	if delay != 0 && delay <= longestDelay {
		at += now
	}
	if at > now {
		f.due.Store(at)
		select {
		case f.wake <- struct{}{}:
		default: // it is awake already, and will see the new time
		}
		return nil
	}
	f.due.Store(0)
	return f.flush(ctx, s)
}

// longestDelay is the longest time that is counted from now, in seconds; what is larger is an absolute time (wire.md 7.5).
const longestDelay = 30 * 24 * 3600

// overdue empties the bucket if the time of an order has come. Nobody passes here before it is empty.
func (f *flusher) overdue(ctx context.Context, s *Server) error {
	due := f.due.Load()
	if due == 0 || int64(s.clock.Now().Unix()) < due {
		return nil
	}
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-f.turn }()
	if f.due.Load() != due {
		return nil // done meanwhile
	}
	err := f.flush(ctx, s)
	f.due.CompareAndSwap(due, 0)
	return err
}

func (f *flusher) flush(ctx context.Context, s *Server) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	return s.options.Flush(ctx, s.options.MemcachedBucket)
}

// flushLoop carries out delayed orders for whose time nobody has come.
func (s *Server) flushLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.flush.wake:
		}
		for s.flush.due.Load() != 0 {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(flushCheck):
			}
			if err := s.flush.overdue(ctx, s); err != nil {
				s.logger.Warn("delayed flush failed", "bucket", s.options.MemcachedBucket, "error", err)
			}
		}
	}
}
