package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/metrics"
)

// metricsCmd prints the numbers of a node, or what Prometheus and a dashboard make of them.
type metricsCmd struct {
	remote
	numbersFormat
	Prefix     string `arg:"" optional:"" help:"Only metrics whose name begins with this; charpoy_ may be left out."`
	All        bool   `help:"Also those that are 0."`
	Rules      bool   `xor:"what" help:"Print alert rules for Prometheus; no server is asked."`
	Dashboards string `xor:"what" placeholder:"DIR" type:"path" help:"Write a Grafana dashboard into DIR; no server is asked."`
}

// Help is the long help.
func (*metricsCmd) Help() string {
	return "Examples: charpoy metrics storage_; charpoy metrics kv_stage --all -o csv; charpoy metrics --rules > charpoy.rules.yml. " +
		"The list of all metrics is in docs/metrics.md."
}

// metricLine is a metric with -o json. value of a histogram is the number of observations.
type metricLine struct {
	Name   string            `json:"name"`
	Type   string            `json:"type"`
	Unit   string            `json:"unit,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Value  string            `json:"value"`
	Help   string            `json:"help"`
}

// Run prints them.
func (c *metricsCmd) Run(a *app) error {
	switch {
	case c.Rules:
		_, err := fmt.Fprint(a.Stdout, rulesText())
		return err
	case c.Dashboards != "":
		return c.writeDashboard(a)
	}
	return c.manage(a, func(r *client.REST) error {
		text, err := r.Metrics(a.ctx)
		if err != nil {
			return err
		}
		families, err := parseExposition(text)
		if err != nil {
			return err
		}
		out := c.table(families)
		if len(out.rows) == 0 && c.Prefix != "" && !hasPrefix(families, c.Prefix) {
			return fail(exitNotFound, "no metric begins with %q", c.Prefix).do("charpoy metrics --all lists them.")
		}
		return a.printNumbers(c.numbersFormat, out)
	})
}

// begins reports whether a metric's name begins with what was asked for.
func begins(name, prefix string) bool {
	return strings.HasPrefix(strings.TrimPrefix(name, metrics.Prefix), strings.TrimPrefix(prefix, metrics.Prefix))
}

func hasPrefix(families []metricFamily, prefix string) bool {
	for i := range families {
		if begins(families[i].name, prefix) {
			return true
		}
	}
	return false
}

func (c *metricsCmd) table(families []metricFamily) *table {
	out := &table{columns: []string{"metric", "labels", "value", "unit", "meaning"}}
	for i := range families {
		f := &families[i]
		if !begins(f.name, c.Prefix) {
			continue
		}
		name := strings.TrimPrefix(f.name, metrics.Prefix)
		help := f.help
		for _, r := range f.readings() {
			if r.value == "0" && !c.All {
				continue
			}
			value := r.value
			if c.Output == "table" {
				value = r.shown
			}
			out.add(metricLine{f.name, f.kind, f.unit(), labelMap(r.labels), r.value, f.help}, name, r.labels, value, f.unit(), help)
			if c.Output == "table" {
				name, help = "", "" // the same as above
			}
		}
	}
	return out
}

// labelMap reads what labelText wrote.
func labelMap(text string) map[string]string {
	if text == "" {
		return nil
	}
	m := map[string]string{}
	for pair := range strings.SplitSeq(text, " ") {
		name, value, _ := strings.Cut(pair, "=")
		m[name] = value
	}
	return m
}

func (c *metricsCmd) writeDashboard(a *app) error {
	text, err := dashboardText()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dashboards, 0o755); err != nil {
		return fail(exitFailed, "make the directory: %w", err)
	}
	file := filepath.Join(c.Dashboards, "charpoy.json")
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return fail(exitFailed, "write the dashboard: %w", err)
	}
	a.note("%s: import it into Grafana; it asks for the Prometheus that scrapes the nodes", file)
	return nil
}
