package value_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/charpoy/charpoy/internal/value"
)

// FuzzInflate feeds arbitrary blocks: no panic, never more than declared, and what was inflated deflates to something that
// inflates to the same.
func FuzzInflate(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0})
	f.Add([]byte{0x80, 0x80, 0x80, 0x0f, 0})
	f.Add([]byte{8, 3 << 2, 'a', 'b', 'c', 'd', 0x01, 0x00})
	f.Add([]byte{4, 62 << 2, 3, 0, 0, 'a', 'b', 'c', 'd'})
	f.Add(value.Deflate(nil, bytes.Repeat([]byte("{\"name\":\"Kathmandu\"}"), 20)))
	f.Fuzz(func(t *testing.T, block []byte) {
		declared, err := value.InflatedLen(block)
		if err == nil && declared > value.MaxInflated {
			t.Fatalf("declared %d was let through", declared)
		}
		if declared > 1<<20 {
			return // the allocation is bounded; zeroing it again and again only slows the search
		}
		got, err := value.Inflate(nil, block)
		if err != nil {
			if got != nil {
				t.Fatal("bytes together with an error")
			}
			return
		}
		if len(got) != declared {
			t.Fatalf("%d bytes, declared %d", len(got), declared)
		}
		again, err := value.Inflate(nil, value.Deflate(nil, got))
		if err != nil || !bytes.Equal(again, got) {
			t.Fatalf("round trip: %v", err)
		}
	})
}

// FuzzXattrs takes arbitrary values apart: no panic, and a section that passes the check can be put together again.
func FuzzXattrs(f *testing.F) {
	section := value.AppendXattr(nil, []byte("_sync"), []byte(`{"rev":1}`))
	f.Add(value.Join(nil, section, []byte(`{}`)))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0})
	f.Fuzz(func(t *testing.T, v []byte) {
		section, body, err := value.Split(v, value.Xattr)
		if err != nil || value.CheckXattrs(section, json.Valid) != nil {
			return
		}
		var again []byte
		for key, val := range value.Xattrs(section) {
			again = value.AppendXattr(again, key, val)
		}
		if !bytes.Equal(value.Join(nil, again, body), v) {
			t.Fatalf("%q became %q", v, value.Join(nil, again, body))
		}
	})
}
