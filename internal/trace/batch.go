package trace

import "context"

// Batch is the stage clock of the requests that a connection read together and whose replies leave together. Two readings of
// the clock serve all of them: one when the input had arrived, one when the replies are ready. A reading for each request
// would cost a pipelined GET a twentieth of its time.
//
// A batch is settled once, or in several windows when its requests are timed one by one or some of them may wait long. With
// begun as the beginning of the batch, a window [from, now] with n requests gives each of them
//
//	exec   its share of the time in the window that nobody waited, (now − from − waits) / n
//	waits  its own, by stage, as far as it left any in Waits
//	queue  the rest: what it owes to the others that it shares the batch with
//	recv   the time before begun, for a request that came in pieces; only the first of a batch can
//
// and these add up to its duration exactly. A Batch belongs to the goroutine of its connection. The zero value works.
type Batch struct {
	begun int64 // the batch's input had arrived
	from  int64 // the window begins
	recv  int64 // before begun, of the first request
	waits Waits

	window struct { // the last one that was settled
		from, to, recv, share int64
		n                     int
	}
}

// Context gives operations the way to this batch's Waits. Call it once a connection: it allocates.
func (b *Batch) Context(ctx context.Context) context.Context {
	if !Enabled {
		return ctx
	}
	return context.WithValue(ctx, waitsKey{}, &b.waits)
}

// Begin begins a batch whose input had arrived at now. first is when the first byte of its first request had arrived, 0 if
// that came whole.
func (b *Batch) Begin(now, first int64) {
	if !Enabled {
		return
	}
	b.begun, b.from, b.recv = now, now, 0
	if first > 0 && first < now {
		b.recv = now - first
	}
	b.waits.settled = true
}

// At says which request of the window is carried out next, counted from 0.
func (b *Batch) At(op int) {
	if Enabled {
		b.waits.op = op
	}
}

// Settle ends a window: the replies to n requests are ready at now. It counts their stages and returns the duration that
// all of them share, in nanoseconds; that of the first request of a batch may be longer, see Clock. It costs two additions
// to histograms when nobody waited. Until the next Settle, Clock and Slow tell about the window.
func (b *Batch) Settle(now int64, n int, stages *Stages) int64 {
	if !Enabled || n <= 0 {
		return 0
	}
	w := &b.window
	now = max(now, b.from)
	w.from, w.to, w.n, w.recv = b.from, now, n, b.recv
	b.from, b.recv = now, 0
	if b.waits.settled {
		b.waits.count = 0
	}
	b.waits.settled = true
	waited := int64(0)
	for i := range b.waits.count {
		waited += b.waits.list[i].ns
	}
	if waited > w.to-w.from { // it was measured by another clock, and cannot be true
		b.waits.count, waited = 0, 0
	}
	w.share = (w.to - w.from - waited) / int64(n)
	b.record(stages)
	return w.to - b.begun
}

func (b *Batch) record(stages *Stages) {
	if stages == nil {
		return
	}
	w := &b.window
	total, others := w.to-b.begun, w.n
	stages.Add(StageExec, w.share, w.n)
	stages.Add(StageRecv, w.recv, 1)
	for i := range b.waits.count {
		e := &b.waits.list[i]
		stages.Add(e.stage, e.ns, 1)
		if b.waits.first(i) {
			stages.Add(StageQueue, total-w.share-b.waits.of(e.op), 1)
			others--
		}
	}
	stages.Add(StageQueue, total-w.share, others)
}

// Clock gives the stages of one request of the window.
func (b *Batch) Clock(op int) Clock {
	w := &b.window
	c := Clock{start: b.begun, last: w.to}
	if op == 0 && w.recv > 0 {
		c.start -= w.recv
		c.stages[StageRecv] = w.recv
	}
	c.stages[StageExec] = w.share
	c.stages[StageQueue] = w.to - b.begun - w.share
	for i := range b.waits.count {
		if e := &b.waits.list[i]; e.op == op {
			c.stages[e.stage] += e.ns
			c.stages[StageQueue] -= e.ns
		}
	}
	return c
}

// Slow names the requests of the window that made it slow, if it was slow: those that waited for at least an eighth of it,
// each with how many others it held up; or the first one if nobody waited, because then nothing tells them apart.
func (b *Batch) Slow(each func(op int, c Clock, victims int)) {
	w := &b.window
	found := false
	for i := range b.waits.count {
		op := b.waits.list[i].op
		if b.waits.first(i) && b.waits.of(op)*8 >= w.to-w.from {
			found = true
			each(op, b.Clock(op), w.n-1)
		}
	}
	if !found {
		each(0, b.Clock(0), w.n-1)
	}
}
