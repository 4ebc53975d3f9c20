package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/run"
)

// client speaks HTTP to a world over its network.
func (w *world) client(config *tls.Config) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:     func(ctx context.Context, _, addr string) (net.Conn, error) { return w.net.Dial(ctx, addr) },
		TLSClientConfig: config,
	}}
}

func (w *world) url(path string) string { return "http://127.0.0.1:" + strconv.Itoa(w.Port()) + path }

// answer is what came back; its body is closed at the end of the test.
type answer struct {
	Status     string
	StatusCode int
	Body       io.Reader
	TLS        bool
}

func get(t *testing.T, c *http.Client, url, user string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		r.SetBasicAuth(user, "password")
	}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return answer{resp.Status, resp.StatusCode, resp.Body, resp.TLS != nil}
}

// next reads one configuration of a stream.
func next(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	text := ""
	for !strings.HasSuffix(text, "\n\n\n\n") {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", text, err)
		}
		text += line
	}
	return strings.TrimSuffix(text, "\n\n\n\n")
}

// A stream begins with the configuration, repeats it while nothing happens, tells changes at once, and ends with the bucket.
func TestStream(t *testing.T) {
	w := newWorld(t, nil, false)
	w.streamEvery = 20 * time.Millisecond
	stop := w.serve(t)
	defer stop()
	for _, path := range []string{"/pools/default/bs/default", "/pools/default/bucketsStreaming/default"} {
		if got := get(t, w.client(nil), w.url(path), ""); got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without a user: %s", path, got.Status)
		}
	}
	resp := get(t, w.client(nil), w.url("/pools/default/bs/default"), "reader")
	in := bufio.NewReader(resp.Body)
	first := next(t, in)
	if !strings.Contains(first, `"name":"default"`) || !strings.Contains(first, `"rev":1,`) {
		t.Errorf("first configuration: %s", first)
	}
	if again := next(t, in); again != first {
		t.Errorf("repeated: %s", again)
	}
	if err := w.Cluster.SetClusterName(t.Context(), "renamed"); err != nil {
		t.Fatal(err)
	}
	for got := first; !strings.Contains(got, `"clusterName":"renamed"`); got = next(t, in) {
		if got != first {
			t.Fatalf("neither the old nor the new configuration: %s", got)
		}
	}
	if err := w.Cluster.DropBucket(t.Context(), "default"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Errorf("the stream did not end well: %v", err)
	}
}

// A stream ends when its reader loses the right to it, and when the server stops; stopping does not wait for readers.
func TestStreamEnds(t *testing.T) {
	w := newWorld(t, nil, false)
	stop := w.serve(t)
	defer stop()
	c := w.client(nil)
	one := get(t, c, w.url("/pools/default/bs/default"), "reader")
	two := get(t, c, w.url("/pools/default/bs/default"), "Administrator")
	next(t, bufio.NewReader(one.Body))
	in := bufio.NewReader(two.Body)
	next(t, in)
	if err := w.Cluster.DeleteUser(t.Context(), "local", "reader"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, one.Body); err != nil {
		t.Errorf("the deleted user's stream: %v", err)
	}
	next(t, in)
	began := time.Now()
	stop()
	if took := time.Since(began); took > stopTime/2 {
		t.Errorf("stopping took %v", took)
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Errorf("the stream at the stop: %v", err)
	}
}

// serve runs the server; the returned function stops it and waits.
func (w *world) serve(t *testing.T) (stop func()) {
	t.Helper()
	g := run.NewGroup(context.Background())
	g.Go("server", w.face.run)
	var once sync.Once
	return func() {
		once.Do(func() {
			g.Stop()
			if err := g.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Requests that have begun are finished when the server stops.
func TestGracefulStop(t *testing.T) {
	w := newWorld(t, nil, false)
	hang := make(chan struct{})
	w.data.mu.Lock()
	w.data.hang = hang
	w.data.mu.Unlock()
	stop := w.serve(t)
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() {
		resp := get(t, w.client(nil), w.url("/livez?deep=1"), "stats")
		if resp.StatusCode != http.StatusOK {
			t.Errorf("a request over the stop: %s", resp.Status)
		}
	})
	w.eventually(t, func() bool {
		w.data.mu.Lock()
		defer w.data.mu.Unlock()
		return w.data.checks == 1
	})
	wait.Go(func() { close(hang) })
	stop()
	conn, err := w.net.Dial(t.Context(), "127.0.0.1:"+strconv.Itoa(w.Port()))
	if err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
}

// eventually waits until a condition holds.
func (w *world) eventually(t *testing.T, f func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it did not happen")
		}
	}
}

// The TLS port serves the same with the node's certificate.
func TestTLS(t *testing.T) {
	certificates, err := auth.LoadOrCreateTLS(auth.TLSOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(o *Options) {
		o.TLSAddr, o.TLSConfig = "127.0.0.1:0", certificates.Config()
		o.CA = certificates.CA
	}, true)
	pool := x509.NewCertPool()
	ca, err := io.ReadAll(get(t, w.client(nil), w.url("/pools/default/certificate"), "reader").Body)
	if err != nil || !pool.AppendCertsFromPEM(ca) {
		t.Fatalf("the CA: %q, %v", ca, err)
	}
	url := "https://127.0.0.1:" + strconv.Itoa(w.TLSPort()) + "/whoami"
	resp := get(t, w.client(&tls.Config{RootCAs: pool}), url, "reader")
	if resp.StatusCode != http.StatusOK || !resp.TLS {
		t.Errorf("over TLS: %s", resp.Status)
	}
	if w.TLSPort() == w.Port() || w.Port() == 0 {
		t.Errorf("ports %d and %d", w.Port(), w.TLSPort())
	}
}

// Requests that are too large are refused, and the server goes on.
func TestRequestLimits(t *testing.T) {
	w := newWorld(t, nil, true)
	c := w.client(nil)
	f := func(method, path string, size int, change func(*http.Request), want int) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, w.url(path), bytes.NewReader(make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth("Administrator", "password")
		if change != nil {
			change(r)
		}
		resp, err := c.Do(r)
		if err != nil {
			t.Fatalf("%s %s with %d bytes: %v", method, path, size, err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s %s with %d bytes: %s, want %d", method, path, size, resp.Status, want)
		}
	}
	f(http.MethodPost, "/pools/default/buckets", maxForm+1, nil, http.StatusRequestEntityTooLarge)
	f(http.MethodPut, "/pools/default/buckets/default/docs/k", 20<<20, nil, http.StatusOK)
	f(http.MethodPut, "/pools/default/buckets/default/docs/k", 20<<20+1, nil, http.StatusRequestEntityTooLarge)
	f(http.MethodPut, "/pools/default/buckets/default/docs/k", maxDocument+1, nil, http.StatusRequestEntityTooLarge)
	f(http.MethodGet, "/whoami", 0, func(r *http.Request) { r.Header.Set("X", strings.Repeat("x", maxHeader+8192)) },
		http.StatusRequestHeaderFieldsTooLarge)
	f(http.MethodGet, "/settings/rbac/users/local/"+strings.Repeat("x", maxNameInPath+1), 0, nil, http.StatusNotFound)
	f(http.MethodGet, "/whoami", 0, nil, http.StatusOK)
}

// Guessing passwords over HTTP is slowed down and counted.
func TestThrottledLogins(t *testing.T) {
	w := newWorld(t, nil, false)
	status := func(user, password, from string) int {
		r := httptest.NewRequest(http.MethodGet, "/whoami", nil)
		r.RemoteAddr = from
		r.SetBasicAuth(user, password)
		rec := httptest.NewRecorder()
		w.Handler().ServeHTTP(rec, r)
		return rec.Code
	}
	refused := 0
	for range 10 {
		if status("Administrator", "guess", "10.9.9.9:1") == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Error("ten wrong passwords in a row were all looked at")
	}
	if got := status("Administrator", "password", "10.9.9.8:1"); got != http.StatusOK {
		t.Errorf("from another address: %d", got)
	}
	if n := w.Metrics.Snapshot().Find("http_auth_failures_total").Series[0].Value; n != 10 {
		t.Errorf("%g failures are counted, want 10", n)
	}
}

// A sync that hangs does not hold requests, is told as such, and its end is noticed. A result is used again while fresh.
func TestDeepCheck(t *testing.T) {
	w := newWorld(t, nil, false)
	ask := func() (string, time.Duration) { return w.deep.result(t.Context()) }
	if problem, _ := ask(); problem != "" {
		t.Errorf("a healthy disk: %s", problem)
	}
	if _, age := ask(); w.data.checks != 1 || age < 0 {
		t.Errorf("%d checks, the last one %v old", w.data.checks, age)
	}
	hang := make(chan struct{})
	w.data.mu.Lock()
	w.data.hang, w.data.problem = hang, errors.New("input/output error")
	w.data.mu.Unlock()
	w.deep.mu.Lock()
	w.deep.mu.at = time.Time{}
	w.deep.mu.Unlock()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if problem, _ := w.deep.result(short); problem == "" {
		t.Error("a hanging sync counts as healthy")
	}
	close(hang)
	if problem, _ := ask(); problem != "input/output error" {
		t.Errorf("a failed sync: %q", problem)
	}
}

// readyz names what stands in the way.
func TestNotReady(t *testing.T) {
	w := newWorld(t, nil, false)
	w.data.mu.Lock()
	w.data.problem, w.data.broken = errors.New("no listener"), "broken"
	w.data.mu.Unlock()
	body := strings.NewReader("name=broken&ramQuotaMB=1&numVBuckets=1")
	r := httptest.NewRequest(http.MethodPost, "/pools/default/buckets", body)
	r.SetBasicAuth("Administrator", "password")
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	if rec.Code != http.StatusInternalServerError || !strings.Contains(rec.Body.String(), "the disk is full") {
		t.Errorf("a bucket that cannot be made: %d %s", rec.Code, rec.Body)
	}
	r = httptest.NewRequest(http.MethodGet, "/readyz", nil)
	r.RemoteAddr = "127.0.0.1:1"
	rec = httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	want := `{"checks":[{"name":"map","ok":true},{"name":"buckets","ok":false,"error":"not all buckets are loaded"},` +
		`{"name":"data","ok":false,"error":"no listener"}],"ready":false}`
	if rec.Code != http.StatusServiceUnavailable || rec.Body.String() != want {
		t.Errorf("readyz: %d %s", rec.Code, rec.Body)
	}
}

// What fails on our side is logged with who asked for what; what callers do wrong is not.
func TestFailureLog(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) }, false)
	for _, path := range []string{"/api/v1/stats/bad", "/pools/default/buckets/none"} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.SetBasicAuth("Administrator", "password")
		w.Handler().ServeHTTP(httptest.NewRecorder(), r)
	}
	text := log.String()
	if strings.Count(text, "request failed") != 1 || !strings.Contains(text, `route="GET /api/v1/stats/{group}"`) ||
		!strings.Contains(text, "user=Administrator") || !strings.Contains(text, "no such group") {
		t.Errorf("the log says:\n%s", text)
	}
}

// The rate of operations is that between two readings.
func TestRates(t *testing.T) {
	w := newWorld(t, nil, false)
	now := time.Now()
	w.rates.note(w.data.set.Snapshot(), now)
	w.data.ops.With("get", "default").Add(100)
	w.data.ops.With("set", "default").Add(20)
	w.rates.note(w.data.set.Snapshot(), now.Add(shortestRate/2)) // too early
	w.rates.note(w.data.set.Snapshot(), now.Add(2*time.Second))
	if got := w.rates.of("default"); got != 60 {
		t.Errorf("%g operations a second, want 60", got)
	}
	if got := w.rates.of("none"); got != 0 {
		t.Errorf("%g operations a second of no bucket", got)
	}
}

// The management port's own families and those of the cluster plane stay far below the bound on series.
func TestSeriesBound(t *testing.T) {
	w := newWorld(t, nil, false)
	for _, r := range w.table() {
		for status := 100; status < 600; status += 100 {
			w.count.requests.With(r.label, class(status)).Inc()
		}
	}
	s, err := w.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Len(); n > 300 {
		t.Errorf("%d series", n)
	}
	for _, f := range s.Families {
		if f.Help == "" || f.Kind < metrics.KindCounter {
			t.Errorf("family %s: %+v", f.Name, f.Desc)
		}
	}
}

// The views port answers pings and says of everything else that it is not there, in the form of that port.
func TestViewsPort(t *testing.T) {
	w := newWorld(t, nil, false)
	v, err := NewViewsPort(t.Context(), Options{Net: w.net, Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	g := run.NewGroup(context.Background())
	g.Go("views", v.Run)
	defer func() {
		g.Stop()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	}()
	f := func(path string, status int, want string) {
		t.Helper()
		resp := get(t, w.client(nil), fmt.Sprintf("http://127.0.0.1:%d%s", v.Port(), path), "")
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status || string(body) != want {
			t.Errorf("%s: %s %s, %v, want %d %s", path, resp.Status, body, err, status, want)
		}
	}
	f("/", http.StatusOK, `{"couchdb":"Welcome","version":"7.6.4"}`)
	f("/default/_design/x/_view/y?stale=false", http.StatusNotFound, `{"error":"not_found","reason":"missing"}`)
	if v.TLSPort() != 0 {
		t.Errorf("a TLS port %d without TLS", v.TLSPort())
	}
}
