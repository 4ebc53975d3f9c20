package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/node"
	"github.com/charpoy/charpoy/internal/sample"
)

// demoCmd starts a node with sample data.
type demoCmd struct {
	Once      bool `help:"End after the look-ups instead of staying up."`
	FreePorts bool `help:"Use free ports even if nobody has the default ones."`
}

// Help is the long help.
func (*demoCmd) Help() string {
	return "The node has a temporary directory, which is removed at the end, and a password that is made up. It takes the " +
		"default ports, or free ones if another program has one of them.\n\nExample: charpoy demo"
}

// demoBucket is where the cities go: the bucket that every node begins with.
const demoBucket = "default"

// Run starts it, loads the cities, looks some up, and stays up.
func (c *demoCmd) Run(a *app) error {
	dir, err := os.MkdirTemp("", "charpoy-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			a.note("the temporary directory stays behind: %v", err)
		}
	}()
	s, err := c.settings(a, dir)
	if err != nil {
		return err
	}
	err = a.host(s, func(ctx context.Context, n *node.Node) error {
		password, _ := n.Password()
		d := &demo{app: a, node: n, password: password}
		d.options = client.Options{
			Addr: joinPort(n.Host(), n.Ports().KV), User: config.AdminUser, Password: password, Bucket: demoBucket, Agent: "charpoy-demo",
		}
		if err := d.run(ctx, s); err != nil {
			return err
		}
		if c.Once {
			return errEnd
		}
		fmt.Fprintln(a.Stderr, "It stays up until Ctrl-C.")
		return nil
	})
	if errors.Is(err, errEnd) {
		return nil
	}
	return err
}

// settings are the default ports, or free ones if one is taken. What the environment says about nodes does not concern a
// demo, but for the log.
func (c *demoCmd) settings(a *app, dir string) (*config.Settings, error) {
	process, own := *a.Process, *a
	own.Process = &process
	process.Env = func(name string) (string, bool) {
		if name == "CHARPOY_LOG_LEVEL" || name == "CHARPOY_LOG_FORMAT" {
			return a.Env(name)
		}
		return "", false
	}
	fixed := map[string]string{"data": dir}
	if a.env("CHARPOY_LOG_LEVEL") == "" {
		fixed["log-level"] = "warn"
	}
	if c.FreePorts {
		maps.Copy(fixed, freePorts())
	}
	s, _, err := own.settings("", nil, fixed)
	if err != nil {
		return nil, err
	}
	if port := takenPort(a.ctx, s); port != 0 {
		a.note("Port %d is taken, so this demo uses free ports.", port)
		maps.Copy(fixed, freePorts())
		s, _, err = own.settings("", nil, fixed)
	}
	return s, err
}

// demo is what happens on a node that is ready.
type demo struct {
	app      *app
	node     *node.Node
	password string
	options  client.Options
}

func (d *demo) run(ctx context.Context, s *config.Settings) error {
	a := d.app
	a.banner(d.node, s, d.password, "   (made up)")
	b := newBulk(d.options)
	defer b.close()
	if err := d.load(ctx, b); err != nil {
		return fmt.Errorf("load the cities: %w", err)
	}
	if err := d.count(ctx); err != nil {
		return err
	}
	if err := d.lookUps(ctx, b); err != nil {
		return err
	}
	d.hints()
	return nil
}

// load writes all cities.
func (d *demo) load(ctx context.Context, b *bulk) error {
	cities, err := sample.Open()
	if err != nil {
		return err
	}
	m := d.app.meter("cities", false)
	line := int64(0)
	next := func() (load, error) {
		city, err := cities.Next()
		if err != nil {
			return load{}, err // io.EOF after the last one
		}
		line++
		value := append([]byte(nil), city.Value...) // ours is lent until the next call
		return load{line: line, key: city.Key, value: value, with: client.With{Flags: jsonFlags}}, nil
	}
	state := func(s loaderState) meterState {
		return meterState{Docs: s.Docs, Bytes: s.Bytes, Done: s.Docs, Total: sample.Cities}
	}
	done, err := loadAll(ctx, b, next, func(s loaderState) { m.update(state(s)) })
	m.update(state(done))
	m.end(err == nil)
	return err
}

// count asks the server how many documents it has.
func (d *demo) count(ctx context.Context) error {
	rest, err := client.NewREST(client.RESTOptions{URL: managementURL(d.node), User: config.AdminUser, Password: d.password})
	if err != nil {
		return err
	}
	defer rest.Close() //nolint:errcheck // it only ends idle connections
	var info client.BucketInfo
	for begun := time.Now(); ; {
		if info, err = rest.Bucket(ctx, demoBucket); err != nil {
			return err
		}
		if info.Stats.Items >= sample.Cities {
			break
		}
		if time.Since(begun) > countLimit {
			return fmt.Errorf("%s cities were written, but the server counts %s documents", groups(sample.Cities), groups(int64(info.Stats.Items)))
		}
		if !sleep(ctx, countPause) {
			return context.Cause(ctx)
		}
	}
	_, err = fmt.Fprintf(d.app.Stdout, "The server counts %s documents in the bucket %s (%s of memory).\n",
		groups(int64(info.Stats.Items)), demoBucket, size(int64(info.Stats.MemBytes)))
	return err
}

// The number of documents that the management port tells is that of the last report of the data plane, some hundred
// milliseconds old.
const (
	countLimit = 10 * time.Second
	countPause = 50 * time.Millisecond
)

// Cities that are looked up, by their geonameid: Stuttgart, Lahore, Quito.
func lookedUp() []int { return []int{2825297, 1172451, 3652462} }

// randomReads is how many cities are read at random for the rate.
const randomReads = 20_000

// lookUps reads some cities by key, then many at random.
func (d *demo) lookUps(ctx context.Context, b *bulk) error {
	for _, id := range lookedUp() {
		key := sample.KeyPrefix + strconv.Itoa(id)
		begun := time.Now()
		var doc client.Doc
		err := b.do(ctx, func(c *client.Conn) (err error) {
			doc, err = c.Get(ctx, key, client.With{})
			return err
		})
		if err != nil {
			return about(key, err)
		}
		if err := d.city(key, doc.Value, time.Since(begun)); err != nil {
			return err
		}
	}
	return d.rate(ctx, b)
}

// city prints one city that was looked up.
func (d *demo) city(key string, value []byte, took time.Duration) error {
	var city struct {
		Name       string `json:"name"`
		Country    string `json:"country"`
		Population int64  `json:"population"`
	}
	if err := json.Unmarshal(value, &city); err != nil {
		return about(key, err)
	}
	_, err := fmt.Fprintf(d.app.Stdout, "  get %-14s → %s, %s, %s people (%s)\n",
		key, city.Name, city.Country, groups(city.Population), took.Round(time.Microsecond))
	return err
}

// rate reads keys that the server names itself, with many requests under way.
func (d *demo) rate(ctx context.Context, b *bulk) error {
	keys, err := d.someKeys(ctx, b)
	if err != nil || len(keys) == 0 {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wait sync.WaitGroup
		left atomic.Int64
	)
	left.Store(randomReads)
	begun := time.Now()
	for range bulkWorkers {
		wait.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				key := keys[rand.IntN(len(keys))]
				err := b.do(ctx, func(c *client.Conn) error {
					_, err := c.Get(ctx, key, client.With{})
					return err
				})
				if err != nil {
					cancel(about(key, err))
				}
			}
		})
	}
	wait.Wait()
	if err := context.Cause(ctx); err != nil {
		return err
	}
	took := time.Since(begun)
	_, err = fmt.Fprintf(d.app.Stdout, "  %s gets of random cities in %s: %s/s over one connection\n",
		groups(randomReads), span(took), groups(int64(randomReads/took.Seconds())))
	return err
}

// someKeys lists the keys of a few vBuckets.
func (d *demo) someKeys(ctx context.Context, b *bulk) (keys []string, err error) {
	for vb := uint64(0); vb < 1024; vb += 128 {
		err = b.do(ctx, func(c *client.Conn) error {
			page, err := keysPage(ctx, c.Keys, vb, "\x00")
			keys = append(keys, page...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// hints say what to try next, with this node's own addresses.
func (d *demo) hints() {
	w, p := d.app.Stdout, d.node.Ports()
	server := ""
	if p.Mgmt != 8091 {
		server = " --server " + joinPort(d.node.Host(), p.Mgmt)
	}
	fmt.Fprintf(w, "\nTry, in another terminal:\n")
	fmt.Fprintf(w, "  export CHARPOY_PASSWORD=%s\n", d.password)
	fmt.Fprintf(w, "  charpoy kv get %s%d%s\n", sample.KeyPrefix, lookedUp()[0], server)
	fmt.Fprintf(w, "  charpoy kv ls %s --limit 5%s\n", sample.KeyPrefix, server)
	fmt.Fprintf(w, "  curl -u %s:$CHARPOY_PASSWORD %s/pools/default/buckets/%s/docs/%s%d\n\n",
		config.AdminUser, managementURL(d.node), demoBucket, sample.KeyPrefix, lookedUp()[0])
	fmt.Fprintf(w, "SDKs connect to %s as %s.\n", d.node.ConnectionString(), config.AdminUser)
}
