package mcserver

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/value"
)

// hello answers HELLO. It resets what an earlier one had settled. Its own reply is a plain one, because the client does not
// know yet whether we trace.
func (c *conn) hello(_ context.Context, w *work, q *request) error {
	s := &c.session
	granted, answer, text := mcbp.Negotiate(nil, q.Value, offered())
	if text != "" {
		return invalid(text)
	}
	s.agent, s.localID = agentName(q.Key), localIDOf(q.Key)
	s.greet(granted)
	c.introduce()
	traces := s.traces
	s.traces = false
	w.value(s, q, 0, answer)
	s.traces = traces
	return nil
}

// agentName keeps of a client's self-description what can be shown: SDKs send JSON with their name under "a".
func agentName(key []byte) string {
	var agent struct {
		A string `json:"a"`
	}
	name := string(key)
	if json.Unmarshal(key, &agent) == nil && agent.A != "" {
		name = agent.A
	}
	return printable(name)
}

// printable keeps what can be shown of a text that a client made up.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r >= ' ' && r < 0x7f && b.Len() < maxAgent {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func (c *conn) errorMap(_ context.Context, w *work, q *request) error {
	switch {
	case q.VB != 0:
		return invalid("Request vBucket must be 0")
	case len(q.Value) != 2:
		return invalid("Request value must be of length 2")
	}
	version := int(binary.BigEndian.Uint16(q.Value))
	if version == 0 {
		return invalid("Error map versions start at 1")
	}
	w.value(&c.session, q, jsonBit, c.server.errorMaps[min(version, mcbp.ErrorMapVersion)])
	return nil
}

// mechanisms lists what is offered on this connection. It must be truthful: clients choose by it, and fall back only from
// what is not on it (wire.md 4.5).
func (c *conn) mechanisms() []string {
	var list []string
	for _, m := range auth.Mechanisms() {
		if m != auth.Plain || c.secure || !c.server.options.PlainTLSOnly {
			list = append(list, string(m))
		}
	}
	return list
}

func (c *conn) listMechanisms(_ context.Context, w *work, q *request) error {
	w.value(&c.session, q, 0, []byte(strings.Join(c.mechanisms(), " ")))
	return nil
}

// saslAuth begins a login and, with PLAIN, ends it.
func (c *conn) saslAuth(ctx context.Context, w *work, q *request) error {
	if len(q.Key) > mcbp.MaxMechanism {
		return invalid("Mechanism name is too long")
	}
	mech := string(q.Key)
	err := c.beginLogin(ctx, w, q, mech)
	if err != nil || c.session.scram == nil {
		c.loginDone(mech, w.begun, err)
	}
	return err
}

func (c *conn) beginLogin(ctx context.Context, w *work, q *request, mech string) error {
	s := &c.session
	s.scram = nil
	c.server.numbers.logins.Add(1)
	if !slices.Contains(c.mechanisms(), mech) {
		return c.loginFailed(mech, auth.ErrMechanism)
	}
	if mech == mcbp.MechPlain {
		id, err := c.server.auth.CheckPlain(ctx, q.Value, c.remote())
		if err != nil {
			return c.loginFailed(mech, err)
		}
		c.login(id)
		w.value(s, q, 0, []byte("Authenticated"))
		return nil
	}
	exchange, err := c.server.auth.NewSCRAM(auth.Mechanism(mech), c.remote())
	if err != nil {
		return c.loginFailed(mech, err)
	}
	s.scram = exchange
	return c.scramStep(w, q)
}

func (c *conn) saslStep(_ context.Context, w *work, q *request) error {
	if len(q.Key) > mcbp.MaxMechanism {
		return invalid("Mechanism name is too long")
	}
	x := c.session.scram
	if x == nil || string(x.Mechanism()) != string(q.Key) {
		c.session.scram = nil
		return c.loginFailed("none", auth.ErrBadCredentials)
	}
	err := c.scramStep(w, q)
	c.loginDone(string(x.Mechanism()), w.begun, err)
	return err
}

// scramStep hands one message of the client to the exchange that is under way.
func (c *conn) scramStep(w *work, q *request) error {
	s := &c.session
	x := s.scram
	answer, done, id, err := x.Step(q.Value)
	if err != nil {
		s.scram = nil
		return c.loginFailed(string(x.Mechanism()), err)
	}
	status := mcbp.StatusAuthContinue
	if done {
		s.scram = nil
		c.login(id)
		status = mcbp.StatusSuccess
	}
	at := w.open(s)
	w.out = append(w.out, answer...)
	w.seal(s, q, at, reply{status: status})
	return nil
}

// loginFailed counts a failed login and gives the error to answer with. Whoever was logged in before stays so: an attempt to
// become somebody else changes nothing.
func (c *conn) loginFailed(mech string, err error) error {
	c.server.numbers.loginFailures(mech).Inc()
	return err
}

func (c *conn) remote() string { return c.net.RemoteAddr().String() }

// selectByName answers SELECT_BUCKET. A bucket that does not exist is answered like one without access (wire.md 4.7).
func (c *conn) selectByName(_ context.Context, w *work, q *request) error {
	name := string(q.Key)
	if name == mcbp.NoBucketName {
		c.selectBucket(nil)
		w.empty(&c.session, q, 0)
		return nil
	}
	access := c.server.auth.Access(c.session.identity, name)
	if !access.MaySelect() {
		return errNoAccess
	}
	b, err := c.server.node.Bucket(name)
	switch {
	case errors.Is(err, data.ErrNoBucket):
		return errNoAccess
	case errors.Is(err, data.ErrNotReady):
		return errNotReady
	case err != nil:
		return err
	}
	c.selectBucket(b)
	w.empty(&c.session, q, 0)
	return nil
}

// listBuckets answers LIST_BUCKETS with the names that the user may select.
func (c *conn) listBuckets(_ context.Context, w *work, q *request) error {
	p := c.server.current.Load()
	var names []string
	if p != nil {
		for i := range p.assignment.Buckets {
			name := p.assignment.Buckets[i].Spec.Name
			if access := c.server.auth.Access(c.session.identity, name); access.MaySelect() {
				names = append(names, name)
			}
		}
	}
	w.value(&c.session, q, 0, []byte(strings.Join(names, " ")))
	return nil
}

// clusterConfig answers GET_CLUSTER_CONFIG.
func (c *conn) clusterConfig(_ context.Context, w *work, q *request) error {
	s := &c.session
	version, known := mcbp.ParseConfigVersion(q.Extras)
	if known && version.Rev < 1 {
		return invalid("Revision must be at least 1")
	}
	rights, err := c.rights(q)
	if err != nil {
		return err
	}
	if s.bucket == nil && !rights.Has(auth.PoolRead) {
		return auth.ErrNotAllowed
	}
	p := c.server.current.Load()
	if p == nil {
		return errNoConfig
	}
	text := p.find(s.bucket)
	switch {
	case text == nil && s.bucketGone():
		return errNoBucket
	case text == nil: // the bucket is so new that it is not in what has been published
		return errNoConfig
	}
	s.tell(p.version)
	if known && !p.version.Newer(version) {
		w.empty(s, q, 0)
		return nil
	}
	body, datatype := text.For(s)
	w.value(s, q, datatype, body)
	return nil
}

// For gives the configuration in the form that a session understands, with its datatype.
func (t *configText) For(s *session) ([]byte, value.Datatype) {
	if s.features.Has(mcbp.FeatureSnappyEverywhere) {
		return t.bytes().deflated, value.JSON | value.Snappy
	}
	return t.bytes().plain, value.JSON
}
