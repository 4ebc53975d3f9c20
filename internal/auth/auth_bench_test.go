package auth

import (
	"testing"

	"github.com/charpoy/charpoy/internal/spec"
)

func BenchmarkHas(b *testing.B) {
	d := NewDirectory(Options{})
	d.Replace([]spec.User{user(b, spec.DomainLocal, "u", "", "data_reader[b],data_writer[b]")}, nil)
	a := d.Access(&Identity{User: "u", Domain: spec.DomainLocal}, "b")
	for range b.N {
		if !a.HasDefault(Read | Upsert) {
			b.Fatal("no access")
		}
	}
}

func BenchmarkVersion(b *testing.B) {
	d := NewDirectory(Options{})
	for range b.N {
		d.Version()
	}
}

func BenchmarkAccess(b *testing.B) {
	d := NewDirectory(Options{})
	d.Replace([]spec.User{user(b, spec.DomainLocal, "u", "", "data_reader[b],data_writer[b:s:c]")}, nil)
	id := &Identity{User: "u", Domain: spec.DomainLocal}
	b.ReportAllocs()
	for range b.N {
		d.Access(id, "b")
	}
}

func BenchmarkCachedLogin(b *testing.B) {
	d := NewDirectory(Options{})
	d.Replace([]spec.User{user(b, spec.DomainLocal, "u", "p", "")}, nil)
	b.ReportAllocs()
	for range b.N {
		if _, err := d.CheckPassword(b.Context(), "u", "p", "127.0.0.1:1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewCredentials(b *testing.B) {
	for range b.N {
		if _, err := NewCredentials("password"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	for range b.N {
		newHash("password", DefaultCost())
	}
}
