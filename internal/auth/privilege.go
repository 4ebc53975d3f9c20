package auth

import (
	"math/bits"
	"strings"
)

// Privilege is a set of rights, one bit each. The first block is that of the key-value protocol (wire.md 19.1), the second
// belongs to the management API.
type Privilege uint64

// The privileges on documents. They can be granted for a bucket, a scope or a collection.
const (
	Read Privilege = 1 << iota
	Insert
	Upsert
	Delete
	MetaWrite
	SystemXattrRead
	SystemXattrWrite
	RangeScan
	DcpStream
	SimpleStats // statistics of a bucket
)

// The other privileges of the key-value protocol. Stats, SystemSettings, Impersonate and Administrator belong to the node
// and are in every Access of who has them.
const (
	Stats Privilege = 1 << (iota + 16) // statistics of the node
	DcpProducer
	DcpConsumer
	SystemCollectionLookup
	SystemCollectionMutation
	Settings       // read a bucket's configuration
	SystemSettings // read the cluster's configuration
	Impersonate
	IdleConnection
	Administrator
)

// The privileges of the management API.
const (
	PoolRead     Privilege = 1 << (iota + 32) // see the cluster, its nodes and the names of buckets one may use
	ClusterWrite                              // name, nodes, settings
	BucketCreate
	BucketRead  // see all settings of a bucket
	BucketWrite // change and drop a bucket
	BucketFlush
	CollectionsWrite
	ViewsRead
	ViewsWrite
	UsersRead
	UsersWrite    // local users without security roles
	SecurityWrite // groups, and all users but full administrators
	MetricsRead
)

const (
	documents = Read | Insert | Upsert | Delete | MetaWrite | SystemXattrRead | SystemXattrWrite | RangeScan | DcpStream
	// touches is what lets a user select a bucket.
	touches = documents | SimpleStats | Settings | BucketRead | BucketWrite | CollectionsWrite | DcpProducer | ViewsRead |
		ViewsWrite
	everything = ^Privilege(0)
)

// privilegeNames lists the names by bit.
func privilegeNames() [64]string {
	return [64]string{
		0: "Read", 1: "Insert", 2: "Upsert", 3: "Delete", 4: "MetaWrite", 5: "SystemXattrRead", 6: "SystemXattrWrite",
		7: "RangeScan", 8: "DcpStream", 9: "SimpleStats",
		16: "Stats", 17: "DcpProducer", 18: "DcpConsumer", 19: "SystemCollectionLookup", 20: "SystemCollectionMutation",
		21: "Settings", 22: "SystemSettings", 23: "Impersonate", 24: "IdleConnection", 25: "Administrator",
		32: "PoolRead", 33: "ClusterWrite", 34: "BucketCreate", 35: "BucketRead", 36: "BucketWrite", 37: "BucketFlush",
		38: "CollectionsWrite", 39: "ViewsRead", 40: "ViewsWrite", 41: "UsersRead", 42: "UsersWrite", 43: "SecurityWrite",
		44: "MetricsRead",
	}
}

// String lists the privileges' names, joined by |.
func (p Privilege) String() string {
	names := privilegeNames()
	var out []string
	for rest := uint64(p); rest != 0; rest &= rest - 1 {
		if n := names[bits.TrailingZeros64(rest)]; n != "" {
			out = append(out, n)
		}
	}
	return strings.Join(out, "|")
}

// Access is what an identity may do in one bucket, or in the cluster as a whole if it was asked for without a bucket. It is
// an immutable value; the zero value allows nothing.
type Access struct {
	version  uint64
	bucket   Privilege // everywhere in the bucket, and what belongs to the node
	standard Privilege // in the default collection
	union    Privilege // anywhere in the bucket
	narrow   map[place]Privilege
}

// place is a collection, or a whole scope if collection is empty.
type place struct{ scope, collection string }

// FixedAccess is the access of somebody whom no directory knows: the privileges p in one bucket, and nothing else. Its Version
// is 0.
func FixedAccess(p Privilege) Access { return Access{bucket: p, standard: p, union: p} }

// Version is the directory's version that this was worked out from.
func (a Access) Version() uint64 { return a.version }

// Has reports whether all privileges of p are held in the whole bucket (for those that belong to the node: at all).
func (a Access) Has(p Privilege) bool { return a.bucket&p == p }

// HasDefault is Has for the default collection.
func (a Access) HasDefault(p Privilege) bool { return a.standard&p == p }

// HasAny reports whether one of the privileges of p is held in the default collection.
func (a Access) HasAny(p Privilege) bool { return a.standard&p != 0 }

// Somewhere reports whether all privileges of p are held in some place of the bucket, though not necessarily the same.
func (a Access) Somewhere(p Privilege) bool { return a.union&p == p }

// In gives the privileges held in one collection: those of the bucket, of its scope and its own.
func (a Access) In(scope, collection string) Privilege {
	if a.narrow == nil {
		return a.bucket
	}
	return a.bucket | a.narrow[place{scope, ""}] | a.narrow[place{scope, collection}]
}

// Sees reports whether a collection exists for the identity at all: without any privilege on its documents it must look
// like an unknown one (wire.md 19.1).
func (a Access) Sees(scope, collection string) bool {
	return a.In(scope, collection)&(documents|SimpleStats|CollectionsWrite) != 0
}

// MaySelect reports whether the identity may select the bucket: some privilege touches it.
func (a Access) MaySelect() bool { return a.union&touches != 0 }
