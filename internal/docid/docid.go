// Package docid names documents inside a bucket: a collection and a key. On connections that negotiated collections the
// wire writes both as one byte string, the collection id as unsigned LEB128 in front of the key (wire.md 9.2).
package docid

import "errors"

// Collection is a collection's id. 0 is the default collection; 1 to 7 are reserved; others are given from 8 upwards and
// never reused within a bucket.
type Collection uint32

// Default is the id of the default collection.
const Default Collection = 0

// Bounds of keys, in bytes.
const (
	MaxKey           = 250 // key without a prefix
	MaxCollectionKey = 246 // key in a collection other than the default one
	MaxPrefixed      = 251 // prefix and key together
	maxPrefix        = 5
)

// Errors of Split.
var (
	ErrPrefix   = errors.New("collection prefix is not a canonical LEB128 number")
	ErrReserved = errors.New("collection ids 1 to 7 are reserved")
	ErrNoKey    = errors.New("no logical key found")
)

// AppendPrefix appends the LEB128 form of id to dst and returns the longer slice.
func AppendPrefix(dst []byte, id Collection) []byte {
	for id >= 0x80 {
		dst = append(dst, byte(id)|0x80)
		id >>= 7
	}
	return append(dst, byte(id))
}

// Split takes a prefixed key apart. The key returned aliases wire. Only the shortest encoding of an id is accepted, so that
// one document has one name.
func Split(wire []byte) (id Collection, key []byte, err error) {
	var v uint64
	for i, b := range wire {
		if i == maxPrefix {
			return 0, nil, ErrPrefix
		}
		v |= uint64(b&0x7f) << (7 * i)
		if b&0x80 != 0 {
			continue
		}
		switch {
		case i > 0 && b == 0, v > 1<<32-1:
			return 0, nil, ErrPrefix
		case v >= 1 && v <= 7:
			return 0, nil, ErrReserved
		case i+1 == len(wire):
			return 0, nil, ErrNoKey
		}
		return Collection(v), wire[i+1:], nil
	}
	return 0, nil, ErrPrefix
}
