package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Above these a row is weak: something else was running.
const (
	weakOthers = 0.25 // cores
	ownLoad    = 2    // of the load average, made by server and client
)

// report collects what the slots measured.
type report struct {
	Machine machineInfo           `json:"machine"`
	Begun   time.Time             `json:"begun"`
	Rounds  int                   `json:"rounds"`
	Seconds float64               `json:"seconds"`
	Rows    []*rowResult          `json:"rows"`
	Slots   map[string][]measured `json:"slots"` // by configuration and slot, one a round
	keys    []slotKey             // of Slots, in the order of their first round
	named   map[slotKey]([]measured)
}

type slotKey struct {
	in   configuration
	slot string
}

func (k slotKey) String() string { return k.in.String() + ", " + k.slot }

// rowResult is a row with its ratios, above 1 if we are better.
type rowResult struct {
	Title      string    `json:"title"`
	CPU        []float64 `json:"cpu_ratios"`        // theirs ÷ ours, one a round
	Throughput []float64 `json:"throughput_ratios"` // ours ÷ theirs
	P99        []float64 `json:"p99_ratios"`        // theirs ÷ ours
	Decides    string    `json:"decides"`           // cpu or throughput
	Median     float64   `json:"median"`
	Between    []float64 `json:"median_between"` // where the median lies with 95 % confidence
	Must       float64   `json:"must,omitempty"`
	Aim        float64   `json:"aim,omitempty"`
	Met        *bool     `json:"met,omitempty"`
	Weak       bool      `json:"weak,omitempty"`
	row        row
}

func newReport(ctx context.Context, o *peerOptions, cores int) *report {
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	_, cpu, _ := strings.Cut(firstLine("/proc/cpuinfo", "model name"), ": ")
	versions := map[string]string{
		"go": runtime.Version(), "charpoy": versionOf(ctx, o.binary, "version"),
		"memcached": versionOf(ctx, "memcached", "--version"), "redis": versionOf(ctx, "redis-server", "--version"),
	}
	if o.base != "" {
		versions["base"] = o.base + ": " + versionOf(ctx, o.base, "version")
	}
	return &report{
		Machine: machineInfo{
			CPU: cpu, Cores: cores, Kernel: strings.TrimSpace(string(kernel)),
			THP: firstLine("/sys/kernel/mm/transparent_hugepage/enabled", ""), Versions: versions,
		},
		Begun: time.Now().UTC(), Rounds: o.rounds, Seconds: o.seconds, named: map[slotKey][]measured{}, Slots: map[string][]measured{},
	}
}

// begin adds rows that are about to be measured.
func (r *report) begin(rows []row) {
	for _, row := range rows {
		decides := "cpu"
		if row.throughput {
			decides = "throughput"
		}
		r.Rows = append(r.Rows, &rowResult{Title: row.title(), Must: row.must, Aim: row.aim, Decides: decides, row: row})
	}
}

func (r *report) add(c configuration, slot string, _ int, m measured) {
	k := slotKey{c, slot}
	if r.named[k] == nil {
		r.keys = append(r.keys, k)
	}
	m.Curve = nil
	r.named[k] = append(r.named[k], m)
	r.Slots[k.String()] = r.named[k]
}

// compute makes the ratios of a row, each from one round.
func (r *report) compute(x *rowResult) {
	ours := r.named[slotKey{x.row.in, x.row.ours}]
	for round, own := range ours {
		var cpu, throughput, p99 float64
		for _, s := range x.row.theirs {
			m := r.named[slotKey{x.row.in, s}][round]
			if cpu == 0 || m.ServerCPU < cpu {
				cpu = m.ServerCPU
			}
			throughput = max(throughput, m.OpsPerSec)
			if p99 == 0 || float64(m.P99) < p99 {
				p99 = float64(m.P99)
			}
			x.Weak = x.Weak || r.weak(m)
		}
		x.Weak = x.Weak || r.weak(own)
		x.CPU = append(x.CPU, cpu/own.ServerCPU)
		x.Throughput = append(x.Throughput, own.OpsPerSec/throughput)
		x.P99 = append(x.P99, p99/float64(own.P99))
	}
	decisive := x.CPU
	if x.row.throughput {
		decisive = x.Throughput
	}
	x.Median, x.Between = median(decisive), confidence(decisive)
	if x.Must > 0 {
		met := x.Median >= x.Must
		x.Met = &met
	}
}

// weak reports whether something else disturbed a slot.
func (r *report) weak(m measured) bool {
	return m.Others > weakOthers || m.Load-ownLoad > float64(r.Machine.Cores)/2
}

// finish prints and writes everything.
func (r *report) finish(o *peerOptions) error {
	if len(r.Rows) == 0 {
		return errors.New("nothing was measured")
	}
	for _, x := range r.Rows {
		r.compute(x)
	}
	m := r.Machine
	fmt.Printf("%s, %d cores, Linux %s, huge pages %s; %d rounds of %g s\n", m.CPU, m.Cores, m.Kernel, m.THP, r.Rounds, r.Seconds)
	for _, name := range []string{"charpoy", "base", "memcached", "redis"} {
		if v := m.Versions[name]; v != "" {
			fmt.Printf("%s: %s\n", name, v)
		}
	}
	if err := r.printRows(); err != nil {
		return err
	}
	if err := r.printSlots(); err != nil {
		return err
	}
	if o.jsonFile != "" {
		content, err := json.MarshalIndent(r, "", " ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(o.jsonFile, append(content, '\n'), 0o644); err != nil {
			return err
		}
	}
	if o.svgFile != "" {
		if err := os.WriteFile(o.svgFile, plotRatios(r.Rows), 0o644); err != nil {
			return err
		}
	}
	if o.strict {
		return r.verdict()
	}
	return nil
}

// strictly is the part of what must be reached that fails a strict run: below it, it is no matter of chance.
const strictly = 0.9

// verdict is an error if rows that nothing else disturbed are clearly below what must be reached.
func (r *report) verdict() error {
	var below []string
	for _, x := range r.Rows {
		if !x.Weak && x.Must > 0 && x.Median < strictly*x.Must {
			below = append(below, x.Title)
		}
	}
	if len(below) > 0 {
		return fmt.Errorf("clearly below what must be reached: %s", strings.Join(below, "; "))
	}
	return nil
}

// printRows prints the ratios: medians of those of each round, with the lowest and the highest.
func (r *report) printRows() error {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RATIO (>1: WE ARE BETTER)\tCPU\tTHROUGHPUT\tP99\tMUST\tAIM\tVERDICT")
	for _, x := range r.Rows {
		verdict := ""
		if x.Met != nil {
			verdict = map[bool]string{true: "met", false: "NOT MET"}[*x.Met]
		}
		if x.Weak {
			verdict += " (weak: other load)"
		}
		must, aim := "", ""
		if x.Must > 0 {
			must, aim = x.Decides+" ≥ "+short(x.Must), short(x.Aim)
		}
		cpu := medianRange(x.CPU, 2)
		if x.row.build { // two builds differ by little
			cpu = fmt.Sprintf("%.3f (95 %%: %.3f–%.3f)", x.Median, x.Between[0], x.Between[1])
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Title, cpu, medianRange(x.Throughput, 2), medianRange(x.P99, 2), must, aim, verdict)
	}
	return w.Flush()
}

// printSlots prints the absolute figures.
func (r *report) printSlots() error {
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "CONFIGURATION\tSLOT\tSERVER CPU NS/OP\tOPS/S\tP50 µS\tP99 µS\tCLIENT NS/OP\tOTHERS\tREMARK")
	keys := slices.Clone(r.keys)
	slices.SortStableFunc(keys, func(a, b slotKey) int { return slices.Index(r.keys, a) - slices.Index(r.keys, b) })
	for _, k := range keys {
		list := r.named[k]
		column := func(f func(measured) float64) []float64 {
			var v []float64
			for _, m := range list {
				v = append(v, f(m))
			}
			return v
		}
		remark := ""
		if median(column(func(m measured) float64 { return m.OwnShare })) > 0.8 {
			remark = "client-bound"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.0f k\t%.0f\t%.0f\t%.0f\t%.2f\t%s\n", k.in, k.slot,
			medianRange(column(func(m measured) float64 { return m.ServerCPU }), 0),
			median(column(func(m measured) float64 { return m.OpsPerSec / 1000 })),
			median(column(func(m measured) float64 { return float64(m.P50) / 1000 })),
			median(column(func(m measured) float64 { return float64(m.P99) / 1000 })),
			median(column(func(m measured) float64 { return m.OwnCPU })),
			median(column(func(m measured) float64 { return m.Others })), remark)
	}
	return w.Flush()
}

// medianRange writes median, lowest and highest.
func medianRange(v []float64, digits int) string {
	if len(v) == 0 {
		return ""
	}
	return fmt.Sprintf("%.*f [%.*f–%.*f]", digits, median(v), digits, slices.Min(v), digits, slices.Max(v))
}

// confidence gives between which values the median lies with 95 % confidence, whatever the distribution: so many ranks
// around the middle as the binomial distribution asks for. Of fewer than six values it is all of them.
func confidence(v []float64) []float64 {
	if len(v) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(v))
	n := float64(len(v))
	k := max(0, int(math.Floor((n-1.96*math.Sqrt(n))/2)))
	return []float64{sorted[k], sorted[len(v)-1-k]}
}

func short(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }

// loadAverage is that of the last minute.
func loadAverage() float64 {
	first, _, _ := strings.Cut(firstLine("/proc/loadavg", ""), " ")
	v, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return v
}

// busyTime is how long the CPUs of the machine have been busy, the time stolen from it included.
func busyTime() time.Duration {
	fields := strings.Fields(firstLine("/proc/stat", "cpu "))
	var ticks int64
	for i, f := range fields {
		// cpu user nice system idle iowait irq softirq steal guest guest_nice; the guests are in user and nice already
		if i >= 1 && i <= 8 && i != 4 && i != 5 {
			n, err := strconv.ParseInt(f, 10, 64)
			if err != nil {
				return 0
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
