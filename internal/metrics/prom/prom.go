// Package prom exposes metrics snapshots to Prometheus. It is the only place that knows the library: hot paths add to the
// arrays of package metrics and never come here.
//
// A Handler holds one collector in a registry of its own. At each scrape the collector asks for a snapshot and turns it into
// constant metrics; nothing is kept between scrapes, so families and series may come and go. The text formats, content
// negotiation and compression are the library's.
//
// Start with New. A Handler may be used by any number of requests at once; two scrapes run at a time, more get 503.
package prom

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/charpoy/charpoy/internal/metrics"
)

// Bounds of scraping.
const (
	maxScrapes    = 2
	scrapeTimeout = 10 * time.Second
)

// New returns the handler of /metrics. source is called once a scrape and must return a snapshot that nobody changes
// afterwards; its error fails the scrape with status 500.
func New(source func(context.Context) (*metrics.Snapshot, error)) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	if err := registry.Register(&collector{source: source}); err != nil {
		return nil, fmt.Errorf("register the collector: %w", err)
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	}), nil
}

type collector struct {
	source func(context.Context) (*metrics.Snapshot, error)
}

// Describe sends nothing: which families there are is known at the scrape only. The library calls such a collector
// unchecked and looks for inconsistencies at each scrape instead.
func (*collector) Describe(chan<- *prometheus.Desc) {}

// Collect sends one constant metric for each series of the snapshot.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	snapshot, err := c.source(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(prometheus.NewDesc(metrics.Prefix+"scrape", "a failed scrape", nil, nil), err)
		return
	}
	edges := metrics.ExposedEdges()
	for _, f := range snapshot.Families {
		names := make([]string, len(f.Labels))
		for i, l := range f.Labels {
			names[i] = l.Name
		}
		desc := prometheus.NewDesc(metrics.Prefix+f.Name, f.Help, names, nil)
		for _, s := range f.Series {
			out <- metric(desc, f.Kind, s, edges)
		}
	}
}

func metric(desc *prometheus.Desc, kind metrics.Kind, s metrics.Series, edges []uint64) prometheus.Metric {
	var m prometheus.Metric
	var err error
	switch {
	case kind == metrics.KindHistogram && s.Histogram != nil:
		m, err = prometheus.NewConstHistogram(desc, s.Histogram.Count, float64(s.Histogram.SumNs)/1e9,
			cumulative(s.Histogram, edges), s.Labels...)
	case kind == metrics.KindCounter:
		m, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, s.Value, s.Labels...)
	default:
		m, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, s.Value, s.Labels...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}

// cumulative counts, for each edge, what is below it. Our buckets end just below an edge and Prometheus's at it; a
// nanosecond's difference does not matter to either.
func cumulative(d *metrics.Distribution, edges []uint64) map[float64]uint64 {
	out := make(map[float64]uint64, len(edges))
	for _, e := range edges {
		out[float64(e)/1e9] = d.CountBelow(e)
	}
	return out
}
