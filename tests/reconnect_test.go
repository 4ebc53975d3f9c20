package tests

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/charpoy/charpoy/tests/server"
	"github.com/couchbase/gocb/v2"
)

const (
	survivors     = 200 // documents that are acknowledged as persisted before the crash
	reconnectTime = 30 * time.Second
	stopTime      = 40 * time.Second
	testPassword  = "for tests only"
)

// TestReconnect kills a node that an SDK is connected to and starts it again on the same ports. The same SDK object must
// find back by itself (it drops configurations that are older than what it knows, so revisions have to rise over restarts),
// read all that was acknowledged as persisted, write, and learn of a new bucket. Then the node is stopped in order, and
// started once more: now nothing at all may be missing.
func TestReconnect(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	binary, err := server.Build(ctx, "..", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	node := serve(t, ctx, binary, dir, server.Ready{})
	cluster, docs := connectTo(t, node)
	write(t, docs, "persisted", gocb.DurabilityLevelPersistToMajority)

	node.Kill()
	node = serve(t, ctx, binary, dir, node.Ready)
	read(t, docs, "persisted")
	write(t, docs, "afterwards", gocb.DurabilityLevelNone)
	err = cluster.Buckets().CreateBucket(gocb.CreateBucketSettings{BucketSettings: gocb.BucketSettings{
		Name: "made-later", RAMQuotaMB: 100, BucketType: gocb.CouchbaseBucketType,
	}}, &gocb.CreateBucketOptions{Timeout: reconnectTime})
	if err != nil {
		t.Fatalf("a bucket after the restart: %v", err)
	}
	later := cluster.Bucket("made-later")
	if err := later.WaitUntilReady(reconnectTime, nil); err != nil {
		t.Fatalf("the bucket made after the restart: %v", err)
	}
	write(t, later.DefaultCollection(), "later", gocb.DurabilityLevelNone)

	if err := node.Stop(stopTime); err != nil {
		t.Fatal(err)
	}
	node = serve(t, ctx, binary, dir, node.Ready)
	read(t, docs, "persisted")
	read(t, docs, "afterwards")
	read(t, later.DefaultCollection(), "later")
	if err := node.Stop(stopTime); err != nil {
		t.Error(err)
	}
}

func serveArgs(dir string, ports server.Ready) []string {
	args := []string{"--data", dir, "--http-tls-port", "off", "--log-level", "warn"}
	for flag, port := range map[string]int{
		"--kv-port": ports.KV, "--kv-tls-port": ports.KVTLS, "--http-port": ports.Mgmt, "--views-port": ports.Views,
	} {
		args = append(args, flag, strconv.Itoa(port)) // 0 is any free one
	}
	return args
}

// serve starts a node, on the ports of an earlier run if there was one. It is killed at the end of the test.
func serve(t *testing.T, ctx context.Context, binary, dir string, ports server.Ready) *server.Process {
	t.Helper()
	p, err := server.StartServe(ctx, binary, testPassword, serveArgs(dir, ports)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func connectTo(t *testing.T, p *server.Process) (*gocb.Cluster, *gocb.Collection) {
	t.Helper()
	cluster, err := gocb.Connect(p.ConnectionString, gocb.ClusterOptions{
		Authenticator: gocb.PasswordAuthenticator{Username: p.User, Password: p.Password},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(nil); err != nil {
			t.Error(err)
		}
	})
	bucket := cluster.Bucket("default")
	if err := bucket.WaitUntilReady(reconnectTime, nil); err != nil {
		t.Fatalf("WaitUntilReady: %v\nserver:\n%s", err, p.Log())
	}
	return cluster, bucket.DefaultCollection()
}

func name(kind string, i int) string { return fmt.Sprintf("%s-%d", kind, i) }

// write makes documents, all at once.
func write(t *testing.T, docs *gocb.Collection, kind string, level gocb.DurabilityLevel) {
	t.Helper()
	errs := make(chan error, survivors)
	for i := range survivors {
		go func() {
			_, err := docs.Upsert(name(kind, i), i, &gocb.UpsertOptions{DurabilityLevel: level, Timeout: reconnectTime})
			errs <- err
		}()
	}
	var all error
	for range survivors {
		all = errors.Join(all, <-errs)
	}
	if all != nil {
		t.Fatalf("write %s: %v", kind, all)
	}
}

// read wants all documents of a kind back.
func read(t *testing.T, docs *gocb.Collection, kind string) {
	t.Helper()
	for i := range survivors {
		got := -1
		result, err := docs.Get(name(kind, i), &gocb.GetOptions{Timeout: reconnectTime})
		if err == nil {
			err = result.Content(&got)
		}
		if err != nil || got != i {
			t.Fatalf("%s holds %d, want %d: %v", name(kind, i), got, i, err)
		}
	}
}
