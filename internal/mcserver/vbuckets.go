package mcserver

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// position says where a vBucket of this node stands. Whatever copy the node has will do.
func (c *conn) position(vb vbucket.ID) (kv.SeqnoInfo, error) {
	info, err := c.session.bucket.KV().Seqnos(vb)
	if err == nil && info.State == vbucket.Dead {
		err = errNotMyVBucket
	}
	return info, err
}

// failoverLog answers GET_FAILOVER_LOG: pairs of UUID and seqno, newest first.
func (c *conn) failoverLog(_ context.Context, w *work, q *request) error {
	if _, err := c.position(vbucket.ID(q.VB)); err != nil {
		return err
	}
	log, err := c.session.bucket.KV().FailoverLog(vbucket.ID(q.VB))
	if err != nil {
		return err
	}
	at := w.open(&c.session)
	for _, e := range log {
		w.putUint64(uint64(e.UUID))
		w.putUint64(uint64(e.Seqno))
	}
	w.seal(&c.session, q, at, reply{})
	return nil
}

// observeSeqno answers OBSERVE_SEQNO: how far a history has come in memory and on disk (wire.md 11). A client that asks for
// an older history learns where that one ended.
func (c *conn) observeSeqno(_ context.Context, w *work, q *request) error {
	if len(q.Value) != 8 {
		return invalid("Request value must be of length 8")
	}
	asked := vbucket.UUID(binary.BigEndian.Uint64(q.Value))
	b, vb := c.session.bucket.KV(), vbucket.ID(q.VB)
	info, err := c.position(vb)
	if err != nil {
		return err
	}
	last := info.High
	if asked != info.UUID {
		log, err := b.FailoverLog(vb)
		if err != nil {
			return err
		}
		end, known := log.End(asked, info.High)
		if !known {
			return errNoHistory
		}
		last = end
	}
	at := w.open(&c.session)
	format := byte(0)
	if asked != info.UUID {
		format = 1
	}
	w.out = append(w.out, format)
	w.putUint16(q.VB)
	w.putUint64(uint64(info.UUID))
	w.putUint64(uint64(info.Persisted))
	w.putUint64(uint64(info.High))
	if format == 1 {
		w.putUint64(uint64(asked))
		w.putUint64(uint64(last))
	}
	w.seal(&c.session, q, at, reply{})
	return nil
}

// States of a document in a reply of OBSERVE.
const (
	observedMemory    = 0x00
	observedPersisted = 0x01
	observedMissing   = 0x80
	observedDeleted   = 0x81 // but not yet on disk
)

// observe answers OBSERVE for a list of vBucket, key length and key. The reply repeats each with its state and CAS.
func (c *conn) observe(ctx context.Context, w *work, q *request) error {
	rights, err := c.rights(q)
	if err != nil {
		return err
	}
	at := w.open(&c.session)
	for rest := q.Value; len(rest) > 0; {
		if len(rest) < 4 {
			return invalid("Request value is cut short")
		}
		vb, n := vbucket.ID(binary.BigEndian.Uint16(rest)), int(binary.BigEndian.Uint16(rest[2:]))
		rest = rest[4:]
		if n == 0 || len(rest) < n {
			return invalid("Request value is cut short")
		}
		state, cas, err := c.observeKey(ctx, w, rights, vb, rest[:n])
		if err != nil {
			return err
		}
		w.putUint16(uint16(vb))
		w.putUint16(uint16(n))
		w.out = append(w.out, rest[:n]...)
		w.out = append(w.out, state)
		w.putUint64(uint64(cas))
		rest = rest[n:]
	}
	w.seal(&c.session, q, at, reply{})
	return nil
}

func (c *conn) observeKey(
	ctx context.Context, w *work, rights *auth.Access, vb vbucket.ID, wire []byte,
) (state byte, cas vbucket.CAS, err error) {
	collection, name, err := c.splitKey(wire)
	if err != nil {
		return 0, 0, err
	}
	if err := c.mayUse(rights, collection, mcbp.NeedRead); err != nil {
		return 0, 0, err
	}
	b := c.session.bucket
	if int(vb) >= b.Spec().NumVBuckets {
		return 0, 0, errNotMyVBucket
	}
	info, err := c.position(vb)
	if err != nil {
		return 0, 0, err
	}
	m, err := b.KV().GetMeta(ctx, w.at, b.KV().Key(vb, collection, name))
	switch persisted := m.Seqno <= info.Persisted; {
	case errors.Is(err, kv.ErrNotFound), err == nil && m.Deleted && persisted:
		return observedMissing, 0, nil
	case err != nil:
		return 0, 0, err
	case m.Deleted:
		return observedDeleted, m.CAS, nil
	case persisted:
		return observedPersisted, m.CAS, nil
	}
	return observedMemory, m.CAS, nil
}

// allSeqnos answers GET_ALL_VB_SEQNOS: the high seqno of each vBucket in the state asked for.
func (c *conn) allSeqnos(_ context.Context, w *work, q *request) error {
	var want vbucket.State // 0: active, replica and pending
	if len(q.Extras) >= 4 {
		state := binary.BigEndian.Uint32(q.Extras)
		if state > uint32(vbucket.Dead) {
			return invalid("Request state must be 0 to 4")
		}
		want = vbucket.State(state)
	}
	if len(q.Extras) == 8 {
		if !c.session.collections {
			return invalid("Request must not name a collection on a connection without collections")
		}
		rights, err := c.rights(q)
		if err != nil {
			return err
		}
		if err := c.mayUse(rights, docid.Collection(binary.BigEndian.Uint32(q.Extras[4:])), mcbp.NeedRead); err != nil {
			return err
		}
	}
	b := c.session.bucket
	at := w.open(&c.session)
	for vb := range vbucket.ID(b.Spec().NumVBuckets) {
		info, err := b.KV().Seqnos(vb)
		if err != nil {
			return err
		}
		if info.UUID == 0 {
			continue // this node has no copy of it
		}
		if want == info.State || want == 0 && info.State != vbucket.Dead {
			w.putUint16(uint16(vb))
			w.putUint64(uint64(info.High))
		}
	}
	w.seal(&c.session, q, at, reply{})
	return nil
}

// keys answers GET_KEYS: keys of one vBucket in order, from the request's key on. On connections with collections they carry
// their prefix, as all keys there do.
func (c *conn) keys(_ context.Context, w *work, q *request) error {
	count := defaultKeys
	if len(q.Extras) == 4 {
		count = int(min(binary.BigEndian.Uint32(q.Extras), maxKeys))
	}
	found, err := c.session.bucket.KV().Keys(w.at, q.key.VB, q.key.Coll, q.key.Name, count)
	if err != nil {
		return err
	}
	at := w.open(&c.session)
	for _, key := range found {
		if len(w.out)-at > maxKeysReply {
			break
		}
		begin := len(w.out)
		w.putUint16(0)
		if c.session.collections {
			w.out = docid.AppendPrefix(w.out, q.key.Coll)
		}
		w.out = append(w.out, key...)
		binary.BigEndian.PutUint16(w.out[begin:], uint16(len(w.out)-begin-2))
	}
	w.seal(&c.session, q, at, reply{})
	return nil
}

// randomKey answers GET_RANDOM_KEY: some document of a collection. The key comes without prefix.
func (c *conn) randomKey(ctx context.Context, w *work, q *request) error {
	collection := docid.Default
	if c.session.collections != (len(q.Extras) == 4) {
		return invalid("Request must name a collection exactly on connections with collections")
	}
	if len(q.Extras) == 4 {
		collection = docid.Collection(binary.BigEndian.Uint32(q.Extras))
	}
	rights, err := c.rights(q)
	if err != nil {
		return err
	}
	if err := c.mayUse(rights, collection, mcbp.NeedRead); err != nil {
		return err
	}
	d, err := c.session.bucket.KV().Random(ctx, w.at, collection)
	if err != nil {
		return err
	}
	at := c.openDocument(w, d.Key)
	w.out = append(w.out, d.Value...)
	return c.sealDocument(w, q, at, &d.Meta, len(d.Key))
}

// splitKey takes the form apart that keys have on this connection.
func (c *conn) splitKey(wire []byte) (docid.Collection, []byte, error) {
	if !c.session.collections {
		if len(wire) > mcbp.MaxKey {
			return 0, nil, invalid("Key length exceeds 250")
		}
		return docid.Default, wire, nil
	}
	collection, name, err := docid.Split(wire)
	if err != nil {
		return 0, nil, invalid(keyText(err))
	}
	if len(name) > keyLimit(collection) {
		return 0, nil, invalid(keyTooLong(collection))
	}
	return collection, name, nil
}

func keyLimit(c docid.Collection) int {
	if c == docid.Default {
		return docid.MaxKey
	}
	return docid.MaxCollectionKey
}

func keyTooLong(c docid.Collection) string {
	if c == docid.Default {
		return "Logical key exceeds 250"
	}
	return "Logical key exceeds 246"
}

func keyText(err error) string {
	switch {
	case errors.Is(err, docid.ErrNoKey):
		return "No logical key found"
	case errors.Is(err, docid.ErrReserved):
		return "Collection id is reserved"
	}
	return "Collection id is not a canonical LEB128 number"
}

// mayUse checks that a collection exists and that rights cover what an operation needs there.
func (c *conn) mayUse(rights *auth.Access, collection docid.Collection, need mcbp.Need) error {
	m := c.session.bucket.Manifest()
	id := uint32(collection)
	if collection == docid.Default && m.Has(id) && allowed(rights, need) {
		return nil
	}
	scope, name, ok := collectionName(m, id)
	if !ok || !rights.Sees(scope, name) {
		return &spec.UnknownCollectionError{Manifest: m.UID}
	}
	if !allowedIn(rights.In(scope, name), need) {
		return auth.ErrNotAllowed
	}
	return nil
}
