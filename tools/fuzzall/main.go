// Command fuzzall runs every fuzz target of the module for a given time each and ends with an error if one finds
// something. Go runs one target of one package at a time; this is the loop around that.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	each := flag.Duration("time", 10*time.Second, "how long to fuzz each target")
	only := flag.String("only", "", "regular expression: fuzz only targets (as package.Name) that match")
	parallel := flag.Int("parallel", 0, "fuzzing processes a target, 0 = one a core")
	flag.Parse()
	root := "."
	if flag.NArg() > 0 {
		root = flag.Arg(0)
	}
	if err := fuzzAll(root, *each, *only, *parallel); err != nil {
		fmt.Fprintln(os.Stderr, "fuzzall:", err)
		os.Exit(1)
	}
}

type target struct{ dir, name string }

func fuzzAll(root string, each time.Duration, only string, parallel int) error {
	filter, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	targets, err := find(root)
	if err != nil {
		return err
	}
	var failed []string
	for _, t := range targets {
		name := t.dir + "." + t.name
		if !filter.MatchString(name) {
			continue
		}
		args := []string{"test", "-run", "^$", "-fuzz", "^" + t.name + "$", "-fuzztime", each.String()}
		if parallel > 0 {
			args = append(args, "-parallel", fmt.Sprint(parallel))
		}
		cmd := exec.Command("go", append(args, "./"+t.dir)...)
		cmd.Dir = root
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		start := time.Now()
		err := cmd.Run()
		last := lastFuzzLine(out.String())
		fmt.Printf("%-60s %8s %s\n", name, time.Since(start).Round(time.Second), last)
		if err != nil && !endedLate(out.String()) {
			failed = append(failed, name)
			fmt.Print(out.String())
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("findings in %s", strings.Join(failed, ", "))
	}
	return nil
}

// endedLate reports whether a run failed only because its own time was over while a worker was busy, as go test sometimes
// does on a loaded machine. A finding names the input that it has written.
func endedLate(out string) bool {
	return strings.Contains(out, "context deadline exceeded") && !strings.Contains(out, "Failing input written to")
}

func lastFuzzLine(out string) string {
	last := ""
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "fuzz: elapsed") {
			last = strings.TrimSpace(line)
		}
	}
	return last
}

func find(root string) ([]target, error) {
	declaration := regexp.MustCompile(`(?m)^func (Fuzz\w+)\(\w+ \*testing\.F\)`)
	var targets []target
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git" || hasOtherModule(root, path)) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, m := range declaration.FindAllSubmatch(text, -1) {
			targets = append(targets, target{filepath.ToSlash(dir), string(m[1])})
		}
		return nil
	})
	slices.SortFunc(targets, func(a, b target) int { return strings.Compare(a.dir+a.name, b.dir+b.name) })
	return targets, err
}

// hasOtherModule reports whether path is the root of a module of its own.
func hasOtherModule(root, path string) bool {
	if filepath.Clean(root) == filepath.Clean(path) {
		return false
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil
}
