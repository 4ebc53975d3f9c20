package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/loadgen"
	"github.com/charpoy/charpoy/tests/server"
)

// peerOptions are the flags of `bench peers`.
type peerOptions struct {
	rows     string
	rounds   int
	seconds  float64
	servers  string
	modes    string
	binary   string
	base     string
	keys     int
	jsonKeys int
	perEvent int
	jsonFile string
	svgFile  string
	idle     int
	seed     uint64
	leastCPU float64
	strict   bool
}

// What a slot is made of besides its seconds.
const (
	slotWarmup  = 50 * time.Millisecond
	quietWithin = 5 * time.Second  // how long the other servers get to become quiet before a slot
	flushWithin = 60 * time.Second // the same after the preload
	quietShare  = 0.04             // of a core: this is quiet
	longestSlot = 4.0              // seconds
)

func peerFlags(args []string) (*peerOptions, error) {
	o := &peerOptions{}
	f := flag.NewFlagSet("bench peers", flag.ContinueOnError)
	f.StringVar(&o.rows, "rows", "", "regular expression: only rows whose title matches, such as 'GET d16.*pinned'")
	f.IntVar(&o.rounds, "rounds", 5, "rounds")
	f.Float64Var(&o.seconds, "seconds", 0.5, "seconds a slot; it is made longer if the server uses too little CPU time in it")
	f.Float64Var(&o.leastCPU, "least-cpu", 0.2, "seconds of CPU that the server has to use in a slot")
	f.StringVar(&o.servers, "servers", "", "comma separated: charpoy, charpoy-persistent, memcached, redis, base, base-persistent; empty = all that make sense")
	f.StringVar(&o.modes, "modes", "pinned,unpinned", "pinned: one core for the server, one for the client; unpinned: all for both")
	f.StringVar(&o.binary, "binary", "", "charpoy binary; empty = build it")
	f.StringVar(&o.base, "base", "", "another charpoy binary to compare with; without -servers only the two are run")
	f.IntVar(&o.keys, "keys", million, "keys")
	f.IntVar(&o.jsonKeys, "json-keys", 200_000, "keys of the rows with JSON")
	f.IntVar(&o.perEvent, "memcached-requests", 20, "memcached's -R: requests that it takes of a connection at once; 20 is its own default, 1000 lets it answer deep pipelines in one go")
	f.StringVar(&o.jsonFile, "json", "", "file for the result as JSON")
	f.StringVar(&o.svgFile, "svg", "", "file for a plot of the ratios")
	f.BoolVar(&o.strict, "strict", false, "fail if an undisturbed row is more than a tenth below what must be reached")
	f.IntVar(&o.idle, "idle", 0, "instead of the rows: the memory of so many idle, logged-in connections")
	f.Uint64Var(&o.seed, "seed", 1, "of the load")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		return nil, fmt.Errorf("unknown argument %q", f.Arg(0))
	}
	if o.servers == "" {
		o.servers = "charpoy,charpoy-persistent,memcached,redis"
		if o.base != "" {
			o.servers = "charpoy,base"
		}
	}
	if o.rounds < 1 || o.seconds <= 0 || o.keys < 1 || o.jsonKeys < 1 {
		return nil, errors.New("-rounds, -seconds, -keys and -json-keys must be above 0")
	}
	return o, nil
}

// benchPeers compares charpoy with memcached and redis: the main function of `bench peers`.
func benchPeers(args []string) error {
	o, err := peerFlags(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if o.binary == "" {
		work, err := os.MkdirTemp("", "charpoy-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(work)
		if o.binary, err = server.Build(ctx, "..", work); err != nil {
			return err
		}
	}
	if o.idle > 0 {
		return measureIdle(ctx, o)
	}
	cpus, err := ownCPUs()
	if err != nil {
		return err
	}
	rep := newReport(ctx, o, len(cpus))
	for _, pinned := range []bool{true, false} {
		mode := map[bool]string{true: "pinned", false: "unpinned"}[pinned]
		if !slices.Contains(strings.Split(o.modes, ","), mode) {
			continue
		}
		if err := measureMode(ctx, o, rep, cpus, pinned); err != nil {
			return fmt.Errorf("%s: %w", mode, err)
		}
	}
	return rep.finish(o)
}

// arena is what one mode is measured in: the servers that run, and where.
type arena struct {
	o       *peerOptions
	servers map[string]*peer
	work    map[job]*loadgen.Workload
	loaded  map[string]bool
}

// measureMode starts the servers, runs the rounds, and ends the servers.
func measureMode(ctx context.Context, o *peerOptions, rep *report, cpus []int, pinned bool) (err error) {
	var forServer, forClient []int
	threads := len(cpus)
	if pinned {
		if len(cpus) < 2 {
			return errors.New("this needs two CPUs; try -modes unpinned")
		}
		forServer, forClient, threads = cpus[:1], cpus[1:2], 1
	}
	rows, err := selectRows(o.rows, func(slot string, c configuration) bool {
		info := slotOf(slot)
		return c.pinned == pinned && slices.Contains(strings.Split(o.servers, ","), info.server) &&
			(!info.text || hasMemcachedPort(ctx, o.binary))
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return nil // the other mode may have rows
	}
	a := &arena{o: o, servers: map[string]*peer{}, work: map[job]*loadgen.Workload{}, loaded: map[string]bool{}}
	defer func() {
		for _, p := range a.servers {
			err = errors.Join(err, p.stop())
		}
	}()
	configurations := configurationsOf(rows, pinned)
	for _, c := range configurations {
		for _, s := range slotsOf(rows, c) {
			if err := a.start(ctx, slotOf(s).server, forServer, threads); err != nil {
				return err
			}
		}
	}
	if err := moveTo(forClient); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, moveTo(cpus)) }()
	if err := a.prepare(ctx, rows, configurations); err != nil {
		return err
	}
	rep.begin(rows)
	for round := range o.rounds {
		for i, c := range configurations {
			slots := slotsOf(rows, c)
			for j := range slots {
				s := slots[(round+i+j)%len(slots)] // the order turns
				m, err := a.measure(ctx, s, c)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", c, s, err)
				}
				rep.add(c, s, round, m)
			}
		}
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
	}
	return nil
}

// start starts a server unless it runs.
func (a *arena) start(ctx context.Context, name string, cpus []int, threads int) error {
	if a.servers[name] != nil {
		return nil
	}
	var (
		p   *peer
		err error
	)
	switch name {
	case slotMemcached:
		p, err = startMemcached(ctx, cpus, threads, a.o.perEvent)
	case slotRedis:
		p, err = startRedis(ctx, cpus)
	default:
		binary := a.o.binary
		if strings.HasPrefix(name, slotBase) {
			binary = a.o.base
		}
		p, err = startCharpoy(ctx, charpoyOptions{
			name: name, binary: binary, persistent: strings.HasSuffix(name, "persistent"), procs: threads, cpus: cpus,
		})
	}
	if err != nil {
		return err
	}
	a.servers[name] = p
	return nil
}

// prepare draws the workloads and loads every server with the keys that its configurations use.
func (a *arena) prepare(ctx context.Context, rows []row, configurations []configuration) error {
	for _, c := range configurations {
		w, err := a.workload(c.job)
		if err != nil {
			return err
		}
		for _, s := range slotsOf(rows, c) {
			name := slotOf(s).server
			key := name + map[bool]string{true: " json"}[c.job == jobJSON]
			if a.loaded[key] {
				continue
			}
			a.loaded[key] = true
			begun := time.Now()
			g, err := loadgen.New(w, a.options(name, c))
			if err != nil {
				return err
			}
			if err := g.Preload(ctx); err != nil {
				return fmt.Errorf("load %s: %w", name, err)
			}
			fmt.Fprintf(os.Stderr, "%s: %d keys loaded in %.1f s\n", key, w.Keys(), time.Since(begun).Seconds())
		}
	}
	a.settle(ctx, flushWithin)
	runtime.GC() // ours, so that it does not fall into a slot
	return nil
}

// workload draws the operations of a job.
func (a *arena) workload(j job) (*loadgen.Workload, error) {
	if w := a.work[j]; w != nil {
		return w, nil
	}
	o := loadgen.WorkloadOptions{Keys: a.o.keys, Prefix: "raw:", VBuckets: 1024, Seed: a.o.seed}
	switch j {
	case jobGet:
		o.GetShare = 0.95
	case jobJSON:
		o.Keys, o.Prefix, o.Values, o.ValueBytes = a.o.jsonKeys, "json:", loadgen.JSON, []int{1024}
	case jobSet:
	}
	w, err := loadgen.NewWorkload(o)
	a.work[j] = w
	return w, err
}

// options aim at a server in its own binary protocol, or that of redis.
func (a *arena) options(slot string, c configuration) loadgen.Options {
	info := slotOf(slot)
	p := a.servers[info.server]
	o := loadgen.Options{
		Protocol: info.protocol, Conns: c.conns, Depth: c.depth, Duration: time.Duration(a.o.seconds * float64(time.Second)), Warmup: slotWarmup,
	}
	switch {
	case info.text || info.protocol != loadgen.Binary:
		o.Addr, o.ServerPID = p.addr, p.pid()
		if info.text {
			o.Addr = p.textAddr
		}
	default:
		o = p.aim(o)
	}
	if info.tls {
		o.Addr, o.TLS = p.tlsAddr, p.tls
	}
	return o
}

// measured is one slot in one round.
type measured struct {
	loadgen.Result
	Load   float64 `json:"load_average"`
	Others float64 `json:"other_cpu_cores"` // what neither the server nor the client used
}

// measure runs one slot.
func (a *arena) measure(ctx context.Context, slot string, c configuration) (measured, error) {
	server := slotOf(slot).server
	o := a.options(slot, c)
	for {
		g, err := loadgen.New(a.work[c.job], o)
		if err != nil {
			return measured{}, err
		}
		a.settle(ctx, quietWithin)
		busy, begun, used := busyTime(), time.Now(), a.used(server)
		r, err := g.Run(ctx)
		if err != nil {
			return measured{}, err
		}
		if err := sound(r); err != nil {
			return measured{}, err
		}
		seconds := time.Since(begun).Seconds()
		ours := a.used(server) - used
		others := (busyTime()-busy-ours).Seconds()/seconds - r.OwnShare
		if strings.HasSuffix(server, "persistent") {
			// What is written was acknowledged from memory and goes to disk later: that is part of its price.
			a.settle(ctx, flushWithin)
			r.ServerCPU = float64(a.used(server)-used) / float64(g.Done())
		}
		longer := o.Duration.Seconds() * a.o.leastCPU * 1.1 / max(r.ServerTotal, 0.01)
		if r.ServerTotal >= a.o.leastCPU || o.Duration.Seconds() >= longestSlot {
			return measured{r, loadAverage(), max(0, others)}, nil
		}
		o.Duration = time.Duration(min(longer, longestSlot) * float64(time.Second))
	}
}

// sound refuses a slot in which the server did less than it was asked for: errors and misses are cheaper than answers, and
// would make it look fast.
func sound(r loadgen.Result) error {
	switch {
	case r.Errors > 0:
		return fmt.Errorf("%d of %d operations failed: %s", r.Errors, r.Ops, r.Example)
	case r.Misses > 0:
		return fmt.Errorf("%d of %d operations found no key, and all keys were loaded: has the server thrown some away?", r.Misses, r.Ops)
	}
	return nil
}

// used is the CPU time of a server so far.
func (a *arena) used(server string) time.Duration {
	d, err := loadgen.ProcessCPU(a.servers[server].pid())
	if err != nil {
		return 0
	}
	return d
}

// settle waits until all servers are quiet, so that what one does after its slot does not count for the next.
func (a *arena) settle(ctx context.Context, within time.Duration) {
	const look = 20 * time.Millisecond
	sum := func() (total time.Duration) {
		for name := range a.servers {
			total += a.used(name)
		}
		return total
	}
	for end := time.Now().Add(within); time.Now().Before(end) && ctx.Err() == nil; {
		before := sum()
		time.Sleep(look)
		if float64(sum()-before) < quietShare*float64(look) {
			return
		}
	}
}
