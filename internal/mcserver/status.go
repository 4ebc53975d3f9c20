package mcserver

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
)

const jsonBit = value.JSON

// faultError is an error that knows its status: what this package itself refuses.
type faultError struct {
	status   mcbp.Status
	context  string  // for people
	ref      string  // names a line of the log
	manifest *uint64 // UID of the manifest in which something was not found
}

func (f *faultError) Error() string {
	if f.context != "" {
		return f.context
	}
	return f.status.Desc()
}

func invalid(context string) error { return &faultError{status: mcbp.StatusInvalid, context: context} }

// Refusals of this package.
var (
	errNotAuthenticated = errors.New("authenticate first")
	errNoBucket         = errors.New("select a bucket first")
	errNotMyVBucket     = errors.New("the vBucket does not exist")
	errNoAccess         = errors.New("there is no such bucket, or no access to it")
	errNotReady         = errors.New("the bucket is not ready on this node yet")
	errNoConfig         = errors.New("there is no configuration yet")
	errUnknownGroup     = errors.New("unknown statistics group")
	errNoHistory        = errors.New("the vBucket never had this history")
)

// sentinel gives an error its status and the context that people read.
type sentinel struct {
	err     error
	status  mcbp.Status
	context string
}

// sentinels is the one table from errors to statuses (architecture.md 9, wire.md 14). Types that carry data are in explain.
//
//nolint:gochecknoglobals // a constant table
var sentinels = []sentinel{
	{kv.ErrNotFound, mcbp.StatusNotFound, ""},
	{kv.ErrExists, mcbp.StatusExists, ""},
	{kv.ErrCASMismatch, mcbp.StatusExists, ""},
	{kv.ErrTooBig, mcbp.StatusTooBig, "Value exceeds the bucket's limit"},
	{kv.ErrInflate, mcbp.StatusInvalid, "Failed to inflate payload"},
	{kv.ErrNotStored, mcbp.StatusNotStored, ""},
	{kv.ErrBadDelta, mcbp.StatusBadDelta, "Value is not a decimal number below 2^64"},
	{kv.ErrLocked, mcbp.StatusLocked, ""},
	{kv.ErrNotLocked, mcbp.StatusNotLocked, ""},
	{kv.ErrNoMemory, mcbp.StatusNoMemory, "The bucket's memory quota is used up"},
	{kv.ErrBusy, mcbp.StatusTempFail, ""},
	{kv.ErrWarming, mcbp.StatusTempFail, "The vBucket is being loaded"},
	{kv.ErrClosed, mcbp.StatusNoBucket, "The bucket is being closed"},
	{kv.ErrDurabilityInvalid, mcbp.StatusDurabilityInvalid, "The bucket cannot give this durability level"},
	{kv.ErrDurabilityImpossible, mcbp.StatusDurabilityImpossible, "There are not enough copies for this durability level"},
	{kv.ErrDurabilityAmbiguous, mcbp.StatusSyncWriteAmbiguous, ""},
	{kv.ErrSyncWriteInProgress, mcbp.StatusSyncWriteInProgress, ""},
	{data.ErrNoBucket, mcbp.StatusNoBucket, "There is no such bucket"},
	{data.ErrNotReady, mcbp.StatusTempFail, "The bucket is not ready"},
	{auth.ErrBadCredentials, mcbp.StatusAuthError, "Wrong user name or password"},
	{auth.ErrMechanism, mcbp.StatusAuthError, "The mechanism is not offered"},
	{auth.ErrTooManyFailures, mcbp.StatusAuthError, "Too many failed logins; wait before the next attempt"},
	{auth.ErrNotAllowed, mcbp.StatusAccess, "The user lacks the privilege for this command"},
	{auth.ErrStale, mcbp.StatusAccess, "The user does not exist any more"},
	{value.ErrInflate, mcbp.StatusInvalid, "Failed to inflate payload"},
	{value.ErrXattr, mcbp.StatusXattrInvalid, "Malformed extended attributes"},
	{errNotAuthenticated, mcbp.StatusAccess, "Authenticate first"},
	{errNoBucket, mcbp.StatusNoBucket, "Select a bucket first"},
	{errNotMyVBucket, mcbp.StatusNotMyVBucket, ""},
	{errNoAccess, mcbp.StatusAccess, "There is no such bucket, or no access to it"},
	{errNotReady, mcbp.StatusNotFound, "The bucket is not ready on this node yet"},
	{errNoConfig, mcbp.StatusNotFound, "There is no cluster configuration yet"},
	{errUnknownGroup, mcbp.StatusNotFound, "Unknown statistics group"},
	{errNoHistory, mcbp.StatusNotFound, "The vBucket never had this history"},
	{context.Canceled, mcbp.StatusTempFail, "The server is stopping"},
	{context.DeadlineExceeded, mcbp.StatusTempFail, "The operation took too long"},
}

// explain turns an error into what the reply says. What nobody foresaw is logged, and the reply names the line of the log.
func (c *conn) explain(q *request, err error) faultError {
	var own *faultError
	var vb *kv.NotMyVBucketError
	var collection *spec.UnknownCollectionError
	var scope *spec.UnknownScopeError
	switch {
	case errors.As(err, &own):
		return *own
	case errors.As(err, &vb):
		return faultError{status: mcbp.StatusNotMyVBucket}
	case errors.As(err, &collection):
		return faultError{status: mcbp.StatusUnknownCollection, manifest: &collection.Manifest}
	case errors.As(err, &scope):
		return faultError{status: mcbp.StatusUnknownScope, manifest: &scope.Manifest}
	}
	for i := range sentinels {
		if errors.Is(err, sentinels[i].err) {
			return faultError{status: sentinels[i].status, context: sentinels[i].context}
		}
	}
	ref := newRef()
	c.server.logger.Error("request failed", "ref", ref, "op", q.Opcode.String(), "bucket", c.session.bucketName(),
		"connection", c.id, "error", err)
	return faultError{status: mcbp.StatusInternal, context: "Internal error; the server's log has more under this reference", ref: ref}
}

func newRef() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
