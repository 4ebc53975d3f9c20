package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
)

const (
	million    = 1_000_000
	keyBytes   = 16
	valueBytes = 100
)

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// openBucket opens an engine with all vBuckets active and runs it until the function returned is called.
func openBucket(db *storage.DB, quota int64) (*kv.Bucket, func() error, error) {
	s := spec.Bucket{Name: "bench", UUID: "bench", QuotaBytes: quota, Type: spec.Ephemeral}
	var store *storage.Bucket
	if db != nil {
		s.Type = spec.Persistent
		var err error
		if store, err = db.Bucket(s.UUID); err != nil {
			return nil, nil, err
		}
	}
	b, err := kv.Open(kv.Options{Spec: s.WithDefaults(), Store: store})
	if err != nil {
		return nil, nil, err
	}
	for vb := range vbucket.ID(spec.DefaultVBuckets) {
		b.Assign(vb, vbucket.Active, 1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	return b, func() error {
		cancel()
		err := <-done
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		return errors.Join(err, b.Close())
	}, nil
}

// keyOf gives a key of 16 bytes.
func keyOf(dst []byte, n uint64) []byte {
	const hex = "0123456789abcdef"
	dst = dst[:0]
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, hex[n>>shift&15])
	}
	return dst
}

// fill writes n documents and waits when the engine asks for it.
func fill(ctx context.Context, b *kv.Bucket, clock *hlc.Source, n int, size int) error {
	value := make([]byte, size)
	key := make([]byte, 0, keyBytes)
	w := &kv.Write{Value: value}
	for i := range uint64(n) {
		key = keyOf(key, i*0x9E3779B97F4A7C15)
		binary.LittleEndian.PutUint64(value, i)
		k := b.Key(vbucket.Of(key, spec.DefaultVBuckets), 0, key)
		for {
			_, err := b.Set(ctx, clock.Now(), k, w)
			if err == nil {
				break
			}
			if !errors.Is(err, kv.ErrBusy) {
				return fmt.Errorf("item %d: %w", i, err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// measureMemory loads a million documents of 16 and 100 bytes and counts what the engine takes beyond key and value.
func measureMemory(ctx context.Context) ([]figure, error) {
	b, end, err := openBucket(nil, 1<<30)
	if err != nil {
		return nil, err
	}
	if err := fill(ctx, b, hlc.New(), million, valueBytes); err != nil {
		return nil, err
	}
	m := b.Memory()
	payload := int64(million * (keyBytes + valueBytes))
	rounding := m.Items - million*(48+keyBytes+valueBytes)
	figures := []figure{
		atMost(figure{
			Name: "1 M items: header and table, beyond key and value", Value: float64(m.Items+m.Tables-payload-rounding) / million, Unit: "B/item",
			Note: "counted, not sampled",
		}, 66),
		{Name: "1 M items: rounding to size classes (units of 16 bytes)", Value: float64(rounding) / million, Unit: "B/item"},
		{Name: "1 M items: committed slabs beyond the items", Value: float64(m.Committed-m.Items) / million, Unit: "B/item"},
	}
	return figures, end()
}

// measureWarmup writes a million documents to disk and opens them again.
func measureWarmup(ctx context.Context) (figures []figure, err error) {
	dir, err := os.MkdirTemp("", "charpoy-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := writeOut(ctx, dir, 2*million); err != nil {
		return nil, err
	}
	begun := time.Now()
	db, err := storage.Open(storage.Options{Dir: dir})
	if err != nil {
		return nil, err
	}
	opened := time.Since(begun)
	begun = time.Now()
	b, end, err := openBucket(db, 4<<30)
	if err != nil {
		return nil, err
	}
	first := time.Duration(0)
	for {
		r := b.Report()
		if first == 0 && r.Warmed > 0 {
			first = time.Since(begun)
		}
		if r.Ready {
			break
		}
		if r.Problem != "" {
			return nil, errors.New(r.Problem)
		}
		time.Sleep(time.Millisecond)
	}
	all := time.Since(begun)
	figures = []figure{
		{Name: "warm-up, 2 M keys: open of the store after an orderly stop", Value: ms(opened), Unit: "ms"},
		atMost(figure{Name: "warm-up, 2 M keys: first vBucket serves", Value: ms(first), Unit: "ms"}, 500),
		atLeast(figure{Name: "warm-up: keys ready a second", Value: 2 * million / all.Seconds() / 1e6, Unit: "M/s", Note: fmt.Sprintf("all in %s", all.Round(time.Millisecond))}, 1),
	}
	return figures, errors.Join(end(), db.Close())
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func writeOut(ctx context.Context, dir string, n int) error {
	db, err := storage.Open(storage.Options{Dir: dir})
	if err != nil {
		return err
	}
	b, end, err := openBucket(db, 4<<30)
	if err != nil {
		return err
	}
	for !b.Report().Ready {
		time.Sleep(time.Millisecond)
	}
	return errors.Join(fill(ctx, b, hlc.New(), n, valueBytes), end(), db.Close())
}

// measureGC holds ten million documents and works on them for a while: what share of CPU the collector takes and how long it
// stops the world.
func measureGC(ctx context.Context) ([]figure, error) {
	const items = 10 * million
	b, end, err := openBucket(nil, 8<<30)
	if err != nil {
		return nil, err
	}
	clock := hlc.New()
	if err := fill(ctx, b, clock, items, valueBytes); err != nil {
		return nil, err
	}
	gc, total := cpuSeconds()
	pauses := pauseCounts()
	if err := churn(ctx, b, clock, items, 15*time.Second); err != nil {
		return nil, err
	}
	gcAfter, totalAfter := cpuSeconds()
	longest := longestPause(pauses, pauseCounts())
	begun := time.Now()
	runtime.GC()
	forced := time.Since(begun)
	figures := []figure{
		atMost(figure{
			Name: "10 M items: collector's share of CPU under load", Value: 100 * (gcAfter - gc) / (totalAfter - total), Unit: "%",
			Note: "95 % GET, 5 % SET, a buffer allocated for each GET",
		}, 1),
		atMost(figure{Name: "10 M items: longest /sched/pauses/total/gc:seconds", Value: longest * 1000, Unit: "ms", Note: "upper bound of its bucket"}, 1),
		{Name: "10 M items: a forced collection", Value: ms(forced), Unit: "ms"},
	}
	err = end()
	debug.FreeOSMemory()
	return figures, err
}

// churn reads and writes at random for a while. Each read allocates its result, as a server does that does not reuse
// buffers, so that there is something to collect.
func churn(ctx context.Context, b *kv.Bucket, clock *hlc.Source, items int, d time.Duration) error {
	r := rand.New(rand.NewPCG(1, 2))
	key := make([]byte, 0, keyBytes)
	w := &kv.Write{Value: make([]byte, valueBytes)}
	for end := time.Now().Add(d); time.Now().Before(end); {
		at := clock.Now()
		for range 1000 {
			key = keyOf(key, r.Uint64N(uint64(items))*0x9E3779B97F4A7C15)
			k := b.Key(vbucket.Of(key, spec.DefaultVBuckets), 0, key)
			var err error
			if r.IntN(20) == 0 {
				_, err = b.Set(ctx, at, k, w)
			} else {
				_, _, err = b.Get(ctx, at, k, make([]byte, 0, valueBytes))
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func cpuSeconds() (gc, total float64) {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"}}
	runtime.GC() // these are brought up to date by a collection
	metrics.Read(s)
	return s[0].Value.Float64(), s[2].Value.Float64() - s[1].Value.Float64()
}

func pauseCounts() *metrics.Float64Histogram {
	s := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(s)
	h := s[0].Value.Float64Histogram()
	return &metrics.Float64Histogram{Counts: append([]uint64(nil), h.Counts...), Buckets: h.Buckets}
}

func longestPause(before, after *metrics.Float64Histogram) float64 {
	for i := len(after.Counts) - 1; i >= 0; i-- {
		if after.Counts[i] > before.Counts[i] {
			return after.Buckets[i+1]
		}
	}
	return 0
}
