package auth

import (
	"slices"
	"testing"

	"github.com/charpoy/charpoy/internal/spec"
)

// FuzzSCRAM sends two messages of a stranger who does not know the password: none may let him in or crash the server.
func FuzzSCRAM(f *testing.F) {
	for _, s := range []string{
		"n,,n=u,r=abc", "y,,n=u,r=abc", "n,a=u,n=u,r= ", "p=tls-unique,,n=u,r=abc", "p=,,n=u,r=x", "n,,n=u=2C=3D,r=abc", "n,,n=@charpoy,r=a",
		"n,,m=1,n=u,r=abc", ",,,", "n,,n=,r=", "n,,n=u,r=abc,x=y", "", "\x00",
	} {
		f.Add(uint8(0), []byte(s), []byte("c=biws,r=abc,p=AAAA"))
		f.Add(uint8(1), []byte(s), []byte("c=eSws,r=,p="))
		f.Add(uint8(2), []byte(s), []byte("c=biws,r=abc,e=x,p=????"))
	}
	d := NewDirectory(Options{Now: newClock().now})
	d.Replace([]spec.User{user(f, spec.DomainLocal, "u", "p", "")}, nil)
	f.Fuzz(func(t *testing.T, n uint8, first, second []byte) {
		x, err := d.NewSCRAM([]Mechanism{ScramSHA1, ScramSHA256, ScramSHA512}[n%3], "h:1")
		if err != nil {
			t.Fatal(err)
		}
		for _, message := range [][]byte{first, second} {
			if _, done, id, err := x.Step(message); done || id != nil {
				t.Fatalf("let in with %q and %q: %v, %v", first, second, id, err)
			}
		}
	})
}

// FuzzParseRoles: what is accepted is valid and reads back the same.
func FuzzParseRoles(f *testing.F) {
	for _, s := range []string{
		"admin", "admin,ro_admin", "data_reader[*]", "data_reader[b:s:c],data_writer[b]", "x", "data_reader[b:*]", "[", "]", "a[b]]", ",,",
		"data_reader[b:s:c:d]", "bucket_admin[%]", "data_reader[b,c]", " admin ", "data_reader[[b]]",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		roles, err := ParseRoles(in)
		if err != nil {
			return
		}
		if err := ValidateRoles(roles); err != nil {
			t.Fatalf("%q gives roles that are not valid: %v", in, err)
		}
		text := ""
		for i, r := range roles {
			if i > 0 {
				text += ","
			}
			text += r.String()
		}
		again, err := ParseRoles(text)
		if err != nil || !slices.Equal(roles, again) {
			t.Fatalf("%q gives %v; written back %q gives %v, %v", in, roles, text, again, err)
		}
	})
}

// FuzzHash: a hash from a damaged record neither crashes nor costs without bound, and matches nothing.
func FuzzHash(f *testing.F) {
	good := newHash("p", CheapCost())
	f.Add(good)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA")
	f.Add("$argon2id$v=19$m=-1,t=1,p=1$$")
	f.Fuzz(func(t *testing.T, in string) {
		c, salt, sum, ok := parseHash(in)
		if ok && (c.MemoryKiB > 1<<20 || c.Passes > 64 || len(salt) > 64 || len(sum) > 64) {
			t.Fatalf("%q was accepted with %+v", in, c)
		}
	})
}
