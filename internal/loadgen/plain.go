package loadgen

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// Buffers of the plain engine, and the size of a batch from which on it is written while replies are read: a server that
// waits for us to read before it reads on would otherwise wait for ever.
const (
	plainBuffer    = 64 << 10
	writeInBetween = 32 << 10
)

// plainEngine has one goroutine a connection. It serves TLS, and systems without epoll.
type plainEngine struct {
	g     *Generator
	conns []*plainConn
}

// plainConn is a connection. It belongs to the goroutine that runs it.
type plainConn struct {
	stream
	conn    net.Conn
	in, out []byte
	have    int // bytes at the beginning of in that were not scanned
	measure *measure
}

// openPlain connects.
func openPlain(ctx context.Context, g *Generator) (engine, error) {
	e := &plainEngine{g: g}
	for range g.options.Conns {
		conn, err := Dial(ctx, g.options)
		if err != nil {
			e.close()
			return nil, err
		}
		c := &plainConn{conn: conn, in: make([]byte, g.readBuffer(plainBuffer))}
		g.prepare(&c.stream)
		e.conns = append(e.conns, c)
	}
	return e, nil
}

// prepare sets in a stream what the options say.
func (g *Generator) prepare(s *stream) {
	s.tail = len(g.maker.tail) > 0
	if g.options.Verify {
		s.verify = g.workload
	}
}

// readBuffer gives the size of a buffer that replies fit into which are wanted as a whole.
func (g *Generator) readBuffer(least int) int {
	if !g.options.Verify {
		return least
	}
	return max(least, 2*g.maker.longest+4<<10)
}

func (e *plainEngine) cpu() time.Duration { return ownCPU() }

func (e *plainEngine) close() {
	for _, c := range e.conns {
		c.conn.Close()
	}
}

// run lets every connection run on a goroutine of its own; the first error ends them all.
func (e *plainEngine) run(ctx context.Context, p *pass, m *measure) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	interrupt := context.AfterFunc(ctx, e.interrupt)
	defer interrupt()
	var wait sync.WaitGroup
	for _, c := range e.conns {
		c.keep, c.measure = p.keep, &measure{}
		wait.Go(func() {
			if err := e.load(ctx, p, c); err != nil {
				cancel(err)
			}
		})
	}
	wait.Wait()
	for _, c := range e.conns {
		m.merge(c.measure)
	}
	return context.Cause(ctx)
}

// interrupt wakes whoever reads or writes.
func (e *plainEngine) interrupt() {
	for _, c := range e.conns {
		_ = c.conn.SetDeadline(time.Unix(1, 0)) // an error says that it is closed already
	}
}

// load runs one connection until the pass is finished.
func (e *plainEngine) load(ctx context.Context, p *pass, c *plainConn) error {
	for {
		now := p.now()
		batch, first := p.take(now, p.depth)
		if batch == nil {
			if p.finished(now) {
				return nil
			}
			wait := time.Duration(p.intended(p.next.Load()) - now)
			if !pause(ctx, max(wait, time.Microsecond)) {
				return context.Cause(ctx)
			}
			continue
		}
		c.begin(batch)
		c.first, c.sent = first, now
		c.out = e.g.maker.build(c.out[:0], batch)
		if err := e.exchange(ctx, p, c); err != nil {
			return err
		}
	}
}

// exchange sends a batch and takes its replies.
func (e *plainEngine) exchange(ctx context.Context, p *pass, c *plainConn) error {
	if err := c.conn.SetDeadline(time.Now().Add(e.g.options.Stall)); err != nil {
		return translate(err)
	}
	if ctx.Err() != nil { // the deadline of an interruption may just have been overwritten
		return context.Cause(ctx)
	}
	if len(c.out) < writeInBetween {
		if _, err := c.conn.Write(c.out); err != nil {
			return translate(err)
		}
		return e.receive(p, c)
	}
	var (
		writer   sync.WaitGroup
		writeErr error
	)
	writer.Go(func() { _, writeErr = c.conn.Write(c.out) })
	err := e.receive(p, c)
	if err != nil {
		_ = c.conn.SetDeadline(time.Unix(1, 0)) // lets the writer end
	}
	writer.Wait()
	if err == nil && writeErr != nil {
		err = translate(writeErr)
	}
	return err
}

// receive takes the replies of the batch.
func (e *plainEngine) receive(p *pass, c *plainConn) error {
	for !c.done() {
		n, err := c.conn.Read(c.in[c.have:])
		if n == 0 && err != nil {
			return translate(err)
		}
		c.have += n
		from := c.next
		used, err := e.g.replies.scan(&c.stream, c.in[:c.have])
		c.measure.account(p, &c.stream, from, p.now())
		if err != nil {
			return err
		}
		if err := surplus(&c.stream, used, c.have, len(c.in)); err != nil {
			return err
		}
		c.have = copy(c.in, c.in[used:c.have])
	}
	return nil
}

// surplus reports replies that nobody asked for, and replies too large to be looked at.
func surplus(s *stream, used, have, room int) error {
	switch {
	case s.done() && used < have:
		return fmt.Errorf("%w: %d bytes behind the last reply", ErrProtocol, have-used)
	case used == 0 && have == room:
		return fmt.Errorf("%w: a reply of more than %d bytes", ErrProtocol, room)
	}
	return nil
}

// translate gives an error of a connection its meaning.
func translate(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrStalled
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrClosed
	}
	return fmt.Errorf("%w: %w", ErrClosed, err)
}
