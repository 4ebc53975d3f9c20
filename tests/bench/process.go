package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/tests/server"
)

const (
	starts        = 7
	benchPassword = "bench-password"
)

// measureProcess starts `charpoy serve` in an empty directory several times: from exec to the first successful SET, and what
// it holds of memory when it idles.
func measureProcess(ctx context.Context) ([]figure, error) {
	work, err := os.MkdirTemp("", "charpoy-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(work)
	binary, err := server.Build(ctx, "..", work)
	if err != nil {
		return nil, err
	}
	var first, resident []float64
	for i := range starts {
		took, mib, err := startOnce(ctx, binary, filepath.Join(work, strconv.Itoa(i)))
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first one warms the caches
			first, resident = append(first, took), append(resident, mib)
		}
	}
	note := fmt.Sprintf("median of %d starts", len(first))
	return []figure{
		atMost(figure{Name: "serve, empty directory: exec to first successful SET", Value: median(first), Unit: "ms", Note: note}, 300),
		atMost(figure{Name: "serve, empty bucket: resident", Value: median(resident), Unit: "MiB", Note: note}, 80e6/(1<<20)),
	}, nil
}

func startOnce(ctx context.Context, binary, dir string) (ms, mib float64, err error) {
	port, err := freePort()
	if err != nil {
		return 0, 0, err
	}
	cmd := exec.Command(binary, "serve", "--data", dir, "--kv-port", strconv.Itoa(port), "--kv-tls-port", "0", "--http-port", "0",
		"--http-tls-port", "0", "--views-port", "0", "--log-level", "error")
	cmd.Env = append(os.Environ(), "CHARPOY_PASSWORD="+benchPassword)
	var log strings.Builder
	cmd.Stderr = &log
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if waited := cmd.Wait(); err == nil && waited != nil {
			err = fmt.Errorf("serve ended badly: %w\n%s", waited, log.String())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		err := firstSet(ctx, port)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			return 0, 0, fmt.Errorf("no SET succeeded: %w\n%s", err, log.String())
		}
		time.Sleep(time.Millisecond)
	}
	ms = float64(time.Since(begun).Microseconds()) / 1000
	time.Sleep(2 * time.Second) // idle
	mib, err = residentMiB(cmd.Process.Pid)
	return ms, mib, err
}

func firstSet(ctx context.Context, port int) error {
	c, err := client.Dial(ctx, client.Options{
		Addr: fmt.Sprintf("127.0.0.1:%d", port), User: "Administrator", Password: benchPassword, Bucket: "default", Agent: "bench",
	})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Set(ctx, "first", []byte(`{"a":1}`), client.With{})
	return err
}

func residentMiB(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			return kib / 1024, err
		}
	}
	return 0, errors.New("no VmRSS in /proc status")
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if len(s)%2 == 1 {
		return s[len(s)/2]
	}
	return (s[len(s)/2-1] + s[len(s)/2]) / 2
}
