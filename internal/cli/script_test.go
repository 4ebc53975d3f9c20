package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/config"
	"github.com/charpoy/charpoy/internal/node"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be the charpoy of the scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"charpoy": func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		code := Main(ctx, &Process{
			Name: "charpoy", Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Env: os.LookupEnv, Version: "1.2.3",
		})
		stop()
		os.Exit(code)
	}})
}

const testPassword = "correct horse"

// startNode starts a node in this process, in memory and on free ports, and ends it with the test.
func startNode(tb testing.TB, buckets string) *node.Node {
	tb.Helper()
	s, _, err := config.Resolve(config.Sources{
		Flags: map[string]string{
			"kv-port": "0", "kv-tls-port": "0", "http-port": "0", "http-tls-port": "0", "views-port": "0", "memcached-port": "0", "buckets": buckets,
		},
		Env: func(name string) (string, bool) { return testPassword, name == "CHARPOY_PASSWORD" },
	})
	if err != nil {
		tb.Fatal(err)
	}
	n, err := node.Open(tb.Context(), node.Options{Settings: s, Version: "1.2.3"})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(tb.Context()))
	var (
		wait  sync.WaitGroup
		ended = make(chan struct{})
	)
	wait.Go(func() {
		defer close(ended)
		if err := n.Run(ctx); err != nil {
			tb.Errorf("the node ended with %v", err)
		}
	})
	tb.Cleanup(func() {
		cancel()
		wait.Wait()
	})
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	select {
	case <-n.Ready():
	case <-ended:
		tb.FailNow()
	case <-limit.C:
		tb.Fatal("the node does not become ready")
	}
	return n
}

// nodeEnv are the variables that lead a command to a node.
func nodeEnv(n *node.Node) map[string]string {
	return map[string]string{
		"CHARPOY_SERVER": joinPort("127.0.0.1", n.Ports().Mgmt), "CHARPOY_PASSWORD": testPassword, "NO_COLOR": "1",
	}
}

// fails is a command of the scripts: `fails CODE COMMAND…` runs a command, which must end with this exit code.
func fails(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); !errors.As(err, &exit) || exit.ExitCode() != want {
		ts.Fatalf("%s ended with %v, want exit code %d", args[1:], err, want)
	}
}

// TestScripts runs the sessions of testdata/script, each against a node of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"fails": fails},
		Setup: func(e *testscript.Env) error {
			n := startNode(e.T().(testing.TB), "default:64MiB,shop:64MiB")
			for name, value := range nodeEnv(n) {
				e.Setenv(name, value)
			}
			ca, err := n.CAFile()
			if err != nil {
				return err
			}
			if err := os.WriteFile(e.WorkDir+"/ca.pem", ca, 0o600); err != nil {
				return err
			}
			e.Setenv("KV", n.ConnectionString())
			e.Setenv("HTTPS", "https://"+joinPort("127.0.0.1", n.Ports().MgmtTLS))
			return nil
		},
	})
}
