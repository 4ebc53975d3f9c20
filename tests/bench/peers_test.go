package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/loadgen"
)

func slot(cpu, ops float64, p99 time.Duration) measured {
	return measured{Result: loadgen.Result{ServerCPU: cpu, OpsPerSec: ops, P99: p99}}
}

// TestRatios: a row's ratios are taken within each round, from the best of the peers, and their median decides.
func TestRatios(t *testing.T) {
	in := configuration{jobGet, 16, 16, true}
	rows := []row{
		{Name: "cpu", in: in, ours: "us", theirs: []string{"a", "b"}, must: 2, aim: 3},
		{Name: "throughput", in: in, ours: "us", theirs: []string{"a", "b"}, throughput: true, must: 2},
	}
	r := &report{Machine: machineInfo{Cores: 2}, named: map[slotKey][]measured{}, Slots: map[string][]measured{}}
	r.begin(rows)
	for round, m := range [][3]measured{
		{slot(100, 10, 10), slot(300, 4, 20), slot(200, 5, 40)},
		{slot(100, 10, 10), slot(250, 10, 5), slot(400, 1, 40)},
		{slot(50, 10, 10), slot(200, 2, 30), slot(500, 1, 40)},
	} {
		for i, name := range []string{"us", "a", "b"} {
			r.add(in, name, round, m[i])
		}
	}
	for _, x := range r.Rows {
		r.compute(x)
	}
	cpu, throughput := r.Rows[0], r.Rows[1]
	if !slices.Equal(cpu.CPU, []float64{2, 2.5, 4}) || cpu.Median != 2.5 || !*cpu.Met || cpu.Weak {
		t.Errorf("CPU: %+v", cpu)
	}
	if !slices.Equal(throughput.Throughput, []float64{2, 1, 5}) || throughput.Median != 2 || !*throughput.Met {
		t.Errorf("throughput: %+v", throughput)
	}
	if !slices.Equal(cpu.P99, []float64{2, 0.5, 3}) {
		t.Errorf("p99 ratios %v", cpu.P99)
	}
	disturbed := slot(1, 1, 1)
	disturbed.Others = 2 * weakOthers
	loaded := slot(1, 1, 1)
	loaded.Load = ownLoad + 1.5
	if !r.weak(disturbed) || !r.weak(loaded) || r.weak(slot(1, 1, 1)) {
		t.Error("slots beside other load are weak, others are not")
	}
}

// TestConfidence: the interval is that of the binomial distribution's table.
func TestConfidence(t *testing.T) {
	v := make([]float64, 25)
	for i := range v {
		v[i] = float64(25 - i)
	}
	if got := confidence(v); !slices.Equal(got, []float64{8, 18}) {
		t.Errorf("of 1 to 25: %v, want 8 and 18", got)
	}
	if got := confidence(v[:3]); !slices.Equal(got, []float64{23, 25}) {
		t.Errorf("of three: %v, want all", got)
	}
}

// TestVerdict: only undisturbed rows that are clearly below fail a strict run.
func TestVerdict(t *testing.T) {
	r := &report{Rows: []*rowResult{{Title: "near", Must: 2, Median: 1.85}, {Title: "weak", Must: 2, Median: 1, Weak: true}, {Title: "free", Median: 0.1}}}
	if err := r.verdict(); err != nil {
		t.Error(err)
	}
	r.Rows = append(r.Rows, &rowResult{Title: "far", Must: 2, Median: 1.7})
	if err := r.verdict(); err == nil || !strings.Contains(err.Error(), "far") {
		t.Errorf("error %v, want one that names the row", err)
	}
}

// TestSound: a slot with errors or misses does not count.
func TestSound(t *testing.T) {
	for _, r := range []loadgen.Result{{Ops: 10, Errors: 1}, {Ops: 10, Misses: 1}} {
		if sound(r) == nil {
			t.Errorf("%+v was accepted", r)
		}
	}
	if err := sound(loadgen.Result{Ops: 10}); err != nil {
		t.Error(err)
	}
}

// TestSelectRows: the pattern and the servers decide, and a row whose one peer is missing keeps the other.
func TestSelectRows(t *testing.T) {
	all, err := selectRows("", func(string, configuration) bool { return true })
	if err != nil || len(all) != len(rowsOf()) {
		t.Fatalf("%d of %d rows, error %v", len(all), len(rowsOf()), err)
	}
	titles := map[string]bool{}
	for _, r := range all {
		if titles[r.title()] {
			t.Errorf("two rows are called %q", r.title())
		}
		titles[r.title()] = true
		for _, s := range append([]string{r.ours}, r.theirs...) {
			if info := slotOf(s); (info.server == slotRedis) != (s == slotRedis) {
				t.Errorf("slot %s runs on %s", s, info.server)
			}
		}
	}
	some, err := selectRows("^GET d16 against memcached .*unpinned", func(s string, _ configuration) bool { return s != slotMemMeta })
	if err != nil || len(some) != 1 || !slices.Equal(some[0].theirs, []string{slotMemcached}) {
		t.Errorf("rows %+v, error %v", some, err)
	}
	if _, err := selectRows("", func(s string, _ configuration) bool { return s == slotCharpoy }); err == nil {
		t.Error("rows without a peer")
	}
	if _, err := selectRows("(", nil); err == nil {
		t.Error("a bad pattern was accepted")
	}
}

// TestPlotRatios: the picture is well-formed and has a line a row.
func TestPlotRatios(t *testing.T) {
	no := false
	picture := plotRatios([]*rowResult{
		{Title: "a & <b>", CPU: []float64{0.1, 12}, Median: 1, Must: 2, Met: &no},
		{Title: "c", Throughput: []float64{1}, Median: 1, row: row{throughput: true}},
	})
	circles := 0
	for decoder := xml.NewDecoder(strings.NewReader(string(picture))); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, picture)
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "circle" {
			circles++
		}
	}
	if circles != 2 || strings.Contains(string(picture), "NaN") {
		t.Errorf("%d points, want 2:\n%s", circles, picture)
	}
}

// TestBusyTime: the machine's CPUs have been busy for a while, and not longer than there are CPUs.
func TestBusyTime(t *testing.T) {
	if firstLine("/proc/stat", "cpu ") == "" {
		t.Skip("this system does not tell")
	}
	before, begun := busyTime(), time.Now()
	for time.Since(begun) < 50*time.Millisecond {
		_ = math.Sqrt(float64(time.Now().UnixNano()))
	}
	if used := busyTime() - before; used < 20*time.Millisecond {
		t.Errorf("50 ms of work count as %v", used)
	}
}
