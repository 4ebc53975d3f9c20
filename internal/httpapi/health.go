package httpapi

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/door"
)

// healthz says that the process answers.
func (s *Server) healthz(c *call) error {
	writeJSON(c.w, http.StatusOK, map[string]any{"status": "ok"})
	return nil
}

type checkJSON struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// readyz says whether an operation would succeed, and if not, what stands in the way.
func (s *Server) readyz(c *call) error {
	ctx, cancel := context.WithTimeout(c.r.Context(), readyTime)
	defer cancel()
	var checks []checkJSON
	add := func(name, problem string) { checks = append(checks, checkJSON{name, problem == "", problem}) }
	st := s.Cluster.State()
	if st == nil {
		add("map", "the cluster state is not known yet")
	} else {
		add("map", "")
		report, age := s.Cluster.Report()
		switch {
		case report == nil:
			add("buckets", "the data plane has not reported yet")
		case age > staleAfter:
			add("buckets", "the data plane has not reported for "+age.Truncate(time.Second).String())
		case !allReady(st, report):
			add("buckets", "not all buckets are loaded")
		default:
			add("buckets", "")
		}
	}
	if err := s.Data.Check(ctx, false); err != nil {
		add("data", err.Error())
	} else {
		add("data", "")
	}
	status := http.StatusOK
	for _, k := range checks {
		if !k.OK {
			status = http.StatusServiceUnavailable
		}
	}
	writeJSON(c.w, status, map[string]any{"ready": status == http.StatusOK, "checks": checks})
	return nil
}

// livez says that the process lives; with deep=1, that it can write and sync in its data directory.
func (s *Server) livez(c *call) error {
	if v := c.r.URL.Query().Get("deep"); v == "" || v == "0" {
		return s.healthz(c)
	}
	problem, age := s.deep.result(c.r.Context())
	body := map[string]any{"status": "ok", "ageSeconds": age.Seconds()}
	status := http.StatusOK
	if problem != "" {
		status = http.StatusServiceUnavailable
		body["status"], body["error"] = "failed", problem
	}
	writeJSON(c.w, status, body)
	return nil
}

// deepCheck runs the check that writes and syncs. It has a goroutine of its own, because a sync that hangs must not hold a
// request; requests take its last result if that is fresh, and wait a bounded time for a new one otherwise.
type deepCheck struct {
	data door.Data
	ask  chan struct{}
	mu   struct {
		sync.Mutex
		done    chan struct{} // closed and replaced when a result comes
		at      time.Time     // of the last result; zero = none
		began   time.Time     // of the check under way; zero = none
		problem string
	}
}

func newDeepCheck(data door.Data) *deepCheck {
	d := &deepCheck{data: data, ask: make(chan struct{}, 1)}
	d.mu.done = make(chan struct{})
	return d
}

func (d *deepCheck) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.ask:
		}
		d.mu.Lock()
		fresh := time.Since(d.mu.at) < deepFresh && !d.mu.at.IsZero()
		d.mu.began = time.Now()
		d.mu.Unlock()
		if fresh {
			continue
		}
		err := d.data.Check(ctx, true)
		d.mu.Lock()
		d.mu.at, d.mu.began, d.mu.problem = time.Now(), time.Time{}, ""
		if err != nil {
			d.mu.problem = err.Error()
		}
		close(d.mu.done)
		d.mu.done = make(chan struct{})
		d.mu.Unlock()
	}
}

// result gives what is wrong (empty if nothing is) and the age of that knowledge.
func (d *deepCheck) result(ctx context.Context) (problem string, age time.Duration) {
	limit, cancel := context.WithTimeout(ctx, deepTime)
	defer cancel()
	d.mu.Lock()
	at, done, problem := d.mu.at, d.mu.done, d.mu.problem
	d.mu.Unlock()
	if !at.IsZero() && time.Since(at) < deepFresh {
		return problem, time.Since(at)
	}
	select {
	case d.ask <- struct{}{}:
	default: // it is asked already
	}
	select {
	case <-done:
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.mu.problem, time.Since(d.mu.at)
	case <-limit.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mu.began.IsZero() {
		return "the check was not made in time", 0
	}
	return "a write or sync has not ended", time.Since(d.mu.began)
}
