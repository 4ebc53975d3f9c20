// Command bench makes the figures of docs/benchmarks.md that are about one node: what an operation, an item, a start and a
// collection of the Go heap cost, and how persistence compares with its engine alone. It prints a table and, with -json,
// one object a figure.
//
// `bench peers` is another program under the same roof: it compares the server with memcached and redis (peers.go).
//
// Speed is compared as ratios within one run; absolute figures of a shared machine only tell the order of magnitude.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// figure is one measured number and the bound that it is held to.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Must  string  `json:"must,omitempty"`
	Met   *bool   `json:"met,omitempty"`
	Note  string  `json:"note,omitempty"`
}

func atMost(f figure, limit float64) figure {
	met := f.Value <= limit
	f.Must, f.Met = fmt.Sprintf("≤ %g", limit), &met
	return f
}

func atLeast(f figure, limit float64) figure {
	met := f.Value >= limit
	f.Must, f.Met = fmt.Sprintf("≥ %g", limit), &met
	return f
}

// section is one group of figures.
type section struct {
	name string
	run  func(context.Context) ([]figure, error)
}

func sections() []section {
	return []section{
		{"process", measureProcess},
		{"memory", measureMemory},
		{"warmup", measureWarmup},
		{"gc", measureGC},
		{"flush", measureFlush},
		{"feed", measureFeed},
		{"fetch", measureFetch},
		{"engine", measureEngine},
	}
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "peers" {
		if err := benchPeers(os.Args[2:]); err != nil && !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "bench peers:", err)
			os.Exit(1)
		}
		return
	}
	only := flag.String("only", "", "comma separated sections; empty = all: process, memory, warmup, gc, flush, feed, fetch, engine")
	asJSON := flag.Bool("json", false, "print one JSON object a figure")
	flag.Parse()
	if err := bench(*only, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(only string, asJSON bool) error {
	ctx := context.Background()
	if !asJSON {
		fmt.Printf("%s %s/%s, %d CPUs\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	}
	for _, s := range sections() {
		if only != "" && !strings.Contains(","+only+",", ","+s.name+",") {
			continue
		}
		figures, err := s.run(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		for _, f := range figures {
			if err := show(s.name, f, asJSON); err != nil {
				return err
			}
		}
	}
	return nil
}

func show(section string, f figure, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(f)
	}
	verdict := ""
	if f.Met != nil {
		verdict = "met"
		if !*f.Met {
			verdict = "NOT MET"
		}
	}
	_, err := fmt.Printf("%-8s %-58s %12.4g %-10s %-10s %-8s %s\n", section, f.Name, f.Value, f.Unit, f.Must, verdict, f.Note)
	return err
}
