package spec

import "strings"

// Limits of buckets (wire.md 18).
const (
	MaxBuckets        = 30
	MaxBucketName     = 100
	MaxReplicas       = 3
	MaxVBuckets       = 1024
	MinQuotaBytes     = 1 << 20 // one MiB: enough for tests and tools
	DefaultVBuckets   = 1024
	DefaultMaxValue   = 20 << 20
	MaxTTLSeconds     = 1<<31 - 1
	DefaultPurgeAge   = 3 * 24 * 3600
	MaxSystemXattrs   = 1 << 20
	DefaultBucketName = "default"
)

// BucketType says whether a bucket keeps its documents on disk.
type BucketType string

// The bucket types, as the management API spells them.
const (
	Persistent BucketType = "membase"
	Ephemeral  BucketType = "ephemeral"
)

// Eviction says what leaves memory when a bucket is full.
type Eviction string

// The eviction policies. The first two are for persistent buckets, the others for ephemeral ones. Full eviction is
// accepted for compatibility and treated as value eviction (kv.md 1).
const (
	EvictValues Eviction = "valueOnly"
	EvictFull   Eviction = "fullEviction"
	EvictNone   Eviction = "noEviction"
	EvictNRU    Eviction = "nruEviction"
)

// Compression says what a bucket does with Snappy values.
type Compression string

// The compression modes.
const (
	CompressOff     Compression = "off"     // inflate on arrival
	CompressPassive Compression = "passive" // keep what clients send
	CompressActive  Compression = "active"  // compress when memory runs short
)

// Durability is the level of a durable write (wire.md 10).
type Durability uint8

// The durability levels; the values are those of the wire.
const (
	DurabilityNone             Durability = 0
	Majority                   Durability = 1
	MajorityAndPersistOnActive Durability = 2
	PersistToMajority          Durability = 3
)

const durabilityNames = "none majority majorityAndPersistActive persistToMajority"

// String gives the name that the management API uses.
func (d Durability) String() string {
	names := strings.Fields(durabilityNames)
	if int(d) < len(names) {
		return names[d]
	}
	return "unknown"
}

// Valid reports whether d is a level that exists.
func (d Durability) Valid() bool { return d <= PersistToMajority }

// ParseDurability finds a level by the name that the management API uses.
func ParseDurability(s string) (Durability, bool) {
	for i, n := range strings.Fields(durabilityNames) {
		if n == s {
			return Durability(i), true
		}
	}
	return 0, false
}

// ConflictResolution says which of two versions of a document wins when both were written elsewhere.
type ConflictResolution string

// The rules of conflict resolution.
const (
	BySeqno ConflictResolution = "seqno" // higher revision number
	ByTime  ConflictResolution = "lww"   // higher CAS
)

// Bucket is the desired state of one bucket.
type Bucket struct {
	Name               string             `json:"name"`
	UUID               string             `json:"uuid"` // 32 hex digits; another one after drop and re-creation
	Type               BucketType         `json:"type"`
	QuotaBytes         int64              `json:"quotaBytes"` // memory for documents, on each node
	NumVBuckets        int                `json:"numVBuckets"`
	NumReplicas        int                `json:"numReplicas"`
	Eviction           Eviction           `json:"eviction"`
	Compression        Compression        `json:"compression"`
	ConflictResolution ConflictResolution `json:"conflictResolution"`
	MaxTTL             uint32             `json:"maxTTL,omitempty"` // seconds, 0 = no bound
	MinDurability      Durability         `json:"minDurability,omitempty"`
	FlushEnabled       bool               `json:"flushEnabled,omitempty"`
	ReplicaIndex       bool               `json:"replicaIndex,omitempty"`
	PurgeAge           uint32             `json:"purgeAge,omitempty"`       // seconds a tombstone is kept, 0 = DefaultPurgeAge
	MaxValueBytes      int                `json:"maxValue,omitempty"`       // 0 = DefaultMaxValue
	StorageBackend     string             `json:"storageBackend,omitempty"` // as asked for; every bucket is stored alike
	FlushCount         uint64             `json:"flushCount,omitempty"`     // raised by each flush: data made under a lower one goes
}

// WithDefaults fills in what was left empty.
func (b Bucket) WithDefaults() Bucket {
	set(&b.Type, Persistent)
	set(&b.NumVBuckets, DefaultVBuckets)
	if b.Type == Ephemeral {
		set(&b.Eviction, EvictNone)
	}
	set(&b.Eviction, EvictValues)
	set(&b.Compression, CompressPassive)
	set(&b.ConflictResolution, BySeqno)
	set(&b.PurgeAge, DefaultPurgeAge)
	set(&b.MaxValueBytes, DefaultMaxValue)
	return b
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate checks a bucket after WithDefaults. The error is an Invalid whose fields are the names of the create form.
func (b Bucket) Validate() error {
	var e Invalid
	validateBucketName(&e, b.Name)
	e.add(b.Type == Persistent || b.Type == Ephemeral, "bucketType", "invalid bucket type")
	e.add(b.QuotaBytes >= MinQuotaBytes, "ramQuota", "RAM quota is too small")
	e.add(b.NumReplicas >= 0 && b.NumReplicas <= MaxReplicas, "replicaNumber",
		"Replica number must be between 0 and 3")
	e.add(b.NumVBuckets >= 1 && b.NumVBuckets <= MaxVBuckets && b.NumVBuckets&(b.NumVBuckets-1) == 0, "numVBuckets",
		"Number of vBuckets must be a power of two from 1 to 1024")
	switch b.Type {
	case Ephemeral:
		e.add(b.Eviction == EvictNone || b.Eviction == EvictNRU, "evictionPolicy",
			"Eviction policy must be either 'noEviction' or 'nruEviction' for ephemeral buckets")
		e.add(b.MinDurability <= Majority, "durabilityMinLevel",
			"Durability minimum level must be either 'none' or 'majority' for ephemeral buckets")
	default:
		e.add(b.Eviction == EvictValues || b.Eviction == EvictFull, "evictionPolicy",
			"Eviction policy must be either 'valueOnly' or 'fullEviction' for couchbase buckets")
	}
	e.add(b.Compression == CompressOff || b.Compression == CompressPassive || b.Compression == CompressActive,
		"compressionMode", "compressionMode can be set to 'off', 'passive' or 'active'")
	e.add(b.ConflictResolution == BySeqno || b.ConflictResolution == ByTime, "conflictResolutionType",
		"Conflict resolution type must be 'seqno' or 'lww'")
	e.add(b.MinDurability.Valid(), "durabilityMinLevel", "Durability minimum level must be one of 'none', 'majority', "+
		"'majorityAndPersistActive' or 'persistToMajority'")
	e.add(b.MaxTTL <= MaxTTLSeconds, "maxTTL", "Max TTL must be an integer between 0 and 2147483647")
	return e.err()
}

func validateBucketName(e *Invalid, name string) {
	if name == "" {
		e.add(false, "name", "Bucket name needs to be specified")
		return
	}
	ok := true
	for i := range len(name) {
		c := name[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
			strings.IndexByte("_.%-", c) >= 0)
	}
	e.add(ok, "name", "Bucket name can only contain characters in range A-Z, a-z, 0-9 as well as underscore, period, "+
		"dash & percent. Consult the documentation.")
	e.add(len(name) <= MaxBucketName, "name", "Bucket name needs to be less than 100 characters")
	e.add(!strings.HasPrefix(name, "."), "name", "Bucket name cannot start with dot.")
}
