package mcserver

import (
	"context"
	"encoding/binary"

	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// flagsLen is the size of the extras of replies that carry a document: its flags.
const flagsLen = 4

// get answers GET: the value is copied from the engine right behind the reply's header.
func (c *conn) get(ctx context.Context, w *work, q *request) error {
	at := c.openDocument(w, nil)
	out, err := c.session.bucket.KV().Read(ctx, w.at, &q.key, &w.meta, w.out)
	if err != nil {
		return err
	}
	w.out = out
	return c.sealDocument(w, q, at, &w.meta, 0)
}

// getWithKey answers GETK: as GET, with the key as the client sent it.
func (c *conn) getWithKey(ctx context.Context, w *work, q *request) error {
	at := c.openDocument(w, q.Key)
	out, err := c.session.bucket.KV().Read(ctx, w.at, &q.key, &w.meta, w.out)
	if err != nil {
		return err
	}
	w.out = out
	return c.sealDocument(w, q, at, &w.meta, len(q.Key))
}

func (c *conn) getAndTouch(ctx context.Context, w *work, q *request) error {
	at := c.openDocument(w, nil)
	m, out, err := c.session.bucket.KV().GetAndTouch(ctx, w.at, q.key, binary.BigEndian.Uint32(q.Extras), w.out)
	if err != nil {
		return err
	}
	w.out = out
	return c.sealDocument(w, q, at, &m, 0)
}

// Bounds of GET_LOCKED's time in seconds; others are replaced by the default (wire.md 7.3).
const (
	defaultLock = 15
	maxLock     = 30
)

func (c *conn) getAndLock(ctx context.Context, w *work, q *request) error {
	seconds := uint32(defaultLock)
	if len(q.Extras) > 0 {
		if s := binary.BigEndian.Uint32(q.Extras); s != 0 && s <= maxLock {
			seconds = s
		}
	}
	at := c.openDocument(w, nil)
	m, out, err := c.session.bucket.KV().GetAndLock(ctx, w.at, q.key, seconds, w.out)
	if err != nil {
		return err
	}
	w.out = out
	return c.sealDocument(w, q, at, &m, 0)
}

func (c *conn) unlock(_ context.Context, w *work, q *request) error {
	if err := c.session.bucket.KV().Unlock(w.at, q.key, vbucket.CAS(q.CAS)); err != nil {
		return err
	}
	w.empty(&c.session, q, 0)
	return nil
}

// getReplica answers GET_REPLICA: there are no replicas yet, so this node never has the one that is asked for.
func (c *conn) getReplica(context.Context, *work, *request) error { return errNotMyVBucket }

func (c *conn) getMeta(ctx context.Context, w *work, q *request) error {
	long := false
	if len(q.Extras) == 1 {
		if q.Extras[0] > 2 {
			return invalid("Request extras must be 0, 1 or 2")
		}
		long = q.Extras[0] == 2
	}
	m, err := c.session.bucket.KV().GetMeta(ctx, w.at, q.key)
	if err != nil {
		return err
	}
	meta := mcbp.DocMeta{Deleted: m.Deleted, Flags: m.Flags, Expiry: m.Expiry, Rev: m.Rev, Datatype: uint8(m.Datatype)}
	at := w.open(&c.session)
	body := len(w.out)
	w.out = meta.Append(w.out, long)
	w.seal(&c.session, q, at, reply{cas: m.CAS, extras: len(w.out) - body})
	return nil
}

// openDocument begins a reply that carries a document: header, room for the flags, key. The value follows.
func (c *conn) openDocument(w *work, key []byte) int {
	at := w.open(&c.session)
	w.out = append(w.out, 0, 0, 0, 0)
	w.out = append(w.out, key...)
	return at
}

// sealDocument completes such a reply. The value, in the form in which it is stored, is the end of out; it becomes what the
// client has negotiated to understand.
func (c *conn) sealDocument(w *work, q *request, at int, m *kv.Meta, key int) error {
	head := at + c.session.replyHead()
	datatype, err := c.translate(w, head+flagsLen+key, m.Datatype)
	if err != nil {
		return err
	}
	binary.BigEndian.PutUint32(w.out[head:], m.Flags)
	w.seal(&c.session, q, at, reply{datatype: datatype, cas: m.CAS, extras: flagsLen, key: key})
	return nil
}

// translate rewrites the stored value that begins at from in out: inflated for clients without Snappy, and without its
// section of extended attributes, which never leaves with these replies. It returns the datatype to announce.
func (c *conn) translate(w *work, from int, dt value.Datatype) (value.Datatype, error) {
	may := c.session.datatypes
	if dt&value.Xattr == 0 && (dt&value.Snappy == 0 || may&value.Snappy != 0) {
		return dt & may, nil
	}
	if dt&value.Snappy != 0 {
		var err error
		if w.scratch, err = value.Inflate(w.scratch[:0], w.out[from:]); err != nil {
			return 0, err
		}
		w.out = append(w.out[:from], w.scratch...)
	}
	_, body, err := value.Split(w.out[from:], dt)
	if err != nil {
		return 0, err
	}
	w.out = append(w.out[:from], body...)
	return dt & value.JSON & may, nil
}
