package mcserver

import (
	"context"
	"errors"
	"strconv"

	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/mctext"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// metaSet answers ms.
func (c *conn) metaSet(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error) {
	p := w.plain
	p.tally.add(statMeta)
	p.tally.add(statSet)
	p.mutated = true
	w.write = kv.Write{Flags: command.ClientFlags, Expiry: command.Expiry, Value: command.Value}
	if command.Has('C') {
		w.write.CAS = casOrNone(command.CAS)
		if command.Has('I') {
			w.write.Stale = kv.StaleIfOlder
		}
	}
	size := len(command.Value)
	done, err := c.metaStore(ctx, w, command, k)
	if err == nil && w.write.Size > 0 {
		size = w.write.Size
	}
	code := "HD"
	switch {
	case err == nil:
		if command.Has('C') {
			p.tally.add(statCASHit)
		}
		if command.Quiet {
			return succeeded, nil
		}
	case errors.Is(err, kv.ErrCASMismatch), errors.Is(err, kv.ErrLocked) && command.Has('C'):
		p.tally.add(statCASBad)
		code = "EX"
	case errors.Is(err, kv.ErrNotFound) && command.Has('C'):
		p.tally.add(statCASMiss)
		code = "NF"
	case errors.Is(err, kv.ErrExists), errors.Is(err, kv.ErrNotStored), errors.Is(err, kv.ErrNotFound):
		code = "NS"
	default:
		return c.storeFailed(w, err)
	}
	w.out = append(w.out, code...)
	for _, flag := range command.Flags[:command.NumFlags] {
		switch flag.Letter {
		case 'c':
			w.out = mctext.AppendFlag(w.out, 'c', uint64(done.CAS)) // 0 if nothing was stored
		case 's':
			w.out = mctext.AppendFlag(w.out, 's', uint64(size))
		default:
			w.out = command.AppendEchoed(w.out, flag)
		}
	}
	w.out = append(w.out, lineEnd...)
	if err != nil {
		return refused, nil
	}
	return succeeded, nil
}

// metaStore does what the mode of an ms asks for.
func (c *conn) metaStore(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (kv.Written, error) {
	b := c.session.bucket.KV()
	switch command.Mode {
	case mctext.ModeAdd:
		w.write.CAS = 0 // what there must not be has no CAS
		return b.Add(ctx, w.at, *k, &w.write)
	case mctext.ModeReplace:
		return b.Replace(ctx, w.at, *k, &w.write)
	case mctext.ModeAppend, mctext.ModePrepend:
		return c.metaConcat(ctx, w, command, k)
	}
	return b.Set(ctx, w.at, *k, &w.write)
}

// metaConcat appends or prepends. With N a miss makes the document. Between the two attempts that this takes another client can
// make it, or delete it: each round then means that somebody else has made progress.
func (c *conn) metaConcat(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (kv.Written, error) {
	b := c.session.bucket.KV()
	for {
		var done kv.Written
		var err error
		if command.Mode == mctext.ModeAppend {
			done, err = b.Append(ctx, w.at, *k, &w.write)
		} else {
			done, err = b.Prepend(ctx, w.at, *k, &w.write)
		}
		if !command.Has('N') || !errors.Is(err, kv.ErrNotStored) {
			return done, err
		}
		made := kv.Write{Flags: w.write.Flags, Expiry: command.Vivify, Value: w.write.Value}
		done, err = b.Add(ctx, w.at, *k, &made)
		if !errors.Is(err, kv.ErrExists) {
			return done, err
		}
	}
}

// metaDelete answers md.
func (c *conn) metaDelete(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error) {
	p := w.plain
	p.tally.add(statMeta)
	p.mutated = true
	w.write = kv.Write{}
	if command.Has('C') {
		w.write.CAS = casOrNone(command.CAS)
	}
	b := c.session.bucket.KV()
	var err error
	switch {
	case command.Has('x'):
		w.write.Expiry, w.write.PreserveExpiry = command.Expiry, !command.Has('T')
		if command.Has('I') {
			w.write.Stale = kv.StaleAlways
		}
		_, err = b.Replace(ctx, w.at, *k, &w.write)
	case command.Has('I'):
		w.write.Expiry, w.write.PreserveExpiry = command.Expiry, !command.Has('T')
		_, err = b.Invalidate(ctx, w.at, *k, &w.write)
	default:
		_, err = b.Delete(ctx, w.at, *k, &w.write)
	}
	switch {
	case err == nil:
		p.tally.add(statDeleteHit)
		if command.Quiet {
			return succeeded, nil
		}
		w.metaReply(command, "HD")
		return succeeded, nil
	case errors.Is(err, kv.ErrNotFound):
		p.tally.add(statDeleteMiss)
		w.metaReply(command, "NF")
		return missed, nil
	case errors.Is(err, kv.ErrCASMismatch), errors.Is(err, kv.ErrLocked) && command.Has('C'):
		p.tally.add(statDeleteMiss)
		w.metaReply(command, "EX")
		return refused, nil
	}
	return refused, err
}

// metaArithmetic answers ma.
func (c *conn) metaArithmetic(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error) {
	p := w.plain
	p.tally.add(statMeta)
	p.mutated = true
	down := command.Mode == mctext.ModeDecrement
	w.counter = kv.Count{
		Delta: command.Delta, Decrement: down,
		Create: command.Has('N'), Initial: command.Initial, Expiry: command.Vivify,
		Touch: command.Has('T'), NewExpiry: command.Expiry,
	}
	if command.Has('C') {
		w.counter.CAS = casOrNone(command.CAS)
	}
	n, done, err := c.session.bucket.KV().Counter(ctx, w.at, *k, &w.counter)
	p.tally.counted(down, err)
	switch {
	case err == nil:
	case errors.Is(err, kv.ErrNotFound):
		w.metaReply(command, "NF")
		return missed, nil
	case errors.Is(err, kv.ErrCASMismatch), errors.Is(err, kv.ErrLocked) && command.Has('C'):
		w.metaReply(command, "EX")
		return refused, nil
	default:
		return refused, err
	}
	if command.Quiet {
		return succeeded, nil
	}
	c.metaNumber(w, command, n, done.CAS)
	return succeeded, nil
}

// metaNumber appends the reply to an ma that has counted.
func (c *conn) metaNumber(w *work, command *mctext.Command, n uint64, cas vbucket.CAS) {
	digits := strconv.AppendUint(w.scratch[:0], n, 10)
	w.scratch = digits
	if command.Has('v') {
		w.out = append(w.out, "VA "...)
		w.out = strconv.AppendInt(w.out, int64(len(digits)), 10)
	} else {
		w.out = append(w.out, "HD"...)
	}
	touched := !command.Has('T')
	for _, flag := range command.Flags[:command.NumFlags] {
		switch flag.Letter {
		case 'T':
			touched = true
		case 't':
			expiry := w.counter.After
			if !touched {
				expiry = w.counter.Before
			}
			w.out = mctext.AppendSigned(w.out, 't', timeToLive(expiry, w.at.Unix()))
		case 'c':
			w.out = mctext.AppendFlag(w.out, 'c', uint64(cas))
		case 's':
			w.out = mctext.AppendFlag(w.out, 's', uint64(len(digits)))
		default:
			w.out = command.AppendEchoed(w.out, flag)
		}
	}
	w.out = append(w.out, lineEnd...)
	if command.Has('v') {
		w.out = append(w.out, digits...)
		w.out = append(w.out, lineEnd...)
	}
}

// metaNeed is what a meta command needs beyond its verb's line in the table: less or other rights for some modes.
func metaNeed(command *mctext.Command, need mcbp.Need) mcbp.Need {
	switch {
	case command.Verb == mctext.MetaSet && command.Mode == mctext.ModeAdd:
		return mcbp.NeedInsert
	case command.Verb == mctext.MetaDelete && (command.Has('I') || command.Has('x')):
		return mcbp.NeedUpsert
	}
	return need
}
