package value

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
)

// ErrXattr says that a value's section of extended attributes is malformed.
var ErrXattr = errors.New("malformed section of extended attributes")

// MaxXattrKey bounds the key of an extended attribute, in bytes.
const MaxXattrKey = 15

const lengthSize = 4

// Split separates an inflated value into its section of extended attributes and its body; without the Xattr bit the
// section is empty. Both alias v. The section returned begins after its length field. Only the outer length is checked:
// see CheckXattrs.
func Split(v []byte, dt Datatype) (section, body []byte, err error) {
	if dt&Xattr == 0 {
		return nil, v, nil
	}
	if len(v) < lengthSize {
		return nil, nil, ErrXattr
	}
	n := binary.BigEndian.Uint32(v)
	if uint64(n) > uint64(len(v)-lengthSize) {
		return nil, nil, ErrXattr
	}
	end := lengthSize + int(n)
	return v[lengthSize:end:end], v[end:], nil
}

// Xattrs walks over the attributes of a section. Keys and values alias it. A malformed section ends the walk early; who did
// not make the section asks CheckXattrs first.
func Xattrs(section []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, val []byte) bool) {
		for len(section) > 0 {
			key, val, rest, ok := nextXattr(section)
			if !ok || !yield(key, val) {
				return
			}
			section = rest
		}
	}
}

// CheckXattrs validates a section that came from outside: each attribute is complete, has a key of 1 to MaxXattrKey bytes
// that no other has, and a value that valid (the JSON scanner) accepts. It answers nil or ErrXattr.
func CheckXattrs(section []byte, valid func([]byte) bool) error {
	for rest := section; len(rest) > 0; {
		key, val, next, ok := nextXattr(rest)
		if !ok || len(key) == 0 || len(key) > MaxXattrKey || !valid(val) {
			return ErrXattr
		}
		for earlier := range Xattrs(section[:len(section)-len(rest)]) {
			if bytes.Equal(earlier, key) {
				return ErrXattr
			}
		}
		rest = next
	}
	return nil
}

// nextXattr takes one attribute from the front: a length, key, zero byte, value, zero byte.
func nextXattr(section []byte) (key, val, rest []byte, ok bool) {
	if len(section) < lengthSize {
		return nil, nil, nil, false
	}
	n := binary.BigEndian.Uint32(section)
	if uint64(n) > uint64(len(section)-lengthSize) {
		return nil, nil, nil, false
	}
	pair := section[lengthSize : lengthSize+int(n)]
	key, val, ok = bytes.Cut(pair, []byte{0})
	if !ok || len(val) == 0 || val[len(val)-1] != 0 {
		return nil, nil, nil, false
	}
	return key, val[:len(val)-1], section[lengthSize+int(n):], true
}

// AppendXattr appends one attribute to a section.
func AppendXattr(section, key, val []byte) []byte {
	section = binary.BigEndian.AppendUint32(section, uint32(len(key)+len(val)+2))
	section = append(section, key...)
	section = append(section, 0)
	section = append(section, val...)
	return append(section, 0)
}

// Join appends a value made of a section and a body: the inverse of Split for values with the Xattr bit.
func Join(dst, section, body []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(section)))
	dst = append(dst, section...)
	return append(dst, body...)
}

// SystemSize sums the bytes of the attributes whose keys begin with an underscore; they have a budget of their own.
func SystemSize(section []byte) int {
	n := 0
	for key, val := range Xattrs(section) {
		if len(key) > 0 && key[0] == '_' {
			n += lengthSize + len(key) + len(val) + 2
		}
	}
	return n
}
