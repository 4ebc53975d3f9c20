package mcserver

import (
	"context"
	"errors"
	"strconv"

	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/mctext"
	"github.com/charpoy/charpoy/internal/value"
)

// Meta commands (wire.md 22.4). The flags of a reply follow those of the request; Z, X and W come behind them. The flag q hides
// the usual outcome: a miss of mg, the success of the others.

// metaNoop answers mn: what was sent before it has been answered.
func (c *conn) metaNoop(_ context.Context, w *work, _ *mctext.Command, _ *kv.Key) (outcome, error) {
	return w.line("MN")
}

// metaGet answers mg.
func (c *conn) metaGet(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error) {
	p := w.plain
	p.tally.add(statMeta)
	p.tally.add(statGet)
	a := &p.access
	*a = kv.Access{
		Value: command.Has('v') || command.Has('s'), Unseen: command.Has('u'),
		Touch: command.Has('T'), Expiry: command.Expiry,
		Create: command.Has('N'), NewExpiry: command.Vivify,
		Recache: command.Has('R'), Threshold: command.Recache,
	}
	if command.Has('C') {
		a.Unless = casOrNone(command.CAS)
	}
	if a.Touch || a.Create {
		if err := c.mayPlain(mcbp.NeedUpsert); err != nil {
			return refused, err
		}
		p.mutated = true
		a.TouchFirst = before(command, 'T', 'R')
	}
	at := len(w.out)
	end := at
	if a.Value {
		at, end = c.valueRoom(w, c.face.metaRoom-c.face.room)
	}
	out, err := c.session.bucket.KV().Access(ctx, w.at, *k, a, &p.found, w.out)
	w.out = out
	if err != nil {
		w.out = w.out[:at]
		return c.metaMissed(w, command, err)
	}
	p.tally.add(statGetHit)
	if a.Touch {
		p.tally.add(statTouch)
		p.tally.add(statTouchHit)
	}
	return succeeded, c.metaItem(w, command, at, end)
}

// before reports whether both flags were sent, the first one earlier.
func before(command *mctext.Command, first, second byte) bool {
	if !command.Has(first) || !command.Has(second) {
		return false
	}
	for _, f := range command.Flags[:command.NumFlags] {
		if f.Letter == first || f.Letter == second {
			return f.Letter == first
		}
	}
	return false
}

// metaMissed answers a read that found nothing.
func (c *conn) metaMissed(w *work, command *mctext.Command, err error) (outcome, error) {
	if err != kv.ErrNotFound { //nolint:errorlint // the common miss, as it is returned
		return refused, err
	}
	w.plain.tally.add(statGetMiss)
	if command.Quiet {
		return missed, nil
	}
	w.metaReply(command, "EN")
	return missed, nil
}

// metaReply appends a reply that has no flags but those that repeat the request's.
func (w *work) metaReply(command *mctext.Command, code string) {
	w.out = append(w.out, code...)
	w.out = command.AppendEcho(w.out)
	w.out = append(w.out, lineEnd...)
}

// metaItem completes the reply to an mg that found p.found. Its value, if it was asked for, reaches from end to the end of out.
func (c *conn) metaItem(w *work, command *mctext.Command, at, end int) error {
	p := w.plain
	f := &p.found
	if f.HasValue && f.Datatype&(value.Snappy|value.Xattr) != 0 {
		if _, err := c.translate(w, end, f.Datatype); err != nil {
			return err
		}
	}
	length := len(w.out) - end
	p.head = p.head[:0]
	valued := f.HasValue && command.Has('v')
	if valued {
		p.head = append(p.head, "VA "...)
		p.head = strconv.AppendInt(p.head, int64(length), 10)
	} else {
		p.head = append(p.head, "HD"...)
		w.out = w.out[:end]
	}
	p.head = c.appendMetaFlags(p.head, w, command, length)
	p.head = append(p.head, lineEnd...)
	w.placeHead(at, end, p.head)
	if valued {
		c.face.metaRoom = len(p.head)
		w.out = append(w.out, lineEnd...)
	}
	return nil
}

// appendMetaFlags appends the return flags of mg.
func (c *conn) appendMetaFlags(dst []byte, w *work, command *mctext.Command, length int) []byte {
	f, now := &w.plain.found, w.at.Unix()
	touched := !command.Has('T')
	for _, flag := range command.Flags[:command.NumFlags] {
		switch flag.Letter {
		case 'T':
			touched = true
		case 's':
			if !f.HasValue && !f.Created { // it has the CAS for which the value is left out
				length = f.ValueLen
			}
			dst = mctext.AppendFlag(dst, 's', uint64(length))
		case 't':
			expiry := f.Expiry
			if !touched {
				expiry = f.OldExpiry
			}
			dst = mctext.AppendSigned(dst, 't', timeToLive(expiry, now))
		case 'c':
			dst = mctext.AppendFlag(dst, 'c', uint64(f.CAS))
		case 'f':
			dst = mctext.AppendFlag(dst, 'f', uint64(f.Flags))
		case 'h':
			dst = mctext.AppendFlag(dst, 'h', oneIf(f.Fetched))
		case 'l': // when an item was read last is not kept
			dst = append(dst, " l0"...)
		default:
			dst = command.AppendEchoed(dst, flag)
		}
	}
	if f.Given {
		dst = append(dst, " Z"...)
	}
	if f.Stale {
		dst = append(dst, " X"...)
	}
	if f.Won {
		dst = append(dst, " W"...)
	}
	return dst
}

// timeToLive is what is left until an expiry, in seconds: −1 for none.
func timeToLive(expiry, now uint32) int64 {
	if expiry == 0 {
		return -1
	}
	return max(int64(expiry)-int64(now), 0)
}

func oneIf(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// metaDebug answers me.
func (c *conn) metaDebug(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error) {
	p := w.plain
	p.tally.add(statMeta)
	p.access = kv.Access{Unseen: true}
	_, err := c.session.bucket.KV().Access(ctx, w.at, *k, &p.access, &p.found, nil)
	if errors.Is(err, kv.ErrNotFound) {
		return w.miss("EN")
	}
	if err != nil {
		return refused, err
	}
	f := &p.found
	w.out = append(w.out, "ME "...)
	w.out = append(w.out, command.RawKey...)
	w.out = append(w.out, " exp="...)
	w.out = strconv.AppendInt(w.out, timeToLive(f.Expiry, w.at.Unix()), 10)
	w.out = append(w.out, " la=0 cas="...)
	w.out = strconv.AppendUint(w.out, uint64(f.CAS), 10)
	w.out = append(w.out, " fetch="...)
	w.out = append(w.out, yesIf(f.Fetched)...)
	w.out = append(w.out, " cls=1 size="...)
	w.out = strconv.AppendInt(w.out, int64(itemOverhead+len(k.Name)+f.ValueLen), 10)
	w.out = append(w.out, lineEnd...)
	return succeeded, nil
}

// itemOverhead is what an item takes in memory beyond its key and value, in bytes (kv.md 3.1).
const itemOverhead = 48

func yesIf(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
