package trace

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A record reaches the sinks of its own node only, with every kind of field, and none after cancel.
func TestFire(t *testing.T) {
	if !Enabled {
		t.Skip("probes are compiled out")
	}
	one, two := NewNode(), NewNode()
	var got []string
	cancel := one.Subscribe(func(r *Record) {
		got = append(got, fmt.Sprintf("%s op=%s status=%s bucket=%s vb=%s conn=%s dur=%v key=%s client=%s", r.Probe, r.Text("op", nil),
			r.Text("status", nil), r.Text("bucket", nil), r.Text("vb", nil), r.Text("conn", nil), r.Duration("dur"), r.Text("key", nil),
			r.Text("client", nil)))
	}, OpDone, ConnOpen)
	if !OpDone.On() || !ConnOpen.On() || FsyncDone.On() {
		t.Error("the gates do not say what is subscribed")
	}
	fire := func(n *Node) {
		OpDone.Fire(n.Shard(3), OpDoneFields{
			Op: OpSet, Status: StatusOK, Bucket: n.Intern("shop"), VB: 417, Conn: 255, Dur: time.Millisecond,
			Key: KeyOf([]byte("k")), Client: n.Intern("10.0.0.7"),
		})
	}
	fire(two)
	fire(one)
	ConnOpen.Fire(one.Shard(1), 7, 0, PortKV, true)
	want := []string{
		"op-done op=set status=ok bucket=shop vb=417 conn=ff dur=1ms key=k client=10.0.0.7",
		"conn-open op= status= bucket= vb= conn=7 dur=0s key= client=",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("records:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	cancel()
	cancel()
	fire(one)
	if len(got) != 2 || OpDone.On() || ConnOpen.On() {
		t.Errorf("after cancel: %d records, gates %v %v", len(got), OpDone.On(), ConnOpen.On())
	}
	OpDone.Fire((*Node)(nil).Shard(1), OpDoneFields{}) // nobody's
}

// Sinks come and go independently of each other, also twice for the same probe.
func TestSubscriptions(t *testing.T) {
	if !Enabled {
		t.Skip("probes are compiled out")
	}
	n := NewNode()
	var a, b int
	cancelA := n.Subscribe(func(*Record) { a++ }, FsyncDone, FsyncDone)
	cancelB := n.Subscribe(func(*Record) { b++ }, FsyncDone)
	fire := func() { FsyncDone.Fire(n.Shard(0), FileWAL, time.Second, StatusOK) }
	fire()
	cancelA()
	fire()
	cancelB()
	fire()
	if a != 2 || b != 2 || FsyncDone.On() {
		t.Errorf("a %d (want 2: it subscribed twice), b %d (want 2), on %v", a, b, FsyncDone.On())
	}
}

// Firing allocates nothing, whether anybody listens or not, also with a key.
func TestFireAllocatesNothing(t *testing.T) {
	n := NewNode()
	sh, key := n.Shard(1), []byte("some key")
	var sum int64
	fire := func() {
		if OpDone.On() {
			OpDone.Fire(sh, OpDoneFields{Op: OpGet, Dur: time.Microsecond, Key: KeyOf(key), VB: 3})
		}
	}
	if n := testing.AllocsPerRun(1000, fire); n != 0 {
		t.Errorf("a probe that is off allocates %v", n)
	}
	cancel := n.Subscribe(func(r *Record) { sum += r.Value("dur") + int64(r.Key.Len()) }, OpDone)
	defer cancel()
	if n := testing.AllocsPerRun(1000, fire); n != 0 {
		t.Errorf("a probe that is on allocates %v", n)
	}
	if Enabled && sum == 0 {
		t.Error("nothing has fired")
	}
}

// What is fired while subscriptions change is seen whole; counts are exact once everything is quiet.
func TestConcurrentFires(t *testing.T) {
	if !Enabled {
		t.Skip("probes are compiled out")
	}
	n := NewNode()
	var mu sync.Mutex
	seen := 0
	cancel := n.Subscribe(func(r *Record) {
		if r.Value("bytes") != r.Value("dur") {
			t.Errorf("a record of two fires: %d, %d", r.Value("bytes"), r.Value("dur"))
		}
		mu.Lock()
		seen++
		mu.Unlock()
	}, WriteDone)
	defer cancel()
	var wait sync.WaitGroup
	const workers, fires = 8, 2000
	for w := range workers {
		wait.Go(func() {
			sh := n.Shard(uint64(w % 3)) // workers share shards
			for i := range fires {
				WriteDone.Fire(sh, FileWAL, int64(i), time.Duration(i))
			}
		})
	}
	wait.Go(func() {
		for range 200 {
			n.Subscribe(func(*Record) {}, WriteDone)()
		}
	})
	wait.Wait()
	if seen != workers*fires {
		t.Errorf("%d records, want %d", seen, workers*fires)
	}
}

// The table of texts is bounded; what it has no room for is told apart from nothing.
func TestIntern(t *testing.T) {
	n := NewNode()
	first := n.Intern("shop")
	for i := range 2 * maxTexts {
		n.Intern(fmt.Sprint("client", i))
	}
	f := func(s, want string) {
		t.Helper()
		if got := n.TextOf(n.Intern(s)); got != want {
			t.Errorf("%q is known as %q, want %q", s, got, want)
		}
	}
	f("shop", "shop")
	f("", "")
	f("client1", "client1")
	f("too late", otherText)
	if n.Intern("shop") != first {
		t.Error("a text has two numbers")
	}
}

// A probe that is off costs a load and a branch only if On is inlined: the compiler says so.
func TestOnIsInlined(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the package")
	}
	out, err := exec.Command("go", "build", "-gcflags=-m", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	said := string(out)
	for i := range probes {
		if want := fmt.Sprintf("can inline %sProbe.On\n", goName(probes[i].Name)); !strings.Contains(said, want) {
			t.Errorf("the compiler does not say %q", strings.TrimSpace(want))
		}
	}
	if !strings.Contains(said, "inlining call to OpDoneProbe.On") {
		t.Error("OpByOp does not inline OpDone.On")
	}
}

func BenchmarkOff16(b *testing.B) {
	n := 0
	for range b.N {
		for range 16 {
			if FsyncDone.On() {
				n++
			}
		}
	}
	if n > 0 {
		b.Fatal("the probe is on")
	}
}

func BenchmarkFire(b *testing.B) {
	node := NewNode()
	sh := node.Shard(1)
	var sum int64
	defer node.Subscribe(func(r *Record) { sum += r.Values[10] }, OpDone)()
	b.ReportAllocs()
	for range b.N {
		OpDone.Fire(sh, OpDoneFields{Op: OpGet, Dur: time.Microsecond})
	}
}
