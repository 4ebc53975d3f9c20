package changetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// patience bounds how long a reader may have nothing to say while there is something.
const patience = 30 * time.Second

// Subject is a feed under test, with the means to write what it tells. Set and Delete may be called from several goroutines;
// they return the seqno of the change.
type Subject struct {
	Feed     change.Feed
	VBuckets int // that may be written, from 0; at least two
	Set      func(vb vbucket.ID, key, value string) vbucket.Seqno
	Delete   func(vb vbucket.ID, key string) vbucket.Seqno // of a document that exists
	// Fall makes every reader lose its place in memory, if it has one and is between two snapshots; a reader in the middle of
	// one may lose that. Nil: the feed knows no such thing.
	Fall func(vb vbucket.ID)
}

// Run checks a feed. make gives a new subject without documents for each check.
func Run(t *testing.T, open func(t *testing.T) *Subject) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, *rig){
		"Empty":            checkEmpty,
		"Order":            checkOrder,
		"TornSnapshot":     checkTornSnapshot,
		"DeletedInRun":     checkDeletedInRun,
		"LargeDocument":    checkLarge,
		"TwoReaders":       checkTwoReaders,
		"Concurrent":       checkConcurrent,
		"ConcurrentFalls":  checkConcurrentFalls,
		"FallAtEveryPoint": checkFallAtEveryPoint,
		"Resume":           checkResume,
		"Rollback":         checkRollback,
		"Remove":           checkRemove,
		"Close":            checkClose,
		"Cancel":           checkCancel,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			check(t, &rig{t: t, ctx: ctx, Subject: open(t), history: NewHistory()})
		})
	}
}

// rig is a subject with its history.
type rig struct {
	*Subject

	t       *testing.T
	ctx     context.Context //nolint:containedctx // of one check
	history *History
}

func (r *rig) set(vb vbucket.ID, key, value string) vbucket.Seqno {
	s := r.Set(vb, key, value)
	r.history.Note(vb, Version{Seqno: s, Key: key, Value: value})
	return s
}

func (r *rig) delete(vb vbucket.ID, key string) vbucket.Seqno {
	s := r.Delete(vb, key)
	r.history.Note(vb, Version{Seqno: s, Key: key, Deleted: true})
	return s
}

// follow opens a reader of small batches on the first vBuckets.
func (r *rig) follow(batchBytes, vbuckets int) *Follower {
	r.t.Helper()
	reader, err := r.Feed.Open(change.Options{Name: "changetest", MaxBatchBytes: batchBytes})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := reader.Close(); err != nil {
			r.t.Errorf("close: %v", err)
		}
	})
	f := NewFollower(reader, r.history)
	for vb := range vbuckets {
		if err := f.Add(vbucket.ID(vb)); err != nil {
			r.t.Fatalf("add vb %d: %v", vb, err)
		}
	}
	return f
}

func (r *rig) step(f *Follower) *change.Batch {
	r.t.Helper()
	b, err := f.Step(r.ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	return b
}

func (r *rig) until(f *Follower, vb vbucket.ID, high vbucket.Seqno) {
	r.t.Helper()
	if err := f.UntilHigh(r.ctx, vb, high); err != nil {
		r.t.Fatal(err)
	}
}

// checkEmpty: a reader of nothing waits, and hears of the first change.
func checkEmpty(t *testing.T, r *rig) {
	t.Helper()
	f := r.follow(0, 2)
	f.Late = r.late
	var wait sync.WaitGroup
	wait.Go(func() { r.set(1, "a", "1") })
	b := r.step(f)
	wait.Wait()
	if b.VB != 1 || len(b.Mutations) != 1 || string(b.Mutations[0].Key) != "a" || string(b.Mutations[0].Value) != "1" {
		t.Errorf("first batch %+v", b)
	}
}

// checkOrder: overwritten and deleted documents in one snapshot from the beginning, then small ones as they come.
func checkOrder(_ *testing.T, r *rig) {
	for i := range 300 {
		r.set(0, fmt.Sprint("k", i%97), fmt.Sprint("v", i))
	}
	high := r.delete(0, "k5")
	f := r.follow(200, 1)
	r.until(f, 0, high)
	for i := range 20 {
		high = r.set(0, fmt.Sprint("k", i%3), fmt.Sprint("w", i))
		if i%2 == 0 {
			r.until(f, 0, high)
		}
	}
	high = r.delete(0, "k1")
	r.until(f, 0, high)
}

// checkTornSnapshot: a document is overwritten behind the end of a snapshot that has not delivered it yet. Skipping it there
// would leave the reader with a state that never was.
func checkTornSnapshot(t *testing.T, r *rig) {
	t.Helper()
	f := r.follow(64, 1)
	for i := range 10 {
		r.set(0, fmt.Sprint("k", i), "the old one")
	}
	b := r.step(f)
	if b.Complete() {
		t.Fatalf("one batch of 64 bytes holds the whole snapshot: %+v", b.Snapshot)
	}
	first := b.Snapshot
	for i := range 10 {
		r.set(0, fmt.Sprint("k", i), "new, and much longer than before")
		r.set(0, fmt.Sprint("k", i), "newer")
	}
	high := r.history.High(0)
	r.until(f, 0, first.High) // the follower compares with the state at first.High
	r.until(f, 0, high)
}

// checkDeletedInRun: documents are deleted and made again while the snapshot that has them is read.
func checkDeletedInRun(t *testing.T, r *rig) {
	t.Helper()
	f := r.follow(64, 1)
	for i := range 10 {
		r.set(0, fmt.Sprint("k", i), "the old one")
	}
	if b := r.step(f); b.Complete() {
		t.Fatal("one batch of 64 bytes holds the whole snapshot")
	}
	for i := range 10 {
		r.delete(0, fmt.Sprint("k", i))
		if i%2 == 0 {
			r.set(0, fmt.Sprint("k", i), "again")
		}
	}
	r.until(f, 0, r.history.High(0))
}

// checkLarge: a document larger than a batch still comes.
func checkLarge(_ *testing.T, r *rig) {
	f := r.follow(100, 1)
	r.set(0, "small", "1")
	r.set(0, "large", string(make([]byte, 300_000)))
	r.until(f, 0, r.set(0, "small again", "2"))
}

// checkTwoReaders: they do not disturb each other, also if one is slower.
func checkTwoReaders(_ *testing.T, r *rig) {
	fast, slow := r.follow(64, 2), r.follow(64, 2)
	for i := range 50 {
		vb := vbucket.ID(i % 2)
		high := r.set(vb, fmt.Sprint("k", i%7), fmt.Sprint("v", i))
		r.until(fast, vb, high)
		if i%10 == 9 {
			r.step(slow)
		}
	}
	for vb := range vbucket.ID(2) {
		r.until(slow, vb, r.history.High(vb))
	}
}

// writers writes random changes from several goroutines, each to a vBucket of its own, so that the order of a vBucket's
// changes is that of its writer. It returns when all have ended.
func (r *rig) writers(n, changes int, after func(vb vbucket.ID, i int)) (wait func()) {
	var group sync.WaitGroup
	for vb := range vbucket.ID(n) {
		random := rand.New(rand.NewPCG(1, uint64(vb)))
		group.Go(func() {
			live := map[string]bool{}
			for i := range changes {
				key := fmt.Sprint("k", random.IntN(40))
				if live[key] && random.IntN(4) == 0 {
					r.delete(vb, key)
					live[key] = false
				} else {
					r.set(vb, key, fmt.Sprint(i, string(make([]byte, random.IntN(60)))))
					live[key] = true
				}
				if after != nil {
					after(vb, i)
				}
			}
		})
	}
	return group.Wait
}

// late waits until a write that the feed told of has been noted: it may be told of before its writer has heard.
func (r *rig) late(vb vbucket.ID, high vbucket.Seqno) {
	for r.history.High(vb) < high {
		time.Sleep(50 * time.Microsecond) //nolint:forbidigo // the writer is another goroutine that is about to note it
	}
}

// checkConcurrent reads while others write.
func checkConcurrent(t *testing.T, r *rig) {
	t.Helper()
	f := r.follow(300, 2)
	f.Late = r.late
	wait := r.writers(2, 3000, nil)
	var followed sync.WaitGroup
	followed.Go(func() {
		for vb := range vbucket.ID(2) {
			if err := f.UntilHigh(r.ctx, vb, 3000); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wait()
	followed.Wait()
}

// again steps until vb is complete at high, and takes up a stream again that was ended because the reader was too slow.
func (r *rig) again(f *Follower, vb vbucket.ID, high vbucket.Seqno) error {
	for f.Position(vb).Seqno < high {
		b, err := f.Step(r.ctx)
		if err != nil {
			return err
		}
		if b.End != nil {
			f.Restart(b.VB)
			if err := f.Add(b.VB); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkConcurrentFalls makes readers lose their place again and again while others write.
func checkConcurrentFalls(t *testing.T, r *rig) {
	t.Helper()
	if r.Fall == nil {
		t.Skip("readers of this feed do not lose their place")
	}
	f := r.follow(300, 2)
	f.Late = r.late
	wait := r.writers(2, 2000, func(vb vbucket.ID, i int) {
		if i%100 == 99 {
			r.Fall(vb)
		}
	})
	var followed sync.WaitGroup
	followed.Go(func() {
		for vb := range vbucket.ID(2) {
			if err := r.again(f, vb, 2000); err != nil {
				t.Error(err)
				return
			}
		}
	})
	wait()
	followed.Wait()
}

// checkFallAtEveryPoint makes a reader lose its place after each number of batches, and checks that it continues.
func checkFallAtEveryPoint(t *testing.T, r *rig) {
	t.Helper()
	if r.Fall == nil {
		t.Skip("readers of this feed do not lose their place")
	}
	for i := range 12 {
		r.set(0, fmt.Sprint("k", i), "first")
	}
	for steps := range 9 {
		f := r.follow(64, 1)
		for range steps {
			if f.Position(0).Seqno < r.history.High(0) {
				r.step(f)
			}
		}
		r.Fall(0)
		for i := range 8 {
			r.set(0, fmt.Sprint("k", i*steps%12), fmt.Sprint("after ", steps))
		}
		r.delete(0, fmt.Sprint("k", steps))
		r.set(0, fmt.Sprint("k", steps), "back")
		if err := r.again(f, 0, r.history.High(0)); err != nil {
			t.Fatalf("after %d batches: %v", steps, err)
		}
		if err := f.Reader.Close(); err != nil {
			t.Error(err)
		}
	}
}

// checkResume: a second reader continues where a first one ended.
func checkResume(t *testing.T, r *rig) {
	t.Helper()
	f := r.follow(64, 1)
	for i := range 10 {
		r.set(0, fmt.Sprint("k", i), "1")
	}
	r.until(f, 0, r.history.High(0))
	if err := f.Reader.Close(); err != nil {
		t.Error(err)
	}
	r.delete(0, "k3")
	r.set(0, "k4", "2")
	reader, err := r.Feed.Open(change.Options{Name: "second"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	})
	f.Reader = reader
	if err := f.Add(0); err != nil {
		t.Fatalf("resume at %+v: %v", f.Position(0), err)
	}
	r.until(f, 0, r.history.High(0))
}

// checkRollback: a position on a branch that the feed does not know, or beyond its end, is told to go back.
func checkRollback(t *testing.T, r *rig) {
	t.Helper()
	f := r.follow(0, 1)
	for range 5 {
		r.set(0, "k", "v")
	}
	r.until(f, 0, r.history.High(0))
	at := f.Position(0)
	var rollback *change.RollbackError
	if err := f.Reader.Add(0, vbucket.Position{UUID: at.UUID + 1, Seqno: 3}); !errors.As(err, &rollback) || rollback.To != 0 {
		t.Errorf("an unknown branch: %v, want a rollback to 0", err)
	}
	if err := f.Reader.Add(0, vbucket.Position{UUID: at.UUID, Seqno: at.Seqno + 7}); !errors.As(err, &rollback) ||
		rollback.To > at.Seqno {
		t.Errorf("beyond the end: %v, want a rollback to at most %d", err, at.Seqno)
	}
	if err := f.Reader.Add(0, at); err != nil {
		t.Errorf("at the end: %v", err)
	}
}

// checkRemove: a vBucket that was removed is silent, another is not.
func checkRemove(t *testing.T, r *rig) {
	t.Helper()
	f := r.follow(64, 2)
	for i := range 10 {
		r.set(0, fmt.Sprint("k", i), "v")
	}
	r.step(f) // in the middle of a snapshot
	f.Reader.Remove(0)
	f.Reader.Remove(0)
	f.Reader.Ack(0, 1)
	r.set(0, "k", "v")
	r.set(1, "other", "v")
	if b := r.step(f); b.VB != 1 {
		t.Errorf("a batch of vb %d after it was removed", b.VB)
	}
}

// checkClose: Close ends a Next that waits, and Next fails from then on.
func checkClose(t *testing.T, r *rig) {
	t.Helper()
	f := r.follow(0, 1)
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := f.Step(r.ctx); err == nil || r.ctx.Err() != nil {
			t.Errorf("Next of a closed reader: %v", err)
		}
	})
	if err := f.Reader.Close(); err != nil {
		t.Error(err)
	}
	group.Wait()
	if err := f.Reader.Add(0, vbucket.Position{}); err == nil {
		t.Error("a closed reader follows a vBucket")
	}
}

// checkCancel: the end of the context ends Next, and the reader goes on afterwards.
func checkCancel(t *testing.T, r *rig) {
	t.Helper()
	f := r.follow(0, 1)
	ctx, cancel := context.WithCancelCause(r.ctx)
	why := errors.New("enough")
	cancel(why)
	if _, err := f.Step(ctx); !errors.Is(err, why) {
		t.Errorf("Next under an ended context: %v, want its cause", err)
	}
	r.until(f, 0, r.set(0, "k", "v"))
}
