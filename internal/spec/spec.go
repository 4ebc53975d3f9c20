// Package spec holds what people ask for: buckets, scopes and collections, users and groups. These are plain values with
// their validation; nothing here does I/O. The cluster plane stores them, the data plane carries them out, and the faces
// translate them from and to the forms of the management API.
//
// Read bucket.go first, then user.go.
package spec

import (
	"cmp"
	"slices"
	"strings"
)

// FieldError is a validation failure of one named field of a form; Field is the name that the management API uses for it.
type FieldError struct {
	Field string
	Text  string
}

// Invalid collects everything that is wrong with a value, so that a person can mend all of it at once. It is returned as an
// error only when it holds at least one entry.
type Invalid []FieldError //nolint:errname // it is a list, and reads as one where it is filled

// Error lists all failures.
func (e Invalid) Error() string {
	list := make([]string, len(e))
	for i, f := range e {
		list[i] = f.Field + ": " + f.Text
	}
	return strings.Join(list, "; ")
}

func (e *Invalid) add(ok bool, field, text string) {
	if !ok {
		*e = append(*e, FieldError{field, text})
	}
}

func (e Invalid) err() error {
	if len(e) == 0 {
		return nil
	}
	slices.SortStableFunc(e, func(a, b FieldError) int { return cmp.Compare(a.Field, b.Field) })
	return e
}
