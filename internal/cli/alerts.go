package cli

import (
	"encoding/json"
	"fmt"
	"strings"
)

// alert is one condition that somebody should hear of.
type alert struct {
	name     string
	severity string // page: wake somebody; ticket: in working hours
	expr     string
	after    string // for how long it must hold; empty: at once
	summary  string
	action   string // what to do first
}

// burn is one pair of windows of an objective's burn rate: the error budget is used up so many times too fast, over a long
// window, and still is over a short one.
type burn struct {
	factor      string
	long, short string
	severity    string
}

func burns() []burn {
	return []burn{{"14.4", "1h", "5m", "page"}, {"6", "6h", "30m", "page"}, {"1", "3d", "6h", "ticket"}}
}

// objective is a share of good events that is promised. bad gives the share of bad ones over a window.
type objective struct {
	name    string
	budget  string // share that may be bad
	summary string
	bad     func(window string) string
}

func objectives() []objective {
	return []objective{
		{"CharpoyErrors", "0.0005", "too many operations fail (objective: 99.95 % succeed)", func(w string) string {
			return `sum(rate(charpoy_kv_ops_total{class="failed"}[` + w + `])) / sum(rate(charpoy_kv_ops_total[` + w + `]))`
		}},
		{"CharpoyLatency", "0.01", "too many operations take longer than 5 ms (objective: 99 % do not)", func(w string) string {
			return `1 - sum(rate(charpoy_kv_op_duration_seconds_bucket{le="0.00524288"}[` + w +
				`])) / sum(rate(charpoy_kv_op_duration_seconds_count[` + w + `]))`
		}},
	}
}

// alerts lists the conditions. The first steps of each are in docs/operating/metrics.md.
func alerts() []alert {
	var list []alert
	for _, o := range objectives() {
		for i, b := range burns() {
			list = append(list, alert{
				name: fmt.Sprintf("%sBurn%d", o.name, i+1), severity: b.severity,
				expr:    fmt.Sprintf("(%s) > %s * %s and (%s) > %s * %s", o.bad(b.long), b.factor, o.budget, o.bad(b.short), b.factor, o.budget),
				summary: o.summary + ", over " + b.long + " and still over " + b.short,
				action:  "charpoy metrics kv_stage shows where the time goes; charpoy slow names operations",
			})
		}
	}
	return append(list, []alert{
		{
			"CharpoyStorageErrors", "page", `increase(charpoy_storage_errors_total[5m]) > 0`, "", "the disk returns errors",
			"look at the log of the node and of the system: the disk may be failing",
		},
		{
			"CharpoyDamagedData", "page", `increase(charpoy_storage_corruptions_total[10m]) > 0`, "", "rows on disk are damaged",
			"the log names the vBucket; it is not served from this disk any more",
		},
		{
			"CharpoyDiskFillsUp", "ticket", `predict_linear(charpoy_storage_free_bytes[6h], 4 * 3600) < 0`, "30m",
			"the disk will be full within four hours", "free space, or add a disk; below the reserve writes are refused",
		},
		{
			"CharpoyDiskNearlyFull", "page", `charpoy_storage_free_bytes < 2e9`, "5m", "less than 2 GB of the disk are free",
			"free space now; below the reserve writes are refused",
		},
		{
			"CharpoyMemoryFull", "page",
			`charpoy_cache_used_bytes / charpoy_cache_quota_bytes > 0.95 and on (instance, bucket) ` +
				`increase(charpoy_cache_events_total{event="full"}[10m]) > 0`,
			"10m", "a bucket refuses writes for want of memory", "raise its quota, or let it evict",
		},
		{
			"CharpoySyncSlow", "ticket",
			`histogram_quantile(0.99, sum by (instance, le) (rate(charpoy_storage_fsync_duration_seconds_bucket{file="wal"}[5m]))) > 0.1`,
			"10m", "one sync of the log in a hundred takes longer than 100 ms", "something else uses the disk, or it is failing",
		},
		{
			"CharpoyStoreStalls", "ticket", `rate(charpoy_storage_stall_seconds_total[5m]) > 0.05`, "10m",
			"the storage engine holds up writes because compaction is behind", "the disk is too slow for the writes",
		},
		{
			"CharpoyRefusesConnections", "page", `increase(charpoy_net_connections_rejected_total[5m]) > 0`, "",
			"clients are refused because too many are connected", "a client may not close its connections",
		},
		{
			"CharpoyLoginsFail", "ticket", `sum by (instance) (rate(charpoy_auth_failures_total[5m])) > 1`, "15m",
			"logins fail more than once a second", "a client has an old password, or somebody is guessing",
		},
		{
			"CharpoySlowOperations", "ticket", `sum by (instance) (rate(charpoy_slow_ops_total[5m])) > 1`, "10m",
			"more than one slow operation a second", "charpoy slow lists them",
		},
		{
			"CharpoyMapsDiffer", "ticket", `max(charpoy_cluster_map_rev) != min(charpoy_cluster_map_rev)`, "2m",
			"nodes have different cluster maps", "a node may not reach the others",
		},
		{
			"CharpoyVersionsDiffer", "ticket", `count(count by (version) (charpoy_build_info)) > 1`, "1d",
			"nodes run different versions", "finish the upgrade",
		},
	}...)
}

// rulesText is a file of rules for Prometheus.
func rulesText() string {
	var b strings.Builder
	b.WriteString("# Made by: charpoy metrics --rules\ngroups:\n  - name: charpoy\n    rules:\n")
	for _, r := range alerts() {
		fmt.Fprintf(&b, "      - alert: %s\n        expr: %s\n", r.name, quoted(r.expr))
		if r.after != "" {
			fmt.Fprintf(&b, "        for: %s\n", r.after)
		}
		fmt.Fprintf(&b, "        labels:\n          severity: %s\n        annotations:\n          summary: %s\n          action: %s\n",
			r.severity, quoted("Charpoy: "+r.summary), quoted(r.action))
	}
	return b.String()
}

// quoted writes a text as YAML in single quotes.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// panel is one graph of the dashboard.
type panel struct {
	title, unit string // Grafana's name of the unit
	exprs       [][2]string
}

// panels lists the graphs, in reading order: what clients see, then where the time goes, then memory, disk and network.
func panels() []panel {
	rate := func(metric, by string) string {
		return "sum by (" + by + ") (rate(charpoy_" + metric + "[$__rate_interval]))"
	}
	quantile := func(q, metric, by string) string {
		return "histogram_quantile(" + q + ", " + rate(metric+"_bucket", by+", le") + ")"
	}
	return []panel{
		{"Operations", "ops", [][2]string{{rate("kv_ops_total", "op"), "{{op}}"}}},
		{"Outcomes other than ok", "ops", [][2]string{{rate(`kv_ops_total{class!="ok"}`, "class"), "{{class}}"}}},
		{"Duration of operations", "s", [][2]string{
			{quantile("0.5", "kv_op_duration_seconds", "op"), "{{op}} p50"}, {quantile("0.99", "kv_op_duration_seconds", "op"), "{{op}} p99"},
		}},
		{"Where the time goes", "s", [][2]string{{rate("kv_stage_duration_seconds_sum", "stage"), "{{stage}}"}}},
		{"Slow operations", "ops", [][2]string{{rate("slow_ops_total", "op"), "{{op}}"}}},
		{"Memory of buckets", "percentunit", [][2]string{
			{"charpoy_cache_used_bytes / charpoy_cache_quota_bytes", "{{instance}} {{bucket}}"},
		}},
		{"Values in memory", "percentunit", [][2]string{{"charpoy_cache_resident_ratio", "{{instance}} {{bucket}}"}}},
		{"Cache events", "ops", [][2]string{{rate("cache_events_total", "event"), "{{event}}"}}},
		{"Syncs of files", "s", [][2]string{{quantile("0.99", "storage_fsync_duration_seconds", "instance, file"), "{{instance}} {{file}} p99"}}},
		{"Writes to files", "s", [][2]string{{quantile("0.99", "storage_write_duration_seconds", "instance, file"), "{{instance}} {{file}} p99"}}},
		{"Not on disk yet", "short", [][2]string{{"charpoy_bucket_unsaved_mutations", "{{instance}} {{bucket}}"}}},
		{"Disk", "bytes", [][2]string{
			{"charpoy_storage_used_bytes", "{{instance}} documents"}, {"charpoy_storage_free_bytes", "{{instance}} free"},
		}},
		{"Connections", "short", [][2]string{{"charpoy_net_connections", "{{instance}} {{port}}"}}},
		{"Network", "Bps", [][2]string{{rate("net_bytes_total", "instance, dir"), "{{instance}} {{dir}}"}}},
		{"Memory of the Go runtime", "bytes", [][2]string{{"charpoy_go_heap_bytes", "{{instance}} heap"}}},
		{"Waiting to run", "s", [][2]string{{quantile("0.99", "go_sched_latency_seconds", "instance"), "{{instance}} p99"}}},
	}
}

// dashboardText is a dashboard as Grafana imports it.
func dashboardText() ([]byte, error) {
	type object = map[string]any
	const width, height = 12, 8
	source := object{"type": "prometheus", "uid": "${datasource}"}
	list := make([]object, 0, len(panels()))
	for i, p := range panels() {
		targets := make([]object, 0, len(p.exprs))
		for j, e := range p.exprs {
			targets = append(targets, object{
				"refId": string(rune('A' + j)), "expr": e[0], "legendFormat": e[1], "datasource": source,
			})
		}
		list = append(list, object{
			"id": i + 1, "type": "timeseries", "title": p.title, "datasource": source, "targets": targets,
			"gridPos":     object{"x": i % 2 * width, "y": i / 2 * height, "w": width, "h": height},
			"fieldConfig": object{"defaults": object{"unit": p.unit, "min": 0}, "overrides": []any{}},
		})
	}
	return json.MarshalIndent(object{
		"title": "Charpoy", "uid": "charpoy", "schemaVersion": 39, "tags": []string{"charpoy"}, "refresh": "30s",
		"time":   object{"from": "now-1h", "to": "now"},
		"panels": list,
		"templating": object{"list": []object{{
			"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus",
		}}},
	}, "", "  ")
}
