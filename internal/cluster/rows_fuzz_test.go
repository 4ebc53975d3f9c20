package cluster

import (
	"reflect"
	"testing"
)

// FuzzRows: no bytes crash the decoder, and what it accepts encodes to rows that decode the same.
func FuzzRows(f *testing.F) {
	f.Add(encodeRows(nil))
	f.Add(encodeRows([]storedRow{{1, []uint16{1}}, {300, []uint16{1, 2, 65535}}, {0, nil}}))
	f.Add([]byte{})
	f.Add([]byte{2, 1, 1, 1, 1})
	f.Add([]byte{1, 3, 1, 1, 1})
	f.Add([]byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{1, 1, 1, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		rows, err := decodeRows(data)
		if err != nil {
			return
		}
		again, err := decodeRows(encodeRows(rows))
		if err != nil || !reflect.DeepEqual(rows, again) {
			t.Fatalf("%x gives %v; encoded and decoded %v, %v", data, rows, again, err)
		}
	})
}
