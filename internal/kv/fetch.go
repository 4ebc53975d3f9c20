package kv

import (
	"context"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// This file is where the operations meet the disk. What is in it serves ephemeral buckets: nothing is ever on disk only.
// The storage side of the engine replaces these bodies.

// fetch brings the value of the version seqno of a document into memory, which is on disk only. It is called without a
// lock, and the operation that needs the value looks again afterwards: nil says that this is worth while, also if the
// version is not the present one any more.
func (b *Bucket) fetch(context.Context, *vBucket, *Key, vbucket.Seqno) error { return errNoStore }

// fetchMeta describes a tombstone that is on disk only. ErrNotFound if there is none.
func (b *Bucket) fetchMeta(context.Context, *vBucket, *Key) (Meta, error) { return Meta{}, ErrNotFound }

// awaitWarm waits for a vBucket that is still being loaded, for a short time, and has it loaded before others. nil says
// that it may serve now.
func (b *Bucket) awaitWarm(context.Context, *vBucket, <-chan struct{}) error { return ErrWarming }

// runStore loads, persists, fetches and ejects until ctx ends.
func (b *Bucket) runStore(context.Context) error { return nil }

// flushStore is Flush for a persistent bucket.
func (b *Bucket) flushStore(uint64) error { return errNoStore }

// hurry has the flusher begin a round now: a durable write waits for it.
func (b *Bucket) hurry() {}

// diskBytes is how much of the disk the bucket takes.
func (b *Bucket) diskBytes() uint64 { return 0 }
