package kv

import (
	"errors"
	"fmt"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// What a document's state refuses.
var (
	ErrNotFound    = errors.New("document does not exist")
	ErrExists      = errors.New("document exists")
	ErrCASMismatch = errors.New("document has another CAS")
	ErrNotStored   = errors.New("there is no document to append to")
	ErrBadDelta    = errors.New("value is not a decimal number below 2^64")
	ErrLocked      = errors.New("document is locked")
	ErrNotLocked   = errors.New("document is not locked")
)

// What is wrong with a request's value.
var (
	ErrTooBig  = errors.New("value exceeds the bucket's limit")
	ErrInflate = errors.New("value is not a Snappy block, or inflates beyond the limit")
)

// What the bucket's state refuses. ErrBusy and ErrWarming go away by themselves; ErrNoMemory needs somebody to act.
var (
	ErrNoMemory = errors.New("bucket quota is used up and nothing can be freed")
	ErrBusy     = errors.New("bucket cannot take writes for the moment")
	ErrWarming  = errors.New("vBucket is still being loaded")
	ErrClosed   = errors.New("bucket is closed")
)

// What durable writes can meet (wire.md 10).
var (
	ErrDurabilityInvalid    = errors.New("durability level does not exist for this bucket")
	ErrDurabilityImpossible = errors.New("there are not enough copies for the durability level")
	ErrDurabilityAmbiguous  = errors.New("write was applied but did not reach its durability level in time")
	ErrSyncWriteInProgress  = errors.New("a durable write of the document is pending")
)

// What ends a reader's stream of a vBucket.
var (
	// ErrTooSlow says that the reader was in the middle of a snapshot when memory ran out. It starts again from the end of
	// the last snapshot that it has completely.
	ErrTooSlow = errors.New("reader was too slow for the change window")
	// ErrVBucketState says that the vBucket is not held by this node any more.
	ErrVBucketState = errors.New("vBucket changed its state")
)

// errNoStore is what fetching meets in a bucket that has no store: values are never ejected there, so it is a bug.
var errNoStore = errors.New("value is not in memory and the bucket has no store")

// NotMyVBucketError says that this node does not serve the vBucket.
type NotMyVBucketError struct {
	VB    vbucket.ID
	State vbucket.State // of the copy here; Dead if there is none
}

// Error names the vBucket and its state.
func (e *NotMyVBucketError) Error() string {
	return fmt.Sprintf("vb %d is %s on this node", e.VB, e.State)
}
