package loadgen

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Least sizes of values. Shorter raw ones have no room for the digits of their key's index and all look the same.
const (
	leastRaw  = 1
	leastJSON = 20
)

// value is a value of one size. The digits of the key's index are patched in at offset digits; −1: there is no room for them.
type value struct {
	text   []byte
	digits int
}

func newValue(kind ValueKind, n int) value {
	if kind == JSON {
		return value{jsonValue(n), len(`{"id":"`)}
	}
	v := value{make([]byte, n), -1}
	if n > keyDigits {
		v.digits = 1
	}
	// A tilde begins no JSON; the rest is text that does not compress to nothing.
	state := uint32(n)
	for i := range v.text {
		state = state*1664525 + 1013904223
		v.text[i] = 'A' + byte(state>>24)%26
	}
	v.text[0] = '~'
	return v
}

// jsonValue makes an object of exactly n bytes.
func jsonValue(n int) []byte {
	var b strings.Builder
	b.WriteString(`{"id":"00000000"`)
	for i := 0; ; i++ {
		var field string
		switch i % 4 {
		case 0:
			field = fmt.Sprintf(`,"name%d":"Ada Lovelace the %dth"`, i, i)
		case 1:
			field = fmt.Sprintf(`,"price%d":%d.%02d`, i, i*37+11, i%100)
		case 2:
			field = fmt.Sprintf(`,"tags%d":["blue","round",%d,true,null]`, i, i)
		case 3:
			field = fmt.Sprintf(`,"place%d":{"lat":%d.25,"lon":-%d.5,"city":"Lisbon"}`, i, i%90, i%180)
		}
		if b.Len()+len(field)+len(`,"pad":""}`) > n {
			break
		}
		b.WriteString(field)
	}
	switch room := n - b.Len() - len(`}`); {
	case room >= len(`,"pad":""`):
		b.WriteString(`,"pad":"` + strings.Repeat("x", room-len(`,"pad":""`)) + `"`)
	default:
		b.WriteString(strings.Repeat(" ", room))
	}
	b.WriteString("}")
	return []byte(b.String())
}

// is reports whether body is this value with the digits of a key's index.
func (v *value) is(body []byte, index uint32) bool {
	if len(body) != len(v.text) {
		return false
	}
	if v.digits < 0 {
		return string(body) == string(v.text)
	}
	after := v.digits + keyDigits
	return string(body[:v.digits]) == string(v.text[:v.digits]) && string(body[after:]) == string(v.text[after:]) &&
		binary.BigEndian.Uint64(body[v.digits:]) == hexDigits(index)
}

// hexDigits gives the eight lower-case hex digits of x as they follow each other in memory, read as a big-endian number. It
// computes all eight at once, each in a byte of its own.
func hexDigits(x uint32) uint64 {
	v := uint64(x)
	v = (v&0xffff0000)<<16 | v&0xffff
	v = (v<<8 | v) & 0x00ff00ff00ff00ff
	v = (v<<4 | v) & 0x0f0f0f0f0f0f0f0f
	const ones = 0x0101010101010101
	letters := (v + 6*ones) >> 4 & ones // 1 where the digit is above 9
	return v + '0'*ones + letters*('a'-'0'-10)
}

func putHex(dst []byte, x uint32) { binary.BigEndian.PutUint64(dst, hexDigits(x)) }
