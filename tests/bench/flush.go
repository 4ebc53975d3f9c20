package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
)

const (
	flushRounds   = 5
	flushDocs     = 150_000
	flushValue    = 1024
	rawBatch      = 1000
	durableFor    = 1500 * time.Millisecond
	durableRounds = 5
)

// twin writes the same rows as the store, with the engine's options, and nothing else.
type twin struct {
	db    *pebble.DB
	seqno atomic.Uint64
}

func openTwin(dir string) (*twin, error) {
	o := &pebble.Options{ // as package storage has them
		FormatMajorVersion: pebble.FormatWALSyncChunks, MemTableSize: 64 << 20, MemTableStopWritesThreshold: 4,
		L0CompactionThreshold: 4, L0StopWritesThreshold: 24, LBaseMaxBytes: 256 << 20, BytesPerSync: 512 << 10, WALBytesPerSync: 512 << 10,
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 16 << 10
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, o)
	return &twin{db: db}, err
}

// put adds the two rows of one document: by seqno with the document, by key with its metadata.
func (t *twin) put(b *pebble.Batch, vb vbucket.ID, key, value []byte) error {
	n := t.seqno.Add(1)
	prefix := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, 1), uint16(vb))
	bySeqno := binary.BigEndian.AppendUint64(append(append([]byte{}, prefix...), 3), n)
	row := append(append(make([]byte, 44, 48+len(key)+len(value)), key...), value...)
	byKey := append(binary.BigEndian.AppendUint32(append(append([]byte{}, prefix...), 2), 0), key...)
	return errors.Join(b.Set(bySeqno, append(row, 0, 0, 0, 0), nil), b.Set(byKey, make([]byte, 40), nil))
}

// jsonValue gives 1 KiB of JSON that does not repeat itself much.
func jsonValue(n uint64) []byte {
	v := make([]byte, 0, flushValue)
	v = append(v, `{"text":"`...)
	for x := n*2654435761 + 1; len(v) < flushValue-2; {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		v = append(v, 'a'+byte(x%16))
	}
	return append(v, `"}`...)
}

// measureFlush compares persistence with its engine alone, interleaved in one run.
func measureFlush(ctx context.Context) ([]figure, error) {
	var ratios, ours []float64
	for i := range flushRounds {
		a, b, err := flushRound(ctx, i%2 == 0)
		if err != nil {
			return nil, err
		}
		ratios, ours = append(ratios, a/b), append(ours, a)
	}
	figures := []figure{
		{Name: "background: documents of 1 KiB on disk a second", Value: median(ours), Unit: "docs/s"},
		atLeast(figure{Name: "background: against raw Pebble with the same rows", Value: median(ratios), Unit: "ratio", Note: spread(ratios)}, 0.8),
	}
	for _, writers := range []int{1, 16, 256} {
		ratios, ours = nil, nil
		for i := range durableRounds {
			a, b, err := durableRound(ctx, writers, i%2 == 0)
			if err != nil {
				return nil, err
			}
			ratios, ours = append(ratios, a/b), append(ours, a)
		}
		figures = append(figures,
			figure{Name: fmt.Sprintf("acknowledged after fsync, %d writers", writers), Value: median(ours), Unit: "docs/s"},
			atLeast(figure{Name: fmt.Sprintf("acknowledged after fsync, %d writers: against raw Pebble", writers), Value: median(ratios), Unit: "ratio", Note: spread(ratios)}, 0.9))
	}
	return figures, nil
}

func spread(v []float64) string {
	low, high := v[0], v[0]
	for _, x := range v {
		low, high = min(low, x), max(high, x)
	}
	return fmt.Sprintf("%.2f to %.2f, n = %d", low, high, len(v))
}

// both runs two measurements in the order that the round demands, each in a directory of its own.
func both(oursFirst bool, ours, raw func(dir string) (float64, error)) (a, b float64, err error) {
	dir, err := os.MkdirTemp("", "charpoy-bench-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	var errA, errB error
	if oursFirst {
		a, errA = ours(filepath.Join(dir, "ours"))
	}
	b, errB = raw(filepath.Join(dir, "raw"))
	if !oursFirst {
		a, errA = ours(filepath.Join(dir, "ours"))
	}
	return a, b, errors.Join(errA, errB)
}

// flushRound gives documents a second of both: for ours from the first SET until all are persisted, for the twin batches of
// 1000 without a sync and one sync at the end.
func flushRound(ctx context.Context, oursFirst bool) (a, b float64, err error) {
	return both(oursFirst, func(dir string) (float64, error) { return flushOurs(ctx, dir) }, flushRaw)
}

func flushOurs(ctx context.Context, dir string) (rate float64, err error) {
	db, err := storage.Open(storage.Options{Dir: dir})
	if err != nil {
		return 0, err
	}
	b, end, err := openBucket(db, 2<<30)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, end(), db.Close()) }()
	if err := awaitReady(b); err != nil {
		return 0, err
	}
	clock := hlc.New()
	begun := time.Now()
	for i := range uint64(flushDocs) {
		key := keyOf(nil, i*0x9E3779B97F4A7C15)
		k := b.Key(vbucket.Of(key, spec.DefaultVBuckets), 0, key)
		for {
			_, err := b.Set(ctx, clock.Now(), k, &kv.Write{Value: jsonValue(i)})
			if err == nil {
				break
			}
			if !errors.Is(err, kv.ErrBusy) {
				return 0, err
			}
			time.Sleep(time.Millisecond)
		}
	}
	for b.Stats().Unsaved > 0 {
		time.Sleep(time.Millisecond)
	}
	return flushDocs / time.Since(begun).Seconds(), nil
}

func awaitReady(b *kv.Bucket) error {
	for {
		switch r := b.Report(); {
		case r.Problem != "":
			return errors.New(r.Problem)
		case r.Ready:
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}

func flushRaw(dir string) (rate float64, err error) {
	t, err := openTwin(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, t.db.Close()) }()
	begun := time.Now()
	for i := uint64(0); i < flushDocs; {
		batch := t.db.NewBatch()
		for range rawBatch {
			key := keyOf(nil, i*0x9E3779B97F4A7C15)
			if err := t.put(batch, vbucket.Of(key, spec.DefaultVBuckets), key, jsonValue(i)); err != nil {
				return 0, err
			}
			i++
		}
		if err := t.db.Apply(batch, pebble.NoSync); err != nil {
			return 0, err
		}
	}
	if err := t.db.LogData(nil, pebble.Sync); err != nil {
		return 0, err
	}
	return flushDocs / time.Since(begun).Seconds(), nil
}

// durableRound gives acknowledged writes a second of both, by so many writers, each waiting for its own fsync.
func durableRound(ctx context.Context, writers int, oursFirst bool) (a, b float64, err error) {
	return both(oursFirst, func(dir string) (float64, error) { return durableOurs(ctx, dir, writers) },
		func(dir string) (float64, error) { return durableRaw(dir, writers) })
}

// write runs write in so many goroutines for a while and gives the rate of its successes.
func write(writers int, one func(n uint64) error) (float64, error) {
	var wg sync.WaitGroup
	var count atomic.Uint64
	errs := make([]error, writers)
	begun := time.Now()
	for w := range writers {
		wg.Go(func() {
			for i := uint64(w) << 32; time.Since(begun) < durableFor; i++ {
				if errs[w] = one(i); errs[w] != nil {
					return
				}
				count.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(count.Load()) / time.Since(begun).Seconds(), errors.Join(errs...)
}

func durableOurs(ctx context.Context, dir string, writers int) (rate float64, err error) {
	db, err := storage.Open(storage.Options{Dir: dir})
	if err != nil {
		return 0, err
	}
	b, end, err := openBucket(db, 2<<30)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, end(), db.Close()) }()
	if err := awaitReady(b); err != nil {
		return 0, err
	}
	clock := hlc.New()
	return write(writers, func(n uint64) error {
		key := keyOf(nil, n*0x9E3779B97F4A7C15)
		k := b.Key(vbucket.Of(key, spec.DefaultVBuckets), 0, key)
		_, err := b.Set(ctx, clock.Now(), k, &kv.Write{Value: jsonValue(n), Level: spec.PersistToMajority})
		return err
	})
}

func durableRaw(dir string, writers int) (rate float64, err error) {
	t, err := openTwin(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, t.db.Close()) }()
	return write(writers, func(n uint64) error {
		key := keyOf(nil, n*0x9E3779B97F4A7C15)
		batch := t.db.NewBatch()
		if err := t.put(batch, vbucket.Of(key, spec.DefaultVBuckets), key, jsonValue(n)); err != nil {
			return err
		}
		return t.db.Apply(batch, pebble.Sync)
	})
}
