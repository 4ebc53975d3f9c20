package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// documented lists the metrics of docs/metrics.md with their labels.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 5 && strings.HasPrefix(cells[1], " `charpoy_") {
			all[strings.Trim(cells[1], " `")] = cells[4]
		}
	}
	if len(all) < 40 {
		t.Fatalf("only %d metrics are documented", len(all))
	}
	return all
}

var (
	nameInExpr  = regexp.MustCompile(`charpoy_[a-z_]+(\{[^}]*\})?`)
	labelInExpr = regexp.MustCompile(`([a-z]+)!?="`)
)

// wantKnown checks that an expression uses documented metrics with documented labels.
func wantKnown(t *testing.T, where, expr string, known map[string]string) {
	t.Helper()
	found := nameInExpr.FindAllString(expr, -1)
	if len(found) == 0 {
		t.Errorf("%s: no metric in %q", where, expr)
	}
	for _, use := range found {
		name, selector, _ := strings.Cut(use, "{")
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base := strings.TrimSuffix(name, suffix); known[base] != "" || base != name && hasKey(known, base) {
				name = base
			}
		}
		if !hasKey(known, name) {
			t.Errorf("%s: there is no metric %s", where, name)
		}
		for _, l := range labelInExpr.FindAllStringSubmatch(selector, -1) {
			if l[1] != "le" && !strings.Contains(known[name], l[1]) {
				t.Errorf("%s: %s has no label %s", where, name, l[1])
			}
		}
	}
}

func hasKey(m map[string]string, key string) bool { _, ok := m[key]; return ok }

// The rules are YAML, each alert says what to do, and all names are those of metrics that exist.
func TestRules(t *testing.T) {
	known := documented(t)
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(rulesText()), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Groups) != 1 || len(file.Groups[0].Rules) != len(alerts()) {
		t.Fatalf("groups %+v", file.Groups)
	}
	seen := map[string]bool{}
	for i, r := range file.Groups[0].Rules {
		want := alerts()[i]
		if r.Alert != want.name || r.Expr != want.expr || r.For != want.after || seen[r.Alert] {
			t.Errorf("rule %d is %+v, want %+v", i, r, want)
		}
		seen[r.Alert] = true
		if s := r.Labels["severity"]; s != "page" && s != "ticket" || r.Annotations["summary"] == "" || r.Annotations["action"] == "" {
			t.Errorf("%s: severity %q, annotations %v", r.Alert, s, r.Annotations)
		}
		wantKnown(t, r.Alert, r.Expr, known)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		return // the names are checked all the same
	}
	path := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(path, []byte(rulesText()), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

// The dashboard is JSON, and its graphs show metrics that exist.
func TestDashboard(t *testing.T) {
	known := documented(t)
	text, err := dashboardText()
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			GridPos struct{ X, Y int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	places := map[[2]int]string{}
	for _, p := range d.Panels {
		at := [2]int{p.GridPos.X, p.GridPos.Y}
		if places[at] != "" || len(p.Targets) == 0 {
			t.Errorf("%s: at the place of %q, %d expressions", p.Title, places[at], len(p.Targets))
		}
		places[at] = p.Title
		for _, target := range p.Targets {
			wantKnown(t, p.Title, target.Expr, known)
		}
	}
}

const exposition = `# HELP charpoy_kv_ops_total Requests \\ answered.
# TYPE charpoy_kv_ops_total counter
charpoy_kv_ops_total{bucket="odd\"na,me}",op="get"} 1200
charpoy_kv_ops_total{bucket="b",op="set"} 0
# HELP charpoy_cache_used_bytes Memory.
# TYPE charpoy_cache_used_bytes gauge
charpoy_cache_used_bytes 2048
# HELP charpoy_wait_seconds Waiting.
# TYPE charpoy_wait_seconds histogram
charpoy_wait_seconds_bucket{le="0.001"} 90
charpoy_wait_seconds_bucket{le="0.1"} 95
charpoy_wait_seconds_bucket{le="+Inf"} 100
charpoy_wait_seconds_sum 0.5
charpoy_wait_seconds_count 100
`

// What the server writes is read as it was meant.
func TestParseExposition(t *testing.T) {
	families, err := parseExposition([]byte(exposition))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range families {
		f := &families[i]
		for _, r := range f.readings() {
			got = append(got, strings.Join([]string{f.name, f.kind, f.unit(), f.help, r.labels, r.value, r.shown}, "|"))
		}
	}
	want := []string{
		`charpoy_kv_ops_total|counter||Requests \ answered.|bucket=odd"na,me} op=get|1200|1,200`,
		"charpoy_kv_ops_total|counter||Requests \\ answered.|bucket=b op=set|0|0",
		"charpoy_cache_used_bytes|gauge|bytes|Memory.||2048|2.0 KiB",
		"charpoy_wait_seconds|histogram|seconds|Waiting.||100|100, mean 5.0 ms, median ≤ 1.0 ms, p99 > 100.0 ms",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, bad := range []string{"charpoy_x", "charpoy_x{a=\"b", "charpoy_x{a} 1", "{} 1", "charpoy_x one"} {
		if _, err := parseExposition([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// FuzzParseExposition: whatever a server sends, reading it ends without a panic, and what can be read can be shown.
func FuzzParseExposition(f *testing.F) {
	f.Add([]byte(exposition))
	f.Add([]byte("a{b=\"\\"))
	f.Add([]byte("# HELP a b\n# TYPE c d\nx 1"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		families, err := parseExposition(text)
		if err != nil {
			return
		}
		for i := range families {
			families[i].readings()
		}
	})
}
