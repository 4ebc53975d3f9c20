package mctext

import "strconv"

// AppendLine appends a reply of one line.
func AppendLine(dst []byte, line string) []byte {
	dst = append(dst, line...)
	return append(dst, '\r', '\n')
}

// AppendEnd appends the line that ends the reply to get, gets, gat, gats and stats.
func AppendEnd(dst []byte) []byte { return append(dst, "END\r\n"...) }

// AppendNumber appends the reply to incr and decr.
func AppendNumber(dst []byte, n uint64) []byte {
	dst = strconv.AppendUint(dst, n, 10)
	return append(dst, '\r', '\n')
}

// AppendValueHead appends what stands before a value in the reply to get (cas == 0) or gets: VALUE <key> <flags> <bytes>
// [<cas>]. No document has the CAS 0. The value and a line end follow.
func AppendValueHead(dst, key []byte, flags uint32, length int, cas uint64) []byte {
	dst = append(dst, "VALUE "...)
	dst = append(dst, key...)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, uint64(flags), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, uint64(length), 10)
	if cas != 0 {
		dst = append(dst, ' ')
		dst = strconv.AppendUint(dst, cas, 10)
	}
	return append(dst, '\r', '\n')
}

// AppendStat appends one line of statistics.
func AppendStat(dst []byte, name, value string) []byte {
	dst = append(dst, "STAT "...)
	dst = append(dst, name...)
	dst = append(dst, ' ')
	dst = append(dst, value...)
	return append(dst, '\r', '\n')
}

// AppendFlag appends a return flag with a number.
func AppendFlag(dst []byte, letter byte, n uint64) []byte {
	dst = append(dst, ' ', letter)
	return strconv.AppendUint(dst, n, 10)
}

// AppendSigned is AppendFlag for what may be negative: -1 stands for no expiry.
func AppendSigned(dst []byte, letter byte, n int64) []byte {
	dst = append(dst, ' ', letter)
	return strconv.AppendInt(dst, n, 10)
}

// AppendEcho appends the return flags that repeat what the request had, as misses and refusals carry them: key and opaque, in
// the request's order.
func (c *Command) AppendEcho(dst []byte) []byte {
	for i := range c.NumFlags {
		dst = c.AppendEchoed(dst, c.Flags[i])
	}
	return dst
}

// AppendEchoed appends one flag if it is one of those that are repeated: k and O. A key in base64 is followed by b.
func (c *Command) AppendEchoed(dst []byte, f Flag) []byte {
	switch f.Letter {
	case 'k':
		dst = append(dst, ' ', 'k')
		dst = append(dst, c.RawKey...)
		if c.Base64 {
			dst = append(dst, ' ', 'b')
		}
	case 'O':
		dst = append(dst, ' ', 'O')
		dst = append(dst, c.Token(f)...)
	}
	return dst
}

// AppendURI appends a key as it stands in a list of keys: letters, digits and -._~ as they are, everything else as %XX.
func AppendURI(dst, key []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, b := range key {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '-', b == '.', b == '_', b == '~':
			dst = append(dst, b)
		default:
			dst = append(dst, '%', digits[b>>4], digits[b&15])
		}
	}
	return dst
}

// ValidKey reports whether a key can be sent as it is in a command line; others need base64.
func ValidKey(key []byte) bool { return validKey(key) }
