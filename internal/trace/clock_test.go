package trace

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
)

// tally is a Recorder that adds up.
type tally struct{ sum, count uint64 }

func (t *tally) RecordMany(ns, n uint64) {
	t.sum += ns * n
	t.count += n
}

func newTallies() (*Stages, map[string]*tally) {
	by := map[string]*tally{}
	return NewStages(func(stage string) Recorder {
		by[stage] = &tally{}
		return by[stage]
	}), by
}

func sumOf(c *Clock) (sum int64) {
	for s := range c.stages {
		sum += c.stages[s]
	}
	return sum
}

// Whatever is marked in whatever order, by whichever goroutine has the clock, the stages add up to the duration.
func TestClockSums(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		now := r.Int64N(1 << 40)
		begun := now
		c := &Clock{}
		c.Start(now)
		latest := now
		for range r.IntN(40) {
			now += r.Int64N(1000) - 50 // sometimes a reading is older than the last one
			latest = max(latest, now)
			var wait sync.WaitGroup
			wait.Go(func() { c.Mark(Stage(1+r.IntN(NumStage-1)), now) }) // handed over
			wait.Wait()
		}
		if c.Dur() != latest-begun || sumOf(c) != c.Dur() {
			t.Fatalf("seed %d: duration %d, want %d; the stages add up to %d", seed, c.Dur(), latest-begun, sumOf(c))
		}
	}
}

// Of two waits side by side, the one that ends last gets only the time by which it was later.
func TestParallelWaits(t *testing.T) {
	c := &Clock{}
	c.Start(100)
	c.Mark(StageExec, 110)
	c.Mark(StageFsync, 300) // the disk was first
	c.Mark(StageRepl, 350)
	if got := [3]int64{c.Stage(StageExec), c.Stage(StageFsync), c.Stage(StageRepl)}; got != [3]int64{10, 190, 50} {
		t.Errorf("exec, fsync, repl = %v, want 10, 190, 50", got)
	}
}

// Random batches: the stages of each request add up to its duration exactly and none is negative, all requests of a window
// have the same duration, waits are where they were left, and the histograms hold the sum of all durations.
func TestBatchSums(t *testing.T) {
	if !Enabled {
		t.Skip("stamps are compiled out")
	}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		stages, tallies := newTallies()
		b := &Batch{}
		ctx := b.Context(context.Background())
		now, total := r.Int64N(1<<40)+1000, int64(0)
		for range 1 + r.IntN(3) { // batches of a connection
			first := int64(0)
			if r.IntN(3) == 0 {
				first = now - r.Int64N(500) - 1
			}
			begun := now
			b.Begin(now, first)
			for window := range 1 + r.IntN(4) {
				n := 1 + r.IntN(12)
				waited := make([]int64, n)
				for op := range n {
					b.At(op)
					now += r.Int64N(100)
					for range max(0, r.IntN(5)-2) {
						ns := r.Int64N(300)
						now += ns
						WaitsOf(ctx).Add([]Stage{StageLock, StageFetch, StageFsync}[r.IntN(3)], ns)
						waited[op] += ns
					}
				}
				if got := b.Settle(now, n, stages); got != now-begun {
					t.Fatalf("seed %d: Settle = %d, want %d", seed, got, now-begun)
				}
				for op := range n {
					c := b.Clock(op)
					want := now - begun
					if op == 0 && window == 0 && first > 0 {
						want = now - first
					}
					total += want
					if c.Dur() != want || sumOf(&c) != want {
						t.Fatalf("seed %d: op %d lasts %d, its stages %d, want %d: %+v", seed, op, c.Dur(), sumOf(&c), want, c)
					}
					for s, ns := range c.stages {
						if ns < 0 {
							t.Fatalf("seed %d: op %d: stage %v = %d", seed, op, Stage(s), ns)
						}
					}
					if left := c.Stage(StageLock) + c.Stage(StageFetch) + c.Stage(StageFsync); left > waited[op] ||
						b.waits.count < maxWaits && left != waited[op] {
						t.Fatalf("seed %d: op %d waited %d, its stages say %d", seed, op, waited[op], left)
					}
				}
			}
			now += r.Int64N(1000)
		}
		sum := uint64(0)
		for _, x := range tallies {
			sum += x.sum
		}
		if sum != uint64(total) {
			t.Fatalf("seed %d: the histograms hold %d ns, the requests took %d", seed, sum, total)
		}
	}
}

// One request of a batch waits for a lock: it is named, with its victims, and its neighbours have queued. With nobody to
// blame the first one stands for all.
func TestSlowNamesTheBlocker(t *testing.T) {
	if !Enabled {
		t.Skip("stamps are compiled out")
	}
	type found struct {
		op, victims int
		lock, queue int64
	}
	slow := func(waits map[int]int64) (all []found) {
		b := &Batch{}
		ctx := b.Context(context.Background())
		b.Begin(1000, 0)
		for op := range 4 {
			b.At(op)
			WaitsOf(ctx).Add(StageLock, waits[op])
		}
		b.Settle(9000, 4, nil)
		b.Slow(func(op int, c Clock, victims int) {
			all = append(all, found{op, victims, c.Stage(StageLock), c.Stage(StageQueue)})
		})
		return all
	}
	f := func(waits map[int]int64, want ...found) {
		t.Helper()
		got := slow(waits)
		if len(got) != len(want) {
			t.Errorf("waits %v: %+v, want %+v", waits, got, want)
			return
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("waits %v: %+v, want %+v", waits, got[i], want[i])
			}
		}
	}
	f(map[int]int64{2: 6000}, found{2, 3, 6000, 1500})
	f(nil, found{0, 3, 0, 6000})
	f(map[int]int64{1: 100}, found{0, 3, 0, 6025}) // too short to be the reason
	f(map[int]int64{0: 3000, 3: 4000}, found{0, 3, 3000, 4750}, found{3, 3, 4000, 3750})
}

// Waits that cannot be true, because they are longer than the window, are not believed.
func TestWaitsOfAnotherClock(t *testing.T) {
	if !Enabled {
		t.Skip("stamps are compiled out")
	}
	b := &Batch{}
	ctx := b.Context(context.Background())
	b.Begin(1000, 0)
	WaitsOf(ctx).Add(StageFetch, 5000)
	b.Settle(2000, 1, nil)
	if c := b.Clock(0); c.Stage(StageFetch) != 0 || c.Stage(StageExec) != 1000 {
		t.Errorf("fetch %d exec %d, want 0 and 1000", c.Stage(StageFetch), c.Stage(StageExec))
	}
	WaitsOf(context.Background()).Add(StageFetch, 1) // nobody's
}

func BenchmarkBatchOf16(b *testing.B) {
	stages, _ := newTallies()
	batch := &Batch{}
	for i := range b.N {
		batch.Begin(int64(i), 0)
		for op := range 16 {
			batch.At(op)
		}
		batch.Settle(int64(i+100), 16, stages)
	}
}
