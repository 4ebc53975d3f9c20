package mcserver

import (
	"bytes"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/sdkconfig"
)

// TestConfigPush: who asked for pushes and has logged in gets each newer configuration once, in the form asked for.
func TestConfigPush(t *testing.T) {
	w := newWorld(t)
	full := w.dial().enter("app", "default", mcbp.FeatureDuplex, mcbp.FeatureConfigPush, mcbp.FeatureJSON)
	brief := w.dial().enter("app", "default", mcbp.FeatureDuplex, mcbp.FeatureConfigPushBrief)
	global := w.dial().enter("app", "", mcbp.FeatureDuplex, mcbp.FeatureConfigPush)
	silent := w.dial().enter("app", "default", mcbp.FeatureJSON)
	stranger := w.dial().enter("", "", mcbp.FeatureDuplex, mcbp.FeatureConfigPush)
	w.assign.Rev = 7
	w.assign.ClusterName = "renamed"
	w.apply()
	push := func(p *peer) mcbp.Frame {
		t.Helper()
		for {
			f, err := p.next()
			if err != nil || f.Magic != mcbp.MagicServerRequest || f.Opcode != mcbp.OpClusterConfigPush {
				t.Fatalf("no push: %+v, %v", f, err)
			}
			switch v, _ := mcbp.ParseConfigVersion(f.Extras); v {
			case mcbp.ConfigVersion{Epoch: 1, Rev: 7}:
				return f
			case mcbp.ConfigVersion{Epoch: 1, Rev: 1}: // the first publication was still being told
			default:
				t.Fatalf("version %+v", v)
			}
		}
	}
	f := push(full)
	c, err := sdkconfig.Parse(f.Value, "127.0.0.1")
	if err != nil || c.Rev != 7 || c.Name != "default" || string(f.Key) != "default" || f.Datatype != 1 || c.ClusterName != "renamed" {
		t.Errorf("full push: %+v, key %q, %v", c, f.Key, err)
	}
	if f := push(brief); len(f.Value) != 0 || string(f.Key) != "default" {
		t.Errorf("brief push: key %q, value of %d bytes", f.Key, len(f.Value))
	}
	f = push(global)
	if c, err := sdkconfig.Parse(f.Value, "127.0.0.1"); err != nil || c.Name != "" || len(f.Key) != 0 {
		t.Errorf("global push: %+v, key %q, %v", c, f.Key, err)
	}
	answer := mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpClusterConfigPush})
	answer[0] = byte(mcbp.MagicClientResponse)
	brief.write(answer) // is swallowed
	for _, p := range []*peer{full, brief, global, silent, stranger} {
		p.must(mcbp.Frame{Opcode: mcbp.OpNoop})
	}
	if len(silent.pushed)+len(stranger.pushed) > 0 {
		t.Error("a push to somebody who did not ask for it, or who has not logged in")
	}
	for _, p := range []*peer{full, brief, global} {
		for _, f := range p.pushed {
			if v, _ := mcbp.ParseConfigVersion(f.Extras); v.Rev != 1 {
				t.Errorf("revision %d was pushed again", v.Rev)
			}
		}
	}
}

// TestConfigPushKnown: what the client has fetched itself is not pushed to it.
func TestConfigPushKnown(t *testing.T) {
	w := newWorld(t)
	p := w.dial().enter("app", "default", mcbp.FeatureDuplex, mcbp.FeatureConfigPushBrief, mcbp.FeatureKnownConfig)
	p.must(mcbp.Frame{Opcode: mcbp.OpGetClusterConfig})
	for _, c := range w.server.connections() {
		c.nudge()
	}
	f := p.must(mcbp.Frame{Opcode: mcbp.OpGetClusterConfig, Extras: mcbp.ConfigVersion{Epoch: 1, Rev: 1}.Append(nil)})
	if len(f.Value) != 0 || f.Datatype != 0 {
		t.Errorf("the known version was sent again: %d bytes", len(f.Value))
	}
	f = p.must(mcbp.Frame{Opcode: mcbp.OpGetClusterConfig, Extras: mcbp.ConfigVersion{Epoch: 0, Rev: 99}.Append(nil)})
	if len(f.Value) == 0 {
		t.Error("a higher revision of a lower epoch counts as newer")
	}
	if got := p.call(mcbp.Frame{Opcode: mcbp.OpGetClusterConfig, Extras: mcbp.ConfigVersion{Epoch: 1}.Append(nil)}).Status(); got != mcbp.StatusInvalid {
		t.Errorf("revision 0: %s", got.String())
	}
}

// TestSlowReader: a client that reads nothing holds up neither the pushes to others nor their requests.
func TestSlowReader(t *testing.T) {
	w := newWorld(t)
	slow := w.dial().enter("app", "default", mcbp.FeatureDuplex, mcbp.FeatureConfigPush)
	slow.must(storeFrame(mcbp.OpSet, 1, "big", strings.Repeat("x", 1<<20)))
	get := mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpGet, VB: 1, Key: []byte("big")})
	slow.write(bytes.Repeat(get, 20)) // 20 MiB of replies, of which only one is read for now
	if f, err := slow.next(); err != nil || f.Status() != mcbp.StatusSuccess {
		t.Fatal(err)
	}
	quick := w.dial().enter("app", "default", mcbp.FeatureDuplex, mcbp.FeatureConfigPushBrief)
	for rev := int64(2); rev < 6; rev++ {
		w.assign.Rev = rev
		w.apply()
		for pushed := int64(0); pushed < rev; {
			f, err := quick.next()
			if err != nil || f.Magic != mcbp.MagicServerRequest {
				t.Fatalf("push of revision %d: %+v, %v", rev, f, err)
			}
			v, _ := mcbp.ParseConfigVersion(f.Extras)
			pushed = v.Rev
		}
	}
	gets, pushes := 1, 0
	for gets < 20 || pushes == 0 {
		f, err := slow.next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Magic == mcbp.MagicServerRequest {
			pushes++
			if v, _ := mcbp.ParseConfigVersion(f.Extras); v.Rev != 5 {
				t.Errorf("pushed revision %d; the ones between should have been left out", v.Rev)
			}
			continue
		}
		gets++
	}
	if pushes != 1 {
		t.Errorf("%d pushes, want one", pushes)
	}
}

// TestNotMyVBucket: 07 brings the configuration, and only once to a client that compares.
func TestNotMyVBucket(t *testing.T) {
	w := newWorld(t)
	for _, dedupe := range []bool{false, true} {
		features := []mcbp.Feature{mcbp.FeatureXError, mcbp.FeatureJSON}
		if dedupe {
			features = append(features, mcbp.FeatureDedupeConfig)
		}
		p := w.dial().enter("app", "default", features...)
		for round := range 3 {
			for _, vb := range []uint16{testVBuckets - 1, testVBuckets, 0xffff} {
				f := p.call(mcbp.Frame{Opcode: mcbp.OpGet, VB: vb, Key: []byte("k")})
				first := round == 0 && vb == testVBuckets-1
				if f.Status() != mcbp.StatusNotMyVBucket || (len(f.Value) > 0) != (first || !dedupe) {
					t.Fatalf("dedupe %v, round %d, vBucket %d: %s, %d bytes", dedupe, round, vb, f.Status().String(), len(f.Value))
				}
				if len(f.Value) > 0 {
					if c, err := sdkconfig.Parse(f.Value, "h"); err != nil || c.Name != "default" || f.Datatype != 1 {
						t.Errorf("body: %v, datatype %d", err, f.Datatype)
					}
				}
			}
		}
		p.must(mcbp.Frame{Opcode: mcbp.OpSelectBucket, Key: []byte("default")}) // forgets what was told
		if f := p.call(mcbp.Frame{Opcode: mcbp.OpGet, VB: testVBuckets, Key: []byte("k")}); len(f.Value) == 0 {
			t.Error("no configuration after the bucket was selected again")
		}
		if f := p.call(mcbp.Frame{Opcode: mcbp.OpGetReplica, VB: 1, Key: []byte("k")}); f.Status() != mcbp.StatusNotMyVBucket {
			t.Errorf("GET_REPLICA without replicas: %s", f.Status().String())
		}
	}
}

// TestPushOverTLS: a reader that is woken for a push goes on with its TLS connection, and a handshake that is under way is
// not disturbed.
func TestPushOverTLS(t *testing.T) {
	w, trust := tlsWorld(t)
	late := w.dialTLS(trust) // has not begun its handshake
	p := w.dialTLS(trust).enter("app", "default", mcbp.FeatureDuplex, mcbp.FeatureConfigPush)
	for rev := int64(2); rev < 5; rev++ {
		w.assign.Rev = rev
		w.apply()
		for pushed := int64(0); pushed < rev; {
			f, err := p.next()
			if err != nil || f.Magic != mcbp.MagicServerRequest {
				t.Fatalf("push of revision %d: %+v, %v", rev, f, err)
			}
			v, _ := mcbp.ParseConfigVersion(f.Extras)
			pushed = v.Rev
		}
		p.must(storeFrame(mcbp.OpSet, 1, "k", "v"))
	}
	late.must(mcbp.Frame{Opcode: mcbp.OpNoop})
}
