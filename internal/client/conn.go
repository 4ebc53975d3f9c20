package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/network"
	"github.com/charpoy/charpoy/internal/sdkconfig"
)

// Options say where a Conn goes and as whom. Addr is required.
type Options struct {
	Addr     string // host:port of a KV port
	User     string // empty: no login, which serves NOOP and little else
	Password string
	TLS      *tls.Config   // nil: no TLS. An empty ServerName becomes the host of Addr
	Bucket   string        // selected after the login; empty: none
	Agent    string        // what the server shows of us; "charpoy" if empty
	Net      network.Net   // the zero value is TCP
	Timeout  time.Duration // of a call whose context has no deadline, and of Dial; 0 = 10 s
}

func (o Options) withDefaults() Options {
	if o.Agent == "" {
		o.Agent = "charpoy"
	}
	if o.Net.Dial == nil {
		o.Net = network.TCP()
	}
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	return o
}

// Conn is a connection to a KV port. See the package comment for its rules.
type Conn struct {
	options  Options
	raw      net.Conn
	features mcbp.FeatureSet                  // set by Dial before anybody else has the Conn
	config   atomic.Pointer[sdkconfig.Config] // of the bucket, as read last; nil without a bucket

	queue  chan []byte   // encoded frames for the writer; bound queuedFrames, senders wait
	closed chan struct{} // closed together with mu.err being set
	tasks  sync.WaitGroup
	mu     struct {
		sync.Mutex
		waiting map[uint32]*call // by opaque
		opaque  uint32           // of the last request
		err     error            // why the connection has ended; nil while it lives
	}
}

// call is a request whose replies are waited for. The reader owns its fields until done is closed.
type call struct {
	opcode  mcbp.Opcode
	many    bool // replies go on until one without key and value, or one that is not a success
	bytes   int
	replies []mcbp.Frame
	err     error
	done    chan struct{}
}

// Dial connects, logs in and selects the bucket. Errors wrap *StatusError if the server refused (errors.Is ErrAuth,
// ErrNoBucket, ErrTemporary for a bucket that is not ready yet), ErrProtocol, or those of the network.
func Dial(ctx context.Context, o Options) (*Conn, error) {
	o = o.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	raw, err := o.Net.Dial(ctx, o.Addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", o.Addr, err)
	}
	if o.TLS != nil {
		secured, err := secure(ctx, raw, o)
		if err != nil {
			raw.Close()
			return nil, fmt.Errorf("TLS with %s: %w", o.Addr, err)
		}
		raw = secured
	}
	c := newConn(raw, o)
	if err := c.bootstrap(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to %s: %w", o.Addr, err)
	}
	return c, nil
}

func secure(ctx context.Context, raw net.Conn, o Options) (net.Conn, error) {
	config := o.TLS.Clone()
	if config.ServerName == "" {
		host, _, err := net.SplitHostPort(o.Addr)
		if err != nil {
			return nil, err
		}
		config.ServerName = host
	}
	secured := tls.Client(raw, config)
	return secured, secured.HandshakeContext(ctx)
}

// newConn makes a Conn of a connection and starts its writer and reader.
func newConn(raw net.Conn, o Options) *Conn {
	c := &Conn{options: o, raw: raw, queue: make(chan []byte, queuedFrames), closed: make(chan struct{})}
	c.mu.waiting = map[uint32]*call{}
	c.tasks.Go(c.write)
	c.tasks.Go(c.read)
	return c
}

// Close ends the connection and waits for its goroutines. Waiting calls fail with ErrClosed. It may be called repeatedly.
func (c *Conn) Close() error {
	c.fail(ErrClosed)
	c.tasks.Wait()
	return nil
}

// Err tells why the connection has ended; nil while it lives. It wraps ErrConnection.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.err
}

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.closed }

// Features tells what HELLO has settled.
func (c *Conn) Features() mcbp.FeatureSet { return c.features }

// fail ends the connection, once.
func (c *Conn) fail(err error) {
	if !errors.Is(err, ErrConnection) {
		err = fmt.Errorf("%w: %w", ErrConnection, err)
	}
	c.mu.Lock()
	if c.mu.err != nil {
		c.mu.Unlock()
		return
	}
	c.mu.err = err
	waiting := c.mu.waiting
	c.mu.waiting = nil
	close(c.closed)
	c.mu.Unlock()
	c.raw.Close()
	for _, w := range waiting {
		w.err = err
		close(w.done)
	}
}

// write is the one goroutine that writes. It flushes when nobody has more to send.
func (c *Conn) write() {
	out := bufio.NewWriterSize(c.raw, writeBufferMax)
	for {
		select {
		case frame := <-c.queue:
			_, err := out.Write(frame)
			if err == nil && len(c.queue) == 0 {
				err = out.Flush()
			}
			if err != nil {
				c.fail(err)
				return
			}
		case <-c.closed:
			return
		}
	}
}

// read is the one goroutine that reads.
func (c *Conn) read() {
	in := bufio.NewReaderSize(c.raw, readBufferBytes)
	for {
		f, err := readFrame(in)
		if err == nil {
			err = c.deliver(&f)
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
}

// readFrame reads one frame into memory of its own.
func readFrame(in *bufio.Reader) (mcbp.Frame, error) {
	header, err := in.Peek(mcbp.HeaderLen)
	if err != nil {
		if errors.Is(err, io.EOF) && len(header) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return mcbp.Frame{}, err
	}
	n, err := mcbp.Size(header)
	if err != nil {
		return mcbp.Frame{}, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	buf := make([]byte, n)
	if _, err := io.ReadFull(in, buf); err != nil {
		return mcbp.Frame{}, err
	}
	f, _, err := mcbp.Decode(buf)
	return f, err
}

// deliver hands a reply to the call that waits for it. Replies to calls that were given up are dropped, as are requests of
// the server: we ask for no feature that allows them.
func (c *Conn) deliver(f *mcbp.Frame) error {
	switch f.Magic {
	case mcbp.MagicServerRequest:
		return nil
	case mcbp.MagicResponse, mcbp.MagicFlexResponse:
	default:
		return fmt.Errorf("%w: magic %#02x", ErrProtocol, uint8(f.Magic))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.mu.waiting[f.Opaque]
	if w == nil {
		return nil
	}
	if w.opcode != f.Opcode {
		return fmt.Errorf("%w: reply to %s on a request %s", ErrProtocol, f.Opcode, w.opcode)
	}
	w.replies = append(w.replies, *f)
	if w.bytes += len(f.Key) + len(f.Value); w.bytes > maxStatsBytes && w.many {
		return fmt.Errorf("%w: endless replies to %s", ErrProtocol, w.opcode)
	}
	if w.many && f.Status() == mcbp.StatusSuccess && len(f.Key)+len(f.Value) > 0 {
		return nil
	}
	delete(c.mu.waiting, f.Opaque)
	close(w.done)
	return nil
}

// Do sends a request as it is, but for its opaque, and waits for the reply, whatever its status. The slices of f are lent
// for the call. It is for what has no method of its own; errors are those of the connection and of ctx.
func (c *Conn) Do(ctx context.Context, f *mcbp.Frame) (mcbp.Frame, error) {
	replies, err := c.exchange(ctx, f, false, 0)
	if err != nil {
		return mcbp.Frame{}, err
	}
	return replies[0], nil
}

// exchange sends a request and waits for its reply or, if many, its replies. extra is added to the time that a call has
// whose context names none.
func (c *Conn) exchange(ctx context.Context, f *mcbp.Frame, many bool, extra time.Duration) ([]mcbp.Frame, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		limited, cancel := context.WithTimeout(ctx, c.options.Timeout+extra)
		defer cancel()
		ctx = limited
	}
	w := &call{opcode: f.Opcode, many: many, done: make(chan struct{})}
	request := *f
	if err := c.register(w, &request); err != nil {
		return nil, err
	}
	select {
	case c.queue <- mcbp.AppendRequest(nil, &request):
	case <-c.closed: // the call is failed below
	case <-ctx.Done():
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if c.abandon(request.Opaque) {
			return nil, fmt.Errorf("%s: %w", f.Opcode, context.Cause(ctx))
		}
		<-w.done // the reply came at the same moment
	}
	return w.replies, w.err
}

// register gives a request its opaque and notes the call.
func (c *Conn) register(w *call, f *mcbp.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.err != nil {
		return fmt.Errorf("%w: %w", ErrNotSent, c.mu.err)
	}
	for {
		c.mu.opaque++
		if _, used := c.mu.waiting[c.mu.opaque]; !used {
			break
		}
	}
	f.Opaque = c.mu.opaque
	c.mu.waiting[f.Opaque] = w
	return nil
}

// abandon gives a call up; it reports false if the call has just ended.
func (c *Conn) abandon(opaque uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, waits := c.mu.waiting[opaque]
	delete(c.mu.waiting, opaque)
	return waits
}

// send is Do with a reply that is not a success turned into a *StatusError.
func (c *Conn) send(ctx context.Context, f *mcbp.Frame, extra time.Duration) (mcbp.Frame, error) {
	if len(f.Key)+len(f.Value)+len(f.Extras)+len(f.FrameExtras) > mcbp.MaxBody {
		return mcbp.Frame{}, refuse(f, mcbp.StatusTooBig, "The request exceeds 30 MiB")
	}
	replies, err := c.exchange(ctx, f, false, extra)
	if err != nil {
		return mcbp.Frame{}, err
	}
	return replies[0], statusOf(f, &replies[0])
}

// refuse makes the error of a request that is not worth sending.
func refuse(f *mcbp.Frame, s mcbp.Status, text string) error {
	return &StatusError{Op: f.Opcode, Status: s, Context: text, withCAS: f.CAS != 0}
}

// statusOf gives the error that a reply stands for; nil for success.
func statusOf(request, reply *mcbp.Frame) error {
	if reply.Status() == mcbp.StatusSuccess {
		return nil
	}
	body, _ := mcbp.ParseErrorBody(reply.Value) // a server may say nothing
	return &StatusError{
		Op: request.Opcode, Status: reply.Status(), Context: body.Context, Ref: body.Ref, withCAS: request.CAS != 0,
	}
}
