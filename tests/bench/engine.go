package main

import (
	"bufio"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// measureEngine runs the Go benchmarks of the engine and of persistence and gives their medians. Those that compare with
// the storage engine alone interleave both in one run and report the ratio themselves.
func measureEngine(ctx context.Context) ([]figure, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", ".", "-benchmem", "-count", "5", "-timeout", "30m",
		"./internal/kv", "./internal/storage")
	cmd.Dir = ".."
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return parseBenchmarks(string(out)), nil
}

// parseBenchmarks reads lines such as "BenchmarkGet-2  1000  123 ns/op  0 B/op  0.97 ratio".
func parseBenchmarks(out string) []figure {
	values := map[string][]float64{}
	var order []string
	for scan := bufio.NewScanner(strings.NewReader(out)); scan.Scan(); {
		fields := strings.Fields(scan.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		for i := 2; i+1 < len(fields); i += 2 {
			v, err := strconv.ParseFloat(fields[i], 64)
			if err != nil || fields[i+1] == "B/op" {
				continue
			}
			key := name + "\x00" + fields[i+1]
			if !slices.Contains(order, key) {
				order = append(order, key)
			}
			values[key] = append(values[key], v)
		}
	}
	figures := make([]figure, 0, len(order))
	for _, key := range order {
		name, unit, _ := strings.Cut(key, "\x00")
		v := values[key]
		figures = append(figures, figure{
			Name: name, Value: median(v), Unit: unit, Note: fmt.Sprintf("%.4g to %.4g, n = %d", slices.Min(v), slices.Max(v), len(v)),
		})
	}
	return figures
}
