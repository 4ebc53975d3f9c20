package data

import (
	"context"
	"fmt"
	"maps"
	"slices"

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
		{"cache_items", "Live documents.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Items) }},
		{"bucket_tombstones", "Deleted documents that are still remembered in memory.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Tombstones) }},
		{"bucket_ejected_items", "Live documents whose value is on disk only.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Ejected) }},
		{"cache_quota_bytes", "Memory quota of the bucket on this node.", metrics.Bytes, gauge, func(s *kv.Stats) float64 { return float64(s.Memory.Quota) }},
		{"cache_used_bytes", "Memory that counts against the quota: items, tables and the change window.", metrics.Bytes, gauge, func(s *kv.Stats) float64 { return float64(s.Memory.Used()) }},
		{"bucket_held_bytes", "Memory that the bucket holds of the system.", metrics.Bytes, gauge, func(s *kv.Stats) float64 { return float64(s.Memory.Held()) }},
		{"bucket_window_bytes", "Memory of the change window and of versions saved for readers.", metrics.Bytes, gauge, func(s *kv.Stats) float64 { return float64(s.Memory.Window) }},
		{"bucket_unsaved_mutations", "Mutations that are not on disk yet.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Unsaved) }},
		{"bucket_durable_waiting", "Durable writes that wait for the disk.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Waiting) }},
		{"bucket_warm_vbuckets", "vBuckets whose keys are loaded.", metrics.Count, gauge, func(s *kv.Stats) float64 { return float64(s.Warmed) }},
		{"kv_misses_total", "Operations that found no document.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Ops.Misses) }},
		{"kv_lock_waits_total", "Operations that found the lock of their vBucket taken.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Ops.LockWaits) }},
		{"kv_lock_wait_seconds_total", "Time that operations waited for locks of vBuckets.", metrics.Seconds, counter, func(s *kv.Stats) float64 { return float64(s.Ops.LockWaitNanos) / 1e9 }},
		{"kv_cas_mismatches_total", "Operations refused because the document had another CAS.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Ops.CASMismatches) }},
		{"kv_expired_total", "Documents that expired.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Ops.Expired) }},
		{"kv_refused_busy_total", "Mutations answered with a temporary failure.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.Busy) }},
		{"kv_cursors_dropped_total", "Readers of the change feed that lost their place in memory.", metrics.Count, counter, func(s *kv.Stats) float64 { return float64(s.CursorsDropped) }},
	}
}

// operations gives the operations that a bucket has carried out, by kind.
func operations(o *kv.Ops) map[string]uint64 {
	return map[string]uint64{
		"get": o.Gets, "meta": o.Metas, "set": o.Sets, "append": o.Appends, "counter": o.Counters, "delete": o.Deletes,
		"touch": o.Touches, "lock": o.Locks,
	}
}

// cacheEvents says how well memory serves a bucket: reads that found their value in it and reads that needed the disk, what
// left it, and what it had no room for.
func cacheEvents(s *kv.Stats) map[string]uint64 {
	o := &s.Ops
	return map[string]uint64{
		"hit": o.Gets - min(o.Gets, o.Fetched), "miss": o.Fetched, "evict": o.Evicted + o.Ejected, "full": s.NoMemory,
	}
}

func storeNumbers() []number[storage.Stats] {
	const counter, gauge = metrics.KindCounter, metrics.KindGauge
	return []number[storage.Stats]{
		{"storage_used_bytes", "Disk space of all documents.", metrics.Bytes, gauge, func(s *storage.Stats) float64 { return float64(s.DiskBytes) }},
		{"storage_wal_bytes", "Log that has not become table files yet.", metrics.Bytes, gauge, func(s *storage.Stats) float64 { return float64(s.WALBytes) }},
		{"storage_debt_bytes", "What compaction still has to rewrite.", metrics.Bytes, gauge, func(s *storage.Stats) float64 { return float64(s.DebtBytes) }},
		{"storage_read_amplification", "Files that a read may have to look into.", metrics.Count, gauge, func(s *storage.Stats) float64 { return float64(s.ReadAmp) }},
		{"storage_memtable_bytes", "Memory of rows that are not in table files yet.", metrics.Bytes, gauge, func(s *storage.Stats) float64 { return float64(s.MemTableBytes) }},
		{"storage_cache_bytes", "Memory of the block cache.", metrics.Bytes, gauge, func(s *storage.Stats) float64 { return float64(s.CacheBytes) }},
		{"storage_rows_total", "Document rows written.", metrics.Count, counter, func(s *storage.Stats) float64 { return float64(s.Rows) }},
		{"storage_batches_total", "Batches of document rows written.", metrics.Count, counter, func(s *storage.Stats) float64 { return float64(s.Batches) }},
		{"storage_reads_total", "Single rows read.", metrics.Count, counter, func(s *storage.Stats) float64 { return float64(s.Reads) }},
		{"storage_stalls_total", "Times that writes were held up by the storage engine.", metrics.Count, counter, func(s *storage.Stats) float64 { return float64(s.Stalls) }},
		{"storage_corruptions_total", "Damaged rows or files found.", metrics.Count, counter, func(s *storage.Stats) float64 { return float64(s.Corruptions) }},
		{"storage_flushed_bytes_total", "Bytes written from memory to table files.", metrics.Bytes, counter, func(s *storage.Stats) float64 { return float64(s.FlushedBytes) }},
		{"storage_compacted_bytes_total", "Bytes rewritten by compaction.", metrics.Bytes, counter, func(s *storage.Stats) float64 { return float64(s.CompactedBytes) }},
	}
}

// Metrics gives the numbers of all buckets and of the store. Buckets beyond those that a metric may name are added up.
func (n *Node) Metrics(context.Context) (*metrics.Snapshot, error) {
	out := &metrics.Snapshot{}
	var fetch, flush metrics.Distribution
	memory := map[string]float64{}
	for i, name := range n.names() {
		b, err := n.Bucket(name)
		if err != nil {
			continue // it was dropped meanwhile
		}
		label := name
		if i >= metrics.MaxBucketLabels {
			label = metrics.Other
		}
		stats := b.kv.Stats()
		out.Merge(bucketMetrics(label, &stats))
		memory["items"] += float64(stats.Memory.Items)
		memory["slack"] += float64(stats.Memory.Slabs - stats.Memory.Items)
		memory["free"] += float64(stats.Memory.Committed - stats.Memory.Slabs)
		times := b.kv.DiskTimes()
		fetch, flush = fetch.Merge(times.Fetch), flush.Merge(times.Flush)
	}
	arena := metrics.Desc{
		Name: "arena_bytes", Help: "Memory taken from the system for documents: in use, lost between sizes, or free for any.",
		Unit: metrics.Bytes, Kind: metrics.KindGauge, Labels: []metrics.Label{{Name: "state", Max: 4}},
	}
	for _, state := range []string{"items", "slack", "free"} {
		out.Value(arena, memory[state], state)
	}
	if n.store == nil {
		return out, nil
	}
	histogram(out, "storage_fetch_duration_seconds", "Time from asking for a value that is on disk only until it was in memory.", fetch)
	histogram(out, "storage_flush_duration_seconds", "Time from the first change of a round of the flusher until all of the round was on disk.", flush)
	n.storeMetrics(out)
	return out, nil
}

// bucketMetrics gives the numbers of one bucket, under a label.
func bucketMetrics(label string, stats *kv.Stats) *metrics.Snapshot {
	out := &metrics.Snapshot{}
	for _, number := range bucketNumbers() {
		out.Value(number.desc(metrics.BucketLabel()), number.read(stats), label)
	}
	if label != metrics.Other { // ratios do not add up
		ratio := 1.0
		if stats.Items > 0 {
			ratio = float64(stats.Items-min(stats.Items, stats.Ejected)) / float64(stats.Items)
		}
		out.Value(metrics.Desc{
			Name: "cache_resident_ratio", Help: "Share of the live documents whose value is in memory.", Unit: metrics.Ratio,
			Kind: metrics.KindGauge, Labels: []metrics.Label{metrics.BucketLabel()},
		}, ratio, label)
	}
	for _, family := range []struct {
		name, help, label string
		values            map[string]uint64
	}{
		{"bucket_ops_total", "Operations that the engine has carried out, by kind.", "op", operations(&stats.Ops)},
		{
			"cache_events_total", "What became of values in memory: hit and miss count reads, evict what left memory, full what " +
				"memory had no room for.", "event", cacheEvents(stats),
		},
	} {
		desc := metrics.Desc{
			Name: family.name, Help: family.help, Kind: metrics.KindCounter,
			Labels: []metrics.Label{metrics.BucketLabel(), {Name: family.label, Max: 10}},
		}
		for _, kind := range slices.Sorted(maps.Keys(family.values)) {
			out.Value(desc, float64(family.values[kind]), label, kind)
		}
	}
	return out
}

func histogram(out *metrics.Snapshot, name, help string, d metrics.Distribution) {
	out.Append(metrics.Desc{Name: name, Help: help, Unit: metrics.Seconds, Kind: metrics.KindHistogram}, metrics.Series{Histogram: &d})
}

func (n *Node) storeMetrics(out *metrics.Snapshot) {
	stats := n.store.Stats()
	for _, number := range storeNumbers() {
		out.Value(number.desc(), number.read(&stats))
	}
	histogram(out, "storage_commit_duration_seconds", "Time that the flusher waited for the store to sync what it had written.", stats.Sync)
	histogram(out, "storage_batch_duration_seconds", "Time that a batch of rows took to be handed to the store.", stats.Apply)
	n.diskMetrics(out)
}

// diskMetrics gives what the store has seen of the disk.
func (n *Node) diskMetrics(out *metrics.Snapshot) {
	disk := n.store.DiskStats()
	file := metrics.Label{Name: "file", Max: 5}
	times := func(name, help string) metrics.Desc {
		return metrics.Desc{Name: name, Help: help, Unit: metrics.Seconds, Kind: metrics.KindHistogram, Labels: []metrics.Label{file}}
	}
	for i := range disk.Files {
		f := &disk.Files[i]
		out.Append(times("storage_fsync_duration_seconds", "Time that a sync of a file took, by kind of file."),
			metrics.Series{Labels: []string{f.Kind}, Histogram: &f.Sync})
		out.Append(times("storage_write_duration_seconds", "Time that a write to a file took, by kind of file."),
			metrics.Series{Labels: []string{f.Kind}, Histogram: &f.Write})
		out.Value(metrics.Desc{
			Name: "storage_bytes_total", Help: "Bytes written to files, by kind of file.", Unit: metrics.Bytes,
			Kind: metrics.KindCounter, Labels: []metrics.Label{file, {Name: "dir", Max: 2}},
		}, float64(f.WrittenBytes), f.Kind, "write")
	}
	for _, errno := range slices.Sorted(maps.Keys(disk.Errors)) {
		out.Value(metrics.Desc{
			Name: "storage_errors_total", Help: "Operations on files that failed, by the name of the system's error.",
			Kind: metrics.KindCounter, Labels: []metrics.Label{{Name: "errno", Max: 8}},
		}, float64(disk.Errors[errno]), errno)
	}
	for _, reason := range slices.Sorted(maps.Keys(disk.StallSeconds)) {
		out.Value(metrics.Desc{
			Name: "storage_stall_seconds_total", Help: "Time for which the storage engine held up writes, by reason.",
			Unit: metrics.Seconds, Kind: metrics.KindCounter, Labels: []metrics.Label{{Name: "reason", Max: 3}},
		}, disk.StallSeconds[reason], reason)
	}
	out.Value(metrics.Desc{
		Name: "storage_free_bytes", Help: "Free space on the disk of the documents.", Unit: metrics.Bytes, Kind: metrics.KindGauge,
	}, float64(disk.Free))
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
		events := cacheEvents(&stats)
		for _, event := range slices.Sorted(maps.Keys(events)) {
			pairs = append(pairs, door.Pair{Name: "cache_" + event, Value: fmt.Sprint(events[event])})
		}
		return pairs, nil
	}
	return nil, fmt.Errorf("there is no statistics group %q", group)
}
