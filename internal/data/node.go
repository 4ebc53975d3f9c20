package data

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/door"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/run"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/trace"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Errors of Bucket.
var (
	// ErrNoBucket says that no bucket of that name is assigned to this node.
	ErrNoBucket = errors.New("no such bucket")
	// ErrNotReady says that the bucket exists but cannot be used yet (it is being opened) or any more (it is being dropped).
	ErrNotReady = errors.New("bucket is not ready")
)

// Options of a Node. The zero value is a memory-only data plane with the machine's clock.
type Options struct {
	Dir          string // of the documents, made if it is missing; empty: nothing is kept, every bucket is ephemeral
	FS           disk.FS
	ReserveBytes uint64      // free disk space below which new mutations are refused; 0 = 2 % of the disk, at most 1 GiB
	Fatal        func(error) // called once when the disk has failed; the process must end
	Clock        *hlc.Source
	Logger       *slog.Logger
	Trace        *trace.Node // what the probes fire into; nil: nobody looks
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = hlc.New()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Node is the data plane of one node. Its methods may be called from any goroutine.
type Node struct {
	options Options
	store   *storage.DB // nil: memory only
	boot    string
	started time.Time

	wanted  chan *vbucket.Assignment // mailbox of one: the newest wins
	reports chan *vbucket.Report     // mailbox of one: the newest wins
	applied atomic.Pointer[vbucket.Assignment]
	buckets atomic.Pointer[map[string]*Bucket] // replaced whole by Run

	subscribers struct {
		sync.Mutex
		next  int
		calls map[int]func(*vbucket.Assignment)
	}
	group *run.Group // of the running buckets; owned by Run
}

var _ door.Data = (*Node)(nil)

// Open opens the documents and makes a data plane that does nothing until Run. Close it after Run has returned.
func Open(o Options) (*Node, error) {
	o = o.withDefaults()
	n := newNode(o)
	if o.Dir == "" {
		return n, nil
	}
	db, err := storage.Open(storage.Options{
		FS: o.FS, Dir: o.Dir, Logger: o.Logger, ReserveBytes: o.ReserveBytes, Events: storage.Events{Fatal: o.Fatal},
		Trace: o.Trace,
	})
	if err != nil {
		return nil, err
	}
	n.store = db
	return n, nil
}

// New is Open for a data plane in memory, which cannot fail.
func New(o Options) *Node {
	o.Dir = ""
	return newNode(o.withDefaults())
}

// Close closes the documents.
func (n *Node) Close() error {
	if n.store == nil {
		return nil
	}
	return n.store.Close()
}

// Claim makes sure that the documents belong to a cluster: those of another one would be taken for dropped buckets and
// deleted. The first one that claims them has them.
func (n *Node) Claim(clusterUUID string) error {
	if n.store == nil {
		return nil
	}
	owner, err := n.store.Owner()
	switch {
	case err != nil:
		return err
	case owner == "":
		return n.store.SetOwner(clusterUUID)
	case owner != clusterUUID:
		return fmt.Errorf("the documents in %s belong to cluster %s, but the cluster state beside them is that of %s: put the "+
			"right one back, or move the documents away to start with none", n.options.Dir, owner, clusterUUID)
	}
	return nil
}

func newNode(o Options) *Node {
	n := &Node{
		options: o,
		boot:    randomHex(8),
		started: time.Now(),
		wanted:  make(chan *vbucket.Assignment, 1),
		reports: make(chan *vbucket.Report, 1),
	}
	n.buckets.Store(&map[string]*Bucket{})
	n.subscribers.calls = map[int]func(*vbucket.Assignment){}
	return n
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}

// Bucket is one bucket on this node, for the faces.
type Bucket struct {
	kv       *kv.Bucket
	spec     atomic.Pointer[spec.Bucket]
	manifest atomic.Pointer[spec.Manifest]
	gone     chan struct{}
	cancel   context.CancelFunc
	ended    chan struct{}
}

// KV is the engine of the bucket.
func (b *Bucket) KV() *kv.Bucket { return b.kv }

// Spec is the present desired state of the bucket. It must not be changed.
func (b *Bucket) Spec() *spec.Bucket { return b.spec.Load() }

// Manifest lists the present scopes and collections. It must not be changed.
func (b *Bucket) Manifest() *spec.Manifest { return b.manifest.Load() }

// Name of the bucket.
func (b *Bucket) Name() string { return b.spec.Load().Name }

// UUID of the bucket; one that was dropped and made again has another.
func (b *Bucket) UUID() string { return b.spec.Load().UUID }

// Gone is closed when the bucket begins to be dropped or closed: operations on it fail from then on.
func (b *Bucket) Gone() <-chan struct{} { return b.gone }

// Bucket finds a bucket by name. ErrNoBucket: it is not assigned here. ErrNotReady: it is assigned but not open.
func (n *Node) Bucket(name string) (*Bucket, error) {
	if b, ok := (*n.buckets.Load())[name]; ok {
		return b, nil
	}
	if a := n.applied.Load(); a != nil && a.Bucket(name) != nil {
		return nil, ErrNotReady
	}
	return nil, ErrNoBucket
}

// Buckets gives the open buckets by name. The map must not be changed.
func (n *Node) Buckets() map[string]*Bucket { return *n.buckets.Load() }

// Assignment is the newest one that was carried out, nil before the first.
func (n *Node) Assignment() *vbucket.Assignment { return n.applied.Load() }

// Started is when this data plane was made.
func (n *Node) Started() time.Time { return n.started }

// Boot names this run of the data plane; another start has another.
func (n *Node) Boot() string { return n.boot }

// Subscribe calls f with each assignment that has been carried out, newest last, from the goroutine of Run: f must not
// block. If there is one already, f is called with it before Subscribe returns. cancel ends it; a call of f may still be
// under way when cancel returns.
func (n *Node) Subscribe(f func(*vbucket.Assignment)) (cancel func()) {
	s := &n.subscribers
	s.Lock()
	defer s.Unlock()
	id := s.next
	s.next++
	s.calls[id] = f
	if a := n.applied.Load(); a != nil {
		f(a)
	}
	return func() {
		s.Lock()
		defer s.Unlock()
		delete(s.calls, id)
	}
}

// publish makes a the applied assignment and tells the subscribers.
func (n *Node) publish(a *vbucket.Assignment) {
	s := &n.subscribers
	s.Lock()
	defer s.Unlock()
	n.applied.Store(a)
	for _, f := range s.calls {
		f(a)
	}
}
