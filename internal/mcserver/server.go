package mcserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/fault"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/metrics"
	"github.com/charpoy/charpoy/internal/network"
	"github.com/charpoy/charpoy/internal/run"
	"github.com/charpoy/charpoy/internal/trace"
)

// Options of a Server. Node and Auth are required; the zero value of everything else works.
type Options struct {
	Node *data.Node
	Auth *auth.Directory

	Addr      string      // of the plain listener; empty = 127.0.0.1:11210
	TLSAddr   string      // of the TLS listener; empty = none
	TLSConfig *tls.Config // required with TLSAddr

	Clock   *hlc.Source    // nil = the machine's
	Net     network.Net    // zero = TCP
	Metrics *metrics.Set   // where the server's numbers are registered; nil = nowhere
	Logger  *slog.Logger   // nil = nowhere
	Trace   *trace.Node    // whom the probes tell; nil = nobody
	Slow    *trace.SlowLog // of operations; nil = none is kept
	Version string         // as told to clients; empty = DefaultVersion

	// PlainTLSOnly withdraws the mechanism PLAIN from unencrypted connections. Released SDKs that know no other then cannot
	// log in without TLS (wire.md 4.5).
	PlainTLSOnly bool
	// Interceptor is told of every request and may change how it ends: for test servers. nil = there is none.
	Interceptor *fault.Interceptor
	// MaxConnections bounds the open client connections; 0 means 60 000.
	MaxConnections int
}

// DefaultVersion is what clients are told unless Options say otherwise: SDKs derive from it what a server of that age can do.
const DefaultVersion = "7.6.4-0000-charpoy"

const defaultAddr = "127.0.0.1:11210"

func (o Options) withDefaults() Options {
	if o.Addr == "" {
		o.Addr = defaultAddr
	}
	if o.Clock == nil {
		o.Clock = hlc.New()
	}
	if o.Net.Listen == nil {
		o.Net = network.TCP()
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Version == "" {
		o.Version = DefaultVersion
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = maxConnections
	}
	return o
}

func (o *Options) validate() error {
	switch {
	case o.Node == nil:
		return errors.New("mcserver: Options.Node is missing")
	case o.Auth == nil:
		return errors.New("mcserver: Options.Auth is missing")
	case o.TLSAddr != "" && o.TLSConfig == nil:
		return errors.New("mcserver: Options.TLSAddr without TLSConfig")
	}
	return nil
}

// Server serves the binary protocol. Its methods may be called from any goroutine.
type Server struct {
	options   Options
	node      *data.Node
	auth      *auth.Directory
	clock     *hlc.Source
	logger    *slog.Logger
	errorMaps [mcbp.ErrorMapVersion + 1][]byte // by version
	works     sync.Pool                        // of *work
	numbers   *numbers
	throttle  logThrottle

	listeners []listener                  // set by Listen, then read only
	published chan struct{}               // mailbox of one: current has changed
	current   atomic.Pointer[publication] // what clients are told of the cluster; nil before the first assignment

	conns struct {
		sync.Mutex
		open   map[*conn]struct{}
		nextID uint64
		closed bool // no new ones
	}
	group sync.WaitGroup // of connections
}

// listener is one open port.
type listener struct {
	net.Listener
	port string // "kv" or "kvSSL", as services are named in configurations
	tls  bool
}

// New makes a server that does nothing until Listen and Run.
func New(o Options) (*Server, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	s := &Server{
		options: o, node: o.Node, auth: o.Auth, clock: o.Clock, logger: o.Logger,
		numbers:   newNumbers(o.Metrics),
		published: make(chan struct{}, 1),
	}
	for v := 1; v < len(s.errorMaps); v++ {
		s.errorMaps[v] = mcbp.ErrorMap(v)
	}
	s.works.New = func() any { return new(work) }
	s.conns.open = map[*conn]struct{}{}
	return s, nil
}

// Listen opens the listeners, so that their addresses are known before Run. A client that dials before Run waits.
func (s *Server) Listen(ctx context.Context) error {
	plain, err := s.options.Net.Listen(ctx, s.options.Addr)
	if err != nil {
		return fmt.Errorf("open the KV port: %w", err)
	}
	s.listeners = append(s.listeners, listener{plain, "kv", false})
	if s.options.TLSAddr == "" {
		return nil
	}
	secure, err := s.options.Net.Listen(ctx, s.options.TLSAddr)
	if err != nil {
		plain.Close()
		s.listeners = nil
		return fmt.Errorf("open the KV port for TLS: %w", err)
	}
	s.listeners = append(s.listeners, listener{secure, "kvSSL", true})
	return nil
}

// Addr is the address of the plain listener, nil before Listen.
func (s *Server) Addr() net.Addr { return s.addr(false) }

// TLSAddr is the address of the TLS listener, nil if there is none.
func (s *Server) TLSAddr() net.Addr { return s.addr(true) }

func (s *Server) addr(secure bool) net.Addr {
	for _, l := range s.listeners {
		if l.tls == secure {
			return l.Addr()
		}
	}
	return nil
}

// Run serves until ctx ends. It then accepts nothing more, lets each connection finish the requests that it is running, and
// returns when all of them are closed; those that take longer than three seconds are cut off. Call Listen first.
func (s *Server) Run(ctx context.Context) error {
	if len(s.listeners) == 0 {
		return errors.New("mcserver: Run without Listen")
	}
	g := run.NewGroup(ctx)
	cancel := s.node.Subscribe(s.publish)
	defer cancel()
	g.Go("push", s.pushLoop)
	for _, l := range s.listeners {
		g.Go("accept "+l.port, func(ctx context.Context) error { return s.acceptLoop(ctx, l) })
	}
	g.Go("stop", s.stop)
	err := g.Wait()
	s.group.Wait()
	return err
}

// Close gives up the ports of a server that will not Run. It may be called at any time and more than once.
func (s *Server) Close() error {
	for _, l := range s.listeners {
		l.Close()
	}
	return nil
}

// stop waits for the end and then ends what would block on a socket.
func (s *Server) stop(ctx context.Context) error {
	<-ctx.Done()
	_ = s.Close()
	s.conns.Lock()
	s.conns.closed = true
	s.conns.Unlock()
	for _, c := range s.connections() {
		c.nudge()
	}
	all := make(chan struct{})
	g := run.NewGroup(context.WithoutCancel(ctx))
	g.Go("await connections", func(context.Context) error { s.group.Wait(); close(all); return nil })
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-all:
	case <-timer.C:
		for _, c := range s.connections() {
			c.net.Close()
		}
	}
	return g.Wait()
}

func (s *Server) acceptLoop(ctx context.Context, l listener) error {
	for {
		socket, err := l.Accept()
		switch {
		case err == nil:
			s.take(ctx, l, socket)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default:
			s.logger.Warn("cannot accept connections", "port", l.port, "error", err)
			select {
			case <-time.After(acceptRetry):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// take begins a connection, or refuses it when there are too many.
func (s *Server) take(ctx context.Context, l listener, socket net.Conn) {
	if l.tls {
		socket = tls.Server(socket, s.options.TLSConfig)
	}
	c := newConn(s, socket, l)
	s.conns.Lock()
	closed, full := s.conns.closed, len(s.conns.open) >= s.options.MaxConnections
	if !closed && !full {
		s.conns.nextID++
		c.id = s.conns.nextID
		s.conns.open[c] = struct{}{}
		s.group.Go(func() { c.serve(ctx) })
	}
	s.conns.Unlock()
	switch {
	case closed:
		socket.Close()
	case full:
		s.numbers.rejected.Add(1)
		s.refuse(l, socket)
	default:
		c.port.accepted()
	}
}

// refuse tells a client that there are too many connections, as far as that can be said without a TLS handshake.
func (s *Server) refuse(l listener, socket net.Conn) {
	defer socket.Close()
	if l.tls {
		return
	}
	_ = socket.SetWriteDeadline(time.Now().Add(refusalTimeout))
	_, _ = socket.Write(mcbp.AppendResponse(nil, &mcbp.Frame{Opcode: mcbp.OpHello, VB: uint16(mcbp.StatusTooManyConnections)}))
}

// forget ends the registration of a connection that has ended.
func (s *Server) forget(c *conn) {
	s.conns.Lock()
	delete(s.conns.open, c)
	s.conns.Unlock()
	c.port.gone()
}

// connections lists the open connections.
func (s *Server) connections() []*conn {
	s.conns.Lock()
	defer s.conns.Unlock()
	list := make([]*conn, 0, len(s.conns.open))
	for c := range s.conns.open {
		list = append(list, c)
	}
	return list
}
