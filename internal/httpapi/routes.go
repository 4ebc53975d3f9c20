package httpapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/trace"
)

// route is one line of the table of routes.
type route struct {
	pattern string // of http.ServeMux
	label   string // in metrics
	need    need
	body    int64 // bytes that a request may send
	handle  func(*call) error
}

// table lists all routes. A privilege with % in its name is needed in the bucket of the path.
func (s *Server) table() []route {
	in := func(p auth.Privilege, name string) need {
		return need{all: p, inBucket: true, name: "bucket[%]" + name}
	}
	of := func(p auth.Privilege, name string) need { return need{all: p, name: name} }
	var (
		open     = need{open: true}
		somebody = need{any: true}
		pool     = of(auth.PoolRead, "pools!read")
		useIt    = need{use: true, name: "bucket[%].settings!read"}
		users    = of(auth.UsersRead, "admin.security!read")
		putUser  = of(auth.UsersWrite, "admin.security!write")
		security = of(auth.SecurityWrite, "admin.security!write")
	)
	const b = "/pools/default/buckets/{bucket}"
	return append(s.observing(), []route{
		{"GET /{$}", "root", open, 0, s.root},
		{"GET /pools", "pools", pool, 0, s.pools},
		{"GET /pools/default", "pool", pool, 0, s.pool},
		{"POST /pools/default", "pool", of(auth.ClusterWrite, "pools!write"), maxForm, s.changePool},
		{"GET /pools/nodes", "pool", pool, 0, s.pool},
		{"GET /nodes/self", "pool", pool, 0, s.self},
		{"GET /versions", "pools", pool, 0, s.versions},
		{"GET /pools/default/nodeServices", "config", pool, 0, s.nodeServices},
		{"GET /pools/default/tasks", "tasks", pool, 0, s.tasks},
		{"GET /pools/default/rebalanceProgress", "tasks", pool, 0, s.rebalanceProgress},
		{"GET /pools/default/certificate", "certificate", somebody, 0, s.certificate},
		{"GET /pools/default/b/{bucket}", "config", useIt, 0, s.bucketConfig},
		{"GET /pools/default/bs/{bucket}", "stream", useIt, 0, s.streamConfig},
		{"GET /pools/default/bucketsStreaming/{bucket}", "stream", useIt, 0, s.streamConfig},
		{"GET /pools/default/buckets", "buckets", somebody, 0, s.listBuckets},
		{"POST /pools/default/buckets", "buckets", of(auth.BucketCreate, "buckets!create"), maxForm, s.createBucket},
		{"GET " + b, "bucket", useIt, 0, s.getBucket},
		{"POST " + b, "bucket", in(auth.BucketWrite, ".settings!write"), maxForm, s.updateBucket},
		{"DELETE " + b, "bucket", in(auth.BucketWrite, "!delete"), maxForm, s.dropBucket},
		{"POST " + b + "/controller/doFlush", "flush", in(auth.BucketFlush, "!flush"), maxForm, s.flushBucket},
		{"GET " + b + "/scopes", "scopes", useIt, 0, s.scopes},
		{"GET " + b + "/scopes/{$}", "scopes", useIt, 0, s.scopes},
		{"GET " + b + "/ddocs", "ddocs", useIt, 0, s.designDocuments},
		{"GET " + b + "/stats", "stats", in(auth.SimpleStats, ".stats!read"), 0, s.bucketStats},
		{"GET " + b + "/nodes", "bucket", useIt, 0, s.bucketNodes},
		{"GET " + b + "/docs/{key}", "doc", useIt, 0, s.getDocument},
		{"PUT " + b + "/docs/{key}", "doc", useIt, maxDocument, s.putDocument},
		{"DELETE " + b + "/docs/{key}", "doc", useIt, maxForm, s.deleteDocument},
		{"GET /settings/rbac/roles", "rbac", users, 0, s.listRoles},
		{"GET /settings/rbac/users", "rbac", users, 0, s.listUsers},
		{"GET /settings/rbac/users/{domain}", "rbac", users, 0, s.listUsers},
		{"GET /settings/rbac/users/{domain}/{user}", "rbac", users, 0, s.getUser},
		{"PUT /settings/rbac/users/{domain}/{user}", "rbac", putUser, maxForm, s.putUser},
		{"DELETE /settings/rbac/users/{domain}/{user}", "rbac", putUser, maxForm, s.deleteUser},
		{"GET /settings/rbac/groups", "rbac", users, 0, s.listGroups},
		{"GET /settings/rbac/groups/{group}", "rbac", users, 0, s.getGroup},
		{"PUT /settings/rbac/groups/{group}", "rbac", security, maxForm, s.putGroup},
		{"DELETE /settings/rbac/groups/{group}", "rbac", security, maxForm, s.deleteGroup},
		{"POST /controller/changePassword", "password", somebody, maxForm, s.changePassword},
		{"GET /whoami", "whoami", somebody, 0, s.whoami},
	}...)
}

// observing lists the routes that show how the node is doing.
func (s *Server) observing() []route {
	var (
		local    = need{loopback: true, all: auth.MetricsRead, name: "admin.stats_export!read"}
		somebody = need{any: true}
		readSlow = need{all: auth.Stats, name: "stats!read"}
		setSlow  = need{all: auth.ClusterWrite, name: "settings!write"}
		full     = need{all: auth.Administrator, name: "admin.diag!read"}
	)
	return []route{
		{"GET /api/v1/stats/{group}", "stats", somebody, 0, s.statGroup},
		{"GET /api/v1/slow", "slow", somebody, 0, s.listSlow},
		{"GET /api/v1/slow/thresholds", "slow", readSlow, 0, s.slowThresholds},
		{"PATCH /api/v1/slow/thresholds", "slow", setSlow, maxForm, s.setSlowThresholds},
		{"PUT /api/v1/slow/thresholds", "slow", setSlow, maxForm, s.setSlowThresholds},
		{"GET /debug/pprof/{$}", "debug", full, 0, debugPage(pprof.Index)},
		{"GET /debug/pprof/{profile}", "debug", full, 0, debugPage(pprof.Index)},
		{"GET /debug/pprof/cmdline", "debug", full, 0, debugPage(pprof.Cmdline)},
		{"GET /debug/pprof/profile", "debug", full, 0, debugPage(pprof.Profile)},
		{"GET /debug/pprof/symbol", "debug", full, 0, debugPage(pprof.Symbol)},
		{"GET /debug/pprof/trace", "debug", full, 0, debugPage(pprof.Trace)},
		{"GET /metrics", "metrics", local, 0, s.serveMetrics},
		{"GET /healthz", "health", local, 0, s.healthz},
		{"GET /readyz", "health", local, 0, s.readyz},
		{"GET /livez", "health", local, 0, s.livez},
	}
}

// routes makes the handler of all routes.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.table() {
		mux.HandleFunc(r.pattern, func(w http.ResponseWriter, q *http.Request) { s.serve(r, w, q) })
	}
	// Browsers remember the password of a console; pages from elsewhere must not be able to use it. Other clients do not send
	// the headers that this looks at.
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := origin.Check(r); err != nil {
			f := forbidden()
			f.cause = err
			s.count.requests.With("unknown", class(f.status)).Inc()
			writeFailure(w, f)
			return
		}
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		s.unknown(w, r, h)
	})
}

// unknown answers what no route matches: 405 if another method would, else 404. The mux knows which of both it is.
func (s *Server) unknown(w http.ResponseWriter, r *http.Request, h http.Handler) {
	probe := probeWriter{header: http.Header{}}
	h.ServeHTTP(&probe, r)
	f := notFound()
	if probe.status == http.StatusMethodNotAllowed {
		f = general(http.StatusMethodNotAllowed, "This method is not allowed here.")
		f.header = map[string]string{"Allow": probe.header.Get("Allow")}
	}
	s.count.requests.With("unknown", class(f.status)).Inc()
	writeFailure(w, f)
}

// probeWriter keeps the status and throws the body away.
type probeWriter struct {
	header http.Header
	status int
}

func (p *probeWriter) Header() http.Header         { return p.header }
func (p *probeWriter) WriteHeader(status int)      { p.status = status }
func (p *probeWriter) Write(b []byte) (int, error) { return len(b), nil }

// serve runs one request of a route: who is it, may he, then the handler; and counts it.
func (s *Server) serve(rt route, w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	watched := &statusWriter{ResponseWriter: w}
	c := &call{w: watched, r: r}
	r.Body = http.MaxBytesReader(watched, r.Body, rt.body)
	if rt.body > 0 {
		// What cannot set deadlines (a recorder in tests) has none to miss.
		conn := http.NewResponseController(watched)
		_ = conn.SetReadDeadline(began.Add(bodyTime))
		defer conn.SetReadDeadline(time.Time{}) //nolint:errcheck // as above
	}
	err := s.enter(rt.need, c)
	if err == nil {
		err = rt.handle(c)
	}
	if err != nil {
		f := answerTo(err)
		if watched.status == 0 {
			writeFailure(watched, f)
		}
		s.logFailure(rt, c, f, time.Since(began))
	}
	took := time.Since(began)
	s.count.requests.With(rt.label, class(watched.status)).Inc()
	if rt.label != "stream" && rt.label != "debug" {
		s.count.duration.Record(took)
	}
	if trace.HTTPDone.On() {
		s.fireDone(rt, watched, r, took)
	}
}

// enter authenticates the caller and checks the route's need.
func (s *Server) enter(n need, c *call) error {
	for _, name := range []string{"bucket", "key", "user", "group", "domain"} {
		if len(c.r.PathValue(name)) > maxNameInPath {
			return notFound()
		}
	}
	if n.open || n.loopback && fromLoopback(c.r) && c.r.Header.Get("Authorization") == "" {
		return nil
	}
	id, err := s.authenticate(c.r)
	if err != nil {
		if errors.Is(err, auth.ErrBadCredentials) || errors.Is(err, auth.ErrTooManyFailures) {
			s.count.refused.With("HTTP").Inc()
		}
		return err
	}
	c.id = id
	return s.check(n, c)
}

// logFailure writes what went wrong on our side; what callers do wrong is theirs to know.
func (s *Server) logFailure(rt route, c *call, f *failure, took time.Duration) {
	if f.status < http.StatusInternalServerError || errors.Is(f, context.Canceled) && c.r.Context().Err() != nil {
		return
	}
	user := ""
	if c.id != nil {
		user = c.id.String()
	}
	// The route, not the path: keys of documents are the users' own and do not belong into logs.
	s.Logger.Warn("request failed", "route", rt.pattern, "bucket", c.bucket(), "status", f.status, "user", user,
		"took", took, "error", f.Error())
}

// fireDone fires the probe of a request that was answered.
func (s *Server) fireDone(rt route, w *statusWriter, r *http.Request, took time.Duration) {
	label, ok := trace.RouteNamed(rt.label)
	if !ok {
		label = trace.RouteOther
	}
	client, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		client = r.RemoteAddr
	}
	trace.HTTPDone.Fire(s.Trace.Shard(0), trace.HTTPDoneFields{
		Route: label, Code: int64(w.status), Dur: took, Exec: took, Client: s.Trace.Intern(client), BytesOut: w.bytes,
	})
}

// statusWriter remembers the status that was written, and how much followed it.
type statusWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// class gives the label of a status: 2xx to 5xx.
func class(status int) string {
	if status < 100 || status > 599 {
		return metrics.Other
	}
	return string(rune('0'+status/100)) + "xx"
}
