package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/client"
)

// slowCmd prints the slow operations of a node.
type slowCmd struct {
	remote
	format
	Since      string            `placeholder:"TIME" help:"Only those since a time (RFC 3339), or so long ago (5m)."`
	Op         string            `placeholder:"NAME" help:"Only this operation, such as get or set."`
	Bucket     string            `short:"b" placeholder:"NAME" help:"Only those of this bucket."`
	Limit      int               `default:"100" help:"The newest so many, at most 1000."`
	Threshold  map[string]string `placeholder:"OP=TIME" mapsep:"," help:"Change from when on operations are slow: get=20ms, or default=100ms for all others. Until the node ends."`
	Thresholds bool              `help:"Print from when on operations are slow."`
}

// Help is the long help.
func (*slowCmd) Help() string {
	return "Examples: charpoy slow --since 10m; charpoy slow --op set -o ndjson; charpoy slow --threshold get=20ms. " +
		"How to read a line: docs/operating/slow-operations.md."
}

// slowOp is what the table shows of a slow operation. With -o json the server's own object is printed.
type slowOp struct {
	Time     time.Time        `json:"time"`
	Op       string           `json:"op"`
	Bucket   string           `json:"bucket"`
	Key      string           `json:"key"`
	DurUs    int64            `json:"dur_us"`
	StagesUs map[string]int64 `json:"stages_us"`
	Client   string           `json:"client"`
	During   []string         `json:"during"`
	Victims  int              `json:"victims"`
}

// Run prints them.
func (c *slowCmd) Run(a *app) error {
	return c.manage(a, func(r *client.REST) error {
		if len(c.Threshold) > 0 || c.Thresholds {
			return c.thresholds(a, r)
		}
		query := url.Values{"limit": {strconv.Itoa(c.Limit)}}
		for name, value := range map[string]string{"since": c.Since, "op": c.Op, "bucket": c.Bucket} {
			if value != "" {
				query.Set(name, value)
			}
		}
		var answer struct {
			Slow []json.RawMessage `json:"slow"`
		}
		if err := r.Get(a.ctx, "/api/v1/slow?"+query.Encode(), &answer); err != nil {
			return err
		}
		out := &table{columns: []string{"time", "op", "bucket", "key", "took", "most of it", "client", "victims", "during"}}
		for i := range answer.Slow {
			s := &slowOp{}
			if err := json.Unmarshal(answer.Slow[i], s); err != nil {
				return fmt.Errorf("slow operation %d of the answer: %w", i, err)
			}
			out.add(answer.Slow[i], s.Time.Local().Format("15:04:05.000"), s.Op, s.Bucket, s.Key, micros(s.DurUs), largest(s), s.Client,
				strconv.Itoa(s.Victims), strings.Join(s.During, " "))
		}
		if len(answer.Slow) == 0 && c.Output == "table" {
			a.note("Nothing was slow.")
			return nil
		}
		return a.print(c.format, out)
	})
}

// thresholds changes thresholds, if asked to, and prints all of them.
func (c *slowCmd) thresholds(a *app, r *client.REST) error {
	const path = "/api/v1/slow/thresholds"
	current := map[string]string{}
	var err error
	if len(c.Threshold) > 0 {
		form := url.Values{}
		for op, d := range c.Threshold {
			form.Set(op, d)
		}
		err = r.Put(a.ctx, path, form, &current)
	} else {
		err = r.Get(a.ctx, path, &current)
	}
	if err != nil {
		return err
	}
	out := &table{columns: []string{"operation", "slow from"}}
	for _, op := range slices.Sorted(maps.Keys(current)) {
		out.add(map[string]string{"op": op, "threshold": current[op]}, op, current[op])
	}
	return a.print(c.format, out)
}

// largest names the stage in which an operation spent most of its time.
func largest(s *slowOp) string {
	best, us := "-", int64(0)
	for _, stage := range slices.Sorted(maps.Keys(s.StagesUs)) {
		if n := s.StagesUs[stage]; n > us {
			best, us = stage, n
		}
	}
	if us == 0 {
		return best
	}
	return fmt.Sprintf("%s %s", best, micros(us))
}

func micros(us int64) string { return seconds(float64(us) / 1e6) }
