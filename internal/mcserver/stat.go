package mcserver

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/metrics"
)

// statGroup is one group of STAT (wire.md 13).
type statGroup struct {
	name   string
	server bool // about the server: needs Stats and no bucket; the others are about the bucket and need SimpleStats
	run    func(c *conn, ctx context.Context, e *emitter, args []string) error
}

// statGroups lists the groups that we answer. The detailed numbers are the business of /metrics.
func statGroups() []statGroup {
	return []statGroup{
		{"settings", true, (*conn).statSettings},
		{"connections", true, (*conn).statConnections},
		{"clocks", true, (*conn).statClocks},
		{"tap", true, statNothing},
		{"tasks-all", true, statNothing},
		{"reset", true, statNothing},
		{"uuid", false, (*conn).statUUID},
		{"vbucket", false, (*conn).statVBucket},
		{"vbucket-details", false, (*conn).statVBucketDetails},
		{"vbucket-seqno", false, (*conn).statVBucketSeqno},
		{"failovers", false, (*conn).statFailovers},
		{"collections", false, (*conn).statCollections},
		{"collections-byid", false, (*conn).statCollections},
		{"scopes", false, (*conn).statScopes},
		{"scopes-byid", false, (*conn).statScopes},
		{"manifest", false, (*conn).statManifest},
		{"key", false, (*conn).statKey},
		{"vkey", false, (*conn).statKey},
		{"memory", false, (*conn).statMemory},
		{"config", false, (*conn).statConfig},
		{"hash", false, (*conn).statHash},
		{"warmup", false, (*conn).statWarmup},
		{"dcp", false, statNothing},
		{"dcpagg", false, statNothing},
		{"timings", false, statNothing},
		{"kvtimings", false, statNothing},
		{"durability-monitor", false, statNothing},
	}
}

// emitter appends one reply packet for each pair.
type emitter struct {
	c *conn
	w *work
	q *request
}

func (e *emitter) put(name, value string) {
	at := e.w.open(&e.c.session)
	e.w.out = append(e.w.out, name...)
	e.w.out = append(e.w.out, value...)
	e.w.seal(&e.c.session, e.q, at, reply{key: len(name)})
}

func (e *emitter) num(name string, n uint64) { e.put(name, strconv.FormatUint(n, 10)) }

// stat answers STAT: a packet for each pair, then an empty one.
func (c *conn) stat(ctx context.Context, w *work, q *request) error {
	rights, err := c.rights(q)
	if err != nil {
		return err
	}
	e := &emitter{c, w, q}
	words := strings.Fields(string(q.Key))
	if len(words) == 0 {
		if err := c.statGeneral(e, rights); err != nil {
			return err
		}
		w.empty(&c.session, q, 0)
		return nil
	}
	for _, g := range statGroups() {
		if g.name != words[0] {
			continue
		}
		if err := c.mayStat(rights, g.server); err != nil {
			return err
		}
		if err := g.run(c, ctx, e, words[1:]); err != nil {
			return err
		}
		w.empty(&c.session, q, 0)
		return nil
	}
	return errUnknownGroup
}

// mayStat checks the right to a group, and that a bucket is selected if the group is about one.
func (c *conn) mayStat(rights *auth.Access, server bool) error {
	switch {
	case server && !rights.Has(auth.Stats):
		return auth.ErrNotAllowed
	case server:
		return nil
	case c.session.bucket == nil || c.session.bucketGone():
		return errNoBucket
	case !rights.Has(auth.Stats) && !rights.HasDefault(auth.SimpleStats):
		return auth.ErrNotAllowed
	}
	return nil
}

// statGeneral answers the group without a name: the server's numbers, and the bucket's if one is selected.
func (c *conn) statGeneral(e *emitter, rights *auth.Access) error {
	if err := c.mayStat(rights, c.session.bucket == nil); err != nil {
		return err
	}
	s := c.server
	started := s.node.Started()
	e.num("pid", uint64(os.Getpid()))
	e.num("uptime", uint64(time.Since(started)/time.Second))
	e.num("time", uint64(s.clock.Now().Unix()))
	e.put("version", s.options.Version)
	e.put("pointer_size", strconv.Itoa(strconv.IntSize))
	e.num("threads", uint64(runtime.GOMAXPROCS(0)))
	e.num("max_connections", uint64(s.options.MaxConnections))
	open, total, in, out := s.numbers.traffic()
	e.num("curr_connections", open)
	e.num("total_connections", total)
	e.num("rejected_connections", s.numbers.rejected.Value())
	e.num("bytes_read", in)
	e.num("bytes_written", out)
	e.num("auth_cmds", s.numbers.logins.Value())
	e.num("auth_errors", s.numbers.failedLogins())
	e.num("accepting_conns", 1)
	if c.session.bucket == nil {
		return nil
	}
	return c.statBucket(e)
}

// traffic sums the numbers of the ports.
func (n *numbers) traffic() (open, total, in, out uint64) {
	for _, p := range n.ports {
		open += uint64(p.open.Value())
		total += p.total.Value()
		in += p.in.Value()
		out += p.out.Value()
	}
	return open, total, in, out
}

func (n *numbers) failedLogins() uint64 {
	var sum uint64
	for _, mech := range [...]string{
		string(auth.Plain), string(auth.ScramSHA1), string(auth.ScramSHA256), string(auth.ScramSHA512), metrics.Other,
	} {
		sum += n.loginFailures(mech).Value()
	}
	return sum
}

func statNothing(*conn, context.Context, *emitter, []string) error { return nil } //nolint:revive // the receiver of method expressions comes first

func (c *conn) statSettings(_ context.Context, e *emitter, _ []string) error {
	e.num("maxconns", uint64(c.server.options.MaxConnections))
	e.put("auth_enabled_sasl", "yes")
	e.put("auth_sasl_engine", "charpoy")
	e.put("cas_enabled", "yes")
	e.num("reqs_per_event", maxBatch)
	for _, l := range c.server.listeners {
		e.put("listen_"+l.port, l.Addr().String())
	}
	return nil
}

// statConnections lists the open connections.
func (c *conn) statConnections(_ context.Context, e *emitter, _ []string) error {
	for _, other := range c.server.connections() {
		prefix := strconv.FormatUint(other.id, 10)
		e.put(prefix+":addr", other.remote())
		e.put(prefix+":listen_addr", other.net.LocalAddr().String())
		if who := other.shown.Load(); who != nil {
			e.put(prefix+":agent", who.agent)
			e.put(prefix+":user", who.user)
			e.put(prefix+":bucket", who.bucket)
		}
		e.num(prefix+":age_seconds", uint64(time.Since(other.accepted)/time.Second))
	}
	return nil
}

func (c *conn) statClocks(_ context.Context, e *emitter, _ []string) error {
	now := c.server.clock.Now()
	e.num("clock_wall_ns", uint64(now.Wall))
	e.num("clock_monotonic_ns", uint64(now.Mono))
	e.put("clock_wall", time.Unix(0, now.Wall).UTC().Format(time.RFC3339Nano))
	return nil
}

// vBucketArg reads the optional vBucket number of a group: the range of vBuckets to list.
func (c *conn) vBucketArg(args []string) (from, to int, err error) {
	count := c.session.bucket.Spec().NumVBuckets
	if len(args) == 0 {
		return 0, count, nil
	}
	n, err := strconv.ParseUint(args[0], 10, 16)
	switch {
	case err != nil || len(args) > 1:
		return 0, 0, invalid(fmt.Sprintf("%.32q is not a vBucket", args[0]))
	case int(n) >= count:
		return 0, 0, errNotMyVBucket
	}
	return int(n), int(n) + 1, nil
}
