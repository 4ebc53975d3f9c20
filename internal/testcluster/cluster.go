package testcluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/fault"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/node"
)

// Errors of clusters.
var (
	// ErrOneNode says that clusters of several nodes do not exist yet.
	ErrOneNode = errors.New("a cluster has one node in this version; several nodes, replicas and failover come with replication")
	// ErrLeak says that goroutines of the cluster go on after its end.
	ErrLeak = errors.New("goroutines of the cluster have not ended")
	// ErrBackwards says that a clock cannot be moved back.
	ErrBackwards = errors.New("time goes forward only")
	// ErrSnapshot says that a snapshot is of another cluster.
	ErrSnapshot = errors.New("snapshot does not fit this cluster")
)

// Disk says where documents are.
type Disk int

// The kinds of disk.
const (
	NoDisk     Disk = iota // buckets are ephemeral: a restart loses everything
	MemoryDisk             // buckets are persistent, on a file system in memory: what was synced survives a restart
	Directory              // buckets are persistent, in Options.Dir
)

// Defaults of Options.
const (
	DefaultVBuckets = 64
	DefaultBuckets  = "default:100MiB"
	DefaultPassword = "password"
)

// Options of a Cluster. The zero value works.
type Options struct {
	Nodes    int    // 0 = 1
	VBuckets int    // of each bucket of the start, a power of two; 0 = DefaultVBuckets, which start sooner than the usual 1024
	Buckets  string // as the setting of that name: name[:quota][:ephemeral], comma separated; empty = DefaultBuckets
	Password string // of Administrator; empty = DefaultPassword
	Disk     Disk
	Dir      string // with Directory

	// Standing stops the clock at the time of the start: it moves by Advance alone. Otherwise it follows the machine's and
	// Advance moves it ahead of that.
	Standing bool

	Empty     bool           // no bucket at all
	Unwatched bool           // operations meet no rules and are not noted, which makes them cheaper
	MgmtPort  int            // of the first node; 0 = any free one, as all others
	Sources   config.Sources // of all settings that are not given here
	Logger    *slog.Logger   // of the nodes; nil = Cluster.Log keeps the end of it
	Version   string         // of the program, as the management port shows it
}

func (o Options) withDefaults() Options {
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	if o.VBuckets == 0 {
		o.VBuckets = DefaultVBuckets
	}
	if o.Buckets == "" {
		o.Buckets = DefaultBuckets
	}
	if o.Password == "" {
		o.Password = DefaultPassword
	}
	return o
}

func (o *Options) validate() error {
	switch {
	case o.Nodes != 1:
		return ErrOneNode
	case o.Disk == Directory && o.Dir == "":
		return errors.New("Options.Dir is missing")
	case o.Disk < NoDisk || o.Disk > Directory:
		return fmt.Errorf("there is no disk %d", o.Disk)
	}
	return nil
}

// Cluster is a running cluster in this process. See the package comment.
type Cluster struct {
	options Options
	name    string // of its goroutines
	agent   string // of its own connections, which nobody else can know
	clock   *hlc.Source
	logger  *slog.Logger
	log     tail
	rules   rules
	journal journal
	nodes   []*Node
	failed  chan error // one slot
}

// Start starts a cluster and returns when operations on every bucket succeed. Close it.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	c := &Cluster{options: o, name: randomName(), clock: hlc.New(), logger: o.Logger, failed: make(chan error, 1)}
	c.agent = "charpoy-testcluster/" + c.name
	if o.Standing {
		c.clock = hlc.NewManual(time.Now())
	}
	if c.logger == nil {
		c.logger = slog.New(slog.NewTextHandler(&c.log, nil))
	}
	for i := range o.Nodes {
		n := &Node{cluster: c, number: i + 1}
		switch o.Disk {
		case NoDisk:
		case MemoryDisk:
			n.fs, n.dir = disk.NewMemory(), "data"
		case Directory:
			n.fs, n.dir = disk.OS(), o.Dir
		}
		c.nodes = append(c.nodes, n)
		if err := n.start(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("start node %d: %w", n.number, err), c.Close())
		}
	}
	return c, nil
}

func randomName() string {
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails: the runtime ends the process first
	return hex.EncodeToString(b)
}

// Close ends all nodes in order. What it returns is what went wrong: a node that failed by itself or did not end well, or
// goroutines that are left (ErrLeak, with their stacks).
func (c *Cluster) Close() error {
	var errs []error
	for _, n := range c.nodes {
		n.turn.Lock()
		errs = append(errs, n.stop())
		n.turn.Unlock()
	}
	if stacks := c.leaked(leakGrace); stacks != "" {
		errs = append(errs, fmt.Errorf("%w:\n%s", ErrLeak, stacks))
	}
	return errors.Join(errs...)
}

// Failed gives what ended a node that nobody had asked to end; at most one.
func (c *Cluster) Failed() <-chan error { return c.failed }

// Nodes are the nodes in the order of their numbers. The slice must not be changed.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Node finds a node by its number, from 1; nil if there is none.
func (c *Cluster) Node(number int) *Node {
	if number < 1 || number > len(c.nodes) {
		return nil
	}
	return c.nodes[number-1]
}

// User and Password are those of the administrator.
func (c *Cluster) User() string { return config.AdminUser }

// Password of User.
func (c *Cluster) Password() string { return c.options.Password }

// Log is the end of what the nodes have logged, unless Options.Logger took it.
func (c *Cluster) Log() string { return c.log.String() }

// Now is what the cluster's clock shows.
func (c *Cluster) Now() time.Time { return time.Unix(0, c.clock.Now().Wall) }

// Advance moves the clock that expiry, locks, the age of tombstones and CAS values depend on. When it returns, documents whose
// time has come are gone from every count and feed too; it tells how many they were. ErrBackwards.
func (c *Cluster) Advance(ctx context.Context, d time.Duration) (expired int, err error) {
	if d < 0 {
		return 0, ErrBackwards
	}
	c.clock.Advance(d)
	for _, n := range c.nodes {
		if l, err := n.alive(); err == nil { // one that is down finds the new time when it starts
			expired += l.Sweep(ctx)
		}
	}
	return expired, nil
}

// interceptor connects rules and journal with a node.
func (c *Cluster) interceptor() *fault.Interceptor {
	if c.options.Unwatched {
		return nil
	}
	return &fault.Interceptor{
		Before: func(o *fault.Operation) fault.Injection {
			if o.Agent == c.agent {
				return fault.Injection{}
			}
			return c.rules.judge(o)
		},
		Waits: c.rules.delays.Load,
		After: func(o *fault.Operation) {
			if o.Agent != c.agent {
				c.journal.add(o)
			}
		},
	}
}

// Inject adds a rule behind those that are there: the first one that acts on an operation decides. It returns the rule's
// number. ErrRule.
func (c *Cluster) Inject(r Rule) (id int, err error) { return c.rules.add(r) }

// Remove takes a rule away and reports whether it was there.
func (c *Cluster) Remove(id int) bool { return c.rules.remove(id) }

// ClearRules takes all rules away. Operations that wait already go on waiting.
func (c *Cluster) ClearRules() { c.rules.clear() }

// Rules lists the rules and what they have done.
func (c *Cluster) Rules() []RuleState { return c.rules.states() }

// Ops gives the newest n operations of clients in the order in which they ended; with n = 0 all that are kept, 10,000 at most.
func (c *Cluster) Ops(n int) []Op { return c.journal.newest(n) }

// ClearOps forgets the operations.
func (c *Cluster) ClearOps() { c.journal.clear() }

// Snapshot is the documents of all buckets of a Cluster. It does not change and may be restored any number of times.
type Snapshot struct{ nodes []*node.Snapshot }

// Documents is how many documents it holds.
func (s *Snapshot) Documents() int {
	n := 0
	for _, one := range s.nodes {
		n += one.Documents()
	}
	return n
}

// Snapshot copies all documents; those of one bucket are of one moment. ErrDown if a node is.
func (c *Cluster) Snapshot(ctx context.Context) (*Snapshot, error) {
	s := &Snapshot{}
	for _, n := range c.nodes {
		l, err := n.alive()
		if err != nil {
			return nil, err
		}
		one, err := l.Snapshot(ctx)
		if err != nil {
			return nil, err
		}
		s.nodes = append(s.nodes, one)
	}
	return s, nil
}

// Restore replaces all documents by those of a snapshot, under a new history. Buckets that were made since are emptied.
// Settings, users and the clock stay. ErrSnapshot, ErrDown, and an error that names a bucket which is gone.
func (c *Cluster) Restore(ctx context.Context, s *Snapshot) error {
	if len(s.nodes) != len(c.nodes) {
		return ErrSnapshot
	}
	for i, n := range c.nodes {
		l, err := n.alive()
		if err != nil {
			return err
		}
		if err := l.Restore(ctx, s.nodes[i]); err != nil {
			return err
		}
	}
	return nil
}

// Document is a document as Doc gives it.
type Document = node.Document

// Doc reads a document without a connection: it is not an operation of a client, no rule concerns it, and a paused node
// answers. collection is name or scope.name, empty for the default one. found is false if there is no such document.
func (c *Cluster) Doc(ctx context.Context, bucket, collection, key string) (d Document, found bool, err error) {
	l, err := c.nodes[0].alive()
	if err != nil {
		return Document{}, false, err
	}
	return l.Read(ctx, place(bucket, collection), key)
}

// Put writes a document without a connection, see Doc.
func (c *Cluster) Put(ctx context.Context, bucket, collection, key string, d Document) error {
	l, err := c.nodes[0].alive()
	if err != nil {
		return err
	}
	return l.Write(ctx, place(bucket, collection), key, d)
}

// Delete deletes a document without a connection and reports whether there was one, see Doc.
func (c *Cluster) Delete(ctx context.Context, bucket, collection, key string) (was bool, err error) {
	l, err := c.nodes[0].alive()
	if err != nil {
		return false, err
	}
	return l.Erase(ctx, place(bucket, collection), key)
}

// Buckets lists the names of the buckets. ErrDown.
func (c *Cluster) Buckets() ([]string, error) {
	l, err := c.nodes[0].alive()
	if err != nil {
		return nil, err
	}
	return l.Buckets(), nil
}

// Persistent reports whether there is a disk.
func (c *Cluster) Persistent() bool { return c.options.Disk != NoDisk }

// Operations lists the names of the operations that a Rule can have.
func Operations() []string { return node.Operations() }
