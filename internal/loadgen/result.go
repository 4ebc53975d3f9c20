package loadgen

import (
	"fmt"
	"time"
)

// clientBound is the share of one core from which on the generator may be what limits the run.
const clientBound = 0.8

// Result is what a run measured. Its JSON names are stable. Latencies are in nanoseconds: in the closed loop from the moment
// at which the batch was sent, in the open loop from the moment at which the operation should have been sent.
type Result struct {
	Ops       uint64  `json:"ops"` // answered, misses and errors among them
	Misses    uint64  `json:"misses"`
	Errors    uint64  `json:"errors"`
	Example   string  `json:"error_example,omitempty"` // the first error
	Unsent    uint64  `json:"unsent,omitempty"`        // open loop: due and not sent, because all connections were busy
	Seconds   float64 `json:"seconds"`
	OpsPerSec float64 `json:"ops_per_second"`

	ServerCPU   float64 `json:"server_cpu_ns_per_op,omitempty"` // 0: not known
	ServerTotal float64 `json:"server_cpu_seconds,omitempty"`
	OwnCPU      float64 `json:"client_cpu_ns_per_op,omitempty"` // of the generator; 0: not known
	OwnShare    float64 `json:"client_cpu_cores,omitempty"`     // 1: one core
	ClientBound bool    `json:"client_bound,omitempty"`         // the generator may be what limits the run

	Mean time.Duration `json:"mean_ns"`
	P50  time.Duration `json:"p50_ns"`
	P90  time.Duration `json:"p90_ns"`
	P99  time.Duration `json:"p99_ns"`
	P999 time.Duration `json:"p999_ns"`
	Max  time.Duration `json:"max_ns"`

	Curve []Point `json:"percentiles,omitempty"`
}

// Point says that the share Q of all latencies does not exceed Latency.
type Point struct {
	Q       float64       `json:"q"`
	Latency time.Duration `json:"ns"`
}

// curveShares are the shares that Curve has: dense where latencies are told apart by few operations.
func curveShares() []float64 {
	shares := []float64{0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}
	for tail := 0.25; tail > 1e-6; tail /= 2 {
		shares = append(shares, 1-tail)
	}
	return append(shares, 1)
}

func newResult(p *pass, m *measure, elapsed time.Duration) Result {
	h := &m.latency
	r := Result{
		Ops: m.ops, Misses: m.misses, Errors: m.errors, Example: m.example, Unsent: p.unsent(), Seconds: elapsed.Seconds(),
		P50: h.quantile(0.5), P90: h.quantile(0.9), P99: h.quantile(0.99), P999: h.quantile(0.999), Max: time.Duration(h.max),
	}
	if m.ops > 0 {
		r.Mean = time.Duration(h.sum / m.ops)
		r.OpsPerSec = float64(m.ops) / elapsed.Seconds()
		for _, q := range curveShares() {
			r.Curve = append(r.Curve, Point{q, h.quantile(q)})
		}
	}
	return r
}

func (r *Result) setOwnCPU(before, after, elapsed time.Duration) {
	if before < 0 || after < 0 || r.Ops == 0 {
		return
	}
	used := after - before
	r.OwnCPU = float64(used) / float64(r.Ops)
	r.OwnShare = used.Seconds() / elapsed.Seconds()
	r.ClientBound = r.OwnShare > clientBound
}

func (r *Result) setServerCPU(used time.Duration) {
	r.ServerTotal = used.Seconds()
	if r.Ops > 0 {
		r.ServerCPU = float64(used) / float64(r.Ops)
	}
}

// String is one line for people.
func (r Result) String() string {
	s := fmt.Sprintf("%.0f ops/s, %d ops in %.2f s, p50 %v p90 %v p99 %v p99.9 %v max %v", r.OpsPerSec, r.Ops, r.Seconds,
		round(r.P50), round(r.P90), round(r.P99), round(r.P999), round(r.Max))
	if r.ServerCPU > 0 {
		s += fmt.Sprintf(", server %.0f ns/op", r.ServerCPU)
	}
	if r.OwnCPU > 0 {
		s += fmt.Sprintf(", client %.0f ns/op (%.2f cores)", r.OwnCPU, r.OwnShare)
	}
	if r.ClientBound {
		s += ", client-bound"
	}
	if r.Misses > 0 {
		s += fmt.Sprintf(", %d misses", r.Misses)
	}
	if r.Unsent > 0 {
		s += fmt.Sprintf(", %d not sent in time", r.Unsent)
	}
	if r.Errors > 0 {
		s += fmt.Sprintf(", %d errors (%s)", r.Errors, r.Example)
	}
	return s
}

// round keeps three digits of a duration.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
