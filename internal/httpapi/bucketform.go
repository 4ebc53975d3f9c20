package httpapi

import (
	"math"
	"strconv"

	"github.com/charpoy/charpoy/internal/spec"
)

// newBucket reads the form that creates a bucket. The error is a spec.Invalid with everything that is wrong.
func newBucket(f *form) (spec.Bucket, error) {
	b := spec.Bucket{}
	b.Name, _ = f.text("name")
	switch kind, _ := f.text("bucketType"); kind {
	case "", "membase", "couchbase":
		b.Type = spec.Persistent
	case "ephemeral":
		b.Type = spec.Ephemeral
	case "memcached":
		f.fail("bucketType", "memcached buckets are not supported; use an ephemeral one")
	default:
		f.fail("bucketType", "invalid bucket type")
	}
	if n, ok := f.number("numVBuckets", 1, spec.MaxVBuckets, "Number of vBuckets must be a power of two from 1 to 1024"); ok {
		b.NumVBuckets = int(n)
	}
	readConflictResolution(f, &b)
	readSettings(f, &b)
	_, mib := f.text("ramQuota")
	if _, mb := f.text("ramQuotaMB"); !mb && !mib {
		f.fail("ramQuota", "The RAM Quota must be specified and must be a positive integer.")
	}
	return b, f.check(b)
}

// check validates a bucket and adds what is wrong with it to what the form has.
func (f *form) check(b spec.Bucket) error {
	seen := make(map[string]bool, len(f.bad))
	for _, e := range f.bad {
		seen[e.Field] = true
	}
	if bad, ok := b.WithDefaults().Validate().(spec.Invalid); ok { //nolint:errorlint // Validate returns nothing else
		for _, e := range bad {
			if !seen[e.Field] {
				f.bad = append(f.bad, e)
			}
		}
	}
	return f.err()
}

// changeBucket applies the form that changes a bucket: fields that are there replace, others stay.
func changeBucket(f *form, b *spec.Bucket) error {
	old := *b
	switch kind, ok := f.text("bucketType"); {
	case !ok || kind == "" || kind == string(b.Type) || kind == "couchbase" && b.Type == spec.Persistent:
	default:
		f.fail("bucketType", "Cannot change bucket type.")
	}
	if n, ok := f.number("numVBuckets", 1, spec.MaxVBuckets, "Cannot change the number of vBuckets."); ok && int(n) != b.NumVBuckets {
		f.fail("numVBuckets", "Cannot change the number of vBuckets.")
	}
	readConflictResolution(f, b)
	if b.ConflictResolution != old.ConflictResolution {
		f.fail("conflictResolutionType", "Conflict resolution type not allowed in update bucket")
	}
	readSettings(f, b)
	return f.check(*b)
}

func readConflictResolution(f *form, b *spec.Bucket) {
	switch s, ok := f.text("conflictResolutionType"); {
	case !ok || s == "":
	case s == string(spec.BySeqno) || s == string(spec.ByTime):
		b.ConflictResolution = spec.ConflictResolution(s)
	default:
		f.fail("conflictResolutionType", "Conflict resolution type must be 'seqno' or 'lww'")
	}
}

// readSettings reads what creating and changing have in common.
func readSettings(f *form, b *spec.Bucket) {
	for _, name := range []string{"ramQuota", "ramQuotaMB"} {
		if n, ok := f.number(name, 1, 1<<30, "The RAM Quota must be specified and must be a positive integer."); ok {
			b.QuotaBytes = n << 20
		}
	}
	if n, ok := f.number("replicaNumber", 0, spec.MaxReplicas, "Replica number must be between 0 and 3"); ok {
		b.NumReplicas = int(n)
	}
	if v, ok := f.flag("flushEnabled"); ok {
		b.FlushEnabled = v
	}
	if v, ok := f.flag("replicaIndex"); ok {
		b.ReplicaIndex = v
	}
	if n, ok := f.number("maxTTL", 0, spec.MaxTTLSeconds, "Max TTL must be an integer between 0 and 2147483647"); ok {
		b.MaxTTL = uint32(n)
	}
	if s, ok := f.text("evictionPolicy"); ok && s != "" {
		b.Eviction = spec.Eviction(s)
	}
	if s, ok := f.text("compressionMode"); ok && s != "" {
		b.Compression = spec.Compression(s)
	}
	if s, ok := f.text("durabilityMinLevel"); ok && s != "" {
		level, known := spec.ParseDurability(s)
		if !known {
			f.fail("durabilityMinLevel", "Durability minimum level must be one of 'none', 'majority', "+
				"'majorityAndPersistActive' or 'persistToMajority'")
		}
		b.MinDurability = level
	}
	switch s, ok := f.text("storageBackend"); {
	case !ok || s == "" || s == "undefined":
	case s == "couchstore" || s == "magma":
		b.StorageBackend = s
	default:
		f.fail("storageBackend", "storage backend must be 'couchstore' or 'magma'")
	}
	readPurgeInterval(f, b)
	readHistory(f)
}

// readPurgeInterval reads how many days tombstones are kept.
func readPurgeInterval(f *form, b *spec.Bucket) {
	s, ok := f.text("purgeInterval")
	if !ok || s == "" || s == "undefined" {
		return
	}
	days, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(days) || days < 0.04 || days > 60 {
		f.fail("purgeInterval", "metadata purge interval must be between 0.04 and 60 days")
		return
	}
	b.PurgeAge = uint32(math.Round(days * 24 * 3600))
}

// readHistory refuses a history of changes, which no bucket keeps; asking for none is fine.
func readHistory(f *form) {
	for _, name := range []string{"historyRetentionSeconds", "historyRetentionBytes"} {
		if n, ok := f.number(name, 0, math.MaxInt64, "The value must be a positive integer."); ok && n > 0 {
			f.fail(name, "History retention is not supported.")
		}
	}
	f.flag("historyRetentionCollectionDefault") // true without a time or size asks for nothing; only its form is checked
}
