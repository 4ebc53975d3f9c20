// Package door is where the cluster plane and the data plane meet. Only values pass: an Assignment down, a Report up, and a
// few questions that are answered with numbers. No document and no store key ever does.
//
// Applying a value twice, late, or after a newer one does nothing wrong, so it does not matter what carries it. In one
// process the data plane's own type stands behind the interface; between processes a local socket will.
package door

import (
	"context"

	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Pair is one line of a statistics group.
type Pair struct{ Name, Value string }

// Data is the data plane as the manager sees it. All methods may be called from any goroutine.
type Data interface {
	// Apply hands down the desired state. It never fails as a whole: what could not be done stands in the Report. Older
	// assignments than one that was applied are ignored. The assignment must not be changed afterwards.
	Apply(ctx context.Context, a *vbucket.Assignment)
	// Reports gives the channel on which observed state comes up: at once when something changed, else every 250 ms. A
	// slow receiver sees the newest only.
	Reports() <-chan *vbucket.Report
	// Metrics gives the data plane's numbers.
	Metrics(ctx context.Context) (*metrics.Snapshot, error)
	// Stat gives a statistics group of a bucket ("" = the node); see wire.md 13 for the groups.
	Stat(ctx context.Context, bucket, group string) ([]Pair, error)
	// Check reports whether operations would succeed now; deep also syncs the disk.
	Check(ctx context.Context, deep bool) error
}
