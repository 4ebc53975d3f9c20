// Command crash kills a node at random moments under load, restarts it, and checks after each restart that nothing was lost
// that was promised, that nothing came back, and that nothing was named twice.
//
// For each vBucket there must be a seqno S, not below the persisted seqno that was last shown to a client, such that the
// documents after the restart are exactly the newest version of each key at or below S. Every write that was acknowledged
// with a persist level is at or below S. No CAS and no (history UUID, seqno) names two mutations. No restart fails. Now and
// then the node is stopped in order instead: then nothing acknowledged may be missing.
//
// A failure prints the seed and the round. The same seed makes the same load and kills at the same times after the start,
// but what the server has done by then differs from run to run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/tests/server"
)

const (
	bucketName = "crash"
	vBuckets   = 32
	startLimit = 60 * time.Second
	stopLimit  = 60 * time.Second
	cleanEvery = 10 // every so many rounds the node is stopped in order
)

func main() {
	rounds := flag.Int("rounds", 200, "how often the node is killed")
	seed := flag.Uint64("seed", 1, "of the load and of the moments")
	keep := flag.String("dir", "", "data directory, kept; empty = a temporary one, removed if all is well")
	flag.Parse()
	if err := crash(*rounds, *seed, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

func crash(rounds int, seed uint64, keep string) error {
	ctx := context.Background()
	work, err := os.MkdirTemp("", "charpoy-crash-")
	if err != nil {
		return err
	}
	dir := keep
	if dir == "" {
		dir = filepath.Join(work, "data")
	}
	binary, err := server.Build(ctx, "..", work)
	if err != nil {
		return err
	}
	t := &tester{binary: binary, dir: dir, seed: seed, checker: newChecker(), random: rand.New(rand.NewPCG(seed, 0))}
	start := time.Now()
	for n := 1; n <= rounds; n++ {
		if err := t.one(ctx, n); err != nil {
			return fmt.Errorf("seed %d, round %d, data in %s: %w", seed, n, dir, err)
		}
		if n%10 == 0 || n == rounds {
			fmt.Printf("round %d: %d acknowledged, %d refused, %d of them found, %d plain writes above S lost; %s\n", n,
				t.acked, t.refused, t.checker.kept, t.checker.lost, time.Since(start).Round(time.Second))
		}
	}
	if err := t.end(ctx); err != nil {
		return fmt.Errorf("seed %d, at the end, data in %s: %w", seed, dir, err)
	}
	fmt.Printf("%d rounds passed, seed %d\n", rounds, seed)
	return os.RemoveAll(work)
}

// tester goes through the rounds on one data directory.
type tester struct {
	binary, dir    string
	seed           uint64
	checker        *checker
	random         *rand.Rand
	ids            atomic.Uint64
	acked, refused uint64
	running        *server.Process // started by the last check, used by the next round
}

// one round: load, a sudden or an orderly end, a restart, a check. The restarted server serves the next round.
func (t *tester) one(ctx context.Context, n int) error {
	if t.running == nil {
		if err := t.found(ctx); err != nil {
			return err
		}
	}
	r := newRound()
	l := &load{dial: t.dial, round: r, ids: &t.ids, workers: 6, keys: 60}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- l.run(loading, t.seed<<20+uint64(n)) }()
	clean := n%cleanEvery == 0
	life := time.Duration(20+t.random.IntN(1200)) * time.Millisecond
	timer := time.NewTimer(life)
	select {
	case <-timer.C:
	case err := <-ended:
		return fmt.Errorf("the load ended before the server: %w; server:\n%s", err, t.running.Log())
	}
	var stopping error
	if clean {
		stopping = t.running.Stop(stopLimit)
	} else {
		t.running.Kill()
	}
	stop()
	if err := errors.Join(stopping, <-ended); err != nil {
		return err
	}
	t.acked += l.acked.Load()
	t.refused += l.refused.Load()
	if clean {
		if err := verify(t.dir); err != nil {
			return fmt.Errorf("after an orderly stop: %w", err)
		}
	}
	return t.check(ctx, r, clean)
}

// check restarts the server and compares.
func (t *tester) check(ctx context.Context, r *round, clean bool) error {
	if err := t.start(ctx); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	c, err := t.dial(ctx)
	if err != nil {
		return fmt.Errorf("connect after the restart: %w", err)
	}
	defer c.Close()
	f, err := look(ctx, c, clean)
	if err != nil {
		return fmt.Errorf("%w; server:\n%s", err, t.running.Log())
	}
	if breaches := t.checker.check(r, f); len(breaches) > 0 {
		return fmt.Errorf("%d breaches:\n%s", len(breaches), strings.Join(breaches[:min(len(breaches), 20)], "\n"))
	}
	return nil
}

func (t *tester) start(ctx context.Context) (err error) {
	starting, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	t.running, err = server.StartTestServer(starting, t.binary, "--data", t.dir)
	return err
}

// found starts the first server and makes the bucket.
func (t *tester) found(ctx context.Context) error {
	if err := t.start(ctx); err != nil {
		return err
	}
	rest, err := client.NewREST(client.RESTOptions{
		URL: fmt.Sprintf("http://127.0.0.1:%d", t.running.Mgmt), User: t.running.User, Password: t.running.Password,
	})
	if err != nil {
		return err
	}
	defer rest.Close()
	b := spec.Bucket{Name: bucketName, QuotaBytes: 256 << 20, NumVBuckets: vBuckets}.WithDefaults()
	if err := rest.CreateBucket(ctx, b); err != nil {
		return fmt.Errorf("make the bucket: %w", err)
	}
	return nil
}

// dial connects to the running server's bucket. A bucket that was just made may not be there yet.
func (t *tester) dial(ctx context.Context) (*client.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		c, err := client.Dial(ctx, client.Options{
			Addr: fmt.Sprintf("127.0.0.1:%d", t.running.KV), User: t.running.User, Password: t.running.Password,
			Bucket: bucketName, Agent: "crash",
		})
		if err == nil || !errors.Is(err, client.ErrNoBucket) && !errors.Is(err, client.ErrNotFound) && !errors.Is(err, client.ErrAccess) {
			return c, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// end stops the last server and compares the rows on disk.
func (t *tester) end(ctx context.Context) error {
	if err := t.running.Stop(stopLimit); err != nil {
		return err
	}
	if err := verify(t.dir); err != nil {
		return err
	}
	return ctx.Err()
}
