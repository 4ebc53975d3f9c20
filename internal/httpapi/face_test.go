package httpapi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"github.com/charpoy/charpoy/internal/network"
)

// TestConnectionLimit: above the limit a connection is closed at once, and its place is free again when another one ends.
func TestConnectionLimit(t *testing.T) {
	const most = 3
	memory := network.NewMemory()
	f, err := newFace(t.Context(), "test", http.NotFoundHandler(), faceOptions{
		net: memory, addr: "127.0.0.1:0", logger: slog.New(slog.DiscardHandler), most: most,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	ask := func(c net.Conn) error {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return err
		}
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, answer.Body)
		return errors.Join(err, answer.Body.Close())
	}
	open := make([]net.Conn, most)
	for i := range open {
		if open[i], err = memory.Dial(t.Context(), f.plain.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer open[i].Close()
		if err := ask(open[i]); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	surplus, err := memory.Dial(t.Context(), f.plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer surplus.Close()
	if err := ask(surplus); err == nil {
		t.Error("a connection above the limit was served")
	}
	open[0].Close()
	for attempt := 0; ; attempt++ { // the server has to notice that the first one is gone
		c, err := memory.Dial(t.Context(), f.plain.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		err = ask(c)
		c.Close()
		if err == nil {
			return
		}
		if attempt > 10_000 {
			t.Fatalf("no place became free: %v", err)
		}
	}
}
