package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/node"
)

// host runs a node in this process and, once it is ready, what the command does with it. The node runs until use returns
// an error, the command's context ends, or the node fails. use gets a context that ends with all of these; it may return
// nil early, and the node stays up. The end is always the node's own clean shutdown.
func (a *app) host(s *config.Settings, use func(context.Context, *node.Node) error) error {
	n, err := node.Open(a.ctx, node.Options{Settings: s, Logger: a.logger(s), Version: a.Version})
	switch {
	case err != nil && a.ctx.Err() != nil:
		return nil // the signal came before anything was served
	case err != nil:
		return err
	}
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	var (
		wait    sync.WaitGroup
		failure error
	)
	wait.Go(func() {
		failure = n.Run(ctx)
		cancel()
	})
	var used error
	select {
	case <-n.Ready():
		if used = use(ctx, n); used == nil {
			<-ctx.Done()
		}
	case <-ctx.Done():
	}
	if a.ctx.Err() != nil {
		a.note("stopping: what is in memory goes to disk first")
	}
	cancel()
	wait.Wait()
	switch {
	case failure != nil:
		return failure
	case a.ctx.Err() != nil:
		return nil // the end was asked for; what use was about to do then is of no interest
	case used != nil:
		return used
	}
	return errors.New("the node ended by itself")
}

// errEnd is what use returns to end a node that is no longer needed.
var errEnd = errors.New("done")

// logger makes the diary of a node, on the standard error.
func (a *app) logger(s *config.Settings) *slog.Logger {
	level := slog.LevelInfo
	if s.LogLevel != "" {
		_ = level.UnmarshalText([]byte(s.LogLevel)) // checked when the settings were read
	}
	options := &slog.HandlerOptions{Level: level}
	if s.LogJSON {
		return slog.New(slog.NewJSONHandler(a.Stderr, options))
	}
	return slog.New(slog.NewTextHandler(a.Stderr, options))
}

// readyLine is what programs read to find a node: the line of test-server --print-json and of --ready-json. Ports that are
// not served are 0. The names are documented and stable.
type readyLine struct {
	config.Ports
	User             string `json:"user"`
	Password         string `json:"password,omitempty"` // only where it was made up, or is that of a throw-away node
	ConnectionString string `json:"connection_string"`
	CA               string `json:"ca"` // certificate to trust, PEM
	PID              int    `json:"pid"`
	Control          string `json:"control,omitempty"` // of test-server: URL of its control channel
}

// lineOf describes a node that is ready.
func lineOf(n *node.Node, password string) (readyLine, error) {
	ca, err := n.CAFile()
	if err != nil {
		return readyLine{}, err
	}
	return readyLine{
		Ports: n.Ports(), User: config.AdminUser, Password: password,
		ConnectionString: n.ConnectionString(), CA: string(ca), PID: os.Getpid(),
	}, nil
}

// writeReady writes the ready line to a file, atomically. Only the owner may read it, since it can hold a password.
func writeReady(file string, line readyLine) error {
	content, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if err := writeAtomically(file, append(content, '\n'), 0o600); err != nil {
		return fmt.Errorf("write --ready-json: %w", err)
	}
	return nil
}

// managementURL is where a person's browser or curl goes.
func managementURL(n *node.Node) string {
	return "http://" + joinPort(n.Host(), n.Ports().Mgmt)
}

// banner tells a person everything that is needed to use a node that is ready.
func (a *app) banner(n *node.Node, s *config.Settings, password, remark string) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(a.Stderr, "  %-18s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(a.Stderr, "\n%s\n\n", a.paint(a.Stderr, bold, "Charpoy "+a.Version+" is ready."))
	row("URL", "%s", managementURL(n))
	row("connection string", "%s", n.ConnectionString())
	row("user", "%s", config.AdminUser)
	if password != "" {
		row("password", "%s%s", password, remark)
	}
	dir := s.Data
	if abs, err := filepath.Abs(dir); err == nil && dir != "" {
		dir = abs
	}
	switch {
	case dir == "":
		row("data", "in memory only: nothing is kept")
	case n.Fresh():
		row("data", "%s (new)", dir)
	default:
		row("data", "%s", dir)
	}
	if found := n.Summary(); found != "" && !n.Fresh() {
		row("found", "%s", found)
	}
	row("ports", "%s", portList(n.Ports()))
	if limit, origin := memoryLimit(); limit > 0 {
		row("memory", "%s (%s)", size(limit), origin)
	}
	if hugePagesOff() {
		row("hint", "transparent huge pages are off; `echo madvise > %s` (as root) makes large buckets faster", hugePages)
	}
	row("stop", "Ctrl-C, or SIGTERM to process %d", os.Getpid())
	fmt.Fprintln(a.Stderr)
}

// portList names the ports that are served.
func portList(p config.Ports) string {
	var parts []string
	for _, e := range []struct {
		name string
		port int
	}{
		{"kv", p.KV}, {"kv with TLS", p.KVTLS}, {"http", p.Mgmt}, {"https", p.MgmtTLS}, {"views", p.Views}, {"memcached", p.Memcached},
	} {
		if e.port > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", e.name, e.port))
		}
	}
	return strings.Join(parts, ", ")
}

const hugePages = "/sys/kernel/mm/transparent_hugepage/enabled"

// hugePagesOff reports whether the kernel gives no transparent huge pages at all.
func hugePagesOff() bool {
	content, err := os.ReadFile(hugePages)
	return err == nil && strings.Contains(string(content), "[never]")
}

// memoryLimit finds how much memory this process may use: that of its control group, else the machine's. 0 = unknown.
func memoryLimit() (limit int64, origin string) {
	if runtime.GOOS != "linux" {
		return 0, ""
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64)
		if err == nil && n > 0 && n < 1<<50 { // above that it stands for "no limit"
			return n, "limit of the control group"
		}
	}
	content, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, ""
	}
	var kib int64
	if _, err := fmt.Sscanf(string(content), "MemTotal: %d kB", &kib); err != nil {
		return 0, ""
	}
	return kib << 10, "of the machine"
}
