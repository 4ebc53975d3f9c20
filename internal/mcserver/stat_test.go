package mcserver

import (
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// stats asks for a group and collects its pairs up to the empty packet that ends it.
func (p *peer) stats(group string) (map[string]string, mcbp.Status) {
	p.t.Helper()
	p.write(mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpStat, Key: []byte(group), Opaque: 9}))
	pairs := map[string]string{}
	for {
		f, err := p.next()
		if err != nil || f.Opcode != mcbp.OpStat || f.Opaque != 9 {
			p.t.Fatalf("stat %s: %+v, %v", group, f, err)
		}
		if f.Status() != mcbp.StatusSuccess || len(f.Key) == 0 {
			return pairs, f.Status()
		}
		if _, twice := pairs[string(f.Key)]; twice {
			p.t.Errorf("stat %q gives %s twice", group, f.Key)
		}
		pairs[string(f.Key)] = string(f.Value)
	}
}

// TestStatGroups asks for each group of wire.md 13 and looks for the names that tools read.
func TestStatGroups(t *testing.T) {
	w := newWorld(t)
	app := w.dial().enter("app", "default", usual()...)
	app.must(storeFrame(mcbp.OpSet, 1, "\x00doc", `{"a":1}`))
	app.must(mcbp.Frame{Opcode: mcbp.OpGet, VB: 1, Key: []byte("\x00doc")})
	admin := w.dial().enter("admin", "default", usual()...)
	for group, names := range map[string]string{
		"": `pid uptime time version curr_connections total_connections cmd_get get_hits get_misses cmd_set curr_items bytes_read
			ep_version ep_bucket_type curr_items_tot vb_active_num vb_replica_num vb_pending_num vb_active_curr_items
			vb_active_perc_mem_resident mem_used ep_max_size ep_mem_high_wat ep_mem_low_wat ep_queue_size ep_flusher_todo ep_bg_fetched
			ep_tmp_oom_errors ep_oom_errors ep_degraded_mode ep_data_write_failed`,
		"settings": "maxconns", "clocks": "clock_wall_ns", "uuid": "uuid",
		"vbucket": "vb_0 vb_62", "vbucket 5": "vb_5",
		"vbucket-details":  "vb_1 vb_1:high_seqno vb_1:uuid vb_1:purge_seqno vb_1:num_items vb_1:topology",
		"vbucket-seqno 1":  "vb_1:high_seqno vb_1:abs_high_seqno vb_1:last_persisted_seqno vb_1:purge_seqno vb_1:uuid vb_1:last_persisted_snap_start",
		"failovers 1":      "vb_1:0:id vb_1:0:seq vb_1:num_entries",
		"collections":      "manifest_uid 0x0:0x0:name 0x0:0x0:items",
		"collections-byid": "manifest_uid 0x0:0x0:name",
		"scopes":           "manifest_uid 0x0:name", "manifest": "manifest_uid",
		"key doc 1":  "key_exptime key_flags key_cas key_last_modification_time key_vb_state key_is_dirty",
		"vkey doc 1": "key_cas key_valid",
		"memory":     "mem_used", "config": "ep_max_size", "warmup": "ep_warmup_state", "hash": "", "dcp": "", "dcpagg": "", "timings": "",
		"kvtimings": "", "durability-monitor": "", "tasks-all": "", "reset": "", "tap": "",
	} {
		got, status := admin.stats(group)
		if status != mcbp.StatusSuccess {
			t.Errorf("stat %q: %s", group, status.String())
		}
		for name := range strings.FieldsSeq(names) {
			if got[name] == "" {
				t.Errorf("stat %q has no %s", group, name)
			}
		}
	}
	seqno, _ := admin.stats("vbucket-seqno 1")
	if seqno["vb_1:high_seqno"] != "1" {
		t.Errorf("high seqno %s, want 1", seqno["vb_1:high_seqno"])
	}
	general, _ := admin.stats("")
	if general["curr_items"] != "1" || general["cmd_get"] != "1" || general["get_hits"] != "1" {
		t.Errorf("items %s, gets %s, hits %s; want 1 each", general["curr_items"], general["cmd_get"], general["get_hits"])
	}
	conns, _ := admin.stats("connections")
	if conns["1:user"] != "app" || conns["1:bucket"] != "default" || conns["1:agent"] != "test" || conns["2:user"] != "admin" {
		t.Errorf("connections: %v", conns)
	}
	if all, _ := admin.stats("vbucket"); len(all) != testVBuckets-1 {
		t.Errorf("%d vBuckets, want those of this node", len(all))
	}
}

// TestStatRefuses: unknown groups, bad arguments, missing rights.
func TestStatRefuses(t *testing.T) {
	w := newWorld(t)
	admin := w.dial().enter("admin", "default", mcbp.FeatureXError)
	for group, want := range map[string]mcbp.Status{
		"nonsense": mcbp.StatusNotFound, "vbucket x": mcbp.StatusInvalid, "vbucket 64": mcbp.StatusNotMyVBucket,
		"vbucket 63": mcbp.StatusNotMyVBucket, "vbucket 1 2": mcbp.StatusInvalid, "key doc": mcbp.StatusInvalid,
		"key doc 1": mcbp.StatusNotFound, "key doc 70000": mcbp.StatusInvalid, "key doc 63": mcbp.StatusNotMyVBucket,
		"failovers 63": mcbp.StatusNotMyVBucket, "key " + strings.Repeat("k", 244) + " 1": mcbp.StatusNotFound,
	} {
		if _, got := admin.stats(group); got != want {
			t.Errorf("stat %q: %s, want %s", group, got.String(), want.String())
		}
	}
	bucketless := w.dial().enter("admin", "", mcbp.FeatureXError)
	if got, status := bucketless.stats(""); status != mcbp.StatusSuccess || got["pid"] == "" || got["curr_items"] != "" {
		t.Errorf("without a bucket: %v, %s", got, status.String())
	}
	if _, got := bucketless.stats("vbucket"); got != mcbp.StatusNoBucket {
		t.Errorf("vbucket without a bucket: %s", got.String())
	}
	for user, may := range map[string]string{"reader": "", "monitor": "bucket", "app": "bucket", "admin": "bucket server"} {
		p := w.dial().enter(user, "default", mcbp.FeatureXError)
		for group, kind := range map[string]string{"": "bucket", "vbucket": "bucket", "settings": "server", "connections": "server"} {
			want := mcbp.StatusAccess
			if strings.Contains(may, kind) {
				want = mcbp.StatusSuccess
			}
			if _, got := p.stats(group); got != want {
				t.Errorf("stat %q by %s: %s, want %s", group, user, got.String(), want.String())
			}
		}
	}
}
