package trace

import (
	"slices"
	"sync"
	"sync/atomic"
)

// gates holds one word per probe for the whole process: the low 16 bits count tracers outside of it, the high 16 bits what
// subscribed inside. It is process-wide because a tracer outside is; which node a record is for is decided in Fire. Changes
// are seen soon, not at once.
//
//nolint:gochecknoglobals // the one package-level variable of the design: one load decides whether a probe is on
var gates [MaxProbes]atomic.Uint32

// inside is what one subscription adds to a gate.
const inside = 1 << 16

// numShards is a power of two. Workers share shards when there are more of them; a shard's lock is nearly always free.
const numShards = 32

// maxTexts bounds the texts that a node knows; what comes after is otherText.
const maxTexts = 4096

// Node is what the probes of one node fire into. Several nodes may live in one process. Create it with NewNode; a nil *Node
// is a node that nobody looks at.
type Node struct {
	sinks  [MaxProbes]atomic.Pointer[[]*sink]
	shards [numShards]Shard
	texts  struct {
		sync.RWMutex
		byText map[string]Text
		list   []string
	}
	subscribing sync.Mutex // held while sinks change
}

// sink is one subscription.
type sink struct{ f func(*Record) }

// NewNode makes a node.
func NewNode() *Node {
	n := &Node{}
	for i := range n.shards {
		n.shards[i].node = n
	}
	n.texts.byText = map[string]Text{"": 0, otherText: 1}
	n.texts.list = []string{"", otherText}
	return n
}

// Named is a probe: an ID, or the constant that the table gives a probe, such as OpDone.
type Named interface{ ID() ID }

// Subscribe has f called with each record of these probes that fires for this node, until cancel is called. After cancel has
// returned, fires that were under way may still call f. Cancel may be called more than once.
func (n *Node) Subscribe(f func(*Record), wanted ...Named) (cancel func()) {
	s := &sink{f}
	n.subscribing.Lock()
	defer n.subscribing.Unlock()
	for _, p := range wanted {
		id := p.ID()
		var list []*sink
		if old := n.sinks[id].Load(); old != nil {
			list = *old
		}
		list = append(slices.Clip(list), s)
		n.sinks[id].Store(&list)
		gates[id].Add(inside)
	}
	return sync.OnceFunc(func() { n.unsubscribe(s, wanted) })
}

func (n *Node) unsubscribe(s *sink, wanted []Named) {
	n.subscribing.Lock()
	defer n.subscribing.Unlock()
	for _, p := range wanted {
		id := p.ID()
		list := slices.Clone(*n.sinks[id].Load())
		at := slices.Index(list, s)
		list = slices.Delete(list, at, at+1)
		gates[id].Add(^uint32(inside - 1))
		if len(list) == 0 {
			n.sinks[id].Store(nil)
			continue
		}
		n.sinks[id].Store(&list)
	}
}

// Shard gives the shard of a worker, by a number that tells it from others: a connection's id, say. A worker keeps it. Nil
// for a nil Node, and firing into that does nothing.
func (n *Node) Shard(worker uint64) *Shard {
	if n == nil {
		return nil
	}
	return &n.shards[worker%numShards]
}

// Text is a text that a node knows, as a number.
type Text uint32

// otherText stands for what a node's table of texts has no room for.
const otherText = "_other"

// Intern gives the number of a text. It takes a lock: call it when a bucket is opened or a connection begins, and keep the
// number. Names of buckets should come first, because the table is bounded.
func (n *Node) Intern(s string) Text {
	if n == nil {
		return 0
	}
	n.texts.RLock()
	t, ok := n.texts.byText[s]
	n.texts.RUnlock()
	if ok {
		return t
	}
	n.texts.Lock()
	defer n.texts.Unlock()
	if t, ok := n.texts.byText[s]; ok {
		return t
	}
	if len(n.texts.list) >= maxTexts {
		return 1
	}
	t = Text(len(n.texts.list))
	n.texts.byText[s] = t
	n.texts.list = append(n.texts.list, s)
	return t
}

// TextOf gives the text of a number.
func (n *Node) TextOf(t Text) string {
	if n == nil {
		return ""
	}
	n.texts.RLock()
	defer n.texts.RUnlock()
	if int(t) >= len(n.texts.list) {
		return ""
	}
	return n.texts.list[t]
}

// Shard holds the record that its workers' fires are written into. A record on the stack of who fires would be moved to the
// heap, because sinks are functions that the compiler cannot look into: 128 bytes and 160 ns a fire, against 3 ns here.
type Shard struct {
	node   *Node
	mu     sync.Mutex // held while record is filled and sinks run
	record Record
	_      [64]byte // neighbours share no cache line
}

// begin gives the record to fill, with the shard's lock held, or nil if nobody in this node wants the probe. end must follow.
func (s *Shard) begin(id ID) *Record {
	if s == nil || s.node.sinks[id].Load() == nil {
		return nil
	}
	s.mu.Lock()
	s.record.Probe, s.record.Node = id, s.node
	return &s.record
}

// end hands the record to the sinks.
func (s *Shard) end() {
	if list := s.node.sinks[s.record.Probe].Load(); list != nil {
		for _, k := range *list {
			k.f(&s.record)
		}
	}
	s.record.Key = Key{}
	s.mu.Unlock()
}
