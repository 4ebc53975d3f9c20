package cli

import (
	"encoding/json"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/loadgen"
)

// benchEvent is the progress of bench with -o json, one a second. The names are stable.
type benchEvent struct {
	Event   string  `json:"event"` // always progress
	Label   string  `json:"label"` // load or measure
	Ops     uint64  `json:"ops"`
	Rate    float64 `json:"ops_per_second"`
	Percent float64 `json:"percent,omitempty"` // absent if unknown
	Seconds float64 `json:"seconds"`
}

// follow shows each second how far a generator is, until the function returned is called, which waits for the last line.
// How far that is tells either the number of operations, or the time.
func (a *app) follow(g *loadgen.Generator, label string, ops float64, d time.Duration, events bool) (stop func()) {
	if a.common.Quiet {
		return func() {}
	}
	bar := terminal(a.Stderr) && !events
	interval := time.Second
	if bar {
		interval = barInterval
	}
	var wait sync.WaitGroup
	done := make(chan struct{})
	wait.Go(func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		begun, first := a.Now(), g.Done()
		before, last := begun, first
		for {
			select {
			case <-done:
				if bar {
					fmt.Fprintf(a.Stderr, "\r%*s\r", lineColumns, "")
				}
				return
			case <-ticker.C:
			}
			now, total := a.Now(), g.Done()
			e := benchEvent{Event: "progress", Label: label, Ops: total - first, Seconds: now.Sub(begun).Seconds()}
			e.Rate = float64(total-last) / max(now.Sub(before).Seconds(), 1e-9)
			if ops > 0 {
				e.Percent = 100 * float64(e.Ops) / ops
			}
			if d > 0 {
				e.Percent = max(e.Percent, 100*e.Seconds/d.Seconds())
			}
			e.Percent = math.Min(e.Percent, 100)
			before, last = now, total
			a.benchLine(e, bar, events)
		}
	})
	return func() {
		close(done)
		wait.Wait()
	}
}

// benchLine prints one line of progress.
func (a *app) benchLine(e benchEvent, bar, events bool) {
	if events {
		if line, err := json.Marshal(e); err == nil {
			fmt.Fprintf(a.Stderr, "%s\n", line)
		}
		return
	}
	text := fmt.Sprintf("%s: %3.0f %%, %s operations, %s/s", e.Label, e.Percent, groups(int64(e.Ops)), groups(int64(e.Rate)))
	if bar {
		fmt.Fprintf(a.Stderr, "\r%-*s", lineColumns, text)
		return
	}
	fmt.Fprintln(a.Stderr, text)
}
