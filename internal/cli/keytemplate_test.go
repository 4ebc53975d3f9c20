package cli

import (
	"strings"
	"testing"
)

const sampleDoc = `{"id":7,"name":"Lahore","geo":{"id":"g-1","deep":{"x":1.50}},"none":null,"list":[1],"yes":true,"quoted":"a\u00e4\"b","big":12345678901234567890}`

// TestKeyTemplate: fields are put in as they are written, strings without their quotes.
func TestKeyTemplate(t *testing.T) {
	for template, want := range map[string]string{
		"city::{id}":           "city::7",
		"{name}":               "Lahore",
		"{geo.id}/{id}":        "g-1/7",
		"{geo.deep.x}":         "1.50",
		"{{{id}}}":             "{7}",
		"{yes}-{quoted}":       "true-aä\"b",
		"n{big}":               "n12345678901234567890",
		"ü::{name}::{{literal": "ü::Lahore::{literal",
	} {
		k, err := parseTemplate(template)
		if err != nil {
			t.Errorf("%q: %v", template, err)
			continue
		}
		got, err := k.key([]byte("before:"), []byte(sampleDoc))
		if err != nil || string(got) != "before:"+want {
			t.Errorf("%q: got %q, %v, want %q", template, got, err, want)
		}
	}
}

// TestKeyTemplateRefused: what cannot be a template is said to be so, with the place.
func TestKeyTemplateRefused(t *testing.T) {
	for template, want := range map[string]string{
		"plain": "no field", "{id": "never closed", "id}": "never opened", "{}": "no field", "a{b c}": "no field", "": "no field",
	} {
		if _, err := parseTemplate(template); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", template, err, want)
		}
	}
}

// TestKeyOfBadDocument: a document that has no key to give is refused, and the buffer is left as it was.
func TestKeyOfBadDocument(t *testing.T) {
	for _, c := range []struct{ field, doc, want string }{
		{"missing", sampleDoc, "no field missing"},
		{"geo.missing", sampleDoc, "no field geo.missing"},
		{"name.x", sampleDoc, "name is no object"},
		{"geo", sampleDoc, "geo is an object"},
		{"list", sampleDoc, "list is a list"},
		{"none", sampleDoc, "none is null"},
		{"id", `[1]`, "no JSON object"},
		{"id", `{"id":`, "no JSON object"},
		{"id", `{"id":""}`, "empty"},
		{"id", `{"id":"` + strings.Repeat("x", maxKey+1) + `"}`, "251 bytes"},
	} {
		got, err := fieldKey(c.field).key([]byte("kept"), []byte(c.doc))
		if err == nil || !strings.Contains(err.Error(), c.want) || string(got) != "kept" {
			t.Errorf("%s of %.20s: got %q, %v, want %q", c.field, c.doc, got, err, c.want)
		}
	}
}
