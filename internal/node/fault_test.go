package node_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/node"
	"github.com/charpoy/charpoy/internal/spec"
)

var errBroken = errors.New("input/output error")

// startUnwatched is start for a node that is expected to end by itself.
func startUnwatched(t *testing.T, o node.Options) (*running, <-chan error) {
	t.Helper()
	n, err := node.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	select {
	case <-n.Ready():
	case err := <-done:
		t.Fatalf("the node ended before it was ready: %v", err)
	}
	return &running{Node: n}, done
}

// TestFaultSync: when the disk no longer syncs, a durable write is not acknowledged, the node ends by itself with a
// *FatalError that says what to do, and the next start has everything that was acknowledged as durable.
func TestFaultSync(t *testing.T) {
	memory := disk.NewMemory()
	hooked := disk.NewHooked(memory)
	n, done := startUnwatched(t, node.Options{Settings: settings(t, "data"), FS: hooked})
	c := n.dial(t, "default")
	durable := client.With{Level: spec.PersistToMajority}
	written := map[string]client.Written{}
	for i := range 50 {
		key := fmt.Sprintf("k%d", i)
		w, err := c.Set(t.Context(), key, []byte(key), durable)
		if err != nil {
			t.Fatal(err)
		}
		written[key] = w
	}
	hooked.Judge(disk.FailFrom(0, errBroken, disk.Sync))
	if _, err := c.Set(t.Context(), "late", []byte("late"), durable); err == nil {
		t.Error("a durable write was acknowledged without a sync")
	}
	var fatal *node.FatalError
	select {
	case err := <-done:
		if !errors.As(err, &fatal) || !strings.Contains(err.Error(), errBroken.Error()) || !strings.Contains(err.Error(), "start the node again") {
			t.Errorf("the node ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the node goes on without a disk")
	}
	again := start(t, node.Options{Settings: settings(t, "data"), FS: memory.Crash(0, 1)})
	c = again.dial(t, "default")
	for key, w := range written {
		if d, err := c.Get(t.Context(), key, client.With{}); err != nil || d.CAS != w.CAS {
			t.Errorf("%s after the next start: %+v, %v", key, d, err)
		}
	}
}

// TestFullDisk: below the reserve new writes are refused as temporary, reads and deletions go on, and writes are taken again
// by themselves when space returns.
func TestFullDisk(t *testing.T) {
	hooked := disk.NewHooked(disk.NewMemory())
	hooked.SetUsage(&disk.Usage{AvailBytes: 100 << 30, TotalBytes: 200 << 30})
	n := start(t, node.Options{Settings: settings(t, "data"), FS: hooked})
	c := n.dial(t, "default")
	for _, key := range []string{"kept", "gone"} {
		if _, err := c.Set(t.Context(), key, []byte(key), client.With{}); err != nil {
			t.Fatal(err)
		}
	}
	hooked.SetUsage(&disk.Usage{AvailBytes: 1 << 20, TotalBytes: 200 << 30})
	eventually(t, "writes are refused", func() bool {
		_, err := c.Set(t.Context(), "new", []byte("x"), client.With{})
		if err != nil && !errors.Is(err, client.ErrTemporary) {
			t.Fatalf("a write on a full disk: %v, want a temporary failure", err)
		}
		return err != nil
	})
	if d, err := c.Get(t.Context(), "kept", client.With{}); err != nil || string(d.Value) != "kept" {
		t.Errorf("a read on a full disk: %+v, %v", d, err)
	}
	if _, err := c.Delete(t.Context(), "gone", client.With{}); err != nil {
		t.Errorf("a deletion on a full disk: %v", err)
	}
	hooked.SetUsage(&disk.Usage{AvailBytes: 100 << 30, TotalBytes: 200 << 30})
	eventually(t, "writes are taken again", func() bool {
		_, err := c.Set(t.Context(), "new", []byte("x"), client.With{})
		return err == nil
	})
}

// eventually polls for something that another part of the node does in its own time.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(20 * time.Second)
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}
