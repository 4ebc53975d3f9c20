package auth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"github.com/charpoy/charpoy/internal/spec"
)

// login runs a whole exchange with the library's client.
func login(d *Directory, mech Mechanism, name, password string) (*Identity, error) {
	hash, _ := hashOf(mech)
	client, err := hash.NewClientUnprepped(name, password, "")
	if err != nil {
		return nil, err
	}
	x, err := d.NewSCRAM(mech, "10.0.0.1:1")
	if err != nil {
		return nil, err
	}
	conv := client.NewConversation()
	first, err := conv.Step("")
	if err != nil {
		return nil, err
	}
	challenge, done, id, err := x.Step([]byte(first))
	if err != nil || done || id != nil {
		return id, err
	}
	final, err := conv.Step(string(challenge))
	if err != nil {
		return nil, err
	}
	proof, done, id, err := x.Step([]byte(final))
	if err != nil {
		return nil, err
	}
	if _, err := conv.Step(string(proof)); err != nil || !done || !conv.Valid() {
		return nil, errors.New("the client does not trust the server")
	}
	return id, nil
}

// Each mechanism lets in who knows the password, with odd names too, and nobody else.
func TestSCRAM(t *testing.T) {
	d := NewDirectory(Options{})
	d.Replace([]spec.User{
		user(t, spec.DomainLocal, "app", "secret", ""),
		user(t, spec.DomainLocal, "a=b,c", "secret", ""),
		user(t, spec.DomainExternal, "ext", "", ""),
	}, nil)
	for _, mech := range []Mechanism{ScramSHA1, ScramSHA256, ScramSHA512} {
		for _, name := range []string{"app", "a=b,c"} {
			if id, err := login(d, mech, name, "secret"); err != nil || id.User != name {
				t.Errorf("%s %s: %v, %v", mech, name, id, err)
			}
		}
		if id, err := login(d, mech, "app", "wrong"); !errors.Is(err, ErrBadCredentials) {
			t.Errorf("%s with a wrong password: %v, %v", mech, id, err)
		}
		for _, name := range []string{"nobody", "ext"} {
			if id, err := login(d, mech, name, "secret"); !errors.Is(err, ErrBadCredentials) {
				t.Errorf("%s as %s: %v, %v", mech, name, id, err)
			}
		}
		name, password := d.Internal()
		if id, err := login(d, mech, name, password); err != nil || !id.Internal() {
			t.Errorf("%s as the node itself: %v, %v", mech, id, err)
		}
	}
	for _, mech := range []Mechanism{Plain, "SCRAM-SHA-512", ""} {
		if _, err := d.NewSCRAM(mech, ""); !errors.Is(err, ErrMechanism) {
			t.Errorf("NewSCRAM(%q): %v, want ErrMechanism", mech, err)
		}
	}
}

// The vector of wire.md 4.6, with the nonces fixed.
func TestSCRAMVector(t *testing.T) {
	client, err := scram.SHA512.NewClientUnprepped("Administrator", "password", "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	d := NewDirectory(Options{})
	d.Replace([]spec.User{{Domain: spec.DomainAdmin, ID: "Administrator", Credentials: &spec.Credentials{ScramSHA512: spec.ScramVerifier{
		Salt: []byte("0123456789abcdef"), Iterations: 4096, StoredKey: stored.StoredKey, ServerKey: stored.ServerKey,
	}}}}, nil)
	x, err := d.NewSCRAM(ScramSHA512, "h:1")
	if err != nil {
		t.Fatal(err)
	}
	server, err := scram.SHA512.NewServer(x.lookUp)
	if err != nil {
		t.Fatal(err)
	}
	x.conv = server.WithNonceGenerator(func() string { return "snonce" }).NewConversation()
	challenge, _, _, err := x.Step([]byte("n,,n=Administrator,r=cnonce"))
	if want := "r=cnoncesnonce,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096"; err != nil || string(challenge) != want {
		t.Fatalf("challenge %q, %v, want %q", challenge, err, want)
	}
	out, done, id, err := x.Step([]byte("c=biws,r=cnoncesnonce,p=d8rZpBXOKliEFGU1Pur1HNcPwOJMH4BLBA2vQ5g/t3R4uP6KJ3kbgP4Qm189wbNaBJhMzM8Xicfpkn9XVJ+DPQ=="))
	want := "v=PXGJhQUUdwAMYknB6aSgbthWy6kCQMGFIgZWkiI1sTyNpjzZKGEEdgAaNs7eh38KqlKnSgDPniQUfk54HxulVg=="
	if err != nil || !done || string(out) != want || id.Domain != spec.DomainAdmin {
		t.Errorf("proof %q, %v, %v, %v, want %q", out, done, id, err, want)
	}
}

// First messages: what is accepted, and what is refused before a challenge.
func TestSCRAMFirst(t *testing.T) {
	d := NewDirectory(Options{})
	d.Replace([]spec.User{user(t, spec.DomainLocal, "u", "p", "")}, nil)
	f := func(first string, want error) string {
		t.Helper()
		x, err := d.NewSCRAM(ScramSHA256, "h:1")
		if err != nil {
			t.Fatal(err)
		}
		out, done, id, err := x.Step([]byte(first))
		if !errors.Is(err, want) || done || id != nil || (err == nil) != (len(out) > 0) {
			t.Errorf("%q: %q, %v, %v, %v, want %v", first, out, done, id, err, want)
		}
		if err != nil {
			if _, _, _, err := x.Step([]byte(first)); !errors.Is(err, ErrBadCredentials) {
				t.Errorf("%q: after a failure %v", first, err)
			}
		}
		return string(out)
	}
	f("n,,n=u,r=abc", nil)
	f("y,,n=u,r=abc", nil)
	f("n,a=u,n=u,r=abc", nil)
	f("n,,n=u,r=a nonce with blanks and "+strings.Repeat("x", 300), nil)
	f("n,a=v,n=u,r=abc", ErrBadCredentials)
	f("p=tls-unique,,n=u,r=abc", ErrBadCredentials)
	f("n,,n=u=,r=abc", ErrBadCredentials)
	f("n,,m=x,n=u,r=abc", ErrBadCredentials)
	f("n,,n=u", ErrBadCredentials)
	f("", ErrBadCredentials)
	f("n,,n=u,r="+strings.Repeat("x", maxMessage), ErrBadCredentials)

	// An unknown user is challenged like a known one, always with the same salt.
	salt := func(s string) string { return strings.Split(s, ",")[1] }
	one, two, other := f("n,,n=ghost,r=a", nil), f("n,,n=ghost,r=b", nil), f("n,,n=spirit,r=a", nil)
	if salt(one) != salt(two) || salt(one) == salt(other) {
		t.Errorf("salts of unknown users: %q, %q, %q", one, two, other)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(salt(one), "s="))
	if err != nil || len(raw) != saltLen {
		t.Errorf("salt of an unknown user: %q, %v", salt(one), err)
	}
}

// With y,, the channel binding of the final message is that header.
func TestSCRAMWithY(t *testing.T) {
	d := NewDirectory(Options{})
	d.Replace([]spec.User{user(t, spec.DomainLocal, "u", "p", "")}, nil)
	client, err := scram.SHA512.NewClientUnprepped("u", "p", "")
	if err != nil {
		t.Fatal(err)
	}
	x, err := d.NewSCRAM(ScramSHA512, "h:1")
	if err != nil {
		t.Fatal(err)
	}
	conv := client.NewConversationAdvertisingChannelBinding()
	first, err := conv.Step("")
	if err != nil || !strings.HasPrefix(first, "y,,") {
		t.Fatalf("%q, %v", first, err)
	}
	challenge, _, _, err := x.Step([]byte(first))
	if err != nil {
		t.Fatal(err)
	}
	final, err := conv.Step(string(challenge))
	if err != nil || !strings.HasPrefix(final, "c=eSws,") {
		t.Fatalf("%q, %v", final, err)
	}
	if _, done, _, err := x.Step([]byte(final)); err != nil || !done {
		t.Errorf("done %v, %v", done, err)
	}
	if _, _, _, err := x.Step([]byte(final)); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("the final message again: %v", err)
	}
}

// Failed exchanges count for the throttle like failed passwords.
func TestSCRAMThrottled(t *testing.T) {
	d := NewDirectory(Options{Now: newClock().now})
	d.Replace([]spec.User{user(t, spec.DomainLocal, "u", "p", "")}, nil)
	for range freeFailures + 1 {
		if _, err := login(d, ScramSHA1, "u", "wrong"); !errors.Is(err, ErrBadCredentials) {
			t.Fatal(err)
		}
	}
	if _, err := login(d, ScramSHA256, "u", "p"); !errors.Is(err, ErrTooManyFailures) {
		t.Errorf("after too many failures: %v", err)
	}
	if _, err := d.CheckPassword(t.Context(), "u", "p", "10.0.0.1:1"); !errors.Is(err, ErrTooManyFailures) {
		t.Errorf("with a password after too many failures: %v", err)
	}
}

// The log must not carry what a stranger sends in any length.
func TestPrintable(t *testing.T) {
	if got := printable(string(bytes.Repeat([]byte("x"), 10000))); len(got) > 200 {
		t.Errorf("%d bytes of a user name go to the log", len(got))
	}
}
