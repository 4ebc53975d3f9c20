package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/testcluster"
)

// channel is a control channel that serves a cluster in this process.
type channel struct {
	*control
	t *testing.T
}

func startChannel(t *testing.T, o testcluster.Options) *channel {
	t.Helper()
	cluster, err := testcluster.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newControl(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { c.run(ctx) })
	t.Cleanup(func() {
		cancel()
		wait.Wait()
		http.DefaultClient.CloseIdleConnections()
		if err := cluster.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &channel{c, t}
}

// call does one verb and gives the status and the body.
func (c *channel) call(verb, body string) (int, string) {
	c.t.Helper()
	method, path, _ := strings.Cut(verb, " ")
	return c.ask(method, c.url+path, body)
}

func (c *channel) ask(method, url, body string) (int, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if !json.Valid(text) {
		c.t.Errorf("%s %s answers %q, which is not JSON", method, url, text)
	}
	return answer.StatusCode, strings.TrimSpace(string(text))
}

// wants does one verb, which must answer with a status and a text that has a part in it.
func (c *channel) wants(verb, body string, status int, part string) string {
	c.t.Helper()
	got, text := c.call(verb, body)
	if got != status || !strings.Contains(text, part) {
		c.t.Errorf("%s %s: %d %s, want %d with %s", verb, body, got, text, status, part)
	}
	return text
}

func (c *channel) dial() *client.Conn {
	c.t.Helper()
	conn, err := client.Dial(c.t.Context(), client.Options{
		Addr: joinPort("127.0.0.1", c.cluster.Node(1).Ports().KV), User: config.AdminUser, Password: c.cluster.Password(), Bucket: "default", Agent: "app",
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// TestControlVerbs goes through every verb, with what it does and what it refuses.
func TestControlVerbs(t *testing.T) {
	c := startChannel(t, testcluster.Options{Standing: true})
	for _, v := range verbs() {
		c.wants("GET /", "", 200, fmt.Sprintf("%q", v.pattern))
	}
	for _, step := range []struct {
		verb, body string
		status     int
		part       string
	}{
		{"POST /seed?bucket=default", "{\"key\":\"k\",\"value\":{\"a\":1}}\n{\"key\":\"text\",\"base64\":\"aGk=\"}", 200, `{"loaded":2}`},
		{"POST /seed", "", 400, "bucket is needed"},
		{"POST /seed?bucket=default", "nonsense", 400, "line 1"},
		{"GET /doc?bucket=default&key=k", "", 200, `"value":{"a":1}`},
		{"GET /doc?bucket=default&key=text&collection=_default._default", "", 200, `"base64":"aGk=","text":"hi"`},
		{"GET /doc?bucket=default&key=none", "", 404, "there is no document"},
		{"GET /doc?bucket=default", "", 400, "bucket and key are needed"},
		{"GET /doc?bucket=none&key=k", "", 500, "no such bucket"},
		{"POST /snapshot", "", 200, `{"documents":2,"id":"1"}`},
		{"POST /seed?bucket=default", `{"key":"more","value":1,"expiry":60}`, 200, `{"loaded":1}`},
		{"POST /advance", `{"seconds":61.5}`, 200, `"expired":1`},
		{"POST /advance", `{"seconds":-1}`, 400, "time goes forward only"},
		{"POST /advance", `{"seconds":1e18}`, 400, "more than"},
		{"POST /advance", `{}`, 400, "seconds is missing"},
		{"POST /advance", `{"second":1}`, 400, "unknown field"},
		{"POST /advance", `{"seconds":1}{}`, 400, "behind the JSON value"},
		{"GET /clock", "", 200, `"now":"20`},
		{"POST /restore", `{"id":"1"}`, 200, `{"documents":2}`},
		{"POST /restore", `{"id":"7"}`, 404, "there is no snapshot"},
		{"DELETE /snapshot/1", "", 200, `{"ok":true}`},
		{"DELETE /snapshot/1", "", 404, "there is no snapshot"},
		{"POST /rules", `{"op":"upsert","key":"k*","status":"etmpfail","times":2,"delay_ms":0.5}`, 200, `{"id":1}`},
		{"POST /rules", `[{"status":134},{"close":true}]`, 200, `{"ids":[2,3]}`},
		{"GET /rules", "", 200, `"op":"upsert","key":"k*","times":2,"status":134,"id":1,"matched":0,"acted":0,"delay_ms":0.5`},
		{"POST /rules", `[{"drop":true},{"op":"gett","drop":true}]`, 400, `there is no operation \"gett\"`},
		{"POST /rules", `{"status":"EWHAT"}`, 400, `there is no status \"EWHAT\"`},
		{"POST /rules", `{"status":70000}`, 400, "a number from 1 to 65535"},
		{"POST /rules", `{"opp":"get"}`, 400, "unknown field"},
		{"POST /rules", `[`, 400, "not what is expected"},
		{"DELETE /rules/2", "", 200, `{"ok":true}`},
		{"DELETE /rules/2", "", 404, "there is no rule 2"},
		{"DELETE /rules", "", 200, `{"ok":true}`},
		{"GET /rules", "", 200, `{"rules":[]}`},
		{"GET /ops?last=0", "", 400, "a number from 1"},
		{"DELETE /ops", "", 200, `{"ok":true}`},
		{"GET /ops", "", 200, `{"ops":[]}`},
		{"GET /nodes", "", 200, `"number":1,"state":"running"`},
		{"POST /node/1/pause", "", 200, `"state":"paused"`},
		{"POST /node/1/resume", "", 200, `"state":"running"`},
		{"POST /node/1/restart", "", 200, `"state":"running"`},
		{"POST /node/1/kill", "", 200, `"state":"down"`},
		{"POST /node/1/pause", "", 409, "node is not running"},
		{"POST /snapshot", "", 409, "node is not running"},
		{"POST /node/2/kill", "", 404, "there is no node 2"},
		{"POST /node/1/dance", "", 404, "not to dance"},
		{"GET /nothing", "", 404, "GET the control URL"},
		{"PUT /rules", "", 404, "there is no PUT /rules"},
	} {
		c.wants(step.verb, step.body, step.status, step.part)
	}
}

// TestControlNeedsItsURL: who does not know the word in the URL gets nothing.
func TestControlNeedsItsURL(t *testing.T) {
	c := startChannel(t, testcluster.Options{})
	base := strings.TrimSuffix(c.url, c.token)
	for _, path := range []string{"", "rules", c.token[1:] + "/rules", strings.ToUpper(c.token) + "x/rules", "mock/mockinfo"} {
		if status, text := c.ask(http.MethodGet, base+path, ""); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	c.wants("GET ", "", 200, "verbs") // the URL as it was printed, without a slash
}

// TestControlSeen: what a client does meets the rules and is in the list of operations.
func TestControlSeen(t *testing.T) {
	c := startChannel(t, testcluster.Options{})
	conn := c.dial()
	c.wants("POST /rules", `{"op":"set","status":"ETMPFAIL","times":1}`, 200, "id")
	if _, err := conn.Set(t.Context(), "k", []byte("1"), client.With{}); err == nil {
		t.Error("the rule did not act")
	}
	if _, err := conn.Set(t.Context(), "k", []byte("1"), client.With{}); err != nil {
		t.Error(err)
	}
	c.wants("GET /ops?last=2", "", 200, `"op":"set","bucket":"default","scope":"_default","collection":"_default","key":"k","status":134,`)
	c.wants("GET /ops?last=2", "", 200, `"injected":true,"status_name":"ETMPFAIL"`)
	c.wants("GET /ops?last=1", "", 200, `"agent":"app","user":"Administrator","status_name":"SUCCESS"`)
}

// TestMockHTTP: the commands of the existing mock as GET requests.
func TestMockHTTP(t *testing.T) {
	c := startChannel(t, testcluster.Options{Disk: testcluster.MemoryDisk})
	port := c.cluster.Node(1).Ports().KV
	for _, step := range []struct{ verb, part string }{
		{"GET /mock/cache?Key=k&Value=123", `{"status":"ok"`},
		{"GET /mock/keyinfo?key=k", `"Conf":{"Index":0,"Type":"master"},"Disk":{"CAS":`},
		{"GET /mock/KEYINFO?Key=none", `"Cache":{},`},
		{"GET /mock/time_travel?Offset=60", `{"status":"ok"`},
		{"GET /mock/time_travel?Offset=-60", `"error":"time goes forward only"`},
		{"GET /mock/time_travel", "missing required field: Offset"},
		{"GET /mock/time_travel?Offset=soon", `"status":"fail"`},
		{"GET /mock/get_mcports", fmt.Sprintf(`{"status":"ok","payload":[%d]}`, port)},
		{"GET /mock/get_mcports?bucket=none", "no such bucket: none"},
		{"GET /mock/purge?Key=k", `{"status":"ok"`},
		{"GET /mock/purge?Key=k", `{"status":"ok"`},
		{"GET /mock/keyinfo?Key=k", `"Cache":{},`},
		{"GET /mock/mockinfo", `"TIME_TRAVEL"`},
		{"GET /mock/set_cccp?enabled=true", `{"status":"ok"`},
		{"GET /mock/set_cccp?enabled=false", "not supported"},
		{"GET /mock/failover?idx=0", "not supported: failover (this version has one node)"},
		{"GET /mock/whatever", "there is no such command"},
		{"GET /mock/cache?Key=k&CAS=1", "a CAS cannot be chosen"},
		{"GET /mock/respawn?idx=0", `{"status":"ok"`},
		{"GET /mock/respawn?idx=9", "there is no server 9"},
	} {
		c.wants(step.verb, "", 200, step.part)
	}
}

// TestMockLines: a parent in the manner of the existing mock is told the port, drives the server over its connection, and
// ends it by closing that.
func TestMockLines(t *testing.T) {
	var listen net.ListenConfig
	l, err := listen.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ended := make(chan int, 1)
	var out, diary lockedBuffer
	go func() {
		ended <- Main(t.Context(), &Process{
			Name: "charpoy", Args: []string{
				"test-server", "-p", "0", "-v", "64", "-h", "127.0.0.1", "-n", "4", "--buckets=default::couchbase,cache:secret:memcache",
				"--harakiri-monitor=" + l.Addr().String(), "--cccp", "-S", "-q",
			},
			Stdin: strings.NewReader(""), Stdout: &out, Stderr: &diary,
		})
	}()
	socket, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(socket)
	port, err := lines.ReadString(0)
	if err != nil {
		t.Fatal(err)
	}
	rest, err := client.NewREST(client.RESTOptions{URL: "http://127.0.0.1:" + strings.TrimSuffix(port, "\x00"), User: "Administrator", Password: "password"})
	if err != nil {
		t.Fatal(err)
	}
	defer rest.Close()
	for _, name := range []string{"default", "cache", "beer-sample"} {
		if b, err := rest.Bucket(t.Context(), name); err != nil || b.Name != name {
			t.Errorf("bucket %s: %+v, %v", name, b, err)
		}
	}
	for _, step := range []struct{ line, part string }{
		{`{"command":"MOCKINFO"}`, `"status":"ok"`},
		{"\n" + `{"command":"OPFAIL","payload":{"code":134,"count":2}}`, `"status":"ok"`},
		{`{"command":"OPFAIL","payload":{"code":134,"count":0}}`, `"status":"ok"`},
		{`{"command":"OPFAIL","payload":{"code":0,"count":1}}`, `"status":"fail"`},
		{`{"command":"OPFAIL","payload":{"count":1}}`, `missing required field: code`},
		{`{"command":"HICCUP","payload":{"msecs":1,"offset":0}}`, `"status":"ok"`},
		{`{"command":"HICCUP","payload":{"msecs":0,"offset":0}}`, `"status":"ok"`},
		{`{"command":"HICCUP","payload":{}}`, `"status":"fail"`},
		{`{"command":"ENDURE","payload":{"Key":"k","Value":"v","OnMaster":true,"OnReplicas":[]}}`, `"status":"ok"`},
		{`{"command":"ENDURE","payload":{"Value":"v"}}`, `missing required field: Key`},
		{`{"command":"KEYINFO","payload":{"Key":"k","Bucket":"default"}}`, `"Value":"v"`},
		{`{"command":"UNCACHE","payload":{"Key":"k","Bucket":"none"}}`, `no such bucket`},
		{`{"command":"PERSIST","payload":{"Key":"k"}}`, `not supported: persist`},
		{`{"command":"KEYINFO","payload":7}`, `"error":"payload: `},
		{`nonsense`, `"status":"fail"`},
	} {
		fmt.Fprintln(socket, step.line)
		answer, err := lines.ReadString('\n')
		if err != nil || !strings.Contains(answer, step.part) {
			t.Errorf("%s: %s, %v; want %s", step.line, answer, err, step.part)
		}
	}
	_ = socket.Close()
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit code %d: %s", code, diary.String())
		}
	case <-time.After(20 * time.Second):
		t.Error("the server does not end with its monitor's connection")
	}
}

// lockedBuffer takes what several goroutines write.
type lockedBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// TestMockArguments: short flags that mean something else here become the long ones, and only those of test-server.
func TestMockArguments(t *testing.T) {
	for in, want := range map[string]string{
		"test-server -v 64 -h localhost": "test-server --vbuckets 64 --host localhost",
		"test-server -v -h":              "test-server -v -h",
		"test-server -h --print-json":    "test-server -h --print-json",
		"test-server --version":          "version",
		"kv get -v 64":                   "kv get -v 64",
		"":                               "",
	} {
		if got := mockArguments(strings.Fields(in)); !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"default": "default", "default::couchbase": "default", "a:secret:couchbase,b::memcache": "a,b:ephemeral",
		"shop:64MiB:ephemeral": "shop:64MiB:ephemeral", "x::": "x",
	} {
		if got := bucketArguments(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
