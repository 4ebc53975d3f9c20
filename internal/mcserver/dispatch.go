package mcserver

import (
	"context"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
)

// executor carries out one request whose form, rights and collection have been checked. It appends a whole reply to w.out,
// or returns an error and the reply is made from that; what it had appended is then dropped.
type executor func(c *conn, ctx context.Context, w *work, q *request) error

// executors says who carries out which opcode. An opcode of mcbp's table without an executor is a mistake that a test finds.
//
//nolint:gochecknoglobals // a constant table
var executors = makeExecutors()

func makeExecutors() [256]executor {
	var t [256]executor
	for _, e := range []struct {
		run     executor
		opcodes []mcbp.Opcode
	}{
		{(*conn).get, []mcbp.Opcode{mcbp.OpGet, mcbp.OpGetQ}},
		{(*conn).getWithKey, []mcbp.Opcode{mcbp.OpGetK, mcbp.OpGetKQ}},
		{(*conn).getAndTouch, []mcbp.Opcode{mcbp.OpGetAndTouch, mcbp.OpGetAndTouchQ}},
		{(*conn).getAndLock, []mcbp.Opcode{mcbp.OpGetAndLock}},
		{(*conn).getReplica, []mcbp.Opcode{mcbp.OpGetReplica}},
		{(*conn).getMeta, []mcbp.Opcode{mcbp.OpGetMeta, mcbp.OpGetMetaQ}},
		{(*conn).unlock, []mcbp.Opcode{mcbp.OpUnlock}},
		{(*conn).store, []mcbp.Opcode{mcbp.OpSet, mcbp.OpSetQ, mcbp.OpAdd, mcbp.OpAddQ, mcbp.OpReplace, mcbp.OpReplaceQ}},
		{(*conn).concat, []mcbp.Opcode{mcbp.OpAppend, mcbp.OpAppendQ, mcbp.OpPrepend, mcbp.OpPrependQ}},
		{(*conn).remove, []mcbp.Opcode{mcbp.OpDelete, mcbp.OpDeleteQ}},
		{(*conn).count, []mcbp.Opcode{mcbp.OpIncrement, mcbp.OpIncrementQ, mcbp.OpDecrement, mcbp.OpDecrementQ}},
		{(*conn).touchDocument, []mcbp.Opcode{mcbp.OpTouch}},
		{(*conn).keys, []mcbp.Opcode{mcbp.OpGetKeys}},
		{(*conn).randomKey, []mcbp.Opcode{mcbp.OpGetRandomKey}},
		{(*conn).observe, []mcbp.Opcode{mcbp.OpObserve}},
		{(*conn).observeSeqno, []mcbp.Opcode{mcbp.OpObserveSeqno}},
		{(*conn).failoverLog, []mcbp.Opcode{mcbp.OpFailoverLog}},
		{(*conn).allSeqnos, []mcbp.Opcode{mcbp.OpAllVBSeqnos}},
		{(*conn).manifest, []mcbp.Opcode{mcbp.OpManifest}},
		{(*conn).collectionID, []mcbp.Opcode{mcbp.OpCollectionID}},
		{(*conn).scopeID, []mcbp.Opcode{mcbp.OpScopeID}},
		{(*conn).listBuckets, []mcbp.Opcode{mcbp.OpListBuckets}},
		{(*conn).hello, []mcbp.Opcode{mcbp.OpHello}},
		{(*conn).listMechanisms, []mcbp.Opcode{mcbp.OpSASLListMechs}},
		{(*conn).saslAuth, []mcbp.Opcode{mcbp.OpSASLAuth}},
		{(*conn).saslStep, []mcbp.Opcode{mcbp.OpSASLStep}},
		{(*conn).selectByName, []mcbp.Opcode{mcbp.OpSelectBucket}},
		{(*conn).clusterConfig, []mcbp.Opcode{mcbp.OpGetClusterConfig}},
		{(*conn).errorMap, []mcbp.Opcode{mcbp.OpGetErrorMap}},
		{(*conn).stat, []mcbp.Opcode{mcbp.OpStat}},
		{(*conn).version, []mcbp.Opcode{mcbp.OpVersion}},
		{(*conn).acknowledge, []mcbp.Opcode{mcbp.OpNoop, mcbp.OpVerbosity, mcbp.OpQuit, mcbp.OpQuitQ}},
		{(*conn).notSupported, []mcbp.Opcode{mcbp.OpFlush, mcbp.OpFlushQ}},
	} {
		for _, o := range e.opcodes {
			t[o] = e.run
		}
	}
	return t
}

// run answers one request.
func (c *conn) run(ctx context.Context, w *work, q *request) verdict {
	if q.op == nil && q.fault == mcbp.StatusSuccess {
		return goOn // a client's answer to one of our pushes
	}
	mark, counts := len(w.out), c.session.counts
	var err error
	if c.server.options.Interceptor == nil {
		err = c.execute(ctx, w, q)
	} else {
		err = c.executeIntercepted(ctx, w, q)
	}
	class, next := succeeded, goOn
	switch {
	case err != nil:
		w.out = w.out[:mark]
		class = c.fail(w, q, err)
	case q.op.QuietSuccess:
		w.out = w.out[:mark]
	}
	if c.server.options.Interceptor != nil && c.intercepted(w, mark, class) {
		next = hangUp
	}
	if q.op == nil {
		return next
	}
	w.stamp(q, mark, class, counts)
	if q.Opcode == mcbp.OpQuit || q.Opcode == mcbp.OpQuitQ {
		return hangUp
	}
	return next
}

// usual does for a batch what execute would do for each of its requests: it reports whether the session's own rights and the
// default collection of its bucket are there to be used. What changes a session ends a batch, so that it holds to its end;
// changes by others are seen by the next one.
func (c *conn) usual() bool {
	s := &c.session
	return s.identity != nil && s.bucket != nil && !s.stale && s.access.Version() == c.server.auth.Version() &&
		s.bucket.Manifest().Has(uint32(docid.Default))
}

// execute does the checks that need more than the request, in the order of wire.md 3.5 from step 11 on, then the request.
func (c *conn) execute(ctx context.Context, w *work, q *request) error {
	s := &c.session
	if w.usual && q.fault == mcbp.StatusSuccess && q.op.Collection && q.key.Coll == docid.Default &&
		len(q.infos.Impersonate) == 0 && int(q.VB) < s.bucket.Spec().NumVBuckets && allowed(&s.access, q.op.Need) {
		return executors[q.Opcode](c, ctx, w, q) // as below, with what usual has found out for the whole batch
	}
	if q.fault != mcbp.StatusSuccess {
		return &faultError{status: q.fault, context: q.text}
	}
	if q.op.Need == mcbp.NeedNothing {
		return executors[q.Opcode](c, ctx, w, q)
	}
	if s.identity == nil {
		return errNotAuthenticated
	}
	rights, err := c.rights(q)
	if err != nil {
		return err
	}
	if !q.op.Bucket {
		return executors[q.Opcode](c, ctx, w, q)
	}
	if s.bucket == nil || s.bucketGone() {
		return errNoBucket
	}
	switch {
	case q.op.Collection:
		err = c.mayUse(rights, q.key.Coll, q.op.Need)
	case q.op.Need == mcbp.NeedRead && !rights.Somewhere(auth.Read):
		err = auth.ErrNotAllowed
	}
	if err != nil {
		return err
	}
	if q.op.VBucket && int(q.VB) >= s.bucket.Spec().NumVBuckets {
		return errNotMyVBucket
	}
	return executors[q.Opcode](c, ctx, w, q)
}

// fail appends the reply to a request that ended with err, unless the opcode keeps quiet about it.
func (c *conn) fail(w *work, q *request, err error) outcome {
	f := faultError{status: mcbp.StatusNotFound}
	if err != kv.ErrNotFound { //nolint:errorlint // the common miss, as it is returned; explain allocates
		f = c.explain(q, err)
	}
	if f.status == mcbp.StatusNotFound && q.op != nil && q.op.QuietMiss {
		return missed
	}
	if f.status == mcbp.StatusNotMyVBucket {
		c.notMyVBucket(w, q)
		return refused
	}
	f.status = c.remap(f.status, q.Opcode)
	at := w.open(&c.session)
	body := mcbp.ErrorBody{Context: f.context, Ref: f.ref, ManifestUID: f.manifest}
	w.out = body.Append(w.out)
	r := reply{status: f.status}
	if len(w.out) > at+c.session.replyHead() {
		r.datatype = jsonBit & c.session.datatypes
	}
	w.seal(&c.session, q, at, r)
	return outcomeOf(f.status)
}

// remap replaces statuses that old clients would not understand: those of connections without the feature xerror.
func (c *conn) remap(status mcbp.Status, o mcbp.Opcode) mcbp.Status {
	if c.session.features.Has(mcbp.FeatureXError) {
		return status
	}
	switch status {
	case mcbp.StatusLocked:
		switch o {
		case mcbp.OpGetAndLock, mcbp.OpUnlock, mcbp.OpDelete, mcbp.OpDeleteQ:
			return mcbp.StatusTempFail
		default:
			return mcbp.StatusExists
		}
	case mcbp.StatusCASInvalid:
		return mcbp.StatusExists
	case mcbp.StatusNotLocked, mcbp.StatusSyncWriteInProgress, mcbp.StatusSyncWriteRecommit:
		return mcbp.StatusTempFail
	case mcbp.StatusUnknownCollection, mcbp.StatusUnknownScope:
		if !c.session.collections {
			return mcbp.StatusInvalid
		}
		return status
	default:
		return status
	}
}

// outcome sorts requests for statistics.
type outcome uint8

const (
	succeeded   outcome = iota
	missed              // the document is not there
	refused             // the client would get the same again: bad request, conflict, missing right
	delayed             // temporary
	failed              // our fault
	numOutcomes = iota
)

func (o outcome) String() string {
	return [...]string{"ok", "miss", "refused", "temporary", "failed"}[o]
}

func outcomeOf(status mcbp.Status) outcome {
	switch status {
	case mcbp.StatusSuccess, mcbp.StatusAuthContinue:
		return succeeded
	case mcbp.StatusNotFound:
		return missed
	case mcbp.StatusTempFail, mcbp.StatusBusy, mcbp.StatusNoMemory, mcbp.StatusSyncWriteInProgress, mcbp.StatusSyncWriteRecommit:
		return delayed
	case mcbp.StatusInternal, mcbp.StatusSyncWriteAmbiguous:
		return failed
	default:
		return refused
	}
}

// acknowledge answers requests that need nothing done.
func (c *conn) acknowledge(_ context.Context, w *work, q *request) error {
	w.empty(&c.session, q, 0)
	return nil
}

func (c *conn) notSupported(context.Context, *work, *request) error {
	return &faultError{status: mcbp.StatusNotSupported, context: "Use the management API to flush a bucket"}
}

func (c *conn) version(_ context.Context, w *work, q *request) error {
	w.value(&c.session, q, 0, []byte(c.server.options.Version))
	return nil
}
