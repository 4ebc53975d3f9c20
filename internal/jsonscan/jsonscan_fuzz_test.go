package jsonscan_test

import (
	"encoding/json"
	"testing"

	"github.com/charpoy/charpoy/internal/jsonscan"
)

// FuzzValid compares with the standard library: the two must agree on every input.
func FuzzValid(f *testing.F) {
	for _, s := range samples() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := jsonscan.Valid(b), json.Valid(b); got != want {
			t.Fatalf("Valid(%q) = %v, want %v", b, got, want)
		}
	})
}
