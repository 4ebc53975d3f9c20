package client_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// TestLogin checks which mechanism is used where, and what failures look like.
func TestLogin(t *testing.T) {
	far := func(o *client.Options) { // the same port, under an address outside of the machine
		_, port, _ := net.SplitHostPort(o.Addr)
		o.Addr = net.JoinHostPort("192.0.2.1", port)
	}
	for _, tt := range []struct {
		name  string
		fake  func(*fake)
		with  func(*client.Options)
		mechs string
		want  error
	}{
		{name: "loopback", mechs: "PLAIN"},
		{name: "loopback without PLAIN", fake: func(f *fake) { f.mechs = "SCRAM-SHA1 SCRAM-SHA512" }, mechs: "SCRAM-SHA512 SCRAM-SHA512"},
		{name: "outside", with: far, mechs: "SCRAM-SHA512 SCRAM-SHA512"},
		{name: "outside, PLAIN only", fake: func(f *fake) { f.mechs = "PLAIN" }, with: far, want: client.ErrAuth},
		{name: "wrong password", with: func(o *client.Options) { o.Password = "x" }, mechs: "PLAIN", want: client.ErrAuth},
		{
			name: "wrong password outside", with: func(o *client.Options) { far(o); o.Password = "x" },
			mechs: "SCRAM-SHA512 SCRAM-SHA512", want: client.ErrAuth,
		},
		{name: "unknown bucket", with: func(o *client.Options) { o.Bucket = "none" }, mechs: "PLAIN", want: client.ErrNoBucket},
		{name: "bucket not ready", with: func(o *client.Options) { o.Bucket = "soon" }, mechs: "PLAIN", want: client.ErrTemporary},
		{name: "bad configuration", fake: func(f *fake) { f.config = []byte("{") }, mechs: "PLAIN", want: client.ErrProtocol},
		{name: "nobody", with: func(o *client.Options) { o.User = "" }},
		{name: "nobody listens", with: func(o *client.Options) { o.Addr = "127.0.0.1:1" }, want: errAny},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, tt.fake)
			o := f.options()
			if tt.with != nil {
				tt.with(&o)
			}
			c, err := client.Dial(t.Context(), o)
			if tt.want == nil && err != nil || tt.want != nil && err == nil || tt.want != nil && !errors.Is(tt.want, errAny) && !errors.Is(err, tt.want) {
				t.Errorf("Dial: error %v, want %v", err, tt.want)
			}
			if err == nil {
				if err := c.Noop(t.Context()); err != nil {
					t.Errorf("Noop: %v", err)
				}
				c.Close()
			}
			f.mu.Lock()
			defer f.mu.Unlock()
			if got := strings.Join(f.mu.mechs, " "); got != tt.mechs {
				t.Errorf("logged in by %q, want %q", got, tt.mechs)
			}
		})
	}
}

var errAny = errors.New("any")

// TestImpostor checks that a server that does not know the password is found out in the last step of SCRAM.
func TestImpostor(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.mechs = "SCRAM-SHA512"
		f.hook = func(s *session, q *mcbp.Frame) bool {
			if q.Opcode != mcbp.OpSASLStep {
				return false
			}
			s.answer(q, 0, mcbp.Frame{Value: []byte("v=" + strings.Repeat("AAAA", 21) + "AA==")})
			return true
		}
	})
	if _, err := client.Dial(t.Context(), f.options()); !errors.Is(err, client.ErrProtocol) {
		t.Errorf("Dial: error %v, want ErrProtocol", err)
	}
}

// TestPipelining checks that replies find their requests when they come in another order.
func TestPipelining(t *testing.T) {
	var held []mcbp.Frame
	var mu sync.Mutex
	f := newFake(t, func(f *fake) {
		f.hook = func(s *session, q *mcbp.Frame) bool {
			if q.Opcode != mcbp.OpGet {
				return false
			}
			mu.Lock()
			defer mu.Unlock()
			held = append(held, mcbp.Frame{Opcode: q.Opcode, Opaque: q.Opaque, Key: []byte(string(q.Key))})
			if len(held) < 10 {
				return true
			}
			for i := len(held) - 1; i >= 0; i-- {
				s.answer(&held[i], 0, mcbp.Frame{Extras: make([]byte, 4), Value: held[i].Key})
			}
			return true
		}
	})
	c := f.dial(t)
	var wait sync.WaitGroup
	for i := range 10 {
		wait.Go(func() {
			key := "key" + string(rune('0'+i))
			if d, err := c.Get(t.Context(), key, client.With{}); err != nil || string(d.Value) != key {
				t.Errorf("Get(%s) = %q, %v", key, d.Value, err)
			}
		})
	}
	wait.Wait()
}

// TestManyCallers checks under -race that goroutines may share a connection.
func TestManyCallers(t *testing.T) {
	c := newFake(t, nil).dial(t)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			key := "counter" + string(rune('0'+i))
			for n := range 100 {
				got, _, err := c.Incr(t.Context(), key, client.Count{Delta: 1, Create: true}, client.With{})
				if err != nil || got != uint64(n) {
					t.Errorf("Incr(%s) = %d, %v, want %d", key, got, err, n)
					return
				}
			}
		})
	}
	wait.Wait()
}

// TestConnectionLost checks that the end of a connection fails the calls that wait, and later ones as not sent.
func TestConnectionLost(t *testing.T) {
	asked := make(chan struct{}, 1)
	f := newFake(t, func(f *fake) {
		f.hook = func(_ *session, q *mcbp.Frame) bool {
			if q.Opcode == mcbp.OpGet {
				asked <- struct{}{}
			}
			return q.Opcode == mcbp.OpGet // and never answers
		}
	})
	c := f.dial(t)
	result := make(chan error, 1)
	var wait sync.WaitGroup
	wait.Go(func() {
		_, err := c.Get(t.Context(), "k", client.With{})
		result <- err
	})
	<-asked
	f.hangUp()
	if err := <-result; !errors.Is(err, client.ErrConnection) || errors.Is(err, client.ErrNotSent) {
		t.Errorf("waiting call: error %v, want ErrConnection and not ErrNotSent", err)
	}
	wait.Wait()
	<-c.Done()
	if err := c.Noop(t.Context()); !errors.Is(err, client.ErrNotSent) || !errors.Is(err, client.ErrConnection) {
		t.Errorf("later call: error %v, want ErrNotSent and ErrConnection", err)
	}
	if err := c.Err(); !errors.Is(err, client.ErrConnection) {
		t.Errorf("Err: %v, want ErrConnection", err)
	}
}

// TestClose checks that Close fails waiting calls and may be repeated.
func TestClose(t *testing.T) {
	asked := make(chan struct{}, 1)
	f := newFake(t, func(f *fake) {
		f.hook = func(_ *session, q *mcbp.Frame) bool {
			if q.Opcode == mcbp.OpGet {
				asked <- struct{}{}
			}
			return q.Opcode == mcbp.OpGet
		}
	})
	c := f.dial(t)
	var wait sync.WaitGroup
	wait.Go(func() {
		if _, err := c.Get(t.Context(), "k", client.With{}); !errors.Is(err, client.ErrClosed) {
			t.Errorf("waiting call: error %v, want ErrClosed", err)
		}
	})
	<-asked
	c.Close()
	c.Close()
	wait.Wait()
}

// TestCancel checks that a call ends with its context, and that its late reply disturbs nobody.
func TestCancel(t *testing.T) {
	asked := make(chan mcbp.Frame, 1)
	f := newFake(t, func(f *fake) {
		var late *mcbp.Frame
		f.hook = func(s *session, q *mcbp.Frame) bool {
			switch q.Opcode {
			case mcbp.OpGet:
				late = &mcbp.Frame{Opcode: q.Opcode, Opaque: q.Opaque}
				asked <- *late
				return true
			case mcbp.OpNoop:
				if late != nil {
					s.answer(late, 0, mcbp.Frame{Extras: make([]byte, 4)})
				}
			}
			return false
		}
	})
	c := f.dial(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("changed my mind")
	var wait sync.WaitGroup
	wait.Go(func() {
		<-asked
		cancel(reason)
	})
	if _, err := c.Get(ctx, "k", client.With{}); !errors.Is(err, reason) {
		t.Errorf("Get: error %v, want the cause of the context", err)
	}
	wait.Wait()
	if err := c.Noop(t.Context()); err != nil {
		t.Errorf("Noop after a late reply: %v", err)
	}
}

// TestTimeout checks the time that a call without a deadline has, and that durable writes have the server's time more.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, func(f *fake) {
			f.hook = func(_ *session, q *mcbp.Frame) bool { return q.Opcode == mcbp.OpGet || q.Opcode == mcbp.OpSet }
		})
		c := f.dial(t)
		began := time.Now()
		if _, err := c.Get(context.Background(), "k", client.With{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Get: error %v, want DeadlineExceeded", err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("Get took %v, want 10s", took)
		}
		began = time.Now()
		if _, err := c.Set(context.Background(), "k", nil, client.With{Level: 1}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Set: error %v, want DeadlineExceeded", err)
		}
		if took := time.Since(began); took != 40*time.Second {
			t.Errorf("durable Set took %v, want 40s", took)
		}
	})
}

// TestNonsense checks that a server that breaks the protocol ends the connection rather than a call at random.
func TestNonsense(t *testing.T) {
	for name, out := range map[string]func(q *mcbp.Frame) []byte{
		"garbage": func(*mcbp.Frame) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") },
		"another opcode": func(q *mcbp.Frame) []byte {
			return mcbp.AppendResponse(nil, &mcbp.Frame{Opcode: mcbp.OpSet, Opaque: q.Opaque})
		},
		"a request": func(q *mcbp.Frame) []byte {
			return mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpGet, Opaque: q.Opaque})
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, func(f *fake) {
				f.hook = func(s *session, q *mcbp.Frame) bool {
					if q.Opcode == mcbp.OpGet {
						s.out = append(s.out, out(q)...)
					}
					return q.Opcode == mcbp.OpGet
				}
			})
			_, err := f.dial(t).Get(t.Context(), "k", client.With{})
			if !errors.Is(err, client.ErrProtocol) || !errors.Is(err, client.ErrConnection) {
				t.Errorf("Get: error %v, want ErrProtocol and ErrConnection", err)
			}
		})
	}
}

// TestServerRequest checks that a request of the server is ignored.
func TestServerRequest(t *testing.T) {
	f := newFake(t, func(f *fake) {
		f.hook = func(s *session, q *mcbp.Frame) bool {
			if q.Opcode == mcbp.OpNoop {
				s.out = mcbp.AppendServerRequest(s.out, &mcbp.Frame{Opcode: mcbp.OpClusterConfigPush, Opaque: q.Opaque})
			}
			return false
		}
	})
	if err := f.dial(t).Noop(t.Context()); err != nil {
		t.Errorf("Noop: %v", err)
	}
}

// TestConfig checks what a Conn knows of its bucket.
func TestConfig(t *testing.T) {
	c := newFake(t, nil).dial(t)
	config := c.Config()
	if config == nil || config.Rev != 7 || config.Name != "b" || len(config.Map) != fakeVBs || config.Nodes[0].Hostname != "127.0.0.1" {
		t.Errorf("Config = %+v", config)
	}
	if vb, err := c.VBucket("hello"); err != nil || vb != vbucket.Of([]byte("hello"), fakeVBs) {
		t.Errorf("VBucket = %d, %v", vb, err)
	}
	if err := c.SelectBucket(t.Context(), mcbp.NoBucketName); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "k", client.With{}); !errors.Is(err, client.ErrNoBucket) {
		t.Errorf("Get without a bucket: error %v, want ErrNoBucket", err)
	}
}
