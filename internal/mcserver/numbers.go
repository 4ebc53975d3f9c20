package mcserver

import (
	"math/bits"
	"sync"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/trace"
)

// maxTimedBuckets bounds the buckets whose operations are timed apart from each other.
const maxTimedBuckets = 10

// noBucket labels requests of connections that have not selected a bucket.
const noBucket = "_none"

// numbers are the server's metrics (observability.md 18).
type numbers struct {
	ports    [3]*portNumbers // as portNames
	rejected *metrics.Counter
	logins   *metrics.Counter
	failures *metrics.Counters   // by mechanism
	requests *metrics.Counters   // by class of operation, bucket, outcome
	times    *metrics.Histograms // by class of operation, bucket
	stages   *trace.Stages

	buckets struct {
		sync.Mutex
		ops map[string]*opNumbers
	}
}

func newNumbers(set *metrics.Set) *numbers {
	port := metrics.Label{Name: "port", Max: 5}
	op, bucket := metrics.Label{Name: "op", Max: mcbp.NumClasses}, metrics.BucketLabel()
	timed := metrics.Label{Name: "bucket", Max: maxTimedBuckets} // a histogram has 15 series
	open := set.Gauges(metrics.Desc{
		Name: "net_connections", Help: "Open client connections.", Labels: []metrics.Label{port},
	})
	total := set.Counters(metrics.Desc{
		Name: "net_connections_total", Help: "Client connections accepted.", Labels: []metrics.Label{port},
	})
	moved := set.Counters(metrics.Desc{
		Name: "net_bytes_total", Help: "Bytes received from and sent to clients.", Unit: metrics.Bytes,
		Labels: []metrics.Label{port, {Name: "dir", Max: 2}},
	})
	n := &numbers{
		rejected: set.Counters(metrics.Desc{
			Name: "net_connections_rejected_total", Help: "Client connections refused because too many were open.",
		}).With(),
		logins: set.Counters(metrics.Desc{Name: "auth_attempts_total", Help: "Logins begun on the KV ports."}).With(),
		failures: set.Counters(metrics.Desc{
			Name: "auth_failures_total", Help: "Logins refused on the KV ports.", Labels: []metrics.Label{{Name: "mech", Max: 6}},
		}),
		requests: set.Counters(metrics.Desc{
			Name: "kv_ops_total", Help: "Requests answered, by class of operation and outcome.",
			Labels: []metrics.Label{op, bucket, {Name: "class", Max: numOutcomes}},
		}),
		times: set.Histograms(metrics.Desc{
			Name: "kv_op_duration_seconds", Help: "Time from the arrival of a request to its reply being ready.",
			Labels: []metrics.Label{op, timed},
		}),
	}
	stages := set.Histograms(metrics.Desc{
		Name: "kv_stage_duration_seconds", Help: "Time of requests by what it was spent on; a request counts in each stage that " +
			"it spent time in.",
		Labels: []metrics.Label{{Name: "stage", Max: int(trace.NumStage)}},
	})
	n.stages = trace.NewStages(func(stage string) trace.Recorder { return stages.With(stage) })
	for i, name := range portNames() {
		n.ports[i] = &portNumbers{
			open: open.With(name), total: total.With(name), in: moved.With(name, "in"), out: moved.With(name, "out"),
		}
	}
	n.buckets.ops = map[string]*opNumbers{}
	return n
}

// portNames are the ports' names in metrics; those of the binary protocol are named as in configurations.
func portNames() [3]string { return [...]string{"kv", "kvSSL", portMemcached} }

func (n *numbers) port(name string) *portNumbers {
	for i, known := range portNames() {
		if known == name {
			return n.ports[i]
		}
	}
	return n.ports[0]
}

// loginFailures gives the counter of a mechanism. Names come from strangers, so only those that we offer are told apart.
func (n *numbers) loginFailures(mech string) *metrics.Counter {
	switch mech {
	case mcbp.MechPlain, mcbp.MechSCRAMSHA1, mcbp.MechSCRAMSHA256, mcbp.MechSCRAMSHA512:
		return n.failures.With(mech)
	}
	return n.failures.With(metrics.Other)
}

// ops gives the numbers of a bucket's operations.
func (n *numbers) ops(bucket string) *opNumbers {
	if bucket == "" {
		bucket = noBucket
	}
	n.buckets.Lock()
	defer n.buckets.Unlock()
	if o := n.buckets.ops[bucket]; o != nil {
		return o
	}
	o := &opNumbers{}
	for class := range o.times {
		name := mcbp.Class(class).String()
		o.times[class] = n.times.With(name, bucket)
		for out := range o.requests[class] {
			o.requests[class][out] = n.requests.With(name, bucket, outcome(out).String())
		}
	}
	n.buckets.ops[bucket] = o
	return o
}

// keep forgets the numbers of buckets that are not in the list any more.
func (n *numbers) keep(has func(bucket string) bool) {
	n.buckets.Lock()
	defer n.buckets.Unlock()
	for bucket := range n.buckets.ops {
		if bucket != noBucket && !has(bucket) {
			delete(n.buckets.ops, bucket)
			n.requests.Forget(1, bucket)
			n.times.Forget(1, bucket)
		}
	}
}

// opNumbers are the members of the families for one bucket, so that counting needs no look-up.
type opNumbers struct {
	requests [mcbp.NumClasses][numOutcomes]*metrics.Counter
	times    [mcbp.NumClasses]*metrics.Histogram
}

// tally counts the requests of a batch, which all took the same time, and adds each kind to the numbers at once: additions
// that other processors see are the dear part of counting. It is for one goroutine, and one batch.
type tally struct {
	counts *opNumbers
	kinds  uint64 // bit kind × numOutcomes + outcome: there are some of it
	some   [mcbp.NumClasses * numOutcomes]uint8
}

func (t *tally) add(st *stamp, ns int64) {
	if t.counts != st.counts {
		t.flush(ns)
		t.counts = st.counts
	}
	i := int(st.kind)*numOutcomes + int(st.class)
	t.kinds |= 1 << i
	t.some[i]++
}

func (t *tally) flush(ns int64) {
	for ; t.kinds != 0; t.kinds &= t.kinds - 1 {
		i := bits.TrailingZeros64(t.kinds)
		kind, out, n := i/numOutcomes, i%numOutcomes, uint64(t.some[i])
		t.counts.requests[kind][out].Add(n)
		if trace.Enabled { // a build without probes has no histograms either, to show what both cost
			t.counts.times[kind].RecordMany(uint64(ns), n)
		}
		t.some[i] = 0
	}
}

// portNumbers are the members of the families for one port.
type portNumbers struct {
	open           *metrics.Gauge
	total, in, out *metrics.Counter
}

func (p *portNumbers) accepted() {
	p.open.Add(1)
	p.total.Inc()
}

func (p *portNumbers) gone()          { p.open.Add(-1) }
func (p *portNumbers) received(n int) { p.in.Add(uint64(n)) }
func (p *portNumbers) sent(n int)     { p.out.Add(uint64(n)) }
