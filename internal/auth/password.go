package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
	"golang.org/x/crypto/argon2"

	"github.com/charpoy/charpoy/internal/spec"
)

// Cost says how dear a stolen record makes it to guess its password.
type Cost struct {
	MemoryKiB  uint32 // of argon2id
	Passes     uint32 // of argon2id
	Iterations int    // of each SCRAM verifier; clients pay it at each login too
}

// DefaultCost is what users get: an argon2id setting of the OWASP list with a small memory, since the server hashes beside a
// data engine, and the iterations of wire.md 4.6.
func DefaultCost() Cost { return Cost{MemoryKiB: 9 << 10, Passes: 4, Iterations: 15000} }

// CheapCost is for passwords that are long random strings, and for tests: the lowest that clients accept.
func CheapCost() Cost { return Cost{MemoryKiB: 1 << 10, Passes: 1, Iterations: minIterations} }

const (
	minIterations = 4096 // the floor of RFC 5802 section 5.1; clients refuse less
	saltLen       = 16
	hashLen       = 32
)

// ErrBadPassword says that a new password cannot be taken.
var ErrBadPassword = errors.New("the password must have 1 to 1024 bytes without control characters")

// NewCredentials makes what is stored of a password, at DefaultCost: tens of milliseconds of work. ErrBadPassword if the
// password is empty, too long, or holds control characters.
func NewCredentials(password string) (*spec.Credentials, error) {
	return NewCredentialsAt(password, DefaultCost())
}

// NewCredentialsAt is NewCredentials at another cost.
func NewCredentialsAt(password string, c Cost) (*spec.Credentials, error) {
	if password == "" || len(password) > maxPassword ||
		strings.ContainsFunc(password, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return nil, ErrBadPassword
	}
	out := &spec.Credentials{Hash: newHash(password, c)}
	for _, v := range []struct {
		to   *spec.ScramVerifier
		hash scram.HashGeneratorFcn
	}{{&out.ScramSHA1, scram.SHA1}, {&out.ScramSHA256, scram.SHA256}, {&out.ScramSHA512, scram.SHA512}} {
		made, err := newVerifier(v.hash, password, c.Iterations)
		if err != nil {
			return nil, err
		}
		*v.to = made
	}
	return out, nil
}

// newVerifier makes the SCRAM verifier of a password. A password that SASLprep refuses is taken as it is: the clients that
// exist do not prepare passwords at all.
func newVerifier(hash scram.HashGeneratorFcn, password string, iterations int) (spec.ScramVerifier, error) {
	client, err := hash.NewClient("", password, "")
	if err != nil {
		if client, err = hash.NewClientUnprepped("", password, ""); err != nil {
			return spec.ScramVerifier{}, fmt.Errorf("make a SCRAM verifier: %w", err)
		}
	}
	salt := randomBytes(saltLen)
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return spec.ScramVerifier{}, fmt.Errorf("make a SCRAM verifier: %w", err)
	}
	return spec.ScramVerifier{Salt: salt, Iterations: iterations, StoredKey: stored.StoredKey, ServerKey: stored.ServerKey}, nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: the runtime ends the process first
	return b
}

// newHash gives the argon2id hash of a password in PHC form.
func newHash(password string, c Cost) string {
	salt := randomBytes(saltLen)
	sum := argon2.IDKey([]byte(password), salt, c.Passes, c.MemoryKiB, 1, hashLen)
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, c.MemoryKiB, c.Passes,
		enc.EncodeToString(salt), enc.EncodeToString(sum))
}

// matches reports whether a hash made by newHash is that of password. A hash that cannot be read matches nothing, at the
// same price.
func matches(hash, password string) bool {
	c, salt, sum, ok := parseHash(hash)
	if !ok {
		c, salt, sum = DefaultCost(), make([]byte, saltLen), make([]byte, hashLen)
	}
	got := argon2.IDKey([]byte(password), salt, c.Passes, c.MemoryKiB, 1, uint32(len(sum)))
	return subtle.ConstantTimeCompare(got, sum) == 1 && ok
}

// parseHash reads the PHC form. Costs that no record of ours has are refused: a record from elsewhere must not make the
// server take any amount of memory.
func parseHash(hash string) (c Cost, salt, sum []byte, ok bool) {
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return Cost{}, nil, nil, false
	}
	var version, lanes int
	if _, err := fmt.Sscanf(parts[2], "v=%d", &version); err != nil || version != argon2.Version {
		return Cost{}, nil, nil, false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &c.MemoryKiB, &c.Passes, &lanes); err != nil {
		return Cost{}, nil, nil, false
	}
	salt, err1 := base64.RawStdEncoding.DecodeString(parts[4])
	sum, err2 := base64.RawStdEncoding.DecodeString(parts[5])
	sane := lanes == 1 && c.Passes >= 1 && c.Passes <= 64 && c.MemoryKiB >= 8 && c.MemoryKiB <= 1<<20 &&
		len(salt) >= 8 && len(salt) <= 64 && len(sum) >= 16 && len(sum) <= 64
	return c, salt, sum, err1 == nil && err2 == nil && sane
}
