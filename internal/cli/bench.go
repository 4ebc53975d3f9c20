package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/loadgen"
)

// benchPrefix begins the keys that bench calls its own: it may write and delete them in any bucket.
const benchPrefix = "bench:"

// cleanupLimit bounds how long bench goes on to delete its documents after it was interrupted.
const cleanupLimit = 30 * time.Second

// benchCmd loads a server and measures it.
type benchCmd struct {
	documents
	format
	Address  string `placeholder:"HOST:PORT" help:"A server without login and buckets instead: Charpoy's port for plain memcached, memcached, redis."`
	Protocol string `enum:"binary,binary-quiet,meta,ascii,ascii-multi,resp" default:"binary" help:"binary, binary-quiet; with --address also meta, ascii, ascii-multi, resp (${default})."`

	Conns    int           `default:"16" placeholder:"N" help:"Connections (${default})."`
	Depth    int           `default:"16" placeholder:"N" help:"Requests that a connection sends before it waits for their replies (${default})."`
	Rate     float64       `placeholder:"N" help:"Operations a second over all connections, whether the server keeps up or not; without it, as many as the server answers."`
	Duration time.Duration `default:"5s" placeholder:"D" help:"How long it is measured (${default})."`
	Ops      uint64        `placeholder:"N" help:"End after so many operations, if that is earlier."`
	Warmup   time.Duration `default:"500ms" placeholder:"D" help:"Load before it is measured (${default})."`

	Keys      int     `default:"100000" placeholder:"N" help:"Different keys (${default})."`
	KeySize   int     `default:"16" placeholder:"BYTES" help:"Length of the keys (${default})."`
	Prefix    string  `default:"bench:" placeholder:"TEXT" help:"How the keys begin (${default})."`
	ValueSize []int   `default:"100" placeholder:"BYTES" help:"Size of the values; of several each is as likely (${default})."`
	Value     string  `enum:"raw,json" default:"json" help:"json or raw: what the values are (${default})."`
	Gets      float64 `default:"0.95" placeholder:"SHARE" help:"Share of reads, 0 to 1 (${default})."`
	Zipf      float64 `placeholder:"THETA" help:"Prefer some keys: 0 all are as likely, 0.99 is usual for skewed load."`
	Seed      uint64  `default:"1" placeholder:"N" help:"The same seed makes the same requests (${default})."`

	Preload bool   `negatable:"" default:"true" help:"Write every key before anything is measured (on)."`
	Cleanup bool   `help:"Delete all keys at the end."`
	Verify  bool   `help:"Compare each value that is read with what must be there."`
	PID     int    `name:"pid" placeholder:"N" help:"Process of the server on this machine: print its CPU time an operation."`
	Plot    string `placeholder:"FILE.svg" type:"path" help:"Draw the percentiles of latency."`
}

// Help is the long help.
func (*benchCmd) Help() string {
	return "Loads the bucket of a running server and prints throughput and latency. Its documents have keys of their own, which begin " +
		"with " + benchPrefix + "; with another --prefix the bucket must be empty. One thread makes the load; if it is busy for more than 0.8 " +
		"of a second each second, the result says so: then the server could do more.\n\n" +
		"Example: charpoy bench --duration 3s --cleanup"
}

// benchLine is a result with -o json: what was asked, then what came of it.
type benchLine struct {
	Protocol   string  `json:"protocol"`
	Conns      int     `json:"connections"`
	Depth      int     `json:"depth"`
	Rate       float64 `json:"rate,omitempty"`
	Keys       int     `json:"keys"`
	KeySize    int     `json:"key_bytes"`
	ValueSizes []int   `json:"value_bytes"`
	Value      string  `json:"value"`
	Gets       float64 `json:"gets"`
	Zipf       float64 `json:"zipf"`
	Seed       uint64  `json:"seed"`
	loadgen.Result
}

// Run makes the load.
func (c *benchCmd) Run(a *app) error {
	o, vbuckets, err := c.aim(a)
	if err != nil {
		return err
	}
	w, err := loadgen.NewWorkload(loadgen.WorkloadOptions{
		Keys: c.Keys, KeyBytes: c.KeySize, Prefix: c.Prefix, Values: loadgen.ValueKind(c.Value), ValueBytes: c.ValueSize,
		GetShare: c.Gets, Theta: c.Zipf, VBuckets: vbuckets, Seed: c.Seed,
	})
	if err != nil {
		return benchFailure(err)
	}
	g, err := loadgen.New(w, o)
	if err != nil {
		return benchFailure(err)
	}
	r, err := c.measure(a, g)
	if c.Cleanup {
		err = errors.Join(err, c.clean(a, g))
	}
	if err != nil {
		return benchFailure(err)
	}
	return c.show(a, r)
}

// aim finds out where the load goes and how many vBuckets are there.
func (c *benchCmd) aim(a *app) (o loadgen.Options, vbuckets int, err error) {
	o = loadgen.Options{
		Addr: c.Address, Protocol: loadgen.Protocol(c.Protocol), Conns: c.Conns, Depth: c.Depth, Rate: c.Rate, Duration: c.Duration,
		Ops: c.Ops, Warmup: c.Warmup, ServerPID: c.PID, Verify: c.Verify,
	}
	own := strings.HasPrefix(c.Prefix, benchPrefix)
	if c.Address != "" {
		if !own {
			return o, 0, fail(exitRefused, "what the server at %s holds is not known, and keys that begin with %q may be somebody's",
				c.Address, c.Prefix).do("Leave --prefix out, or let it begin with %s", benchPrefix)
		}
		return o, 0, nil
	}
	if o.Protocol != loadgen.Binary && o.Protocol != loadgen.BinaryQuiet {
		return o, 0, fail(exitUsage, "the key-value port does not speak %s", c.Protocol).
			do("Give the port that does: --address host:port")
	}
	options, err := c.options(a)
	if err != nil {
		return o, 0, err
	}
	conn, err := dialBucket(a.ctx, options)
	if err != nil {
		return o, 0, err
	}
	defer conn.Close()
	if !own {
		if err := onlyIfEmpty(a.ctx, conn, options.Bucket); err != nil {
			return o, 0, err
		}
	}
	o.Addr, o.User, o.Password, o.TLS, o.Bucket = options.Addr, options.User, options.Password, options.TLS, options.Bucket
	return o, len(conn.Config().Map), nil
}

// onlyIfEmpty refuses a bucket that holds documents: the load would overwrite those whose keys it hits.
func onlyIfEmpty(ctx context.Context, conn *client.Conn, bucket string) error {
	list, err := conn.Stats(ctx, "")
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Name == "curr_items" && s.Value != "0" {
			return fail(exitRefused, "bucket %q holds %s documents, and the load could overwrite them", bucket, s.Value).
				do("Leave --prefix out: keys that begin with %s are the benchmark's own. Or make a bucket for it.", benchPrefix)
		}
	}
	return nil
}

// measure loads the keys and runs the load, with progress.
func (c *benchCmd) measure(a *app, g *loadgen.Generator) (loadgen.Result, error) {
	if c.Preload {
		stop := a.follow(g, "load", float64(c.Keys), 0, c.Output != "table")
		err := g.Preload(a.ctx)
		stop()
		if err != nil {
			return loadgen.Result{}, fmt.Errorf("load the keys: %w", err)
		}
	}
	stop := a.follow(g, "measure", float64(c.Ops), c.Warmup+c.Duration, c.Output != "table")
	defer stop()
	return g.Run(a.ctx)
}

// clean deletes the keys, also after an interruption.
func (c *benchCmd) clean(a *app, g *loadgen.Generator) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), cleanupLimit)
	defer cancel()
	if err := g.Cleanup(ctx); err != nil {
		return fmt.Errorf("delete the keys: %w", err)
	}
	return nil
}

// show prints the result. Operations that failed make the command fail, after their figures were printed.
func (c *benchCmd) show(a *app, r loadgen.Result) error {
	line := benchLine{
		c.Protocol, c.Conns, c.Depth, c.Rate, c.Keys, c.KeySize, c.ValueSize, c.Value, c.Gets, c.Zipf, c.Seed, r,
	}
	out := &table{columns: []string{"ops/s", "ops", "misses", "errors", "p50", "p90", "p99", "p99.9", "max", "server cpu/op", "client cpu/op"}}
	out.add(line, groups(int64(r.OpsPerSec)), groups(int64(r.Ops)), groups(int64(r.Misses)), groups(int64(r.Errors)), brief(r.P50),
		brief(r.P90), brief(r.P99), brief(r.P999), brief(r.Max), nanos(r.ServerCPU), nanos(r.OwnCPU))
	if err := a.print(c.format, out); err != nil {
		return err
	}
	if c.Plot != "" {
		if err := os.WriteFile(c.Plot, plotLatency(c.title(), r), 0o644); err != nil { //nolint:gosec // a picture for everybody
			return err
		}
		a.note("plot in %s", c.Plot)
	}
	if r.ClientBound {
		a.note("client-bound: the load generator used %.2f of its one core, so the server may be able to do more", r.OwnShare)
	}
	if r.Unsent > 0 {
		a.note("%s operations were due and could not be sent: all connections were waiting for the server", groups(int64(r.Unsent)))
	}
	if r.Errors > 0 {
		return fail(exitFailed, "%s of %s operations failed, the first with: %s", groups(int64(r.Errors)), groups(int64(r.Ops)), r.Example)
	}
	return nil
}

// title says in a line what was asked.
func (c *benchCmd) title() string {
	loop := "closed loop"
	if c.Rate > 0 {
		loop = fmt.Sprintf("%g operations a second", c.Rate)
	}
	return fmt.Sprintf("%g %% GET, %s, %d connections × depth %d, %s keys, %s", c.Gets*100, c.Protocol, c.Conns, c.Depth,
		groups(int64(c.Keys)), loop)
}

// benchFailure gives the errors of the load generator their exit codes.
func benchFailure(err error) error {
	code, hint := 0, ""
	switch {
	case errors.Is(err, loadgen.ErrOptions):
		code, hint = exitUsage, "See: charpoy bench --help"
	case errors.Is(err, loadgen.ErrRefused):
		code, hint = exitRefused, "Is there enough memory? charpoy bucket get shows the quota; --keys and --value-size make it less."
	case errors.Is(err, loadgen.ErrProtocol):
		code, hint = exitFailed, "Is this the right port for --protocol?"
	case errors.Is(err, loadgen.ErrClosed), errors.Is(err, loadgen.ErrStalled):
		code = exitUnreachable
	default:
		return err
	}
	return fail(code, "%w", err).do("%s", hint)
}

// brief writes a latency with three digits.
func brief(d time.Duration) string {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit).String()
}

// nanos writes a CPU time an operation; - if it is not known.
func nanos(ns float64) string {
	if ns <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f ns", ns)
}
