package charpoytest_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/charpoy/charpoy/charpoytest"
	"github.com/charpoy/charpoy/internal/mcbp"
)

// TestManyAtOnce has 50 servers start at the same time, uses each while all are there, and ends them together: none disturbs
// another.
func TestManyAtOnce(t *testing.T) {
	const servers = 50
	var (
		addrs    sync.Map
		all, end sync.WaitGroup
	)
	all.Add(servers)
	for i := range servers {
		end.Go(func() {
			f := newExample()
			defer func() {
				f.end()
				if f.failed {
					t.Errorf("server %d: %s", i, f.log.String())
				}
			}()
			once := sync.OnceFunc(all.Done)
			defer once()
			f.try(func() {
				c := charpoytest.StartWith(f, charpoytest.Options{Disk: charpoytest.Disk(i % 2)})
				once()
				all.Wait()
				if _, taken := addrs.LoadOrStore(c.KVAddr(), i); taken {
					f.Errorf("two servers have the address %s", c.KVAddr())
				}
				use(f, c, i)
			})
		})
	}
	end.Wait()
}

// use writes and reads a document that no other server has, and looks whether nobody else was there.
func use(t testing.TB, c *charpoytest.Cluster, i int) {
	t.Helper()
	value := fmt.Sprint(i)
	if got := do(t, c, http.MethodPut, "default", "k", value); got != "200" {
		t.Errorf("PUT: %s", got)
	}
	before := c.Now()
	c.Advance(time.Duration(i) * time.Hour)
	if passed := c.Now().Sub(before); passed != time.Duration(i)*time.Hour {
		t.Errorf("the clock moved by %v", passed)
	}
	if got := do(t, c, http.MethodGet, "default", "k", ""); got != "200 "+value {
		t.Errorf("GET: %s, want %s", got, value)
	}
	if ops := c.Ops(); len(ops) != 2 {
		t.Errorf("operations %v, want its own two", ops)
	}
}

// TestRefused: what this version cannot do fails the test at once with a sentence that says so.
func TestRefused(t *testing.T) {
	with := func(o charpoytest.Options) func(testing.TB) {
		return func(t testing.TB) { charpoytest.StartWith(t, o) }
	}
	started := func(f func(*charpoytest.Cluster, testing.TB)) func(testing.TB) {
		return func(t testing.TB) { f(charpoytest.Start(t), t) }
	}
	for want, f := range map[string]func(testing.TB){
		"one node in this version":           with(charpoytest.Options{Nodes: 3}),
		"replicas need several nodes":        with(charpoytest.Options{Replicas: 1}),
		"scopes and collections cannot be":   with(charpoytest.Options{Buckets: []charpoytest.Bucket{{Name: "b", Scopes: map[string][]string{"s": {"c"}}}}}),
		`"a,b" is no name of a bucket`:       with(charpoytest.Options{Buckets: []charpoytest.Bucket{{Name: "a,b"}}}),
		"a quota of -1 MiB":                  with(charpoytest.Options{Buckets: []charpoytest.Bucket{{Name: "b", QuotaMiB: -1}}}),
		"power of two":                       with(charpoytest.Options{VBuckets: 3}),
		"design documents need views":        with(charpoytest.Options{Seed: fstest.MapFS{"a.design.json": {}}}),
		"at least 6 characters":              with(charpoytest.Options{Password: "short"}),
		"there is no Clock 9":                with(charpoytest.Options{Clock: 9}),
		"there is no Disk 9":                 with(charpoytest.Options{Disk: 9}),
		"there is no operation \"gett\"":     started(func(c *charpoytest.Cluster, _ testing.TB) { c.Inject(charpoytest.Rule{Op: "gett", Drop: true}) }),
		"it does nothing":                    started(func(c *charpoytest.Cluster, _ testing.TB) { c.Inject(charpoytest.Rule{Op: "get"}) }),
		"Probability is from 0 to 1":         started(func(c *charpoytest.Cluster, _ testing.TB) { c.Inject(charpoytest.Rule{Drop: true, Probability: 2}) }),
		"time goes forward only":             started(func(c *charpoytest.Cluster, _ testing.TB) { c.Advance(-time.Second) }),
		"there is no node 2":                 started(func(c *charpoytest.Cluster, _ testing.TB) { c.Node(2) }),
		"there is no rule 7":                 started(func(c *charpoytest.Cluster, _ testing.TB) { c.Remove(7) }),
		"Acted: there is no rule 7":          started(func(c *charpoytest.Cluster, _ testing.TB) { c.Acted(7) }),
		"bucket none: no such bucket":        started(func(c *charpoytest.Cluster, t testing.TB) { c.Doc(t, "none", "k") }),
		"Pause: node 1: node is not running": started(func(c *charpoytest.Cluster, _ testing.TB) { c.Node(1).Kill(); c.Node(1).Pause() }),
		"snapshot: node 1: node is not":      started(func(c *charpoytest.Cluster, t testing.TB) { c.Node(1).Kill(); c.Snapshot(t) }),
	} {
		f2 := newExample()
		f2.try(func() { f(f2) })
		if got := f2.log.String(); !f2.failed || !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		f2.end()
	}
}

// TestQuietUnlessFailed: a test that passes prints nothing; one that fails prints what clients did, the rules, and the log.
func TestQuietUnlessFailed(t *testing.T) {
	for _, fails := range []bool{false, true} {
		f := newExample()
		c := charpoytest.Start(f)
		c.Inject(charpoytest.Rule{Key: "k", Status: charpoytest.TempFail})
		do(f, c, http.MethodGet, "default", "k", "")
		f.failed = fails
		f.end()
		got := f.log.String()
		if !fails && got != "" {
			t.Errorf("a test that passed printed %q", got)
		}
		for _, want := range []string{"the last 1 operations", `get default/_default._default/"k" ETMPFAIL`, "injected", "acted on 1", "the server's log"} {
			if fails && !strings.Contains(got, want) {
				t.Errorf("a test that failed printed %q, which lacks %q", got, want)
			}
		}
	}
}

// TestClock: a virtual clock stands still until it is moved, a real one runs and can be moved as well.
func TestClock(t *testing.T) {
	for clock, runs := range map[charpoytest.Clock]bool{charpoytest.Virtual: false, charpoytest.Real: true} {
		c := charpoytest.StartWith(t, charpoytest.Options{Clock: clock})
		before := c.Now()
		for begun := time.Now(); !time.Now().After(begun); { // until the machine's clock has moved
		}
		if moved := c.Now().Sub(before); (moved > 0) != runs {
			t.Errorf("clock %v moved by %v", clock, moved)
		}
		c.Advance(time.Hour)
		if moved := c.Now().Sub(before); moved < time.Hour {
			t.Errorf("clock %v moved by %v after an hour", clock, moved)
		}
	}
}

// TestRules: what a rule matches and how often it acts, seen by a client.
func TestRules(t *testing.T) {
	c := charpoytest.Start(t)
	get := func(key string) string { return do(t, c, http.MethodGet, "default", key, "") }
	for _, key := range []string{"cart:1", "cart:22", "user"} {
		do(t, c, http.MethodPut, "default", key, "1")
	}
	for _, test := range []struct {
		rule charpoytest.Rule
		keys []string
		want []string
	}{
		{charpoytest.Rule{Op: "get", Key: "cart:*"}, []string{"cart:1", "cart:22", "user"}, []string{"503", "503", "200 1"}},
		{charpoytest.Rule{Op: "get", Key: "cart:?"}, []string{"cart:1", "cart:22"}, []string{"503", "200 1"}},
		{charpoytest.Rule{Skip: 1, Times: 2}, []string{"user", "user", "user", "user"}, []string{"200 1", "503", "503", "200 1"}},
		{charpoytest.Rule{Op: "upsert"}, []string{"user"}, []string{"200 1"}},
		{charpoytest.Rule{Bucket: "def*", Collection: "_default._default"}, []string{"user"}, []string{"503"}},
		{charpoytest.Rule{Bucket: "other"}, []string{"user"}, []string{"200 1"}},
		{charpoytest.Rule{Collection: "other"}, []string{"user"}, []string{"200 1"}},
		{charpoytest.Rule{Agent: "charpoy-h*"}, []string{"user"}, []string{"503"}},
	} {
		test.rule.Status = charpoytest.TempFail
		id := c.Inject(test.rule)
		acted := 0
		for i, key := range test.keys {
			if got := get(key); got != test.want[i] {
				t.Errorf("%+v: get %d of %s: %s, want %s", test.rule, i+1, key, got, test.want[i])
			}
			if test.want[i] == "503" {
				acted++
			}
		}
		if got := c.Acted(id); got != acted {
			t.Errorf("%+v: acted on %d operations, want %d", test.rule, got, acted)
		}
		c.Remove(id)
	}
	c.Inject(charpoytest.Rule{Op: "insert", Status: charpoytest.Exists})
	c.Inject(charpoytest.Rule{Op: "get", Delay: 20 * time.Millisecond})
	begun := time.Now()
	if got := get("user"); got != "200 1" || time.Since(begun) < 20*time.Millisecond {
		t.Errorf("a delayed read: %s after %v", got, time.Since(begun))
	}
	c.ClearRules()
}

// TestDraws: the same seed makes the same operations fail, and about as many as it should.
func TestDraws(t *testing.T) {
	c := charpoytest.Start(t)
	do(t, c, http.MethodPut, "default", "k", "1")
	var first string
	for run := range 2 {
		c.ClearRules()
		id := c.Inject(charpoytest.Rule{Op: "get", Status: charpoytest.TempFail, Probability: 0.3, Seed: 7})
		pattern := ""
		for range 100 {
			pattern += do(t, c, http.MethodGet, "default", "k", "")[:1]
		}
		if run == 0 {
			first = pattern
		}
		if n := c.Acted(id); n < 15 || n > 45 || pattern != first {
			t.Errorf("run %d: %d of 100 failed: %s", run, n, pattern)
		}
	}
}

// TestStatuses: the constants are the protocol's.
func TestStatuses(t *testing.T) {
	for got, want := range map[charpoytest.Status]mcbp.Status{
		charpoytest.NotFound: mcbp.StatusNotFound, charpoytest.Exists: mcbp.StatusExists, charpoytest.TooBig: mcbp.StatusTooBig,
		charpoytest.Invalid: mcbp.StatusInvalid, charpoytest.NotStored: mcbp.StatusNotStored,
		charpoytest.NotMyVBucket: mcbp.StatusNotMyVBucket, charpoytest.Locked: mcbp.StatusLocked,
		charpoytest.AuthError: mcbp.StatusAuthError, charpoytest.Access: mcbp.StatusAccess, charpoytest.NoMemory: mcbp.StatusNoMemory,
		charpoytest.Internal: mcbp.StatusInternal, charpoytest.Busy: mcbp.StatusBusy, charpoytest.TempFail: mcbp.StatusTempFail,
		charpoytest.SyncWriteRunning: mcbp.StatusSyncWriteInProgress, charpoytest.SyncWriteUnsure: mcbp.StatusSyncWriteAmbiguous,
	} {
		if uint16(got) != uint16(want) || got.String() != want.String() {
			t.Errorf("%d (%v) is %d (%v) in the protocol", got, got, want, want)
		}
	}
}

// TestDoc: the server's own view of a document, also while nobody else gets an answer.
func TestDoc(t *testing.T) {
	c := charpoytest.StartWith(t, charpoytest.Options{Disk: charpoytest.TempDir})
	do(t, c, http.MethodPut, "default", "k?expiry=60", `{"a":1}`)
	c.Node(1).Pause()
	d, found := c.Doc(t, "default", "k")
	if !found || string(d.Value) != `{"a":1}` || !d.JSON || d.CAS == 0 || d.Expiry.Sub(c.Now()) > time.Minute || d.Expiry.Sub(c.Now()) < 58*time.Second {
		t.Errorf("%+v, found %v", d, found)
	}
	if _, found := c.Doc(t, "default", "none"); found {
		t.Error("a document that does not exist")
	}
	c.Node(1).Resume()
	c.LoadCities(t, "", 10)
	if s := c.Snapshot(t); s.Documents() != 11 {
		t.Errorf("%d documents, want 11", s.Documents())
	}
}

// TestSilence: a paused node takes connections and says nothing.
func TestSilence(t *testing.T) {
	c := charpoytest.Start(t)
	c.Node(1).Pause()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", c.KVAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	noop := mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpNoop})
	if _, err := conn.Write(noop); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	answer := make([]byte, mcbp.HeaderLen)
	if n, err := conn.Read(answer); err == nil {
		t.Errorf("%d bytes from a paused node", n)
	}
	c.Node(1).Resume()
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if n, err := conn.Read(answer); err != nil || n != mcbp.HeaderLen {
		t.Errorf("%d bytes after it went on, %v", n, err)
	}
}

// BenchmarkStart is a server from nothing until a read and a write have succeeded, and its end.
func BenchmarkStart(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		f := newExample()
		charpoytest.Start(f)
		f.end()
		if f.failed {
			b.Fatal(f.log.String())
		}
	}
}

// BenchmarkFifty is 50 servers in parallel, from nothing to their end.
func BenchmarkFifty(b *testing.B) {
	for b.Loop() {
		var wait sync.WaitGroup
		for range 50 {
			wait.Go(func() {
				f := newExample()
				charpoytest.Start(f)
				f.end()
				if f.failed {
					b.Error(f.log.String())
				}
			})
		}
		wait.Wait()
	}
}
