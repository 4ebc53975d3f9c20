package mcserver

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// prepare fills w.write from what all mutations have in common.
func (w *work) prepare(q *request) *kv.Write {
	w.write = kv.Write{
		CAS:            vbucket.CAS(q.CAS),
		PreserveExpiry: q.infos.PreserveExpiry,
		Datatype:       value.Datatype(q.Datatype),
		Value:          q.Value,
		Level:          spec.Durability(q.infos.Durability),
		Timeout:        time.Duration(q.infos.Timeout) * time.Millisecond,
	}
	return &w.write
}

// store answers SET, ADD and REPLACE.
func (c *conn) store(ctx context.Context, w *work, q *request) error {
	extras := mcbp.ParseStoreExtras(q.Extras)
	in := w.prepare(q)
	in.Flags, in.Expiry = extras.Flags, extras.Expiry
	b := c.session.bucket.KV()
	var done kv.Written
	var err error
	switch q.Opcode {
	case mcbp.OpAdd, mcbp.OpAddQ:
		done, err = b.Add(ctx, w.at, q.key, in)
	case mcbp.OpReplace, mcbp.OpReplaceQ:
		done, err = b.Replace(ctx, w.at, q.key, in)
	default:
		done, err = b.Set(ctx, w.at, q.key, in)
	}
	if err != nil {
		return err
	}
	c.written(w, q, &done)
	return nil
}

// concat answers APPEND and PREPEND.
func (c *conn) concat(ctx context.Context, w *work, q *request) error {
	in := w.prepare(q)
	b := c.session.bucket.KV()
	var done kv.Written
	var err error
	switch q.Opcode {
	case mcbp.OpPrepend, mcbp.OpPrependQ:
		done, err = b.Prepend(ctx, w.at, q.key, in)
	default:
		done, err = b.Append(ctx, w.at, q.key, in)
	}
	if err != nil {
		return err
	}
	c.written(w, q, &done)
	return nil
}

// remove answers DELETE. Clients that never sent HELLO are plain memcached clients: they get no CAS of the tombstone.
func (c *conn) remove(ctx context.Context, w *work, q *request) error {
	done, err := c.session.bucket.KV().Delete(ctx, w.at, q.key, w.prepare(q))
	if err != nil {
		return err
	}
	if !c.session.greeted {
		done.CAS = 0
	}
	c.written(w, q, &done)
	return nil
}

// count answers INCR and DECR.
func (c *conn) count(ctx context.Context, w *work, q *request) error {
	extras := mcbp.ParseCounterExtras(q.Extras)
	w.counter = kv.Count{
		Delta: extras.Delta, Initial: extras.Initial, Expiry: extras.Expiry,
		Decrement:      q.Opcode == mcbp.OpDecrement || q.Opcode == mcbp.OpDecrementQ,
		Create:         extras.Expiry != mcbp.CounterNoCreate,
		PreserveExpiry: q.infos.PreserveExpiry,
		Level:          spec.Durability(q.infos.Durability),
		Timeout:        time.Duration(q.infos.Timeout) * time.Millisecond,
	}
	n, done, err := c.session.bucket.KV().Counter(ctx, w.at, q.key, &w.counter)
	if err != nil {
		return err
	}
	at := w.open(&c.session)
	extrasLen := c.appendToken(w, &done)
	w.putUint64(n)
	w.seal(&c.session, q, at, reply{cas: done.CAS, extras: extrasLen})
	return nil
}

func (c *conn) touchDocument(ctx context.Context, w *work, q *request) error {
	in := w.prepare(q)
	in.Expiry = binary.BigEndian.Uint32(q.Extras)
	done, err := c.session.bucket.KV().Touch(ctx, w.at, q.key, in)
	if err != nil {
		return err
	}
	w.empty(&c.session, q, done.CAS)
	return nil
}

// written appends the reply to a mutation.
func (c *conn) written(w *work, q *request, done *kv.Written) {
	at := w.open(&c.session)
	extras := c.appendToken(w, done)
	w.seal(&c.session, q, at, reply{cas: done.CAS, extras: extras})
}

// appendToken appends the mutation token, if the client wants it, and returns its length.
func (c *conn) appendToken(w *work, done *kv.Written) int {
	if !c.session.features.Has(mcbp.FeatureMutationToken) {
		return 0
	}
	w.out = mcbp.Token{UUID: uint64(done.UUID), Seqno: uint64(done.Seqno)}.Append(w.out)
	return mcbp.TokenLen
}
