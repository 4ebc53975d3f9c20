package store

import (
	"reflect"
	"testing"
)

func exampleState() state {
	return state{revision: 12, entries: map[string]Entry{
		"/a":   {Key: "/a", Value: []byte(`{"x":1}`), Created: 1, Modified: 12},
		"/a/b": {Key: "/a/b", Value: []byte{}, Created: 3, Modified: 3},
		"/z":   {Key: "/z", Value: make([]byte, 300), Created: 2, Modified: 7},
	}}
}

// FuzzState: no bytes crash the decoder or make it accept nonsense; what it accepts encodes to the very same bytes. The
// fuzzer cannot guess checksums, so half of the inputs get a right one.
func FuzzState(f *testing.F) {
	good := encodeState(exampleState())
	f.Add(good, false)
	f.Add(good[:len(good)-stateTrailer], true)
	f.Add(good[:len(good)/2], true)
	f.Add(encodeState(state{entries: map[string]Entry{}}), false)
	f.Add([]byte(stateMagic), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal {
			data = sealState(data)
		}
		s, err := decodeState(data)
		if err != nil {
			return
		}
		again, err := decodeState(encodeState(s))
		if err != nil || !reflect.DeepEqual(s, again) {
			t.Fatalf("%x gives %+v; encoded and decoded %+v, %v", data, s, again, err)
		}
	})
}
