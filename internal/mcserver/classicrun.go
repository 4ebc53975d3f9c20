package mcserver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// runClassic answers one request. absent says why there is no bucket.
func (c *conn) runClassic(ctx context.Context, w *work, q *classicRequest, absent error) verdict {
	mark, counts := len(w.out), c.session.counts
	c.traced.batch.At(w.stamped)
	if trace.OpStart.On() {
		c.fireStart(&q.request)
	}
	var err error
	if c.server.options.Interceptor == nil {
		err = c.executeClassic(ctx, w, q, absent)
	} else {
		err = c.executeClassicIntercepted(ctx, w, q, absent)
	}
	w.plain.tally.classic(q, err)
	class := succeeded
	quietSuccess, quietMiss := quietClassic(q.Opcode)
	switch {
	case err != nil:
		w.out = w.out[:mark]
		class = c.classicFail(w, q, err, quietMiss)
	case quietSuccess:
		w.out = w.out[:mark]
	}
	next := goOn
	if c.server.options.Interceptor != nil && c.intercepted(w, mark, class) {
		next = hangUp
	}
	w.stamp(&q.request, mark, class, counts)
	if q.closes || q.Opcode == mcbp.OpQuit || q.Opcode == mcbp.OpQuitQ {
		return hangUp
	}
	return next
}

// executeClassic does the checks that need more than the request, then the request.
func (c *conn) executeClassic(ctx context.Context, w *work, q *classicRequest, absent error) error {
	s := &c.session
	op := &classicOps[q.Opcode]
	switch {
	case op.login && c.server.options.MemcachedAuth != MemcachedSASL:
		return &faultError{status: mcbp.StatusUnknownCommand}
	case q.fault != mcbp.StatusSuccess:
		return c.classicMalformed(ctx, w, q)
	case op.free:
		return op.run(c, ctx, w, &q.request)
	case absent != nil:
		return absent
	case s.bucket == nil: // a login has come before in this batch
		return data.ErrNotReady
	}
	if err := c.mayPlain(op.need); err != nil {
		return err
	}
	if q.Opcode != mcbp.OpFlush && q.Opcode != mcbp.OpFlushQ {
		w.plain.mutated = w.plain.mutated || op.need != mcbp.NeedRead
	}
	return op.run(c, ctx, w, &q.request)
}

// executeClassicIntercepted is executeClassic on a server with an interceptor.
func (c *conn) executeClassicIntercepted(ctx context.Context, w *work, q *classicRequest, absent error) error {
	o := c.describe(&q.request)
	o.Document = q.key >= 0
	return c.intercept(ctx, w, o, func() error { return c.executeClassic(ctx, w, q, absent) })
}

// classicMalformed answers a request that is wrong by itself.
func (c *conn) classicMalformed(ctx context.Context, w *work, q *classicRequest) error {
	set := q.Opcode == mcbp.OpSet || q.Opcode == mcbp.OpSetQ
	if q.fault == mcbp.StatusTooBig && set && q.key >= 0 && c.mayPlain(mcbp.NeedUpsert) == nil {
		// The client believes that the old value is gone. One that is out of date must not be left to be read.
		_, _ = c.session.bucket.KV().Delete(ctx, w.at, q.request.key, &kv.Write{}) // whether there was one is of no interest
	}
	return &faultError{status: q.fault}
}

// classicFail appends the reply to a request that ended with err, unless the opcode keeps quiet about it.
func (c *conn) classicFail(w *work, q *classicRequest, err error, quietMiss bool) outcome {
	status, text := c.classicStatus(q, err)
	if status == mcbp.StatusNotFound && quietMiss {
		return missed
	}
	at := w.open(&c.session)
	key := 0
	switch {
	case status == mcbp.StatusNotFound && (q.Opcode == mcbp.OpGetK || q.Opcode == opGetAndTouchK):
		w.out = append(w.out, q.Key...)
		key = len(q.Key)
	default:
		w.out = append(w.out, text...)
	}
	w.seal(&c.session, &q.request, at, reply{status: status, key: key})
	return outcomeOf(status)
}

// classicStatus gives the status and text of an error. Plain memcached clients know few statuses; the others become one of
// those, and the text says what it is about.
func (c *conn) classicStatus(q *classicRequest, err error) (mcbp.Status, string) {
	name := c.server.options.MemcachedBucket
	switch {
	case err == kv.ErrNotFound: //nolint:errorlint // the common miss, as it is returned; it must cost no allocation
		return mcbp.StatusNotFound, "Not found"
	case errors.Is(err, data.ErrNoBucket):
		return mcbp.StatusTempFail, fmt.Sprintf("Bucket %q does not exist", name)
	case errors.Is(err, data.ErrNotReady):
		return mcbp.StatusTempFail, fmt.Sprintf("Bucket %q is not ready", name)
	}
	f := c.explain(&q.request, err)
	switch status := c.remap(f.status, q.Opcode); status {
	case mcbp.StatusNotFound:
		return status, "Not found"
	case mcbp.StatusExists:
		return status, "Data exists for key."
	case mcbp.StatusTooBig:
		return status, "Too large."
	case mcbp.StatusInvalid:
		return status, "Invalid arguments"
	case mcbp.StatusNotStored:
		return status, "Not stored."
	case mcbp.StatusBadDelta:
		return status, "Non-numeric server-side value for incr or decr"
	case mcbp.StatusAuthError, mcbp.StatusAccess:
		return mcbp.StatusAuthError, "Auth failure."
	case mcbp.StatusUnknownCommand:
		return status, "Unknown command"
	case mcbp.StatusNoMemory:
		return status, "Out of memory"
	case mcbp.StatusNotMyVBucket, mcbp.StatusNoBucket:
		return mcbp.StatusTempFail, status.Desc()
	case mcbp.StatusInternal:
		return status, "Internal error " + f.ref
	default:
		return status, status.Desc()
	}
}

// classicCount answers INCR and DECR, here with a CAS if the request has one.
func (c *conn) classicCount(ctx context.Context, w *work, q *request) error {
	extras := mcbp.ParseCounterExtras(q.Extras)
	w.counter = kv.Count{
		Delta: extras.Delta, Initial: extras.Initial, Expiry: extras.Expiry, CAS: vbucket.CAS(q.CAS),
		Decrement: q.Opcode == mcbp.OpDecrement || q.Opcode == mcbp.OpDecrementQ,
		Create:    extras.Expiry != mcbp.CounterNoCreate,
	}
	n, done, err := c.session.bucket.KV().Counter(ctx, w.at, q.key, &w.counter)
	if err != nil {
		return err
	}
	at := w.open(&c.session)
	w.putUint64(n)
	w.seal(&c.session, q, at, reply{cas: done.CAS})
	return nil
}

// classicTouch answers TOUCH, here with the document's flags.
func (c *conn) classicTouch(ctx context.Context, w *work, q *request) error {
	p := w.plain
	p.access = kv.Access{Touch: true, Expiry: binary.BigEndian.Uint32(q.Extras), Unseen: true}
	if _, err := c.session.bucket.KV().Access(ctx, w.at, q.key, &p.access, &p.found, nil); err != nil {
		return err
	}
	at := w.open(&c.session)
	w.putUint32(p.found.Flags)
	w.seal(&c.session, q, at, reply{cas: p.found.CAS, extras: flagsLen})
	return nil
}

// classicGetAndTouch answers GAT and its variants with the key.
func (c *conn) classicGetAndTouch(ctx context.Context, w *work, q *request) error {
	var key []byte
	if q.Opcode == opGetAndTouchK || q.Opcode == opGetAndTouchKQ {
		key = q.Key
	}
	at := c.openDocument(w, key)
	m, out, err := c.session.bucket.KV().GetAndTouch(ctx, w.at, q.key, binary.BigEndian.Uint32(q.Extras), w.out)
	if err != nil {
		return err
	}
	w.out = out
	return c.sealDocument(w, q, at, &m, len(key))
}

// classicFlush answers FLUSH.
func (c *conn) classicFlush(ctx context.Context, w *work, q *request) error {
	delay := uint32(0)
	if len(q.Extras) > 0 {
		delay = binary.BigEndian.Uint32(q.Extras)
	}
	if err := c.flushAll(ctx, w, delay); err != nil {
		if errors.Is(err, errNoFlush) {
			return auth.ErrNotAllowed
		}
		return err
	}
	w.empty(&c.session, q, 0)
	return nil
}

// classicStat answers STAT: a packet for each pair, then an empty one.
func (c *conn) classicStat(_ context.Context, w *work, q *request) error {
	words := strings.Fields(string(q.Key))
	if len(words) == 1 && words[0] == "reset" {
		c.server.plain.reset()
		w.empty(&c.session, q, 0)
		return nil
	}
	e := &emitter{c, w, q}
	known, err := c.plainStats(words, e.put)
	switch {
	case err != nil:
		return err
	case !known:
		return errUnknownGroup
	}
	w.empty(&c.session, q, 0)
	return nil
}

func (c *conn) classicVersion(_ context.Context, w *work, q *request) error {
	w.value(&c.session, q, 0, []byte(memcachedVersion))
	return nil
}

// classic counts a request that ended with err.
func (t *plainTally) classic(q *classicRequest, err error) {
	miss := errors.Is(err, kv.ErrNotFound)
	either := func(hit, missed plainStat) {
		switch {
		case err == nil:
			t.add(hit)
		case miss:
			t.add(missed)
		}
	}
	switch q.Opcode {
	case opGetAndTouchK, opGetAndTouchKQ, mcbp.OpGetAndTouch, mcbp.OpGetAndTouchQ:
		t.add(statGet)
		t.add(statTouch)
		either(statGetHit, statGetMiss)
		either(statTouchHit, statTouchMiss)
	case mcbp.OpGet, mcbp.OpGetQ, mcbp.OpGetK, mcbp.OpGetKQ:
		t.add(statGet)
		either(statGetHit, statGetMiss)
	case mcbp.OpTouch:
		t.add(statTouch)
		either(statTouchHit, statTouchMiss)
	case mcbp.OpDelete, mcbp.OpDeleteQ:
		either(statDeleteHit, statDeleteMiss)
	case mcbp.OpIncrement, mcbp.OpIncrementQ, mcbp.OpDecrement, mcbp.OpDecrementQ:
		t.counted(q.Opcode == mcbp.OpDecrement || q.Opcode == mcbp.OpDecrementQ, err)
	case mcbp.OpSASLAuth, mcbp.OpSASLStep:
		t.add(statAuth)
		if err != nil {
			t.add(statAuthError)
		}
	default:
		if classicOps[q.Opcode].value {
			t.stored(q, err)
		}
	}
}

// stored counts a request with a value.
func (t *plainTally) stored(q *classicRequest, err error) {
	t.add(statSet)
	switch {
	case q.fault == mcbp.StatusTooBig, errors.Is(err, kv.ErrTooBig):
		t.add(statTooLarge)
	case errors.Is(err, kv.ErrNoMemory), errors.Is(err, kv.ErrBusy):
		t.add(statNoMemory)
	case q.CAS == 0:
	case err == nil:
		t.add(statCASHit)
	case errors.Is(err, kv.ErrNotFound):
		t.add(statCASMiss)
	case errors.Is(err, kv.ErrCASMismatch):
		t.add(statCASBad)
	}
}
