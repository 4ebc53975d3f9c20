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
	"syscall"
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

	// MemcachedAddr is where plain memcached clients are served, with the documents of the bucket MemcachedBucket; empty =
	// nowhere. What they may do without a login is decided by MemcachedAuth.
	MemcachedAddr     string
	MemcachedOptional bool          // if another program has that address, the server goes on without it
	MemcachedBucket   string        // empty = "default"
	MemcachedAuth     MemcachedAuth // the zero value is for addresses that only this machine reaches
	// MemcachedItemSize bounds the values that these clients store, in bytes; 0 means 1 MiB, at most 20 MiB.
	MemcachedItemSize int
	// Flush empties a bucket, and Resize gives it another quota in bytes, for clients of the memcached port that may ask for
	// it. nil = nobody may.
	Flush  func(ctx context.Context, bucket string) error
	Resize func(ctx context.Context, bucket string, quotaBytes int64) error

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
	if o.MemcachedBucket == "" {
		o.MemcachedBucket = "default"
	}
	if o.MemcachedItemSize == 0 {
		o.MemcachedItemSize = defaultItemSize
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
	case o.MemcachedItemSize < 0 || o.MemcachedItemSize > maxItemSize:
		return fmt.Errorf("mcserver: Options.MemcachedItemSize %d is not between 0 and %d", o.MemcachedItemSize, maxItemSize)
	}
	return o.validateMemcached()
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

	plain plainNumbers // of the memcached port
	flush *flusher     // the same
}

// listener is one open port.
type listener struct {
	net.Listener
	port string // as portNames
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
		flush:     newFlusher(),
		published: make(chan struct{}, 1),
	}
	for v := 1; v < len(s.errorMaps); v++ {
		s.errorMaps[v] = mcbp.ErrorMap(v)
	}
	s.works.New = func() any { return new(work) }
	s.conns.open = map[*conn]struct{}{}
	return s, nil
}

// Listen opens the listeners, so that their addresses are known before Run. A client that dials before Run waits. After an
// error none is open.
func (s *Server) Listen(ctx context.Context) error {
	for _, l := range []struct {
		addr, port, name string
		tls              bool
	}{
		{s.options.Addr, "kv", "KV port", false},
		{s.options.TLSAddr, "kvSSL", "KV port for TLS", true},
		{s.options.MemcachedAddr, portMemcached, "memcached port", false},
	} {
		if l.addr == "" {
			continue
		}
		opened, err := s.options.Net.Listen(ctx, l.addr)
		if err != nil && l.port == portMemcached && s.options.MemcachedOptional && errors.Is(err, syscall.EADDRINUSE) {
			s.logger.Warn("another program has the default memcached port; plain memcached clients are not served",
				"address", l.addr, "hint", "choose another with --memcached-port, or end that program")
			continue
		}
		if err != nil {
			_ = s.Close()
			s.listeners = nil
			return fmt.Errorf("open the %s: %w", l.name, err)
		}
		s.listeners = append(s.listeners, listener{opened, l.port, l.tls})
	}
	return nil
}

// Addr is the address of the plain listener, nil before Listen.
func (s *Server) Addr() net.Addr { return s.addr("kv") }

// TLSAddr is the address of the TLS listener, nil if there is none.
func (s *Server) TLSAddr() net.Addr { return s.addr("kvSSL") }

// MemcachedAddr is the address of the listener for plain memcached clients, nil if there is none.
func (s *Server) MemcachedAddr() net.Addr { return s.addr(portMemcached) }

func (s *Server) addr(port string) net.Addr {
	for _, l := range s.listeners {
		if l.port == port {
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
	g.Go("delayed flush", s.flushLoop)
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
	if l.port == portMemcached {
		_, _ = socket.Write([]byte("ERROR Too many open connections\r\n"))
		return
	}
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
