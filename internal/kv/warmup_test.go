package kv

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/change/changetest"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/disk/disktest"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// TestFeedOfPersistentBucket holds the feed to the rules that every feed keeps, with backfills from disk in place of walks
// over the table.
func TestFeedOfPersistentBucket(t *testing.T) {
	changetest.Run(t, func(t *testing.T) *changetest.Subject {
		t.Helper()
		return live(t, disk.NewMemory()).subject()
	})
}

// held is a disk whose table files cannot be read from the moment when a bucket on it has been opened, until release.
type held struct {
	*disk.Hooked

	gate chan struct{}
	once sync.Once
}

func newHeld(fs disk.FS) *held { return &held{Hooked: disk.NewHooked(fs), gate: make(chan struct{})} }

func (h *held) hold() {
	h.Judge(func(op disk.Op) disk.Verdict {
		if op.Kind == disk.Read && strings.HasSuffix(op.Path, ".sst") {
			<-h.gate
		}
		return disk.Verdict{}
	})
}

func (h *held) release() { h.once.Do(func() { close(h.gate) }) }

const (
	filledVBuckets = 16
	filledKeys     = 16_000
)

func sixteen(o *Options) { o.Spec.NumVBuckets = filledVBuckets }

// filledKey names document i.
func (l *life) filledKey(i int) Key {
	return l.Key(vbucket.ID(i%filledVBuckets), docid.Default, fmt.Append(nil, "key-", i))
}

// filled gives a disk with many documents, in table files.
func filled(t *testing.T) disk.Memory {
	t.Helper()
	memory := disk.NewMemory()
	l := live(t, memory, sixteen)
	for i := range filledKeys {
		if _, err := l.Set(t.Context(), l.now(), l.filledKey(i), &Write{Value: bytes.Repeat([]byte{byte(i)}, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	l.saved()
	if _, err := l.db.Checkpoint(t.Context(), "x"); err != nil { // which flushes
		t.Fatal(err)
	}
	if err := l.db.RemoveCheckpoint("x"); err != nil {
		t.Fatal(err)
	}
	l.end()
	return memory
}

// TestServesWhileLoading: while the disk is slow a request is told to try again after a short wait, never that there is no
// document; when the keys are in, every answer is right.
func TestServesWhileLoading(t *testing.T) {
	fs := newHeld(filled(t))
	l := live(t, fs, sixteen)
	t.Cleanup(fs.release)
	get := func(i int) error {
		_, _, err := l.Get(t.Context(), l.now(), l.filledKey(i), nil)
		return err
	}
	begin := time.Now()
	if err := get(77); !errors.Is(err, ErrWarming) || time.Since(begin) < maxWarmingWait {
		t.Errorf("while loading: %v after %v, want ErrWarming after %v", err, time.Since(begin), maxWarmingWait)
	}
	if r := l.Report(); r.Ready || r.Warmed != 0 {
		t.Errorf("while loading: %+v", r)
	}
	fs.release()
	for i := range filledKeys {
		for {
			err := get(i)
			if err == nil {
				break
			}
			if !errors.Is(err, ErrWarming) {
				t.Fatalf("Get of key-%d: %v", i, err)
			}
		}
	}
	l.until("all keys are loaded", func() bool { return l.Report().Ready })
	l.wantBooks()
}

// TestAskedForFirst: a vBucket that somebody has asked for is loaded before the others.
func TestAskedForFirst(t *testing.T) {
	b := &Bucket{vbs: make([]vBucket, 16)}
	for i := range b.vbs {
		b.vbs[i].id = vbucket.ID(i)
		b.vbs[i].mu.state = vbucket.Active
	}
	b.vbs[0].mu.state = vbucket.Replica
	b.vbs[1].mu.ready = true
	var l loader
	var got []vbucket.ID
	l.ask(9)
	l.ask(1)
	for i := range 16 {
		if i == 2 {
			l.ask(12)
			l.ask(9) // loaded already
		}
		if vb, ok := l.take(b); ok {
			got = append(got, vb.id)
		}
	}
	want := []vbucket.ID{9, 2, 12, 3, 4, 5, 6, 7, 8, 10, 11, 13, 14, 15, 0}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("loaded in the order %v, want %v", got, want)
	}
}

// TestStopWhileLoading: a stop in the middle of loading is in order, and nothing is lost.
func TestStopWhileLoading(t *testing.T) {
	memory := filled(t)
	fs := newHeld(memory)
	l := live(t, fs, sixteen)
	before, _ := l.Seqnos(5)
	l.cancel()
	fs.release()
	l.end()
	l = live(t, memory, sixteen)
	l.until("all keys are loaded", func() bool { return l.Report().Ready })
	after, _ := l.Seqnos(5)
	if s := l.Stats(); s.Items != filledKeys || before.UUID != after.UUID {
		t.Errorf("%d documents, history %x before and %x after", s.Items, before.UUID, after.UUID)
	}
}

// TestFlippedByte damages one byte of a table file: the vBuckets that it concerns are quarantined and reported, and answer
// with the damage; all others serve what they hold, and still do after another restart.
func TestFlippedByte(t *testing.T) {
	memory := filled(t)
	names, err := memory.List("data")
	if err != nil {
		t.Fatal(err)
	}
	flipped := 0
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		path := memory.PathJoin("data", name)
		if size := len(disktest.Read(t, memory, path)); size > 200_000 {
			disktest.Flip(t, memory, path, int64(size/2))
			flipped++
		}
	}
	if flipped != 1 {
		t.Fatalf("%d table files hold the documents, want one", flipped)
	}
	var told sync.Map
	l := live(t, memory, func(o *Options) {
		sixteen(o)
		o.Events.Quarantined = func(vb vbucket.ID, damage error) { told.Store(vb, damage) }
	})
	good, bad := map[vbucket.ID]int{}, map[vbucket.ID]int{}
	var damage *storage.CorruptionError
	for i := range filledKeys {
		vb := l.filledKey(i).VB
		_, v, err := l.Get(t.Context(), l.now(), l.filledKey(i), nil)
		switch {
		case errors.Is(err, ErrWarming):
			t.Fatalf("vb %d is still loading", vb)
		case errors.As(err, &damage):
			bad[vb]++
		case err != nil || len(v) != 100 || v[0] != byte(i):
			t.Fatalf("Get of key-%d = %x, %v", i, v, err)
		default:
			good[vb]++
		}
	}
	if len(bad) == 0 || len(bad) > 2 || len(good) < filledVBuckets-2 {
		t.Errorf("%d vBuckets are damaged, %d are served; want few and the rest", len(bad), len(good))
	}
	for vb := range bad {
		if _, ok := told.Load(vb); !ok {
			t.Errorf("nobody was told of vb %d", vb)
		}
		if c := l.Report().Copies[vb]; c.Ready || c.State != vbucket.Dead {
			t.Errorf("vb %d is reported as %+v", vb, c)
		}
	}
	if r := l.Report(); r.Problem == "" || !r.Ready {
		t.Errorf("report: problem %q, ready %v", r.Problem, r.Ready)
	}
	l.end()
	l = live(t, memory, sixteen)
	for vb := range good {
		if bad[vb] == 0 {
			if s, _ := l.Seqnos(vb); s.State != vbucket.Active {
				t.Errorf("vb %d is %s after another restart", vb, s.State)
			}
		}
	}
}

// TestDamagedCount: documents that vanished from a vBucket on disk are noticed when it is loaded.
func TestDamagedCount(t *testing.T) {
	memory := disk.NewMemory()
	l := live(t, memory)
	l.durable("a", "1")
	l.durable("b", "1")
	s, local, err := l.store.Local(0)
	l.wantErr(err, nil)
	s.Items = 3
	l.wantErr(l.store.PutLocal(true, []storage.LocalChange{{ID: 0, State: &s, Local: &local}}), nil)
	l.end()
	l = live(t, memory)
	_, _, err = l.get("a")
	var damage *storage.CorruptionError
	if !errors.As(err, &damage) || damage.VB != 0 {
		t.Errorf("Get = %v, want the damage of vb 0", err)
	}
	if _, err := l.Set(t.Context(), l.now(), l.Key(1, docid.Default, []byte("a")), &Write{}); err != nil {
		t.Errorf("another vBucket: %v", err)
	}
}
