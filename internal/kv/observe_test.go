package kv

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// heard collects the records of a node's probes. Sinks run on the goroutines that fire.
type heard struct {
	node *trace.Node
	mu   sync.Mutex
	all  []string
	came chan struct{} // something was added since it was last looked at
}

// hear subscribes to probes until the end of the test.
func hear(t testing.TB, fields []string, probes ...trace.Named) *heard {
	t.Helper()
	if !trace.Enabled {
		t.Skip("probes are compiled out")
	}
	h := &heard{node: trace.NewNode(), came: make(chan struct{}, 1)}
	t.Cleanup(h.node.Subscribe(func(r *trace.Record) {
		line := r.Probe.String()
		for _, f := range fields {
			line += " " + f + "=" + r.Text(f, nil)
		}
		h.mu.Lock()
		h.all = append(h.all, line)
		h.mu.Unlock()
		select {
		case h.came <- struct{}{}:
		default:
		}
	}, probes...))
	return h
}

func (h *heard) option(o *Options) { o.Trace = h.node }

func (h *heard) lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// wants waits until a line was heard that begins like this.
func (h *heard) wants(t testing.TB, line string) {
	t.Helper()
	limit := time.NewTimer(10 * time.Second)
	defer limit.Stop()
	for !slices.ContainsFunc(h.lines(), func(s string) bool { return strings.HasPrefix(s, line) }) {
		select {
		case <-h.came:
		case <-limit.C:
			t.Fatalf("%q was not heard in\n%s", line, strings.Join(h.lines(), "\n"))
		}
	}
}

// waits runs an operation as a connection does, and gives the stages of it.
func waits(t testing.TB, clock *hlc.Source, op func(ctx context.Context)) trace.Clock {
	t.Helper()
	b := &trace.Batch{}
	ctx := b.Context(t.Context())
	b.Begin(clock.Now().Mono, 0)
	b.At(0)
	op(ctx)
	b.Settle(clock.Now().Mono, 1, nil)
	return b.Clock(0)
}

// An operation that finds the vBucket's lock taken says how long it waited: as a stage of its own time, in the counts of the
// bucket, and by a probe when it was more than a millisecond.
func TestLockWait(t *testing.T) {
	h := hear(t, []string{"site", "bucket", "vb"}, trace.LockWait)
	k := newKit(t, h.option)
	k.set("a", "1")
	vb := &k.vbs[0]
	for len(h.lines()) == 0 { // until the operation has met the lock while time passed
		vb.mu.Lock()
		done := make(chan trace.Clock, 1)
		var wait sync.WaitGroup
		wait.Go(func() {
			done <- waits(t, k.clock, func(ctx context.Context) {
				if _, _, err := k.Get(ctx, k.now(), k.key("a"), nil); err != nil {
					t.Error(err)
				}
			})
		})
		for range 1000 {
			k.clock.Advance(2 * lockWaitShown)
			runtime.Gosched()
		}
		vb.mu.Unlock()
		c := <-done
		wait.Wait()
		if len(h.lines()) > 0 && time.Duration(c.Stage(trace.StageLock)) < lockWaitShown {
			t.Errorf("the stage lock has %v", time.Duration(c.Stage(trace.StageLock)))
		}
	}
	h.wants(t, "lock-wait site=vbucket bucket=b vb=0")
	if s := k.Stats().Ops; s.LockWaits == 0 || s.LockWaitNanos < uint64(lockWaitShown) {
		t.Errorf("counted %d waits of %d ns", s.LockWaits, s.LockWaitNanos)
	}
}

// A value that is on disk only fires cache-miss and fetch-done, and a durable write the flusher's probes; both know what they
// waited for.
func TestDiskProbes(t *testing.T) {
	h := hear(t, []string{"bucket", "vb", "key", "status", "vbs", "waiters", "queue", "len", "level"}, trace.CacheHit,
		trace.CacheMiss, trace.FetchDone, trace.FlushStart, trace.FlushDone, trace.QueueEnter, trace.QueueLeave, trace.DurableDone)
	l := live(t, disk.NewMemory(), h.option, func(o *Options) { o.Clock = hlc.New() })
	c := waits(t, l.clock, func(ctx context.Context) {
		_, err := l.Set(ctx, l.now(), l.key("a"), &Write{Value: []byte(strings.Repeat("x", 500)), Level: spec.PersistToMajority})
		l.wantErr(err, nil)
	})
	if c.Stage(trace.StageFlush) <= 0 || c.Stage(trace.StageFsync) <= 0 {
		t.Errorf("a durable write: flush %d, fsync %d", c.Stage(trace.StageFlush), c.Stage(trace.StageFsync))
	}
	h.wants(t, "flush-start bucket=p vb= key= status= vbs=1 waiters=1")
	h.wants(t, "flush-done bucket=p vb= key= status=ok vbs=1 waiters=1")
	l.saved()
	if l.ejectAll() != 1 {
		t.Fatal("the value did not leave memory")
	}
	c = waits(t, l.clock, func(ctx context.Context) {
		_, _, err := l.Get(ctx, l.now(), l.key("a"), nil)
		l.wantErr(err, nil)
	})
	if c.Stage(trace.StageFetch) <= 0 {
		t.Errorf("a read of an ejected value: fetch %d", c.Stage(trace.StageFetch))
	}
	h.wants(t, "cache-miss bucket=p vb=0 key=a")
	for _, line := range h.lines() {
		if strings.HasPrefix(line, "cache-hit") {
			t.Errorf("a read from disk is told as %q", line)
		}
	}
	if _, _, err := l.Get(t.Context(), l.now(), l.key("a"), nil); err != nil {
		t.Error(err)
	}
	h.wants(t, "cache-hit bucket=p vb=0 key=a")
	for _, want := range []string{
		"queue-enter bucket= vb= key= status= vbs= waiters= queue=flush len=1",
		"queue-leave bucket= vb= key= status= vbs= waiters= queue=flush len=0",
		"queue-enter bucket= vb= key= status= vbs= waiters= queue=fetch len=1",
		"queue-leave bucket= vb= key= status= vbs= waiters= queue=fetch len=0",
		"durable-done bucket=p vb=0 key= status=ok vbs= waiters= queue= len= level=persist_to_majority",
	} {
		h.wants(t, want)
	}
	h.wants(t, "fetch-done bucket=p vb=0 key= status=ok")
	if d := l.DiskTimes(); d.Fetch.Count != 1 || d.Flush.Count == 0 {
		t.Errorf("disk times: %d fetches, %d flushes", d.Fetch.Count, d.Flush.Count)
	}
}

// The pagers tell of their passes and of what left memory.
func TestPagerProbes(t *testing.T) {
	h := hear(t, []string{"bucket", "vb", "reason"}, trace.PagerRun, trace.CacheEvict, trace.ExpiryRun)
	k := newKit(t, h.option, func(o *Options) {
		o.Spec.QuotaBytes, o.Spec.Eviction, o.ExpiryInterval = 4<<20, spec.EvictNRU, time.Millisecond
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { k.wantErr(k.Run(ctx), nil) })
	for i := 0; k.Stats().Ops.Evicted == 0; i++ {
		_, err := k.Set(ctx, k.now(), k.key(fmt.Sprint("k", i)), &Write{Value: make([]byte, 1000)})
		if err != nil && !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
	}
	h.wants(t, "cache-evict bucket=b vb=0 reason=pager")
	h.wants(t, "pager-run bucket=b")
	h.wants(t, "expiry-run bucket=b")
	cancel()
	wait.Wait()
	l := live(t, disk.NewMemory(), h.option, func(o *Options) { o.Spec.QuotaBytes = 4 << 20 })
	for i := 0; l.Stats().Ops.Ejected == 0; i++ {
		_, err := l.Set(t.Context(), l.now(), l.key(fmt.Sprint("k", i)), &Write{Value: make([]byte, 1000)})
		if err != nil && !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
	}
	h.wants(t, "cache-evict bucket=p vb=0 reason=pager")
	h.wants(t, "pager-run bucket=p")
}

// Refusals say why.
func TestRefusals(t *testing.T) {
	h := hear(t, []string{"bucket", "vb", "reason"}, trace.OpRefused)
	k := newKit(t, h.option, func(o *Options) {
		o.Spec.QuotaBytes, o.Spec.MaxValueBytes, o.Spec.Eviction = 2<<20, 2000, spec.EvictNone
	})
	put := func(name string, n int) error {
		_, err := k.Set(t.Context(), k.now(), k.key(name), &Write{Value: make([]byte, n)})
		return err
	}
	k.wantErr(put("big", 3000), ErrTooBig)
	h.wants(t, "op-refused bucket=b vb=0 reason=size")
	var err error
	for i := 0; err == nil; i++ {
		err = put(fmt.Sprint("k", i), 2000)
	}
	k.wantErr(err, ErrNoMemory)
	h.wants(t, "op-refused bucket=b vb=0 reason=quota")
	other := newKit(t, h.option)
	other.refusing.Store(true)
	_, err = other.Set(t.Context(), other.now(), other.Key(2, 0, []byte("x")), &Write{})
	k.wantErr(err, ErrBusy)
	h.wants(t, "op-refused bucket=b vb=2 reason=disk")
	if n := len(h.lines()); n != 3 {
		t.Errorf("%d refusals heard, want 3: %q", n, h.lines())
	}
}

// Growing a table, saving a version for a reader and dropping a reader's cursor tell of themselves.
func TestFeedProbes(t *testing.T) {
	h := hear(t, []string{"bucket", "vb", "peer", "lost", "slots"}, trace.TableGrow, trace.VersionSaved, trace.CursorDrop)
	k := newKit(t, h.option)
	r, err := k.Open(change.Options{Name: "slowpoke"})
	k.wantErr(err, nil)
	defer r.Close()
	k.wantErr(r.Add(0, vbucket.Position{}), nil)
	for i := range firstTable {
		k.set(fmt.Sprint("k", i), "v")
	}
	h.wants(t, fmt.Sprintf("table-grow bucket=b vb=0 peer= lost= slots=%d", 2*firstTable))
	vb := &k.vbs[0]
	vb.mu.Lock()
	c := vb.mu.cursors[0]
	vb.openRun(k.Bucket, c)
	vb.mu.Unlock()
	k.set("k1", "w")
	h.wants(t, "version-saved bucket=b vb=0")
	vb.mu.Lock()
	vb.closeRun(k.Bucket, c)
	vb.mu.Unlock()
	if !k.dropSlowest() {
		t.Fatal("no reader was dropped")
	}
	h.wants(t, "cursor-drop bucket=b vb=0 peer=slowpoke lost=false")
}
