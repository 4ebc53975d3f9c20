package auth

import (
	"errors"
	"fmt"

	"github.com/xdg-go/scram"

	"github.com/charpoy/charpoy/internal/spec"
)

// Mechanism is the name of a SASL mechanism, as the wire spells it (without a second hyphen, wire.md 4.6).
type Mechanism string

// The mechanisms that are offered.
const (
	ScramSHA512 Mechanism = "SCRAM-SHA512"
	ScramSHA256 Mechanism = "SCRAM-SHA256"
	ScramSHA1   Mechanism = "SCRAM-SHA1"
	Plain       Mechanism = "PLAIN"
)

// Mechanisms lists what is offered, best first. Released clients disagree about which of them they insist on, so all are
// offered on all transports (wire.md 4.5).
func Mechanisms() []Mechanism { return []Mechanism{ScramSHA512, ScramSHA256, ScramSHA1, Plain} }

// SCRAM is the server's side of one SCRAM exchange (RFC 5802). It belongs to one connection and is not safe for concurrent
// use.
type SCRAM struct {
	dir    *Directory
	mech   Mechanism
	remote string
	conv   *scram.ServerConversation
	state  scramState
	user   *spec.User // nil: nobody, or the node itself
	inner  bool       // the node itself
	name   string
}

type scramState int

const (
	scramFirst scramState = iota
	scramFinal
	scramOver
)

// NewSCRAM begins an exchange with a client at remote (host:port). ErrMechanism if mech is not a SCRAM mechanism that is
// offered.
func (d *Directory) NewSCRAM(mech Mechanism, remote string) (*SCRAM, error) {
	x := &SCRAM{dir: d, mech: mech, remote: remote}
	hash, ok := hashOf(mech)
	if !ok {
		return nil, ErrMechanism
	}
	server, err := hash.NewServer(x.lookUp)
	if err != nil {
		return nil, fmt.Errorf("begin %s: %w", mech, err)
	}
	x.conv = server.NewConversation()
	return x, nil
}

func hashOf(mech Mechanism) (scram.HashGeneratorFcn, bool) {
	switch mech {
	case ScramSHA1:
		return scram.SHA1, true
	case ScramSHA256:
		return scram.SHA256, true
	case ScramSHA512:
		return scram.SHA512, true
	default:
		return nil, false
	}
}

// Mechanism tells which mechanism the exchange runs.
func (x *SCRAM) Mechanism() Mechanism { return x.mech }

// Step takes a message of the client and gives the answer. After the first message done is false and out goes to the client
// as a challenge; after the second done is true, out is the server's proof and id is who logged in. in is lent for the call.
// Any error ends the exchange: ErrBadCredentials, or ErrTooManyFailures.
func (x *SCRAM) Step(in []byte) (out []byte, done bool, id *Identity, err error) {
	state := x.state
	x.state = scramOver
	if state == scramOver || len(in) > maxMessage {
		return nil, false, nil, ErrBadCredentials
	}
	answer, err := x.conv.Step(string(in))
	if err == nil && x.conv.AuthzID() != "" && x.conv.AuthzID() != x.name {
		err = ErrBadCredentials // acting for somebody else is what Impersonate is for
	}
	switch {
	case errors.Is(err, ErrTooManyFailures):
		return nil, false, nil, ErrTooManyFailures
	case state == scramFirst && err == nil:
		x.state = scramFinal
		return []byte(answer), false, nil, nil
	case state == scramFirst:
		return nil, false, nil, ErrBadCredentials
	}
	ok := err == nil && x.conv.Valid() && (x.user != nil || x.inner)
	x.dir.outcome(x.remote, x.name, ok)
	if !ok {
		return nil, false, nil, ErrBadCredentials
	}
	if x.inner {
		return []byte(answer), true, x.dir.internal.id, nil
	}
	return []byte(answer), true, &Identity{User: x.user.ID, Domain: x.user.Domain}, nil
}

// lookUp finds the verifier of a user. For one that does not exist it gives a made-up one whose salt is always the same for
// that name, so that the exchange cannot be used to find out which names exist; it fails at the proof.
func (x *SCRAM) lookUp(name string) (scram.StoredCredentials, error) {
	x.name = name
	if err := x.dir.throttle.check(x.dir.now(), x.remote, name); err != nil {
		return scram.StoredCredentials{}, err
	}
	var c *spec.Credentials
	if name == InternalUser {
		made, err := x.dir.internal.verifier()
		if err != nil {
			return scram.StoredCredentials{}, err
		}
		c, x.inner = made, true
	} else if u := x.dir.current.Load().find(name); u != nil && u.Credentials != nil {
		c, x.user = u.Credentials, u
	}
	if c == nil {
		return x.nobody(name), nil
	}
	var v spec.ScramVerifier
	switch x.mech {
	case ScramSHA1:
		v = c.ScramSHA1
	case ScramSHA256:
		v = c.ScramSHA256
	default:
		v = c.ScramSHA512
	}
	if len(v.StoredKey) == 0 {
		x.user = nil // a record without this verifier
		return x.nobody(name), nil
	}
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(v.Salt), Iters: v.Iterations},
		StoredKey:  v.StoredKey,
		ServerKey:  v.ServerKey,
	}, nil
}

func (x *SCRAM) nobody(name string) scram.StoredCredentials {
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(x.dir.mac("salt", string(x.mech), name)[:saltLen]), Iters: DefaultCost().Iterations},
		StoredKey:  x.dir.mac("stored", string(x.mech), name), // of no password; for two of three hashes not even of the right length
		ServerKey:  x.dir.mac("server", string(x.mech), name),
	}
}
