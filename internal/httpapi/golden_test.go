package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestGolden runs the sessions of testdata: each block is a request, below it stands the answer. The first line of a request
// is "METHOD path", then headers, then after an empty line the body. Arguments: user=name (password "password" unless
// pass=…), from=address, short (status and headers only). UUIDs and what depends on the machine are replaced.
func TestGolden(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		t.Helper()
		w := newWorld(t, nil, false)
		uuids := map[string]string{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			if d.Cmd != "req" {
				t.Fatalf("unknown command %s", d.Cmd)
			}
			return show(d, request(t, w.Handler(), d), uuids)
		})
	})
}

func request(t *testing.T, h http.Handler, d *datadriven.TestData) *httptest.ResponseRecorder {
	t.Helper()
	head, body, _ := strings.Cut(d.Input, "\n\n")
	lines := strings.Split(head, "\n")
	method, path, _ := strings.Cut(lines[0], " ")
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Host, r.RemoteAddr = "db.example.com:8091", "10.0.0.9:4000"
	if method == http.MethodPost || method == http.MethodPut {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Set(name, value)
	}
	user, password := "", "password"
	d.MaybeScanArgs(t, "from", &r.RemoteAddr)
	d.MaybeScanArgs(t, "pass", &password)
	if d.MaybeScanArgs(t, "user", &user) {
		r.SetBasicAuth(user, password)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec
}

// show writes an answer down: status, the headers that matter, and the body, indented if it is JSON.
func show(d *datadriven.TestData, rec *httptest.ResponseRecorder, uuids map[string]string) string {
	out := fmt.Sprintf("%d %s\n", rec.Code, rec.Header().Get("Content-Type"))
	for _, name := range slices.Sorted(maps.Keys(rec.Header())) {
		if slices.Contains([]string{"Www-Authenticate", "Etag", "Retry-After", "Allow", "X-Charpoy-Flags"}, name) {
			out += name + ": " + rec.Header().Get(name) + "\n"
		}
	}
	body := rec.Body.Bytes()
	var tree any
	if strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json") && json.Unmarshal(body, &tree) == nil && !d.HasArg("raw") {
		indented, err := json.MarshalIndent(tree, "", "  ")
		if err == nil {
			body = indented
		}
	}
	if !d.HasArg("short") {
		out += string(bytes.ReplaceAll(body, []byte("\r"), []byte("\\r")))
	}
	hex := regexp.MustCompile(`[0-9a-f]{32}`)
	out = hex.ReplaceAllStringFunc(out, func(id string) string {
		if strings.HasPrefix(id, "0000") {
			return id
		}
		if uuids[id] == "" {
			uuids[id] = fmt.Sprintf("UUID-%d", len(uuids)+1)
		}
		return uuids[id]
	})
	for _, s := range []struct{ old, now string }{
		{runtime.Version(), "GO"}, {runtime.GOOS + "-" + runtime.GOARCH, "OS-ARCH"}, {fmt.Sprintf(`"cpuCount": %d`, runtime.NumCPU()), `"cpuCount": N`},
	} {
		out = strings.ReplaceAll(out, s.old, s.now)
	}
	return strings.TrimRight(regexp.MustCompile(`"uptime": "\d+"`).ReplaceAllString(out, `"uptime": "N"`), "\n")
}
