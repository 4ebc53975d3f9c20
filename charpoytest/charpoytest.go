package charpoytest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/sample"
	"github.com/charpoy/charpoy/internal/testcluster"
)

// Disk says where a cluster keeps its documents.
type Disk int

// The kinds of disk.
const (
	// Memory keeps documents in memory alone: buckets are ephemeral, and a restart begins with empty ones. It starts soonest.
	Memory Disk = iota
	// MemoryDisk is a file system in memory: buckets are persistent, every durability level works, and documents survive
	// Restart. What was not durable when Kill came is lost as on a real disk.
	MemoryDisk
	// TempDir is a directory of the test (testing.TB.TempDir), with real files.
	TempDir
)

// Clock says what clock a cluster has.
type Clock int

// The kinds of clock.
const (
	// Virtual stands still at the time of the start and moves by Advance alone: nothing expires while a test is slow.
	Virtual Clock = iota
	// Real follows the machine's clock. Advance moves it ahead of that.
	Real
)

// Bucket is a bucket to be made at the start.
type Bucket struct {
	Name      string
	QuotaMiB  int  // memory for documents; 0 = 100
	Ephemeral bool // never on disk, whatever Options.Disk says
	// Scopes are scopes and their collections. They cannot be made in this version: the test fails if there are any.
	Scopes map[string][]string
}

// Options of a Cluster. The zero value is one node in memory with the bucket "default" and a virtual clock.
type Options struct {
	Nodes    int      // 0 or 1: this version has no more
	Replicas int      // 0: this version has none
	VBuckets int      // of each bucket, a power of two up to 1024; 0 = 64
	Buckets  []Bucket // none = one named "default"
	// Seed is loaded into the buckets before Start returns, see Cluster.Seed.
	Seed     fs.FS
	Disk     Disk
	Clock    Clock
	Password string // of Username; empty = "password"
}

// Cluster is a running server. See the package comment for its rules.
type Cluster struct {
	t       testing.TB
	cluster *testcluster.Cluster
	first   string // bucket
}

// failureOps is how many operations of clients a failed test prints.
const failureOps = 200

// Start starts a server with the zero Options.
func Start(t testing.TB) *Cluster {
	t.Helper()
	return StartWith(t, Options{})
}

// StartWith starts a server. It is ready when StartWith returns, and is closed when the test ends. What cannot be done fails
// the test.
func StartWith(t testing.TB, o Options) *Cluster {
	t.Helper()
	inner, first, err := o.inner(t)
	if err != nil {
		t.Fatalf("charpoytest: %v", err)
	}
	cluster, err := testcluster.Start(t.Context(), inner)
	if err != nil {
		t.Fatalf("charpoytest: %v", err)
	}
	c := &Cluster{t: t, cluster: cluster, first: first}
	t.Cleanup(c.end)
	if o.Seed != nil {
		c.Seed(t, "", o.Seed)
	}
	return c
}

// inner makes the options of the package below.
func (o *Options) inner(t testing.TB) (inner testcluster.Options, first string, err error) {
	t.Helper()
	if o.Replicas != 0 {
		return inner, "", fmt.Errorf("Options.Replicas is %d: replicas need several nodes, which come with replication", o.Replicas)
	}
	inner = testcluster.Options{Nodes: o.Nodes, VBuckets: o.VBuckets, Password: o.Password}
	switch o.Clock {
	case Virtual:
		inner.Standing = true
	case Real:
	default:
		return inner, "", fmt.Errorf("there is no Clock %d", o.Clock)
	}
	switch o.Disk {
	case Memory:
		inner.Disk = testcluster.NoDisk
	case MemoryDisk:
		inner.Disk = testcluster.MemoryDisk
	case TempDir:
		inner.Disk, inner.Dir = testcluster.Directory, t.TempDir()
	default:
		return inner, "", fmt.Errorf("there is no Disk %d", o.Disk)
	}
	if len(o.Buckets) == 0 {
		return inner, "default", nil
	}
	inner.Buckets, err = bucketList(o.Buckets)
	return inner, o.Buckets[0].Name, err
}

// defaultQuotaMiB of a bucket.
const defaultQuotaMiB = 100

// bucketList writes buckets as the server's setting has them.
func bucketList(buckets []Bucket) (string, error) {
	list := make([]string, 0, len(buckets))
	for _, b := range buckets {
		switch {
		case len(b.Scopes) > 0:
			return "", fmt.Errorf("bucket %s: scopes and collections cannot be made in this version; documents go to the default collection", b.Name)
		case b.Name == "" || strings.ContainsAny(b.Name, ",: "):
			return "", fmt.Errorf("%q is no name of a bucket", b.Name)
		case b.QuotaMiB < 0:
			return "", fmt.Errorf("bucket %s: a quota of %d MiB", b.Name, b.QuotaMiB)
		}
		quota := b.QuotaMiB
		if quota == 0 {
			quota = defaultQuotaMiB
		}
		one := b.Name + ":" + strconv.Itoa(quota) + "MiB"
		if b.Ephemeral {
			one += ":ephemeral"
		}
		list = append(list, one)
	}
	return strings.Join(list, ","), nil
}

// end closes the cluster after the test, which fails if that does not go well.
func (c *Cluster) end() {
	c.t.Helper()
	if c.t.Failed() {
		c.explain()
	}
	if err := c.cluster.Close(); err != nil {
		c.t.Errorf("charpoytest: %v\nthe server's log:\n%s", err, c.cluster.Log())
	}
}

// explain prints what helps to understand a failure.
func (c *Cluster) explain() {
	c.t.Helper()
	var text strings.Builder
	ops := c.cluster.Ops(failureOps)
	fmt.Fprintf(&text, "charpoytest: the last %d operations of clients:\n", len(ops))
	for _, o := range ops {
		text.WriteString("  " + o.String() + "\n")
	}
	for _, r := range c.cluster.Rules() {
		fmt.Fprintf(&text, "rule %d: matched %d operations, acted on %d: %+v\n", r.ID, r.Matched, r.Acted, r.Rule)
	}
	text.WriteString("the end of the server's log:\n" + c.cluster.Log())
	c.t.Log(text.String())
}

// ConnStr is the connection string for Couchbase SDKs.
func (c *Cluster) ConnStr() string { return "couchbase://" + c.KVAddr() }

// KVAddr is the address (host:port) of the key-value port, which speaks the memcached binary protocol.
func (c *Cluster) KVAddr() string { return c.addr(c.cluster.Node(1).Ports().KV) }

// ManagementURL is the URL of the management port, without a slash at its end.
func (c *Cluster) ManagementURL() string { return "http://" + c.addr(c.cluster.Node(1).Ports().Mgmt) }

// MemcachedAddr is the address (host:port) of the plain memcached port. The test fails if this version has none.
func (c *Cluster) MemcachedAddr() string {
	c.t.Helper()
	port := c.cluster.Node(1).Ports().Memcached
	if port == 0 {
		c.t.Fatal("charpoytest: this version has no plain memcached port")
	}
	return c.addr(port)
}

func (*Cluster) addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// Username is the name of the administrator.
func (c *Cluster) Username() string { return c.cluster.User() }

// Password is that of Username.
func (c *Cluster) Password() string { return c.cluster.Password() }

// Now is what the cluster's clock shows.
func (c *Cluster) Now() time.Time { return c.cluster.Now() }

// Advance lets time pass for the server: documents expire, locks end, tombstones age, and CAS values go on from the new time.
// All of that has happened when it returns. It tells how many documents expired.
func (c *Cluster) Advance(d time.Duration) (expired int) {
	c.t.Helper()
	expired, err := c.cluster.Advance(c.t.Context(), d)
	if err != nil {
		c.t.Fatalf("charpoytest: Advance(%v): %v", d, err)
	}
	return expired
}

// Snapshot is all documents of a cluster at one moment. It does not change and may be restored any number of times.
type Snapshot struct{ inner *testcluster.Snapshot }

// Documents is how many documents it holds.
func (s *Snapshot) Documents() int { return s.inner.Documents() }

// Snapshot copies all documents of all buckets; those of one bucket are of one moment.
func (c *Cluster) Snapshot(t testing.TB) *Snapshot {
	t.Helper()
	s, err := c.cluster.Snapshot(t.Context())
	if err != nil {
		t.Fatalf("charpoytest: snapshot: %v", err)
	}
	return &Snapshot{s}
}

// Restore makes the documents of all buckets those of a snapshot, with value, CAS, flags and expiry, and without the locks that
// were held. Buckets that were made since are emptied. Clients stay connected; who follows a stream of changes is told to begin
// anew. Users, settings, rules and the clock are not part of a snapshot: CAS values go on upwards.
func (c *Cluster) Restore(t testing.TB, s *Snapshot) {
	t.Helper()
	if err := c.cluster.Restore(t.Context(), s.inner); err != nil {
		t.Fatalf("charpoytest: restore: %v", err)
	}
}

// Seed loads documents from the files of a file system, such as os.DirFS("testdata"), and tells how many there were. Files at
// the top go into the bucket named, or the first one if the name is empty; those in a directory into the bucket of its name.
//
// NAME.json is one document with the key NAME. Each line of a .ndjson file is a document as `charpoy export` writes it:
// {"key":…,"value":…,"flags":…,"expiry":…}; base64 instead of value holds what is not JSON. JSON without flags gets those that
// SDKs give it. Other files are passed over.
func (c *Cluster) Seed(t testing.TB, bucket string, files fs.FS) (loaded int) {
	t.Helper()
	if bucket == "" {
		bucket = c.first
	}
	loaded, err := c.cluster.Seed(t.Context(), files, bucket)
	if err != nil {
		t.Fatalf("charpoytest: %v", err)
	}
	return loaded
}

// LoadCities loads the first n cities of the sample data of `charpoy demo` into a bucket (the first one if the name is empty):
// JSON documents of about 200 bytes with keys such as city::2825297. There are 135,233 of them.
func (c *Cluster) LoadCities(t testing.TB, bucket string, n int) {
	t.Helper()
	if bucket == "" {
		bucket = c.first
	}
	cities, err := sample.Open()
	for i := 0; i < n && err == nil; i++ {
		var city sample.City
		if city, err = cities.Next(); err == nil {
			err = c.cluster.Put(t.Context(), bucket, "", city.Key, testcluster.Document{Value: city.Value, Flags: testcluster.JSONFlags})
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("charpoytest: load cities: %v", err)
	}
}

// Document is a document as the server has it.
type Document struct {
	Value  []byte
	Flags  uint32
	Expiry time.Time // zero: never
	CAS    uint64
	JSON   bool // Value is valid JSON
}

// Doc reads a document of the default collection past the ports: it is not among Ops, no Rule concerns it, and a paused node
// gives it too. found is false if there is no such document.
func (c *Cluster) Doc(t testing.TB, bucket, key string) (d Document, found bool) {
	t.Helper()
	inner, found, err := c.cluster.Doc(t.Context(), bucket, "", key)
	if err != nil {
		t.Fatalf("charpoytest: read %s in %s: %v", key, bucket, err)
	}
	if !found {
		return Document{}, false
	}
	d = Document{Value: inner.Value, Flags: inner.Flags, CAS: inner.CAS, JSON: inner.JSON}
	if inner.Expiry != 0 {
		d.Expiry = time.Unix(int64(inner.Expiry), 0)
	}
	return d, true
}
