package mcserver

import (
	"context"
	"errors"
	"slices"

	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mctext"
	"github.com/charpoy/charpoy/internal/value"
)

// In text protocols the length of a value stands before it, and nobody knows it before the value has been read. So the value
// is read behind as much room as the last head took, which with values of one kind is what this one takes as well: then nothing
// is moved. Otherwise the value is shifted by the difference.

// lineEnd stands behind each line and each value.
const lineEnd = "\r\n"

// textGet answers one key of get or gets.
func (c *conn) textGet(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error) {
	w.plain.tally.add(statGet)
	at, room := c.valueRoom(w, len(k.Name))
	out, err := c.session.bucket.KV().Read(ctx, w.at, k, &w.meta, w.out)
	if err != nil {
		w.out = w.out[:at]
		return c.getMissed(w, err)
	}
	w.out = out
	return c.endValue(w, command, k, at, room, &w.meta)
}

// textGetAndTouch answers one key of gat or gats.
func (c *conn) textGetAndTouch(ctx context.Context, w *work, command *mctext.Command, k *kv.Key) (outcome, error) {
	t := &w.plain.tally
	t.add(statGet)
	t.add(statTouch)
	w.plain.mutated = true
	at, room := c.valueRoom(w, len(k.Name))
	m, out, err := c.session.bucket.KV().GetAndTouch(ctx, w.at, *k, command.Expiry, w.out)
	if err != nil {
		w.out = w.out[:at]
		if errors.Is(err, kv.ErrNotFound) {
			t.add(statTouchMiss)
		}
		return c.getMissed(w, err)
	}
	t.add(statTouchHit)
	w.out = out
	return c.endValue(w, command, k, at, room, &m)
}

// valueRoom leaves room in w.out for the head of a value whose key has so many bytes. It returns where that begins and ends.
func (c *conn) valueRoom(w *work, key int) (at, end int) {
	at = len(w.out)
	end = at + c.face.room + key
	w.out = slices.Grow(w.out, end-at)[:end]
	return at, end
}

// getMissed counts a read that found nothing, which gets no reply of its own.
func (c *conn) getMissed(w *work, err error) (outcome, error) {
	if err == kv.ErrNotFound { //nolint:errorlint // the common miss, as it is returned
		w.plain.tally.add(statGetMiss)
		return missed, nil
	}
	return refused, err
}

// endValue completes the reply to a key: head, value, line end.
func (c *conn) endValue(w *work, command *mctext.Command, k *kv.Key, at, end int, m *kv.Meta) (outcome, error) {
	p := w.plain
	if m.Datatype&(value.Snappy|value.Xattr) != 0 {
		if _, err := c.translate(w, end, m.Datatype); err != nil {
			return failed, err
		}
	}
	cas := uint64(0)
	if command.Verb == mctext.Gets || command.Verb == mctext.Gats {
		cas = uint64(m.CAS)
	}
	p.head = mctext.AppendValueHead(p.head[:0], k.Name, m.Flags, len(w.out)-end, cas)
	w.placeHead(at, end, p.head)
	c.face.room = len(p.head) - len(k.Name)
	w.out = append(w.out, lineEnd...)
	p.tally.add(statGetHit)
	return succeeded, nil
}

// placeHead puts head in front of the value that begins at end and reaches to the end of out. at is where it goes.
func (w *work) placeHead(at, end int, head []byte) {
	if shift := at + len(head) - end; shift != 0 {
		n := len(w.out)
		if shift > 0 {
			w.out = slices.Grow(w.out, shift)[:n+shift]
		}
		copy(w.out[end+shift:], w.out[end:n])
		w.out = w.out[:n+shift]
	}
	copy(w.out[at:], head)
}
