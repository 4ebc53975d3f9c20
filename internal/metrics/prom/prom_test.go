package prom

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/charpoy/charpoy/internal/metrics"
)

func scrape(t *testing.T, accept string, source func(context.Context) (*metrics.Snapshot, error)) (int, string, string) {
	t.Helper()
	h, err := New(source)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Header().Get("Content-Type"), w.Body.String()
}

func set() *metrics.Set {
	s := metrics.NewSet()
	ops := s.Counters(metrics.Desc{
		Name: "kv_ops_total", Help: "Operations.",
		Labels: []metrics.Label{{Name: "op"}, metrics.BucketLabel()},
	})
	ops.With("get", "default").Add(3)
	ops.With("set", `odd"name`).Add(1)
	s.Gauges(metrics.Desc{Name: "cache_used_bytes", Help: "Memory in use.", Unit: metrics.Bytes}).With().Set(12.5)
	h := s.Histograms(metrics.Desc{Name: "wait_seconds", Help: "Waiting."}).With()
	for _, d := range []time.Duration{time.Microsecond, time.Millisecond, 5 * time.Millisecond, 2 * time.Second} {
		h.Record(d)
	}
	return s
}

const golden = `# HELP charpoy_cache_used_bytes Memory in use.
# TYPE charpoy_cache_used_bytes gauge
charpoy_cache_used_bytes 12.5
# HELP charpoy_kv_ops_total Operations.
# TYPE charpoy_kv_ops_total counter
charpoy_kv_ops_total{bucket="default",op="get"} 3
charpoy_kv_ops_total{bucket="odd\"name",op="set"} 1
# HELP charpoy_wait_seconds Waiting.
# TYPE charpoy_wait_seconds histogram
charpoy_wait_seconds_bucket{le="6.5536e-05"} 1
charpoy_wait_seconds_bucket{le="0.000131072"} 1
charpoy_wait_seconds_bucket{le="0.000262144"} 1
charpoy_wait_seconds_bucket{le="0.000524288"} 1
charpoy_wait_seconds_bucket{le="0.001048576"} 2
charpoy_wait_seconds_bucket{le="0.002097152"} 2
charpoy_wait_seconds_bucket{le="0.004194304"} 2
charpoy_wait_seconds_bucket{le="0.00524288"} 3
charpoy_wait_seconds_bucket{le="0.016777216"} 3
charpoy_wait_seconds_bucket{le="0.067108864"} 3
charpoy_wait_seconds_bucket{le="0.268435456"} 3
charpoy_wait_seconds_bucket{le="1.073741824"} 3
charpoy_wait_seconds_bucket{le="+Inf"} 4
charpoy_wait_seconds_sum 2.006001
charpoy_wait_seconds_count 4
`

// The golden scrape would notice a change of the library under us.
func TestGoldenScrape(t *testing.T) {
	source := func(context.Context) (*metrics.Snapshot, error) { return set().Snapshot(), nil }
	code, kind, body := scrape(t, "text/plain;version=0.0.4", source)
	if code != http.StatusOK || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Errorf("status %d, content type %q", code, kind)
	}
	if diff := cmp.Diff(golden, body); diff != "" {
		t.Errorf("scrape (-want +got):\n%s", diff)
	}
	code, kind, body = scrape(t, "application/openmetrics-text;version=1.0.0", source)
	if code != http.StatusOK || !strings.HasPrefix(kind, "application/openmetrics-text") || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("OpenMetrics: status %d, content type %q, body %q", code, kind, body)
	}
}

// A source that fails and a family that contradicts itself fail the scrape, visibly.
func TestFailedScrape(t *testing.T) {
	f := func(source func(context.Context) (*metrics.Snapshot, error), want string) {
		t.Helper()
		code, _, body := scrape(t, "", source)
		if code != http.StatusInternalServerError || !strings.Contains(body, want) {
			t.Errorf("status %d, body %q, want 500 and %q", code, body, want)
		}
	}
	f(func(context.Context) (*metrics.Snapshot, error) { return nil, errors.New("no data plane") }, "no data plane")
	f(func(context.Context) (*metrics.Snapshot, error) {
		s := &metrics.Snapshot{}
		s.Value(metrics.Desc{Name: "x", Help: "h", Kind: metrics.KindGauge, Labels: []metrics.Label{{Name: "a"}}}, 1)
		return s, nil
	}, "inconsistent label cardinality")
}
