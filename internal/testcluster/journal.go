package testcluster

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/fault"
)

// journalSize is how many operations a cluster remembers.
const journalSize = 10_000

// internalAgent is how the management port's own client introduces itself. What it does for a user who reads or writes a
// document over HTTP is an operation of that user; how it connects is not.
const internalAgent = "charpoy-http"

// Op is an operation that a client has sent.
type Op struct {
	Time       time.Time     `json:"time"`
	Op         string        `json:"op"` // as the protocol calls it: get, set, add, replace, delete, …
	Bucket     string        `json:"bucket,omitempty"`
	Scope      string        `json:"scope,omitempty"`
	Collection string        `json:"collection,omitempty"`
	Key        string        `json:"key,omitempty"`
	Status     uint16        `json:"status"` // of the reply; 0 = success
	Duration   time.Duration `json:"duration_ns"`
	Connection uint64        `json:"connection"`
	Agent      string        `json:"agent,omitempty"`
	User       string        `json:"user,omitempty"`
	Injected   bool          `json:"injected,omitempty"` // a rule has acted on it
	Dropped    bool          `json:"dropped,omitempty"`  // a rule has kept the reply from being sent
}

// String gives one line.
func (o Op) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s #%d %s", o.Time.Format("15:04:05.000000"), o.Connection, o.Op)
	if o.Key != "" {
		fmt.Fprintf(&b, " %s/%s.%s/%q", o.Bucket, o.Scope, o.Collection, o.Key)
	}
	fmt.Fprintf(&b, " %s %s", StatusName(o.Status), o.Duration.Round(time.Microsecond))
	if o.Injected {
		b.WriteString(" injected")
	}
	if o.Dropped {
		b.WriteString(" reply-not-sent")
	}
	return b.String()
}

// journal keeps the newest operations in a ring.
type journal struct {
	sync.Mutex
	ring  []Op
	next  int // where the next one goes, once the ring is full
	total int
}

func (j *journal) add(o *fault.Operation) {
	if o.Agent == internalAgent && !o.Document {
		return
	}
	op := Op{
		Time: o.Begun, Op: o.Op, Bucket: o.Bucket, Scope: o.Scope, Collection: o.Collection, Key: o.Key, Status: o.Status,
		Duration: o.Duration, Connection: o.Connection, Agent: o.Agent, User: o.User,
		Injected: o.Injected != fault.Injection{}, Dropped: o.Injected.Drop || o.Injected.Close,
	}
	j.Lock()
	defer j.Unlock()
	j.total++
	if len(j.ring) < journalSize {
		j.ring = append(j.ring, op)
		return
	}
	j.ring[j.next] = op
	j.next = (j.next + 1) % journalSize
}

// newest gives the last n operations, the oldest first; with n = 0 all that are kept.
func (j *journal) newest(n int) []Op {
	j.Lock()
	defer j.Unlock()
	all := make([]Op, 0, len(j.ring))
	all = append(append(all, j.ring[j.next:]...), j.ring[:j.next]...)
	if n > 0 && n < len(all) {
		all = all[len(all)-n:]
	}
	return all
}

func (j *journal) clear() {
	j.Lock()
	defer j.Unlock()
	j.ring, j.next = nil, 0
}
