package client

import (
	"errors"
	"strings"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// What the server can answer. A *StatusError is compared with these by errors.Is.
var (
	ErrNotFound             = errors.New("the document does not exist")
	ErrExists               = errors.New("the document exists")
	ErrCASMismatch          = errors.New("the document has another CAS")
	ErrTooBig               = errors.New("the value is too large")
	ErrInvalid              = errors.New("the request is not valid")
	ErrNotStored            = errors.New("there is no document to add to")
	ErrBadDelta             = errors.New("the value is not a number that can be counted")
	ErrNotMyVBucket         = errors.New("another node serves this vBucket")
	ErrNoBucket             = errors.New("there is no such bucket, or none is selected")
	ErrLocked               = errors.New("the document is locked")
	ErrNotLocked            = errors.New("the document is not locked")
	ErrTemporary            = errors.New("temporary failure; try again")
	ErrNoMemory             = errors.New("the bucket has no memory left")
	ErrAuth                 = errors.New("user name or password is wrong")
	ErrAccess               = errors.New("the user lacks a privilege")
	ErrUnsupported          = errors.New("the server does not support this")
	ErrInternal             = errors.New("the server met an internal error")
	ErrUnknownCollection    = errors.New("the collection does not exist")
	ErrDurabilityInvalid    = errors.New("the bucket cannot give this durability level")
	ErrDurabilityImpossible = errors.New("there are too few copies for this durability level")
	ErrDurabilityAmbiguous  = errors.New("the durable write was not confirmed in time")
	ErrSyncWriteInProgress  = errors.New("another durable write of this document is under way")
)

// What happens to a connection.
var (
	// ErrConnection says that the connection was lost. Whether the request was carried out is unknown.
	ErrConnection = errors.New("connection lost")
	// ErrNotSent says that the connection was lost before the request was sent: the server has not seen it.
	ErrNotSent = errors.New("request not sent")
	// ErrClosed says that Close was called. It is an ErrConnection too.
	ErrClosed = &closedError{}
	// ErrProtocol says that the server sent what the protocol does not allow. The connection ends.
	ErrProtocol = errors.New("unexpected message from the server")
)

type closedError struct{}

func (*closedError) Error() string        { return "the connection is closed" }
func (*closedError) Is(target error) bool { return target == ErrConnection }

// StatusError is an answer of the KV protocol that is not a success.
type StatusError struct {
	Op      mcbp.Opcode
	Status  mcbp.Status
	Context string // what went wrong, for people; may be empty
	Ref     string // names a line in the server's log; may be empty

	withCAS bool // the request carried a CAS
}

// Error names the operation, the status and what the server said about it.
func (e *StatusError) Error() string {
	var b strings.Builder
	b.WriteString(e.Op.String())
	b.WriteString(": ")
	b.WriteString(e.Status.String())
	if e.Context != "" {
		b.WriteString(": ")
		b.WriteString(e.Context)
	} else if info := e.Status.Info(); info != nil {
		b.WriteString(": ")
		b.WriteString(info.Desc)
	}
	if e.Ref != "" {
		b.WriteString(" (ref ")
		b.WriteString(e.Ref)
		b.WriteString(")")
	}
	return b.String()
}

// Is compares with the sentinels of this package.
func (e *StatusError) Is(target error) bool {
	switch e.Op {
	case mcbp.OpSelectBucket: // an unknown name and a missing privilege are answered alike; 01 means not ready (wire.md 4.7)
		if e.Status == mcbp.StatusAccess && target == ErrNoBucket {
			return true
		}
		if e.Status == mcbp.StatusNotFound {
			return target == ErrTemporary
		}
	case mcbp.OpGetClusterConfig:
		if e.Status == mcbp.StatusNotFound {
			return target == ErrTemporary
		}
	}
	if target == ErrCASMismatch {
		return e.withCAS && e.Status == mcbp.StatusExists
	}
	return target == sentinelOf(e.Status)
}

// sentinelOf is the table from statuses to sentinels (wire.md 14.1); nil for statuses that none stands for.
func sentinelOf(s mcbp.Status) error {
	switch s {
	case mcbp.StatusNotFound:
		return ErrNotFound
	case mcbp.StatusExists:
		return ErrExists
	case mcbp.StatusTooBig:
		return ErrTooBig
	case mcbp.StatusInvalid, mcbp.StatusRange, mcbp.StatusUnknownFrameInfo, mcbp.StatusXattrInvalid:
		return ErrInvalid
	case mcbp.StatusNotStored:
		return ErrNotStored
	case mcbp.StatusBadDelta:
		return ErrBadDelta
	case mcbp.StatusNotMyVBucket:
		return ErrNotMyVBucket
	case mcbp.StatusNoBucket:
		return ErrNoBucket
	case mcbp.StatusLocked:
		return ErrLocked
	case mcbp.StatusNotLocked:
		return ErrNotLocked
	case mcbp.StatusTempFail, mcbp.StatusBusy, mcbp.StatusWouldThrottle, mcbp.StatusRateLimitedIngress,
		mcbp.StatusRateLimitedEgress, mcbp.StatusRateLimitedCommands, mcbp.StatusTooManyConnections:
		return ErrTemporary
	case mcbp.StatusNoMemory:
		return ErrNoMemory
	case mcbp.StatusAuthError, mcbp.StatusAuthStale:
		return ErrAuth
	case mcbp.StatusAccess:
		return ErrAccess
	case mcbp.StatusUnknownCommand, mcbp.StatusNotSupported:
		return ErrUnsupported
	case mcbp.StatusInternal:
		return ErrInternal
	case mcbp.StatusUnknownCollection, mcbp.StatusUnknownScope:
		return ErrUnknownCollection
	case mcbp.StatusDurabilityInvalid:
		return ErrDurabilityInvalid
	case mcbp.StatusDurabilityImpossible:
		return ErrDurabilityImpossible
	case mcbp.StatusSyncWriteAmbiguous:
		return ErrDurabilityAmbiguous
	case mcbp.StatusSyncWriteInProgress, mcbp.StatusSyncWriteRecommit:
		return ErrSyncWriteInProgress
	}
	return nil
}
