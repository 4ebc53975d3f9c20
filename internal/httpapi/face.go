package httpapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/charpoy/charpoy/internal/network"
	"github.com/charpoy/charpoy/internal/run"
)

// face is a handler behind one plain and one TLS listener.
type face struct {
	name      string
	logger    *slog.Logger
	server    *http.Server
	plain     net.Listener
	secure    net.Listener // nil without TLS
	stopping  chan struct{}
	stopOnce  sync.Once
	closeOnce sync.Once
	closeErr  error

	most int64        // connections at once, plain and TLS
	open atomic.Int64 // connections
}

type faceOptions struct {
	net     network.Net
	addr    string
	tlsAddr string
	tls     *tls.Config
	logger  *slog.Logger
	most    int64 // connections at once; 0 = maxConnections
}

// stoppingKey finds in a request's context the channel that is closed when the server wants to stop; endless replies watch
// it.
type stoppingKey struct{}

func newFace(ctx context.Context, name string, h http.Handler, o faceOptions) (*face, error) {
	f := &face{name: name, logger: o.logger, stopping: make(chan struct{}), most: cmp.Or(o.most, maxConnections)}
	f.server = &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		WriteTimeout:      writeTime,
		MaxHeaderBytes:    maxHeader,
		ConnState:         f.count,
		ErrorLog:          slog.NewLogLogger(o.logger.With("face", name).Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), stoppingKey{}, f.stopping)
		},
	}
	var err error
	if f.plain, err = o.net.Listen(ctx, o.addr); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if o.tlsAddr != "" && o.tls != nil {
		secure, err := o.net.Listen(ctx, o.tlsAddr)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.plain.Close())
		}
		config := o.tls.Clone()
		config.NextProtos = []string{"http/1.1"}
		f.secure = tls.NewListener(secure, config)
	}
	return f, nil
}

// count keeps the number of open connections, and closes a new one at once if there are too many: what it would cost is
// bounded only by their number.
func (f *face) count(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if f.open.Add(1) > f.most {
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		f.open.Add(-1)
	case http.StateActive, http.StateIdle:
	}
}

func (f *face) port() int { return portOf(f.plain) }

func (f *face) tlsPort() int {
	if f.secure == nil {
		return 0
	}
	return portOf(f.secure)
}

func portOf(l net.Listener) int {
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0
	}
	n := 0
	for i := range len(port) {
		n = n*10 + int(port[i]-'0')
	}
	return n
}

func (f *face) close() error {
	f.closeOnce.Do(func() {
		f.closeErr = f.plain.Close()
		if f.secure != nil {
			f.closeErr = errors.Join(f.closeErr, f.secure.Close())
		}
	})
	return f.closeErr
}

// run serves until ctx ends. Then it accepts nothing more, tells endless replies to end, waits for the others, and cuts off
// what is left after stopTime.
func (f *face) run(ctx context.Context) error {
	g := run.NewGroup(ctx)
	serve := func(l net.Listener) func(context.Context) error {
		return func(context.Context) error {
			if err := f.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("%s: %w", f.name, err)
			}
			return nil
		}
	}
	g.Go("plain", serve(f.plain))
	if f.secure != nil {
		g.Go("tls", serve(f.secure))
	}
	g.Go("stop", func(ctx context.Context) error {
		<-ctx.Done()
		f.stopOnce.Do(func() { close(f.stopping) })
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
		defer cancel()
		if err := f.server.Shutdown(limit); err != nil {
			f.logger.Warn("requests were cut off at the stop", "face", f.name, "error", err)
			return f.server.Close()
		}
		return nil
	})
	return g.Wait()
}
