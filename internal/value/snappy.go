package value

import (
	"errors"
	"slices"

	"github.com/klauspost/compress/s2"
)

// MaxInflated bounds what a Snappy block may declare as its inflated length, in bytes (wire.md 18).
const MaxInflated = 30 << 20

// Errors of Inflate.
var (
	// ErrInflate says that the bytes are not a Snappy block.
	ErrInflate = errors.New("not a Snappy block")
	// ErrInflatedSize says that the block declares more than the limit. It is an ErrInflate too.
	ErrInflatedSize = &sizeError{}
)

type sizeError struct{}

func (*sizeError) Error() string        { return "inflated length of the Snappy block exceeds the limit" }
func (*sizeError) Is(target error) bool { return target == ErrInflate }

// InflatedLen reads the length that a Snappy block declares, without looking at the rest. Errors are ErrInflate and, above
// MaxInflated, ErrInflatedSize.
func InflatedLen(block []byte) (int, error) {
	n, err := s2.DecodedLen(block)
	switch {
	case err != nil:
		return 0, ErrInflate
	case n > MaxInflated:
		return 0, ErrInflatedSize
	}
	return n, nil
}

// Inflate appends the contents of a Snappy block to dst. It allocates for the declared length only after it has been held
// against MaxInflated. Blocks that use the S2 extension, which other Snappy decoders refuse, are ErrInflate: they would be
// stored and sent to clients that cannot read them. After an error dst is returned as it was. block must not overlap the
// free capacity of dst.
func Inflate(dst, block []byte) ([]byte, error) {
	n, err := InflatedLen(block)
	if err != nil {
		return dst, err
	}
	if !strict(block) {
		return dst, ErrInflate
	}
	at := len(dst)
	grown := slices.Grow(dst, n)[:at+n]
	out, err := s2.Decode(grown[at:at+n:at+n], block)
	if err != nil || len(out) != n {
		return dst, ErrInflate
	}
	return grown, nil
}

// Deflate appends src as a Snappy block to dst. src must not exceed MaxInflated and not overlap the free capacity of dst.
func Deflate(dst, src []byte) []byte {
	at := len(dst)
	grown := slices.Grow(dst, s2.MaxEncodedLen(len(src)))
	block := s2.EncodeSnappy(grown[at:cap(grown)], src)
	return grown[:at+len(block)]
}

// The low two bits of an element's first byte say what it is.
const (
	tagLiteral = 0
	tagCopy1   = 1
	tagCopy2   = 2
)

// strict walks over the elements of a block and reports whether they are Snappy's own: S2 gives a copy with a one-byte
// offset of zero another meaning. It does not prove that the block can be decoded.
func strict(block []byte) bool {
	i := 0
	for i < len(block) && block[i]&0x80 != 0 { // the declared length, a varint
		i++
	}
	for i++; i < len(block); {
		tag := block[i]
		switch tag & 3 {
		case tagLiteral:
			n := int(tag >> 2)
			i++
			if extra := n - 59; extra > 0 {
				if len(block)-i < extra {
					return false
				}
				n = 0
				for k := extra - 1; k >= 0; k-- {
					n = n<<8 | int(block[i+k])
				}
				i += extra
			}
			if n >= len(block)-i {
				return false
			}
			i += n + 1
		case tagCopy1:
			if i+1 >= len(block) || tag>>5 == 0 && block[i+1] == 0 {
				return false
			}
			i += 2
		case tagCopy2:
			i += 3
		default:
			i += 5
		}
	}
	return true
}
