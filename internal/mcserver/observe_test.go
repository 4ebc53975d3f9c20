package mcserver

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/trace"
)

// seen collects what probes told.
type seen struct {
	mu   sync.Mutex
	rows []map[string]any
	came chan struct{} // a row has come; nil: nobody waits for one
}

func (s *seen) listen(t *testing.T, node *trace.Node, probe trace.Named, numbers, texts []string) {
	t.Helper()
	cancel := node.Subscribe(func(r *trace.Record) {
		row := map[string]any{}
		for _, name := range numbers {
			row[name] = r.Value(name)
		}
		for _, name := range texts {
			row[name] = r.Text(name, nil)
		}
		s.mu.Lock()
		s.rows = append(s.rows, row)
		s.mu.Unlock()
		if s.came != nil {
			s.came <- struct{}{}
		}
	}, probe)
	t.Cleanup(cancel)
}

func (s *seen) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rows)
}

// TestProbes: the life of a connection as the probes tell it, and that nothing is told twice.
func TestProbes(t *testing.T) {
	if !trace.Enabled {
		t.Skip("built without probes")
	}
	node := trace.NewNode()
	w := newWorld(t, func(o *Options) { o.Trace, o.Clock = node, hlc.New() })
	var opened, started, ended, stages, logins, closed, read, written seen
	opened.listen(t, node, trace.ConnOpen, []string{"conn"}, []string{"client", "port"})
	started.listen(t, node, trace.OpStart, []string{"vb"}, []string{"op", "bucket"})
	ended.listen(t, node, trace.OpDone,
		[]string{"vb", "opaque", "batch", "dur", "recv", "queue", "lock", "exec", "fetch", "flush", "fsync", "repl", "bytes_in", "bytes_out"},
		[]string{"op", "status", "class", "bucket"})
	stages.listen(t, node, trace.OpStage, []string{"dur"}, []string{"stage", "op"})
	logins.listen(t, node, trace.AuthDone, nil, []string{"mech", "status"})
	closed.came = make(chan struct{}, 1)
	closed.listen(t, node, trace.ConnClose, []string{"ops", "bytes_in", "bytes_out"}, []string{"reason"})
	read.listen(t, node, trace.NetRead, []string{"bytes", "frames"}, nil)
	written.listen(t, node, trace.NetWrite, []string{"bytes", "frames"}, nil)

	p := w.dial().login("app", "default")
	before := ended.len()
	set := storeFrame(mcbp.OpSet, 3, "key", "value")
	set.Opaque = 77
	p.must(set)
	p.must(mcbp.Frame{Opcode: mcbp.OpGet, VB: 3, Key: []byte("key")})
	p.call(mcbp.Frame{Opcode: mcbp.OpGet, VB: 3, Key: []byte("nothing")})
	p.must(mcbp.Frame{Opcode: mcbp.OpQuit})
	select {
	case <-closed.came:
	case <-time.After(20 * time.Second):
		t.Fatal("the end of the connection was not told")
	}

	for i, want := range []map[string]any{
		{"op": "set", "status": "ok", "class": "ok", "bucket": "default", "vb": int64(3), "opaque": int64(77)},
		{"op": "get", "status": "ok", "class": "ok", "bucket": "default", "vb": int64(3), "opaque": int64(0)},
		{"op": "get", "status": "ok", "class": "miss", "bucket": "default", "vb": int64(3), "opaque": int64(0)},
		{"op": "quit", "status": "ok", "class": "ok"},
	} {
		got := ended.rows[before+i]
		for name, v := range want {
			if got[name] != v {
				t.Errorf("op-done %d: %s is %v, want %v", i, name, got[name], v)
			}
		}
		sum := int64(0)
		for _, stage := range []string{"recv", "queue", "lock", "exec", "fetch", "flush", "fsync", "repl"} {
			sum += got[stage].(int64)
		}
		if sum != got["dur"] || got["batch"] != int64(1) || got["bytes_in"].(int64) < mcbp.HeaderLen {
			t.Errorf("op-done %d: stages add up to %d: %v", i, sum, got)
		}
	}
	if started.len() != ended.len() || opened.len() != 1 || logins.len() == 0 || stages.len() < 4 {
		t.Errorf("%d started, %d ended, %d opened, %d logins, %d stages", started.len(), ended.len(), opened.len(), logins.len(), stages.len())
	}
	if opened.rows[0]["port"] != "kv" {
		t.Errorf("opened %v", opened.rows[0])
	}
	if got := closed.rows[0]; got["ops"] != int64(ended.len()) || got["reason"] != "client" {
		t.Errorf("conn-close %v after %d operations", got, ended.len())
	}
	for _, side := range []struct {
		name string
		s    *seen
	}{{"bytes_in", &read}, {"bytes_out", &written}} {
		bytes, frames := int64(0), int64(0)
		for _, row := range side.s.rows {
			bytes += row["bytes"].(int64)
			frames += row["frames"].(int64)
		}
		if bytes != closed.rows[0][side.name] || frames != int64(ended.len()) {
			t.Errorf("%s: %d bytes with %d frames, and conn-close says %v", side.name, bytes, frames, closed.rows[0])
		}
	}
}

// TestLevelNames: the probes number durability levels as the protocol does, so that nothing has to translate them.
func TestLevelNames(t *testing.T) {
	for level, name := range map[spec.Durability]string{
		spec.Majority: "majority", spec.MajorityAndPersistOnActive: "majority_and_persist",
		spec.PersistToMajority: "persist_to_majority",
	} {
		if got := trace.Level(level).String(); got != name {
			t.Errorf("%v is told as %q", level, got)
		}
	}
}

// TestSlowOperations: an operation above its threshold is kept with what is needed to find it on both sides.
func TestSlowOperations(t *testing.T) {
	if !trace.Enabled {
		t.Skip("built without probes")
	}
	slow := trace.NewSlowLog(trace.SlowOptions{Node: "n1"})
	w := newWorld(t, func(o *Options) { o.Slow, o.Clock = slow, hlc.New() })
	p := w.dial()
	p.must(mcbp.Frame{Opcode: mcbp.OpHello, Key: []byte(`{"a":"test/1","i":"66388CF5BFCF7522/18CC8791579B567C"}`)})
	p.login("app", "default")
	p.must(storeFrame(mcbp.OpSet, 3, "fast", "value"))
	if n := len(slow.List(trace.SlowFilter{Bucket: "default", Op: trace.OpSet}, nil)); n != 0 {
		t.Fatalf("%d operations are slow that took no time", n)
	}
	slow.SetThresholds(0, map[trace.Op]time.Duration{trace.OpSet: time.Nanosecond})
	set := storeFrame(mcbp.OpSet, 3, "slow", "value")
	set.Opaque = 0x23
	p.must(set)
	got := slow.List(trace.SlowFilter{Op: trace.OpSet}, nil)
	if len(got) == 0 {
		t.Fatal("nothing was slow")
	}
	if n := len(slow.List(trace.SlowFilter{Op: trace.OpNoop}, nil)); n != 0 {
		t.Fatalf("%d slow no-ops", n)
	}
	slow.SetThresholds(0, map[trace.Op]time.Duration{trace.OpNoop: time.Nanosecond})
	p.must(mcbp.Frame{Opcode: mcbp.OpNoop})
	if noop := slow.List(trace.SlowFilter{Op: trace.OpNoop}, nil); len(noop) != 1 || noop[0].Key != "" {
		t.Errorf("an operation without a document: %+v", noop)
	}
	l := got[0]
	sum := int64(0)
	for _, us := range l.StagesUs {
		sum += us
	}
	if l.Key != "slow" || l.Bucket != "default" || l.VB != 3 || l.OperationID != "0x23" || l.Status != "ok" ||
		l.LocalID != "66388CF5BFCF7522/18CC8791579B567C" || !strings.HasPrefix(l.OpID, "n1-") || l.DurUs-sum > 3 || l.DurUs < sum {
		t.Errorf("%+v", l)
	}
}
