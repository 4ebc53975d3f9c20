package node

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/disk"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/spec"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// watched starts a node with so many buckets on a disk in memory, has a client select each, and gives its numbers.
func watched(t *testing.T, buckets int) (*Node, *metrics.Snapshot) {
	t.Helper()
	flags := map[string]string{"data": "data", "bind": "127.0.0.1"}
	for _, port := range []string{"kv-port", "kv-tls-port", "http-port", "http-tls-port", "views-port", "memcached-port"} {
		flags[port] = "0"
	}
	s, _, err := config.Resolve(config.Sources{Flags: flags, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	s.Buckets = nil
	for i := range buckets {
		s.Buckets = append(s.Buckets, config.FirstBucket{Name: fmt.Sprintf("bucket%02d", i), QuotaBytes: 100 << 20})
	}
	n, err := Open(t.Context(), Options{Settings: s, FS: disk.NewMemory(), VBuckets: 4, ShortLived: true, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-n.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("the node is not ready")
	}
	for _, b := range s.Buckets {
		password, _ := n.Password()
		c, err := client.Dial(t.Context(), client.Options{
			Addr: n.kv.Addr().String(), User: config.AdminUser, Password: password, Bucket: b.Name, Agent: "test",
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	numbers, err := n.http.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n, numbers
}

// The numbers of a node with as many buckets as there can be stay below the bound of series, and the scrape below that of bytes; names, units
// and help have their form.
func TestSeriesAreBounded(t *testing.T) {
	n, numbers := watched(t, spec.MaxBuckets)
	if got := numbers.Len(); got > 3000 {
		t.Errorf("%d series, at most 3000: %s", got, bySize(numbers))
	} else {
		t.Logf("%d series", got)
	}
	for _, f := range numbers.Families {
		lint(t, &f)
	}
	r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", n.Ports().Mgmt))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v", r.StatusCode, err)
	}
	if len(text) > 400<<10 {
		t.Errorf("a scrape of %d bytes", len(text))
	}
	series := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "#") {
			series++
			if !strings.HasPrefix(line, metrics.Prefix) {
				t.Errorf("a name without prefix: %s", line)
			}
		}
	}
	if series != numbers.Len() && (series < numbers.Len()-20 || series > 3000) {
		t.Errorf("%d series were scraped, %d counted", series, numbers.Len())
	}
	if !strings.Contains(string(text), `bucket="_other"`) {
		t.Error("all buckets have a name each")
	}
}

// lint checks what a family is called and how it explains itself.
func lint(t *testing.T, f *metrics.Family) {
	t.Helper()
	for _, l := range f.Labels {
		switch l.Name {
		case "vb", "key", "client", "user", "ddoc":
			t.Errorf("%s has the label %s, of which there is no end", f.Name, l.Name)
		}
	}
	parts := strings.Split(f.Name, "_")
	unit := map[string]bool{"seconds": f.Unit == metrics.Seconds, "bytes": f.Unit == metrics.Bytes, "ratio": f.Unit == metrics.Ratio}
	for name, has := range unit {
		if slices.Contains(parts, name) != has {
			t.Errorf("%s: the unit is %q", f.Name, f.Unit)
		}
	}
	for _, part := range []string{"milliseconds", "microseconds", "ms", "us", "ns", "kib", "mib", "mb", "percent"} {
		if slices.Contains(parts, part) {
			t.Errorf("%s is not in a base unit", f.Name)
		}
	}
	if (f.Kind == metrics.KindCounter) != strings.HasSuffix(f.Name, "_total") {
		t.Errorf("%s: counters, and only they, end in _total", f.Name)
	}
	if len(f.Help) < 10 || !strings.HasSuffix(f.Help, ".") || f.Help[0] < 'A' || f.Help[0] > 'Z' && !strings.HasPrefix(f.Help, "v") {
		t.Errorf("%s: help %q is no sentence", f.Name, f.Help)
	}
}

func bySize(s *metrics.Snapshot) string {
	list := slices.Clone(s.Families)
	slices.SortFunc(list, func(a, b metrics.Family) int { return len(b.Series) - len(a.Series) })
	text := ""
	for _, f := range list[:min(12, len(list))] {
		text += fmt.Sprintf(" %s=%d", f.Name, len(f.Series))
	}
	return text
}

// docs/metrics.md lists all metrics as they describe themselves; -update writes it.
func TestMetricsDocument(t *testing.T) {
	_, numbers := watched(t, 1)
	const path = "../../docs/metrics.md"
	want := document(numbers)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), want); diff != "" {
		t.Errorf("%s does not fit; run this test with -update (-have +want):\n%s", path, diff)
	}
}

func document(s *metrics.Snapshot) string {
	var b strings.Builder
	b.WriteString(`<!-- Generated by the test TestMetricsDocument of internal/node with -update. Do not edit. -->
# Metrics

What ` + "`GET /metrics`" + ` on the management port shows, in the text format of Prometheus or as OpenMetrics. All names begin with
charpoy_. Counters end in _total and only rise; units are base units and are part of the name. Labels have a bounded number of
values; what is beyond is added up under "_other". How to read them: [operating/metrics.md](operating/metrics.md).

| metric | type | unit | labels | meaning |
|---|---|---|---|---|
`)
	list := slices.Clone(s.Families)
	slices.SortFunc(list, func(x, y metrics.Family) int { return strings.Compare(x.Name, y.Name) })
	for _, f := range list {
		kind := map[metrics.Kind]string{
			metrics.KindCounter: "counter", metrics.KindGauge: "gauge", metrics.KindHistogram: "histogram",
		}[f.Kind]
		labels := make([]string, len(f.Labels))
		for i, l := range f.Labels {
			labels[i] = l.Name
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", metrics.Prefix+f.Name, kind, f.Unit, strings.Join(labels, ", "), f.Help)
	}
	return b.String()
}
