package invariant_test

import (
	"errors"
	"testing"

	"github.com/charpoy/charpoy/internal/invariant"
)

// TestViolation: a broken rule panics with an error that holds its values, a kept one does nothing.
func TestViolation(t *testing.T) {
	caught := func(f func()) (err error) {
		defer func() { err, _ = recover().(error) }()
		f()
		return nil
	}
	var v invariant.Violation
	if err := caught(func() { invariant.Violated("seqno %d after %d", 3, 4) }); !errors.As(err, &v) || v.Text != "seqno 3 after 4" {
		t.Errorf("Violated panicked with %v", err)
	}
	if err := caught(func() { invariant.Check(false, "never") }); err == nil || err.Error() != "invariant violated: never" {
		t.Errorf("Check(false) panicked with %v", err)
	}
	if err := caught(func() { invariant.Check(true, "never") }); err != nil {
		t.Errorf("Check(true) panicked with %v", err)
	}
}
