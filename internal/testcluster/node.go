package testcluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/node"
	"github.com/charpoy/charpoy/internal/spec"
)

// What a node's state refuses.
var (
	ErrDown    = errors.New("node is not running; restart it first")
	ErrPaused  = errors.New("node is paused; resume it first")
	ErrRunning = errors.New("node is running")
)

// How long a start may take until operations succeed, how long it may take to get the old ports back, and how often that is
// tried.
const (
	readyLimit = 30 * time.Second
	portLimit  = 10 * time.Second
	portPause  = 20 * time.Millisecond
)

// State says what a node is doing.
type State string

// The states of a node.
const (
	Running State = "running"
	Paused  State = "paused"
	Down    State = "down"
)

// Node is one node of a Cluster.
type Node struct {
	cluster *Cluster
	number  int
	fs      disk.FS // where its directory is; nil: it has none
	dir     string

	turn sync.Mutex // held by what changes the state
	mu   struct {
		sync.Mutex
		life   *life
		paused bool
		ports  config.Ports // of the first life
	}
}

// life is a node from one start to its end.
type life struct {
	*node.Node

	gate   *gate
	disk   *disk.Hooked // nil: without a directory
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Run, when done is closed
}

// State says what the node is doing. A node that ended by itself is down.
func (n *Node) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.mu.life == nil || n.mu.life.ended():
		return Down
	case n.mu.paused:
		return Paused
	}
	return Running
}

func (l *life) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Ports are those that the node has bound, or will bind again at the next Restart.
func (n *Node) Ports() config.Ports {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.mu.ports
}

// Number of the node, from 1.
func (n *Node) Number() int { return n.number }

// Running gives the node itself, for what has no method here. ErrDown.
func (n *Node) Running() (*node.Node, error) {
	l, err := n.alive()
	if err != nil {
		return nil, err
	}
	return l.Node, nil
}

func (n *Node) alive() (*life, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.life == nil || n.mu.life.ended() {
		return nil, fmt.Errorf("node %d: %w", n.number, ErrDown)
	}
	return n.mu.life, nil
}

// settings are the cluster's, with the ports of the first life from the second one on.
func (n *Node) settings() (*config.Settings, error) {
	ports := n.Ports()
	if ports.Mgmt == 0 && n.number == 1 {
		ports.Mgmt = n.cluster.options.MgmtPort
	}
	numbers := map[string]int{
		"kv-port": ports.KV, "kv-tls-port": ports.KVTLS, "http-port": ports.Mgmt, "http-tls-port": ports.MgmtTLS,
		"views-port": ports.Views, "memcached-port": ports.Memcached,
	}
	o := &n.cluster.options
	src := o.Sources
	flags := map[string]string{"log-level": "info"}
	maps.Copy(flags, src.Flags)
	flags["data"], flags["buckets"] = n.dir, o.Buckets
	if o.Empty {
		flags["buckets"] = ""
	}
	for _, s := range config.All() {
		if strings.HasSuffix(s.Name, "-port") {
			flags[s.Name] = strconv.Itoa(numbers[s.Name]) // 0 at first: any free one
		}
		if _, given := flags[s.Name]; s.Name == "memcached-bucket" && !given {
			first, _, _ := strings.Cut(o.Buckets, ",")
			flags[s.Name], _, _ = strings.Cut(first, ":")
		}
	}
	src.Flags = flags
	src.Env = func(name string) (string, bool) {
		switch {
		case name == "CHARPOY_PASSWORD":
			return o.Password, true
		case o.Sources.Env == nil:
			return "", false
		}
		return o.Sources.Env(name)
	}
	s, _, err := config.Resolve(src)
	return s, err
}

// start begins a life and waits until an operation on each bucket succeeds.
func (n *Node) start(ctx context.Context) error {
	settings, err := n.settings()
	if err != nil {
		return err
	}
	l := &life{gate: newGate(), done: make(chan struct{})}
	o := node.Options{
		Settings: settings, Logger: n.cluster.logger, Version: n.cluster.options.Version, Clock: n.cluster.clock,
		Net: l.gate.net(), Interceptor: n.cluster.interceptor(), VBuckets: n.cluster.options.VBuckets, ShortLived: true,
	}
	if n.fs != nil {
		l.disk = disk.NewHooked(n.fs)
		o.FS = l.disk
	}
	if l.Node, err = n.open(ctx, o); err != nil {
		return err
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	n.cluster.labelled(own, func(own context.Context) {
		go func() {
			defer close(l.done)
			l.err = l.Run(own)
			if own.Err() == nil {
				n.cluster.fail(l.err)
			}
		}()
	})
	if err := l.await(ctx); err != nil {
		cancel()
		<-l.done
		return errors.Join(err, l.err)
	}
	n.mu.Lock()
	n.mu.life, n.mu.paused, n.mu.ports = l, false, l.Ports()
	n.mu.Unlock()
	return n.probe(ctx, l)
}

// fail notes that a node has ended by itself.
func (c *Cluster) fail(err error) {
	if err == nil {
		err = errors.New("the node ended by itself")
	}
	select {
	case c.failed <- err:
	default:
	}
}

// open opens the node. Another program can have taken a port while the node was down: it is waited for.
func (n *Node) open(ctx context.Context, o node.Options) (opened *node.Node, err error) {
	for begun := time.Now(); ; {
		n.cluster.labelled(ctx, func(ctx context.Context) { opened, err = node.Open(ctx, o) })
		if err == nil || !strings.Contains(err.Error(), "address already in use") || time.Since(begun) > portLimit {
			return opened, err
		}
		select {
		case <-time.After(portPause):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// await waits until the node says that it is ready.
func (l *life) await(ctx context.Context) error {
	timer := time.NewTimer(readyLimit)
	defer timer.Stop()
	select {
	case <-l.Ready():
		return nil
	case <-l.done:
		return errors.New("the node ended before it was ready")
	case <-timer.C:
		return fmt.Errorf("the node was not ready within %s", readyLimit)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// probe does over the wire what clients will do: it logs in, selects each bucket, reads and writes. It leaves no trace:
// documents that are there are not touched, and in a new bucket in memory even the history begins anew.
func (n *Node) probe(ctx context.Context, l *life) error {
	addr := net.JoinHostPort(l.Host(), strconv.Itoa(l.Ports().KV))
	fresh := n.fs == nil && l.Fresh()
	for _, bucket := range l.Buckets() {
		c, err := client.Dial(ctx, client.Options{
			Addr: addr, User: config.AdminUser, Password: n.cluster.options.Password, Bucket: bucket, Agent: n.cluster.agent,
		})
		if err != nil {
			return fmt.Errorf("connect to bucket %s: %w", bucket, err)
		}
		err = probeBucket(ctx, c, fresh)
		_ = c.Close()
		if err != nil {
			return fmt.Errorf("bucket %s: %w", bucket, err)
		}
	}
	if !fresh {
		return nil
	}
	return l.Restore(ctx, node.Nothing())
}

// probeKey is written and read in a new bucket before anybody else comes.
const probeKey = "charpoy::ready"

func probeBucket(ctx context.Context, c *client.Conn, write bool) error {
	with := client.With{CAS: 1} // matches nothing, so that nothing is written
	if write {
		with.CAS = 0
	}
	if _, err := c.Set(ctx, probeKey, nil, with); err != nil && (write || !refusedCAS(err)) {
		return fmt.Errorf("set: %w", err)
	}
	if _, err := c.Get(ctx, probeKey, client.With{}); err != nil && (write || !errors.Is(err, client.ErrNotFound)) {
		return fmt.Errorf("get: %w", err)
	}
	return nil
}

func refusedCAS(err error) bool {
	return errors.Is(err, client.ErrNotFound) || errors.Is(err, client.ErrCASMismatch)
}

// Kill ends the node as the end of its process would: connections are reset, and what was not on disk is lost. A node that is
// down stays so.
func (n *Node) Kill() {
	n.turn.Lock()
	defer n.turn.Unlock()
	l, err := n.alive()
	if err != nil {
		return
	}
	l.gate.sever()
	if l.disk != nil {
		// From now on the node changes nothing on disk, but believes that it does: so it ends as always and gives back what it
		// took, while its directory stays as the end of a process would have left it.
		l.disk.Judge(func(op disk.Op) disk.Verdict { return disk.Verdict{Pretend: op.Kind.Changes()} })
	}
	l.cancel()
	<-l.done
	n.forget()
}

func (n *Node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.life, n.mu.paused = nil, false
}

// stop ends the node in order.
func (n *Node) stop() error {
	n.mu.Lock()
	l := n.mu.life
	n.mu.Unlock()
	if l == nil {
		return nil
	}
	l.gate.open()
	l.cancel()
	<-l.done
	n.forget()
	if l.err != nil {
		return fmt.Errorf("node %d: %w", n.number, l.err)
	}
	return nil
}

// Pause makes the node silent: connections stay, but nothing is answered until Resume. ErrDown.
func (n *Node) Pause() error { return n.setPaused(true) }

// Resume lets a paused node go on; what clients sent meanwhile is answered. ErrDown.
func (n *Node) Resume() error { return n.setPaused(false) }

func (n *Node) setPaused(paused bool) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	l, err := n.alive()
	if err != nil {
		return err
	}
	if paused {
		l.gate.close()
	} else {
		l.gate.open()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.mu.paused = paused
	return nil
}

// Restart stops the node in order, if it runs, and starts it again on the same ports. It returns when operations succeed.
func (n *Node) Restart(ctx context.Context) error {
	n.turn.Lock()
	defer n.turn.Unlock()
	if err := n.stop(); err != nil {
		return err
	}
	if err := n.start(ctx); err != nil {
		return fmt.Errorf("restart node %d: %w", n.number, err)
	}
	return nil
}

// Place is the collection that a document is in, as node.Place.
func place(bucket, collection string) node.Place {
	p := node.Place{Bucket: bucket, Collection: collection}
	if scope, name, ok := strings.Cut(collection, "."); ok {
		p.Scope, p.Collection = scope, name
	} else if collection == "" {
		p.Scope, p.Collection = spec.DefaultScope, spec.DefaultCollection
	}
	return p
}
