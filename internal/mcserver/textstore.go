package mcserver

import (
	"context"
	"errors"

	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mctext"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// textStore answers set, add, replace, append, prepend and cas.
func (c *conn) textStore(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error) {
	p, b := w.plain, c.session.bucket.KV()
	p.tally.add(statSet)
	p.mutated = true
	w.write = kv.Write{Flags: command.ClientFlags, Expiry: command.Expiry, Value: command.Value}
	var err error
	switch command.Verb {
	case mctext.Add:
		_, err = b.Add(ctx, w.at, *k, &w.write)
	case mctext.Replace:
		_, err = b.Replace(ctx, w.at, *k, &w.write)
	case mctext.Append:
		_, err = b.Append(ctx, w.at, *k, &w.write)
	case mctext.Prepend:
		_, err = b.Prepend(ctx, w.at, *k, &w.write)
	case mctext.CAS:
		return c.textCAS(ctx, w, command, k)
	default:
		_, err = b.Set(ctx, w.at, *k, &w.write)
	}
	switch {
	case err == nil:
		return w.line("STORED")
	case errors.Is(err, kv.ErrExists), errors.Is(err, kv.ErrNotFound), errors.Is(err, kv.ErrNotStored):
		return w.refusal("NOT_STORED")
	}
	return c.storeFailed(w, err)
}

// textCAS answers cas. The CAS 0 is nobody's, so the document that has it does not exist.
func (c *conn) textCAS(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error) {
	t := &w.plain.tally
	w.write.CAS = casOrNone(command.CAS)
	_, err := c.session.bucket.KV().Replace(ctx, w.at, *k, &w.write)
	switch {
	case err == nil:
		t.add(statCASHit)
		return w.line("STORED")
	case errors.Is(err, kv.ErrCASMismatch), errors.Is(err, kv.ErrLocked):
		t.add(statCASBad)
		return w.refusal("EXISTS")
	case errors.Is(err, kv.ErrNotFound):
		t.add(statCASMiss)
		return w.miss("NOT_FOUND")
	}
	return c.storeFailed(w, err)
}

// casOrNone is a CAS that a client compares with. 0, which to the engine means no comparison, becomes one that no document has.
func casOrNone(cas uint64) vbucket.CAS {
	if cas == 0 {
		return vbucket.LockedCAS
	}
	return vbucket.CAS(cas)
}

// storeFailed counts why a value could not be stored.
func (c *conn) storeFailed(w *work, err error) (outcome, error) {
	switch {
	case errors.Is(err, kv.ErrTooBig):
		w.plain.tally.add(statTooLarge)
	case errors.Is(err, kv.ErrNoMemory), errors.Is(err, kv.ErrBusy):
		w.plain.tally.add(statNoMemory)
	}
	return refused, err
}

// textTouch answers touch.
func (c *conn) textTouch(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error) {
	t := &w.plain.tally
	t.add(statTouch)
	w.plain.mutated = true
	w.write = kv.Write{Expiry: command.Expiry}
	_, err := c.session.bucket.KV().Touch(ctx, w.at, *k, &w.write)
	switch {
	case err == nil:
		t.add(statTouchHit)
		return w.line("TOUCHED")
	case errors.Is(err, kv.ErrNotFound):
		t.add(statTouchMiss)
		return w.miss("NOT_FOUND")
	}
	return refused, err
}

// textDelete answers delete.
func (c *conn) textDelete(ctx context.Context, w *work, _ *mctext.Command, k *kv.Key) (outcome, error) {
	t := &w.plain.tally
	w.plain.mutated = true
	w.write = kv.Write{}
	_, err := c.session.bucket.KV().Delete(ctx, w.at, *k, &w.write)
	switch {
	case err == nil:
		t.add(statDeleteHit)
		return w.line("DELETED")
	case errors.Is(err, kv.ErrNotFound):
		t.add(statDeleteMiss)
		return w.miss("NOT_FOUND")
	}
	return refused, err
}

// textCount answers incr and decr.
func (c *conn) textCount(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error) {
	w.plain.mutated = true
	down := command.Verb == mctext.Decr
	w.counter = kv.Count{Delta: command.Delta, Decrement: down}
	n, _, err := c.session.bucket.KV().Counter(ctx, w.at, *k, &w.counter)
	w.plain.tally.counted(down, err)
	switch {
	case err == nil:
		w.out = mctext.AppendNumber(w.out, n)
		return succeeded, nil
	case errors.Is(err, kv.ErrNotFound):
		return w.miss("NOT_FOUND")
	}
	return refused, err
}

// line appends a reply of one line that says success.
func (w *work) line(text string) (outcome, error) {
	w.out = mctext.AppendLine(w.out, text)
	return succeeded, nil
}

// refusal is line for what the state of the document refuses.
func (w *work) refusal(text string) (outcome, error) {
	w.out = mctext.AppendLine(w.out, text)
	return refused, nil
}

// miss is line for a document that is not there.
func (w *work) miss(text string) (outcome, error) {
	w.out = mctext.AppendLine(w.out, text)
	return missed, nil
}
