// Package httpapi is the management port: the REST API that SDKs, tools and people use to manage a cluster, with the metrics,
// the health checks and, for convenience, documents by key.
//
// Paths, forms and texts are those that existing clients know (wire.md 20). Every route stands in one table (routes.go) with
// the privilege that it needs; every error is answered from one table (status.go). The port belongs to the cluster plane:
// what it knows comes from a cluster.Cluster, numbers of the data plane come through door.Data, and documents through our own
// client over the node's KV port, as the caller, so that the caller's own rights hold.
//
// A Server opens its listeners in New, so that the bound ports are known before anything is served, and serves in Run. All
// requests run concurrently; a Server has no state of its own but counters and the last result of the deep health check.
// ViewsPort is the placeholder of the views port until views exist.
//
// Read routes.go first, then status.go, then buckets.go.
package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/door"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/metrics/prom"
	"github.com/charpoy/charpoy/internal/network"
	"github.com/charpoy/charpoy/internal/run"
	"github.com/charpoy/charpoy/internal/trace"
)

// ServerVersion is the version of the reference server that clients may assume the features of.
const ServerVersion = "7.6.4"

// Options of a Server. Cluster, Data and Auth are needed; everything else may be left out.
type Options struct {
	Cluster   *cluster.Cluster
	Data      door.Data
	Auth      *auth.Directory
	Documents Documents      // nil: the document routes answer 503
	Metrics   *metrics.Set   // where this package counts, and what is exposed beside the data plane's numbers; nil = an own one
	Logger    *slog.Logger   // nil = nowhere
	Trace     *trace.Node    // what the probes fire into; nil: nobody looks
	Slow      *trace.SlowLog // of the node; nil: nothing is slow

	Net       network.Net // the zero value stands for TCP
	Addr      string      // host:port; port 0 = any free one
	TLSAddr   string      // empty = no TLS
	TLSConfig *tls.Config
	CA        func() ([]byte, error) // the certificate that clients have to trust, in PEM form; nil = none to give

	Version     string // of this program
	MemoryBytes int64  // of the machine or container
	PathData    string // the data directory, as shown to administrators; empty = none
	Now         func() time.Time
}

func (o *Options) withDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	if o.Net.Listen == nil {
		o.Net = network.TCP()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Version == "" {
		o.Version = "dev"
	}
}

// Server is the management port.
type Server struct {
	Options
	face    *face
	handler http.Handler
	deep    *deepCheck
	rates   *rates
	streams streams
	// streamEvery is how often an unchanged configuration is repeated on a stream; tests shorten it.
	streamEvery time.Duration
	started     time.Time
	metrics     http.Handler
	redactor    *trace.Redactor // of keys and clients, for those who may not see them
	count       struct {
		requests *metrics.Counters
		duration *metrics.Histogram
		refused  *metrics.Counters
	}
}

// New opens the listeners. Nothing is accepted before Run; Close releases them if Run is never called.
func New(ctx context.Context, o Options) (*Server, error) {
	o.withDefaults()
	s := &Server{Options: o, started: time.Now(), rates: newRates(), streamEvery: streamEvery, redactor: trace.NewRedactor()}
	s.deep = newDeepCheck(o.Data)
	s.registerMetrics()
	exposed, err := prom.New(s.Snapshot)
	if err != nil {
		return nil, fmt.Errorf("management port: %w", err)
	}
	s.metrics = exposed
	s.handler = s.routes()
	s.face, err = newFace(ctx, "management port", s.handler, faceOptions{net: o.Net, addr: o.Addr, tlsAddr: o.TLSAddr, tls: o.TLSConfig, logger: o.Logger})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Port gives the bound port of the plain listener.
func (s *Server) Port() int { return s.face.port() }

// TLSPort gives the bound port of the TLS listener, 0 if there is none.
func (s *Server) TLSPort() int { return s.face.tlsPort() }

// Close releases what a Server holds that does not run.
func (s *Server) Close() error { return errors.Join(s.face.close(), s.closeDocuments()) }

func (s *Server) closeDocuments() error {
	if s.Documents == nil {
		return nil
	}
	return s.Documents.Close()
}

// Run serves until ctx ends, then finishes what has begun, within five seconds.
func (s *Server) Run(ctx context.Context) error {
	g := run.NewGroup(ctx)
	g.Go("deep check", s.deep.run)
	g.Go("serve", s.face.run)
	return errors.Join(g.Wait(), s.closeDocuments())
}

// Handler gives the routes without the listeners, for tests and for whoever serves them otherwise.
func (s *Server) Handler() http.Handler { return s.handler }
