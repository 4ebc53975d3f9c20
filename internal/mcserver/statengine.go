package mcserver

import (
	"context"
	"strings"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// statBucket gives the numbers of the selected bucket: those that memcached's tools read, then those with the reference's
// prefix.
func (c *conn) statBucket(e *emitter) error {
	b := c.session.bucket
	s, kind := b.KV().Stats(), b.Spec()
	ops := c.server.numbers.ops(b.Name())
	e.num("cmd_get", ops.total(mcbp.ClassGet))
	e.num("get_hits", ops.requests[mcbp.ClassGet][succeeded].Value())
	e.num("get_misses", ops.requests[mcbp.ClassGet][missed].Value())
	e.num("cmd_set", ops.total(mcbp.ClassStore))
	e.num("delete_hits", ops.requests[mcbp.ClassDelete][succeeded].Value())
	e.num("delete_misses", ops.requests[mcbp.ClassDelete][missed].Value())
	e.num("cmd_counter", ops.total(mcbp.ClassCounter))
	e.num("cmd_touch", s.Ops.Touches)
	e.num("cas_badval", s.Ops.CASMismatches)
	e.num("limit_maxbytes", uint64(s.Memory.Quota))
	e.num("bytes", uint64(s.Memory.Used()))
	e.num("hash_bytes", uint64(s.Memory.Tables))
	e.num("curr_items", s.Items)
	e.num("curr_items_tot", s.Items)
	e.num("curr_temp_items", 0)
	e.num("total_items", s.Ops.Sets+s.Ops.Appends+s.Ops.Counters)
	e.num("evictions", s.Ops.Evicted+s.Ops.Ejected)
	e.num("reclaimed", s.Ops.Expired)

	e.put("ep_version", c.server.options.Version)
	e.put("ep_bucket_type", bucketKind(kind))
	e.put("ep_degraded_mode", "0")
	e.num("mem_used", uint64(s.Memory.Used()))
	e.num("ep_max_size", uint64(s.Memory.Quota))
	e.num("ep_mem_high_wat", uint64(s.HighMark))
	e.num("ep_mem_low_wat", uint64(s.LowMark))
	e.num("ep_queue_size", s.Unsaved)
	e.num("ep_flusher_todo", s.Unsaved)
	e.num("ep_bg_fetched", s.Ops.Fetched)
	e.num("ep_tmp_oom_errors", s.Busy)
	e.num("ep_oom_errors", s.NoMemory)
	e.num("ep_data_write_failed", 0) // a failed write ends the process
	e.num("ep_expired_pager", s.Ops.Expired)
	e.num("ep_value_size", s.ValueBytes)
	e.num("ep_num_non_resident", s.Ejected)
	e.num("ep_num_tombstones", s.Tombstones)
	for state := vbucket.Active; state <= vbucket.Dead; state++ {
		e.num("vb_"+state.String()+"_num", uint64(s.VBuckets[state]))
	}
	e.num("vb_active_curr_items", s.Items)
	e.put("vb_active_perc_mem_resident", percent(s.Items-min(s.Ejected, s.Items), s.Items))
	return nil
}

// total counts the requests of a class, however they ended.
func (o *opNumbers) total(class mcbp.Class) uint64 {
	var n uint64
	for _, counter := range o.requests[class] {
		n += counter.Value()
	}
	return n
}

// bucketKind is the name of a bucket's type in statistics.
func bucketKind(b *spec.Bucket) string {
	if b.Type == spec.Ephemeral {
		return "ephemeral"
	}
	return "persistent"
}

func (c *conn) statMemory(_ context.Context, e *emitter, _ []string) error {
	s := c.session.bucket.KV().Stats()
	e.num("mem_used", uint64(s.Memory.Used()))
	e.num("mem_items", uint64(s.Memory.Items))
	e.num("mem_tables", uint64(s.Memory.Tables))
	e.num("mem_window", uint64(s.Memory.Window))
	e.num("mem_slabs", uint64(s.Memory.Slabs))
	e.num("mem_committed", uint64(s.Memory.Committed))
	e.num("ep_max_size", uint64(s.Memory.Quota))
	e.num("ep_mem_high_wat", uint64(s.HighMark))
	e.num("ep_mem_low_wat", uint64(s.LowMark))
	e.num("ep_mutation_mem_limit", uint64(s.WriteLimit))
	return nil
}

func (c *conn) statConfig(_ context.Context, e *emitter, _ []string) error {
	b := c.session.bucket.Spec()
	e.put("ep_bucket_type", bucketKind(b))
	e.num("ep_max_size", uint64(b.QuotaBytes))
	e.num("ep_max_vbuckets", uint64(b.NumVBuckets))
	e.num("ep_max_item_size", uint64(b.MaxValueBytes))
	e.num("ep_max_ttl", uint64(b.MaxTTL))
	e.put("ep_compression_mode", string(b.Compression))
	e.put("ep_item_eviction_policy", strings.ToLower(string(b.Eviction)))
	e.put("ep_conflict_resolution_type", string(b.ConflictResolution))
	e.put("ep_durability_min_level", b.MinDurability.String())
	return nil
}

func (c *conn) statHash(_ context.Context, e *emitter, _ []string) error {
	s := c.session.bucket.KV().Stats()
	e.num("hash_bytes", uint64(s.Memory.Tables))
	e.num("hash_items", s.Items+s.Tombstones)
	return nil
}

// statWarmup tells how far loading has come.
func (c *conn) statWarmup(_ context.Context, e *emitter, _ []string) error {
	b := c.session.bucket
	s := b.KV().Stats()
	state := "loading"
	if s.Warmed == b.Spec().NumVBuckets {
		state = "done"
	}
	e.put("ep_warmup_state", state)
	e.num("ep_warmup_vbuckets_loaded", uint64(s.Warmed))
	e.num("ep_warmup_vbuckets_total", uint64(b.Spec().NumVBuckets))
	return nil
}
