// Package invariant states what must be true. A violated invariant is a bug: the process ends with the values that show it,
// because nobody can vouch for memory that a broken rule has touched.
//
// Check and Violated are always on and must be cheap at the call. Dear checks stand behind Enabled, which is a constant:
// false in normal builds, so that the compiler drops them, and true with the build tag "invariants" and under the race
// detector.
package invariant

import "fmt"

// Violation is the value that a broken invariant panics with.
type Violation struct{ Text string } //nolint:errname // it is panicked with, never returned

// Error makes a Violation readable in crash output.
func (v Violation) Error() string { return "invariant violated: " + v.Text }

// Check panics with a Violation of the given text unless ok holds. Pass a constant text; use an if and Violated where
// values would have to be formatted.
func Check(ok bool, text string) {
	if !ok {
		panic(Violation{text})
	}
}

// Violated panics with a formatted Violation.
func Violated(format string, args ...any) {
	panic(Violation{fmt.Sprintf(format, args...)})
}
