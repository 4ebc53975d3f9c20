package mcserver

import (
	"context"
	"sync"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/sdkconfig"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// publication is what clients are told of the cluster at one revision. It is immutable; its texts are made when the first
// client wants them and then kept, so that one revision has exactly one content.
type publication struct {
	assignment *vbucket.Assignment
	version    mcbp.ConfigVersion
	global     *configText
	buckets    map[string]bucketText
}

type bucketText struct {
	uuid string // of the bucket: another one of the same name has another
	text *configText
}

// configText is one configuration document in the forms in which it is sent.
type configText struct{ bytes func() configBytes }

type configBytes struct{ plain, deflated []byte }

func newConfigText(build func(dst []byte) []byte) *configText {
	return &configText{sync.OnceValue(func() configBytes {
		plain := build(nil)
		return configBytes{plain, value.Deflate(nil, plain)}
	})}
}

func newPublication(a *vbucket.Assignment) *publication {
	p := &publication{
		assignment: a,
		version:    mcbp.ConfigVersion{Epoch: a.RevEpoch, Rev: a.Rev},
		global:     newConfigText(func(dst []byte) []byte { return sdkconfig.AppendGlobal(dst, a) }),
		buckets:    make(map[string]bucketText, len(a.Buckets)),
	}
	for i := range a.Buckets {
		b := &a.Buckets[i]
		p.buckets[b.Spec.Name] = bucketText{
			b.Spec.UUID, newConfigText(func(dst []byte) []byte { return sdkconfig.AppendBucket(dst, a, b) }),
		}
	}
	return p
}

// find gives the configuration for a connection that has b selected (nil: none). It is nil if b is not of this publication.
func (p *publication) find(b *data.Bucket) *configText {
	if b == nil {
		return p.global
	}
	if t, ok := p.buckets[b.Name()]; ok && t.uuid == b.UUID() {
		return t.text
	}
	return nil
}

// publish makes a what clients are told. It is called by the data plane for each newer assignment and does not block.
func (s *Server) publish(a *vbucket.Assignment) {
	p := newPublication(a)
	s.current.Store(p)
	s.numbers.keep(func(bucket string) bool { _, ok := p.buckets[bucket]; return ok })
	select {
	case s.published <- struct{}{}:
	default: // the push loop has not begun with an earlier one; it will find the newest
	}
}

// pushLoop nudges all connections after each publication. It only wakes them: each connection writes for itself, so a slow
// reader delays nobody, and one that was slow finds the newest configuration. The wakes are spread over time, because each
// client answers a brief push with a request.
func (s *Server) pushLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.published:
		}
		const step = 32 // connections between pauses
		for i, c := range s.connections() {
			c.nudge()
			if i%step != step-1 {
				continue
			}
			select {
			case <-time.After(pushSpread * step / 1000):
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// tell records that the client has been given a version.
func (s *session) tell(v mcbp.ConfigVersion) {
	s.told.known = true
	s.told.version = v
}

// push makes the frame of a configuration push. It is nil unless the session wants pushes and has not been given the newest
// version.
func (c *conn) push() []byte {
	s := &c.session
	brief, full := s.features.Has(mcbp.FeatureConfigPushBrief), s.features.Has(mcbp.FeatureConfigPush)
	p := c.server.current.Load()
	if !brief && !full || s.identity == nil || p == nil || s.told.known && !p.version.Newer(s.told.version) {
		return nil
	}
	if s.bucket == nil && !s.access.Has(auth.PoolRead) {
		return nil
	}
	text := p.find(s.bucket)
	if text == nil {
		return nil
	}
	s.tell(p.version)
	f := mcbp.Frame{Opcode: mcbp.OpClusterConfigPush, Extras: p.version.Append(nil), Key: []byte(s.bucketName())}
	if full && !brief {
		f.Value, f.Datatype = text.bytes().plain, mcbp.DatatypeJSON&uint8(s.datatypes)
	}
	return mcbp.AppendServerRequest(nil, &f)
}

// notMyVBucket appends the reply to a request for a vBucket that this node does not serve: the newest configuration, or
// nothing if the client said that it compares and it has that version already.
func (c *conn) notMyVBucket(w *work, q *request) {
	s := &c.session
	at := w.open(s)
	r := reply{status: mcbp.StatusNotMyVBucket}
	p := c.server.current.Load()
	if p != nil && s.bucket != nil {
		text := p.find(s.bucket)
		dedupe := s.features.Has(mcbp.FeatureDedupeConfig) && s.told.known && !p.version.Newer(s.told.version)
		if text != nil && !dedupe {
			body, datatype := text.For(s)
			w.out = append(w.out, body...)
			r.datatype = datatype & s.datatypes
			s.tell(p.version)
		}
	}
	w.seal(s, q, at, r)
}
