package storage

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/fault"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// TestReopen writes, closes, opens again and finds the same rows, counters and local rows.
func TestReopen(t *testing.T) {
	fs := disk.NewMemory()
	db := open(t, fs)
	w := newWriter(bucketOf(t, db, "b1"), 3)
	w.begin(t)
	must(t, w.apply(w.set("a", "1"), w.set("b", "2"), w.set("c", "3")))
	must(t, w.apply(w.set("b", "22"), w.del("c")))
	must(t, db.Sync())
	before := dump(t, w.b, 3, 0)
	must(t, db.Close())

	db = open(t, fs)
	b := bucketOf(t, db, "b1")
	if got := dump(t, b, 3, 0); got != before || got != "1 set a=\"1\" rev=1 prev=0\n4 set b=\"22\" rev=2 prev=2\n5 del c=\"\" rev=2 prev=3\n" {
		t.Errorf("rows after reopening:\n%swant:\n%s", got, before)
	}
	f := verified(t, b, 3)
	if f.State != w.state || f.Local.Failover.Current() != 77 || f.Documents != 2 || f.Tombstones != 1 {
		t.Errorf("after reopening: %+v, want the state %+v", f, w.state)
	}
	if db.Boot() != 2 {
		t.Errorf("boot %d, want 2", db.Boot())
	}
}

// TestGet reads single rows and says what is not there.
func TestGet(t *testing.T) {
	db := open(t, disk.NewMemory())
	w := newWriter(bucketOf(t, db, "b1"), 0)
	w.begin(t)
	must(t, w.apply(w.set("a", "1")))
	must(t, w.apply(w.set("a", "2")))
	m, buf, err := w.b.Get(0, 2, []byte("kept"))
	if err != nil || string(m.Value) != "2" || string(m.Key) != "a" || string(buf[:4]) != "kept" {
		t.Errorf("Get(2) = %+v, %q, %v", m, buf, err)
	}
	if _, _, err := w.b.Get(0, 1, nil); !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of a replaced row = %v, want ErrNotFound", err)
	}
	r, err := w.b.GetMeta(0, 0, []byte("a"))
	if err != nil || r.Seqno != 2 || r.ValueLen != 1 || r.CAS != 1002 {
		t.Errorf("GetMeta = %+v, %v", r, err)
	}
	if _, err := w.b.GetMeta(0, 8, []byte("a")); !errors.Is(err, ErrNotFound) {
		t.Errorf("GetMeta in another collection = %v, want ErrNotFound", err)
	}
	if _, _, err := w.b.Local(1); !errors.Is(err, ErrNotFound) {
		t.Errorf("Local of a vBucket that does not exist = %v, want ErrNotFound", err)
	}
}

// TestScanIsASnapshot: a scan sees the vBucket as it was, its State included, while batches go on.
func TestScanIsASnapshot(t *testing.T) {
	db := open(t, disk.NewMemory())
	w := newWriter(bucketOf(t, db, "b1"), 7)
	w.begin(t)
	must(t, w.apply(w.set("a", "1"), w.set("b", "1"), w.set("c", "1")))
	up, err := w.b.ScanSeq(7, 1)
	must(t, err)
	down, err := w.b.ScanSeqDown(7)
	must(t, err)
	must(t, w.apply(w.set("a", "2"), w.del("b")))
	read := func(s *SeqScan) (got []vbucket.Seqno) {
		defer s.Close()
		for s.Next() {
			got = append(got, s.Mutation().Seqno)
		}
		must(t, s.Err())
		return got
	}
	if got := read(up); !slices.Equal(got, []vbucket.Seqno{2, 3}) || up.State().High != 3 {
		t.Errorf("scan after 1 saw %v up to %d, want 2, 3 up to 3", got, up.State().High)
	}
	if got := read(down); !slices.Equal(got, []vbucket.Seqno{3, 2, 1}) {
		t.Errorf("scan down saw %v, want 3, 2, 1", got)
	}
	if _, err := w.b.ScanSeq(8, 0); !errors.Is(err, ErrNotFound) {
		t.Errorf("scan of a vBucket that does not exist = %v", err)
	}
}

// TestNeighbours: dropping, resetting and flushing touch what they should and nothing beside it.
func TestNeighbours(t *testing.T) {
	db := open(t, disk.NewMemory())
	one, two := bucketOf(t, db, "one"), bucketOf(t, db, "two")
	for _, b := range []*Bucket{one, two} {
		for _, vb := range []vbucket.ID{0, 1, 1023} {
			w := newWriter(b, vb)
			w.begin(t)
			must(t, w.apply(w.set("k", b.uuid)))
		}
	}
	exists := func() string {
		text := ""
		for _, b := range []*Bucket{one, two} {
			for _, vb := range []vbucket.ID{0, 1, 1023} {
				if _, err := b.Verify(vb); err == nil {
					text += fmt.Sprintf("%s/%d:%d ", b.uuid, vb, len(dump(t, b, vb, 0)))
				}
			}
		}
		return text
	}
	const row = 27
	want := func(step, want string) {
		t.Helper()
		if got := exists(); got != want {
			t.Errorf("after %s: %q, want %q", step, got, want)
		}
	}
	want("writing", fmt.Sprintf("one/0:%[1]d one/1:%[1]d one/1023:%[1]d two/0:%[1]d two/1:%[1]d two/1023:%[1]d ", row))
	must(t, one.Drop(1))
	want("dropping one/1", fmt.Sprintf("one/0:%[1]d one/1023:%[1]d two/0:%[1]d two/1:%[1]d two/1023:%[1]d ", row))
	fresh := VB{ID: 0, Local: Local{State: vbucket.Active, Failover: vbucket.FailoverLog{{UUID: 5}}}}
	must(t, two.Reset(&fresh))
	want("resetting two/0", fmt.Sprintf("one/0:%[1]d one/1023:%[1]d two/0:0 two/1:%[1]d two/1023:%[1]d ", row))
	fresh.ID = 1023
	must(t, one.Flush(9, []VB{fresh}))
	want("flushing one", fmt.Sprintf("one/1023:0 two/0:0 two/1:%[1]d two/1023:%[1]d ", row))
	if n, err := one.Flushed(); n != 9 || err != nil {
		t.Errorf("flushed %d, %v; want 9", n, err)
	}
	if clean, err := one.TakeClean(); !clean || err != nil {
		t.Errorf("flush took the clean mark: %v, %v", clean, err)
	}
	must(t, db.DropBucket("one"))
	want("dropping the bucket one", fmt.Sprintf("two/0:0 two/1:%[1]d two/1023:%[1]d ", row))
}

// TestBids: a bucket of the same name gets another number than the one that was dropped, over restarts too.
func TestBids(t *testing.T) {
	fs := disk.NewMemory()
	db := open(t, fs)
	first := bucketOf(t, db, "x").bid
	must(t, db.DropBucket("x"))
	must(t, db.DropBucket("never there"))
	must(t, db.Close())
	db = open(t, fs)
	if list, err := db.Buckets(); len(list) != 0 || err != nil {
		t.Errorf("buckets %v, %v", list, err)
	}
	if again := bucketOf(t, db, "x").bid; again <= first {
		t.Errorf("bid %d after %d was dropped", again, first)
	}
	bucketOf(t, db, "y")
	must(t, db.Close())
	db = open(t, fs)
	if list, err := db.Buckets(); !slices.Equal(list, []string{"x", "y"}) || err != nil {
		t.Errorf("buckets %v, %v; want x, y", list, err)
	}
}

// TestClean: the mark is there for a new bucket and after MarkClean, and gone once it was taken, also after a crash.
func TestClean(t *testing.T) {
	fs := disk.NewMemory()
	take := func(fs disk.FS, want bool) (*DB, *Bucket) {
		t.Helper()
		db := open(t, fs)
		b := bucketOf(t, db, "b")
		if got, err := b.TakeClean(); got != want || err != nil {
			t.Errorf("TakeClean = %v, %v; want %v", got, err, want)
		}
		return db, b
	}
	take(fs, true)
	crashed := fs.Crash(0, 1)
	db, b := take(crashed, false)
	must(t, b.MarkClean())
	must(t, db.Close())
	take(crashed, true)
}

// TestCASCeiling: the stored ceiling is ahead of every CAS that was allowed, never goes back, and each start has one of its
// own above that of the start before.
func TestCASCeiling(t *testing.T) {
	fs := disk.NewMemory()
	db := open(t, fs)
	wall := vbucket.CAS(1_700_000_000_000_000_000)
	keep := func(db *DB, cas vbucket.CAS) vbucket.CAS {
		t.Helper()
		got, err := db.KeepCASCeiling(cas)
		must(t, err)
		if got < cas+vbucket.CAS(5*time.Second) {
			t.Errorf("ceiling %d is too near to %d", got, cas)
		}
		return got
	}
	first := keep(db, wall)
	batches := db.applyTime.Snapshot().Count
	if again := keep(db, wall+vbucket.CAS(time.Second)); again != first || db.applyTime.Snapshot().Count != batches {
		t.Errorf("a second later the ceiling was written again, as %d after %d", again, first)
	}
	if later := keep(db, wall+vbucket.CAS(6*time.Second)); later <= first {
		t.Errorf("six seconds later: %d, want more than %d", later, first)
	}
	last := keep(db, wall-vbucket.CAS(time.Hour))
	if last <= first {
		t.Errorf("with the clock set back: %d, it went back", last)
	}
	crashed := fs.Crash(0, 1)
	db = open(t, crashed)
	if got := db.CASCeiling(); got != last {
		t.Errorf("ceiling %d after a crash, want %d", got, last)
	}
	if own := keep(db, wall-vbucket.CAS(time.Hour)); own <= last {
		t.Errorf("the next start has the ceiling %d, want more than %d", own, last)
	}
	db = open(t, crashed.Crash(0, 1))
	if got := db.CASCeiling(); got <= last {
		t.Errorf("ceiling %d after a second crash, want more than %d", got, last)
	}
}

// TestFailedSync: an fsync that fails is reported once, ends all writing, and nothing is written after it.
func TestFailedSync(t *testing.T) {
	memory := disk.NewMemory()
	fs := disk.NewHooked(memory)
	var fatal []error
	db, err := Open(Options{Dir: "data", FS: fs, Events: Events{Fatal: func(err error) { fatal = append(fatal, err) }}})
	must(t, err)
	w := newWriter(bucketOf(t, db, "b"), 0)
	w.begin(t)
	must(t, w.apply(w.set("a", "1")))
	must(t, db.Sync())
	must(t, w.apply(w.set("b", "1")))
	broken := errors.New("disk is gone")
	fs.Judge(disk.FailOnce(0, broken, disk.Sync))
	if err := db.Sync(); !errors.Is(err, ErrFailed) {
		t.Errorf("Sync = %v, want ErrFailed", err)
	}
	if err := w.apply(w.set("c", "1")); !errors.Is(err, ErrFailed) {
		t.Errorf("Apply after the failure = %v, want ErrFailed", err)
	}
	if err := db.Sync(); !errors.Is(err, ErrFailed) {
		t.Errorf("a second Sync = %v, want ErrFailed", err)
	}
	if len(fatal) != 1 || !errors.Is(fatal[0], ErrFailed) {
		t.Errorf("reported %v, want one failure", fatal)
	}
	if _, _, err := w.b.Get(0, 1, nil); err != nil {
		t.Errorf("reading after the failure: %v", err)
	}
	must(t, db.Close())
	db = open(t, memory.Crash(0, 1))
	f := verified(t, bucketOf(t, db, "b"), 0)
	if f.State.High != 1 {
		t.Errorf("recovered up to %d, want 1", f.State.High)
	}
}

// TestBreakPoints: the points of this package make the store fail.
func TestBreakPoints(t *testing.T) {
	for _, name := range []string{"storage.apply", "storage.sync"} {
		var faults fault.Set
		db, err := Open(Options{Dir: "data", FS: disk.NewMemory(), Faults: &faults})
		must(t, err)
		w := newWriter(bucketOf(t, db, "b"), 0)
		w.begin(t)
		must(t, faults.Arm(name, fault.Action{}))
		err = errors.Join(w.apply(w.set("a", "1")), db.Sync())
		if !errors.Is(err, ErrFailed) || !errors.Is(err, fault.ErrInjected) {
			t.Errorf("%s: %v, want ErrFailed with its cause", name, err)
		}
		must(t, db.Close())
	}
}

// TestSpace: the low mark is seen, told once in each direction, and left with some margin.
func TestSpace(t *testing.T) {
	fs := disk.NewHooked(disk.NewMemory())
	var told []bool
	db, err := Open(Options{Dir: "data", FS: fs, Events: Events{Space: func(s Space) { told = append(told, s.Low) }}})
	must(t, err)
	defer db.Close()
	look := func(free uint64) bool {
		t.Helper()
		fs.SetUsage(&disk.Usage{AvailBytes: free, TotalBytes: 1000 << 30})
		db.space.mu.looked = time.Time{}
		s, err := db.CheckSpace()
		must(t, err)
		if s.Low != db.Low() || s.ReserveBytes != 1<<30 {
			t.Errorf("space %+v, Low %v", s, db.Low())
		}
		return s.Low
	}
	got := []bool{look(2 << 30), look(1<<30 - 1), look(1<<30 + 1), look(1 << 30 / 2), look(1<<30 + 1<<28)}
	if want := []bool{false, true, true, true, false}; !slices.Equal(got, want) {
		t.Errorf("low: %v, want %v", got, want)
	}
	if want := []bool{true, false}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// TestNewerFormat: a directory that a newer program wrote is refused by name.
func TestNewerFormat(t *testing.T) {
	fs := disk.NewMemory()
	db := open(t, fs)
	batch := db.pebble.NewBatch()
	must(t, batch.Set(nodeKey(rowFormat), number(FormatVersion+1), nil))
	must(t, db.write(batch, true))
	must(t, db.Close())
	if _, err := Open(Options{Dir: "data", FS: fs}); !errors.Is(err, ErrNewerFormat) {
		t.Errorf("Open = %v, want ErrNewerFormat", err)
	}
}

// TestClosed: a closed store says so.
func TestClosed(t *testing.T) {
	db := open(t, disk.NewMemory())
	w := newWriter(bucketOf(t, db, "b"), 0)
	w.begin(t)
	must(t, db.Close())
	must(t, db.Close())
	_, scan := w.b.ScanSeq(0, 0)
	_, _, get := w.b.Get(0, 1, nil)
	for op, err := range map[string]error{"Apply": w.apply(w.set("a", "1")), "Sync": db.Sync(), "ScanSeq": scan, "Get": get} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s = %v, want ErrClosed", op, err)
		}
	}
}
