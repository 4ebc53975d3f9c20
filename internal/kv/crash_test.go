package kv

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// chronicle is what a workload has been told: every version of every document by branch of history, what was acknowledged as
// being on disk, and the highest CAS. One operation at a time may be under way.
type chronicle struct {
	mu struct {
		sync.Mutex
		branches map[place][]told
		shown    map[place]vbucket.Seqno // persisted seqno that was seen last
		pending  *told                   // was issued, has not been answered
		emptying bool                    // a flush has been issued, and not been answered
		maxCAS   vbucket.CAS
	}
}

// place is one branch of a vBucket's history.
type place struct {
	vb   vbucket.ID
	uuid vbucket.UUID
}

// told is one version of a document.
type told struct {
	vb      vbucket.ID
	seqno   vbucket.Seqno
	key     string
	value   string
	deleted bool
}

func newChronicle() *chronicle {
	c := &chronicle{}
	c.mu.branches, c.mu.shown = map[place][]told{}, map[place]vbucket.Seqno{}
	return c
}

func (c *chronicle) issue(v told) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.pending = &v
}

// answered notes what became of the operation. durable tells that it is known to be on disk.
func (c *chronicle) answered(w Written, err error, durable bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := *c.mu.pending
	if w.Seqno == 0 {
		c.mu.pending = nil
		return
	}
	v.seqno = w.Seqno
	at := place{v.vb, w.UUID}
	c.mu.branches[at] = append(c.mu.branches[at], v)
	c.mu.pending = nil
	c.mu.maxCAS = max(c.mu.maxCAS, w.CAS)
	if durable && err == nil {
		c.mu.shown[at] = max(c.mu.shown[at], w.Seqno)
	}
}

func (c *chronicle) show(vb vbucket.ID, s SeqnoInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := place{vb, s.UUID}
	c.mu.shown[at] = max(c.mu.shown[at], s.Persisted)
}

// copy gives the chronicle as it is now, for a check while the workload goes on.
func (c *chronicle) copy() *chronicle {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := newChronicle()
	for at, list := range c.mu.branches {
		n.mu.branches[at] = slices.Clip(list)
	}
	maps.Copy(n.mu.shown, c.mu.shown)
	n.mu.pending, n.mu.emptying, n.mu.maxCAS = c.mu.pending, c.mu.emptying, c.mu.maxCAS
	return n
}

const (
	crashVBuckets = 2
	crashKeys     = 9
)

// loadLimit is far beyond what loading a few keys takes on the busiest machine.
const loadLimit = 30 * time.Second

// loaded waits until every vBucket serves or is quarantined.
func (l *life) loaded() bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.After(loadLimit)
	for {
		r := l.Report()
		if r.Ready || r.Problem != "" {
			return true
		}
		select {
		case <-tick.C:
		case <-limit:
			return false
		}
	}
}

// crashed starts on what a crash left and holds it against the chronicle (kv.md 14). It may be called from any goroutine.
func (c *chronicle) crashed(t *testing.T, fs disk.FS, when string) {
	say := func(format string, args ...any) { t.Errorf("%s: %s", when, fmt.Sprintf(format, args...)) }
	l, err := tryLive(t, fs, func(o *Options) { o.Spec.NumVBuckets = crashVBuckets })
	if err != nil {
		say("the next start fails: %v", err)
		return
	}
	defer l.end()
	if !l.loaded() {
		say("it is still loading after %s", loadLimit)
		return
	}
	for vb := range vbucket.ID(crashVBuckets) {
		log, err := l.FailoverLog(vb)
		if err != nil {
			say("vb %d: %v", vb, err)
			continue
		}
		s, _ := l.Seqnos(vb)
		if _, err := l.store.Verify(vb); errors.Is(err, storage.ErrNotFound) {
			log = log[1:] // it was made now, there was nothing
		} else if err != nil {
			say("vb %d: verify: %v", vb, err)
			continue
		}
		c.branch(say, l, vb, log, s)
		c.goesOn(say, l, vb, s)
	}
	l.whole()
}

// branch checks that a vBucket holds what its last branch held at its end, and that no acknowledged write is missing.
func (c *chronicle) branch(say func(string, ...any), l *life, vb vbucket.ID, log vbucket.FailoverLog, s SeqnoInfo) {
	want := map[string]told{}
	if len(log) > 1 {
		at := place{vb, log[1].UUID}
		versions := c.mu.branches[at]
		last := vbucket.Seqno(0)
		for _, v := range versions {
			last = max(last, v.seqno)
			if v.seqno <= s.High {
				want[v.key] = v
			}
		}
		switch p := c.mu.pending; {
		case s.High <= last:
		case s.High == last+1 && p != nil && p.vb == vb:
			want[p.key] = *p
		default:
			say("vb %d: high seqno %d, the branch went to %d only", vb, s.High, last)
		}
		if s.High < c.mu.shown[at] {
			say("vb %d: ends at seqno %d, but %d was shown as being on disk", vb, s.High, c.mu.shown[at])
		}
	}
	known := map[vbucket.UUID]bool{}
	for _, e := range log {
		known[e.UUID] = true
	}
	for at, shown := range c.mu.shown {
		if at.vb == vb && shown > 0 && !known[at.uuid] && !c.mu.emptying && !c.emptied(at) {
			say("vb %d: seqno %d of history %x was shown as being on disk, and the log %v does not know it", vb, shown, at.uuid, log)
		}
	}
	for i := range crashKeys {
		name := fmt.Sprint("key-", i)
		_, v, err := l.Get(l.t.Context(), l.now(), l.Key(vb, docid.Default, []byte(name)), nil)
		w, has := want[name]
		switch {
		case err != nil && !errors.Is(err, ErrNotFound):
			say("vb %d, %s: %v", vb, name, err)
		case (err == nil) != (has && !w.deleted) || err == nil && string(v) != w.value:
			say("vb %d at seqno %d, %s: found %q, %v; want %+v", vb, s.High, name, v, err, w)
		}
	}
}

// emptied reports whether a later flush has ended a branch: then it may be unknown.
func (c *chronicle) emptied(at place) bool {
	for _, v := range c.mu.branches[at] {
		if v.key == "" {
			return true
		}
	}
	return false
}

// goesOn writes to the vBucket: seqno and CAS are new, and the history is, too.
func (c *chronicle) goesOn(say func(string, ...any), l *life, vb vbucket.ID, s SeqnoInfo) {
	w, err := l.Set(l.t.Context(), l.now(), l.Key(vb, docid.Default, []byte("after")), &Write{
		Value: []byte("x"),
		Level: spec.PersistToMajority,
	})
	if err != nil {
		say("vb %d: a write after the crash: %v", vb, err)
		return
	}
	if _, used := c.mu.branches[place{vb, w.UUID}]; used || w.Seqno != s.High+1 || w.CAS <= c.mu.maxCAS {
		say("vb %d: the next write is %+v, after seqno %d and CAS %d", vb, w, s.High, c.mu.maxCAS)
	}
}

// workload does so many operations, drawn with seed, until the bucket fails.
func (c *chronicle) workload(l *life, seed uint64, steps int) {
	r := rand.New(rand.NewPCG(seed, 2))
	for step := range steps {
		if l.db.Failed() != nil {
			return
		}
		c.step(l, r, step)
		for vb := range vbucket.ID(crashVBuckets) {
			if s, err := l.Seqnos(vb); err == nil {
				c.show(vb, s)
			}
		}
	}
}

func (c *chronicle) step(l *life, r *rand.Rand, step int) {
	vb := vbucket.ID(r.IntN(crashVBuckets))
	name := fmt.Sprint("key-", r.IntN(crashKeys))
	k := l.Key(vb, docid.Default, []byte(name))
	v := told{vb: vb, key: name, value: fmt.Sprintf("%d %s", step, strings.Repeat("v", r.IntN(400)))}
	w := &Write{Value: []byte(v.value), Timeout: 2 * time.Second}
	if r.IntN(2) == 0 {
		w.Level = spec.PersistToMajority
	}
	durable := w.Level > 0
	switch n := r.IntN(40); {
	case n < 1:
		c.flush(l, uint64(step)+1)
	case n < 3:
		l.ejectAll()
	case n < 4:
		for i := range l.vbs {
			l.vbs[i].forgetTombstones(l.Bucket)
		}
	case n < 6:
		_, _, _ = l.Get(l.t.Context(), l.now(), k, nil) // may meet a failing disk
	case n < 8:
		l.clock.Advance(time.Second)
	case n < 16:
		v.deleted, v.value, w.Value = true, "", nil
		c.issue(v)
		done, err := l.Delete(l.t.Context(), l.now(), k, w)
		c.answered(done, err, durable)
	default:
		c.issue(v)
		done, err := l.Set(l.t.Context(), l.now(), k, w)
		c.answered(done, err, durable)
	}
}

func (c *chronicle) flush(l *life, count uint64) {
	c.mu.Lock()
	c.mu.emptying = true
	c.mu.Unlock()
	if l.Flush(count) != nil {
		return // the disk has failed: whether it was emptied is open
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.emptying = false
	for at, list := range c.mu.branches {
		c.mu.branches[at] = append(slices.Clip(list), told{vb: at.vb})
	}
}

// TestCrashEverywhere stops a workload before each operation that changes the disk, with nothing, half and all of the data
// that was not synced, and starts again.
func TestCrashEverywhere(t *testing.T) {
	memory := disk.NewMemory()
	fs := disk.NewHooked(memory)
	c := newChronicle()
	l := live(t, fs, func(o *Options) { o.Spec.NumVBuckets = crashVBuckets })
	var once sync.Mutex // one crash at a time; operations come from several goroutines
	n, over := uint64(0), false
	fs.Judge(func(op disk.Op) disk.Verdict {
		if !op.Kind.Changes() {
			return disk.Verdict{}
		}
		once.Lock()
		defer once.Unlock()
		if over {
			return disk.Verdict{}
		}
		n++
		percent := []int{0, 50, 100}[n%3]
		before := c.copy()
		crashed := memory.Crash(percent, n)
		known := c.copy() // what may be there; what must be there, and what may not be given again, was told before
		known.mu.shown, known.mu.maxCAS = before.mu.shown, before.mu.maxCAS
		known.mu.emptying = known.mu.emptying || before.mu.emptying
		known.crashed(t, crashed, fmt.Sprintf("crash before operation %d (%v %s) with %d percent", n, op.Kind, op.Path, percent))
		return disk.Verdict{}
	})
	c.workload(l, 1, 400)
	once.Lock() // a crash may be looked at still, and the test must not end meanwhile
	over = true
	once.Unlock()
	if n < 100 {
		t.Errorf("the workload had %d operations on the disk; it tests too little", n)
	}
	t.Logf("%d crashes", n)
}

// TestFailEverywhere fails each operation that changes the disk in turn, once: the bucket does without or ends with an error,
// and what was acknowledged is there after the next start.
func TestFailEverywhere(t *testing.T) {
	failed := 0
	for k := uint64(0); ; k++ {
		memory := disk.NewMemory()
		fs := disk.NewHooked(memory)
		c := newChronicle()
		l := live(t, fs, func(o *Options) { o.Spec.NumVBuckets = crashVBuckets })
		hit := false
		fail := disk.FailOnce(k, errors.New("broken"), disk.Write, disk.Sync, disk.Create, disk.SyncDirectory, disk.Rename)
		fs.Judge(func(op disk.Op) disk.Verdict {
			v := fail(op)
			hit = hit || v.Err != nil
			return v
		})
		c.workload(l, k, 60)
		fs.Judge(nil)
		if l.db.Failed() != nil {
			failed++
			l.wait.Wait()
			if !errors.Is(l.result, storage.ErrFailed) {
				t.Errorf("operation %d failed: Run = %v, want ErrFailed", k, l.result)
			}
			l.ended = true
			_ = errors.Join(l.Close(), l.db.Close())
		}
		c.copy().crashed(t, memory.Crash(int(k%3)*50, k), fmt.Sprintf("operation %d failed", k))
		l.end()
		if !hit {
			break
		}
	}
	if failed < 30 {
		t.Errorf("the store failed %d times; the test fails too little", failed)
	}
	t.Logf("the store failed %d times", failed)
}

// TestCrashInsideSnapshot: a run that is too large for one batch is written in several. After a crash between two of them
// the vBucket goes on under a branch that begins where the run did, and holds for each key some version that it had.
func TestCrashInsideSnapshot(t *testing.T) {
	memory := disk.NewMemory()
	fs := disk.NewHooked(memory)
	l := live(t, fs, func(o *Options) { o.Spec.NumVBuckets = 1 })
	l.persist.most = 300 << 10
	body := func(version, i int) string { return strings.Repeat(fmt.Sprintf("%d/%d ", version, i), 100) }
	write := func(version int) {
		for i := range 1200 {
			l.set(fmt.Sprint("key-", i), body(version, i))
		}
	}
	write(1)
	l.saved()
	before, _ := l.Seqnos(0)
	hold := make(chan struct{}) // the log is not written until the run has gathered
	fs.Judge(func(op disk.Op) disk.Verdict {
		if op.Kind == disk.Write && strings.HasSuffix(op.Path, ".log") {
			<-hold
		}
		return disk.Verdict{}
	})
	write(2)
	crashes := 0
	var partial []disk.Memory
	var once sync.Mutex
	fs.Judge(func(op disk.Op) disk.Verdict {
		if op.Kind.Changes() {
			once.Lock()
			defer once.Unlock()
			crashes++
			partial = append(partial, memory.Crash(100, uint64(crashes)))
		}
		return disk.Verdict{}
	})
	close(hold)
	l.saved()
	fs.Judge(nil)
	l.end()

	inside := 0
	for n, crashed := range partial {
		l := live(t, crashed, func(o *Options) { o.Spec.NumVBuckets = 1 })
		s, _ := l.Seqnos(0)
		log, _ := l.FailoverLog(0)
		if len(log) != 2 || log[1].UUID != before.UUID || log[0].Seqno != before.High && log[0].Seqno != s.High {
			t.Errorf("crash %d: high %d with the log %v; the run began after %d", n, s.High, log, before.High)
		}
		if log[0].Seqno < s.High {
			inside++
		}
		for i := range 1200 {
			_, got, err := l.get(fmt.Sprint("key-", i))
			if err != nil || got != body(1, i) && got != body(2, i) {
				t.Fatalf("crash %d: key-%d holds %.20q, %v", n, i, got, err)
			}
		}
		l.whole()
		l.end()
	}
	if inside == 0 {
		t.Errorf("none of %d crashes came in the middle of the run", len(partial))
	}
}
