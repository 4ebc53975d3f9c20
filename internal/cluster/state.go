package cluster

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// State is all that is known of the cluster at one revision of the store. It is immutable.
type State struct {
	UUID           string
	Name           string // may be empty
	MemoryQuotaMiB int64  // for all buckets of a node; 0 = no bound
	RevEpoch, Rev  int64  // as clients see them
	Self           int    // index into Nodes
	Nodes          []vbucket.Node
	Buckets        []Bucket     // sorted by name, those being dropped too
	Users          []spec.User  // sorted by domain, then id
	Groups         []spec.Group // sorted by id

	// Assignment is what this node's data plane is told: everything above but buckets being dropped.
	Assignment *vbucket.Assignment

	revision store.Revision
	modified map[string]store.Revision // of each key, for conditions
}

// Bucket is one bucket of a State.
type Bucket struct {
	Spec     spec.Bucket
	Manifest spec.Manifest
	Rows     []vbucket.Row // indexed by vBucket; each chain is NumReplicas + 1 long
	Dropping bool
}

// Bucket finds a bucket by name; nil if there is none or it is being dropped.
func (s *State) Bucket(name string) *Bucket {
	if b := s.named(name); b != nil && !b.Dropping && b.Spec.Name == name {
		return b
	}
	return nil
}

// named finds whatever has the name, in any case of letters.
func (s *State) named(name string) *Bucket {
	for i := range s.Buckets {
		if strings.EqualFold(s.Buckets[i].Spec.Name, name) {
			return &s.Buckets[i]
		}
	}
	return nil
}

// User finds a user; nil if there is none.
func (s *State) User(d spec.Domain, id string) *spec.User {
	for i := range s.Users {
		if s.Users[i].Domain == d && s.Users[i].ID == id {
			return &s.Users[i]
		}
	}
	return nil
}

// Group finds a group; nil if there is none.
func (s *State) Group(id string) *spec.Group {
	for i := range s.Groups {
		if s.Groups[i].ID == id {
			return &s.Groups[i]
		}
	}
	return nil
}

// is makes the condition that a key has not changed since this state.
func (s *State) is(keys ...string) []store.Condition {
	out := make([]store.Condition, len(keys))
	for i, k := range keys {
		out[i] = store.Condition{Key: k, Modified: s.modified[k]}
	}
	return out
}

// keyError says that a key of the store cannot be understood.
func keyError(key string, err error) error { return fmt.Errorf("cluster state, key %s: %w", key, err) }

// stateBuilder collects the keys of one listing.
type stateBuilder struct {
	state     *State
	meta      metaValue
	settings  settingsValue
	ids       []int // of State.Nodes
	manifests map[string]spec.Manifest
	shards    map[string][]byte // by key
}

// newState makes a State of all keys of the store. They come sorted.
func newState(entries []store.Entry, rev store.Revision) (*State, error) {
	b := stateBuilder{
		state:     &State{revision: rev, modified: make(map[string]store.Revision, len(entries))},
		manifests: make(map[string]spec.Manifest),
		shards:    make(map[string][]byte),
	}
	for _, e := range entries {
		b.state.modified[e.Key] = e.Modified
		if err := b.add(e.Key, e.Value); err != nil {
			return nil, keyError(e.Key, err)
		}
	}
	if err := b.finish(); err != nil {
		return nil, err
	}
	return b.state, nil
}

func (b *stateBuilder) add(key string, value []byte) error {
	s := b.state
	switch {
	case key == keyMeta:
		return json.Unmarshal(value, &b.meta)
	case key == keySettings:
		return json.Unmarshal(value, &b.settings)
	case strings.HasPrefix(key, prefixNode):
		var n nodeValue
		if err := json.Unmarshal(value, &n); err != nil {
			return err
		}
		s.Nodes, b.ids = append(s.Nodes, n.node()), append(b.ids, n.ID)
	case strings.HasPrefix(key, prefixBucket):
		var v bucketValue
		if err := json.Unmarshal(value, &v); err != nil {
			return err
		}
		if !vbucket.ValidCount(v.Spec.NumVBuckets) {
			return fmt.Errorf("%d vBuckets", v.Spec.NumVBuckets)
		}
		s.Buckets = append(s.Buckets, Bucket{Spec: v.Spec, Dropping: v.Dropping})
	case strings.HasPrefix(key, prefixMan):
		var m spec.Manifest
		if err := json.Unmarshal(value, &m); err != nil {
			return err
		}
		b.manifests[strings.TrimPrefix(key, prefixMan)] = m
	case strings.HasPrefix(key, prefixRows):
		b.shards[key] = value
	case strings.HasPrefix(key, prefixUser):
		var u spec.User
		if err := json.Unmarshal(value, &u); err != nil {
			return err
		}
		s.Users = append(s.Users, u)
	case strings.HasPrefix(key, prefixGroup):
		var g spec.Group
		if err := json.Unmarshal(value, &g); err != nil {
			return err
		}
		s.Groups = append(s.Groups, g)
	}
	return nil
}

// finish puts together what came under several keys.
func (b *stateBuilder) finish() error {
	s := b.state
	if b.meta.ClusterUUID == "" {
		return keyError(keyMeta, store.ErrNotFound)
	}
	if b.meta.Compat > compatVersion {
		return keyError(keyMeta, store.ErrNewerFormat)
	}
	s.UUID, s.Name, s.MemoryQuotaMiB = b.meta.ClusterUUID, b.settings.ClusterName, b.settings.MemoryQuotaMiB
	s.RevEpoch, s.Rev = b.meta.RevEpoch, b.meta.RevBase+int64(s.revision)
	s.Self = slices.Index(b.ids, selfID)
	for i := range s.Buckets {
		if err := b.finishBucket(&s.Buckets[i]); err != nil {
			return err
		}
	}
	slices.SortFunc(s.Buckets, func(x, y Bucket) int { return cmp.Compare(x.Spec.Name, y.Spec.Name) })
	slices.SortFunc(s.Users, func(x, y spec.User) int {
		return cmp.Or(cmp.Compare(x.Domain, y.Domain), cmp.Compare(x.ID, y.ID))
	})
	slices.SortFunc(s.Groups, func(x, y spec.Group) int { return cmp.Compare(x.ID, y.ID) })
	s.Assignment = s.assignment()
	return nil
}

func (b *stateBuilder) finishBucket(bucket *Bucket) error {
	uuid := bucket.Spec.UUID
	manifest, ok := b.manifests[uuid]
	if !ok {
		return keyError(keyMan(uuid), store.ErrNotFound)
	}
	bucket.Manifest = manifest
	for shard := 0; len(bucket.Rows) < bucket.Spec.NumVBuckets; shard++ {
		key := keyRows(uuid, shard)
		data, ok := b.shards[key]
		if !ok {
			return keyError(key, store.ErrNotFound)
		}
		rows, err := decodeRows(data)
		if err != nil {
			return keyError(key, err)
		}
		if want := min(rowsPerShard, bucket.Spec.NumVBuckets-len(bucket.Rows)); len(rows) != want {
			return keyError(key, fmt.Errorf("%d rows, not %d", len(rows), want))
		}
		for _, r := range rows {
			bucket.Rows = append(bucket.Rows, b.row(r, bucket.Spec.NumReplicas))
		}
	}
	return nil
}

// row turns node ids into indexes and fills the chain up to the number of copies that is wanted.
func (b *stateBuilder) row(r storedRow, replicas int) vbucket.Row {
	out := vbucket.Row{Epoch: r.epoch, Chain: make([]int16, replicas+1)}
	for i := range out.Chain {
		out.Chain[i] = -1
		if i < len(r.chain) {
			out.Chain[i] = int16(slices.Index(b.ids, int(r.chain[i])))
		}
	}
	return out
}

func (s *State) assignment() *vbucket.Assignment {
	a := &vbucket.Assignment{
		RevEpoch: s.RevEpoch, Rev: s.Rev, ClusterName: s.Name, ClusterUUID: s.UUID, Self: s.Self,
		Nodes: s.Nodes, Users: s.Users, Groups: s.Groups,
	}
	for _, b := range s.Buckets {
		if !b.Dropping {
			a.Buckets = append(a.Buckets, vbucket.BucketAssignment{Spec: b.Spec, Manifest: b.Manifest, Rows: b.Rows})
		}
	}
	return a
}
