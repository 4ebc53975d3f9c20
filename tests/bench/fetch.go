package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
	"github.com/cockroachdb/pebble/v2"
)

const (
	fetchDocs   = 400_000
	fetchQuota  = 128 << 20 // the documents take 400 MiB: most values are on disk only
	fetchReads  = 4000      // of each side a round
	fetchRounds = 5
)

// measureFetch compares reading a document whose value is not in memory with a Get of the same row from the engine of the
// store alone, in turns within one run, and counts what reading absent documents costs on disk.
func measureFetch(ctx context.Context) (figures []figure, err error) {
	dir, err := os.MkdirTemp("", "charpoy-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	db, err := storage.Open(storage.Options{Dir: filepath.Join(dir, "ours")})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	b, end, err := openBucket(db, fetchQuota)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(end(), err) }()
	clock := hlc.New()
	if err := fetchFill(ctx, b, clock); err != nil {
		return nil, err
	}
	raw, err := fetchTwin(filepath.Join(dir, "raw"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, raw.db.Close()) }()
	var ours, theirs []float64
	var ratios []float64
	order := rand.New(rand.NewPCG(1, 2))
	fetched := b.Stats().Ops.Fetched
	for round := range fetchRounds + 1 {
		a, errA := fetchOurs(ctx, b, clock, order)
		t, errT := raw.read(order)
		if err := errors.Join(errA, errT); err != nil {
			return nil, err
		}
		if round > 0 {
			ours, theirs, ratios = append(ours, a), append(theirs, t), append(ratios, a/t)
		}
	}
	fetched = b.Stats().Ops.Fetched - fetched
	before := b.Stats().Ops.Fetched
	reads := db.Stats().Reads
	for i := range uint64(fetchReads) {
		key := keyOf(nil, ^i)
		if _, _, err := b.Get(ctx, clock.Now(), b.Key(vbucket.Of(key, spec.DefaultVBuckets), 0, key), nil); !errors.Is(err, kv.ErrNotFound) {
			return nil, fmt.Errorf("an absent document: %w", err)
		}
	}
	absent := float64(b.Stats().Ops.Fetched-before) + float64(db.Stats().Reads-reads)
	return []figure{
		{Name: "a value that was ejected: p50", Value: median(ours), Unit: "µs", Note: fmt.Sprintf("%d reads came from disk", fetched)},
		{Name: "the same row from Pebble: p50", Value: median(theirs), Unit: "µs"},
		atMost(figure{Name: "an ejected value against raw Pebble, p50", Value: median(ratios), Unit: "ratio", Note: spread(ratios)}, 1.5),
		atMost(figure{Name: fmt.Sprintf("disk reads of %d absent documents", fetchReads), Value: absent, Unit: "reads"}, 0),
	}, nil
}

func fetchFill(ctx context.Context, b *kv.Bucket, clock *hlc.Source) error {
	for i := range uint64(fetchDocs) {
		key := keyOf(nil, i*0x9E3779B97F4A7C15)
		k := b.Key(vbucket.Of(key, spec.DefaultVBuckets), 0, key)
		for {
			_, err := b.Set(ctx, clock.Now(), k, &kv.Write{Value: jsonValue(i)})
			if err == nil {
				break
			}
			if !errors.Is(err, kv.ErrBusy) {
				return err
			}
			time.Sleep(time.Millisecond) // the pager needs the flusher
		}
	}
	for b.Stats().Unsaved > 0 {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// fetchOurs reads documents until enough of them had to come from disk, and gives the median time of those, in µs.
func fetchOurs(ctx context.Context, b *kv.Bucket, clock *hlc.Source, order *rand.Rand) (float64, error) {
	var times []float64
	dst := make([]byte, 0, 2*flushValue)
	for len(times) < fetchReads {
		key := keyOf(nil, order.Uint64N(fetchDocs)*0x9E3779B97F4A7C15)
		k := b.Key(vbucket.Of(key, spec.DefaultVBuckets), 0, key)
		fetched := b.Stats().Ops.Fetched
		begun := time.Now()
		_, _, err := b.Get(ctx, clock.Now(), k, dst)
		took := time.Since(begun)
		if err != nil {
			return 0, err
		}
		if b.Stats().Ops.Fetched != fetched {
			times = append(times, float64(took.Nanoseconds())/1000)
		}
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// fetchTwin writes the same rows.
func fetchTwin(dir string) (*twin, error) {
	t, err := openTwin(dir)
	if err != nil {
		return nil, err
	}
	for i := uint64(0); i < fetchDocs; {
		batch := t.db.NewBatch()
		for range rawBatch {
			key := keyOf(nil, i*0x9E3779B97F4A7C15)
			if err := t.put(batch, vbucket.Of(key, spec.DefaultVBuckets), key, jsonValue(i)); err != nil {
				return nil, err
			}
			i++
		}
		if err := t.db.Apply(batch, pebble.NoSync); err != nil {
			return nil, err
		}
	}
	return t, t.db.Flush()
}

// read gives the median time of a read of a random row, in µs.
func (t *twin) read(order *rand.Rand) (float64, error) {
	times := make([]float64, fetchReads)
	dst := make([]byte, 0, 2*flushValue)
	for i := range times {
		n := order.Uint64N(fetchDocs)
		key := keyOf(nil, n*0x9E3779B97F4A7C15)
		row := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(nil, 1), uint16(vbucket.Of(key, spec.DefaultVBuckets)))
		row = binary.BigEndian.AppendUint64(append(row, 3), n+1)
		begun := time.Now()
		value, closer, err := t.db.Get(row)
		if err != nil {
			return 0, err
		}
		dst = append(dst[:0], value...)
		if err := closer.Close(); err != nil {
			return 0, err
		}
		times[i] = float64(time.Since(begun).Nanoseconds()) / 1000
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
