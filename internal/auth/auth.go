// Package auth decides who somebody is and what they may do.
//
// Nouns: a Directory knows all users and groups; it is a published snapshot that Replace swaps as a whole. A login, by
// password (CheckPassword, CheckPlain) or by a SCRAM exchange (NewSCRAM), gives an Identity. What an Identity may do in a
// bucket is an Access: privileges as bits, worked out once from roles and groups and then checked in nanoseconds. Version
// rises with each Replace; whoever keeps an Access asks for a new one when the version has changed.
//
// Invariants. No password is kept: a user's record holds an argon2id hash for PLAIN and HTTP and verifiers for SCRAM. Wrong
// user and wrong password take the same work and give the same error. Failed logins are throttled by address and user.
// Memory is bounded whatever strangers send: see the constants in limits.go.
//
// Users arrive as values of package spec; where they are stored is none of this package's business. Everything here may be
// called from any goroutine, except a SCRAM exchange, which belongs to one connection. Locks are leaves and are never held
// while a password is hashed.
//
// Read privilege.go and directory.go first, then login.go and scram.go. tls.go makes and loads certificates.
package auth

import (
	"errors"

	"github.com/charpoy/charpoy/internal/spec"
)

// What a login can fail with.
var (
	// ErrBadCredentials stands for every reason why a name and a password do not fit.
	ErrBadCredentials = errors.New("wrong user name or password")
	// ErrTooManyFailures says that this address has failed for this user too often and has to wait. The password was not
	// looked at.
	ErrTooManyFailures = errors.New("too many failed logins; wait before the next attempt")
	// ErrMechanism says that a SASL mechanism is not offered.
	ErrMechanism = errors.New("mechanism not offered")
)

// What a check of rights can fail with.
var (
	// ErrNotAllowed says that an identity lacks a privilege.
	ErrNotAllowed = errors.New("not allowed")
	// ErrStale says that an identity's user is gone.
	ErrStale = errors.New("the user does not exist any more")
)

// Identity is somebody who has logged in. It is immutable and stays valid as a name when the user is deleted; it then has
// no privileges.
type Identity struct {
	User     string
	Domain   spec.Domain
	internal bool // the node's own client
}

// Internal reports whether this is the node itself.
func (id *Identity) Internal() bool { return id.internal }

// String gives the name in the form that impersonation takes: ^name for external users.
func (id *Identity) String() string {
	if id.Domain == spec.DomainExternal {
		return "^" + id.User
	}
	return id.User
}

type userKey struct {
	domain spec.Domain
	id     string
}
