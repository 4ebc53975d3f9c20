package docid_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/charpoy/charpoy/internal/docid"
)

// TestPrefix checks both directions against the vectors of wire.md 9.2.
func TestPrefix(t *testing.T) {
	for _, c := range []struct {
		id  docid.Collection
		hex string
	}{
		{0, "00"},
		{0x7f, "7f"},
		{0x80, "8001"},
		{0x555, "d50a"},
		{0xffff, "ffff03"},
		{0xcafef00d, "8de0fbd70c"},
		{0xffffffff, "ffffffff0f"},
	} {
		wire := docid.AppendPrefix(nil, c.id)
		if got := hex.EncodeToString(wire); got != c.hex {
			t.Errorf("AppendPrefix(%#x) = %s, want %s", c.id, got, c.hex)
		}
		id, key, err := docid.Split(append(wire, "key"...))
		if err != nil || id != c.id || string(key) != "key" {
			t.Errorf("Split(%s + key) = %#x, %q, %v", c.hex, id, key, err)
		}
	}
}

func TestSplitRefuses(t *testing.T) {
	for _, c := range []struct {
		wire string
		want error
	}{
		{"", docid.ErrPrefix},
		{"\x00", docid.ErrNoKey},
		{"\x80\x01", docid.ErrNoKey},
		{"\x80\x00k", docid.ErrPrefix},                 // longer than need be
		{"\x80", docid.ErrPrefix},                      // no last byte
		{"\x80\x80\x80\x80\x80\x01k", docid.ErrPrefix}, // six bytes
		{"\xff\xff\xff\xff\x1fk", docid.ErrPrefix},     // above 32 bits
		{"\x01k", docid.ErrReserved},
		{"\x07k", docid.ErrReserved},
	} {
		if _, _, err := docid.Split([]byte(c.wire)); !errors.Is(err, c.want) {
			t.Errorf("Split(%q): %v, want %v", c.wire, err, c.want)
		}
	}
}

// FuzzSplit: whatever is accepted is the one encoding of what it means.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("\x00key"))
	f.Add([]byte("\x8d\xe0\xfb\xd7\x0ckey"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		id, key, err := docid.Split(wire)
		if err != nil {
			return
		}
		if again := append(docid.AppendPrefix(nil, id), key...); !bytes.Equal(again, wire) {
			t.Errorf("Split(%x) = %d, %x, which encodes as %x", wire, id, key, again)
		}
	})
}
