package mctext

import "math"

// pastExpiry is an expiry in wire form that is over: the smallest that is not relative to now (wire.md 7.5). Negative ones
// become it.
const pastExpiry = 30*24*3600 + 1

// parseUint reads decimal digits. No sign and no blank is accepted.
func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	n := uint64(0)
	for _, c := range b {
		d := uint64(c - '0')
		if d > 9 || n > math.MaxUint64/10 || n == math.MaxUint64/10 && d > math.MaxUint64%10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

func parseUint32(b []byte) (uint32, bool) {
	n, ok := parseUint(b)
	return uint32(n), ok && n <= math.MaxUint32
}

// parseExpiry reads an expiry, which may be negative, and gives it in wire form.
func parseExpiry(b []byte) (uint32, bool) {
	if len(b) > 0 && b[0] == '-' {
		n, ok := parseUint(b[1:])
		switch {
		case !ok || n > -math.MinInt32:
			return 0, false
		case n == 0:
			return 0, true
		}
		return pastExpiry, true
	}
	return parseUint32(b)
}

// parseLength reads the length of a data block: at most what memcached takes for one.
func parseLength(b []byte) (int64, bool) {
	n, ok := parseUint(b)
	return int64(n), ok && n <= math.MaxInt32-2
}
