package charpoytest

import (
	"fmt"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/testcluster"
)

// Status is a status of the memcached binary protocol. 0 is success.
type Status uint16

// The statuses that are injected most. Any other number of the protocol can be used as well.
const (
	NotFound         Status = 0x01 // the document does not exist
	Exists           Status = 0x02 // the document exists, or its CAS is another one
	TooBig           Status = 0x03
	Invalid          Status = 0x04
	NotStored        Status = 0x05
	NotMyVBucket     Status = 0x07 // clients fetch the cluster map and try again
	Locked           Status = 0x09
	AuthError        Status = 0x20
	Access           Status = 0x24
	NoMemory         Status = 0x82
	Internal         Status = 0x84
	Busy             Status = 0x85 // clients try again
	TempFail         Status = 0x86 // clients try again
	SyncWriteRunning Status = 0xa2 // a durable write of the same document is pending
	SyncWriteUnsure  Status = 0xa3 // nobody knows whether a durable write has happened
)

// String gives the protocol's name of the status.
func (s Status) String() string { return testcluster.StatusName(uint16(s)) }

// Rule says which operations of clients fail, and how. Of the first five fields those that are empty match everything; but a
// rule without Op concerns operations on documents only, so that it does not keep clients from connecting.
type Rule struct {
	// Op is the operation's name in the protocol, such as get, set, add, replace, delete, increment, get_and_lock, hello; the
	// SDKs' upsert, insert and remove stand for set, add and delete.
	Op         string
	Key        string // * stands for any text, ? for any one byte
	Bucket     string // likewise
	Collection string // likewise, of the collection's name or of scope.collection
	Agent      string // likewise, of how the client introduced itself

	Skip        int     // matching operations that are left alone first
	Times       int     // operations that the rule acts on after those; 0 = all
	Probability float64 // that it acts on one that it could; 0 = always
	Seed        uint64  // of the draws: the same seed gives the same ones

	Delay  time.Duration // the operation waits so long first
	Status Status        // it is answered with this and not run
	Drop   bool          // the reply is not sent; the operation is run, unless there is a Status
	Close  bool          // the connection is closed instead of the reply; the operation is run only with Drop
}

// Inject adds a rule. The first rule that acts on an operation decides what happens to it. The rule's number is for Remove.
func (c *Cluster) Inject(r Rule) (id int) {
	c.t.Helper()
	id, err := c.cluster.Inject(testcluster.Rule{
		Op: r.Op, Key: r.Key, Bucket: r.Bucket, Collection: r.Collection, Agent: r.Agent, Skip: r.Skip, Times: r.Times,
		Probability: r.Probability, Seed: r.Seed, Delay: r.Delay, Status: uint16(r.Status), Drop: r.Drop, Close: r.Close,
	})
	if err != nil {
		c.t.Fatalf("charpoytest: Inject: %v", err)
	}
	return id
}

// Remove takes one rule away.
func (c *Cluster) Remove(id int) {
	c.t.Helper()
	if !c.cluster.Remove(id) {
		c.t.Fatalf("charpoytest: Remove: there is no rule %d", id)
	}
}

// ClearRules takes all rules away.
func (c *Cluster) ClearRules() { c.cluster.ClearRules() }

// Acted tells how many operations a rule has acted on so far.
func (c *Cluster) Acted(id int) int {
	c.t.Helper()
	for _, r := range c.cluster.Rules() {
		if r.ID == id {
			return r.Acted
		}
	}
	c.t.Fatalf("charpoytest: Acted: there is no rule %d", id)
	return 0
}

// Op is one operation that a client has sent.
type Op struct {
	Time       time.Time // when the server began with it, by the machine's clock
	Op         string    // the protocol's name: get, set, …
	Bucket     string
	Scope      string
	Collection string
	Key        string
	Status     Status
	Duration   time.Duration // until the reply was ready, delays of rules included
	Connection uint64        // its number
	Agent      string        // how the client introduced itself
	User       string
	Injected   bool // a Rule has acted on it
	Dropped    bool // a Rule has kept the reply from being sent
}

// String gives the operation's name, document and status.
func (o Op) String() string {
	if o.Key == "" {
		return fmt.Sprintf("%s: %v", o.Op, o.Status)
	}
	return fmt.Sprintf("%s %s: %v", o.Op, o.Key, o.Status)
}

// Ops lists what clients have sent, in the order in which it was answered: the newest 10,000 operations at most. What a client
// asked of the management port is not in it, but for the documents that it read and wrote there.
func (c *Cluster) Ops() []Op {
	inner := c.cluster.Ops(0)
	ops := make([]Op, len(inner))
	for i, o := range inner {
		ops[i] = Op{
			Time: o.Time, Op: o.Op, Bucket: o.Bucket, Scope: o.Scope, Collection: o.Collection, Key: o.Key, Status: Status(o.Status),
			Duration: o.Duration, Connection: o.Connection, Agent: o.Agent, User: o.User, Injected: o.Injected, Dropped: o.Dropped,
		}
	}
	return ops
}

// ClearOps forgets the operations so far.
func (c *Cluster) ClearOps() { c.cluster.ClearOps() }

// Node is one node of a Cluster.
type Node struct {
	c    *Cluster
	node *testcluster.Node
}

// Node gives a node by its number, from 1. The test fails if there is none.
func (c *Cluster) Node(number int) *Node {
	c.t.Helper()
	n := c.cluster.Node(number)
	if n == nil {
		c.t.Fatalf("charpoytest: there is no node %d, the cluster has %d", number, len(c.cluster.Nodes()))
	}
	return &Node{c, n}
}

// Kill ends the node as the end of its process would: connections are reset, new ones are refused, and what was not on disk is
// lost. A node that is down stays so.
func (n *Node) Kill() { n.node.Kill() }

// Pause makes the node silent: clients stay connected and get no answer until Resume.
func (n *Node) Pause() {
	n.c.t.Helper()
	if err := n.node.Pause(); err != nil {
		n.c.t.Fatalf("charpoytest: Pause: %v", err)
	}
}

// Resume lets a paused node go on. What clients sent meanwhile is answered.
func (n *Node) Resume() {
	n.c.t.Helper()
	if err := n.node.Resume(); err != nil {
		n.c.t.Fatalf("charpoytest: Resume: %v", err)
	}
}

// Restart stops the node in order, if it runs, and starts it again on the same ports. It is ready when Restart returns. With
// Memory it begins with empty buckets, and those that were made since Start are gone.
func (n *Node) Restart(t testing.TB) {
	t.Helper()
	if err := n.node.Restart(t.Context()); err != nil {
		t.Fatalf("charpoytest: %v", err)
	}
}
