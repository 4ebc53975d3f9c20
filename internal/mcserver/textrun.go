package mcserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/fault"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/mctext"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// runUnit answers one unit. absent says why there is no bucket.
func (c *conn) runUnit(ctx context.Context, w *work, u *unit, absent error) verdict {
	p := w.plain
	command := &p.commands[u.command]
	op := &textOps[command.Verb]
	mark, counts := len(w.out), c.session.counts
	var k *kv.Key
	if u.key >= 0 {
		k = &w.keys[u.key]
	}
	c.traced.batch.At(w.stamped)
	if trace.OpStart.On() {
		c.fireTextStart(p, u, k)
	}
	var class outcome
	var err error
	next := goOn
	if c.server.options.Interceptor == nil {
		class, err = c.executeText(ctx, w, u, k, absent)
	} else {
		class, next, err = c.executeTextIntercepted(ctx, w, u, k, absent)
	}
	if err != nil {
		w.out = w.out[:mark]
		class = c.textFail(w, u, err)
	}
	if command.Quiet && !command.Verb.Meta() {
		w.out = w.out[:mark]
	}
	q := &w.requests[w.stamped]
	q.forget()
	q.VB, q.Opaque, q.size = 0, 0, 0
	if k != nil {
		q.VB, q.key = uint16(k.VB), *k
	}
	if u.first {
		q.size = p.sizes[u.command]
	}
	w.stamps[w.stamped] = stamp{
		at: -1, out: len(w.out) - mark, kind: mcbp.Lookup(op.like).Class, class: class, counts: counts, op: traceOps[op.like], q: q,
	}
	w.stamped++
	switch {
	case command.Skip.Pending():
		c.face.skip = command.Skip
	case command.Verb == mctext.Quit:
		return hangUp
	case c.face.dump != nil:
		return writeOut
	}
	return next
}

// executeText does the checks that need more than the command, then the command.
func (c *conn) executeText(ctx context.Context, w *work, u *unit, k *kv.Key, absent error) (outcome, error) {
	s := &c.session
	command := &w.plain.commands[u.command]
	op := &textOps[command.Verb]
	switch {
	case command.Verb == mctext.Quit:
		return succeeded, nil
	case s.identity == nil:
		return c.textLogin(ctx, w, command)
	case command.Fault != "":
		return c.textMalformed(ctx, w, command)
	case op.run == nil:
		return refused, errUnknownVerb
	case op.free:
		return op.run(c, ctx, w, command, k)
	case absent != nil:
		return refused, absent
	}
	if err := c.mayPlain(metaNeed(command, op.need)); err != nil {
		return refused, err
	}
	class, err := op.run(c, ctx, w, command, k)
	if err == nil && u.last && command.Verb.Retrieves() {
		w.out = mctext.AppendEnd(w.out)
	}
	return class, err
}

// executeTextIntercepted is executeText on a server with an interceptor.
func (c *conn) executeTextIntercepted(ctx context.Context, w *work, u *unit, k *kv.Key, absent error) (
	class outcome, next verdict, err error,
) {
	command := &w.plain.commands[u.command]
	o := &fault.Operation{
		Op: command.Verb.String(), Bucket: c.session.bucketName(), Document: k != nil, Connection: c.id,
	}
	c.identify(o)
	if k != nil {
		o.Key = string(k.Name)
		o.Scope, o.Collection, _ = collectionName(c.session.bucket.Manifest(), uint32(k.Coll))
	}
	mark := len(w.out)
	c.server.options.Interceptor.Begin(ctx, o)
	status := mcbp.StatusSuccess
	switch {
	case o.Injected.Runs():
		class, err = c.executeText(ctx, w, u, k, absent)
		if err == nil && class == missed {
			status = mcbp.StatusNotFound
		}
	case o.Injected.Status != 0:
		err = injected(o)
	default:
		class = refused
	}
	if err != nil {
		status = c.explain(&request{}, err).status
	}
	next = goOn
	if o.Injected.Drop || o.Injected.Close {
		w.out, err = w.out[:mark], nil
	}
	if o.Injected.Close {
		next = hangUp
	}
	c.server.options.Interceptor.End(o, uint16(status))
	return class, next, err
}

// mayPlain checks what the connection's user may do with documents of the bucket.
func (c *conn) mayPlain(need mcbp.Need) error {
	s := &c.session
	if !s.builtin {
		if err := s.renew(c.server.auth); err != nil {
			return err
		}
	}
	if !allowed(&s.access, need) {
		return auth.ErrNotAllowed
	}
	return nil
}

// errUnknownVerb is met by verbs that have a spelling but no meaning here.
var errUnknownVerb = errors.New("unknown command")

// textMalformed answers a command that is wrong by itself.
func (c *conn) textMalformed(ctx context.Context, w *work, command *mctext.Command) (outcome, error) {
	w.out = mctext.AppendLine(w.out, command.Fault)
	if !command.TooLarge {
		return refused, nil
	}
	w.plain.tally.add(statTooLarge)
	replaces := command.Verb == mctext.Set || command.Verb == mctext.MetaSet && command.Mode == mctext.ModeSet
	if replaces && c.session.bucket != nil && c.mayPlain(mcbp.NeedUpsert) == nil {
		// The client believes that the old value is gone. One that is out of date must not be left to be read.
		k := c.plainKey(command.Key)
		_, _ = c.session.bucket.KV().Delete(ctx, w.at, k, &kv.Write{}) // whether there was one is of no interest
	}
	return refused, nil
}

// plainKey finds the place of a key.
func (c *conn) plainKey(name []byte) kv.Key {
	b := c.session.bucket
	return b.KV().Key(vbucket.Of(name, b.Spec().NumVBuckets), docid.Default, name)
}

// textFail appends the error line of a unit. The keys of its command that are left are not looked at: the line is the end of
// the reply.
func (c *conn) textFail(w *work, u *unit, err error) outcome {
	w.plain.failed = int(u.command)
	line, class := c.textError(err)
	w.out = mctext.AppendLine(w.out, line)
	return class
}

// textError gives the line by which an error is told.
func (c *conn) textError(err error) (string, outcome) {
	switch {
	case errors.Is(err, errUnknownVerb):
		return mctext.FaultUnknown, refused
	case errors.Is(err, kv.ErrTooBig):
		return mctext.FaultTooLarge, refused
	case errors.Is(err, kv.ErrNoMemory):
		return "SERVER_ERROR out of memory storing object", delayed
	case errors.Is(err, kv.ErrBadDelta):
		return mctext.FaultNonNumeric, refused
	case errors.Is(err, data.ErrNoBucket):
		return fmt.Sprintf("SERVER_ERROR bucket %q does not exist", c.server.options.MemcachedBucket), refused
	case errors.Is(err, data.ErrNotReady):
		return fmt.Sprintf("SERVER_ERROR bucket %q is not ready", c.server.options.MemcachedBucket), delayed
	case errors.Is(err, auth.ErrNotAllowed), errors.Is(err, auth.ErrStale):
		return "CLIENT_ERROR access denied", refused
	}
	f := c.explain(&request{}, err)
	text := f.context
	if text == "" {
		text = f.status.Desc()
	}
	if f.ref != "" {
		text += " (" + f.ref + ")"
	}
	return "SERVER_ERROR " + text, outcomeOf(f.status)
}

// fireTextStart tells the probes that a unit is carried out.
func (c *conn) fireTextStart(p *plainWork, u *unit, k *kv.Key) {
	t := &c.traced
	op := textOps[p.commands[u.command].Verb].like
	f := trace.OpStartFields{Op: traceOps[op], Bucket: t.bucket, Conn: c.id, Client: t.client}
	if u.first {
		f.BytesIn = int64(p.sizes[u.command])
	}
	if k != nil {
		f.VB, f.Key = uint16(k.VB), trace.KeyOf(k.Name)
	}
	trace.OpStart.Fire(t.shard, f)
}
