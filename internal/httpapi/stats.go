package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/door"
	"github.com/charpoy/charpoy/internal/metrics"
)

// opsFamily is the data plane's family that counts operations, and the label that names the bucket.
const opsFamily = "bucket_ops_total"

func (s *Server) registerMetrics() {
	s.count.requests = s.Metrics.Counters(metrics.Desc{
		Name: "http_requests_total", Help: "Requests to the management port.",
		Labels: []metrics.Label{{Name: "route"}, {Name: "code"}},
	})
	s.count.duration = s.Metrics.Histograms(metrics.Desc{
		Name: "http_request_duration_seconds",
		Help: "Time from a management request's header to its answer, streams left out.",
	}).With()
	s.count.refused = s.Metrics.Counters(metrics.Desc{
		Name: "http_auth_failures_total",
		Help: "Management requests with a wrong name or password.", Labels: []metrics.Label{{Name: "mech"}},
	})
	s.Metrics.OnSnapshot(metrics.AppendRuntime)
	s.Metrics.OnSnapshot(func(out *metrics.Snapshot) {
		out.Value(metrics.Desc{Name: "up_seconds", Help: "Time since the start.", Kind: metrics.KindGauge, Unit: metrics.Seconds},
			time.Since(s.started).Seconds())
		out.Value(metrics.Desc{
			Name: "build_info", Help: "Always 1; the labels say what was built.", Kind: metrics.KindGauge,
			Labels: []metrics.Label{{Name: "version"}, {Name: "go"}, {Name: "os"}},
		}, 1, s.Version, runtime.Version(), runtime.GOOS)
	})
}

// Snapshot gives everything that /metrics exposes: the manager's numbers and the data plane's.
func (s *Server) Snapshot(ctx context.Context) (*metrics.Snapshot, error) {
	data, err := s.Data.Metrics(ctx)
	if err != nil {
		return nil, fmt.Errorf("numbers of the data plane: %w", err)
	}
	out := s.Metrics.Snapshot()
	out.Merge(s.Cluster.Metrics())
	out.Merge(data)
	s.rates.note(data, time.Now())
	return out, nil
}

func (s *Server) serveMetrics(c *call) error {
	s.metrics.ServeHTTP(c.w, c.r)
	return nil
}

// rates keeps the number of operations of each bucket at two moments, so that a rate can be told. It is fed whenever
// somebody asks for numbers; a rate is that of the time between the last two.
type rates struct {
	mu struct {
		sync.Mutex
		at     time.Time
		total  map[string]float64
		perSec map[string]float64
	}
}

// shortestRate is the least time between two readings that a rate is made of.
const shortestRate = 500 * time.Millisecond

func newRates() *rates {
	r := &rates{}
	r.mu.total, r.mu.perSec = map[string]float64{}, map[string]float64{}
	return r
}

func (r *rates) note(data *metrics.Snapshot, now time.Time) {
	f := data.Find(opsFamily)
	if f == nil {
		return
	}
	label := -1
	for i, l := range f.Labels {
		if l.Name == "bucket" {
			label = i
		}
	}
	total := map[string]float64{}
	for _, one := range f.Series {
		if label >= 0 && label < len(one.Labels) {
			total[one.Labels[label]] += one.Value
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	took := now.Sub(r.mu.at)
	if took < shortestRate {
		return
	}
	perSec := make(map[string]float64, len(total))
	for bucket, n := range total {
		if before, ok := r.mu.total[bucket]; ok && n >= before {
			perSec[bucket] = (n - before) / took.Seconds()
		}
	}
	r.mu.at, r.mu.total, r.mu.perSec = now, total, perSec
}

// of gives the operations a second of a bucket at the last reading.
func (r *rates) of(bucket string) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.perSec[bucket]
}

// readRates takes a reading for the rates of operations. Numbers that cannot be had are no reason to fail a request that is
// about something else.
func (s *Server) readRates(ctx context.Context) {
	if data, err := s.Data.Metrics(ctx); err == nil {
		s.rates.note(data, time.Now())
	}
}

// bucketStats gives the present numbers of a bucket in the form in which the reference gives its history. The history itself
// is Prometheus's matter.
func (s *Server) bucketStats(c *call) error {
	_, b, err := s.findBucket(c)
	if err != nil {
		return err
	}
	s.readRates(c.r.Context())
	basic := s.basicStats(b)
	stamp := s.Now().UnixMilli()
	writeJSON(c.w, http.StatusOK, map[string]any{
		"op": map[string]any{
			"samples": map[string]any{
				"timestamp": []any{stamp}, "ops": []any{basic["opsPerSec"]}, "curr_items": []any{basic["itemCount"]},
				"mem_used": []any{basic["memUsed"]}, "couch_docs_actual_disk_size": []any{basic["diskUsed"]},
			},
			"samplesCount": 1, "isPersistent": true, "lastTStamp": stamp, "interval": 1000,
		},
		"hot_keys": []any{},
	})
	return nil
}

// statGroup gives a statistics group of the KV protocol, of a bucket or of the node: our own command line shows it.
func (s *Server) statGroup(c *call) error {
	bucket := c.r.URL.Query().Get("bucket")
	group := c.r.PathValue("group")
	if group == "all" {
		group = "" // the group without a name
	}
	needed, name := auth.Stats, "stats!read"
	if bucket != "" {
		needed, name = auth.SimpleStats, "bucket[%].stats!read"
	}
	if a := s.Auth.Access(c.id, bucket); !a.Has(needed) {
		return forbidden(permission(name, bucket))
	}
	if bucket != "" {
		st, err := s.state()
		if err != nil {
			return err
		}
		if st.Bucket(bucket) == nil {
			return notFound()
		}
	}
	pairs, err := s.Data.Stat(c.r.Context(), bucket, group)
	if err != nil {
		return fmt.Errorf("statistics group %q: %w", group, err)
	}
	if len(pairs) == 0 {
		pairs = []door.Pair{}
	}
	out := make([]map[string]string, len(pairs))
	for i, p := range pairs {
		out[i] = map[string]string{"name": p.Name, "value": p.Value}
	}
	writeJSON(c.w, http.StatusOK, out)
	return nil
}
