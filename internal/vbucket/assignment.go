package vbucket

import "github.com/charpoy/charpoy/internal/spec"

// Row says who holds one vBucket. Chain lists indexes into Assignment.Nodes, the active first, then the replicas; −1
// means nobody.
type Row struct {
	Epoch Epoch
	Chain []int16
}

// Node is one member of the cluster as clients must see it.
type Node struct {
	UUID     string
	Hostname string         // empty: clients use the address that they dialled
	Ports    map[string]int // service name of the cluster configuration ("kv", "kvSSL", "mgmt", "capi", …) to port
	Data     bool           // holds documents
	Group    string         // server group, may be empty
}

// BucketAssignment is what a node must know of one bucket.
type BucketAssignment struct {
	Spec     spec.Bucket
	Manifest spec.Manifest
	Rows     []Row // indexed by ID, exactly Spec.NumVBuckets of them
}

// Assignment is the whole desired state that concerns one node. Applying it is idempotent: one of a lower (RevEpoch, Rev)
// than was applied before is ignored, and within it each row of a lower epoch. It is immutable once published.
type Assignment struct {
	RevEpoch    int64 // configuration revision as served to clients: higher epoch first, then higher revision
	Rev         int64 // ≥ 1
	ClusterName string
	ClusterUUID string
	Self        int // index into Nodes
	Nodes       []Node
	Buckets     []BucketAssignment // sorted by name
	Users       []spec.User        // sorted by domain, then id
	Groups      []spec.Group       // sorted by id
}

// Bucket finds a bucket by name; nil if there is none.
func (a *Assignment) Bucket(name string) *BucketAssignment {
	for i := range a.Buckets {
		if a.Buckets[i].Spec.Name == name {
			return &a.Buckets[i]
		}
	}
	return nil
}

// Newer reports whether a supersedes b (nil counts as oldest).
func (a *Assignment) Newer(b *Assignment) bool {
	return b == nil || a.RevEpoch > b.RevEpoch || a.RevEpoch == b.RevEpoch && a.Rev > b.Rev
}

// Copy is the observed state of one vBucket's copy.
type Copy struct {
	Epoch     Epoch
	State     State
	Ready     bool // it serves: loaded, not quarantined
	High      Seqno
	Persisted Seqno
	UUID      UUID
}

// BucketReport is the observed state of one bucket on one node.
type BucketReport struct {
	Name       string
	UUID       string
	FlushCount uint64 // spec.Bucket.FlushCount that has been carried out
	Ready      bool   // every assigned vBucket of the bucket serves
	Warmed     int    // vBuckets loaded so far
	Copies     []Copy // indexed by ID
	Items      uint64
	MemBytes   uint64
	DiskBytes  uint64
	Problem    string // why the bucket could not be made or loaded, empty if nothing is wrong
}

// Report is the observed state of one node's data plane. A newer one replaces an older one.
type Report struct {
	Boot     string // made up at each start of the data plane
	RevEpoch int64  // of the newest Assignment applied
	Rev      int64
	Buckets  []BucketReport // sorted by name
}

// Bucket finds a bucket's report by name; nil if there is none.
func (r *Report) Bucket(name string) *BucketReport {
	for i := range r.Buckets {
		if r.Buckets[i].Name == name {
			return &r.Buckets[i]
		}
	}
	return nil
}
