// Command charpoy is the document database and all of its tools in one binary. What each command does is in internal/cli;
// this file only hands over the process: arguments, streams, environment and signals.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/charpoy/charpoy/internal/cli"
)

// version is set by the linker for a release: -ldflags "-X main.version=1.2.3". Nobody else writes it.
var version string

func main() { os.Exit(run()) }

func run() int {
	// The handler stays for the whole life of the process: the second signal of an impatient person is swallowed rather
	// than killing a node in the middle of its last write.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Main(ctx, &cli.Process{
		Name:    "charpoy",
		Args:    os.Args[1:],
		Stdin:   os.Stdin,
		Stdout:  os.Stdout,
		Stderr:  os.Stderr,
		Env:     os.LookupEnv,
		Version: buildVersion(),
	})
}

// buildVersion falls back to what the Go tool recorded: the module's version or the commit.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
