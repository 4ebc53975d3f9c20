package charpoytest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/charpoy/charpoy/charpoytest"
)

// A server for one test. Any client can use it; here it is a plain HTTP client on the management port.
func ExampleStart() {
	t := newExample() // in a test: its *testing.T
	defer t.end()

	c := charpoytest.Start(t)
	fmt.Println(do(t, c, http.MethodPut, "default", "greeting", `{"hello":"world"}`))
	fmt.Println(do(t, c, http.MethodGet, "default", "greeting", ""))
	// Output:
	// 200
	// 200 {"hello":"world"}
}

// Buckets with documents in them when the test begins.
func ExampleStartWith() {
	t := newExample()
	defer t.end()

	c := charpoytest.StartWith(t, charpoytest.Options{
		Buckets: []charpoytest.Bucket{{Name: "shop"}, {Name: "cache", Ephemeral: true}},
		Disk:    charpoytest.MemoryDisk,
		Seed:    fstest.MapFS{"lamp.json": {Data: []byte(`{"price":20}`)}}, // in a test: os.DirFS("testdata")
	})
	fmt.Println(do(t, c, http.MethodGet, "shop", "lamp", ""))
	// Output: 200 {"price":20}
}

// A day passes without anybody waiting for it.
func ExampleCluster_Advance() {
	t := newExample()
	defer t.end()

	c := charpoytest.Start(t)
	do(t, c, http.MethodPut, "default", "session?expiry=3600", `{}`)
	fmt.Println(do(t, c, http.MethodGet, "default", "session", ""))
	fmt.Println("expired:", c.Advance(24*time.Hour))
	fmt.Println(do(t, c, http.MethodGet, "default", "session", ""))
	// Output:
	// 200 {}
	// expired: 1
	// 404
}

// Two reads fail for a while, and the test sees how the client copes.
func ExampleCluster_Inject() {
	t := newExample()
	defer t.end()

	c := charpoytest.Start(t)
	do(t, c, http.MethodPut, "default", "k", `1`)
	c.ClearOps()
	c.Inject(charpoytest.Rule{Op: "get", Key: "k*", Status: charpoytest.TempFail, Times: 2})
	for range 3 {
		fmt.Println(do(t, c, http.MethodGet, "default", "k", ""))
	}
	fmt.Println(c.Ops())
	// Output:
	// 503
	// 503
	// 200 1
	// [get k: ETMPFAIL get k: ETMPFAIL get k: SUCCESS]
}

// Each part of a test begins with the same documents.
func ExampleCluster_Restore() {
	t := newExample()
	defer t.end()

	c := charpoytest.Start(t)
	do(t, c, http.MethodPut, "default", "stock", `3`)
	clean := c.Snapshot(t)
	for _, left := range []string{"2", "0"} {
		do(t, c, http.MethodPut, "default", "stock", left)
		c.Restore(t, clean)
		fmt.Println(do(t, c, http.MethodGet, "default", "stock", ""))
	}
	// Output:
	// 200 3
	// 200 3
}

// A node dies and comes back.
func ExampleNode_Restart() {
	t := newExample()
	defer t.end()

	c := charpoytest.StartWith(t, charpoytest.Options{Disk: charpoytest.MemoryDisk})
	do(t, c, http.MethodPut, "default", "k", `"kept"`)
	c.Node(1).Restart(t)
	fmt.Println(do(t, c, http.MethodGet, "default", "k", ""))
	c.Node(1).Kill()
	fmt.Println(do(t, c, http.MethodGet, "default", "k", ""))
	// Output:
	// 200 "kept"
	// no answer
}

// do reads or writes a document over HTTP and gives status and body.
func do(t testing.TB, c *charpoytest.Cluster, method, bucket, key, body string) string {
	t.Helper()
	url := c.ManagementURL() + "/pools/default/buckets/" + bucket + "/docs/" + key
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(c.Username(), c.Password())
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "no answer"
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if answer.StatusCode != http.StatusOK {
		text = nil
	}
	return strings.TrimSpace(fmt.Sprint(answer.StatusCode, " ", string(text)))
}

// fake stands in for the *testing.T that an example does not have, and for one that fails on purpose.
type fake struct {
	testing.TB
	ctx      context.Context
	cancel   context.CancelFunc
	dir      func() string
	cleanups []func()
	failed   bool
	log      strings.Builder
}

func newExample() *fake {
	f := &fake{}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	return f
}

// end does what the end of a test does.
func (f *fake) end() {
	f.cancel()
	for len(f.cleanups) > 0 {
		last := f.cleanups[len(f.cleanups)-1]
		f.cleanups = f.cleanups[:len(f.cleanups)-1]
		last()
	}
}

func (f *fake) Helper()                  {}
func (f *fake) Context() context.Context { return f.ctx }
func (f *fake) Cleanup(last func())      { f.cleanups = append(f.cleanups, last) }
func (f *fake) TempDir() string          { return f.dir() }
func (f *fake) Failed() bool             { return f.failed }
func (f *fake) Log(args ...any)          { fmt.Fprintln(&f.log, args...) }

func (f *fake) Errorf(format string, args ...any) {
	f.failed = true
	f.Log(fmt.Sprintf(format, args...))
}

// Fatalf ends what try has called.
func (f *fake) Fatalf(format string, args ...any) {
	f.Errorf(format, args...)
	panic(f)
}

func (f *fake) Fatal(args ...any) { f.Fatalf("%s", fmt.Sprint(args...)) }

// try runs something that may call Fatal, and gives what was logged.
func (f *fake) try(something func()) string {
	defer func() {
		if p := recover(); p != nil && p != any(f) {
			panic(p)
		}
	}()
	something()
	return f.log.String()
}
