package node

import (
	"context"

	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/door"
)

// agent is the only place where the planes meet: it carries assignments down and reports up, and nothing else.
type agent struct {
	cluster *cluster.Cluster
	data    door.Data
}

// Run carries values until ctx ends. Neither direction can fail or block: the door keeps the newest assignment, the
// cluster plane the newest report.
func (a *agent) Run(ctx context.Context) error {
	for {
		select {
		case assignment := <-a.cluster.Assignments():
			a.data.Apply(ctx, assignment)
		case report := <-a.data.Reports():
			a.cluster.Observe(report)
		case <-ctx.Done():
			return nil
		}
	}
}
