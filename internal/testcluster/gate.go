package testcluster

import (
	"context"
	"net"
	"sync"

	"github.com/charpoy/charpoy/internal/network"
)

// gate stands between one life of a node and its clients. Open, it does nothing. Shut, clients wait: what they send is not
// answered, and what is on its way to them stays where it is. Cut, their connections have ended and no new ones begin.
type gate struct {
	under network.Net
	mu    struct {
		sync.Mutex
		shut  chan struct{} // closed when it opens again; nil: it is open
		cut   bool
		conns map[*gatedConn]struct{}
	}
}

func newGate() *gate {
	g := &gate{under: network.TCP()}
	g.mu.conns = map[*gatedConn]struct{}{}
	return g
}

// net gives the network behind the gate.
func (g *gate) net() network.Net {
	return network.Net{Dial: g.under.Dial, Listen: func(ctx context.Context, addr string) (net.Listener, error) {
		l, err := g.under.Listen(ctx, addr)
		if err != nil {
			return nil, err
		}
		return &gatedListener{l, g}, nil
	}}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.shut == nil && !g.mu.cut {
		g.mu.shut = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mu.shut != nil {
		close(g.mu.shut)
		g.mu.shut = nil
	}
}

// sever ends all connections, with a reset as the kernel sends for a process that is killed, and refuses new ones.
func (g *gate) sever() {
	g.mu.Lock()
	g.mu.cut = true
	conns := g.mu.conns
	g.mu.conns = map[*gatedConn]struct{}{}
	g.mu.Unlock()
	for c := range conns {
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	g.open()
}

// pass waits while the gate is shut, or until gone is closed.
func (g *gate) pass(gone <-chan struct{}) {
	for {
		g.mu.Lock()
		shut := g.mu.shut
		g.mu.Unlock()
		if shut == nil {
			return
		}
		select {
		case <-shut:
		case <-gone:
			return
		}
	}
}

type gatedListener struct {
	net.Listener
	gate *gate
}

// Accept implements net.Listener. While the gate is shut, clients are connected by the kernel and wait.
func (l *gatedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g := &gatedConn{Conn: c, gate: l.gate, gone: make(chan struct{})}
		l.gate.mu.Lock()
		cut := l.gate.mu.cut
		if !cut {
			l.gate.mu.conns[g] = struct{}{}
		}
		l.gate.mu.Unlock()
		if !cut {
			return g, nil
		}
		_ = c.Close()
	}
}

type gatedConn struct {
	net.Conn
	gate *gate
	once sync.Once
	gone chan struct{}
}

// Read implements net.Conn.
func (c *gatedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.gate.pass(c.gone)
	return n, err
}

// Write implements net.Conn.
func (c *gatedConn) Write(p []byte) (int, error) {
	c.gate.pass(c.gone)
	return c.Conn.Write(p)
}

// Close implements net.Conn.
func (c *gatedConn) Close() error {
	c.once.Do(func() { close(c.gone) })
	c.gate.mu.Lock()
	delete(c.gate.mu.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
