// Package networktest is the conformance test of the network seam: every network.Net must pass Test.
package networktest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/network"
)

// Test checks that n behaves as the product relies on.
func Test(t *testing.T, n network.Net) {
	t.Run("echo", func(t *testing.T) { echo(t, n) })
	t.Run("half read, then end", func(t *testing.T) { endOfStream(t, n) })
	t.Run("deadline wakes a reader", func(t *testing.T) { deadline(t, n) })
	t.Run("slow reader holds the writer", func(t *testing.T) { slowReader(t, n) })
	t.Run("close wakes both", func(t *testing.T) { closing(t, n) })
	t.Run("listener", func(t *testing.T) { listener(t, n) })
}

// pair connects two ends over n.
func pair(t *testing.T, n network.Net) (client, server net.Conn) {
	t.Helper()
	l, err := n.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var group sync.WaitGroup
	group.Go(func() { server, _ = l.Accept() })
	client, err = n.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	group.Wait()
	if server == nil {
		t.Fatal("nothing was accepted")
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func echo(t *testing.T, n network.Net) {
	client, server := pair(t, n)
	var group sync.WaitGroup
	group.Go(func() { _, _ = io.Copy(server, server); server.Close() })
	sent := bytes.Repeat([]byte("charpoy"), 100_000)
	group.Go(func() { _, _ = client.Write(sent) })
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(client, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("came back changed: %v", err)
	}
	client.Close()
	group.Wait()
	if client.LocalAddr().String() == "" || client.RemoteAddr().String() == "" {
		t.Error("an address is empty")
	}
}

func endOfStream(t *testing.T, n network.Net) {
	client, server := pair(t, n)
	if _, err := client.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	client.Close()
	got, err := io.ReadAll(server)
	if err != nil || string(got) != "last words" {
		t.Errorf("read %q, %v", got, err)
	}
}

func deadline(t *testing.T, n network.Net) {
	client, server := pair(t, n)
	var group sync.WaitGroup
	var err error
	group.Go(func() { _, err = server.Read(make([]byte, 1)) })
	if e := server.SetReadDeadline(time.Unix(1, 0)); e != nil {
		t.Fatal(e)
	}
	group.Wait()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reader woke with %v", err)
	}
	_ = server.SetReadDeadline(time.Time{})
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Errorf("reading after the deadline was lifted: %v", err)
	}
	_ = server.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a deadline ahead: %v", err)
	}
}

func slowReader(t *testing.T, n network.Net) {
	client, _ := pair(t, n)
	_ = client.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	chunk := make([]byte, 1<<20)
	for range 64 {
		if _, err := client.Write(chunk); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("writer ended with %v", err)
			}
			return
		}
	}
	t.Error("64 MiB were written although nobody reads")
}

func closing(t *testing.T, n network.Net) {
	client, server := pair(t, n)
	var group sync.WaitGroup
	var far, near error
	group.Go(func() { _, far = server.Read(make([]byte, 1)) })
	group.Go(func() { _, near = client.Read(make([]byte, 1)) })
	client.Close()
	group.Wait()
	if !errors.Is(far, io.EOF) || !errors.Is(near, net.ErrClosed) {
		t.Errorf("far end %v, want EOF; near end %v, want net.ErrClosed", far, near)
	}
}

func listener(t *testing.T, n network.Net) {
	l, err := n.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Listen(t.Context(), l.Addr().String()); err == nil {
		t.Error("one address was given twice")
	}
	var group sync.WaitGroup
	group.Go(func() { _, err = l.Accept() })
	l.Close()
	group.Wait()
	if !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if c, err := n.Dial(ctx, l.Addr().String()); err == nil {
		c.Close()
		t.Error("a closed listener was dialled")
	}
}
