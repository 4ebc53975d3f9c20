package cli

import (
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/client"
)

// numbersFormat is format for lists of numbers, which spreadsheets read, too.
type numbersFormat struct {
	Output string `short:"o" enum:"table,json,ndjson,csv" default:"table" help:"table, json, ndjson or csv."`
}

// printNumbers writes a table in the format asked for. As csv it has the columns of the table.
func (a *app) printNumbers(f numbersFormat, t *table) error {
	if f.Output != "csv" {
		return a.print(format(f), t)
	}
	w := csv.NewWriter(a.Stdout)
	if err := w.Write(t.columns); err != nil {
		return err
	}
	if err := w.WriteAll(t.rows); err != nil { // flushes
		return err
	}
	return w.Error()
}

// statsCmd prints statistics.
type statsCmd struct {
	documents
	numbersFormat
	Group string `arg:"" optional:"" help:"Name of a group, such as memory, connections or 'vbucket-details 17'; all = the general numbers; without one an overview."`
	Grep  string `placeholder:"TEXT" help:"Only names that contain this."`
}

// Help is the long help.
func (*statsCmd) Help() string {
	return "Examples: charpoy stats -b shop; charpoy stats all --grep item; charpoy stats connections -o csv. " +
		"Groups of a bucket: memory config hash warmup collections scopes failovers vbucket vbucket-details vbucket-seqno; of the server: " +
		"connections settings clocks."
}

// statLine is a statistic with -o json.
type statLine struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Run prints them.
func (c *statsCmd) Run(a *app) error {
	group := c.Group
	if group == "all" {
		group = "" // as the protocol calls it
	}
	return c.with(a, func(conn *client.Conn) error {
		list, err := conn.Stats(a.ctx, group)
		if err != nil {
			return err
		}
		if c.Group == "" && c.Grep == "" && c.Output == "table" {
			return a.print(format(c.numbersFormat), overview(c.bucket(a), list))
		}
		out := &table{columns: []string{"name", "value"}}
		for _, s := range list {
			if strings.Contains(s.Name, c.Grep) {
				out.add(statLine(s), s.Name, s.Value)
			}
		}
		return a.printNumbers(c.numbersFormat, out)
	})
}

// overview is what a person wants to know first, in units that a person reads.
func overview(bucket string, list []client.Stat) *table {
	byName := make(map[string]string, len(list))
	for _, s := range list {
		byName[s.Name] = s.Value
	}
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(byName[name], 10, 64)
		return n
	}
	out := &table{columns: []string{"name", "value"}}
	row := func(name, value string, args ...any) { out.add(nil, name, fmt.Sprintf(value, args...)) }
	used, quota := number("mem_used"), number("ep_max_size")
	row("bucket", "%s (%s)", bucket, byName["ep_bucket_type"])
	row("documents", "%s", groups(number("curr_items")))
	row("memory", "%s of %s (%s); %s %% of the values are in it", size(used), size(quota), share(used, quota),
		byName["vb_active_perc_mem_resident"])
	row("reads", "%s, of them %s found nothing, %s needed the disk", groups(number("cmd_get")), groups(number("get_misses")),
		groups(number("ep_bg_fetched")))
	row("writes", "%s stored, %s deleted, %s counted", groups(number("cmd_set")), groups(number("delete_hits")),
		groups(number("cmd_counter")))
	row("refused", "%s for a moment, %s for want of memory", groups(number("ep_tmp_oom_errors")), groups(number("ep_oom_errors")))
	row("evicted", "%s for want of memory, %s expired", groups(number("evictions")), groups(number("ep_expired_pager")))
	row("not on disk", "%s mutations", groups(number("ep_queue_size")))
	row("vBuckets", "%s active, %s replica, %s pending, %s dead", byName["vb_active_num"], byName["vb_replica_num"],
		byName["vb_pending_num"], byName["vb_dead_num"])
	row("connections", "%s", groups(number("curr_connections")))
	row("up", "%s", span(time.Duration(number("uptime"))*time.Second))
	return out
}

// share writes part of whole in percent.
func share(part, whole int64) string {
	if whole <= 0 {
		return "-"
	}
	return strconv.FormatFloat(float64(part)*100/float64(whole), 'f', 1, 64) + " %"
}
