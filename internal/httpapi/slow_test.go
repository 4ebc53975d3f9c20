package httpapi

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/trace"
)

// ask makes one request as a user, with password "password"; nobody is "".
func (w *world) ask(t *testing.T, method, path, user, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.RemoteAddr = "10.0.0.9:4000"
	if user != "" {
		r.SetBasicAuth(user, "password")
	}
	rec := httptest.NewRecorder()
	w.Handler().ServeHTTP(rec, r)
	return rec
}

// slowWorld has a log with four operations, one a second, in the buckets default and other.
func slowWorld(t *testing.T) *world {
	t.Helper()
	if !trace.Enabled {
		t.Skip("the log of slow operations is compiled out")
	}
	var w *world
	l := trace.NewSlowLog(trace.SlowOptions{Node: "n1"})
	w = newWorld(t, func(o *Options) { o.Slow = l }, false)
	for i, op := range []trace.Op{trace.OpGet, trace.OpSet, trace.OpGet, trace.OpSelectBucket} {
		l.Add(trace.SlowOp{
			Time: w.now.Add(time.Duration(i-3) * time.Second), Op: op, Bucket: []string{"default", "other", "other", ""}[i],
			Key: trace.KeyOf([]byte("secret")), Client: "10.1.2.3", Opaque: uint32(i),
		})
	}
	return w
}

// The list is filtered as asked and by the asker's rights; only full administrators see keys and addresses.
func TestSlowList(t *testing.T) {
	w := slowWorld(t)
	f := func(user, query string, status int, want ...string) {
		t.Helper()
		rec := w.ask(t, http.MethodGet, "/api/v1/slow"+query, user, "")
		if rec.Code != status {
			t.Errorf("%s %s: status %d, want %d: %s", user, query, rec.Code, status, rec.Body)
			return
		}
		if status != http.StatusOK {
			return
		}
		var answer struct{ Slow []trace.SlowLine }
		if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
			t.Errorf("%v: %s", err, rec.Body)
			return
		}
		var got []string
		for _, line := range answer.Slow {
			got = append(got, line.OperationID)
			if shown := line.Key == "secret" && line.Client == "10.1.2.3"; shown != (user == "Administrator") {
				t.Errorf("%s sees key %q and client %q", user, line.Key, line.Client)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s %s: %v, want %v", user, query, got, want)
		}
	}
	const admin = "Administrator"
	f(admin, "", 200, "0x0", "0x1", "0x2", "0x3")
	f(admin, "?op=get", 200, "0x0", "0x2")
	f(admin, "?bucket=other&limit=1", 200, "0x2")
	f(admin, "?since=2s", 200, "0x2", "0x3")
	f(admin, "?since=2026-03-04T05:06:06Z", 200, "0x3")
	f(admin, "?op=nonsense", 400)
	f(admin, "?limit=0", 400)
	f(admin, "?since=yesterday", 400)
	f("stats", "", 200, "0x0") // data_monitoring[default]
	f("stats", "?bucket=default", 200, "0x0")
	f("stats", "?bucket=other", 403)
	f("reader", "", 200)
	f("", "", 401)
	if rec := w.ask(t, http.MethodGet, "/api/v1/slow", "stats", ""); strings.Contains(rec.Body.String(), "secret") ||
		strings.Contains(rec.Body.String(), "10.1.2.3") {
		t.Errorf("shown to who may not see it: %s", rec.Body)
	}
}

// Thresholds are read and changed by those who may, and what is wrong with a change is said without changing anything.
func TestSlowThresholds(t *testing.T) {
	w := slowWorld(t)
	f := func(method, user, body string, status int, want string) {
		t.Helper()
		rec := w.ask(t, method, "/api/v1/slow/thresholds", user, body)
		if rec.Code != status || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s %s as %s: %d %s, want %d and %s", method, body, user, rec.Code, rec.Body, status, want)
		}
	}
	const admin = "Administrator"
	f(http.MethodGet, admin, "", 200, `"default":"500ms"`)
	f(http.MethodPatch, admin, `{"get":"20ms","default":"1s"}`, 200, `"get":"20ms"`)
	f(http.MethodPut, admin, `{"set":"30ms"}`, 200, `"get":"20ms"`)
	f(http.MethodPatch, admin, `{"get":"1ns","nonsense":"1s"}`, 400, `"nonsense"`)
	f(http.MethodGet, admin, "", 200, `"default":"1s"`)
	f(http.MethodPatch, "stats", `{"get":"1h"}`, 403, "")
	f(http.MethodGet, "reader", "", 403, "")
	if !w.Slow.IsSlow(trace.OpGet, int64(20*time.Millisecond)) || w.Slow.IsSlow(trace.OpDelete, int64(900*time.Millisecond)) {
		t.Error("the log does not follow")
	}
}

// Profiles are for full administrators.
func TestProfiles(t *testing.T) {
	w := newWorld(t, nil, false)
	f := func(path, user string, status int, want string) {
		t.Helper()
		rec := w.ask(t, http.MethodGet, "/debug/pprof/"+path, user, "")
		if rec.Code != status || !strings.Contains(rec.Body.String(), want) {
			t.Errorf("%s as %q: %d %.200s, want %d and %q", path, user, rec.Code, rec.Body, status, want)
		}
	}
	const admin = "Administrator"
	f("", admin, 200, "goroutine")
	f("goroutine?debug=1", admin, 200, "goroutine profile:")
	f("heap?debug=1", admin, 200, "heap profile:")
	f("cmdline", admin, 200, "")
	f("nonsense", admin, 404, "")
	for _, path := range []string{"", "goroutine?debug=1", "profile?seconds=1", "cmdline", "symbol", "trace?seconds=1"} {
		f(path, "stats", 403, "")
		f(path, "useradmin", 403, "")
		f(path, "", 401, "")
	}
}

// A request that was answered fires its probe, with the route and never the path.
func TestHTTPProbe(t *testing.T) {
	if !trace.Enabled {
		t.Skip("probes are compiled out")
	}
	node := trace.NewNode()
	w := newWorld(t, func(o *Options) { o.Trace = node }, false)
	var mu sync.Mutex
	var got []string
	defer node.Subscribe(func(r *trace.Record) {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, strings.Join([]string{
			r.Text("route", nil), r.Text("code", nil), r.Text("client", nil), map[bool]string{true: "timed"}[r.Value("dur") > 0],
			map[bool]string{true: "body"}[r.Value("bytes_out") > 0],
		}, " "))
	}, trace.HTTPDone)()
	w.ask(t, http.MethodGet, "/pools", "Administrator", "")
	w.ask(t, http.MethodGet, "/pools/default/buckets/none", "Administrator", "")
	want := []string{"pools 200 10.0.0.9 timed body", "bucket 404 10.0.0.9 timed body"}
	if !slices.Equal(got, want) {
		t.Errorf("records %q, want %q", got, want)
	}
}

// Each route's label is a value of the probe's enumeration.
func TestRouteLabels(t *testing.T) {
	w := newWorld(t, nil, false)
	for _, r := range w.table() {
		if _, ok := trace.RouteNamed(r.label); !ok {
			t.Errorf("the enumeration route lacks %q", r.label)
		}
	}
}
