package value_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/value"
	"github.com/klauspost/compress/s2"
)

// TestSnappyRoundTrip deflates and inflates behind bytes that must stay as they are.
func TestSnappyRoundTrip(t *testing.T) {
	for _, text := range []string{"", "a", strings.Repeat("charpoy ", 1000), strings.Repeat("\x00", 70000)} {
		block := value.Deflate([]byte("front"), []byte(text))
		if !bytes.HasPrefix(block, []byte("front")) {
			t.Fatalf("Deflate lost what stood before: %q", block[:5])
		}
		got, err := value.Inflate([]byte("head"), block[5:])
		if err != nil || string(got) != "head"+text {
			t.Errorf("%d bytes: %v, %d bytes back", len(text), err, len(got))
		}
	}
}

// TestInflateRefuses feeds blocks that must not be inflated; dst must come back as it was.
func TestInflateRefuses(t *testing.T) {
	bomb := []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0} // declares 4 GiB
	atLimit := []byte{0x80, 0x80, 0x80, 0x0f, 0}    // 30 MiB with nothing behind
	above := []byte{0x81, 0x80, 0x80, 0x0f, 0}
	extended := s2.Encode(nil, bytes.Repeat([]byte("abcdefgh12345678"), 4000))
	for name, c := range map[string]struct {
		block []byte
		size  bool
	}{
		"empty":            {nil, false},
		"varint cut":       {[]byte{0x80}, false},
		"bomb":             {bomb, true},
		"one above limit":  {above, true},
		"limit, no data":   {atLimit, false},
		"literal cut":      {[]byte{5, 4 << 2, 'a'}, false},
		"copy before data": {[]byte{4, 0x01, 0x01}, false},
		"repeat extension": {[]byte{8, 3 << 2, 'a', 'b', 'c', 'd', 0x01, 0x00}, false},
		"too short":        {[]byte{9, 0, 'a'}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := value.Inflate([]byte("dst"), c.block)
			if !errors.Is(err, value.ErrInflate) || errors.Is(err, error(value.ErrInflatedSize)) != c.size {
				t.Errorf("error %v, want ErrInflate, size fault %v", err, c.size)
			}
			if string(got) != "dst" {
				t.Errorf("dst became %q", got)
			}
		})
	}
	if _, err := value.Inflate(nil, extended); err == nil {
		t.Log("this S2 block happens to use no extension") // the repeat case above is the sure one
	}
}

// TestSplit takes values with and without attributes apart.
func TestSplit(t *testing.T) {
	section := value.AppendXattr(value.AppendXattr(nil, []byte("_sync"), []byte(`{"rev":1}`)), []byte("u"), []byte(`1`))
	whole := value.Join(nil, section, []byte(`{"a":1}`))
	gotSection, body, err := value.Split(whole, value.JSON|value.Xattr)
	if err != nil || !bytes.Equal(gotSection, section) || string(body) != `{"a":1}` {
		t.Fatalf("Split = %q, %q, %v", gotSection, body, err)
	}
	var keys []string
	for k, v := range value.Xattrs(gotSection) {
		keys = append(keys, string(k)+"="+string(v))
	}
	if got := strings.Join(keys, " "); got != `_sync={"rev":1} u=1` {
		t.Errorf("attributes %s", got)
	}
	if got := value.SystemSize(section); got != 4+5+9+2 {
		t.Errorf("SystemSize = %d", got)
	}
	if err := value.CheckXattrs(section, json.Valid); err != nil {
		t.Error(err)
	}
	if _, body, err := value.Split([]byte("plain"), value.JSON); err != nil || string(body) != "plain" {
		t.Errorf("without the bit: %q, %v", body, err)
	}
}

func TestBadXattrs(t *testing.T) {
	for name, v := range map[string][]byte{
		"no length":      {0, 0, 0},
		"length too big": {0, 0, 0, 5, 1, 2, 3, 4},
		"length huge":    {0xff, 0xff, 0xff, 0xff, 1},
	} {
		if _, _, err := value.Split(v, value.Xattr); !errors.Is(err, value.ErrXattr) {
			t.Errorf("%s: %v", name, err)
		}
	}
	pair := func(k, v string) []byte { return value.AppendXattr(nil, []byte(k), []byte(v)) }
	for name, section := range map[string][]byte{
		"pair cut":      pair("a", "1")[:7],
		"no end zero":   {0, 0, 0, 3, 'a', 0, '1'},
		"no zero":       {0, 0, 0, 2, 'a', 'b'},
		"empty key":     pair("", "1"),
		"long key":      pair(strings.Repeat("k", 16), "1"),
		"value no JSON": pair("a", "x"),
		"twice":         append(pair("a", "1"), pair("a", "2")...),
		"huge pair":     {0xff, 0xff, 0xff, 0xff, 'a'},
	} {
		if err := value.CheckXattrs(section, json.Valid); !errors.Is(err, value.ErrXattr) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := value.CheckXattrs(pair(strings.Repeat("k", 15), "1"), json.Valid); err != nil {
		t.Errorf("15 bytes of key: %v", err)
	}
}
