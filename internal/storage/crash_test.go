package storage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// oracle knows what the store must hold after each step of a workload. Every step is one batch, so what a crash leaves is
// the state after some step: not before the last one that a sync covered, not after the one that was being done.
type oracle struct {
	mu struct {
		sync.Mutex
		states  []string // after each step; states[0] is the empty store
		durable int      // index of the last state that a sync has covered
	}
	writers map[string]*writer
	alive   context.Context // ends when the store fails
	end     context.CancelFunc

	patience time.Duration // with what waits for space
}

func newOracle() *oracle {
	o := &oracle{writers: map[string]*writer{}}
	o.patience = time.Minute
	o.alive, o.end = context.WithCancel(context.Background())
	o.mu.states = []string{""}
	return o
}

// expect notes what the store holds after the step that is about to be done.
func (o *oracle) expect() {
	names := make([]string, 0, len(o.writers))
	for name := range o.writers {
		names = append(names, name)
	}
	slices.Sort(names)
	var text strings.Builder
	for _, name := range names {
		w := o.writers[name]
		rows := make([]change.Mutation, 0, len(w.disk))
		for _, m := range w.disk {
			rows = append(rows, m)
		}
		slices.SortFunc(rows, func(a, b change.Mutation) int { return int(a.Seqno) - int(b.Seqno) })
		fmt.Fprintf(&text, "%s high=%d\n", name, w.state.High)
		for i := range rows {
			text.WriteString(rowText(&rows[i]))
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.states = append(o.mu.states, text.String())
}

// synced notes that everything up to now is durable.
func (o *oracle) synced() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mu.durable = len(o.mu.states) - 1
}

// bounds gives the indexes of the first and the last state that a crash now may leave.
func (o *oracle) bounds() (first, last int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.mu.durable, len(o.mu.states) - 1
}

// content reads a store as expect writes it, and lists what Verify complains of.
func content(db *DB) (string, error) {
	list, err := db.Buckets()
	if err != nil {
		return "", err
	}
	text := ""
	var errs []error
	for _, uuid := range list {
		b, err := db.Bucket(uuid)
		if err != nil {
			return "", err
		}
		for vb := range vbucket.ID(4) {
			f, err := b.Verify(vb)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return "", err
			}
			if len(f.Breaches) > 0 {
				errs = append(errs, fmt.Errorf("%s/%d: %q", uuid, vb, f.Breaches))
			}
			rows := ""
			scan, err := b.ScanSeq(vb, 0)
			if err != nil {
				return "", err
			}
			for scan.Next() {
				rows += rowText(scan.Mutation())
			}
			errs = append(errs, scan.Err(), scan.Close())
			text += fmt.Sprintf("%s/%d high=%d\n%s", uuid, vb, f.State.High, rows)
		}
	}
	return text, errors.Join(errs...)
}

// recovered opens what a crash left and compares it with the oracle. It may be called from any goroutine.
func (o *oracle) recovered(t *testing.T, fs disk.FS, first, last int, when string) {
	t.Helper()
	db, err := Open(Options{Dir: "data", FS: fs, CacheBytes: 1 << 20})
	if err != nil {
		t.Errorf("%s: the next start fails: %v", when, err)
		return
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Errorf("%s: close after recovery: %v", when, err)
		}
	}()
	got, err := content(db)
	if err != nil {
		t.Errorf("%s: after recovery: %v", when, err)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !slices.Contains(o.mu.states[first:last+1], got) {
		t.Errorf("%s: recovered\n%sthat is none of the states %d to %d, from\n%sto\n%s", when, got, first, last,
			o.mu.states[first], o.mu.states[last])
	}
}

// workload does so many steps on db, drawn with seed, until one fails. It returns that error.
func (o *oracle) workload(db *DB, seed uint64, steps int) error {
	r := rand.New(rand.NewPCG(seed, 1))
	for step := range steps {
		if err := o.step(db, r, step); err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	return nil
}

func (o *oracle) step(db *DB, r *rand.Rand, step int) error {
	b, err := db.Bucket([]string{"x", "y"}[r.IntN(2)])
	if err != nil {
		return err
	}
	vb := vbucket.ID(r.IntN(4))
	name := fmt.Sprintf("%s/%d", b.uuid, vb)
	w := o.writers[name]
	if w == nil {
		w = newWriter(b, vb)
		o.writers[name] = w
		o.expect()
		l := exampleLocal()
		return b.PutLocal(false, []LocalChange{{ID: vb, State: &w.state, Local: &l}})
	}
	w.b = b
	switch n := r.IntN(40); {
	case n < 8:
		if err := db.Sync(); err != nil {
			return err
		}
		o.synced()
	case n < 9:
		delete(o.writers, name)
		o.expect()
		return b.Drop(vb)
	case n < 10:
		*w = *newWriter(b, vb)
		o.expect()
		return b.Reset(&VB{ID: vb, Local: exampleLocal()})
	case n < 11:
		return o.flushBucket(b)
	case n < 12:
		for vb := range vbucket.ID(4) {
			delete(o.writers, fmt.Sprintf("%s/%d", b.uuid, vb))
		}
		o.expect()
		if err := db.DropBucket(b.uuid); err != nil {
			return err
		}
		o.synced()
	case n < 14:
		return o.briefly(db.flush)
	case n < 15:
		return o.briefly(func(ctx context.Context) error {
			_, err := db.Checkpoint(ctx, fmt.Sprintf("step-%d", step))
			return err
		})
	case n < 16:
		return o.briefly(func(ctx context.Context) error {
			return db.guarded(func() error { return db.pebble.Compact(ctx, []byte{0}, []byte{255}, false) })
		})
	default:
		return o.batch(w, r)
	}
	return nil
}

// briefly does something that waits for space on a full disk.
func (o *oracle) briefly(f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(o.alive, o.patience)
	defer cancel()
	return f(ctx)
}

// flushBucket empties all vBuckets of a bucket at once.
func (o *oracle) flushBucket(b *Bucket) error {
	var list []VB
	for vb := range vbucket.ID(4) {
		name := fmt.Sprintf("%s/%d", b.uuid, vb)
		if o.writers[name] != nil {
			o.writers[name] = newWriter(b, vb)
			list = append(list, VB{ID: vb, Local: exampleLocal()})
		}
	}
	o.expect()
	if err := b.Flush(1, list); err != nil {
		return err
	}
	o.synced()
	return nil
}

// batch changes up to eight of twelve keys of a vBucket.
func (o *oracle) batch(w *writer, r *rand.Rand) error {
	var list []change.Mutation
	for _, key := range r.Perm(12)[:1+r.IntN(8)] {
		m := w.set(fmt.Sprintf("key-%d", key), strings.Repeat("v", r.IntN(300)))
		if r.IntN(5) == 0 {
			m = w.del(fmt.Sprintf("key-%d", key))
		}
		list = append(list, m)
	}
	w.state.SnapStart = w.state.High
	for i := range list {
		w.number(&list[i])
	}
	w.state.SnapEnd = w.state.High
	o.expect()
	return w.b.Apply(w.vb, list, w.state)
}

// TestCrashEverywhere stops a workload before each operation that changes the disk, with nothing, half and all of the data
// that was not synced, and recovers.
func TestCrashEverywhere(t *testing.T) {
	memory := disk.NewMemory()
	fs := disk.NewHooked(memory)
	o := newOracle()
	db := open(t, fs)
	o.synced()
	var once sync.Mutex // one crash at a time; operations come from several goroutines
	n := uint64(0)
	fs.Judge(func(op disk.Op) disk.Verdict {
		if !op.Kind.Changes() {
			return disk.Verdict{}
		}
		once.Lock()
		defer once.Unlock()
		n++
		percent := []int{0, 50, 100}[n%3]
		first, _ := o.bounds()
		crashed := memory.Crash(percent, n)
		_, last := o.bounds()
		o.recovered(t, crashed, first, last, fmt.Sprintf("crash before operation %d (%v %s) with %d %%", n, op.Kind, op.Path, percent))
		return disk.Verdict{}
	})
	must(t, o.workload(db, 1, 200))
	fs.Judge(nil)
	if n < 300 {
		t.Errorf("the workload had %d operations; it tests too little", n)
	}
	t.Logf("%d crashes", n)
}

// TestFailEverywhere fails each operation of a workload in turn, once: the store fails for good or does without, and what
// was acknowledged is there after the next start.
func TestFailEverywhere(t *testing.T) {
	everywhere(t, nil, func(k uint64) func(disk.Op) disk.Verdict { return disk.FailOnce(k, errBroken) })
}

// TestTornEverywhere lets each write of a workload in turn arrive in part only, and fail.
func TestTornEverywhere(t *testing.T) {
	everywhere(t, []disk.Kind{disk.Write}, func(k uint64) func(disk.Op) disk.Verdict {
		fail := disk.FailOnce(k, errBroken, disk.Write)
		return func(op disk.Op) disk.Verdict {
			v := fail(op)
			v.Torn = op.Size / 2
			return v
		}
	})
}

// TestFullEverywhere fills the disk before each operation of a workload in turn, for as long as the store is open.
func TestFullEverywhere(t *testing.T) {
	kinds := []disk.Kind{disk.Write, disk.Create, disk.Mkdir, disk.Link, disk.Reuse, disk.Preallocate}
	everywhere(t, kinds, func(k uint64) func(disk.Op) disk.Verdict { return disk.FailFrom(k, disk.ErrNoSpace, kinds...) })
}

// everywhere runs a workload with the judge of k, for each operation k of the kinds (nil: of all). The workloads wait much
// for timers of the engine, so several run at once.
func everywhere(t *testing.T, kinds []disk.Kind, judge func(k uint64) func(disk.Op) disk.Verdict) {
	var next, failures atomic.Uint64
	var wait sync.WaitGroup
	ran := unlucky(t, 0, kinds, judge(1<<62), &failures)
	for range 24 {
		wait.Go(func() {
			for k := next.Add(1) - 1; k < ran; k = next.Add(1) - 1 {
				unlucky(t, k, kinds, judge(k), &failures)
			}
		})
	}
	wait.Wait()
	t.Logf("%d operations, the store failed at %d of them", ran, failures.Load())
	if failures.Load() < ran/20 {
		t.Errorf("the store failed %d times in %d workloads; the test fails too little", failures.Load(), ran)
	}
}

var errBroken = errors.New("broken")

// unlucky runs a short workload on a disk with the judge and recovers. It returns how many operations of the kinds there
// were.
func unlucky(t *testing.T, k uint64, kinds []disk.Kind, judge func(disk.Op) disk.Verdict, failures *atomic.Uint64) uint64 {
	memory := disk.NewMemory()
	fs := disk.NewHooked(memory)
	var n atomic.Uint64
	fs.Judge(func(op disk.Op) disk.Verdict {
		if kinds == nil || slices.Contains(kinds, op.Kind) {
			n.Add(1)
		}
		return judge(op)
	})
	o := newOracle()
	o.patience = 50 * time.Millisecond
	when := fmt.Sprintf("operation %d failed", k)
	db, err := Open(Options{Dir: "data", FS: fs, CacheBytes: 1 << 20, Events: Events{Fatal: func(error) { o.end() }}})
	if err == nil {
		err = o.workload(db, k%7, 50)
		if err != nil && db.Failed() != nil {
			failures.Add(1)
		}
		if err == nil && db.Failed() != nil {
			t.Errorf("%s: the store failed and told nobody: %v", when, db.Failed())
		}
		_ = db.Close() // may well fail, too
	}
	fs.Judge(nil)
	first, last := o.bounds()
	o.recovered(t, memory.Crash(0, k), first, last, when+", then a crash")
	o.recovered(t, memory.Crash(100, k), first, last, when)
	return n.Load()
}
