package client_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/spec"
)

// rest makes a REST whose server answers with a status and a body, and the place where the request can be looked at.
func rest(t *testing.T, status int, body string) (*client.REST, *http.Request) {
	t.Helper()
	seen := &http.Request{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		form, _ := url.ParseQuery(string(text))
		*seen = http.Request{Method: r.Method, URL: r.URL, Header: r.Header, RequestURI: r.RequestURI, PostForm: form}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	r, err := client.NewREST(client.RESTOptions{URL: s.URL + "/", User: "ann", Password: "s3"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r, seen
}

// TestRESTCalls checks the request that each call makes.
func TestRESTCalls(t *testing.T) {
	bucket := spec.Bucket{
		Name: "a b", Type: spec.Ephemeral, QuotaBytes: 100 << 20, NumVBuckets: 64, NumReplicas: 1, FlushEnabled: true,
		MinDurability: spec.Majority, MaxTTL: 5, Eviction: spec.EvictNRU,
	}
	user := spec.User{
		Domain: spec.DomainLocal, ID: "bob/x", Name: "Bob", Groups: []string{"g", "h"},
		Roles: []spec.Role{{Name: "admin"}, {Name: "data_reader", Bucket: "b", Scope: "s"}},
	}
	for _, tt := range []struct {
		want string // method, path and form
		call func(r *client.REST) error
	}{
		{
			"POST /pools/default/buckets bucketType=ephemeral&durabilityMinLevel=majority&evictionPolicy=nruEviction&flushEnabled=1" +
				"&maxTTL=5&name=a+b&numVBuckets=64&ramQuota=100&replicaNumber=1",
			func(r *client.REST) error { return r.CreateBucket(t.Context(), bucket) },
		},
		{"POST /pools/default/buckets/a%25b ramQuota=7", func(r *client.REST) error {
			return r.UpdateBucket(t.Context(), "a%b", url.Values{"ramQuota": {"7"}})
		}},
		{"DELETE /pools/default/buckets/b ", func(r *client.REST) error { return r.DropBucket(t.Context(), "b") }},
		{"POST /pools/default/buckets/b/controller/doFlush ", func(r *client.REST) error { return r.FlushBucket(t.Context(), "b") }},
		{
			"PUT /settings/rbac/users/local/bob%2Fx groups=g%2Ch&name=Bob&password=pw&roles=admin%2Cdata_reader%5Bb%3As%5D",
			func(r *client.REST) error { return r.PutUser(t.Context(), user, "pw") },
		},
		{"DELETE /settings/rbac/users/local/bob ", func(r *client.REST) error {
			return r.DeleteUser(t.Context(), spec.DomainLocal, "bob")
		}},
		{"POST /controller/changePassword password=n", func(r *client.REST) error { return r.ChangePassword(t.Context(), "n") }},
		{"POST /pools/default clusterName=c", func(r *client.REST) error { return r.SetClusterName(t.Context(), "c") }},
	} {
		r, seen := rest(t, http.StatusOK, "")
		if err := tt.call(r); err != nil {
			t.Errorf("%s: %v", tt.want, err)
			continue
		}
		got := seen.Method + " " + seen.RequestURI + " " + seen.PostForm.Encode()
		if user, password, _ := seen.BasicAuth(); got != tt.want || user != "ann" || password != "s3" {
			t.Errorf("request %s as %s:%s, want %s as ann:s3", got, user, password, tt.want)
		}
	}
}

// TestRESTAnswers checks what is read from answers.
func TestRESTAnswers(t *testing.T) {
	check := func(what string, got any, err error, wanted any) {
		t.Helper()
		if diff := cmp.Diff(wanted, got); err != nil || diff != "" {
			t.Errorf("%s: error %v (-want +got):\n%s", what, err, diff)
		}
	}
	ctx := t.Context()
	r, seen := rest(t, 200, `[{"name":"b","bucketType":"membase","quota":{"ram":200,"rawRAM":100},"numVBuckets":64,
		"controllers":{"flush":"/x"},"basicStats":{"itemCount":7,"opsPerSec":1.5}}]`)
	buckets, err := r.ListBuckets(ctx)
	if err != nil || len(buckets) != 1 {
		t.Fatalf("ListBuckets = %v, %v", buckets, err)
	}
	b := buckets[0]
	check("bucket", []any{b.Name, b.Type, b.Quota.PerNode, b.NumVBuckets, b.FlushEnabled(), b.Stats.Items, b.Stats.OpsPerSec}, nil,
		[]any{"b", spec.Persistent, int64(100), 64, true, uint64(7), 1.5})
	check("path", seen.RequestURI, nil, "/pools/default/buckets")

	r, _ = rest(t, 200, `{"id":"u","domain":"local","roles":[{"role":"data_reader","bucket_name":"b","scope_name":"*",
		"origins":[{"type":"group","name":"g"}]}],"groups":["g"]}`)
	u, err := r.User(ctx, spec.DomainLocal, "u")
	if err != nil || len(u.Roles) != 1 {
		t.Fatalf("User = %+v, %v", u, err)
	}
	check("role", u.Roles[0].Role(), nil, spec.Role{Name: "data_reader", Bucket: "b"})
	check("origin", u.Roles[0].Origins[0].Name, nil, "g")

	r, _ = rest(t, 200, `{"name":"default","nodes":[{"hostname":"h:1","services":["kv"],"ports":{"direct":2},"thisNode":true}]}`)
	p, err := r.PoolDefault(ctx)
	check("PoolDefault", p, err, client.PoolInfo{Name: "default", Nodes: []client.NodeInfo{
		{Hostname: "h:1", Services: []string{"kv"}, Ports: map[string]int{"direct": 2}, This: true},
	}})
	r, seen = rest(t, 200, `[{"name":"n","value":"v"}]`)
	stats, err := r.Stats(ctx, "b", "vbucket 3")
	check("Stats", stats, err, []client.Stat{{Name: "n", Value: "v"}})
	check("path", seen.RequestURI, nil, "/api/v1/stats/vbucket%203?bucket=b")
	r, _ = rest(t, 200, "a_total 1\n")
	text, err := r.Metrics(ctx)
	check("Metrics", string(text), err, "a_total 1\n")
	r, _ = rest(t, 200, "<html>")
	_, err = r.WhoAmI(ctx)
	want(t, "nonsense", err, client.ErrProtocol)
}

// TestRESTErrors checks what each form of failure is read as.
func TestRESTErrors(t *testing.T) {
	for _, tt := range []struct {
		status int
		body   string
		text   string
		want   error
	}{
		{401, "", "", client.ErrAuth},
		{403, `{"message":"Forbidden. User needs","permissions":["a!b","c!d"]}`, "Forbidden. User needs: a!b, c!d", client.ErrAccess},
		{404, "Requested resource not found.\r\n", "Requested resource not found.", client.ErrNotFound},
		{404, `"User was not found."`, "User was not found.", client.ErrNotFound},
		{400, `{"errors":{"name":"Bucket with given name already exists"}}`, "name: Bucket with given name already exists", client.ErrExists},
		{400, `{"errors":{"ramQuota":"too small","_":"sorry"}}`, "sorry; ramQuota: too small", client.ErrInvalid},
		{400, `{"_":"Flush is disabled for the bucket"}`, "Flush is disabled for the bucket", client.ErrInvalid},
		{500, `{"errors":{"_":"Bucket with given name still exists"}}`, "Bucket with given name still exists", client.ErrExists},
		{500, "", "", client.ErrInternal},
		{409, `["a","b"]`, "a; b", client.ErrExists},
		{413, "", "", client.ErrTooBig},
		{503, "", "", client.ErrTemporary},
		{405, "", "", client.ErrUnsupported},
		{302, "", "", nil},
	} {
		r, _ := rest(t, tt.status, tt.body)
		_, err := r.Bucket(t.Context(), "b")
		var e *client.RESTError
		if !errors.As(err, &e) || e.Status != tt.status || e.Text != tt.text || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%d %s: error %v, want text %q and %v", tt.status, tt.body, err, tt.text, tt.want)
		}
	}
	for _, bad := range []string{"", "localhost:8091", "ftp://x", "http://", "http://[::1"} {
		if _, err := client.NewREST(client.RESTOptions{URL: bad}); err == nil {
			t.Errorf("NewREST(%q) has no error", bad)
		}
	}
}
