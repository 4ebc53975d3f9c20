package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

func slowClock(ns int64) (c Clock) {
	c.Start(0)
	c.Mark(StageQueue, ns/10)
	c.Mark(StageLock, ns)
	return c
}

type fakeTime struct{ now time.Time }

func (f *fakeTime) Now() time.Time { return f.now }

// A line has the documented fields, and keys are hidden in the log but not from who may see them.
func TestSlowLine(t *testing.T) {
	if !Enabled {
		t.Skip("the log of slow operations is compiled out")
	}
	at := &fakeTime{time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
	var out bytes.Buffer
	var counted []Op
	l := NewSlowLog(SlowOptions{
		Node: "n2", Logger: slog.New(slog.NewJSONHandler(&out, nil)), Now: at.Now, Redactor: RedactorWith([32]byte{1}),
		Hints:   func(_, _ time.Time) []string { return []string{"compact"} },
		Counted: func(op Op) { counted = append(counted, op) },
	})
	key := []byte("customer-4711")
	l.Add(SlowOp{
		Op: OpSet, Status: "ok", Bucket: "default", VB: 417, Key: KeyOf(key), Clock: slowClock(600_000_000), Level: "majority_and_persist",
		BytesIn: 1024, BytesOut: 24, Batch: 3, Conn: 991, Client: "10.0.0.7", LocalID: "66388CF5BFCF7522/18CC8791579B567C",
		Opaque: 0x23, Victims: 2, Send: 3 * time.Microsecond,
	})
	copy(key, "overwritten!!")
	var line struct {
		Msg  string
		Slow map[string]any
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, out.Bytes())
	}
	hash := RedactorWith([32]byte{1}).Key(KeyOf([]byte("customer-4711")))
	want := fmt.Sprintf(`map[batch:3 bucket:default bytes_in:1024 bytes_out:24 client:10.0.0.7 conn:991 dur_us:600000 during:[compact] `+
		`key:%s level:majority_and_persist local_id:66388CF5BFCF7522/18CC8791579B567C node:n2 op:set operation_id:0x23 opid:n2-1 `+
		`send_us:3 stages_us:map[exec:0 lock:540000 queue:60000 recv:0] status:ok suppressed:0 time:2026-03-04T05:06:07Z `+
		`trace_id:<nil> vb:417 victims:2]`, hash)
	if got := fmt.Sprint(line.Slow); got != want {
		t.Errorf("line\n%s\nwant\n%s", got, want)
	}
	if strings.Contains(out.String(), "4711") || len(hash) != 9 || hash[0] != '#' {
		t.Errorf("the key shows, or its hash is odd (%s): %s", hash, out.String())
	}
	if got := l.List(SlowFilter{}, nil); len(got) != 1 || got[0].Key != "customer-4711" || got[0].Client != "10.0.0.7" {
		t.Errorf("for who may see it: %+v", got)
	}
	if got := l.List(SlowFilter{}, NewRedactor()); got[0].Key[0] != '#' || got[0].Client[0] != '#' || got[0].Key == hash {
		t.Errorf("for others, with another salt: %+v", got)
	}
	if !slices.Equal(counted, []Op{OpSet}) {
		t.Errorf("counted %v", counted)
	}
}

// Ten lines a second, a hundred at once; the rest is counted in the next line. The ring has the newest thousand.
func TestSlowLimits(t *testing.T) {
	if !Enabled {
		t.Skip("the log of slow operations is compiled out")
	}
	at := &fakeTime{time.Unix(1000, 0)}
	var out bytes.Buffer
	l := NewSlowLog(SlowOptions{Node: "n", Logger: slog.New(slog.NewJSONHandler(&out, nil)), Now: at.Now})
	lines := func() int {
		n := strings.Count(out.String(), "\n")
		return n
	}
	for range 150 {
		l.Add(SlowOp{Op: OpGet})
	}
	if lines() != 100 {
		t.Errorf("%d lines of a burst, want 100", lines())
	}
	out.Reset()
	at.now = at.now.Add(time.Second)
	for range 20 {
		l.Add(SlowOp{Op: OpGet})
	}
	if lines() != 10 || !strings.Contains(out.String(), `"suppressed":50`) {
		t.Errorf("%d lines a second later, want 10 and the first with 50 suppressed:\n%s", lines(), out.String())
	}
	for i := range 1500 {
		l.Add(SlowOp{Op: OpGet, Opaque: uint32(i)})
	}
	got := l.List(SlowFilter{}, nil)
	if len(got) != slowKept || got[0].OperationID != "0x1f4" || got[slowKept-1].OperationID != "0x5db" {
		t.Errorf("%d kept, %s to %s, want 1000, 0x1f4 to 0x5db", len(got), got[0].OperationID, got[len(got)-1].OperationID)
	}
}

func TestSlowFilter(t *testing.T) {
	if !Enabled {
		t.Skip("the log of slow operations is compiled out")
	}
	at := &fakeTime{time.Unix(1000, 0)}
	l := NewSlowLog(SlowOptions{Now: at.Now})
	for i, op := range []Op{OpGet, OpSet, OpGet, OpDelete} {
		at.now = at.now.Add(time.Second)
		l.Add(SlowOp{Op: op, Bucket: []string{"a", "b"}[i%2], Opaque: uint32(i)})
	}
	f := func(filter SlowFilter, want ...string) {
		t.Helper()
		var got []string
		for _, line := range l.List(filter, nil) {
			got = append(got, line.OperationID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", filter, got, want)
		}
	}
	f(SlowFilter{}, "0x0", "0x1", "0x2", "0x3")
	f(SlowFilter{Op: OpGet}, "0x0", "0x2")
	f(SlowFilter{Bucket: "b"}, "0x1", "0x3")
	f(SlowFilter{Since: time.Unix(1002, 0)}, "0x2", "0x3")
	f(SlowFilter{Limit: 1}, "0x3")
	f(SlowFilter{Allowed: func(b string) bool { return b == "a" }}, "0x0", "0x2")
}

// Thresholds hold per operation, change live, and the hot path's check follows the least of them.
func TestThresholds(t *testing.T) {
	if !Enabled {
		t.Skip("the log of slow operations is compiled out")
	}
	l := NewSlowLog(SlowOptions{})
	f := func(op Op, d time.Duration, want bool) {
		t.Helper()
		if got := l.IsSlow(op, int64(d)); got != want {
			t.Errorf("IsSlow(%v, %v) = %v, want %v", op, d, got, want)
		}
		if want && !l.Over(int64(d)) {
			t.Errorf("Over(%v) is false, but %v is slow", d, op)
		}
	}
	f(OpGet, 499*time.Millisecond, false)
	f(OpGet, 500*time.Millisecond, true)
	f(OpSelectBucket, 10*time.Millisecond, true)
	f(OpSeqnoPersistence, 30*time.Second, false)
	if l.Over(int64(9 * time.Millisecond)) {
		t.Error("9 ms may be slow, although the least threshold is 10 ms")
	}
	l.SetThresholds(time.Second, map[Op]time.Duration{OpGet: time.Millisecond})
	f(OpGet, time.Millisecond, true)
	f(OpSet, 999*time.Millisecond, false)
	f(OpSet, time.Second, true)
	f(OpSelectBucket, 10*time.Millisecond, true)
	def, by := l.Thresholds()
	if def != time.Second || by[OpGet] != time.Millisecond || by[OpViewQuery] != 2*time.Second {
		t.Errorf("thresholds %v %v", def, by)
	}
	var none *SlowLog
	none.Add(SlowOp{})
	if none.Over(1<<60) || none.IsSlow(OpGet, 1<<60) || none.List(SlowFilter{}, nil) != nil {
		t.Error("nobody's log finds something slow")
	}
}

// Whatever formats a Key by accident shows nothing of it.
func TestKeyIsHidden(t *testing.T) {
	key := KeyOf([]byte("secret"))
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "key", key)
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "key", key)
	for _, verb := range []string{"%v", "%s", "%q", "%x", "%+v", "%#v", "%d"} {
		fmt.Fprintf(&out, verb+" ", key)
		fmt.Fprintf(&out, verb+" ", struct{ K Key }{key})
	}
	b, err := json.Marshal(map[string]any{"k": key, "o": SlowOp{Key: key}})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	for _, bad := range []string{"secret", "115 101", "736563", "c2VjcmV0", "0x73"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("%q shows in %s", bad, out.String())
		}
	}
}
