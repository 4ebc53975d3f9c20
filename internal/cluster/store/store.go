// Package store keeps what the cluster should be: keys with values, revisions, transactions and a watch.
//
// Everything that people ask for (buckets, users, names) and everything that is decided about it (which node holds which
// vBucket) is a key in a Store. A Revision numbers the transactions; it rises with each one, over restarts too, and so
// orders everything that the cluster plane ever says. A transaction names the revisions that it was decided on and fails
// with ErrConflict if one of them has moved, so that a decision on old knowledge changes nothing.
//
// There are two implementations. Memory keeps all in memory; test servers use it. Solo is Memory with one state file that is
// written anew at each transaction; a one-node cluster uses it, because specs are small and change rarely. Both pass the
// conformance test of package storetest, which is the definition of this interface.
//
// All methods may be called from any goroutine; a Watcher belongs to one. Values that go in are copied, values that come out
// must not be changed. Read store.go, then memory.go, then solo.go; the file's format is in docs/formats/cluster-state.md.
package store

import (
	"context"
	"errors"
	"fmt"
)

// Revision numbers transactions, from 1. 0 stands for "before everything", and in a Condition for "does not exist".
type Revision int64

// Limits of a Store. They are those of the strictest implementation that is planned (architecture.md 10).
const (
	MaxKey   = 512      // bytes
	MaxValue = 64 << 10 // bytes
	MaxOps   = 1024     // puts and deletes of one transaction
)

// What a call can fail with.
var (
	ErrNotFound  = errors.New("no such key")
	ErrConflict  = errors.New("a key has changed since the decision was made")
	ErrTooBig    = errors.New("the transaction exceeds a limit of the store")
	ErrCompacted = errors.New("the changes asked for are not remembered any more; list again")
	ErrClosed    = errors.New("the store is closed")
)

// Entry is one key with its value. Created and Modified are the revisions of the transactions that made it and that put it
// last.
type Entry struct {
	Key      string
	Value    []byte
	Created  Revision
	Modified Revision
}

// Condition demands that a key was last put at a revision, or does not exist (0).
type Condition struct {
	Key      string
	Modified Revision
}

// Put sets a key.
type Put struct {
	Key   string
	Value []byte
}

// Txn is a transaction: if all conditions hold, all puts and deletes are done as one revision. No key may be named twice
// among puts and deletes. Deleting a key that does not exist does nothing.
type Txn struct {
	If     []Condition
	Puts   []Put
	Delete []string
}

// Change is one key's part of a transaction. Deleted keys come with Modified set to the revision of the deletion.
type Change struct {
	Entry
	Deleted bool
}

// Batch is what one transaction changed, in the order of keys.
type Batch struct {
	Revision Revision
	Changes  []Change
}

// Store is the cluster's memory.
type Store interface {
	// Get reads one key. ErrNotFound if it does not exist.
	Get(ctx context.Context, key string) (Entry, error)
	// List reads all keys that begin with prefix, in the order of keys, as they were at the returned revision.
	List(ctx context.Context, prefix string) ([]Entry, Revision, error)
	// Txn carries out a transaction and gives its revision. When it returns without an error the change outlives a crash, as
	// far as the implementation outlives one at all. ErrConflict, ErrTooBig. After any other error the outcome is unknown:
	// read back.
	Txn(ctx context.Context, t Txn) (Revision, error)
	// Watch follows the changes of keys that begin with prefix, of revisions higher than after. ErrCompacted if they are
	// not all remembered.
	Watch(ctx context.Context, prefix string, after Revision) (Watcher, error)
	// Close ends all watchers and releases what is held. A closed store answers ErrClosed.
	Close() error
}

// Watcher hands out changes in the order of revisions, none left out and none twice, each transaction whole.
type Watcher interface {
	// Next waits for the next transaction that touched the prefix. ErrCompacted if the reader was too slow, ErrClosed if the
	// store was closed, the context's cause if it ended.
	Next(ctx context.Context) (Batch, error)
}

// check validates a transaction's shape.
func (t *Txn) check() error {
	if len(t.Puts)+len(t.Delete) > MaxOps {
		return fmt.Errorf("%d operations: %w", len(t.Puts)+len(t.Delete), ErrTooBig)
	}
	seen := make(map[string]bool, len(t.Puts)+len(t.Delete))
	name := func(key string) error {
		switch {
		case key == "" || len(key) > MaxKey:
			return fmt.Errorf("a key of %d bytes: %w", len(key), ErrTooBig)
		case seen[key]:
			return fmt.Errorf("key %s is named twice in one transaction", key)
		}
		seen[key] = true
		return nil
	}
	for _, p := range t.Puts {
		if len(p.Value) > MaxValue {
			return fmt.Errorf("key %s: a value of %d bytes: %w", p.Key, len(p.Value), ErrTooBig)
		}
		if err := name(p.Key); err != nil {
			return err
		}
	}
	for _, key := range t.Delete {
		if err := name(key); err != nil {
			return err
		}
	}
	return nil
}
