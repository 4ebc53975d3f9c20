package mcserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/trace"
)

// conn is one client connection. Everything in it belongs to the goroutine that runs serve, except the
// atomic fields.
type conn struct {
	server   *Server
	id       uint64 // never given twice by one server
	net      net.Conn
	port     *portNumbers
	secure   bool // TLS
	accepted time.Time
	in       inbox
	session  session
	traced   traced
	face     *face       // of the port for plain memcached clients; nil on the others
	nudged   atomic.Bool // there is something to attend to; see nudge
	ready    atomic.Bool // a TLS handshake, which a passed deadline would break for good, is over
	shown    atomic.Pointer[introduction]
}

// introduction is what statistics show of a connection. Its own goroutine replaces it when the session changes.
type introduction struct{ agent, user, bucket string }

func newConn(s *Server, socket net.Conn, l listener) *conn {
	c := &conn{
		server: s, net: socket, secure: l.tls, port: s.numbers.port(l.port), accepted: time.Now(),
		in:      inbox{buf: make([]byte, smallBuffer)},
		session: session{counts: s.numbers.ops("")},
	}
	c.traced.port = trace.PortKV
	if l.tls {
		c.traced.port = trace.PortKVTLS
	}
	if l.port == portMemcached {
		c.greetMemcached()
	}
	return c
}

// longAgo wakes a reader at once when it is set as the deadline.
func longAgo() time.Time { return time.Unix(1, 0) }

// nudge makes the connection look after itself: a configuration may be due, its bucket may be gone, or the server stops. It
// may be called from any goroutine and never blocks. The order matters: the goroutine takes the deadline away before it
// reads the flag, so a nudge is never lost.
func (c *conn) nudge() {
	c.nudged.Store(true)
	if c.ready.Load() {
		_ = c.net.SetReadDeadline(longAgo())
	}
}

// arm gives Read the deadline that the state of the session asks for.
func (c *conn) arm() {
	var deadline time.Time
	if c.session.identity == nil {
		deadline = c.accepted.Add(idleUnauthenticated)
	}
	_ = c.net.SetReadDeadline(deadline)
}

// serve runs the connection until it ends.
func (c *conn) serve(ctx context.Context) {
	defer c.server.forget(c)
	defer c.net.Close()
	ctx = c.traced.begin(ctx, c)
	defer c.traced.end(c)
	if !c.handshake(ctx) {
		return
	}
	c.ready.Store(true)
	c.arm()
	for {
		if c.nudged.Swap(false) && !c.attend(ctx) {
			return
		}
		n, err := c.net.Read(c.in.room())
		if n > 0 {
			c.in.received(n)
			c.port.received(n)
			before := c.traced.requests
			alive := c.drain(ctx)
			c.traced.received(c, n, c.traced.requests-before)
			if !alive {
				return
			}
		}
		switch {
		case err == nil:
		case !errors.Is(err, os.ErrDeadlineExceeded):
			if !errors.Is(err, io.EOF) {
				c.traced.why = trace.CloseReasonError
			}
			return
		case c.session.identity == nil && time.Since(c.accepted) >= idleUnauthenticated:
			c.traced.why = trace.CloseReasonTimeout
			return
		default:
			c.arm()
		}
	}
}

// handshake does the TLS handshake, within the time that strangers have.
func (c *conn) handshake(ctx context.Context) bool {
	t, ok := c.net.(*tls.Conn)
	if !ok {
		return true
	}
	_ = t.SetDeadline(c.accepted.Add(idleUnauthenticated))
	if err := t.HandshakeContext(ctx); err != nil {
		c.server.logger.Debug("TLS handshake failed", "connection", c.id, "remote", c.remote(), "error", err)
		return false
	}
	return true
}

// verdict is what process wants next.
type verdict uint8

const (
	needInput verdict = iota // no complete request is left
	goOn                     // more requests are there
	writeOut                 // write the replies, then go on: the next request may take long
	hangUp                   // write the replies, then close
)

// drain processes everything that has arrived and writes the replies. It reports whether the connection lives on.
func (c *conn) drain(ctx context.Context) bool {
	w := c.server.takeWork()
	defer c.server.giveBack(w)
	for row := 0; ; {
		used, next := c.step(ctx, w, c.in.data())
		c.in.consume(used)
		row += w.count
		writes := next != goOn || len(w.out) >= writeAt
		if row >= yieldAlways || writes && row >= yieldBefore {
			// A deep pipeline must not keep others waiting. That the turn is given away before the replies are written, not
			// after, makes the goroutines of busy connections execute one after another and then write one after another,
			// each part with the caches warm for it: 13 % less CPU per request at depth 100, on one core.
			runtime.Gosched()
			row = 0
		}
		if writes {
			if !c.write(w.out) {
				return false
			}
			w.out = w.out[:0]
		}
		switch next {
		case hangUp:
			return false
		case needInput:
			if c.in.have > 0 && c.in.since == 0 && trace.Enabled {
				c.in.since = c.server.clock.Now().Mono
			}
			if c.face == nil {
				c.in.fit()
			} else {
				c.in.fitTo(c.face.need)
			}
			return true
		case goOn, writeOut:
		}
	}
}

// step processes input as the protocol of the port has it.
func (c *conn) step(ctx context.Context, w *work, in []byte) (used int, next verdict) {
	if c.face == nil {
		return c.process(ctx, w, in)
	}
	return c.processMemcached(ctx, w, in)
}

// attend does what a nudge may have been for. It reports whether the connection lives on.
func (c *conn) attend(ctx context.Context) bool {
	switch {
	case ctx.Err() != nil:
		c.traced.why = trace.CloseReasonShutdown
		return false
	case c.session.bucketGone():
		c.traced.why = trace.CloseReasonBucketGone
		return false
	}
	frame := c.push()
	return len(frame) == 0 || c.write(frame)
}

func (c *conn) write(out []byte) bool {
	if len(out) == 0 {
		return true
	}
	_ = c.net.SetWriteDeadline(time.Now().Add(writeTimeout))
	begun := int64(0)
	if c.traced.timesWrite(len(out)) {
		begun = c.server.clock.Now().Mono
	}
	n, err := c.net.Write(out)
	c.port.sent(n)
	c.traced.wrote(c, n, begun)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.traced.why = trace.CloseReasonSlowReader
	}
	return err == nil
}

// inbox is the input of a connection that has not been processed. Its buffer grows with traffic and shrinks without.
type inbox struct {
	buf   []byte
	have  int  // bytes of buf in use, from the front
	full  bool // the last read filled the buffer: the socket holds more
	reads int  // since the size of the buffer was last held against the traffic
	most  int  // bytes that were in use at once during those

	since int64 // monotonic time at which the first bytes of an incomplete request were seen; 0: none are here
}

// room is where the next read goes. It is never empty: fit has seen to that.
func (i *inbox) room() []byte { return i.buf[i.have:] }

func (i *inbox) data() []byte { return i.buf[:i.have] }

func (i *inbox) received(n int) {
	i.have += n
	i.full = i.have == len(i.buf)
	i.most = max(i.most, i.have)
	i.reads++
}

// consume drops n processed bytes from the front.
func (i *inbox) consume(n int) {
	if n > 0 {
		i.have = copy(i.buf, i.buf[n:i.have])
	}
}

// fit sizes the buffer for the next read when its data are frames.
func (i *inbox) fit() {
	size, err := mcbp.Size(i.data())
	if err != nil {
		size = 0
	}
	i.fitTo(size)
}

// fitTo sizes the buffer for the next read. What is left is the beginning of one frame, whose announced size has been held
// against the limits by then. A large frame gets its buffer as it arrives, never more than four times what is there: its
// announcement alone must not cost memory. A pipeline that fills the buffer gets a larger one at once: with 4 KiB, a pipeline
// of 100 requests cost two to four rounds of system calls instead of one. It becomes as small again as the largest of the
// last reads allows twice over, so that traffic of one kind does not make it swing between two sizes. size is that of the
// frame, 0 if it is not known.
func (i *inbox) fitTo(size int) {
	want := len(i.buf)
	switch {
	case size > want && i.have >= want/2 || i.have == want:
		if size == 0 && i.have >= fullBuffer { // a line without an end so far
			size = 2 * i.have
		}
		want = max(fullBuffer, min(size, 4*i.have))
	case i.full && want < fullBuffer:
		want = fullBuffer
	case want > fullBuffer && i.have < fullBuffer && size <= fullBuffer:
		want = fullBuffer
	case i.reads >= shrinkAfter && want <= fullBuffer:
		want = min(want, bufferFor(max(2*i.most, size)))
		i.reads, i.most = 0, i.have
	}
	if want == len(i.buf) {
		return
	}
	buf := make([]byte, want)
	copy(buf, i.data())
	i.buf, i.full, i.reads, i.most = buf, false, 0, i.have
}

// bufferFor gives the smallest usual size of a buffer that holds n bytes.
func bufferFor(n int) int {
	size := smallBuffer
	for size < n && size < fullBuffer {
		size *= bufferStep
	}
	return size
}
