package mcbp

import (
	"math/bits"
	"strconv"
	"strings"
)

// Bounds of keys on the wire, in bytes (wire.md 18).
const (
	MaxKey         = 250
	MaxPrefixedKey = 251 // collection prefix and key
)

// Bits of the datatype field (wire.md 3.4).
const (
	DatatypeJSON   = 1
	DatatypeSnappy = 2
	DatatypeXattr  = 4
)

// Validate holds a request against its line of the table: datatype, extras, key, value, CAS, in the order of wire.md 3.5.
// enabled are the datatype bits that the connection has negotiated, collections whether keys carry a prefix there. It
// returns "" or the context text for status 04.
func (o *Op) Validate(f *Frame, enabled uint8, collections bool) string {
	if f.Datatype != 0 {
		if text := datatypeFault(f.Datatype, enabled); text != "" {
			return text
		}
	}
	if n := len(f.Extras); n >= 64 || o.Extras&(1<<n) == 0 {
		return o.extrasFault()
	}
	if text := o.keyFault(len(f.Key), collections); text != "" {
		return text
	}
	switch {
	case o.Value == Forbidden && len(f.Value) > 0:
		return "Request must not include value"
	case o.Value == Required && len(f.Value) == 0:
		return "Request must include value"
	case o.CAS == Forbidden && f.CAS != 0:
		return "Request CAS must not be set"
	case o.CAS == Required && f.CAS == 0:
		return "Request CAS must be set"
	case f.Datatype != 0 && (!o.Datatype || f.Datatype&DatatypeXattr != 0):
		return "Request datatype invalid"
	}
	return ""
}

func datatypeFault(datatype, enabled uint8) string {
	const known = DatatypeJSON | DatatypeSnappy | DatatypeXattr
	switch missing := datatype &^ enabled; {
	case datatype&^known != 0:
		return "Request datatype invalid"
	case missing&DatatypeJSON != 0:
		return "Datatype (json) not enabled for the connection"
	case missing&DatatypeSnappy != 0:
		return "Datatype (snappy) not enabled for the connection"
	case missing&DatatypeXattr != 0:
		return "Datatype (xattr) not enabled for the connection"
	}
	return ""
}

func (o *Op) keyFault(n int, collections bool) string {
	switch {
	case o.Key == Forbidden && n > 0:
		return "Request must not include key"
	case o.Key == Required && n == 0:
		return "Request must include key"
	case o.Collection && collections && n > MaxPrefixedKey:
		return "Key length exceeds 251"
	case n > MaxKey && (!o.Collection || !collections):
		return "Key length exceeds 250"
	}
	return ""
}

func (o *Op) extrasFault() string {
	if o.Extras == 1 {
		return "Request must not include extras"
	}
	var lengths []string
	for mask := o.Extras; mask != 0; mask &= mask - 1 {
		lengths = append(lengths, strconv.Itoa(bits.TrailingZeros64(mask)))
	}
	return "Request must include extras of length " + strings.Join(lengths, " or ")
}
