package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

const (
	feedKeys   = 500_000
	feedSets   = 300_000 // a slot
	feedValue  = 256
	feedMost   = 3 // readers
	feedRounds = 7
)

// measureFeed compares mutations with none, one, two and three readers of the change feed that copy each of them, in turns
// within one run. What is compared is the processor time of the whole process, readers included, from the first mutation
// until every reader has the last.
func measureFeed(ctx context.Context) ([]figure, error) {
	b, end, err := openBucket(nil, 1<<30)
	if err != nil {
		return nil, err
	}
	clock := hlc.New()
	if err := fill(ctx, b, clock, feedKeys, feedValue); err != nil {
		return nil, errors.Join(err, end())
	}
	var rounds [feedMost + 1][]float64
	for round := range feedRounds + 1 {
		for i := range feedMost + 1 {
			readers := (i + round) % (feedMost + 1)
			ns, err := feedSlot(ctx, b, clock, readers, uint64(round))
			if err != nil {
				return nil, errors.Join(err, end())
			}
			if round > 0 { // the first warms up
				rounds[readers] = append(rounds[readers], ns)
			}
		}
	}
	more := func(from, to int) figure {
		var v []float64
		for i := range rounds[0] {
			v = append(v, (rounds[to][i]-rounds[from][i])/float64(to-from))
		}
		return figure{Value: median(v), Unit: "ns CPU", Note: spread(v)}
	}
	first, further := more(0, 1), more(1, feedMost)
	first.Name, further.Name = "… the first reader adds", "… each further reader adds"
	return []figure{
		{Name: "a mutation of 256 bytes without a reader", Value: median(rounds[0]), Unit: "ns CPU", Note: spread(rounds[0])},
		first, atMost(further, 250),
	}, end()
}

// follower reads every change of a bucket and copies it, as views and replication do.
type follower struct {
	change.Reader

	last [spec.DefaultVBuckets]vbucket.Seqno
	sum  atomic.Uint64 // of last
}

func follow(b *kv.Bucket) (*follower, error) {
	r, err := b.Open(change.Options{Name: "bench"})
	if err != nil {
		return nil, err
	}
	f := &follower{Reader: r}
	for vb := range vbucket.ID(spec.DefaultVBuckets) {
		info, err := b.Seqnos(vb)
		if err == nil {
			err = r.Add(vb, vbucket.Position{UUID: info.UUID, Seqno: info.High})
		}
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		f.last[vb] = info.High
		f.sum.Add(uint64(info.High))
	}
	return f, nil
}

// run reads until ctx ends, and pokes whenever it has read something after target was set.
func (f *follower) run(ctx context.Context, target *atomic.Uint64, poke chan<- struct{}) {
	var batch change.Batch
	for f.Next(ctx, &batch) == nil {
		if n := len(batch.Mutations); n > 0 {
			seqno := batch.Mutations[n-1].Seqno
			f.sum.Add(uint64(seqno - f.last[batch.VB]))
			f.last[batch.VB] = seqno
			f.Ack(batch.VB, seqno)
		}
		if t := target.Load(); t > 0 && f.sum.Load() >= t {
			select {
			case poke <- struct{}{}:
			default:
			}
		}
	}
}

// feedSlot gives the processor time of one mutation with so many readers, in nanoseconds.
func feedSlot(ctx context.Context, b *kv.Bucket, clock *hlc.Source, readers int, seed uint64) (_ float64, err error) {
	reading, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var target atomic.Uint64
	poke := make(chan struct{}, 1)
	followers := make([]*follower, readers)
	for i := range followers {
		if followers[i], err = follow(b); err != nil {
			return 0, err
		}
		defer followers[i].Close()
		wg.Go(func() { followers[i].run(reading, &target, poke) })
	}
	order := rand.New(rand.NewPCG(seed, 1))
	value := make([]byte, feedValue)
	w := &kv.Write{Value: value}
	key := make([]byte, 0, keyBytes)
	begun := cpuTime()
	for i := range uint64(feedSets) {
		key = keyOf(key, order.Uint64N(feedKeys)*0x9E3779B97F4A7C15)
		binary.LittleEndian.PutUint64(value, i)
		if _, err := b.Set(ctx, clock.Now(), b.Key(vbucket.Of(key, spec.DefaultVBuckets), 0, key), w); err != nil {
			return 0, err
		}
	}
	high := uint64(0)
	for vb := range vbucket.ID(spec.DefaultVBuckets) {
		info, err := b.Seqnos(vb)
		if err != nil {
			return 0, err
		}
		high += uint64(info.High)
	}
	target.Store(high)
	for _, f := range followers {
		for f.sum.Load() < high {
			select {
			case <-poke:
			case <-time.After(time.Second):
				return 0, fmt.Errorf("a reader stands still %d changes before the end", high-f.sum.Load())
			}
		}
	}
	return float64(cpuTime()-begun) / feedSets, nil
}

// cpuTime is what this process has used of the processors, in nanoseconds.
func cpuTime() int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
