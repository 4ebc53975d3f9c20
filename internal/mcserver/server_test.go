package mcserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/xdg-go/scram"
)

// TestPipelinedBootstrap sends what gocbcore sends, in the bursts in which it sends it: SELECT_BUCKET and GET_CLUSTER_CONFIG
// leave before the client has seen the answer to its last SASL step.
func TestPipelinedBootstrap(t *testing.T) {
	w := newWorld(t)
	p := w.dial()
	client, err := scram.SHA512.NewClient("app", "app", "")
	if err != nil {
		t.Fatal(err)
	}
	talk := client.NewConversation()
	first, _ := talk.Step("")
	out := mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpHello, Opaque: 1, Value: mcbp.AppendFeatures(nil,
		0x02, 0x06, 0x08, 0x1e, 0x1d, 0x0c, 0x07, 0x0b, 0x04, 0x0a, 0x13, 0x0f, 0x12, 0x0e, 0x1f, 0x10, 0x17, 0x19, 0x14, 0x1c, 0x11)})
	out = mcbp.AppendRequest(out, &mcbp.Frame{Opcode: mcbp.OpGetErrorMap, Opaque: 2, Value: []byte{0, 2}})
	out = mcbp.AppendRequest(out, &mcbp.Frame{Opcode: mcbp.OpSASLListMechs, Opaque: 3})
	out = mcbp.AppendRequest(out, &mcbp.Frame{Opcode: mcbp.OpSASLAuth, Opaque: 4, Key: []byte(mcbp.MechSCRAMSHA512), Value: []byte(first)})
	p.write(out)
	var replies []mcbp.Frame
	for i := range 4 {
		f, err := p.next()
		if err != nil || f.Opaque != uint32(i+1) {
			t.Fatalf("reply %d: %+v, %v", i, f, err)
		}
		replies = append(replies, f)
	}
	if replies[3].Status() != mcbp.StatusAuthContinue {
		t.Fatalf("SASL_AUTH: %s", replies[3].Status().String())
	}
	final, err := talk.Step(string(replies[3].Value))
	if err != nil {
		t.Fatal(err)
	}
	out = mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpSASLStep, Key: []byte(mcbp.MechSCRAMSHA512), Value: []byte(final)})
	out = mcbp.AppendRequest(out, &mcbp.Frame{Opcode: mcbp.OpSelectBucket, Key: []byte("default")})
	out = mcbp.AppendRequest(out, &mcbp.Frame{Opcode: mcbp.OpGetClusterConfig})
	p.write(out)
	for _, op := range []mcbp.Opcode{mcbp.OpSASLStep, mcbp.OpSelectBucket, mcbp.OpGetClusterConfig} {
		f, err := p.next()
		if err != nil || f.Opcode != op || f.Status() != mcbp.StatusSuccess {
			t.Fatalf("%v: %+v, %v", op, f, err)
		}
		switch op {
		case mcbp.OpSASLStep:
			if _, err := talk.Step(string(f.Value)); err != nil || !talk.Valid() {
				t.Errorf("the server's signature: %v", err)
			}
		case mcbp.OpGetClusterConfig:
			if f.Datatype != mcbp.DatatypeJSON|mcbp.DatatypeSnappy {
				t.Errorf("datatype %d, want compressed JSON, as feature 13 was accepted", f.Datatype)
			}
		}
	}
}

// tlsWorld is a world with a TLS port, and what its clients need to trust it.
func tlsWorld(t *testing.T) (*world, *tls.Config) {
	t.Helper()
	keys, err := auth.LoadOrCreateTLS(auth.TLSOptions{Dir: t.TempDir(), Hosts: []string{"127.0.0.1"}})
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(keys.CAPath())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	w := newWorld(t, func(o *Options) { o.TLSAddr, o.TLSConfig = "127.0.0.1:0", keys.Config() })
	return w, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
}

// TestMechanisms logs in with each mechanism on plain and TLS connections, and fails to with a wrong password.
func TestMechanisms(t *testing.T) {
	w, trust := tlsWorld(t)
	for transport, dial := range map[string]func() *peer{
		"plain": w.dial,
		"TLS":   func() *peer { return w.dialTLS(trust) },
	} {
		for mech, hash := range map[string]scram.HashGeneratorFcn{
			mcbp.MechSCRAMSHA1: scram.SHA1, mcbp.MechSCRAMSHA256: scram.SHA256, mcbp.MechSCRAMSHA512: scram.SHA512, mcbp.MechPlain: nil,
		} {
			for _, password := range []string{"app", "wrong"} {
				want := mcbp.StatusSuccess
				if password == "wrong" {
					want = mcbp.StatusAuthError
				}
				p := dial()
				if got := login(t, p, mech, hash, "app", password); got != want {
					t.Errorf("%s over %s with password %s: %s, want %s", mech, transport, password, got.String(), want.String())
				}
				got := p.call(mcbp.Frame{Opcode: mcbp.OpSelectBucket, Key: []byte("default")}).Status()
				if (got == mcbp.StatusSuccess) != (want == mcbp.StatusSuccess) {
					t.Errorf("SELECT_BUCKET afterwards: %s", got.String())
				}
			}
		}
	}
}

func login(t *testing.T, p *peer, mech string, hash scram.HashGeneratorFcn, user, password string) mcbp.Status {
	t.Helper()
	if hash == nil {
		return p.call(mcbp.Frame{Opcode: mcbp.OpSASLAuth, Key: []byte(mech), Value: []byte("\x00" + user + "\x00" + password)}).Status()
	}
	client, err := hash.NewClient(user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	talk := client.NewConversation()
	first, _ := talk.Step("")
	got := p.call(mcbp.Frame{Opcode: mcbp.OpSASLAuth, Key: []byte(mech), Value: []byte(first)})
	if got.Status() != mcbp.StatusAuthContinue {
		return got.Status()
	}
	final, err := talk.Step(string(got.Value))
	if err != nil {
		t.Fatal(err)
	}
	return p.call(mcbp.Frame{Opcode: mcbp.OpSASLStep, Key: []byte(mech), Value: []byte(final)}).Status()
}

// TestPlainTLSOnly: the operator's choice withdraws PLAIN from the list, and using it is 20.
func TestPlainTLSOnly(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.PlainTLSOnly = true })
	p := w.dial()
	if got := string(p.must(mcbp.Frame{Opcode: mcbp.OpSASLListMechs}).Value); strings.Contains(got, "PLAIN") {
		t.Errorf("offered: %s", got)
	}
	if got := login(t, p, mcbp.MechPlain, nil, "app", "app"); got != mcbp.StatusAuthError {
		t.Errorf("PLAIN: %s", got.String())
	}
}

// TestRightsChange: a change of users counts from the next command on, without a new connection.
func TestRightsChange(t *testing.T) {
	w := newWorld(t)
	p := w.dial().enter("writer", "default", mcbp.FeatureXError)
	set := storeFrame(mcbp.OpSet, 1, "k", "v")
	p.must(set)
	get := mcbp.Frame{Opcode: mcbp.OpGet, VB: 1, Key: []byte("k")}
	if got := p.call(get).Status(); got != mcbp.StatusAccess {
		t.Errorf("GET by a writer: %s", got.String())
	}
	users := testUsers(t)
	for i := range users {
		if users[i].ID == "writer" {
			users[i].Roles = []spec.Role{{Name: "data_reader", Bucket: "default"}}
		}
	}
	w.auth.Replace(users, nil)
	p.must(get)
	if got := p.call(set).Status(); got != mcbp.StatusAccess {
		t.Errorf("SET by a reader: %s", got.String())
	}
	w.auth.Replace(nil, nil)
	if got := p.call(get).Status(); got != mcbp.StatusAccess {
		t.Errorf("GET by a deleted user: %s", got.String())
	}
	if got := p.call(mcbp.Frame{Opcode: mcbp.OpGetClusterConfig}).Status(); got != mcbp.StatusAccess {
		t.Errorf("GET_CLUSTER_CONFIG by a deleted user: %s", got.String())
	}
	p.must(mcbp.Frame{Opcode: mcbp.OpNoop})
}

// TestImpersonate: only the node's own client may act for others, and then has exactly their rights.
func TestImpersonate(t *testing.T) {
	w := newWorld(t)
	set := storeFrame(mcbp.OpSet, 1, "k", "v")
	as := func(f mcbp.Frame, user string) mcbp.Frame {
		infos := mcbp.RequestInfos{Impersonate: []byte(user)}
		f.FrameExtras = infos.AppendInfos(nil)
		return f
	}
	if got := w.dial().enter("admin", "default", usual()...).call(as(mcbp.Frame{Opcode: mcbp.OpGet, Key: []byte("\x00k")}, "app")).Status(); got != mcbp.StatusAccess {
		t.Errorf("an administrator acts for somebody else: %s", got.String())
	}
	user, password := w.auth.Internal()
	p := w.dial()
	if got := login(t, p, mcbp.MechSCRAMSHA256, scram.SHA256, user, password); got != mcbp.StatusSuccess {
		t.Fatalf("the node's own login: %s", got.String())
	}
	p.must(mcbp.Frame{Opcode: mcbp.OpSelectBucket, Key: []byte("default")})
	for who, want := range map[string]mcbp.Status{
		"writer": mcbp.StatusSuccess, "reader": mcbp.StatusAccess, "app": mcbp.StatusSuccess, "ghost": mcbp.StatusAccess,
		"^writer": mcbp.StatusAccess, "nobody": mcbp.StatusUnknownCollection, "admin": mcbp.StatusSuccess,
	} {
		got := p.call(as(set, who)).Status()
		if want == mcbp.StatusUnknownCollection && got == mcbp.StatusInvalid {
			got = want // without collections on the connection
		}
		if got != want {
			t.Errorf("SET as %s: %s, want %s", who, got.String(), want.String())
		}
	}
	p.must(set)
}

// TestBucketDropped: a connection of a dropped bucket ends, idle or not, also when there is a new bucket of that name.
func TestBucketDropped(t *testing.T) {
	w := newWorld(t)
	idle := w.dial().enter("app", "default", mcbp.FeatureXError)
	bystander := w.dial().enter("app", "other", mcbp.FeatureXError)
	w.assign.Rev++
	w.assign.Buckets = w.assign.Buckets[1:]
	w.apply()
	idle.closed()
	if got := w.dial().enter("app", "").call(mcbp.Frame{Opcode: mcbp.OpSelectBucket, Key: []byte("default")}).Status(); got != mcbp.StatusAccess {
		t.Errorf("SELECT_BUCKET of the dropped one: %s", got.String())
	}
	bystander.must(mcbp.Frame{Opcode: mcbp.OpNoop})
	again := testBucket("default")
	again.Spec.UUID = "another"
	w.assign.Rev++
	w.assign.Buckets = append(w.assign.Buckets, again)
	w.apply()
	w.dial().enter("app", "default").must(storeFrame(mcbp.OpSet, 1, "k", "v"))
	bystander.must(storeFrame(mcbp.OpSet, 1, "k", "v"))
}

// TestTooManyConnections: the one above the limit is told so and closed; when another ends there is room again.
func TestTooManyConnections(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.MaxConnections = 2 })
	one, two := w.dial(), w.dial()
	one.must(mcbp.Frame{Opcode: mcbp.OpNoop})
	two.must(mcbp.Frame{Opcode: mcbp.OpNoop})
	three := w.dial()
	if f, err := three.next(); err != nil || f.Status() != mcbp.StatusTooManyConnections {
		t.Errorf("the third connection: %+v, %v", f, err)
	}
	three.closed()
	if got := w.server.numbers.rejected.Value(); got != 1 {
		t.Errorf("%d rejected, want 1", got)
	}
	one.must(mcbp.Frame{Opcode: mcbp.OpQuit})
	for end := time.Now().Add(20 * time.Second); ; { // the server gives the place back when it has closed its side
		four := w.dial()
		_, _ = four.conn.Write(mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpNoop})) // it may have been closed already
		f, err := four.next()
		if err == nil && f.Status() == mcbp.StatusSuccess {
			break
		}
		if f.Status() != mcbp.StatusTooManyConnections || time.Now().After(end) {
			t.Fatalf("no place became free: %+v, %v", f, err)
		}
		four.closed()
	}
}

// TestStop: the server finishes what it is doing, closes connections and takes no new ones.
func TestStop(t *testing.T) {
	w := newWorld(t)
	p := w.dial().enter("app", "default")
	p.must(storeFrame(mcbp.OpSet, 1, "k", "v"))
	w.stop()
	p.closed()
	if c, err := w.net.Dial(t.Context(), w.server.Addr().String()); err == nil {
		c.Close()
		t.Error("the port still answers")
	}
	if n := len(w.server.connections()); n != 0 {
		t.Errorf("%d connections left", n)
	}
}

// TestTimeouts runs under a fake clock: strangers are closed after five minutes, users never, and a stop waits three
// seconds for a client that does not read.
func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		user := w.dial().enter("app", "default")
		stranger := w.dial()
		started := time.Now()
		if _, err := stranger.conn.Read(make([]byte, 1)); err != io.EOF { //nolint:errorlint // the very value
			t.Errorf("stranger: %v", err)
		}
		if took := time.Since(started); took != idleUnauthenticated {
			t.Errorf("closed after %v, want %v", took, idleUnauthenticated)
		}
		user.must(storeFrame(mcbp.OpSet, 1, "big", strings.Repeat("x", 1<<20)))
		get := mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpGet, VB: 1, Key: []byte("big")})
		user.write(bytes.Repeat(get, 20))
		synctest.Wait()
		started = time.Now()
		w.stop()
		if took := time.Since(started); took != stopGrace {
			t.Errorf("stop took %v, want %v", took, stopGrace)
		}
	})
}

// TestConcurrentClients lets many clients work and come and go while configurations change; it is there for the race
// detector.
func TestConcurrentClients(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for i := range 8 {
		group.Go(func() {
			for n := 0; ctx.Err() == nil && n < 50; n++ {
				p := w.dial().enter("app", "default", mcbp.FeatureDuplex, mcbp.FeatureConfigPushBrief)
				key := string(rune('a' + i))
				for range 10 {
					p.write(mcbp.AppendRequest(nil, new(storeFrame(mcbp.OpSet, 1, key, "v"))))
				}
				for replies := 0; replies < 10; {
					f, err := p.next()
					if err != nil {
						t.Error(err)
						return
					}
					if f.Magic != mcbp.MagicServerRequest {
						replies++
					}
				}
				p.conn.Close()
			}
		})
	}
	for rev := int64(2); rev < 20; rev++ {
		w.assign.Rev = rev
		w.apply()
	}
	cancel()
	group.Wait()
}

// TestLargeFrame: a value above the bucket's limit is received, refused and forgotten; the connection goes on.
func TestLargeFrame(t *testing.T) {
	w := newWorld(t)
	p := w.dial().enter("app", "default", mcbp.FeatureXError)
	if got := p.call(storeFrame(mcbp.OpSet, 1, "k", strings.Repeat("v", 20<<20+1))).Status(); got != mcbp.StatusTooBig {
		t.Errorf("20 MiB and one byte: %s", got.String())
	}
	p.must(storeFrame(mcbp.OpSet, 1, "k", strings.Repeat("v", 1<<20)))
	if got := p.must(mcbp.Frame{Opcode: mcbp.OpGet, VB: 1, Key: []byte("k")}); len(got.Value) != 1<<20 {
		t.Errorf("%d bytes came back", len(got.Value))
	}
}
