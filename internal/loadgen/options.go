package loadgen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Protocol is a way to speak to a server.
type Protocol string

// The protocols.
const (
	Binary      Protocol = "binary"       // memcached's binary protocol, one reply a request
	BinaryQuiet Protocol = "binary-quiet" // its quiet variants, each batch ended by a NOOP
	Meta        Protocol = "meta"         // mg, ms, md
	ASCII       Protocol = "ascii"        // get, set, delete
	ASCIIMulti  Protocol = "ascii-multi"  // the same, GETs that follow each other in one command
	RESP        Protocol = "resp"         // redis
)

// Protocols lists all of them.
func Protocols() []Protocol { return []Protocol{Binary, BinaryQuiet, Meta, ASCII, ASCIIMulti, RESP} }

// Bounds of the options.
const (
	MaxConns      = 65_536
	MaxDepth      = 65_536
	MaxKeys       = 1 << 30
	MaxKeyBytes   = 250
	MaxValueBytes = 20 << 20
	maxSizes      = 64
)

// Errors of a run.
var (
	// ErrOptions says that the options contradict each other or are out of bounds.
	ErrOptions = errors.New("options of the load generator")
	// ErrProtocol says that a reply cannot be one of the protocol's.
	ErrProtocol = errors.New("malformed reply")
	// ErrClosed says that the server closed a connection.
	ErrClosed = errors.New("the server closed the connection")
	// ErrStalled says that replies did not come within the time limit.
	ErrStalled = errors.New("the server does not answer")
	// ErrWrong says that a reply was well formed and wrong; only Verify finds that.
	ErrWrong = errors.New("wrong reply")
	// ErrRefused says that the server refused the login, the bucket, or a write of the preload for good.
	ErrRefused = errors.New("refused by the server")

	errNoCPU = errors.New("CPU time is not known")
)

// Options say where a Generator aims and how hard. Addr is required.
type Options struct {
	Addr     string   // host:port
	Protocol Protocol // Binary if empty
	TLS      *tls.Config
	User     string // with a user, SASL PLAIN (binary protocols) or AUTH (RESP) comes first
	Password string
	Bucket   string // selected after the login; binary protocols only

	Conns    int           // 16 if 0
	Depth    int           // requests in a batch; 1 if 0
	Rate     float64       // operations a second over all connections; 0: closed loop
	Duration time.Duration // of the measurement; 1 s if 0 and Ops is 0
	Ops      uint64        // ends the measurement earlier; 0: the duration alone decides
	Warmup   time.Duration // load of the same kind before the measurement, not counted
	Stall    time.Duration // longest silence of the server while replies are due; 10 s if 0

	ServerPID int  // of a server on this machine, for its CPU time; 0: none
	Verify    bool // compare the body of each GET with what the workload would have written
	Plain     bool // use the plain engine even where there is a cheaper one
}

func (o Options) withDefaults() Options {
	if o.Protocol == "" {
		o.Protocol = Binary
	}
	if o.Conns == 0 {
		o.Conns = 16
	}
	if o.Depth == 0 {
		o.Depth = 1
	}
	if o.Duration == 0 && o.Ops == 0 {
		o.Duration = time.Second
	}
	if o.Stall == 0 {
		o.Stall = 10 * time.Second
	}
	return o
}

func (o Options) validate() error {
	binary := o.Protocol == Binary || o.Protocol == BinaryQuiet
	switch {
	case o.Addr == "":
		return fmt.Errorf("%w: no address", ErrOptions)
	case !slices.Contains(Protocols(), o.Protocol):
		return fmt.Errorf("%w: unknown protocol %q", ErrOptions, o.Protocol)
	case o.Conns < 1 || o.Conns > MaxConns:
		return fmt.Errorf("%w: %d connections, want 1 to %d", ErrOptions, o.Conns, MaxConns)
	case o.Depth < 1 || o.Depth > MaxDepth:
		return fmt.Errorf("%w: depth %d, want 1 to %d", ErrOptions, o.Depth, MaxDepth)
	case o.Rate < 0 || o.Rate > 1e9:
		return fmt.Errorf("%w: rate %g, want 0 to 1e9", ErrOptions, o.Rate)
	case o.Duration < 0 || o.Warmup < 0 || o.Stall < 0:
		return fmt.Errorf("%w: a negative duration", ErrOptions)
	case o.Bucket != "" && !binary:
		return fmt.Errorf("%w: only the binary protocols select a bucket", ErrOptions)
	case o.User != "" && !binary && o.Protocol != RESP:
		return fmt.Errorf("%w: the protocol %s has no login", ErrOptions, o.Protocol)
	}
	return nil
}
