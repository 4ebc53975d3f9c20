package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/node"
	"github.com/charpoy/charpoy/internal/sample"
	"github.com/charpoy/charpoy/internal/testcluster"
)

// testServerCmd runs a throw-away node.
type testServerCmd struct {
	PrintJSON bool          `name:"print-json" help:"Print one line of JSON on the standard output when the node is ready."`
	Data      string        `placeholder:"DIR" type:"path" help:"Keep documents in this directory; without it all is in memory."`
	Buckets   string        `short:"b" default:"default" placeholder:"A,B" help:"Buckets to make in an empty node, name[:quota][:ephemeral] (${default})."`
	Empty     bool          `short:"E" help:"Make no bucket."`
	VBuckets  int           `name:"vbuckets" default:"1024" placeholder:"N" help:"vBuckets of each bucket, a power of two (${default})."`
	Docs      string        `short:"D" placeholder:"DIR" type:"existingdir" help:"Load the documents of DIR: KEY.json, lines of *.ndjson as export writes them, and directories named as buckets."`
	MaxLife   time.Duration `name:"max-life" placeholder:"D" help:"End after this time, such as 10m, whatever happens."`
	Control   bool          `negatable:"" default:"true" help:"Serve the control channel: faults, time, snapshots (on)."`

	Port            int    `short:"p" placeholder:"N" help:"Management port (any free one)."`
	Host            string `default:"127.0.0.1" placeholder:"ADDR" help:"Address to bind (${default})."`
	HarakiriMonitor string `name:"harakiri-monitor" placeholder:"HOST:PORT" help:"Connect there, send the management port, take control commands, and end when that connection closes."`
	Nodes           int    `short:"n" default:"1" placeholder:"N" help:"Nodes; this version has one."`
	Replicas        int    `short:"R" placeholder:"N" help:"Replicas; this version has none."`
	BeerSample      bool   `name:"with-beer-sample" short:"S" help:"Make the bucket beer-sample and load our sample cities into it."`
	CCCP            bool   `name:"cccp" short:"c" help:"Accepted; the key-value port always gives the cluster's configuration."`
	Debug           bool   `short:"d" help:"Log everything."`
}

// Help is the long help.
func (*testServerCmd) Help() string {
	return "All ports are free ones. The user is Administrator, the password is `password` or that of CHARPOY_PASSWORD. The " +
		"node ends when its standard input closes, so it cannot outlive the test that started it. The line of --print-json " +
		"has in `control` a URL that takes faults, time, snapshots and restarts; GET it to see what it can do.\n\n" +
		"Example: charpoy test-server --print-json --buckets shop,cache:64MiB:ephemeral"
}

// sampleBucket is what --with-beer-sample makes. Its name is what tests of others expect.
const sampleBucket = "beer-sample"

// mockArguments makes the short flags of the existing mock that mean something else here into their long forms: a number
// behind -v of test-server are vBuckets, a word behind its -h is a host.
func mockArguments(args []string) []string {
	if len(args) == 0 || args[0] != "test-server" {
		return args
	}
	out := append([]string(nil), args...)
	if len(out) == 2 && out[1] == "--version" {
		return []string{"version"}
	}
	for i := 1; i < len(out)-1; i++ {
		_, err := strconv.Atoi(out[i+1])
		switch {
		case out[i] == "-v" && err == nil:
			out[i] = "--vbuckets"
		case out[i] == "-h" && !strings.HasPrefix(out[i+1], "-"):
			out[i] = "--host"
		}
	}
	return out
}

// Run serves until the standard input closes, or the monitor's connection.
func (c *testServerCmd) Run(a *app) error {
	o, err := c.options(a)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(a.ctx)
	defer cancel(nil)
	if c.MaxLife > 0 {
		timer := time.AfterFunc(c.MaxLife, func() { cancel(fmt.Errorf("%s have passed", c.MaxLife)) })
		defer timer.Stop()
	}
	if c.HarakiriMonitor == "" {
		var reader sync.WaitGroup // nobody waits for it: a read of a stream that stays open ends with the process
		reader.Go(func() {
			_, _ = io.Copy(io.Discard, a.Stdin)
			cancel(errParentEnded)
		})
	}
	cluster, err := testcluster.Start(ctx, o)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil // the end came before anything was served
	case err != nil:
		return err
	}
	err = c.serve(ctx, a, cluster)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errParentEnded) && a.ctx.Err() == nil {
		a.detail("ended: %v", cause)
	}
	if a.ctx.Err() != nil {
		a.note("stopping: what is in memory goes to disk first")
	}
	return errors.Join(err, cluster.Close())
}

var errParentEnded = errors.New("the standard input was closed")

// options are those of the cluster.
func (c *testServerCmd) options(a *app) (testcluster.Options, error) {
	if c.Nodes != 1 || c.Replicas != 0 {
		a.note("this version has one node and no replicas, whatever --nodes and --replicas say")
	}
	level := "warn"
	if c.Debug {
		level = "debug"
	}
	fixed := map[string]string{
		"data": c.Data, "buckets": bucketArguments(c.Buckets), "bind": c.Host, "log-level": level, "ready-json": "",
	}
	if c.BeerSample {
		fixed["buckets"] += "," + sampleBucket
	}
	for _, s := range config.All() {
		if strings.HasSuffix(s.Name, "-port") {
			fixed[s.Name] = "0"
		}
	}
	s, _, err := a.settings("", nil, fixed) // for its errors, which name the flag
	if err != nil {
		return testcluster.Options{}, err
	}
	src, err := a.sources("", nil, fixed)
	if err != nil {
		return testcluster.Options{}, err
	}
	o := testcluster.Options{
		VBuckets: c.VBuckets, Buckets: fixed["buckets"], Empty: c.Empty, Password: s.Password, Sources: src, Logger: a.logger(s),
		Version: a.Version, MgmtPort: c.Port, Unwatched: !c.Control && c.HarakiriMonitor == "",
	}
	if c.Data != "" {
		o.Disk, o.Dir = testcluster.Directory, c.Data
	}
	return o, nil
}

// bucketArguments takes the form of the existing mock, name:password:type, besides our own. Its passwords are dropped: they
// belong to a way of logging in that has gone.
func bucketArguments(text string) string {
	list := strings.Split(text, ",")
	for i, one := range list {
		fields := strings.Split(one, ":")
		if len(fields) != 3 {
			continue
		}
		switch fields[2] {
		case "couchbase", "":
			list[i] = fields[0]
		case "memcache", "memcached":
			list[i] = fields[0] + ":ephemeral"
		}
	}
	return strings.Join(list, ",")
}

// serve loads what was asked for, says that the node is ready, and waits for the end.
func (c *testServerCmd) serve(ctx context.Context, a *app, cluster *testcluster.Cluster) (err error) {
	n, err := cluster.Node(1).Running()
	if err != nil {
		return err
	}
	if err := c.load(ctx, a, cluster); err != nil {
		return err
	}
	ctl, err := newControl(ctx, cluster)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wait sync.WaitGroup
	defer wait.Wait()
	defer cancel()
	url := ""
	if c.Control {
		url = ctl.url
		wait.Go(func() { ctl.run(ctx) })
	} else {
		ctl.close()
	}
	if c.HarakiriMonitor != "" {
		socket, err := dialMonitor(ctx, c.HarakiriMonitor, cluster.Node(1).Ports().Mgmt)
		if err != nil {
			return err
		}
		wait.Go(func() {
			ctl.obey(ctx, socket)
			cancel()
		})
	}
	if err := c.announce(a, n, cluster, url); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case err := <-cluster.Failed():
		return err
	}
}

// announce says that the node is ready.
func (c *testServerCmd) announce(a *app, n *node.Node, cluster *testcluster.Cluster, control string) error {
	if !c.PrintJSON {
		a.banner(n, &config.Settings{Data: c.Data}, cluster.Password(), "")
		if control != "" {
			fmt.Fprintf(a.Stderr, "  %-18s %s\n\n", "control", control)
		}
		return nil
	}
	line, err := lineOf(n, cluster.Password())
	if err != nil {
		return err
	}
	line.Control = control
	return newEncoder(a.Stdout).Encode(line)
}

// load fills the buckets of a new node.
func (c *testServerCmd) load(ctx context.Context, a *app, cluster *testcluster.Cluster) error {
	if c.Docs != "" {
		first, _, _ := strings.Cut(bucketArguments(c.Buckets), ",")
		first, _, _ = strings.Cut(first, ":")
		loaded, err := cluster.Seed(ctx, os.DirFS(c.Docs), first)
		if err != nil {
			return fail(exitUsage, "load --docs: %w", err)
		}
		a.detail("%d documents were loaded from %s", loaded, c.Docs)
	}
	if !c.BeerSample {
		return nil
	}
	cities, err := sample.Open()
	if err != nil {
		return err
	}
	for range sampleCities {
		city, err := cities.Next()
		if err != nil {
			return err
		}
		if err := cluster.Put(ctx, sampleBucket, "", city.Key, testcluster.Document{Value: city.Value, Flags: jsonFlags}); err != nil {
			return err
		}
	}
	return nil
}

// sampleCities is how many cities --with-beer-sample loads: about as many documents as the sample of that name has.
const sampleCities = 7300

// dialMonitor connects to the existing mock's kind of parent and tells it the management port.
func dialMonitor(ctx context.Context, addr string, port int) (net.Conn, error) {
	var d net.Dialer
	socket, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fail(exitUnreachable, "connect to --harakiri-monitor: %w", err)
	}
	if _, err := socket.Write(append(strconv.AppendInt(nil, int64(port), 10), 0)); err != nil {
		return nil, errors.Join(fail(exitUnreachable, "write to --harakiri-monitor: %w", err), socket.Close())
	}
	return socket, nil
}
