package client

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// With says what is special about one call. The zero value is an ordinary call; fields that an operation has no use for must
// be left zero.
type With struct {
	CAS            vbucket.CAS // the version that must be there; 0 = any
	Flags          uint32      // opaque to the server
	Expiry         uint32      // as on the wire: 0 = none, up to 30 days in seconds = from now, else Unix seconds
	PreserveExpiry bool        // an existing document keeps its own expiry
	Datatype       value.Datatype
	Level          spec.Durability
	Timeout        time.Duration // of a durable write, in whole milliseconds up to 65534; 0 = the server's own
	As             string        // the user to act for; needs the privilege Impersonate. "^" in front: an external user
}

// Doc is a document that was read.
type Doc struct {
	Value    []byte
	Flags    uint32
	Datatype value.Datatype
	CAS      vbucket.CAS // vbucket.LockedCAS while somebody holds a lock; the lock's own from Lock
}

// JSON reports whether the value is valid JSON.
func (d *Doc) JSON() bool { return d.Datatype&value.JSON != 0 }

// Written is what a change answers.
type Written struct {
	CAS   vbucket.CAS
	VB    vbucket.ID
	Token vbucket.Position // zero where the operation gives none (Touch)
}

// Meta is what is known about a document without its value.
type Meta struct {
	mcbp.DocMeta
	CAS vbucket.CAS
}

// Count says what Incr and Decr do.
type Count struct {
	Delta   uint64
	Initial uint64 // what a missing document becomes
	Create  bool   // create a missing document with Initial; otherwise it is ErrNotFound
}

// Get reads a document. Error: ErrNotFound.
func (c *Conn) Get(ctx context.Context, key string, w With) (Doc, error) {
	return c.readDoc(ctx, &mcbp.Frame{Opcode: mcbp.OpGet}, key, w)
}

// GetAndTouch reads a document and gives it the expiry of w.
func (c *Conn) GetAndTouch(ctx context.Context, key string, w With) (Doc, error) {
	extras := binary.BigEndian.AppendUint32(nil, w.Expiry)
	return c.readDoc(ctx, &mcbp.Frame{Opcode: mcbp.OpGetAndTouch, Extras: extras}, key, w)
}

// Lock reads a document and locks it for some seconds (1 to 30). The CAS of the Doc is the lock's: who writes with it or
// hands it to Unlock ends the lock. Error: ErrLocked.
func (c *Conn) Lock(ctx context.Context, key string, seconds uint32, w With) (Doc, error) {
	extras := binary.BigEndian.AppendUint32(nil, seconds)
	return c.readDoc(ctx, &mcbp.Frame{Opcode: mcbp.OpGetAndLock, Extras: extras}, key, w)
}

// Unlock ends the lock whose CAS is in w. Errors: ErrNotLocked, ErrLocked (another CAS), ErrNotFound.
func (c *Conn) Unlock(ctx context.Context, key string, w With) error {
	_, err := c.keyed(ctx, &mcbp.Frame{Opcode: mcbp.OpUnlock, CAS: uint64(w.CAS)}, key, w)
	return err
}

// GetMeta reads what is known about a document, a deleted one included. Error: ErrNotFound.
func (c *Conn) GetMeta(ctx context.Context, key string, w With) (Meta, error) {
	const withDatatype = 2
	reply, err := c.keyed(ctx, &mcbp.Frame{Opcode: mcbp.OpGetMeta, Extras: []byte{withDatatype}}, key, w)
	if err != nil {
		return Meta{}, err
	}
	return metaReply(&reply)
}

// Set writes a document, whether it exists or not. With a CAS: ErrNotFound, ErrCASMismatch.
func (c *Conn) Set(ctx context.Context, key string, val []byte, w With) (Written, error) {
	return c.store(ctx, mcbp.OpSet, key, val, w)
}

// Add writes a document that does not exist. Error: ErrExists.
func (c *Conn) Add(ctx context.Context, key string, val []byte, w With) (Written, error) {
	return c.store(ctx, mcbp.OpAdd, key, val, w)
}

// Replace writes a document that exists. Errors: ErrNotFound, ErrCASMismatch.
func (c *Conn) Replace(ctx context.Context, key string, val []byte, w With) (Written, error) {
	return c.store(ctx, mcbp.OpReplace, key, val, w)
}

func (c *Conn) store(ctx context.Context, op mcbp.Opcode, key string, val []byte, w With) (Written, error) {
	extras := mcbp.StoreExtras{Flags: w.Flags, Expiry: w.Expiry}.Append(nil)
	return c.change(ctx, &mcbp.Frame{Opcode: op, Extras: extras, Value: val, Datatype: uint8(w.Datatype)}, key, w)
}

// Append adds bytes at the end of a document. Errors: ErrNotStored if there is none, ErrCASMismatch.
func (c *Conn) Append(ctx context.Context, key string, val []byte, w With) (Written, error) {
	return c.change(ctx, &mcbp.Frame{Opcode: mcbp.OpAppend, Value: val, Datatype: uint8(w.Datatype)}, key, w)
}

// Prepend adds bytes at the beginning of a document. Errors are those of Append.
func (c *Conn) Prepend(ctx context.Context, key string, val []byte, w With) (Written, error) {
	return c.change(ctx, &mcbp.Frame{Opcode: mcbp.OpPrepend, Value: val, Datatype: uint8(w.Datatype)}, key, w)
}

// Delete removes a document. The CAS answered is that of the tombstone. Errors: ErrNotFound, ErrCASMismatch.
func (c *Conn) Delete(ctx context.Context, key string, w With) (Written, error) {
	return c.change(ctx, &mcbp.Frame{Opcode: mcbp.OpDelete}, key, w)
}

// Touch gives a document the expiry of w. Error: ErrNotFound.
func (c *Conn) Touch(ctx context.Context, key string, w With) (Written, error) {
	extras := binary.BigEndian.AppendUint32(nil, w.Expiry)
	return c.change(ctx, &mcbp.Frame{Opcode: mcbp.OpTouch, Extras: extras}, key, w)
}

// Incr adds to a counter, modulo 2^64, and answers its new value. The expiry of w is that of a document which is created.
// Errors: ErrNotFound, ErrBadDelta.
func (c *Conn) Incr(ctx context.Context, key string, n Count, w With) (uint64, Written, error) {
	return c.count(ctx, mcbp.OpIncrement, key, n, w)
}

// Decr subtracts from a counter, down to 0. See Incr.
func (c *Conn) Decr(ctx context.Context, key string, n Count, w With) (uint64, Written, error) {
	return c.count(ctx, mcbp.OpDecrement, key, n, w)
}

func (c *Conn) count(ctx context.Context, op mcbp.Opcode, key string, n Count, w With) (uint64, Written, error) {
	e := mcbp.CounterExtras{Delta: n.Delta, Initial: n.Initial, Expiry: w.Expiry}
	if !n.Create {
		e.Expiry = mcbp.CounterNoCreate
	}
	f := &mcbp.Frame{Opcode: op, Extras: e.Append(nil), CAS: uint64(w.CAS)}
	reply, err := c.keyed(ctx, f, key, w)
	if err != nil {
		return 0, Written{}, err
	}
	now, err := counterReply(&reply)
	if err != nil {
		return 0, Written{}, err
	}
	written, err := writtenReply(&reply, vbucket.ID(f.VB))
	return now, written, err
}

func (c *Conn) readDoc(ctx context.Context, f *mcbp.Frame, key string, w With) (Doc, error) {
	reply, err := c.keyed(ctx, f, key, w)
	if err != nil {
		return Doc{}, err
	}
	return docReply(&reply)
}

func (c *Conn) change(ctx context.Context, f *mcbp.Frame, key string, w With) (Written, error) {
	f.CAS = uint64(w.CAS)
	reply, err := c.keyed(ctx, f, key, w)
	if err != nil {
		return Written{}, err
	}
	return writtenReply(&reply, vbucket.ID(f.VB))
}

// keyed completes a request for one document with key, vBucket and framing extras, and sends it.
func (c *Conn) keyed(ctx context.Context, f *mcbp.Frame, key string, w With) (mcbp.Frame, error) {
	vb, err := c.VBucket(key)
	if err != nil {
		return mcbp.Frame{}, err
	}
	f.VB, f.Key = uint16(vb), []byte(key)
	if len(key) > docid.MaxKey {
		return mcbp.Frame{}, refuse(f, mcbp.StatusInvalid, "Key must not exceed 250 bytes")
	}
	if err := c.frame(f, w); err != nil {
		return mcbp.Frame{}, err
	}
	var extra time.Duration
	if w.Level != spec.DurabilityNone {
		extra = max(w.Timeout, durableTimeout)
	}
	return c.send(ctx, f, extra)
}

// frame adds the framing extras that w asks for. Error: ErrUnsupported if the server has not granted them.
func (c *Conn) frame(f *mcbp.Frame, w With) error {
	infos := mcbp.RequestInfos{PreserveExpiry: w.PreserveExpiry, Durability: uint8(w.Level), Impersonate: []byte(w.As)}
	if w.Level != spec.DurabilityNone && w.Timeout > 0 {
		infos.Timeout = uint16(max(1, min(w.Timeout.Milliseconds(), 0xfffe)))
	}
	f.FrameExtras = infos.AppendInfos(nil)
	need := mcbp.Features()
	if len(f.FrameExtras) > 0 {
		need |= mcbp.Features(mcbp.FeatureAltRequest)
	}
	if w.Level != spec.DurabilityNone {
		need |= mcbp.Features(mcbp.FeatureSyncReplication)
	}
	if w.PreserveExpiry {
		need |= mcbp.Features(mcbp.FeaturePreserveExpiry)
	}
	switch {
	case c.features&need != need:
		return refuse(f, mcbp.StatusNotSupported, "The server has not granted framing extras for this")
	case len(f.FrameExtras) > maxNamesBytes:
		return refuse(f, mcbp.StatusInvalid, "The name of the user to act for is too long")
	}
	return nil
}
