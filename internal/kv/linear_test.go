package kv

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/change/changetest"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// call is an operation of a concurrent client, and result what it was told.
type call struct {
	op    string
	key   string
	value string
	cas   vbucket.CAS
}

type result struct {
	err   error
	value string
	cas   vbucket.CAS
}

// register is one document as a linearizability model sees it. A lock is a CAS that replaces the document's own until then.
type register struct {
	there bool
	value string
	cas   vbucket.CAS
	lock  vbucket.CAS
}

// step says whether a result is possible in a state, and what the state is afterwards.
func step(state, input, output any) (bool, any) {
	s, c, r := state.(register), input.(call), output.(result)
	change := func(value string) (bool, any) {
		return r.err == nil, register{there: true, value: value, cas: r.cas}
	}
	refuse := func(want error) (bool, any) { return errors.Is(r.err, want), s }
	switch {
	case !s.there && c.op == "append":
		return refuse(ErrNotStored)
	case !s.there && c.op == "set" && c.cas == 0, !s.there && c.op == "add":
		return change(c.value)
	case !s.there && c.op == "counter":
		return change("0")
	case !s.there:
		return refuse(ErrNotFound)
	case c.op == "add":
		return refuse(ErrExists)
	case c.op == "get":
		want := s.cas
		if s.lock != 0 {
			want = vbucket.LockedCAS
		}
		return r.err == nil && r.value == s.value && r.cas == want, s
	case c.op == "unlock" && s.lock == 0:
		return refuse(ErrNotLocked)
	case c.op == "unlock" && s.lock != c.cas:
		return refuse(ErrLocked)
	case c.op == "unlock":
		next := s
		next.lock = 0
		return r.err == nil, next
	case s.lock != 0 && s.lock != c.cas:
		return refuse(ErrLocked)
	case s.lock == 0 && c.cas != 0 && c.cas != s.cas:
		return refuse(ErrCASMismatch)
	case c.op == "lock":
		next := s
		next.lock = r.cas
		return r.err == nil && r.value == s.value, next
	case c.op == "delete":
		return r.err == nil, register{}
	case c.op == "append":
		return change(s.value + c.value)
	case c.op == "counter":
		n, err := strconv.ParseUint(s.value, 10, 64)
		if err != nil {
			return refuse(ErrBadDelta)
		}
		return change(strconv.FormatUint(n+1, 10))
	}
	return change(c.value)
}

// client runs random operations and records them.
type client struct {
	k       *kit
	id      int
	random  *rand.Rand
	begun   time.Time
	history []porcupine.Operation
}

func (c *client) run(keys, n int) {
	known := map[string]vbucket.CAS{}
	for range n {
		key := fmt.Sprint("key", c.random.IntN(keys))
		ops := []string{"set", "set", "add", "get", "get", "get", "delete", "append", "counter", "lock", "unlock"}
		q := call{op: ops[c.random.IntN(len(ops))], key: key, value: strconv.Itoa(c.random.IntN(100))}
		if c.random.IntN(2) == 0 && q.op != "add" && q.op != "get" && q.op != "lock" && q.op != "counter" || q.op == "unlock" {
			q.cas = known[key]
		}
		if q.op == "unlock" && q.cas == 0 {
			continue
		}
		begun := time.Since(c.begun)
		r := c.do(q)
		c.history = append(c.history, porcupine.Operation{
			ClientId: c.id, Input: q, Output: r, Call: int64(begun), Return: int64(time.Since(c.begun)),
		})
		if r.err == nil && r.cas != 0 {
			known[key] = r.cas
		}
		if c.random.IntN(8) == 0 {
			runtime.Gosched()
		}
	}
}

func (c *client) do(q call) result {
	ctx, at := c.k.t.Context(), c.k.now()
	key := c.k.Key(vbucket.ID(len(q.key)%2), docid.Default, []byte(q.key))
	w := &Write{CAS: q.cas, Value: []byte(q.value)}
	var done Written
	var m Meta
	var v []byte
	var err error
	switch q.op {
	case "set":
		done, err = c.k.Set(ctx, at, key, w)
	case "add":
		done, err = c.k.Add(ctx, at, key, w)
	case "append":
		done, err = c.k.Append(ctx, at, key, w)
	case "delete":
		done, err = c.k.Delete(ctx, at, key, w)
	case "counter":
		_, done, err = c.k.Counter(ctx, at, key, &Count{Delta: 1, Create: true})
	case "get":
		m, v, err = c.k.Get(ctx, at, key, nil)
	case "lock":
		m, v, err = c.k.GetAndLock(ctx, at, key, 30, nil)
	case "unlock":
		err = c.k.Unlock(at, key, q.cas)
	}
	return result{err: err, value: string(v), cas: done.CAS + m.CAS}
}

// TestLinearizable has clients work on the same few documents at once. For each document there must be an order of its
// operations that agrees with when they were made and explains every answer.
func TestLinearizable(t *testing.T) {
	const clients, keys, each = 5, 3, 400
	k := newKit(t, func(o *Options) { o.Clock = hlc.New() })
	k.clock = k.options.Clock
	begun := time.Now()
	all := make([]*client, clients)
	var group sync.WaitGroup
	for i := range all {
		all[i] = &client{k: k, id: i, random: rand.New(rand.NewPCG(7, uint64(i))), begun: begun}
		group.Go(func() { all[i].run(keys, each) })
	}
	group.Wait()
	var history []porcupine.Operation
	for _, c := range all {
		history = append(history, c.history...)
	}
	model := porcupine.Model{
		Init: func() any { return register{} },
		Step: step,
		Partition: func(h []porcupine.Operation) [][]porcupine.Operation {
			byKey := map[string][]porcupine.Operation{}
			for _, op := range h {
				key := op.Input.(call).key
				byKey[key] = append(byKey[key], op)
			}
			var parts [][]porcupine.Operation
			for _, part := range byKey {
				parts = append(parts, part)
			}
			return parts
		},
	}
	if got := porcupine.CheckOperationsTimeout(model, history, 30*time.Second); got != porcupine.Ok {
		t.Errorf("%d operations of %d clients: %v", len(history), clients, got)
	}
	k.wantBooks()
}

// TestModelCatches feeds the linearizability model histories that must not pass: the check is no better than it.
func TestModelCatches(t *testing.T) {
	for name, c := range map[string]struct {
		s register
		c call
		r result
	}{
		"a read of nothing":      {register{}, call{op: "get"}, result{value: "1", cas: 5}},
		"an old value":           {register{there: true, value: "2", cas: 6}, call{op: "get"}, result{value: "1", cas: 5}},
		"a lost CAS check":       {register{there: true, value: "2", cas: 6}, call{op: "set", cas: 5}, result{cas: 7}},
		"a write through a lock": {register{there: true, cas: 6, lock: 8}, call{op: "set"}, result{cas: 9}},
		"a second add":           {register{there: true, cas: 6}, call{op: "add"}, result{cas: 9}},
	} {
		if ok, _ := step(c.s, c.c, c.r); ok {
			t.Errorf("%s passes", name)
		}
	}
}

// TestManyWritersOneReader has several clients write the same documents while a reader follows and loses its place. Every
// snapshot must be a state that the vBucket really had. Seqnos have no gaps here, so a state is known once all writes up to
// its end have been noted.
func TestManyWritersOneReader(t *testing.T) {
	const writers, each = 4, 2000
	k := newKit(t, func(o *Options) { o.Clock = hlc.New() })
	k.clock = k.options.Clock
	s, h := k.subject(), changetest.NewHistory()
	r, err := k.Open(change.Options{Name: "reader", MaxBatchBytes: 200})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f := changetest.NewFollower(r, h)
	f.Late = func(vb vbucket.ID, high vbucket.Seqno) {
		for h.Count(vb, high) < int(high) {
			runtime.Gosched()
		}
	}
	if err := f.Add(0); err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	for i := range writers {
		random := rand.New(rand.NewPCG(3, uint64(i)))
		group.Go(func() {
			for n := range each {
				key, value := fmt.Sprint("k", random.IntN(8)), fmt.Sprint(i, "/", n, " ", string(make([]byte, random.IntN(100))))
				h.Note(0, changetest.Version{Seqno: s.Set(0, key, value), Key: key, Value: value})
				if n%500 == 99 {
					k.fall(0)
				}
			}
		})
	}
	for f.Position(0).Seqno < writers*each {
		b, err := f.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if b.End != nil {
			f.Restart(0)
			if err := f.Add(0); err != nil {
				t.Fatal(err)
			}
		}
	}
	group.Wait()
	k.wantBooks()
}
