package mcserver

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// errParse stands for a panic in code that only looks at bytes.
var errParse = errors.New("panic while parsing")

// recoverParse makes a panic of the code that only looks at bytes an error. It is deferred: nothing is locked there, so nothing
// but the connection can be damaged.
func recoverParse(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v\n%s", errParse, p, debug.Stack())
	}
}

// process decodes up to maxBatch requests from in, runs them in order and appends their replies to w.out. It returns how
// many bytes of in are done with, and what should happen next. It does no I/O on the socket; operations that wait for the
// disk or for other copies do wait, and end early with ctx.
func (c *conn) process(ctx context.Context, w *work, in []byte) (used int, next verdict) {
	s := &c.session
	err := c.parse(w, in)
	if w.count == 0 {
		return 0, c.afterBatch(err)
	}
	c.beginBatch(w)
	c.touch(w)
	gone := s.bucketGone()
	single, starts := timesEach(w.count), trace.OpStart.On()
	w.usual = !gone && c.usual()
	for i := range w.count {
		q := &w.requests[i]
		if len(w.out) >= writeAt || len(w.out) > 0 && c.mayWait(q) { // a batch of large documents must not be held as a whole
			c.settle(w)
			return used, writeOut
		}
		used += q.size
		c.traced.batch.At(w.stamped)
		if starts {
			c.fireStart(q)
		}
		if c.run(ctx, w, q) == hangUp || gone && s.bucketGone() {
			c.settle(w)
			return used, hangUp
		}
		if single || c.mayWait(q) {
			c.settleNow(w)
		}
	}
	c.settleNow(w)
	c.brake(ctx, w)
	return used, c.afterBatch(err)
}

// brake lets the replies to a batch with mutations wait when the disk is behind, so that clients which wait for their
// replies settle at the disk's speed instead of filling memory until they are refused (kv.md 9).
func (c *conn) brake(ctx context.Context, w *work) {
	if d := c.brakeTime(); d > 0 && w.mutates() {
		rest(ctx, d)
	}
}

func (c *conn) brakeTime() time.Duration {
	if c.session.bucket == nil {
		return 0
	}
	return c.session.bucket.KV().Brake()
}

// rest waits, unless ctx ends.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// mutates reports whether the batch has a request that changes documents: those are the ones that may be durable.
func (w *work) mutates() bool {
	for i := range w.count {
		if q := &w.requests[i]; q.op != nil && q.op.Durability && q.fault == mcbp.StatusSuccess {
			return true
		}
	}
	return false
}

// beginBatch takes the time at which the requests of a batch have arrived.
func (c *conn) beginBatch(w *work) {
	w.at = c.server.clock.Now()
	w.begun = w.at.Mono
	w.stamped = 0
	c.traced.batch.Begin(w.begun, c.in.since)
	c.in.since = 0
}

// timesEach reports whether each of n requests is to be timed by itself. It is asked once a batch: what probes want is not
// looked up for each request.
func timesEach(n int) bool { return n <= stampEach || trace.OpByOp() }

// stampEach is the largest batch whose requests are timed one by one. In larger ones all share the time of the batch: a
// clock read would be a noticeable part of each request's cost there (observability.md 6.1).
const stampEach = 4

// afterBatch decides what follows a batch, from the reason for which parse ended it.
func (c *conn) afterBatch(err error) verdict {
	switch {
	case err == nil:
		return goOn
	case errors.Is(err, mcbp.ErrIncomplete):
		return needInput
	}
	c.traced.why = trace.CloseReasonProtocol
	c.logMalformed(err)
	return hangUp
}

// parse is the first pass: it decodes a batch and finds what is wrong with each request by itself, without looking at
// documents or rights. The batch ends behind a request that changes what later ones mean. The error says why it ended
// otherwise: ErrIncomplete when no whole frame is left, or what makes the connection unusable.
func (c *conn) parse(w *work, in []byte) (err error) {
	w.count = 0
	defer recoverParse(&err)
	for w.count < maxBatch {
		q := &w.requests[w.count]
		n, err := q.Decode(in)
		if err != nil {
			return c.bound(in, err)
		}
		q.size = n
		in = in[n:]
		switch q.Magic {
		case mcbp.MagicRequest, mcbp.MagicFlexRequest:
		case mcbp.MagicClientResponse: // to one of our pushes: nothing to do
			q.op, q.fault = nil, mcbp.StatusSuccess
			w.count++
			continue
		case mcbp.MagicResponse, mcbp.MagicFlexResponse, mcbp.MagicServerRequest:
			return mcbp.ErrMalformed
		}
		w.count++
		q.op = mcbp.Lookup(q.Opcode)
		q.fault, q.text = c.check(q)
		if q.op != nil && q.op.Session {
			return nil
		}
	}
	return nil
}

// bound refuses large frames of those who have not logged in.
func (c *conn) bound(in []byte, err error) error {
	if !errors.Is(err, mcbp.ErrIncomplete) || c.session.identity != nil {
		return err
	}
	if size, e := mcbp.Size(in); e == nil && size > maxStranger {
		return mcbp.ErrTooLarge
	}
	return err
}

// check does steps 2 to 10 and the form of 12 of wire.md 3.5: all that the bytes of a request alone decide.
func (c *conn) check(q *request) (mcbp.Status, string) {
	s := &c.session
	q.forget()
	if q.op == nil {
		return mcbp.StatusUnknownCommand, ""
	}
	if text := q.op.Validate(&q.Frame, uint8(s.datatypes), s.collections); text != "" {
		return mcbp.StatusInvalid, text
	}
	if q.Datatype&mcbp.DatatypeSnappy != 0 {
		if _, err := value.InflatedLen(q.Value); err != nil {
			return mcbp.StatusInvalid, "Failed to inflate payload"
		}
	}
	if len(q.FrameExtras) > 0 {
		q.extra = true
		if status, text := q.infos.Parse(q.FrameExtras, q.op); status != mcbp.StatusSuccess {
			return status, text
		}
	}
	if !q.op.Collection || s.bucket == nil {
		return mcbp.StatusSuccess, ""
	}
	collection, name, err := c.splitKey(q.Key)
	if err != nil {
		return mcbp.StatusInvalid, err.Error()
	}
	q.key = s.bucket.KV().Key(vbucket.ID(q.VB), collection, name)
	return mcbp.StatusSuccess, ""
}

// touch has the engine look at all documents of the batch at once, so that the waits for memory overlap (kv.md 3.3).
func (c *conn) touch(w *work) {
	if w.count < 2 || c.session.bucket == nil {
		return
	}
	count := c.session.bucket.Spec().NumVBuckets
	n := 0
	for i := range w.count {
		q := &w.requests[i]
		if q.op != nil && q.op.Collection && q.fault == mcbp.StatusSuccess && int(q.VB) < count {
			w.keys[n] = q.key
			n++
		}
	}
	if n > 1 {
		w.touched += c.session.bucket.KV().Prefetch(w.keys[:n])
	}
}

// mayWait reports whether a request can take long, so that earlier replies should not wait with it.
func (c *conn) mayWait(q *request) bool {
	if c.server.options.Interceptor.MayWait() {
		return true
	}
	if q.op == nil || q.fault != mcbp.StatusSuccess {
		return false
	}
	switch {
	case q.op.Durability:
		b := c.session.bucket
		return q.infos.Durability != 0 || b != nil && b.Spec().MinDurability != 0
	case q.Opcode == mcbp.OpSASLAuth || q.Opcode == mcbp.OpSASLStep:
		return true // hashing passwords is slow on purpose
	}
	return false
}

// settleNow settles the requests that have been run since the last time, if there are any.
func (c *conn) settleNow(w *work) {
	if w.stamped > 0 {
		w.at = c.server.clock.Now()
		c.settle(w)
	}
}

// settle writes the time since the batch arrived into the replies that wait for it, and counts their requests.
func (c *conn) settle(w *work) {
	if w.stamped == 0 {
		return
	}
	ns := max(w.at.Mono-w.begun, 0)
	var t tally
	for i := range w.stamped {
		st := &w.stamps[i]
		if st.at >= 0 {
			mcbp.PutDurationInfo(w.out[st.at+mcbp.HeaderLen:], uint64(ns)/1000)
		}
		t.add(st, ns)
	}
	t.flush(ns)
	c.traced.requests += int64(w.stamped)
	if trace.Enabled {
		c.traced.batch.Settle(w.at.Mono, w.stamped, c.server.numbers.stages)
		if trace.OpByOp() || c.server.options.Slow.Over(ns) {
			c.tell(w, ns)
		}
	}
	w.stamped = 0
}
