package cli

import (
	"errors"
	"net"
	"strings"

	"github.com/charpoy/charpoy/internal/client"
)

// verdict is what an error of the client means to a person: the table that gives exit codes and hints.
type verdict struct {
	is   error
	code int
	hint string
}

// verdicts lists them; the first that matches counts.
func verdicts() []verdict {
	return []verdict{
		{client.ErrNoBucket, exitNotFound, "See: charpoy bucket ls"},
		{client.ErrNotFound, exitNotFound, ""},
		{client.ErrNotStored, exitNotFound, "append and prepend need a document that exists; make it with set or add."},
		{client.ErrUnknownCollection, exitNotFound, ""},
		{client.ErrCASMismatch, exitConflict, "Somebody else has changed the document: read it again and decide anew."},
		{client.ErrExists, exitConflict, ""},
		{client.ErrLocked, exitConflict, "Somebody holds a lock; it ends by itself within 30 seconds."},
		{client.ErrNotLocked, exitConflict, ""},
		{client.ErrSyncWriteInProgress, exitConflict, "Try again when the other durable write has ended."},
		{client.ErrAuth, exitDenied, "Check --user and CHARPOY_PASSWORD."},
		{client.ErrAccess, exitDenied, "See the roles with: charpoy user get NAME"},
		{client.ErrDurabilityAmbiguous, exitUnreachable, "The write may or may not be there: read the document."},
		{client.ErrDurabilityImpossible, exitRefused, "The bucket has fewer copies than this level needs."},
		{client.ErrDurabilityInvalid, exitUsage, "An ephemeral bucket cannot persist; use the level none or majority."},
		{client.ErrTemporary, exitBusy, "The server is busy for a moment: try again."},
		{client.ErrNoMemory, exitBusy, "Raise the bucket's quota, or delete something: charpoy bucket update NAME --quota 512MiB"},
		{client.ErrNotMyVBucket, exitFailed, "The cluster has changed: try again."},
		{client.ErrTooBig, exitFailed, ""},
		{client.ErrBadDelta, exitFailed, "A counter's document holds a whole number in decimal digits, and nothing else."},
		{client.ErrUnsupported, exitFailed, ""},
		{client.ErrConnection, exitUnreachable, "Whether the last request was carried out is not known."},
		{client.ErrProtocol, exitFailed, "Is this the right port? --kv wants the key-value port, --server the management port."},
	}
}

// describeRemote knows the errors of a server and of the way to it.
func describeRemote(err error) *failure {
	var rest *client.RESTError
	if errors.As(err, &rest) && errors.Is(err, client.ErrInvalid) {
		if strings.Contains(rest.Text, "Flush is disabled") {
			return &failure{code: exitRefused, err: err, hint: "Allow it first: charpoy bucket update NAME --flush"}
		}
		return &failure{code: exitUsage, err: err}
	}
	for _, v := range verdicts() {
		if errors.Is(err, v.is) {
			return &failure{code: v.code, err: err, hint: v.hint}
		}
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return &failure{
			code: exitUnreachable, err: err,
			hint: "Is the server running, and is --server (CHARPOY_SERVER) its address? Start one with: charpoy demo",
		}
	}
	return nil
}
