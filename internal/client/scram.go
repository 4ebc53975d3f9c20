package client

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// scram is the client's side of one SCRAM-SHA512 login (RFC 5802, wire.md 4.6): the server proves in the end that it knows
// the password's verifier, and the password never crosses the wire. Passwords are taken as they are: those that SASLprep
// (RFC 4013) would change must be given in their normal form.
type scram struct {
	password  string
	nonce     string
	firstBare string
	signature []byte // that the server must show
}

const scramNonceBytes = 18

func newScram(user, password string) *scram {
	nonce := make([]byte, scramNonceBytes)
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	return scramWith(user, password, base64.StdEncoding.EncodeToString(nonce))
}

func scramWith(user, password, nonce string) *scram {
	user = strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user)
	return &scram{password: password, nonce: nonce, firstBare: "n=" + user + ",r=" + nonce}
}

// first is the message that begins the login.
func (s *scram) first() []byte { return []byte("n,," + s.firstBare) }

// final answers the server's first message with the proof. Errors wrap ErrProtocol.
func (s *scram) final(serverFirst []byte) ([]byte, error) {
	nonce, salt, iterations, err := parseServerFirst(string(serverFirst))
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(nonce, s.nonce) || len(nonce) == len(s.nonce) {
		return nil, fmt.Errorf("%w: the nonce is not an extension of ours", ErrProtocol)
	}
	salted, err := pbkdf2.Key(sha512.New, s.password, salt, iterations, sha512.Size)
	if err != nil {
		return nil, fmt.Errorf("derive a key from the password: %w", err)
	}
	clientKey := mac(salted, "Client Key")
	stored := sha512.Sum512(clientKey)
	withoutProof := "c=biws,r=" + nonce
	message := s.firstBare + "," + string(serverFirst) + "," + withoutProof
	proof := make([]byte, sha512.Size)
	subtle.XORBytes(proof, clientKey, mac(stored[:], message))
	s.signature = mac(mac(salted, "Server Key"), message)
	return []byte(withoutProof + ",p=" + base64.StdEncoding.EncodeToString(proof)), nil
}

// verify checks the server's last message: only who knows the verifier can make it.
func (s *scram) verify(serverFinal []byte) error {
	text, ok := strings.CutPrefix(string(serverFinal), "v=")
	if !ok {
		return fmt.Errorf("%w: the server did not prove itself", ErrProtocol)
	}
	text, _, _ = strings.Cut(text, ",")
	signature, err := base64.StdEncoding.DecodeString(text)
	if err != nil || !hmac.Equal(signature, s.signature) {
		return fmt.Errorf("%w: the server does not know the password", ErrProtocol)
	}
	return nil
}

// parseServerFirst reads r=<nonce>,s=<base64 salt>,i=<iterations>; extensions after them are ignored.
func parseServerFirst(text string) (nonce string, salt []byte, iterations int, err error) {
	fields := strings.Split(text, ",")
	if len(fields) < 3 {
		return "", nil, 0, fmt.Errorf("%w: SCRAM message %q", ErrProtocol, text)
	}
	var ok [3]bool
	var count, salt64 string
	nonce, ok[0] = strings.CutPrefix(fields[0], "r=")
	salt64, ok[1] = strings.CutPrefix(fields[1], "s=")
	count, ok[2] = strings.CutPrefix(fields[2], "i=")
	if ok != [3]bool{true, true, true} {
		return "", nil, 0, fmt.Errorf("%w: SCRAM message %q", ErrProtocol, text)
	}
	salt, err = base64.StdEncoding.DecodeString(salt64)
	if err != nil || len(salt) == 0 {
		return "", nil, 0, fmt.Errorf("%w: SCRAM salt %q", ErrProtocol, salt64)
	}
	iterations, err = strconv.Atoi(count)
	if err != nil || iterations < minIterations || iterations > maxIterations {
		return "", nil, 0, fmt.Errorf("%w: SCRAM iterations %q", ErrProtocol, count)
	}
	return nonce, salt, iterations, nil
}

func mac(key []byte, message string) []byte {
	h := hmac.New(sha512.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}
