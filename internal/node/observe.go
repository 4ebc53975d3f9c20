package node

import (
	"context"

	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/trace"
)

// maxSlowOps bounds the kinds of operations that slow ones are counted by; the rest is counted together.
const maxSlowOps = 12

// observation is what the planes and the faces share to show what they do: the numbers of /metrics, the node that probes
// fire into, and the log of slow operations.
type observation struct {
	numbers *metrics.Set
	trace   *trace.Node
	slow    *trace.SlowLog
}

// openObservation makes it. Everything that is opened afterwards is given its part.
func (n *Node) openObservation(context.Context) error {
	o := &n.observation
	o.numbers = metrics.NewSet()
	o.trace = trace.NewNode()
	slow := o.numbers.Counters(metrics.Desc{
		Name: "slow_ops_total", Help: "Operations that took longer than their threshold.",
		Labels: []metrics.Label{{Name: "op", Max: maxSlowOps}},
	})
	o.slow = trace.NewSlowLog(trace.SlowOptions{
		Node: n.Host(), Logger: n.options.Logger.With("logger", "slow"),
		Counted: func(op trace.Op) { slow.With(op.String()).Inc() },
	})
	return nil
}
