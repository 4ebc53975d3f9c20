package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	pollBuffer  = 256 << 10              // read at once at most; only what replies fill is touched
	pollEvents  = 256                    // taken from epoll at once
	pollTimeout = 100 * time.Millisecond // how late the end of the context and a stall may be seen
)

// open connects.
func (g *Generator) open(ctx context.Context) (engine, error) {
	if g.options.Plain || g.options.TLS != nil {
		return openPlain(ctx, g)
	}
	return openPoller(ctx, g)
}

// poller is the engine of Linux: all connections on one epoll instance, served by the thread that calls run. Sockets are
// level-triggered, so that one read a wake-up is enough: what it leaves wakes us again.
type poller struct {
	g       *Generator
	epoll   int
	timer   int // a timerfd for the open loop; edge-triggered, so that it need not be read
	sockets []socket
	events  []unix.EpollEvent
	in, out []byte // shared by all sockets

	idle     []int32 // sockets without a batch, only in the open loop
	active   int     // sockets with a batch
	progress int64   // when the last reply or idle moment was, ns since the start of the pass
	armed    uint64  // operation that the timer waits for
}

// socket is one connection.
type socket struct {
	stream
	fd      int
	rest    []byte // of a reply that has not come completely
	pending []byte // of a batch that the kernel did not take at once
}

// timerSlot is the number of the timer among the events.
const timerSlot = -1

// openPoller connects, and takes the sockets out of the care of Go's own poller.
func openPoller(ctx context.Context, g *Generator) (engine, error) {
	e := &poller{
		g: g, epoll: -1, timer: -1, sockets: make([]socket, 0, g.options.Conns), events: make([]unix.EpollEvent, pollEvents),
		in: make([]byte, g.readBuffer(pollBuffer)), out: make([]byte, 0, g.options.Depth*g.maker.longest+len(g.maker.tail)),
		idle: make([]int32, 0, g.options.Conns),
	}
	if err := e.connect(ctx); err != nil {
		e.close()
		return nil, err
	}
	return e, nil
}

func (e *poller) connect(ctx context.Context) error {
	var err error
	if e.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	if e.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return fmt.Errorf("timer: %w", err)
	}
	if err := e.watch(unix.EPOLL_CTL_ADD, e.timer, timerSlot, unix.EPOLLIN|unix.EPOLLET); err != nil {
		return err
	}
	for i := range e.g.options.Conns {
		conn, err := Dial(ctx, e.g.options)
		if err != nil {
			return err
		}
		fd, err := detach(conn)
		if err != nil {
			return err
		}
		e.sockets = append(e.sockets, socket{fd: fd})
		e.g.prepare(&e.sockets[i].stream)
		if err := e.watch(unix.EPOLL_CTL_ADD, fd, i, unix.EPOLLIN); err != nil {
			return err
		}
	}
	return nil
}

// detach takes the socket out of a net.Conn, which is closed.
func detach(conn net.Conn) (int, error) {
	defer conn.Close()
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return -1, fmt.Errorf("a connection of type %T has no socket", conn)
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	var dup error
	if err := raw.Control(func(own uintptr) { fd, dup = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return -1, err
	}
	if dup != nil {
		return -1, dup
	}
	return fd, unix.SetNonblock(fd, true)
}

func (e *poller) watch(op, fd, slot int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(slot)} // Fd is ours to use
	if err := unix.EpollCtl(e.epoll, op, fd, &event); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	return nil
}

func (e *poller) cpu() time.Duration { return threadCPU() }

func (e *poller) close() {
	for i := range e.sockets {
		_ = unix.Close(e.sockets[i].fd)
	}
	for _, fd := range []int{e.timer, e.epoll} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

// run is the loop.
func (e *poller) run(ctx context.Context, p *pass, m *measure) error {
	e.idle, e.active, e.progress, e.armed = e.idle[:0], 0, p.now(), 0
	for i := range e.sockets {
		e.sockets[i].keep = p.keep
		if err := e.send(p, i, p.now()); err != nil {
			return err
		}
	}
	for {
		if err := e.dispatch(p); err != nil {
			return err
		}
		if e.active == 0 && (p.rate == 0 || p.finished(p.now())) {
			return nil
		}
		n, err := unix.EpollWait(e.epoll, e.events, int(pollTimeout.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll: %w", err)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		for _, event := range e.events[:max(n, 0)] {
			if event.Fd == timerSlot {
				continue // dispatch looks at the clock anyway
			}
			if err := e.serve(p, m, int(event.Fd), event.Events); err != nil {
				return err
			}
		}
		if now := p.now(); e.active > 0 && now-e.progress > int64(e.g.options.Stall) {
			return fmt.Errorf("%w: %d connections wait for replies since %s", ErrStalled, e.active, time.Duration(now-e.progress))
		}
	}
}

// serve deals with what epoll tells of a socket.
func (e *poller) serve(p *pass, m *measure, i int, events uint32) error {
	if events&unix.EPOLLOUT != 0 {
		if err := e.flush(i); err != nil {
			return err
		}
	}
	if events&^unix.EPOLLOUT != 0 {
		return e.receive(p, m, i)
	}
	return nil
}

// dispatch sends the operations of the open loop that are due over sockets that are idle, and sets the timer for the next.
func (e *poller) dispatch(p *pass) error {
	if p.rate == 0 {
		return nil
	}
	for len(e.idle) > 0 {
		now := p.now()
		next := p.next.Load()
		if p.finished(now) {
			return nil
		}
		if wait := p.intended(next) - now; wait > 0 && next >= p.due(now) {
			if e.armed == next+1 {
				return nil
			}
			e.armed = next + 1
			when := unix.ItimerSpec{Value: unix.NsecToTimespec(wait)}
			return unix.TimerfdSettime(e.timer, 0, &when, nil)
		}
		i := e.idle[len(e.idle)-1]
		e.idle = e.idle[:len(e.idle)-1]
		if err := e.send(p, int(i), now); err != nil {
			return err
		}
	}
	return nil
}

// send lets a socket send its next batch. If there is none, the socket is idle.
func (e *poller) send(p *pass, i int, now int64) error {
	s := &e.sockets[i]
	batch, first := p.take(now, p.depth)
	if batch == nil {
		s.begin(nil)
		s.ended = true
		if p.rate > 0 {
			e.idle = append(e.idle, int32(i))
		}
		return nil
	}
	if e.active == 0 {
		e.progress = now
	}
	e.active++
	s.begin(batch)
	s.first, s.sent = first, now
	e.out = e.g.maker.build(e.out[:0], batch)
	n, err := write(s.fd, e.out)
	if err != nil || n == len(e.out) {
		return err
	}
	s.pending = append(s.pending[:0], e.out[n:]...)
	return e.watch(unix.EPOLL_CTL_MOD, s.fd, i, unix.EPOLLIN|unix.EPOLLOUT)
}

// flush sends more of a batch that the kernel did not take at once.
func (e *poller) flush(i int) error {
	s := &e.sockets[i]
	n, err := write(s.fd, s.pending)
	if err != nil {
		return err
	}
	s.pending = s.pending[:copy(s.pending, s.pending[n:])]
	if len(s.pending) > 0 {
		return nil
	}
	return e.watch(unix.EPOLL_CTL_MOD, s.fd, i, unix.EPOLLIN)
}

// receive reads once, takes the replies, and sends the next batch when the last reply of this one is there.
func (e *poller) receive(p *pass, m *measure, i int) error {
	s := &e.sockets[i]
	have := copy(e.in, s.rest)
	n, err := unix.Read(s.fd, e.in[have:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", ErrClosed, err)
	case n == 0:
		return ErrClosed
	}
	have += n
	from := s.next
	used, err := e.g.replies.scan(&s.stream, e.in[:have])
	now := p.now()
	e.progress = now
	m.account(p, &s.stream, from, now)
	if err != nil {
		return err
	}
	if err := surplus(&s.stream, used, have, len(e.in)); err != nil {
		return err
	}
	s.rest = append(s.rest[:0], e.in[used:have]...)
	if !s.done() || len(s.batch) == 0 {
		return nil
	}
	e.active--
	return e.send(p, i, now)
}

// write writes what the kernel takes at once.
func write(fd int, b []byte) (int, error) {
	n, err := unix.Write(fd, b)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return n, nil
}
