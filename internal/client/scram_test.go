package client

import (
	"errors"
	"testing"
)

// TestScramVector checks the exchange against the vector of wire.md 4.6, which other clients agree with.
func TestScramVector(t *testing.T) {
	x := scramWith("Administrator", "password", "cnonce")
	if got, want := string(x.first()), "n,,n=Administrator,r=cnonce"; got != want {
		t.Errorf("first message %q, want %q", got, want)
	}
	got, err := x.final([]byte("r=cnoncesnonce,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096"))
	const want = "c=biws,r=cnoncesnonce,p=d8rZpBXOKliEFGU1Pur1HNcPwOJMH4BLBA2vQ5g/t3R4uP6KJ3kbgP4Qm189wbNaBJhMzM8Xicfpkn9XVJ+DPQ=="
	if err != nil || string(got) != want {
		t.Errorf("final message %q, %v, want %q", got, err, want)
	}
	const signature = "v=PXGJhQUUdwAMYknB6aSgbthWy6kCQMGFIgZWkiI1sTyNpjzZKGEEdgAaNs7eh38KqlKnSgDPniQUfk54HxulVg=="
	if err := x.verify([]byte(signature)); err != nil {
		t.Errorf("verify: %v", err)
	}
	for _, bad := range []string{"", "v=", "e=other-error", signature[:20], "v=" + signature[3:]} {
		if err := x.verify([]byte(bad)); !errors.Is(err, ErrProtocol) {
			t.Errorf("verify(%q): error %v, want ErrProtocol", bad, err)
		}
	}
}

// TestScramRefuses checks server messages that a login must not go on with.
func TestScramRefuses(t *testing.T) {
	for _, bad := range []string{
		"", "r=cnoncesnonce", "r=cnonce,s=MDEy,i=4096", "r=other,s=MDEy,i=4096", "r=cnoncex,s=,i=4096", "r=cnoncex,s=!,i=4096",
		"r=cnoncex,s=MDEy,i=1", "r=cnoncex,s=MDEy,i=99999999", "r=cnoncex,s=MDEy,i=x", "m=x,r=cnoncex,s=MDEy,i=4096",
	} {
		if _, err := scramWith("u", "p", "cnonce").final([]byte(bad)); !errors.Is(err, ErrProtocol) {
			t.Errorf("final(%q): error %v, want ErrProtocol", bad, err)
		}
	}
	if got, want := string(scramWith("a,b=c", "p", "n").first()), "n,,n=a=2Cb=3Dc,r=n"; got != want {
		t.Errorf("first message %q, want %q", got, want)
	}
}
