package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// load writes to the server until its connections break or ctx ends. Each worker has keys of its own and one operation under
// way at a time, so the order of each key's operations is known.
type load struct {
	dial    func(context.Context) (*client.Conn, error)
	round   *round
	ids     *atomic.Uint64 // over all rounds
	workers int
	keys    int // of each worker
	acked   atomic.Uint64
	refused atomic.Uint64
}

// run returns when all workers have ended; an error is one that a crash does not explain.
func (l *load) run(ctx context.Context, seed uint64) error {
	var wg sync.WaitGroup
	errs := make([]error, l.workers+1)
	for w := range l.workers {
		wg.Go(func() { errs[w] = l.work(ctx, w, rand.New(rand.NewPCG(seed, uint64(w)))) })
	}
	wg.Go(func() { errs[l.workers] = l.watch(ctx) })
	wg.Wait()
	return errors.Join(errs...)
}

func (l *load) work(ctx context.Context, worker int, r *rand.Rand) error {
	c, err := l.dial(ctx)
	if err != nil {
		return broken(ctx, err)
	}
	defer c.Close()
	uncertain := map[string]bool{} // keys with an operation whose outcome the server itself does not know
	for ctx.Err() == nil {
		n := r.IntN(l.keys)
		key := fmt.Sprintf("w%d-%d", worker, n)
		if n%10 == 9 {
			key = fmt.Sprintf("c%d-%d", worker, n) // counters have keys of their own
		}
		if uncertain[key] {
			continue
		}
		done, err := l.one(ctx, c, key, n%10 == 9, r)
		if err != nil {
			return broken(ctx, err)
		}
		uncertain[key] = !done
	}
	return nil
}

// broken hides errors that a killed server causes.
func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, client.ErrConnection) {
		return nil
	}
	return err
}

// one makes one operation. done is false if its outcome is not known; then the key rests for this round.
func (l *load) one(ctx context.Context, c *client.Conn, key string, counter bool, r *rand.Rand) (done bool, err error) {
	vb, err := c.VBucket(key)
	if err != nil {
		return false, err
	}
	o := &op{id: l.ids.Add(1), vb: vb, key: key}
	with := client.With{}
	if r.IntN(5) == 0 {
		with.Level = spec.MajorityAndPersistOnActive + spec.Durability(r.IntN(2))
		o.level = uint8(with.Level)
	}
	var written client.Written
	switch {
	case counter:
		o.kind = kindCounter
		o.value = fmt.Sprint(o.id) // replaced by the sum: a counter is set by adding to what the last answer said
		written, err = l.count(ctx, c, o, with)
	case r.IntN(6) == 0:
		o.kind = kindDelete
		l.round.issue(o)
		written, err = c.Delete(ctx, key, with)
	default:
		o.value = valueOf(o.id, r)
		l.round.issue(o)
		written, err = c.Set(ctx, key, []byte(o.value), with)
	}
	switch {
	case err == nil:
		l.round.ack(o, written.Token.UUID, written.Token.Seqno, written.CAS)
		l.acked.Add(1)
		return true, nil
	case errors.Is(err, client.ErrTemporary), errors.Is(err, client.ErrNotFound):
		l.round.withdraw(o)
		l.refused.Add(1)
		return true, nil
	case errors.Is(err, client.ErrDurabilityAmbiguous):
		return false, nil
	}
	return false, err
}

// count adds 1 to a counter. What a reader must find is the value of the counter's last acknowledged operation plus one.
func (l *load) count(ctx context.Context, c *client.Conn, o *op, with client.With) (client.Written, error) {
	before, err := c.Get(ctx, o.key, client.With{})
	switch {
	case errors.Is(err, client.ErrNotFound):
		o.value = "1"
	case err != nil:
		l.round.issue(o) // so that one can withdraw it
		return client.Written{}, err
	default:
		var n uint64
		if _, err := fmt.Sscan(string(before.Value), &n); err != nil {
			return client.Written{}, fmt.Errorf("counter %s holds %q", o.key, before.Value)
		}
		o.value = fmt.Sprint(n + 1)
	}
	l.round.issue(o)
	sum, written, err := c.Incr(ctx, o.key, client.Count{Delta: 1, Initial: 1, Create: true}, with)
	if err == nil && fmt.Sprint(sum) != o.value {
		return written, fmt.Errorf("counter %s answered %d, want %s", o.key, sum, o.value)
	}
	return written, err
}

// valueOf gives a value that names the operation, sometimes a large one.
func valueOf(id uint64, r *rand.Rand) string {
	size := r.IntN(400)
	if r.IntN(50) == 0 {
		size = r.IntN(100_000)
	}
	pad := make([]byte, size)
	for i := range pad {
		pad[i] = 'a' + byte(id+uint64(i))%26
	}
	return fmt.Sprintf(`{"op":%d,"pad":"%s"}`, id, pad)
}

// watch asks all the time how far each vBucket is on disk, and keeps what it was told.
func (l *load) watch(ctx context.Context) error {
	c, err := l.dial(ctx)
	if err != nil {
		return broken(ctx, err)
	}
	defer c.Close()
	for ctx.Err() == nil {
		for vb := range vbucket.ID(vBuckets) {
			log, err := c.FailoverLog(ctx, vb)
			if err != nil {
				return broken(ctx, err)
			}
			seen, err := c.ObserveSeqno(ctx, vb, log.Current())
			if err != nil {
				return broken(ctx, err)
			}
			l.round.show(vb, vbucket.Position{UUID: seen.UUID, Seqno: seen.Persisted})
		}
	}
	return nil
}
