package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// maxKey is what the protocol allows a document's name to have, in bytes, with the default collection.
const maxKey = 250

// keyMaker makes a document's key from the document: pieces of text and of fields in turn. A field is a path with dots
// into nested objects: 'city::{geo.id}'. Braces that mean themselves are doubled.
type keyMaker struct {
	pieces []keyPiece
}

type keyPiece struct {
	text string   // literal, if path is nil
	path []string // of a field
}

// errTemplate says that a key template cannot be read.
var errTemplate = errors.New("key template")

// fieldKey takes the key from one field.
func fieldKey(name string) *keyMaker {
	return &keyMaker{pieces: []keyPiece{{path: strings.Split(name, ".")}}}
}

// parseTemplate reads a template such as 'city::{geonameid}'.
func parseTemplate(s string) (*keyMaker, error) {
	k := &keyMaker{}
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			k.pieces = append(k.pieces, keyPiece{text: text.String()})
			text.Reset()
		}
	}
	fields := 0
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], "{{"), strings.HasPrefix(s[i:], "}}"):
			text.WriteByte(s[i])
			i++
		case s[i] == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 0 {
				return nil, fmt.Errorf("%w %q: the brace at column %d is never closed", errTemplate, s, i+1)
			}
			name := s[i+1 : i+end]
			if name == "" || strings.ContainsAny(name, "{ ") {
				return nil, fmt.Errorf("%w %q: %q at column %d is no field", errTemplate, s, name, i+1)
			}
			flush()
			k.pieces = append(k.pieces, keyPiece{path: strings.Split(name, ".")})
			fields++
			i += end
		case s[i] == '}':
			return nil, fmt.Errorf("%w %q: the brace at column %d was never opened; }} means one brace", errTemplate, s, i+1)
		default:
			text.WriteByte(s[i])
		}
	}
	flush()
	if fields == 0 {
		return nil, fmt.Errorf("%w %q has no field, so that all documents would get one key; write it like 'city::{geonameid}'", errTemplate, s)
	}
	return k, nil
}

// key makes the key of a document, appended to dst.
func (k *keyMaker) key(dst, doc []byte) ([]byte, error) {
	begin := len(dst)
	for _, p := range k.pieces {
		if p.path == nil {
			dst = append(dst, p.text...)
			continue
		}
		var err error
		if dst, err = appendField(dst, doc, p.path); err != nil {
			return dst[:begin], err
		}
	}
	switch n := len(dst) - begin; {
	case n == 0:
		return dst, errors.New("the key is empty")
	case n > maxKey:
		return dst[:begin], fmt.Errorf("the key has %d bytes, at most %d are allowed", n, maxKey)
	}
	return dst, nil
}

// appendField appends the value of a field: strings without quotes, numbers and booleans as they are written.
func appendField(dst, doc []byte, path []string) ([]byte, error) {
	at := json.RawMessage(doc)
	for i, name := range path {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(at, &object); err != nil {
			if i == 0 {
				return dst, fmt.Errorf("the line is no JSON object: %w", err)
			}
			return dst, fmt.Errorf("field %s is no object", strings.Join(path[:i], "."))
		}
		inner, ok := object[name]
		if !ok {
			return dst, fmt.Errorf("there is no field %s", strings.Join(path[:i+1], "."))
		}
		at = inner
	}
	switch at[0] {
	case '"':
		var s string
		if err := json.Unmarshal(at, &s); err != nil {
			return dst, err
		}
		return append(dst, s...), nil
	case '{', '[', 'n':
		return dst, fmt.Errorf("field %s is %s: a key needs text or a number", strings.Join(path, "."), kindOf(at[0]))
	default:
		return append(dst, at...), nil
	}
}

func kindOf(first byte) string {
	switch first {
	case '{':
		return "an object"
	case '[':
		return "a list"
	default:
		return "null"
	}
}
