package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
)

// Process is what one command runs in.
type Process struct {
	Name    string   // of the program
	Args    []string // without the program's name
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Env     func(string) (string, bool)
	Version string           // of the build
	Now     func() time.Time // nil: the machine's clock
}

// app is a Process while a command runs in it.
type app struct {
	*Process
	ctx    context.Context //nolint:containedctx // of the one command; kong hands an app to each Run method
	common *common
	parser *kong.Kong
}

// common are the flags that every command takes.
type common struct {
	NoColor bool `help:"No colours. NO_COLOR in the environment does the same."`
	Quiet   bool `short:"q" help:"No progress and no remarks, only data and errors."`
	Verbose bool `short:"v" help:"Say more, such as which server was chosen and why."`
}

// tree is the whole command line. The order is that of the help.
type tree struct {
	common

	Demo       demoCmd       `cmd:"" group:"Nodes" help:"Start a temporary node, load the sample cities, show what it can do."`
	Dev        devCmd        `cmd:"" group:"Nodes" help:"Start a node for development: kept data, known password, loopback."`
	Serve      serveCmd      `cmd:"" group:"Nodes" help:"Run a node."`
	TestServer testServerCmd `cmd:"" name:"test-server" group:"Nodes" help:"Run a throw-away node for tests in any language."`

	KV     kvCmd     `cmd:"" name:"kv" group:"Documents" help:"Read and write single documents."`
	Import importCmd `cmd:"" group:"Documents" help:"Load documents from lines of JSON (NDJSON)."`
	Export exportCmd `cmd:"" group:"Documents" help:"Write all documents as lines of JSON (NDJSON)."`

	Bucket bucketCmd `cmd:"" aliases:"buckets" group:"Cluster" help:"List, make, change and drop buckets."`
	User   userCmd   `cmd:"" aliases:"users" group:"Cluster" help:"List, make, change and delete users."`

	Stats   statsCmd   `cmd:"" group:"Watching" help:"Print how a bucket is doing, or a group of statistics."`
	Metrics metricsCmd `cmd:"" group:"Watching" help:"Print a node's metrics, or rules and dashboards for them."`
	Slow    slowCmd    `cmd:"" group:"Watching" help:"Print a node's slow operations, or change what is slow."`
	Bench   benchCmd   `cmd:"" group:"Watching" help:"Load a bucket and measure throughput and latency."`

	Config     configCmd     `cmd:"" group:"Help" help:"Print the settings of a node: value, origin, variable."`
	Completion completionCmd `cmd:"" group:"Help" help:"Print a completion script for a shell."`
	Version    versionCmd    `cmd:"" group:"Help" help:"Print the version."`
}

// Main runs one command and gives its exit code. It returns when the command has ended; ctx ends with the first signal.
func Main(ctx context.Context, p *Process) int {
	own := *p
	if own.Now == nil {
		own.Now = time.Now
	}
	a := &app{Process: &own, ctx: ctx}
	if err := a.run(); err != nil {
		f := describe(ctx, err)
		a.report(f)
		return f.code
	}
	return exitDone
}

// run parses the arguments and runs the command that they name.
func (a *app) run() error {
	root := &tree{}
	a.common = &root.common
	root.Serve.Plugins = kong.Plugins{newSettingFlags()}
	root.Config.Plugins = kong.Plugins{newSettingFlags()}
	helped := false
	parser, err := kong.New(root,
		kong.Name(a.Name),
		kong.Description("Charpoy, a distributed JSON document database. Begin with: "+a.Name+" demo"),
		kong.Bind(root),
		kong.Vars{"workers": strconv.Itoa(bulkWorkers)},
		kong.Writers(a.Stdout, a.Stderr),
		kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100, FlagsLast: true}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "Nodes", Title: "Nodes"},
			{Key: "Documents", Title: "Documents"},
			{Key: "Cluster", Title: "Cluster"},
			{Key: "Watching", Title: "Watching"},
			{Key: "Help", Title: "Help"},
			{Key: "Settings", Title: "Settings", Description: "Each has a variable and a key in the file; " + a.Name + " config lists them."},
		}),
	)
	if err != nil {
		return fmt.Errorf("build the command line: %w", err)
	}
	a.parser = parser
	args := a.Args
	if len(args) == 0 {
		args = []string{"--help"}
	}
	c, err := parser.Parse(mockArguments(args))
	if helped { // the help was printed; whatever else was wrong with the line does not matter any more
		return nil
	}
	if err != nil {
		return err
	}
	return c.Run(a)
}

// note prints a remark for the person, unless asked to be quiet.
func (a *app) note(format string, args ...any) {
	if !a.common.Quiet {
		fmt.Fprintf(a.Stderr, format+"\n", args...)
	}
}

// detail prints what only -v asks for.
func (a *app) detail(format string, args ...any) {
	if a.common.Verbose {
		fmt.Fprintf(a.Stderr, format+"\n", args...)
	}
}

// env gives a variable, "" if it is not set.
func (a *app) env(name string) string {
	if a.Env == nil {
		return ""
	}
	v, _ := a.Env(name)
	return v
}

// The colours that are used.
const (
	red   = "31"
	bold  = "1"
	faint = "2"
)

// paint colours a text if it goes to a terminal and nobody objects.
func (a *app) paint(w io.Writer, colour, s string) string {
	if !terminal(w) || a.env("NO_COLOR") != "" || a.common != nil && a.common.NoColor {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

// terminal reports whether a stream is a person's screen or keyboard.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull) // a character device, too, under whatever name it was opened
	return err != nil || !os.SameFile(info, null)
}

// versionCmd prints the version.
type versionCmd struct {
	Output string `short:"o" enum:"table,json" default:"table" help:"table or json."`
}

// Run prints it.
func (c *versionCmd) Run(a *app) error {
	if c.Output == "json" {
		return a.json(versionLine(a.Version))
	}
	v := versionLine(a.Version)
	_, err := fmt.Fprintf(a.Stdout, "charpoy %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
	return err
}

// errNothing is a command that had nothing to do.
var errNothing = errors.New("nothing to do")
