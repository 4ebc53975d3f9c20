package kv

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// life is one life of a persistent bucket on a disk: a store, a bucket on it, and its background work.
type life struct {
	*kit

	fs     disk.FS
	db     *storage.DB
	cancel context.CancelFunc
	wait   sync.WaitGroup
	result error // of Run
	ended  bool
}

const lifeUUID = "fedcba9876543210fedcba9876543210"

// live opens a persistent bucket of 4 vBuckets on fs, starts its work and waits until it has loaded its keys, unless the disk
// is held. It is stopped at the end of the test, if that was not done before.
func live(t testing.TB, fs disk.FS, change ...func(*Options)) *life {
	t.Helper()
	l, err := tryLive(t, fs, change...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func tryLive(t testing.TB, fs disk.FS, change ...func(*Options)) (*life, error) {
	t.Helper()
	db, err := storage.Open(storage.Options{Dir: "data", FS: fs, CacheBytes: 4 << 20})
	if err != nil {
		return nil, err
	}
	store, err := db.Bucket(lifeUUID)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	clock := hlc.NewManual(time.Unix(1_700_000_000, 0))
	o := Options{
		Spec:  spec.Bucket{Name: "p", UUID: lifeUUID, QuotaBytes: 64 << 20, NumVBuckets: 4},
		Clock: clock, Store: store, CASCeiling: db.CASCeiling(),
	}
	for _, f := range change {
		f(&o)
	}
	b, err := Open(o)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	h, slow := fs.(*held)
	if slow {
		h.hold()
	}
	l := &life{kit: &kit{Bucket: b, t: t, clock: o.Clock}, fs: fs, db: db}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for vb := range b.vbs {
		b.Assign(vbucket.ID(vb), vbucket.Active, 1)
	}
	l.wait.Go(func() { l.result = b.Run(ctx) })
	t.Cleanup(func() { l.end() })
	if !slow {
		l.until("all keys are loaded", func() bool { return b.Report().Ready })
	}
	return l, nil
}

// end ends the life in order: everything is written, and the bucket marked as closed.
func (l *life) end() {
	l.t.Helper()
	if l.ended {
		return
	}
	l.ended = true
	l.cancel()
	l.wait.Wait()
	if err := errors.Join(l.result, l.Close(), l.db.Close()); err != nil {
		l.t.Errorf("end: %v", err)
	}
}

// crash gives the disk as a power failure would leave it now, with percent of what was not synced, and ends this life.
func (l *life) crash(memory disk.Memory, percent int) disk.Memory {
	l.t.Helper()
	crashed := memory.Crash(percent, 1)
	l.end()
	return crashed
}

// durable writes a document and waits until it is on disk.
func (l *life) durable(name, body string) Written {
	l.t.Helper()
	w, err := l.Set(l.t.Context(), l.now(), l.key(name), &Write{Value: []byte(body), Level: spec.PersistToMajority})
	if err != nil {
		l.t.Fatalf("durable Set(%q): %v", name, err)
	}
	return w
}

// saved waits until everything that was written is on disk.
func (l *life) saved() {
	l.t.Helper()
	l.until("everything is on disk", func() bool {
		for i := range l.vbs {
			s, err := l.Seqnos(vbucket.ID(i))
			if err != nil {
				l.t.Error(err)
			}
			if s.Persisted < s.High {
				return false
			}
		}
		return true
	})
}

// until waits for something that happens in the background.
func (l *life) until(what string, f func() bool) {
	l.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-limit.C:
			l.t.Errorf("waited for too long: %s", what)
			return
		}
	}
}

// whole checks each vBucket on disk row by row. Nothing may be written meanwhile.
func (l *life) whole() {
	l.t.Helper()
	l.saved()
	for i := range l.vbs {
		f, err := l.store.Verify(vbucket.ID(i))
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			l.t.Errorf("verify vb %d: %v", i, err)
		}
		for _, breach := range f.Breaches {
			l.t.Errorf("vb %d: %s", i, breach)
		}
	}
}

// TestStopKeepsEverything writes, stops in order and finds all documents again, with the same history and CAS.
func TestStopKeepsEverything(t *testing.T) {
	memory := disk.NewMemory()
	l := live(t, memory)
	for i := range 100 {
		l.set(fmt.Sprint("k", i%40), fmt.Sprint("v", i))
	}
	if _, err := l.Delete(t.Context(), l.now(), l.key("k7"), &Write{}); err != nil {
		t.Fatal(err)
	}
	before, _ := l.Seqnos(0)
	meta := l.wants("k3", "v83")
	l.end()

	l = live(t, memory)
	for i := range 40 {
		if i == 7 {
			_, _, err := l.get("k7")
			l.wantErr(err, ErrNotFound)
			continue
		}
		want := fmt.Sprint("v", i+40)
		if i < 20 {
			want = fmt.Sprint("v", i+80)
		}
		l.wants(fmt.Sprint("k", i), want)
	}
	after, _ := l.Seqnos(0)
	if after.UUID != before.UUID || after.High != before.High || after.Persisted != before.High {
		t.Errorf("after a stop in order: %+v, before %+v", after, before)
	}
	if m := l.wants("k3", "v83"); m != meta {
		t.Errorf("metadata %+v, before the stop %+v", m, meta)
	}
	l.whole()
	l.wantBooks()
}

// TestCrashKeepsWhatWasDurable: after a crash the durable write is there, what was not synced is not, and the history has a
// new branch that begins at what survived.
func TestCrashKeepsWhatWasDurable(t *testing.T) {
	memory := disk.NewMemory()
	l := live(t, memory)
	l.set("a", "plain")
	w := l.durable("b", "durable")
	before, _ := l.Seqnos(0)
	crashed := memory.Crash(0, 1)
	late := l.set("c", "late")
	l.end()

	l = live(t, crashed)
	l.wants("a", "plain")
	l.wants("b", "durable")
	_, _, err := l.get("c")
	l.wantErr(err, ErrNotFound)
	after, _ := l.Seqnos(0)
	log, _ := l.FailoverLog(0)
	if after.High != w.Seqno || after.UUID == before.UUID || len(log) != 2 || log[0].Seqno != w.Seqno || log[1].UUID != before.UUID {
		t.Errorf("after the crash: %+v with the log %v, before %+v", after, log, before)
	}
	if again := l.set("c", "again"); again.CAS <= late.CAS || again.Seqno != late.Seqno {
		t.Errorf("the next write is %+v, the lost one was %+v: a CAS was given again", again, late)
	}
	l.whole()
}

// TestOverwritesLeaveOneRow: however often keys are written, deleted and written again, each has one row on disk.
func TestOverwritesLeaveOneRow(t *testing.T) {
	l := live(t, disk.NewMemory())
	for i := range 300 {
		name := fmt.Sprint("k", i%7)
		switch {
		case i%5 == 4:
			if _, err := l.Delete(t.Context(), l.now(), l.key(name), &Write{}); err != nil && !errors.Is(err, ErrNotFound) {
				t.Fatal(err)
			}
		case i%11 == 3:
			l.durable(name, strings.Repeat("x", i))
		default:
			l.set(name, strings.Repeat("x", i))
		}
		if i%50 == 49 {
			l.whole()
		}
	}
	l.whole()
}

// TestTombstonesLeaveMemory: a tombstone that is on disk leaves memory, is still found there, and is replaced there when its
// key is written again.
func TestTombstonesLeaveMemory(t *testing.T) {
	memory := disk.NewMemory()
	l := live(t, memory)
	l.set("a", "1")
	l.saved()
	gone, err := l.Delete(t.Context(), l.now(), l.key("a"), &Write{})
	l.wantErr(err, nil)
	l.saved()
	if n := l.vbs[0].forgetTombstones(l.Bucket); n != 1 {
		t.Errorf("%d tombstones left memory, want 1", n)
	}
	l.wantBooks()
	m, err := l.GetMeta(t.Context(), l.now(), l.key("a"))
	if err != nil || !m.Deleted || m.CAS != gone.CAS || m.Seqno != gone.Seqno {
		t.Errorf("GetMeta = %+v, %v; want the deletion %+v", m, err, gone)
	}
	_, err = l.GetMeta(t.Context(), l.now(), l.key("b"))
	l.wantErr(err, ErrNotFound)
	l.set("a", "2")
	l.whole()
	if m := l.wants("a", "2"); m.Rev <= 2 {
		t.Errorf("revision %d of the document made again, want one above its tombstone's", m.Rev)
	}

	// The same across a restart, after which no tombstone is in memory.
	_, err = l.Delete(t.Context(), l.now(), l.key("a"), &Write{})
	l.wantErr(err, nil)
	l.end()
	l = live(t, memory)
	if m, err := l.GetMeta(t.Context(), l.now(), l.key("a")); err != nil || !m.Deleted {
		t.Errorf("GetMeta after the restart = %+v, %v", m, err)
	}
	l.set("a", "3")
	l.whole()
}

// TestPurge: tombstones that are old enough leave the disk, all but the newest change, and the purge seqno says up to where.
func TestPurge(t *testing.T) {
	memory := disk.NewMemory()
	l := live(t, memory, func(o *Options) { o.Spec.PurgeAge = 100; o.PurgeInterval = 5 * time.Millisecond })
	for _, name := range []string{"a", "b", "c"} {
		l.set(name, "1")
	}
	for _, name := range []string{"a", "b"} {
		if _, err := l.Delete(t.Context(), l.now(), l.key(name), &Write{}); err != nil {
			t.Fatal(err)
		}
	}
	l.saved()
	l.clock.Advance(101 * time.Second)
	l.until("a tombstone is purged", func() bool { s, _ := l.Seqnos(0); return s.Purge == 4 })
	f, err := l.store.Verify(0)
	if err != nil || f.Tombstones != 1 || f.Local.Purge != 4 {
		t.Errorf("on disk: %+v, %v; want the newest tombstone only", f, err)
	}
	l.whole()
	l.end()
	l = live(t, memory)
	if s, _ := l.Seqnos(0); s.Purge != 4 || s.High != 5 {
		t.Errorf("after a restart: %+v", s)
	}
}

// TestFlushOnce: a flush empties memory and disk under a new history, once for its count, also after a crash.
func TestFlushOnce(t *testing.T) {
	memory := disk.NewMemory()
	l := live(t, memory)
	l.durable("a", "1")
	before, _ := l.Seqnos(0)
	l.wantErr(l.Flush(1), nil)
	_, _, err := l.get("a")
	l.wantErr(err, ErrNotFound)
	after, _ := l.Seqnos(0)
	if after.UUID == before.UUID || after.High != 0 || l.Report().FlushCount != 1 {
		t.Errorf("after the flush: %+v, count %d", after, l.Report().FlushCount)
	}
	l.wantErr(l.Flush(1), nil)
	l.durable("b", "2")
	l.wantErr(l.Flush(1), nil)
	l.wants("b", "2")
	l.whole()
	crashed := l.crash(memory, 0)
	l = live(t, crashed)
	l.wants("b", "2")
	l.wantErr(l.Flush(1), nil)
	l.wants("b", "2")
	if n := l.Report().FlushCount; n != 1 {
		t.Errorf("flush count %d after a crash, want 1", n)
	}
	l.whole()
}

// TestWaitsForTheDisk: a durable write is acknowledged only after the fsync, and is ambiguous when that takes too long.
func TestWaitsForTheDisk(t *testing.T) {
	fs := disk.NewHooked(disk.NewMemory())
	l := live(t, fs)
	l.durable("a", "1")
	hold := make(chan struct{})
	fs.Judge(func(op disk.Op) disk.Verdict {
		if op.Kind == disk.Sync && strings.HasSuffix(op.Path, ".log") {
			<-hold
		}
		return disk.Verdict{}
	})
	_, err := l.Set(t.Context(), l.now(), l.key("a"), &Write{
		Value: []byte("2"), Level: spec.MajorityAndPersistOnActive,
		Timeout: 20 * time.Millisecond,
	})
	l.wantErr(err, ErrDurabilityAmbiguous)
	l.wants("a", "2")
	if s, _ := l.Seqnos(0); s.Persisted != 1 {
		t.Errorf("persisted %d before the fsync has returned, want 1", s.Persisted)
	}
	close(hold)
	fs.Judge(nil)
	l.durable("a", "3")
}

// TestFailedSyncEndsRun: after a failed fsync nothing is acknowledged as durable any more, Run ends with an error, and the
// next start recovers.
func TestFailedSyncEndsRun(t *testing.T) {
	memory := disk.NewMemory()
	fs := disk.NewHooked(memory)
	l := live(t, fs)
	w := l.durable("a", "1")
	fs.Judge(disk.FailOnce(0, errors.New("broken"), disk.Sync))
	_, err := l.Set(t.Context(), l.now(), l.key("a"), &Write{Value: []byte("2"), Level: spec.PersistToMajority, Timeout: time.Second})
	if err == nil {
		t.Error("a write was acknowledged as durable although the fsync failed")
	}
	l.wait.Wait()
	if !errors.Is(l.result, storage.ErrFailed) {
		t.Errorf("Run = %v, want ErrFailed", l.result)
	}
	l.ended = true
	l.wantErr(errors.Join(l.Close(), l.db.Close()), nil)

	l = live(t, memory.Crash(0, 1))
	if m := l.wants("a", "1"); m.Seqno != w.Seqno {
		t.Errorf("recovered %+v", m)
	}
}

// TestLowDisk: with little free space new writes are refused for the time being, reads and deletions go on, and writes are
// taken again when there is space.
func TestLowDisk(t *testing.T) {
	fs := disk.NewHooked(disk.NewMemory())
	l := live(t, fs)
	l.durable("a", "1")
	l.durable("b", "1")
	fs.SetUsage(&disk.Usage{AvailBytes: 1 << 20, TotalBytes: 100 << 30})
	set := func() error {
		_, err := l.Set(t.Context(), l.now(), l.key("c"), &Write{Value: []byte("1")})
		return err
	}
	l.until("writes are refused", func() bool { return errors.Is(set(), ErrBusy) })
	l.wants("a", "1")
	_, err := l.Delete(t.Context(), l.now(), l.key("b"), &Write{Level: spec.PersistToMajority})
	l.wantErr(err, nil)
	fs.SetUsage(nil)
	l.until("writes are taken again", func() bool { return set() == nil })
}

// TestNothingIsLogged keeps the test's own logger honest: a stop in order says nothing alarming.
func TestNothingIsLogged(t *testing.T) {
	var text strings.Builder
	logger := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelWarn}))
	l := live(t, disk.NewMemory(), func(o *Options) { o.Logger = logger })
	l.durable("a", "1")
	l.end()
	if text.Len() > 0 {
		t.Errorf("logged %s", text.String())
	}
}

// TestFlusherSleeps: when a durable write has taken along a change that was waiting for its round, nothing is left to do, and
// the flusher must wait and not turn over and over.
func TestFlusherSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := live(t, disk.NewMemory())
		defer l.end()
		for range 3 {
			l.set("k", "v")
			l.until("the flusher has seen the change", func() bool { return l.persist.flusher.turns.Load() > 0 })
			time.Sleep(flushInterval / 4)
			l.durable("k", "w")
			time.Sleep(2 * flushInterval) // longer than a change may wait for its round
			before := l.persist.flusher.turns.Load()
			time.Sleep(5 * flushInterval)
			if n := l.persist.flusher.turns.Load() - before; n > 10 {
				t.Fatalf("%d turns within %s without a change", n, 5*flushInterval)
			}
		}
	})
}
