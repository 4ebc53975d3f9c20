package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"
)

// Bounds of the memory network.
const (
	pipeBytes   = 256 << 10 // unread bytes in one direction; a writer waits above it, as with a socket's buffers
	backlog     = 128       // dialled connections that nobody has accepted yet; a dialler waits above it
	firstPort   = 20000     // of those given out for port 0
	memoryProto = "memory"
)

var errRefused = errors.New("connection refused")

// memory is a network inside one process. Its listeners are found by port alone.
type memory struct {
	mu struct {
		sync.Mutex
		listeners map[string]*memoryListener // by port
		next      int
	}
}

// NewMemory makes an empty network inside the process. It works under testing/synctest.
func NewMemory() Net {
	m := &memory{}
	m.mu.listeners = map[string]*memoryListener{}
	m.mu.next = firstPort
	return Net{Dial: m.dial, Listen: m.listen}
}

// Addr is an address of the memory network.
type Addr string

// Network names the kind of network.
func (Addr) Network() string { return memoryProto }

// String gives host:port.
func (a Addr) String() string { return string(a) }

func (m *memory) listen(_ context.Context, addr string) (net.Listener, error) {
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", addr, err)
	}
	if name == "" {
		name = "127.0.0.1"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if port == "0" || port == "" {
		port = strconv.Itoa(m.mu.next)
		m.mu.next++
	}
	if m.mu.listeners[port] != nil {
		return nil, fmt.Errorf("listen on %q: address already in use", addr)
	}
	l := &memoryListener{
		memory: m, port: port, addr: Addr(net.JoinHostPort(name, port)),
		queue: make(chan net.Conn, backlog), closed: make(chan struct{}),
	}
	m.mu.listeners[port] = l
	return l, nil
}

func (m *memory) dial(ctx context.Context, addr string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("dial %q: %w", addr, err)
	}
	m.mu.Lock()
	l := m.mu.listeners[port]
	own := Addr(net.JoinHostPort("127.0.0.1", strconv.Itoa(m.mu.next)))
	m.mu.next++
	m.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("dial %q: %w", addr, errRefused)
	}
	near, far := Pipe(own, Addr(net.JoinHostPort(name, port)))
	select {
	case l.queue <- far:
		return near, nil
	case <-l.closed:
		return nil, fmt.Errorf("dial %q: %w", addr, errRefused)
	case <-ctx.Done():
		return nil, fmt.Errorf("dial %q: %w", addr, context.Cause(ctx))
	}
}

type memoryListener struct {
	memory *memory
	port   string
	addr   Addr
	queue  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *memoryListener) Addr() net.Addr { return l.addr }

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.once.Do(func() {
		l.memory.mu.Lock()
		delete(l.memory.mu.listeners, l.port)
		l.memory.mu.Unlock()
		close(l.closed)
		for {
			select {
			case c := <-l.queue:
				c.Close()
			default:
				return
			}
		}
	})
	return nil
}

// Pipe makes the two ends of a connection inside the process. Unlike net.Pipe it buffers, as sockets do: a writer waits only
// when 256 KiB are unread.
func Pipe(near, far net.Addr) (net.Conn, net.Conn) {
	there, back := newStream(), newStream()
	return &memoryConn{in: back, out: there, local: near, remote: far},
		&memoryConn{in: there, out: back, local: far, remote: near}
}

// stream is one direction of a connection.
type stream struct {
	mu struct {
		sync.Mutex
		buf       []byte
		ended     bool // the writer has closed: what is buffered can be read, then EOF
		abandoned bool // the reader has closed: writing fails
	}
	changed       *sync.Cond
	read, written deadline
}

func newStream() *stream {
	s := &stream{}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// deadline is guarded by the stream's mutex.
type deadline struct {
	timer  *time.Timer
	passed bool
	turn   int // tells a timer that was replaced from the present one
}

func (s *stream) setDeadline(d *deadline, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.turn++
	d.passed = false
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		d.passed = true
		s.changed.Broadcast()
		return
	}
	turn := d.turn
	d.timer = time.AfterFunc(left, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if d.turn == turn {
			d.passed = true
			s.changed.Broadcast()
		}
	})
}

func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.mu.abandoned:
			return 0, net.ErrClosed
		case s.read.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(s.mu.buf) > 0:
			n := copy(p, s.mu.buf)
			s.mu.buf = s.mu.buf[n:]
			if len(s.mu.buf) == 0 {
				s.mu.buf = nil
			}
			s.changed.Broadcast()
			return n, nil
		case s.mu.ended:
			return 0, io.EOF
		}
		s.changed.Wait()
	}
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := 0
	for {
		switch {
		case s.mu.ended:
			return done, net.ErrClosed
		case s.mu.abandoned:
			return done, io.ErrClosedPipe
		case s.written.passed:
			return done, os.ErrDeadlineExceeded
		}
		if room := pipeBytes - len(s.mu.buf); room > 0 {
			n := min(room, len(p)-done)
			s.mu.buf = append(s.mu.buf, p[done:done+n]...)
			done += n
			s.changed.Broadcast()
		}
		if done == len(p) {
			return done, nil
		}
		s.changed.Wait()
	}
}

func (s *stream) close(flag *bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*flag = true
	s.changed.Broadcast()
}

type memoryConn struct {
	in, out       *stream
	local, remote net.Addr
}

func (c *memoryConn) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *memoryConn) Write(p []byte) (int, error) { return c.out.Write(p) }
func (c *memoryConn) LocalAddr() net.Addr         { return c.local }
func (c *memoryConn) RemoteAddr() net.Addr        { return c.remote }

func (c *memoryConn) Close() error {
	c.out.close(&c.out.mu.ended)
	c.in.close(&c.in.mu.abandoned)
	c.in.setDeadline(&c.in.read, time.Time{})
	c.out.setDeadline(&c.out.written, time.Time{})
	return nil
}

func (c *memoryConn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(&c.in.read, t)
	return nil
}

func (c *memoryConn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(&c.out.written, t)
	return nil
}

func (c *memoryConn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}
