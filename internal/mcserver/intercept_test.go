package mcserver

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/fault"
	"github.com/charpoy/charpoy/internal/mcbp"
)

// spy is an interceptor that does what its table says of an operation's key and keeps what it was told.
type spy struct {
	mu     sync.Mutex
	inject map[string]fault.Injection // by key, or by name for operations without one
	ended  []fault.Operation
	begun  chan string
}

func (s *spy) install(o *Options) {
	o.Interceptor = &fault.Interceptor{Before: s.before, After: s.after}
}

func (s *spy) before(o *fault.Operation) fault.Injection {
	name := o.Key
	if name == "" {
		name = o.Op
	}
	select {
	case s.begun <- name:
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inject[name]
}

func (s *spy) after(o *fault.Operation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = append(s.ended, *o)
}

// of gives what was told of the operations on a key.
func (s *spy) of(key string) []fault.Operation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.ended), func(o fault.Operation) bool { return o.Key != key })
}

// TestInterceptorSees: each request is told once, with what it was for and how it ended, whatever its form.
func TestInterceptorSees(t *testing.T) {
	s := &spy{}
	w := newWorld(t, s.install)
	p := w.dial().enter("app", "default", usual()...)
	get := func(op mcbp.Opcode, key string) mcbp.Frame { return mcbp.Frame{Opcode: op, Key: []byte("\x00" + key)} }
	p.must(storeFrame(mcbp.OpSet, 0, "\x00k", `{"a":1}`))
	p.must(get(mcbp.OpGet, "k"))
	p.call(get(mcbp.OpGet, "absent"))
	quiet := get(mcbp.OpGetQ, "quiet")
	p.write(mcbp.AppendRequest(nil, &quiet)) // a miss that is not answered
	p.must(mcbp.Frame{Opcode: mcbp.OpNoop})
	for _, want := range []struct {
		key    string
		op     []string
		status mcbp.Status
	}{
		{"k", []string{"set", "get"}, mcbp.StatusSuccess},
		{"absent", []string{"get"}, mcbp.StatusNotFound},
		{"quiet", []string{"get"}, mcbp.StatusNotFound},
	} {
		got := s.of(want.key)
		if len(got) != len(want.op) {
			t.Fatalf("%s: told %+v, want %v", want.key, got, want.op)
		}
		for i, o := range got {
			if o.Op != want.op[i] || o.Status != uint16(want.status) || !o.Document || o.Bucket != "default" || o.User != "app" ||
				o.Scope != "_default" || o.Collection != "_default" || o.Agent != "test" || o.Connection == 0 || o.Duration <= 0 {
				t.Errorf("%s: told %+v, want %s with %v", want.key, o, want.op[i], want.status)
			}
		}
	}
	var names []string
	for _, o := range s.of("") {
		names = append(names, o.Op)
	}
	if want := []string{"hello", "sasl_auth", "select_bucket", "noop"}; !slices.Equal(names, want) {
		t.Errorf("operations without a document: %v, want %v", names, want)
	}
}

// TestInterceptorStatus: an injected status is answered in the form of a real one, and the operation is not run.
func TestInterceptorStatus(t *testing.T) {
	s := &spy{inject: map[string]fault.Injection{
		"temp": {Status: uint16(mcbp.StatusTempFail)}, "moved": {Status: uint16(mcbp.StatusNotMyVBucket)},
	}}
	w := newWorld(t, s.install)
	p := w.dial().enter("app", "default", mcbp.FeatureXError)
	for key, want := range map[string]mcbp.Status{"temp": mcbp.StatusTempFail, "moved": mcbp.StatusNotMyVBucket} {
		if got := p.call(storeFrame(mcbp.OpSet, 0, key, "v")); got.Status() != want {
			t.Errorf("%s: %v, want %v", key, got.Status(), want)
		}
		s.mu.Lock()
		s.inject[key] = fault.Injection{}
		s.mu.Unlock()
		if got := p.call(mcbp.Frame{Opcode: mcbp.OpGet, Key: []byte(key)}); got.Status() != mcbp.StatusNotFound {
			t.Errorf("%s was written although the answer was an injected error: %v", key, got.Status())
		}
	}
}

// TestInterceptorDelay: earlier replies of the same packet are sent before a request waits, and the wait ends with the server.
func TestInterceptorDelay(t *testing.T) {
	s := &spy{begun: make(chan string, 16), inject: map[string]fault.Injection{"slow": {Delay: time.Hour}, "brief": {Delay: 20 * time.Millisecond}}}
	w := newWorld(t, s.install)
	p := w.dial().enter("app", "default")
	begun := time.Now()
	p.must(storeFrame(mcbp.OpSet, 0, "brief", "v"))
	if took := time.Since(begun); took < 20*time.Millisecond {
		t.Errorf("answered after %v, the delay is 20 ms", took)
	}
	var packet []byte
	for _, key := range []string{"fast", "slow"} {
		f := storeFrame(mcbp.OpSet, 0, key, "v")
		packet = mcbp.AppendRequest(packet, &f)
	}
	p.write(packet)
	if f, err := p.next(); err != nil || f.Status() != mcbp.StatusSuccess {
		t.Fatalf("the reply before the one that waits: %+v, %v", f, err)
	}
	for name := range s.begun {
		if name == "slow" {
			break
		}
	}
	w.stop() // hangs if the delay does not end with the server
}

// TestInterceptorCuts: a dropped reply leaves the connection usable, a closed one ends it; whether the operation ran is as
// Injection says.
func TestInterceptorCuts(t *testing.T) {
	s := &spy{inject: map[string]fault.Injection{
		"dropped": {Drop: true}, "closed": {Close: true}, "late": {Close: true, Drop: true},
		"lost": {Drop: true, Status: uint16(mcbp.StatusBusy)},
	}}
	w := newWorld(t, s.install)
	look := w.dial().enter("app", "default")
	for key, c := range map[string]struct{ runs, closes bool }{
		"dropped": {true, false}, "closed": {false, true}, "late": {true, true}, "lost": {false, false},
	} {
		p := w.dial().enter("app", "default", mcbp.FeatureTracing)
		f := storeFrame(mcbp.OpSet, 0, key, "v")
		p.write(mcbp.AppendRequest(nil, &f))
		if c.closes {
			p.closed()
		} else if got := p.must(mcbp.Frame{Opcode: mcbp.OpNoop}); got.Opcode != mcbp.OpNoop {
			t.Errorf("%s: a reply to %v came", key, got.Opcode)
		}
		s.mu.Lock()
		s.inject[key] = fault.Injection{}
		s.mu.Unlock()
		want := mcbp.StatusNotFound
		if c.runs {
			want = mcbp.StatusSuccess
		}
		if got := look.call(mcbp.Frame{Opcode: mcbp.OpGet, Key: []byte(key)}); got.Status() != want {
			t.Errorf("%s: reading it gives %v, want %v", key, got.Status(), want)
		}
	}
}
