package mcserver

import (
	"context"
	"encoding/binary"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/mctext"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// The classic binary protocol (wire.md 22.5): the framing and most opcodes of the SDKs' protocol, as plain memcached clients
// know them. There is no HELLO, vBucket and datatype of a request mean nothing, error bodies are plain text, and what is wrong
// by its lengths ends the connection after its reply. Executors are shared with the other ports where they do the same.

// Opcodes that only this protocol has.
const (
	opGetAndTouchK  mcbp.Opcode = 0x23
	opGetAndTouchKQ mcbp.Opcode = 0x24
)

// classicRequest is one decoded request. Its slices alias the connection's input.
type classicRequest struct {
	request

	key    int         // index in work.keys, -1 = none
	closes bool        // the connection ends behind the reply
	skip   mctext.Skip // what has to be thrown away behind it
}

// classicOp is an opcode's line in the table.
type classicOp struct {
	run    executor
	extras uint32 // bit n is set if n bytes of extras are allowed
	key    mcbp.Rule
	value  bool // may have one
	need   mcbp.Need
	free   bool // needs no bucket
	open   bool // is answered before a login
	login  bool // only exists where logins do, and changes what later requests mean
}

// classicOps says what each opcode does; those without a line are unknown.
//
//nolint:gochecknoglobals // a constant table
var classicOps = makeClassicOps()

func makeClassicOps() (t [256]classicOp) {
	const none, flagsAndExpiry, counter, expiry = 1 << 0, 1 << 8, 1 << 20, 1 << 4
	for _, o := range []struct {
		line    classicOp
		opcodes []mcbp.Opcode
	}{
		{
			classicOp{run: (*conn).get, extras: none, key: mcbp.Required, need: mcbp.NeedRead},
			[]mcbp.Opcode{mcbp.OpGet, mcbp.OpGetQ},
		},
		{
			classicOp{run: (*conn).getWithKey, extras: none, key: mcbp.Required, need: mcbp.NeedRead},
			[]mcbp.Opcode{mcbp.OpGetK, mcbp.OpGetKQ},
		},
		{
			classicOp{run: (*conn).store, extras: flagsAndExpiry, key: mcbp.Required, value: true, need: mcbp.NeedUpsert},
			[]mcbp.Opcode{mcbp.OpSet, mcbp.OpSetQ, mcbp.OpReplace, mcbp.OpReplaceQ},
		},
		{
			classicOp{run: (*conn).store, extras: flagsAndExpiry, key: mcbp.Required, value: true, need: mcbp.NeedInsert},
			[]mcbp.Opcode{mcbp.OpAdd, mcbp.OpAddQ},
		},
		{
			classicOp{run: (*conn).concat, extras: none, key: mcbp.Required, value: true, need: mcbp.NeedUpsert},
			[]mcbp.Opcode{mcbp.OpAppend, mcbp.OpAppendQ, mcbp.OpPrepend, mcbp.OpPrependQ},
		},
		{
			classicOp{run: (*conn).remove, extras: none, key: mcbp.Required, need: mcbp.NeedDelete},
			[]mcbp.Opcode{mcbp.OpDelete, mcbp.OpDeleteQ},
		},
		{
			classicOp{run: (*conn).classicCount, extras: counter, key: mcbp.Required, need: mcbp.NeedReadUpsert},
			[]mcbp.Opcode{mcbp.OpIncrement, mcbp.OpIncrementQ, mcbp.OpDecrement, mcbp.OpDecrementQ},
		},
		{
			classicOp{run: (*conn).classicTouch, extras: expiry, key: mcbp.Required, need: mcbp.NeedUpsert},
			[]mcbp.Opcode{mcbp.OpTouch},
		},
		{
			classicOp{run: (*conn).classicGetAndTouch, extras: expiry, key: mcbp.Required, need: mcbp.NeedReadUpsert},
			[]mcbp.Opcode{mcbp.OpGetAndTouch, mcbp.OpGetAndTouchQ, opGetAndTouchK, opGetAndTouchKQ},
		},
		{classicOp{run: (*conn).classicFlush, extras: none | expiry}, []mcbp.Opcode{mcbp.OpFlush, mcbp.OpFlushQ}},
		{classicOp{run: (*conn).classicStat, extras: none, key: mcbp.Optional, free: true}, []mcbp.Opcode{mcbp.OpStat}},
		{classicOp{run: (*conn).classicVersion, extras: none, free: true, open: true}, []mcbp.Opcode{mcbp.OpVersion}},
		{classicOp{run: (*conn).acknowledge, extras: none, free: true}, []mcbp.Opcode{mcbp.OpNoop}},
		{classicOp{run: (*conn).acknowledge, extras: none, free: true, open: true}, []mcbp.Opcode{mcbp.OpQuit, mcbp.OpQuitQ}},
		{
			classicOp{run: (*conn).listMechanisms, extras: none, free: true, open: true, login: true},
			[]mcbp.Opcode{mcbp.OpSASLListMechs},
		},
		{
			classicOp{run: (*conn).saslAuth, extras: none, key: mcbp.Required, value: true, free: true, open: true, login: true},
			[]mcbp.Opcode{mcbp.OpSASLAuth},
		},
		{
			classicOp{run: (*conn).saslStep, extras: none, key: mcbp.Required, value: true, free: true, open: true, login: true},
			[]mcbp.Opcode{mcbp.OpSASLStep},
		},
	} {
		for _, opcode := range o.opcodes {
			t[opcode] = o.line
		}
	}
	return t
}

// quietClassic says which replies an opcode leaves out.
func quietClassic(o mcbp.Opcode) (success, miss bool) {
	switch o {
	case opGetAndTouchKQ:
		return false, true
	case mcbp.OpFlushQ, mcbp.OpQuitQ:
		return true, false
	}
	if op := mcbp.Lookup(o); op != nil {
		return op.QuietSuccess, op.QuietMiss
	}
	return false, false
}

// processClassic is process for the classic binary protocol.
func (c *conn) processClassic(ctx context.Context, w *work, in []byte) (used int, next verdict) {
	p := w.plain
	err := c.parseClassic(p, in)
	if p.count == 0 {
		return 0, c.afterBatch(err)
	}
	w.count = p.count
	c.beginBatch(w)
	absent := c.enterBucket()
	c.touchClassic(w)
	gone, single := c.session.bucketGone(), timesEach(p.count)
	for i := range p.count {
		q := &p.frames[i]
		if len(w.out) > 0 && (len(w.out) >= writeAt || c.classicMayWait(q)) {
			c.settle(w)
			return used, writeOut
		}
		used += q.size
		next := c.runClassic(ctx, w, q, absent)
		c.face.skip = q.skip
		if next != goOn || gone && c.session.bucketGone() {
			c.settleNow(w)
			return used, hangUp
		}
		if single {
			c.settleNow(w)
		}
	}
	c.settleNow(w)
	return used, c.afterBatch(err)
}

// parseClassic is the first pass: it decodes a batch and finds what is wrong with each request by itself. The batch ends behind
// a request that changes what later input means.
func (c *conn) parseClassic(p *plainWork, in []byte) (err error) {
	p.count = 0
	defer recoverParse(&err)
	c.face.need = 0
	for p.count < maxBatch {
		q := &p.frames[p.count]
		n, err := c.decodeClassic(q, in)
		if err != nil {
			return err
		}
		q.size = n
		in = in[n:]
		p.count++
		if q.closes || q.skip.Pending() || classicOps[q.Opcode].login {
			return nil
		}
	}
	return nil
}

// decodeClassic reads one request. What its header alone tells to be wrong is not waited for.
func (c *conn) decodeClassic(q *classicRequest, in []byte) (int, error) {
	if len(in) > 0 && mcbp.Magic(in[0]) != mcbp.MagicRequest {
		return 0, mcbp.ErrMalformed
	}
	if len(in) < mcbp.HeaderLen {
		return 0, mcbp.ErrIncomplete
	}
	*q = classicRequest{key: -1}
	q.Magic, q.Opcode = mcbp.MagicRequest, mcbp.Opcode(in[1])
	q.Opaque, q.CAS = binary.BigEndian.Uint32(in[12:]), binary.BigEndian.Uint64(in[16:])
	key, extras, body := int(binary.BigEndian.Uint16(in[2:])), int(in[4]), int64(binary.BigEndian.Uint32(in[8:]))
	op := &classicOps[q.Opcode]
	value := body - int64(extras) - int64(key)
	if q.op = mcbp.Lookup(q.Opcode); q.op == nil {
		q.op = mcbp.Lookup(mcbp.OpGetAndTouch) // for the statistics
	}
	switch {
	case op.run == nil:
		q.fault = mcbp.StatusUnknownCommand
	case value < 0, extras > 31, op.extras&(1<<extras) == 0, key > mctext.MaxKey, key == 0 && op.key == mcbp.Required,
		key > 0 && op.key == mcbp.Forbidden, value > 0 && !op.value:
		q.fault, q.closes = mcbp.StatusInvalid, true
		return mcbp.HeaderLen, nil
	case op.login && value > maxStranger:
		return 0, mcbp.ErrTooLarge
	case !op.login && c.session.identity == nil:
		if !op.open {
			q.fault, q.closes = mcbp.StatusAuthError, true
			return mcbp.HeaderLen, nil
		}
	case value > int64(c.server.options.MemcachedItemSize):
		q.fault = mcbp.StatusTooBig
	}
	whole := mcbp.HeaderLen + int(body)
	if q.fault == mcbp.StatusTooBig {
		whole = mcbp.HeaderLen + extras + key // the key is needed, see classicMalformed
		q.skip.Bytes = value
	}
	if q.fault == mcbp.StatusUnknownCommand {
		whole = mcbp.HeaderLen
		q.skip.Bytes = body
	}
	if len(in) < whole {
		c.face.need = whole
		return 0, mcbp.ErrIncomplete
	}
	if q.fault != mcbp.StatusUnknownCommand {
		rest := in[mcbp.HeaderLen:whole:whole]
		q.Extras, q.Key, q.Value = rest[:extras:extras], rest[extras:extras+key:extras+key], rest[extras+key:]
	}
	return whole + q.skip.Take(in[whole:]), nil
}

// touchClassic finds the places of the batch's keys and has the engine look at all documents at once (kv.md 3.3).
func (c *conn) touchClassic(w *work) {
	b := c.session.bucket
	if b == nil {
		return
	}
	p, n := w.plain, 0
	vbuckets := b.Spec().NumVBuckets
	for i := range p.count {
		q := &p.frames[i]
		if len(q.Key) == 0 || classicOps[q.Opcode].free {
			continue
		}
		id := vbucket.Of(q.Key, vbuckets)
		q.VB = uint16(id)
		q.request.key = b.KV().Key(id, docid.Default, q.Key)
		w.keys[n] = q.request.key
		q.key = n
		n++
	}
	if n > 1 {
		w.touched += b.KV().Prefetch(w.keys[:n])
	}
}

// classicMayWait reports whether a request can take long, so that earlier replies should not wait with it.
func (c *conn) classicMayWait(q *classicRequest) bool {
	op := &classicOps[q.Opcode]
	switch {
	case op.login, q.Opcode == mcbp.OpFlush, q.Opcode == mcbp.OpFlushQ, c.server.options.Interceptor.MayWait():
		return true
	case c.session.bucket == nil || op.need == mcbp.NeedRead:
		return false
	}
	return c.session.bucket.Spec().MinDurability != 0
}
