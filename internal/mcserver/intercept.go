package mcserver

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/charpoy/charpoy/internal/fault"
	"github.com/charpoy/charpoy/internal/mcbp"
)

// errCut stands for a reply that is never made: the connection is closed instead.
var errCut = errors.New("the connection is closed instead of a reply")

// executeIntercepted is execute on a server with an interceptor: it is told of the request and says whether that is run.
func (c *conn) executeIntercepted(ctx context.Context, w *work, q *request) error {
	if q.op == nil {
		return c.execute(ctx, w, q)
	}
	return c.intercept(ctx, w, c.describe(q), func() error { return c.execute(ctx, w, q) })
}

// intercept tells the interceptor of a request and runs it, unless something else is to happen.
func (c *conn) intercept(ctx context.Context, w *work, o *fault.Operation, run func() error) error {
	w.seen = o
	c.server.options.Interceptor.Begin(ctx, o)
	switch {
	case o.Injected.Runs():
		return run()
	case o.Injected.Status != 0:
		return injected(o)
	}
	return errCut
}

// injected is the error that the interceptor wants an operation to end with.
func injected(o *fault.Operation) error {
	return &faultError{status: mcbp.Status(o.Injected.Status), context: "This error was injected by a test"}
}

// intercepted tells the interceptor how a request ended whose reply begins at mark, takes the reply away if it is not to be
// sent, and reports whether the connection is to be closed.
func (c *conn) intercepted(w *work, mark int, class outcome) (closes bool) {
	o := w.seen
	if o == nil {
		return false
	}
	w.seen = nil
	c.identify(o) // HELLO and the login have just said who it is
	status := mcbp.StatusSuccess
	switch {
	case len(w.out) >= mark+mcbp.HeaderLen:
		status = mcbp.Status(binary.BigEndian.Uint16(w.out[mark+statusAt:]))
	case class == missed:
		status = mcbp.StatusNotFound // of a quiet request
	}
	if o.Injected.Drop || o.Injected.Close {
		w.out = w.out[:mark]
	}
	c.server.options.Interceptor.End(o, uint16(status))
	return o.Injected.Close
}

// identify tells an interceptor whose connection this is.
func (c *conn) identify(o *fault.Operation) {
	o.Agent = c.session.agent
	if o.User == "" && c.session.identity != nil {
		o.User = c.session.identity.User
	}
}

// Operations lists the names of all operations that an interceptor can be told of.
func Operations() []string {
	var names []string
	for o := range 256 {
		if op := mcbp.Lookup(mcbp.Opcode(o)); op != nil && !strings.HasSuffix(op.Name, quietSuffix) {
			names = append(names, op.Name)
		}
	}
	slices.Sort(names)
	return names
}

// quietSuffix ends the names of the variants that leave out some replies.
const quietSuffix = "_quiet"

// statusAt is where the header of a reply has its status.
const statusAt = 6

// describe tells an interceptor what a request is.
func (c *conn) describe(q *request) *fault.Operation {
	s := &c.session
	o := &fault.Operation{
		Op: strings.TrimSuffix(q.op.Name, quietSuffix), Bucket: s.bucketName(), Document: q.op.Collection,
		Connection: c.id,
	}
	c.identify(o)
	if len(q.infos.Impersonate) > 0 {
		o.User = string(q.infos.Impersonate)
	}
	if q.op.Collection && s.bucket != nil && q.fault == mcbp.StatusSuccess {
		o.Key = string(q.key.Name)
		o.Scope, o.Collection, _ = collectionName(s.bucket.Manifest(), uint32(q.key.Coll))
	}
	return o
}

// StatusName is the name of a status's number.
func StatusName(number uint16) string { return mcbp.Status(number).String() }

// ParseStatus finds a status's number by its name, in small or capital letters. Success cannot be injected, so it is none.
func ParseStatus(name string) (number uint16, ok bool) {
	for _, s := range mcbp.Statuses() {
		if strings.EqualFold(s.Name, name) && s.Status != mcbp.StatusSuccess {
			return uint16(s.Status), true
		}
	}
	return 0, false
}
