package trace

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// Key is the name of a document on its way to somebody who may not be allowed to see it. However it is printed, formatted or
// encoded by accident, its content does not show; whoever may show it asks a Redactor, or takes Bytes.
type Key struct{ bytes []byte }

// KeyOf wraps a key. The bytes are lent for as long as the Key is used.
func KeyOf(b []byte) Key { return Key{b} }

// Bytes gives the key itself. Ask for it only where the reader's right to see it has been checked.
func (k Key) Bytes() []byte { return k.bytes }

// Len is the length of the key in bytes.
func (k Key) Len() int { return len(k.bytes) }

// Clone copies the key, for who keeps it.
func (k Key) Clone() Key { return Key{append([]byte(nil), k.bytes...)} }

const hidden = "#hidden"

// Format prints no content, whatever the verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText encodes no content.
func (Key) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Redactor turns what must not be shown into a short hash, so that equal things can still be told from others. Two
// Redactors with the same salt agree. A nil Redactor shows everything.
type Redactor struct{ salt [32]byte }

// NewRedactor makes one with a salt of its own, so that what it hides cannot be found by trying, and cannot be joined with
// what another one hid.
func NewRedactor() *Redactor {
	r := &Redactor{}
	_, _ = rand.Read(r.salt[:]) // never fails (crypto/rand)
	return r
}

// RedactorWith makes one with a salt that several nodes share.
func RedactorWith(salt [32]byte) *Redactor { return &Redactor{salt} }

// Key shows or hides a key. An empty one is shown as nothing.
func (r *Redactor) Key(k Key) string {
	if r == nil || len(k.bytes) == 0 {
		return string(k.bytes)
	}
	return r.hash(k.bytes)
}

// Text shows or hides a text. An empty one is shown as nothing.
func (r *Redactor) Text(s string) string {
	if r == nil || s == "" {
		return s
	}
	return r.hash([]byte(s))
}

// hash gives # and eight hexadecimal digits.
func (r *Redactor) hash(b []byte) string {
	h := sha256.New()
	h.Write(r.salt[:])
	h.Write(b)
	return "#" + hex.EncodeToString(h.Sum(nil)[:4])
}
