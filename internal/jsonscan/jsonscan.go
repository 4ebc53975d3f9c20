// Package jsonscan works on JSON text without building a tree: it validates. The engine asks it of every value that is
// written, to decide the JSON bit, so it is the largest item of a write's cost (kv.md 16).
//
// Valid agrees with encoding/json.Valid on every input; a differential fuzz test holds it to that. In particular strings may
// hold bytes that are not UTF-8, and nesting deeper than 10 000 is not valid. Functions are pure and keep nothing.
package jsonscan

import (
	"encoding/binary"
	"encoding/json"
	"math/bits"
)

// bitDepth is how deep the scanner's own stack reaches. Deeper texts, which nobody stores on purpose, are left to the
// standard library, so that the stack of every call stays 32 bytes.
const bitDepth = 256

// Valid reports whether b is one JSON value, with optional white space around it. It does not allocate, except for texts
// that are nested more than 256 deep.
func Valid(b []byte) bool {
	var s stack
	i := skipSpace(b, 0)
	for {
		// A value begins at b[i].
		if i >= len(b) {
			return false
		}
		switch c := b[i]; c {
		case '"':
			i = scanString(b, i+1)
		case '{', '[':
			if s.depth == bitDepth {
				return json.Valid(b)
			}
			s.push(c == '{')
			i = skipSpace(b, i+1)
			if i < len(b) && b[i] == c+2 { // ']' and '}' both stand two places behind their opening twin
				s.depth--
				i++
				break
			}
			if c == '{' {
				i = scanName(b, i)
			}
			if i < 0 {
				return false
			}
			continue
		default:
			i = scanScalar(b, i)
		}
		if i < 0 {
			return false
		}
		// A value ended before b[i]: close what closes here, up to a comma.
		for {
			i = skipSpace(b, i)
			if s.depth == 0 {
				return i == len(b)
			}
			if i == len(b) {
				return false
			}
			if b[i] == ',' {
				break
			}
			if b[i] != s.closing() {
				return false
			}
			s.depth--
			i++
		}
		i = skipSpace(b, i+1)
		if s.closing() == '}' {
			if i = scanName(b, i); i < 0 {
				return false
			}
		}
	}
}

// stack remembers which of the open containers are objects, one bit each.
type stack struct {
	objects [bitDepth / 64]uint64
	depth   int
}

func (s *stack) push(object bool) {
	word, bit := &s.objects[s.depth>>6&3], uint64(1)<<(s.depth&63)
	*word &^= bit
	if object {
		*word |= bit
	}
	s.depth++
}

// closing gives the byte that ends the innermost container.
func (s *stack) closing() byte {
	d := s.depth - 1
	return ']' + byte(s.objects[d>>6&3]>>(d&63)&1)<<5
}

// skipSpace returns the index of the first byte from i on that is not white space, or len(b).
func skipSpace(b []byte, i int) int {
	for ; i < len(b) && b[i] <= ' '; i++ {
		if c := b[i]; c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			return i
		}
	}
	return i
}

// scanName takes a member's name and colon from b[i] on. It returns where the member's value should begin, or −1.
func scanName(b []byte, i int) int {
	if i >= len(b) || b[i] != '"' {
		return -1
	}
	i = scanString(b, i+1)
	if i < 0 {
		return -1
	}
	i = skipSpace(b, i)
	if i >= len(b) || b[i] != ':' {
		return -1
	}
	return skipSpace(b, i+1)
}

// Constants for looking at eight bytes at once: each byte of the word holds the value.
const (
	every      = 0x0101010101010101
	highBits   = 0x80 * every
	quotes     = '"' * every
	backslash  = '\\' * every
	firstPrint = 0x20 * every
)

// scanString returns the index behind the quote that ends the string whose contents begin at b[i], or −1.
func scanString(b []byte, i int) int {
	for {
		for len(b)-i >= 8 {
			w := binary.LittleEndian.Uint64(b[i:])
			q, s := w^quotes, w^backslash
			// A byte minus one borrows into its high bit only if it was zero, and minus 0x20 only if it was a control
			// character. A borrow may make a later byte look special too, but never an earlier one.
			special := ((q-every)&^q | (s-every)&^s | (w-firstPrint)&^w) & highBits
			if special == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(special) >> 3
			break
		}
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
			i++
			if len(b)-i >= 8 {
				break
			}
		}
		switch {
		case i >= len(b) || b[i] < ' ':
			return -1
		case b[i] == '"':
			return i + 1
		case b[i] == '\\':
			if i = scanEscape(b, i+1); i < 0 {
				return -1
			}
		}
	}
}

// scanEscape returns the index behind the escape whose letter is b[i], or −1.
func scanEscape(b []byte, i int) int {
	if i >= len(b) {
		return -1
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 1
	case 'u':
		if len(b)-i < 5 {
			return -1
		}
		for _, c := range b[i+1 : i+5] {
			if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return -1
			}
		}
		return i + 5
	}
	return -1
}

// scanScalar returns the index behind the number or literal at b[i], or −1.
func scanScalar(b []byte, i int) int {
	switch b[i] {
	case 't':
		return scanLiteral(b, i, "true")
	case 'f':
		return scanLiteral(b, i, "false")
	case 'n':
		return scanLiteral(b, i, "null")
	}
	return scanNumber(b, i)
}

func scanLiteral(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return -1
	}
	return i + len(word)
}

func scanNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
	} else if i = scanDigits(b, i); i < 0 {
		return -1
	}
	if i < len(b) && b[i] == '.' {
		if i = scanDigits(b, i+1); i < 0 {
			return -1
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		return scanDigits(b, i)
	}
	return i
}

// scanDigits returns the index behind one or more digits, or −1 if there is none.
func scanDigits(b []byte, i int) int {
	first := i
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	if i == first {
		return -1
	}
	return i
}

func isDigit(c byte) bool { return c-'0' <= 9 }
