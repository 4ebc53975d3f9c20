package cli

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/charpoy/charpoy/internal/client"
)

// FuzzKeyTemplate: any template and document give a key within bounds or an error, never a panic.
func FuzzKeyTemplate(f *testing.F) {
	f.Add("city::{geonameid}", []byte(`{"geonameid":1}`))
	f.Add("{a.b.c}", []byte(`{"a":{"b":{"c":"x"}}}`))
	f.Add("{{{x}}}", []byte(`{"x":null}`))
	f.Add("{", []byte(`{`))
	f.Fuzz(func(t *testing.T, template string, doc []byte) {
		k, err := parseTemplate(template)
		if err != nil {
			return
		}
		key, err := k.key(nil, doc)
		if err == nil && (len(key) == 0 || len(key) > maxKey) {
			t.Errorf("template %q, document %q: key of %d bytes", template, doc, len(key))
		}
	})
}

// FuzzExportLine: what export writes is one line that import reads back as the same document.
func FuzzExportLine(f *testing.F) {
	f.Add("key", []byte(`{"a":1}`), uint32(jsonFlags), uint32(0), true)
	f.Add("\xff\x00", []byte("\x00\xffbinary"), uint32(0), uint32(1<<31), false)
	f.Add("k", []byte("{\n \"a\": \"<&>\u2028\"\r\n}"), uint32(1), uint32(9), true)
	f.Add("k", []byte(``), uint32(0), uint32(0), false)
	f.Fuzz(func(t *testing.T, key string, value []byte, flags, expiry uint32, isJSON bool) {
		if key == "" {
			return
		}
		d := client.Doc{Value: value, Flags: flags}
		if isJSON {
			d.Datatype = 1
		}
		line, err := exportLine(key, &d, expiry)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
			t.Fatalf("not one line: %q", line)
		}
		got, err := exportedLine(bytes.TrimSpace(line))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		want := value
		if isJSON && json.Valid(value) {
			want = bytes.TrimSpace(oneLine(value))
			got.value = bytes.TrimSpace(got.value)
		}
		if got.key != key || !bytes.Equal(got.value, want) || got.with.Flags != flags || got.with.Expiry != expiry {
			t.Errorf("wrote key %q flags %d expiry %d value %q, read back %+v", key, flags, expiry, want, got)
		}
	})
}
