package spec

import (
	"strings"
	"time"
	"unicode/utf8"
)

// Domain says who vouches for a user.
type Domain string

// The domains. The built-in administrator lives in DomainAdmin and is not listed among the users.
const (
	DomainLocal    Domain = "local"
	DomainExternal Domain = "external"
	DomainAdmin    Domain = "admin"
)

// MaxUserName bounds user and group names, in bytes.
const MaxUserName = 128

// Role is one role granted to a user, narrowed to a bucket, scope and collection where the role takes them. "*" stands for
// every one.
type Role struct {
	Name       string `json:"role"`
	Bucket     string `json:"bucket,omitempty"`
	Scope      string `json:"scope,omitempty"`
	Collection string `json:"collection,omitempty"`
}

// String gives the form of the management API: role, role[bucket], role[bucket:scope] or role[bucket:scope:collection].
func (r Role) String() string {
	if r.Bucket == "" {
		return r.Name
	}
	s := r.Name + "[" + r.Bucket
	if r.Scope != "" {
		s += ":" + r.Scope
	}
	if r.Collection != "" {
		s += ":" + r.Collection
	}
	return s + "]"
}

// ScramVerifier is what a server keeps of a password for one SCRAM mechanism (RFC 5802 section 5.1).
type ScramVerifier struct {
	Salt       []byte `json:"salt"`
	Iterations int    `json:"iterations"`
	StoredKey  []byte `json:"storedKey"`
	ServerKey  []byte `json:"serverKey"`
}

// Credentials is all that is kept of a user's password. Nothing in it lets the password be read back.
type Credentials struct {
	Hash        string        `json:"hash"` // argon2id in PHC form, for PLAIN and HTTP
	ScramSHA1   ScramVerifier `json:"scramSHA1"`
	ScramSHA256 ScramVerifier `json:"scramSHA256"`
	ScramSHA512 ScramVerifier `json:"scramSHA512"`
}

// User is one account. External users have no Credentials.
type User struct {
	Domain          Domain       `json:"domain"`
	ID              string       `json:"id"`
	Name            string       `json:"name,omitempty"` // display name
	Roles           []Role       `json:"roles,omitempty"`
	Groups          []string     `json:"groups,omitempty"`
	Credentials     *Credentials `json:"credentials,omitempty"`
	PasswordChanged time.Time    `json:"passwordChanged"`
}

// Group grants its roles to its members.
type Group struct {
	ID           string `json:"id"`
	Description  string `json:"description,omitempty"`
	Roles        []Role `json:"roles,omitempty"`
	LDAPGroupRef string `json:"ldapGroupRef,omitempty"`
}

// ValidateUserID checks a user or group name: 1 to MaxUserName bytes of UTF-8 without control characters and without the
// characters that HTTP forms and SASL give a meaning to.
func ValidateUserID(field, id string) error {
	var e Invalid
	e.add(id != "", field, "The username is empty")
	e.add(len(id) <= MaxUserName, field, "The username may not exceed 128 characters")
	e.add(utf8.ValidString(id) && !strings.ContainsAny(id, "()<>@,;:\\\"/[]?={}") &&
		strings.IndexFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f }) < 0, field,
		"The username must not contain spaces, control or any of ()<>@,;:\\\"/[]?={} characters and must be valid utf8")
	return e.err()
}
