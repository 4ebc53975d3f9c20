package kv

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// The benchmarks of this file compare a bucket with Pebble alone, which is given the same rows on the same disk in the same
// run, turn by turn. They report the ratio of the speeds, which is what counts: absolute figures depend on the machine.

// document makes a JSON document of about 1 KiB, different for each i.
func document(dst []byte, i int) []byte {
	r := rand.New(rand.NewPCG(uint64(i), 7))
	dst = fmt.Appendf(dst[:0], `{"id":%d,"name":"document %d","tags":["red","green","blue"],"body":"`, i, i)
	for len(dst) < 1020 {
		dst = fmt.Appendf(dst, "%08x ", r.Uint32())
	}
	return append(dst, `"}`...)
}

// documents makes some of them, so that making them does not take part in what is measured.
func documents(n int) [][]byte {
	list := make([][]byte, n)
	for i := range list {
		list[i] = document(nil, i)
	}
	return list
}

// rawTwin is Pebble alone with the options of package storage, and rows of the same sizes under keys of the same form.
type rawTwin struct {
	db     *pebble.DB
	seqnos [vbucket.MaxCount]atomic.Uint64
}

func newRawTwin(b *testing.B) *rawTwin {
	b.Helper()
	o := &pebble.Options{
		FormatMajorVersion: pebble.FormatWALSyncChunks, MemTableSize: 64 << 20, MemTableStopWritesThreshold: 4,
		L0CompactionThreshold: 4, L0StopWritesThreshold: 24, LBaseMaxBytes: 256 << 20, WALBytesPerSync: 512 << 10,
		BytesPerSync: 512 << 10, CacheSize: 128 << 20, Logger: silent{},
	}
	o.Levels[0].BlockSize = 16 << 10
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
	db, err := pebble.Open(b.TempDir(), o)
	if err != nil {
		b.Fatal(err)
	}
	return &rawTwin{db: db}
}

type silent struct{}

func (silent) Infof(string, ...any)              {}
func (silent) Errorf(string, ...any)             {}
func (silent) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// add puts the two rows of a document into a batch.
func (r *rawTwin) add(batch *pebble.Batch, vb vbucket.ID, key, body []byte) error {
	var prefix [7]byte
	binary.BigEndian.PutUint32(prefix[:], 1)
	binary.BigEndian.PutUint16(prefix[4:], uint16(vb))
	prefix[6] = 3
	seqno := r.seqnos[vb].Add(1)
	row := make([]byte, 44, 48+len(key)+len(body))
	row = append(append(append(row, key...), body...), 0, 0, 0, 0)
	if err := batch.Set(binary.BigEndian.AppendUint64(prefix[:], seqno), row, nil); err != nil {
		return err
	}
	prefix[6] = 2
	return batch.Set(append(append(prefix[:], 0, 0, 0, 0), key...), row[:40], nil)
}

// background writes documents in batches of a thousand and syncs at the end.
func (r *rawTwin) background(bodies [][]byte, from, n int) error {
	batch := r.db.NewBatch()
	for i := from; i < from+n; i++ {
		key := fmt.Appendf(nil, "document-%07d", i)
		if err := r.add(batch, vbucket.Of(key, vbucket.MaxCount), key, bodies[i%len(bodies)]); err != nil {
			return err
		}
		if i%1000 == 999 || i == from+n-1 {
			if err := r.db.Apply(batch, pebble.NoSync); err != nil {
				return err
			}
			batch.Reset()
		}
	}
	return errors.Join(batch.Close(), r.db.LogData(nil, pebble.Sync))
}

// benchLife is a persistent bucket of 1024 vBuckets on a real disk.
type benchLife struct {
	*Bucket

	db    *storage.DB
	clock *hlc.Source
	end   func() error
}

func newBenchLife(b *testing.B) *benchLife {
	b.Helper()
	l := &benchLife{clock: hlc.New()}
	var err error
	if l.db, err = storage.Open(storage.Options{Dir: b.TempDir()}); err != nil {
		b.Fatal(err)
	}
	store, err := l.db.Bucket("bench")
	if err != nil {
		b.Fatal(err)
	}
	l.Bucket, err = Open(Options{
		Spec:  spec.Bucket{Name: "bench", UUID: "bench", QuotaBytes: 2 << 30}.WithDefaults(),
		Clock: l.clock, Store: store, CASCeiling: l.db.CASCeiling(),
	})
	if err != nil {
		b.Fatal(err)
	}
	for vb := range l.vbs {
		l.Assign(vbucket.ID(vb), vbucket.Active, 1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wait sync.WaitGroup
	wait.Go(func() { err = l.Run(ctx) })
	l.end = func() error {
		cancel()
		wait.Wait()
		return errors.Join(err, l.Close(), l.db.Close())
	}
	return l
}

// background writes documents as fast as they are taken and returns when all are on disk.
func (l *benchLife) background(ctx context.Context, bodies [][]byte, from, n int) error {
	for i := from; i < from+n; i++ {
		key := fmt.Appendf(nil, "document-%07d", i)
		if i%32 == 0 {
			time.Sleep(l.Brake()) // as a connection does
		}
		for {
			_, err := l.Set(ctx, l.clock.Now(), l.Key(vbucket.Of(key, vbucket.MaxCount), 0, key), &Write{Value: bodies[i%len(bodies)]})
			if err == nil {
				break
			}
			if !errors.Is(err, ErrBusy) {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}
	for i := range l.vbs {
		for vb := &l.vbs[i]; ; time.Sleep(100 * time.Microsecond) {
			vb.mu.Lock()
			high := vb.mu.high
			vb.mu.Unlock()
			if vbucket.Seqno(vb.persisted.Load()) >= high {
				break
			}
		}
	}
	return nil
}

// BenchmarkBackground loads documents of 1 KiB without waiting for the disk, and counts the time until all are on it.
func BenchmarkBackground(b *testing.B) {
	const n = 100_000
	bodies := documents(4096)
	var ratios []float64
	for b.Loop() {
		raw, l := newRawTwin(b), newBenchLife(b)
		for turn := range 2 {
			from := turn * n
			t0 := time.Now()
			check(b, raw.background(bodies, from, n))
			t1 := time.Now()
			check(b, l.background(b.Context(), bodies, from, n))
			ours := time.Since(t1)
			ratios = append(ratios, t1.Sub(t0).Seconds()/ours.Seconds())
			b.ReportMetric(n/ours.Seconds(), "docs/s")
		}
		check(b, errors.Join(raw.db.Close(), l.end()))
	}
	reportRatio(b, ratios)
}

func reportRatio(b *testing.B, ratios []float64) {
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}

func check(b testing.TB, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// crowd lets so many writers call f in a loop for a while, and tells how often they did.
func crowd(writers int, d time.Duration, f func(writer, i int) error) (int, error) {
	var wait sync.WaitGroup
	var n atomic.Int64
	errs := make([]error, writers)
	end := time.Now().Add(d)
	for w := range writers {
		wait.Go(func() {
			for i := 0; time.Now().Before(end) && errs[w] == nil; i++ {
				errs[w] = f(w, i)
				n.Add(1)
			}
		})
	}
	wait.Wait()
	return int(n.Load()), errors.Join(errs...)
}

// BenchmarkDurable writes documents of 1 KiB, each of which is acknowledged when it is on disk, with several writers at once.
func BenchmarkDurable(b *testing.B) {
	const turn = 250 * time.Millisecond
	for _, writers := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			raw, l := newRawTwin(b), newBenchLife(b)
			bodies := documents(writers)
			key := func(w, i int) []byte { return fmt.Appendf(nil, "%06d-%09d", w, i) }
			var ratios []float64
			last := time.Duration(0)
			for b.Loop() {
				for range 6 {
					theirs, err := crowd(writers, turn, func(w, i int) error {
						k := key(w, i)
						batch := raw.db.NewBatch()
						if err := raw.add(batch, vbucket.Of(k, vbucket.MaxCount), k, bodies[w]); err != nil {
							return err
						}
						return errors.Join(raw.db.Apply(batch, pebble.Sync), batch.Close())
					})
					check(b, err)
					ours, err := crowd(writers, turn, func(w, i int) error {
						k := key(w, i)
						_, err := l.Set(context.Background(), l.clock.Now(), l.Key(vbucket.Of(k, vbucket.MaxCount), docid.Default, k),
							&Write{Value: bodies[w], Level: spec.PersistToMajority})
						return err
					})
					check(b, err)
					ratios = append(ratios, float64(ours)/float64(theirs))
					last = turn / time.Duration(max(ours/writers, 1))
					b.ReportMetric(float64(ours)/turn.Seconds(), "docs/s")
				}
			}
			b.ReportMetric(float64(last.Microseconds()), "mean-µs")
			reportRatio(b, ratios)
			check(b, errors.Join(raw.db.Close(), l.end()))
		})
	}
}
