package kv

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Options of a Bucket. Spec is required; the rest has defaults.
type Options struct {
	Spec     spec.Bucket     // with defaults filled in and valid
	Manifest spec.Manifest   // the zero value stands for the manifest of a new bucket
	Clock    *hlc.Source     // nil: the machine's clock
	Store    *storage.Bucket // nil exactly for an ephemeral bucket
	Logger   *slog.Logger    // nil: nothing is logged
	Events   Events
	Trace    *trace.Node // what the probes fire into; nil: nobody looks

	// CASCeiling is a CAS that no earlier start of the node has passed (kv.md 5): every clock begins above it.
	CASCeiling vbucket.CAS
	// PurgeInterval is the time between two looks for old tombstones on disk. 0 means 10 minutes.
	PurgeInterval time.Duration
	// ExpiryInterval is the time between two passes of the expiry pager. 0 means 10 minutes.
	ExpiryInterval time.Duration
}

// Events are optional callbacks for what happens in the background. They are called without any lock held, from the
// goroutine that does the work, and must not block.
type Events struct {
	// CursorDropped: a reader lost its place in the window of vb and continues from disk, or from a walk of the table.
	CursorDropped func(reader string, vb vbucket.ID)
	// ReaderTooSlow: a reader's stream of vb was ended in the middle of a snapshot.
	ReaderTooSlow func(reader string, vb vbucket.ID)
	// Expired: a pass of the expiry pager ended.
	Expired func(items int, took time.Duration)
	// Ejected: a pass of the pager of a persistent bucket ended; so many values have left memory.
	Ejected func(values int, took time.Duration)
	// Quarantined: the rows of vb on disk are damaged; it is not served any more.
	Quarantined func(vb vbucket.ID, damage error)
	// Evicted: a pass of the pager of an ephemeral bucket ended.
	Evicted func(items int, took time.Duration)
}

func (o Options) withDefaults() Options {
	o.Spec = o.Spec.WithDefaults()
	if len(o.Manifest.Scopes) == 0 {
		o.Manifest = spec.NewManifest()
	}
	if o.Clock == nil {
		o.Clock = hlc.New()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.PurgeInterval == 0 {
		o.PurgeInterval = purgeInterval
	}
	if o.ExpiryInterval == 0 {
		o.ExpiryInterval = expiryInterval
	}
	return o
}

func (o Options) validate() error {
	if err := o.Spec.Validate(); err != nil {
		return fmt.Errorf("bucket settings: %w", err)
	}
	if (o.Spec.Type == spec.Ephemeral) != (o.Store == nil) {
		return errors.New("a store belongs to a persistent bucket, and only to one")
	}
	return nil
}
