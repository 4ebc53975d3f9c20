package trace

import "context"

// maxWaits bounds the waits that are remembered of one batch. What else was waited counts as execution.
const maxWaits = 8

// wait says that an operation of a batch stood still.
type wait struct {
	op    int
	stage Stage
	ns    int64
}

// Waits is where code below an operation leaves what it had to wait for: a lock, a value on disk, an fsync. Nothing is left
// when nothing was waited for, so the common path does not know of it. It reaches that code through the context and belongs
// to the goroutine of the operation. A nil *Waits forgets everything.
type Waits struct {
	op      int // index of the operation that is being carried out
	count   int
	settled bool // what is in list was accounted for; the next wait begins anew
	list    [maxWaits]wait
}

type waitsKey struct{}

// WaitsOf finds the Waits of an operation, nil if it has none. It costs a walk over the context: call it where something was
// waited for, not before.
func WaitsOf(ctx context.Context) *Waits {
	w, _ := ctx.Value(waitsKey{}).(*Waits)
	return w
}

// Add says that the present operation waited for so many nanoseconds.
func (w *Waits) Add(s Stage, ns int64) {
	if !Enabled || w == nil || ns <= 0 {
		return
	}
	if w.settled {
		w.settled, w.count = false, 0
	}
	for i := range w.count {
		if e := &w.list[i]; e.op == w.op && e.stage == s {
			e.ns += ns
			return
		}
	}
	if w.count < maxWaits {
		w.list[w.count] = wait{w.op, s, ns}
		w.count++
	}
}

// of adds up what operation op waited for.
func (w *Waits) of(op int) (ns int64) {
	for i := range w.count {
		if w.list[i].op == op {
			ns += w.list[i].ns
		}
	}
	return ns
}

// first reports whether entry i is the first of its operation.
func (w *Waits) first(i int) bool {
	for j := range i {
		if w.list[j].op == w.list[i].op {
			return false
		}
	}
	return true
}
