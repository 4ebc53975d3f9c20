package main

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/charpoy/charpoy/internal/loadgen"
)

// The slots: what one configuration is measured on, one after another.
const (
	slotCharpoy    = "charpoy"            // binary protocol, ephemeral bucket
	slotPersistent = "charpoy-persistent" // the same, bucket on disk
	slotTLS        = "charpoy-tls"
	slotMeta       = "charpoy-meta"
	slotASCII      = "charpoy-ascii"
	slotMulti      = "charpoy-multiget"
	slotBase       = "base" // another build of charpoy
	slotBasePers   = "base-persistent"
	slotMemcached  = "memcached" // binary protocol
	slotMemMeta    = "memcached-meta"
	slotMemASCII   = "memcached-ascii"
	slotMemMulti   = "memcached-multiget"
	slotRedis      = "redis"
)

// slotInfo says which server a slot needs and how it is spoken to.
type slotInfo struct {
	server   string
	protocol loadgen.Protocol
	text     bool // on the port of plain memcached
	tls      bool
}

func slotOf(name string) slotInfo {
	switch name {
	case slotPersistent, slotBase, slotBasePers, slotCharpoy, slotMemcached:
		return slotInfo{server: name, protocol: loadgen.Binary}
	case slotTLS:
		return slotInfo{server: slotCharpoy, protocol: loadgen.Binary, tls: true}
	case slotMeta:
		return slotInfo{server: slotCharpoy, protocol: loadgen.Meta, text: true}
	case slotMulti:
		return slotInfo{server: slotCharpoy, protocol: loadgen.ASCIIMulti, text: true}
	case slotMemMulti:
		return slotInfo{server: slotMemcached, protocol: loadgen.ASCIIMulti}
	case slotASCII:
		return slotInfo{server: slotCharpoy, protocol: loadgen.ASCII, text: true}
	case slotMemMeta:
		return slotInfo{server: slotMemcached, protocol: loadgen.Meta}
	case slotMemASCII:
		return slotInfo{server: slotMemcached, protocol: loadgen.ASCII}
	default:
		return slotInfo{server: slotRedis, protocol: loadgen.RESP}
	}
}

// job is what a configuration does.
type job string

const (
	jobGet  job = "GET"      // 95 % GET of 100 bytes
	jobSet  job = "SET"      // 100 bytes
	jobJSON job = "JSON SET" // 1 KiB of JSON, which charpoy checks and the others take as it is
)

// configuration is one way to be loaded. Its name is made of it.
type configuration struct {
	job    job
	conns  int
	depth  int
	pinned bool
}

func (c configuration) String() string {
	mode := "unpinned"
	if c.pinned {
		mode = "pinned"
	}
	return fmt.Sprintf("%s %d×d%d %s", c.job, c.conns, c.depth, mode)
}

// row is one comparison.
type row struct {
	Name       string
	in         configuration
	ours       string
	theirs     []string // the best of them counts
	throughput bool     // else CPU an operation
	must, aim  float64  // 0: none
	build      bool     // compares two builds of ours
}

// rowsOf lists the comparisons of the project's table of speed. Rows about the same configuration share its slots.
func rowsOf() []row {
	both := []string{slotMemcached, slotMemMeta}
	binary := []string{slotMemcached}
	redis := []string{slotRedis}
	pinned := func(j job, conns, depth int) configuration { return configuration{j, conns, depth, true} }
	unpinned := func(j job, conns, depth int) configuration { return configuration{j, conns, depth, false} }
	rows := []row{
		{"GET d100 against memcached", pinned(jobGet, 16, 100), slotCharpoy, both, false, 3, 4.5, false},
		{"GET d16 against memcached", pinned(jobGet, 16, 16), slotCharpoy, both, false, 1.5, 2, false},
		{"GET d16 against memcached", unpinned(jobGet, 16, 16), slotCharpoy, both, false, 1.2, 1.5, false},
		{"SET d100 against memcached", pinned(jobSet, 16, 100), slotCharpoy, binary, false, 1.8, 2.8, false},
		{"SET d16 against memcached", pinned(jobSet, 16, 16), slotCharpoy, binary, false, 1.8, 2.8, false},
		{"JSON SET d16, which only we check, against memcached", pinned(jobJSON, 16, 16), slotCharpoy, binary, false, 0.6, 1, false},
		{"GET d100 against redis", pinned(jobGet, 16, 100), slotCharpoy, redis, false, 1.5, 3, false},
		{"GET d16 against redis", pinned(jobGet, 16, 16), slotCharpoy, redis, false, 1.5, 3, false},
		{"SET d100 against redis", pinned(jobSet, 16, 100), slotCharpoy, redis, false, 1.5, 3, false},
		{"SET d16 against redis", pinned(jobSet, 16, 16), slotCharpoy, redis, false, 1.5, 3, false},
		{"GET d1 against redis", pinned(jobGet, 16, 1), slotCharpoy, redis, false, 0.9, 1, false},
		{"SET d1 against redis", pinned(jobSet, 16, 1), slotCharpoy, redis, false, 0.9, 1, false},
		{"ASCII GET d16, each reply of memcached with a write of its own,", pinned(jobGet, 16, 16), slotASCII, []string{slotMemASCII}, false, 1.2, 1.8, false},
		{"ASCII multi-get GET d16 against memcached's", pinned(jobGet, 16, 16), slotMulti, []string{slotMemMulti}, false, 1.2, 1.8, false},
		{"meta GET d16 against memcached meta", pinned(jobGet, 16, 16), slotMeta, []string{slotMemMeta}, false, 1.2, 1.8, false},
		{"TLS GET d16 against memcached without", pinned(jobGet, 16, 16), slotTLS, binary, false, 0, 0, false},
	}
	for _, c := range []configuration{pinned(jobGet, 16, 1), pinned(jobGet, 64, 1), unpinned(jobGet, 16, 1), unpinned(jobGet, 64, 1)} {
		name := fmt.Sprintf("GET d1, %d connections, against memcached", c.conns)
		rows = append(rows,
			row{name + ", throughput", c, slotCharpoy, binary, true, 0.8, 1.1, false},
			row{name + ", CPU", c, slotCharpoy, binary, false, 0, 0, false})
	}
	return append(rows, besides()...)
}

// besides are the figures of a bucket on disk, and of another build.
func besides() []row {
	var rows []row
	for _, c := range []configuration{
		{jobGet, 16, 100, true},
		{jobGet, 16, 16, true},
		{jobGet, 16, 16, false},
		{jobSet, 16, 100, true},
		{jobSet, 16, 16, true},
		{jobJSON, 16, 16, true},
		{jobGet, 16, 1, true},
		{jobGet, 64, 1, true},
	} {
		what := fmt.Sprintf("%s d%d", c.job, c.depth)
		rows = append(rows,
			row{"persistent: " + what + " against memcached", c, slotPersistent, []string{slotMemcached}, false, 0, 0, false},
			row{"base: " + what, c, slotCharpoy, []string{slotBase}, false, 0, 0, true},
			row{"base, persistent: " + what, c, slotPersistent, []string{slotBasePers}, false, 0, 0, true})
	}
	return rows
}

// title is what a row is called, with its configuration.
func (r row) title() string {
	return fmt.Sprintf("%s (%s)", r.Name, r.in)
}

// selectRows keeps the rows whose title matches and whose slots are all to be had.
func selectRows(pattern string, available func(slot string, c configuration) bool) ([]row, error) {
	match, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("-rows: %w", err)
	}
	var rows []row
	for _, r := range rowsOf() {
		r.theirs = slices.DeleteFunc(slices.Clone(r.theirs), func(s string) bool { return !available(s, r.in) })
		if match.MatchString(r.title()) && len(r.theirs) > 0 && available(r.ours, r.in) {
			rows = append(rows, r)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("no row matches %q with these servers", pattern)
	}
	return rows, nil
}

// slotsOf lists the slots that rows need in a configuration, in a stable order.
func slotsOf(rows []row, c configuration) []string {
	var slots []string
	for _, r := range rows {
		if r.in != c {
			continue
		}
		for _, s := range append([]string{r.ours}, r.theirs...) {
			if !slices.Contains(slots, s) {
				slots = append(slots, s)
			}
		}
	}
	return slots
}

// configurationsOf lists the configurations that rows need, each once.
func configurationsOf(rows []row, pinned bool) []configuration {
	var list []configuration
	for _, r := range rows {
		if r.in.pinned == pinned && !slices.Contains(list, r.in) {
			list = append(list, r.in)
		}
	}
	return list
}
