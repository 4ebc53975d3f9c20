package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/charpoy/charpoy/internal/spec"
)

// form holds the fields of a request's body. Reading them collects what is wrong, so that all of it is answered at once.
type form struct {
	values url.Values
	bad    spec.Invalid
}

// readForm reads the body of a request: an HTML form, or a JSON object with plain members.
func readForm(r *http.Request) (*form, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	var values url.Values
	if kind == "application/json" || kind != "application/x-www-form-urlencoded" && bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		values, err = parseJSONForm(body)
	} else {
		values, err = parseURLForm(body)
	}
	if err != nil {
		f := general(http.StatusBadRequest, err.Error())
		f.cause = err
		return nil, f
	}
	return &form{values: values}, nil
}

var errManyFields = errors.New("The form has too many fields.") //nolint:staticcheck // shown to people as it is

// parseURLForm reads an HTML form. Empty pairs are tolerated: released clients send a leading &.
func parseURLForm(body []byte) (url.Values, error) {
	if bytes.Count(body, []byte("&")) > maxFields {
		return nil, errManyFields
	}
	values, err := url.ParseQuery(strings.TrimSpace(string(body)))
	if err != nil {
		return nil, fmt.Errorf("The form cannot be read: %w", err) //nolint:staticcheck // shown to people as it is
	}
	return values, nil
}

// parseJSONForm reads a JSON object as if it were a form: strings, numbers and booleans as they are, lists of strings joined
// by commas, null as left out.
func parseJSONForm(body []byte) (url.Values, error) {
	var members map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&members); err != nil {
		return nil, fmt.Errorf("The JSON cannot be read: %w", err) //nolint:staticcheck // shown to people as it is
	}
	if d.More() {
		return nil, errors.New("The JSON is followed by something else.") //nolint:staticcheck // shown to people as it is
	}
	if len(members) > maxFields {
		return nil, errManyFields
	}
	values := make(url.Values, len(members))
	for name, v := range members {
		text, ok := plain(v)
		if !ok {
			return nil, fmt.Errorf("The member %q is not a plain value.", name) //nolint:staticcheck // shown to people as it is
		}
		if v != nil {
			values.Set(name, text)
		}
	}
	return values, nil
}

func plain(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "", true
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			s, ok := e.(string)
			if !ok {
				return "", false
			}
			parts[i] = s
		}
		return strings.Join(parts, ","), true
	}
	return "", false
}

func (f *form) fail(field, text string) {
	f.bad = append(f.bad, spec.FieldError{Field: field, Text: text})
}

// err gives everything that was wrong so far.
func (f *form) err() error {
	if len(f.bad) == 0 {
		return nil
	}
	return f.bad
}

// text gives a field that is there, without blanks around it.
func (f *form) text(field string) (string, bool) {
	if !f.values.Has(field) {
		return "", false
	}
	return strings.TrimSpace(f.values.Get(field)), true
}

// number gives a field that is a whole number from low to high.
func (f *form) number(field string, low, high int64, complaint string) (int64, bool) {
	s, ok := f.text(field)
	if !ok || s == "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < low || n > high {
		f.fail(field, complaint)
		return 0, false
	}
	return n, true
}

// flag gives a field that is 0 or 1, or false or true.
func (f *form) flag(field string) (value, ok bool) {
	s, ok := f.text(field)
	if !ok || s == "" {
		return false, false
	}
	switch s {
	case "0", "false":
		return false, true
	case "1", "true":
		return true, true
	}
	f.fail(field, field+" can only be 0 or 1")
	return false, false
}
