package mcserver

import (
	"context"
	"encoding/json"
	"net"
	"time"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/trace"
)

// What can be seen of requests while they are served: stages, slow operations, probes (observability.md 4 to 7). The rule on
// this path is that a clock is read once a batch and never for the sake of a probe that nobody listens to.

// traceOps gives the name under which probes and slow operations know an opcode.
//
//nolint:gochecknoglobals // a constant table
var traceOps = makeTraceOps()

func makeTraceOps() (t [256]trace.Op) {
	for o := range t {
		t[o] = trace.OpOther
		if op := mcbp.Lookup(mcbp.Opcode(o)); op != nil {
			if named, ok := trace.OpNamed(op.Name); ok {
				t[o] = named
			}
		}
	}
	return t
}

// traced is what probes need to know of a connection.
type traced struct {
	batch  trace.Batch
	shard  *trace.Shard
	client trace.Text // address without port
	bucket trace.Text // of the selected bucket
	port   trace.Port

	requests, in, out int64 // since it was accepted, the latter two in bytes
	answered          int64 // requests before the last write that was timed
	writes            int64
	why               trace.CloseReason // why it ends, if that is known
}

// Which writes are timed: reading the clock for each would cost a request at depth 1 more than it tells.
const (
	timedWrite  = 16       // one in so many
	timedLength = 64 << 10 // bytes, and all that are longer
)

// wrote counts a write to the socket. A begun above 0 is the monotonic time before it.
func (t *traced) wrote(c *conn, n int, begun int64) {
	t.writes++
	t.out += int64(n)
	if begun == 0 {
		return
	}
	dur := c.server.clock.Now().Mono - begun
	frames := t.requests - t.answered
	t.answered = t.requests
	c.server.numbers.stages.Add(trace.StageSend, dur, 1)
	if trace.NetWrite.On() {
		trace.NetWrite.Fire(t.shard, c.id, int64(n), frames, time.Duration(dur))
	}
}

// received counts what a read brought: so many bytes, with the ends of so many requests.
func (t *traced) received(c *conn, n int, requests int64) {
	t.in += int64(n)
	if trace.NetRead.On() {
		trace.NetRead.Fire(t.shard, c.id, int64(n), requests)
	}
}

// timesWrite says whether a write of n bytes is to be timed.
func (t *traced) timesWrite(n int) bool {
	return trace.Enabled && (t.writes%timedWrite == 0 || n >= timedLength || trace.NetWrite.On())
}

// host is the address of the client without its port.
func (c *conn) host() string {
	host, _, err := net.SplitHostPort(c.remote())
	if err != nil {
		return c.remote()
	}
	return host
}

// begin tells the probes of a new connection.
func (t *traced) begin(ctx context.Context, c *conn) context.Context {
	if !trace.Enabled {
		return ctx
	}
	node := c.server.options.Trace
	t.shard, t.client = node.Shard(c.id), node.Intern(c.host())
	if trace.ConnOpen.On() {
		trace.ConnOpen.Fire(t.shard, c.id, t.client, t.port, c.secure)
	}
	return t.batch.Context(ctx)
}

// end tells them that it is over.
func (t *traced) end(c *conn) {
	if !trace.ConnClose.On() {
		return
	}
	if t.why == 0 {
		t.why = trace.CloseReasonClient
	}
	trace.ConnClose.Fire(t.shard, trace.ConnCloseFields{
		Conn: c.id, Client: t.client, Port: t.port, Reason: t.why, Dur: time.Since(c.accepted), Ops: t.requests,
		BytesIn: t.in, BytesOut: t.out,
	})
}

// loginDone tells how an attempt to log in ended whose last step began at a monotonic time.
func (c *conn) loginDone(mech string, begun int64, err error) {
	if !trace.AuthDone.On() {
		return
	}
	status := trace.StatusOK
	if err != nil {
		status = trace.StatusRefused
	}
	m := trace.MechOther
	switch mech {
	case mcbp.MechPlain:
		m = trace.MechPlain
	case mcbp.MechSCRAMSHA1:
		m = trace.MechScramSha1
	case mcbp.MechSCRAMSHA256:
		m = trace.MechScramSha256
	case mcbp.MechSCRAMSHA512:
		m = trace.MechScramSha512
	}
	dur := time.Duration(c.server.clock.Now().Mono - begun)
	trace.AuthDone.Fire(c.traced.shard, c.id, c.traced.client, m, status, dur)
}

// stamp notes a request whose reply, if it got one, is the end of out from mark on.
func (w *work) stamp(q *request, mark int, class outcome, counts *opNumbers) {
	st := &w.stamps[w.stamped]
	w.stamped++
	*st = stamp{at: -1, out: len(w.out) - mark, kind: q.op.Class, class: class, counts: counts, op: traceOps[q.Opcode], q: q}
	if st.out > 0 && mcbp.Magic(w.out[mark]) == mcbp.MagicFlexResponse {
		st.at = mark
	}
}

// fireStart tells the probes that a request is carried out.
func (c *conn) fireStart(q *request) {
	t := &c.traced
	trace.OpStart.Fire(t.shard, trace.OpStartFields{
		Op: traceOps[q.Opcode], Bucket: t.bucket, VB: q.VB, Conn: c.id, Client: t.client, Opaque: uint64(q.Opaque),
		BytesIn: int64(q.size), Key: trace.KeyOf(q.key.Name),
	})
}

// tell is called for the requests of w.stamps when their duration is known, if somebody listens or they took long enough
// that one of them may be slow.
func (c *conn) tell(w *work, ns int64) {
	if trace.OpByOp() {
		for i := range w.stamped {
			c.fire(w, i)
		}
	}
	if slow := c.server.options.Slow; slow.Over(ns) {
		c.traced.batch.Slow(func(i int, k trace.Clock, victims int) { c.slow(w, i, k, victims) })
	}
}

// fire tells the probes of one request.
func (c *conn) fire(w *work, i int) {
	st, t := &w.stamps[i], &c.traced
	k := t.batch.Clock(i)
	if trace.OpDone.On() {
		trace.OpDone.Fire(t.shard, trace.OpDoneFields{
			Op: st.op, Status: st.class.status(), Class: st.class.traced(), Bucket: t.bucket, Coll: int64(st.q.key.Coll), VB: st.q.VB,
			Conn: c.id, Client: t.client, Opaque: uint64(st.q.Opaque), Level: trace.Level(st.q.infos.Durability), Dur: time.Duration(k.Dur()),
			Recv: time.Duration(k.Stage(trace.StageRecv)), Queue: time.Duration(k.Stage(trace.StageQueue)),
			Lock: time.Duration(k.Stage(trace.StageLock)), Exec: time.Duration(k.Stage(trace.StageExec)),
			Fetch: time.Duration(k.Stage(trace.StageFetch)), Flush: time.Duration(k.Stage(trace.StageFlush)),
			Fsync: time.Duration(k.Stage(trace.StageFsync)), Repl: time.Duration(k.Stage(trace.StageRepl)),
			Batch: int64(w.count), BytesIn: int64(st.q.size), BytesOut: int64(st.out), Key: trace.KeyOf(st.q.key.Name),
		})
	}
	if trace.OpStage.On() {
		k.Fire(t.shard, st.op, t.bucket, st.q.VB)
	}
}

// slow keeps one request in the log of slow operations if it is one.
func (c *conn) slow(w *work, i int, k trace.Clock, victims int) {
	st, log := &w.stamps[i], c.server.options.Slow
	if !log.IsSlow(st.op, k.Dur()) {
		return
	}
	op := trace.SlowOp{
		Op: st.op, Status: st.class.String(), Bucket: c.session.bucketName(), VB: st.q.VB, Key: trace.KeyOf(st.q.key.Name), Clock: k,
		BytesIn: st.q.size, BytesOut: st.out, Batch: w.stamped, Conn: c.id, Client: c.host(), LocalID: c.session.localID,
		Opaque: st.q.Opaque, Victims: victims,
	}
	if level := spec.Durability(st.q.infos.Durability); level != 0 {
		op.Level = level.String()
	}
	log.Add(op)
}

// status and traced give an outcome in the words of the probes.
func (o outcome) status() trace.Status {
	switch o {
	case succeeded, missed:
		return trace.StatusOK
	case refused, delayed:
		return trace.StatusRefused
	default:
		return trace.StatusFailed
	}
}

func (o outcome) traced() trace.Class {
	return [numOutcomes]trace.Class{
		trace.ClassOK, trace.ClassMiss, trace.ClassClientError, trace.ClassTemporary, trace.ClassServerError,
	}[o]
}

// localIDOf finds the identifier that an SDK gave its connection in HELLO. It writes the same into its own log of slow
// operations, so that one search finds both sides.
func localIDOf(key []byte) string {
	var agent struct {
		I string `json:"i"`
	}
	if json.Unmarshal(key, &agent) != nil {
		return ""
	}
	return printable(agent.I)
}
