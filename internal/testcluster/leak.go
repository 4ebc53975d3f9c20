package testcluster

import (
	"bytes"
	"context"
	"runtime/pprof"
	"strings"
	"time"
)

// label is the name under which goroutines carry the name of their cluster. Go hands labels on from a goroutine to those that
// it starts, so that everything a node begins can be told from what other nodes and the test itself have begun.
const label = "charpoy_cluster"

// leakGrace is how long goroutines that were told to end may take to be gone. They need a processor for it, and on a machine that
// runs many tests at once they may have to wait for one. Each look at all goroutines is expensive, so they become rarer.
const (
	leakGrace = 10 * time.Second
	leakPause = 2 * time.Millisecond
)

// labelled runs f so that goroutines which it starts carry the cluster's name.
func (c *Cluster) labelled(ctx context.Context, f func(context.Context)) {
	pprof.Do(ctx, pprof.Labels(label, c.name), f)
}

// leaked gives the stacks of the cluster's goroutines that have not ended, as far as they do not end by themselves within
// grace; empty if there are none.
func (c *Cluster) leaked(grace time.Duration) string {
	pause := time.NewTimer(0)
	defer pause.Stop()
	wait := leakPause
	for begun := time.Now(); ; {
		<-pause.C
		stacks := stacksOf(c.name)
		if stacks == "" || time.Since(begun) > grace {
			return stacks
		}
		pause.Reset(wait)
		wait *= 3
	}
}

// stacksOf picks the goroutines with a label's value from the profile of all.
func stacksOf(name string) string {
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 1); err != nil {
		return "" // a buffer takes everything
	}
	var out strings.Builder
	for group := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(group, `"`+label+`":"`+name+`"`) {
			out.WriteString(group + "\n\n")
		}
	}
	return out.String()
}
