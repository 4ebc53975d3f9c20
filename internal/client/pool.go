package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Pool keeps one Conn for each bucket of one KV port, made when it is first needed and made anew after a loss. It may be used
// by any number of goroutines.
type Pool struct {
	options Options
	mu      struct {
		sync.Mutex
		places map[string]*place // by bucket
		closed bool
	}
}

// place is where the Conn of one bucket lives.
type place struct {
	users int           // guarded by Pool.mu; calls that hold the place
	turn  chan struct{} // holds one token: whoever has it may look at conn and dial. Bound 1, others wait
	conn  *Conn         // guarded by turn; nil or broken: dial
}

// NewPool makes a Pool. The Bucket of the options is not looked at.
func NewPool(o Options) *Pool {
	p := &Pool{options: o.withDefaults()}
	p.mu.places = map[string]*place{}
	return p
}

// Close ends all connections and waits for them. It may be called repeatedly.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.mu.closed = true
	places := slices.Collect(maps.Values(p.mu.places))
	p.mu.Unlock()
	for _, at := range places {
		at.turn <- struct{}{}
		if at.conn != nil {
			at.conn.Close()
		}
		<-at.turn
	}
	return nil
}

// Conn gives the connection of a bucket. It stays the Pool's: the caller must not close it nor select another bucket. Errors
// are those of Dial, and ErrClosed.
func (p *Pool) Conn(ctx context.Context, bucket string) (*Conn, error) {
	at, err := p.hold(bucket)
	if err != nil {
		return nil, err
	}
	defer p.release(bucket, at)
	select {
	case at.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("connection to bucket %s: %w", bucket, context.Cause(ctx))
	}
	defer func() { <-at.turn }()
	if at.conn != nil && at.conn.Err() == nil {
		return at.conn, nil
	}
	if at.conn != nil {
		at.conn.Close()
		at.conn = nil
	}
	if p.isClosed() {
		return nil, ErrClosed
	}
	o := p.options
	o.Bucket = bucket
	at.conn, err = Dial(ctx, o)
	return at.conn, err
}

// Do runs f with the connection of a bucket. When nothing can have happened yet, because the connection broke before the
// request was sent or its bucket has been dropped (and perhaps made anew), it runs f once more with a new connection.
// Errors are those of Conn and of f.
func (p *Pool) Do(ctx context.Context, bucket string, f func(*Conn) error) error {
	for try := 1; ; try++ {
		c, err := p.Conn(ctx, bucket)
		if err != nil {
			return err
		}
		err = f(c)
		stale := errors.Is(err, ErrNoBucket)
		if stale {
			c.fail(fmt.Errorf("bucket %s is gone", bucket))
		}
		if try > 1 || !stale && !errors.Is(err, ErrNotSent) {
			return err
		}
	}
}

func (p *Pool) hold(bucket string) (*place, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.closed {
		return nil, ErrClosed
	}
	at := p.mu.places[bucket]
	if at == nil {
		at = &place{turn: make(chan struct{}, 1)}
		p.mu.places[bucket] = at
	}
	at.users++
	return at, nil
}

// release gives a place back. One without a connection is dropped, so that names of buckets that do not exist do not pile up.
func (p *Pool) release(bucket string, at *place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at.users--
	if at.users == 0 && at.conn == nil { // nobody else has the place, so nobody has its turn
		delete(p.mu.places, bucket)
	}
}

func (p *Pool) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.closed
}
