package data

import (
	"context"
	"fmt"

	"github.com/charpoy/charpoy/internal/door"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/storage"
)

// number is one metric of a bucket or of the store, read out of its statistics.
type number[S any] struct {
	name string
	help string
	unit metrics.Unit
	kind metrics.Kind
	read func(*S) float64
}

func (n *number[S]) desc(labels ...metrics.Label) metrics.Desc {
	return metrics.Desc{Name: n.name, Help: n.help, Unit: n.unit, Kind: n.kind, Labels: labels}
}

func bucketNumbers() []number[kv.Stats] {
	const counter, gauge = metrics.KindCounter, metrics.KindGauge
	return []number[kv.Stats]{
		{"bucket_items", "Live documents.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Items) }},
		{"bucket_tombstones", "Deleted documents that are still remembered in memory.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Tombstones) }},
		{"bucket_ejected_items", "Live documents whose value is on disk only.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Ejected) }},
		{"bucket_quota_bytes", "Memory quota of the bucket on this node.", metrics.Bytes, gauge, func(s *kv.Stats) float64 { return float64(s.Memory.Quota) }},
		{"bucket_used_bytes", "Memory that counts against the quota: items, tables and the change window.", metrics.Bytes, gauge, func(s *kv.Stats) float64 { return float64(s.Memory.Used()) }},
		{"bucket_held_bytes", "Memory that the bucket holds of the system.", metrics.Bytes, gauge, func(s *kv.Stats) float64 { return float64(s.Memory.Held()) }},
		{"bucket_window_bytes", "Memory of the change window and of versions saved for readers.", metrics.Bytes, gauge, func(s *kv.Stats) float64 { return float64(s.Memory.Window) }},
		{"bucket_unsaved_mutations", "Mutations that are not on disk yet.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Unsaved) }},
		{"bucket_durable_waiting", "Durable writes that wait for the disk.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Waiting) }},
		{"bucket_warm_vbuckets", "vBuckets whose keys are loaded.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Warmed) }},
		{"kv_misses_total", "Operations that found no document.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Ops.Misses) }},
		{"kv_cas_mismatches_total", "Operations refused because the document had another CAS.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Ops.CASMismatches) }},
		{"kv_expired_total", "Documents that expired.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Ops.Expired) }},
		{"kv_evicted_total", "Documents that an ephemeral bucket gave up for want of memory.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Ops.Evicted) }},
		{"kv_ejected_total", "Values that left memory because they are on disk.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Ops.Ejected) }},
		{"kv_fetched_total", "Values that were read from disk.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Ops.Fetched) }},
		{"kv_refused_busy_total", "Mutations answered with a temporary failure.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Busy) }},
		{"kv_refused_memory_total", "Mutations refused because no memory could be freed.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.NoMemory) }},
		{"kv_cursors_dropped_total", "Readers of the change feed that lost their place in memory.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.CursorsDropped) }},
	}
}

// operations gives the counted operations of a bucket by name, for the family kv_ops_total.
func operations(o *kv.Ops) map[string]uint64 {
	return map[string]uint64{
		"get": o.Gets, "meta": o.Metas, "set": o.Sets, "append": o.Appends, "counter": o.Counters, "delete": o.Deletes,
		"touch": o.Touches, "lock": o.Locks,
	}
}

func storeNumbers() []number[storage.Stats] {
	const counter, gauge = metrics.KindCounter, metrics.KindGauge
	return []number[storage.Stats]{
		{"store_disk_bytes", "Disk space of all documents.", metrics.Bytes, gauge, func(s *storage.Stats) float64 { return float64(s.DiskBytes) }},
		{"store_wal_bytes", "Log that has not become table files yet.", metrics.Bytes, gauge, func(s *storage.Stats) float64 { return float64(s.WALBytes) }},
		{"store_debt_bytes", "What compaction still has to rewrite.", metrics.Bytes, gauge, func(s *storage.Stats) float64 { return float64(s.DebtBytes) }},
		{"store_read_amplification", "Files that a read may have to look into.", metrics.Count, gauge, func(s *storage.Stats) float64 { return float64(s.ReadAmp) }},
		{"store_memtable_bytes", "Memory of rows that are not in table files yet.", metrics.Bytes, gauge, func(s *storage.Stats) float64 { return float64(s.MemTableBytes) }},
		{"store_cache_bytes", "Memory of the block cache.", metrics.Bytes, gauge, func(s *storage.Stats) float64 { return float64(s.CacheBytes) }},
		{"store_rows_total", "Document rows written.", metrics.Count, counter, func(s *storage.Stats) float64 { return float64(s.Rows) }},
		{"store_batches_total", "Batches of document rows written.", metrics.Count, counter, func(s *storage.Stats) float64 { return float64(s.Batches) }},
		{"store_reads_total", "Single rows read.", metrics.Count, counter, func(s *storage.Stats) float64 { return float64(s.Reads) }},
		{"store_stalls_total", "Times that writes were held up by the storage engine.", metrics.Count, counter, func(s *storage.Stats) float64 { return float64(s.Stalls) }},
		{"store_corruptions_total", "Damaged rows or files found.", metrics.Count, counter, func(s *storage.Stats) float64 { return float64(s.Corruptions) }},
		{"store_flushed_bytes_total", "Bytes written from memory to table files.", metrics.Bytes, counter, func(s *storage.Stats) float64 { return float64(s.FlushedBytes) }},
		{"store_compacted_bytes_total", "Bytes rewritten by compaction.", metrics.Bytes, counter, func(s *storage.Stats) float64 { return float64(s.CompactedBytes) }},
	}
}

// Metrics gives the numbers of all buckets and of the store.
func (n *Node) Metrics(context.Context) (*metrics.Snapshot, error) {
	out := &metrics.Snapshot{}
	for _, name := range n.names() {
		b, err := n.Bucket(name)
		if err != nil {
			continue // it was dropped meanwhile
		}
		stats := b.kv.Stats()
		for _, number := range bucketNumbers() {
			out.Value(number.desc(metrics.BucketLabel()), number.read(&stats), name)
		}
		ops := metrics.Desc{
			Name: "kv_ops_total", Help: "Operations on documents, by kind.", Kind: metrics.KindCounter,
			Labels: []metrics.Label{metrics.BucketLabel(), {Name: "op"}},
		}
		for op, count := range operations(&stats.Ops) {
			out.Value(ops, float64(count), name, op)
		}
	}
	if n.store != nil {
		n.storeMetrics(out)
	}
	return out, nil
}

func (n *Node) storeMetrics(out *metrics.Snapshot) {
	stats := n.store.Stats()
	for _, number := range storeNumbers() {
		out.Value(number.desc(), number.read(&stats))
	}
	for _, h := range []struct {
		name, help string
		d          *metrics.Distribution
	}{
		{"store_sync_seconds", "How long the disk took to sync.", &stats.Sync},
		{"store_apply_seconds", "How long a batch of rows took to write.", &stats.Apply},
	} {
		out.Append(metrics.Desc{Name: h.name, Help: h.help, Unit: metrics.Seconds, Kind: metrics.KindHistogram},
			metrics.Series{Histogram: h.d})
	}
}

// Stat gives the bucket's or the store's numbers by name: the groups "" (a bucket's numbers) and "store" (of the node, with
// an empty bucket). ErrNoBucket, ErrNotReady, or an error that says that there is no such group.
func (n *Node) Stat(_ context.Context, bucket, group string) ([]door.Pair, error) {
	var pairs []door.Pair
	switch {
	case bucket == "" && group == "store":
		if n.store == nil {
			return nil, nil
		}
		stats := n.store.Stats()
		for _, number := range storeNumbers() {
			pairs = append(pairs, door.Pair{Name: number.name, Value: fmt.Sprint(number.read(&stats))})
		}
		return pairs, nil
	case bucket != "" && group == "":
		b, err := n.Bucket(bucket)
		if err != nil {
			return nil, err
		}
		stats := b.kv.Stats()
		for _, number := range bucketNumbers() {
			pairs = append(pairs, door.Pair{Name: number.name, Value: fmt.Sprint(number.read(&stats))})
		}
		return pairs, nil
	}
	return nil, fmt.Errorf("there is no statistics group %q", group)
}
