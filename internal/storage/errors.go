package storage

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// What a call can meet.
var (
	// ErrNotFound says that a row is not there.
	ErrNotFound = errors.New("row is not on disk")
	// ErrFailed says that the store met an error that it cannot recover from and has stopped. The process must end.
	ErrFailed = errors.New("the store has failed and takes no more writes")
	// ErrClosed says that the DB was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrNewerFormat says that the data was written by a newer version of the program.
	ErrNewerFormat = errors.New("the data was written by a newer version; start that one")
)

// CorruptionError says that something on disk is not what was written. It concerns one vBucket, which must not be served
// from this disk any more; other vBuckets are not affected.
type CorruptionError struct {
	Bucket string        // UUID of the bucket; empty if the damage is in the node's own rows
	VB     vbucket.ID    // meaningless if Bucket is empty
	Seqno  vbucket.Seqno // of the row, 0 if it is not about one document
	Reason string
	Err    error // what was met, may be nil
}

// Error says where the damage is and what it looks like.
func (e *CorruptionError) Error() string {
	where := "node rows"
	if e.Bucket != "" {
		where = fmt.Sprintf("bucket %s vb %d", e.Bucket, e.VB)
		if e.Seqno != 0 {
			where += fmt.Sprintf(" seqno %d", e.Seqno)
		}
	}
	text := where + ": data on disk is damaged: " + e.Reason
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives what was met.
func (e *CorruptionError) Unwrap() error { return e.Err }

// Hint tells an operator what to do.
func (e *CorruptionError) Hint() string { return damageHint }

const damageHint = "check the disk and the memory of this machine, then restore the vBucket from another copy or from a " +
	"backup; the damaged files are kept as they are"

// faultOf makes a *CorruptionError of an error of the engine that says so, and leaves others as they are.
func (b *Bucket) faultOf(vb vbucket.ID, seqno vbucket.Seqno, err error) error {
	var known *CorruptionError
	switch {
	case errors.As(err, &known):
		return err
	case pebble.IsCorruptionError(err):
		return b.corrupt(vb, seqno, "a block of a table file", err)
	}
	return err
}

// corrupt reports damage in one vBucket and returns it as an error.
func (b *Bucket) corrupt(vb vbucket.ID, seqno vbucket.Seqno, reason string, err error) error {
	e := &CorruptionError{Bucket: b.uuid, VB: vb, Seqno: seqno, Reason: reason, Err: err}
	b.db.corruptions.Add(1)
	if f := b.db.options.Events.Corruption; f != nil {
		f(e)
	}
	return e
}
