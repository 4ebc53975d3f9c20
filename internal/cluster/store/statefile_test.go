package store

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"reflect"
	"slices"
	"testing"
)

// sealState appends the checksum that makes a body a file.
func sealState(body []byte) []byte {
	return binary.BigEndian.AppendUint32(slices.Clip(body), crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)))
}

// What was encoded decodes to the same.
func TestStateRoundTrip(t *testing.T) {
	for _, s := range []state{exampleState(), {entries: map[string]Entry{}}} {
		got, err := decodeState(encodeState(s))
		if err != nil || !reflect.DeepEqual(s, got) {
			t.Errorf("got %+v, %v, want %+v", got, err, s)
		}
	}
}

// The file's bytes are a promise to later versions: docs/formats/cluster-state.md shows this very example.
func TestStateGolden(t *testing.T) {
	s := state{revision: 5, entries: map[string]Entry{"k": {Key: "k", Value: []byte("v1"), Created: 2, Modified: 5}}}
	const want = "434841" + "52504f5953" + "00000001" + "0000000000000005" + "00000001" + "016b" + "02" + "05" + "027631" + "a820c482"
	if got := hex.EncodeToString(encodeState(s)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Each flipped bit and each missing byte is noticed.
func TestStateDamage(t *testing.T) {
	good := encodeState(exampleState())
	var corrupt *CorruptError
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 1 << (i % 8)
		if _, err := decodeState(bad); !errors.As(err, &corrupt) {
			t.Fatalf("byte %d flipped: %v, want a CorruptError", i, err)
		}
		if _, err := decodeState(good[:i]); !errors.As(err, &corrupt) {
			t.Fatalf("cut at %d: %v, want a CorruptError", i, err)
		}
	}
}

// Files with a right checksum that contradict themselves are refused; one of a newer version says so.
func TestStateNonsense(t *testing.T) {
	header := func(version uint32, revision uint64, n uint32) []byte {
		out := append([]byte(nil), stateMagic...)
		out = binary.BigEndian.AppendUint32(out, version)
		out = binary.BigEndian.AppendUint64(out, revision)
		return binary.BigEndian.AppendUint32(out, n)
	}
	f := func(name string, body []byte, newer bool) {
		t.Helper()
		_, err := decodeState(sealState(body))
		var corrupt *CorruptError
		if newer != errors.Is(err, ErrNewerFormat) || !newer && !errors.As(err, &corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	entry := []byte{1, 'k', 1, 1, 0}
	f("newer", header(stateVersion+1, 1, 0), true)
	f("version 0", header(0, 1, 0), false)
	f("negative revision", header(1, 1<<63, 0), false)
	f("too many entries", header(1, 1, 1<<31), false)
	f("missing entry", header(1, 1, 1), false)
	f("twice the same key", append(header(1, 1, 2), append(entry, entry...)...), false)
	f("keys out of order", append(header(1, 1, 2), 1, 'k', 1, 1, 0, 1, 'a', 1, 1, 0), false)
	f("empty key", append(header(1, 1, 1), 0, 1, 1, 0), false)
	f("created later than modified", append(header(1, 5, 1), 1, 'k', 3, 2, 0), false)
	f("modified later than the file", append(header(1, 1, 1), 1, 'k', 1, 2, 0), false)
	f("value cut short", append(header(1, 1, 1), 1, 'k', 1, 1, 9), false)
	f("bytes at the end", append(header(1, 1, 1), append(entry, 0)...), false)
}
