package mcbp

import "encoding/binary"

// Identifiers of framing extras in requests (wire.md 3.3).
const (
	frameBarrier        = 0
	frameDurability     = 1
	frameStreamID       = 2
	frameImpersonate    = 4
	framePreserveExpiry = 5
)

// frameServerDuration identifies the server's duration in responses.
const frameServerDuration = 0

// RequestInfos is what the framing extras of a request say.
type RequestInfos struct {
	Barrier        bool
	PreserveExpiry bool
	Durability     uint8  // level, 0 = the frame was not there
	Timeout        uint16 // of a durable write in milliseconds, 0 = the server's own
	Impersonate    []byte // user to act for, aliases the frame; "^" in front means another domain
}

// Parse reads the framing extras b of a request for op. It returns StatusSuccess, or the status and context to answer with.
// Identifiers that we do not know are an error: a client must not believe that something was heeded.
func (r *RequestInfos) Parse(b []byte, op *Op) (Status, string) {
	*r = RequestInfos{}
	for len(b) > 0 {
		id, body, rest, ok := nextInfo(b)
		if !ok {
			return StatusInvalid, "Framing extras are cut short"
		}
		b = rest
		if status, text := r.take(id, body, op); status != StatusSuccess {
			return status, text
		}
	}
	return StatusSuccess, ""
}

func (r *RequestInfos) take(id int, body []byte, op *Op) (Status, string) {
	switch id {
	case frameBarrier:
		if len(body) != 0 {
			return StatusInvalid, "Barrier frame must be empty"
		}
		r.Barrier = true
	case frameDurability:
		return r.takeDurability(body, op)
	case frameStreamID:
		return StatusInvalid, "Stream id frame is for DCP only"
	case frameImpersonate:
		if len(body) == 0 || len(body) == 1 && body[0] == '^' {
			return StatusInvalid, "Impersonate frame must name a user"
		}
		r.Impersonate = body
	case framePreserveExpiry:
		if len(body) != 0 {
			return StatusInvalid, "Preserve expiry frame must be empty"
		}
		if !op.PreserveExpiry {
			return StatusNotSupported, "Command does not support preserve expiry"
		}
		r.PreserveExpiry = true
	default:
		return StatusUnknownFrameInfo, "Unknown framing extra"
	}
	return StatusSuccess, ""
}

func (r *RequestInfos) takeDurability(body []byte, op *Op) (Status, string) {
	switch {
	case len(body) != 1 && len(body) != 3:
		return StatusInvalid, "Durability frame must have 1 or 3 bytes"
	case !op.Durability:
		return StatusInvalid, "Command does not support durability"
	}
	if len(body) == 3 {
		timeout := binary.BigEndian.Uint16(body[1:])
		if timeout == 0 || timeout == 0xffff {
			return StatusInvalid, "Durability timeout must be 1 to 65534 ms"
		}
		r.Timeout = timeout
	}
	if body[0] < 1 || body[0] > 3 {
		return StatusDurabilityInvalid, "Unknown durability level"
	}
	r.Durability = body[0]
	return StatusSuccess, ""
}

// nextInfo takes one framing extra from the front of b. Identifier and length above 14 continue in bytes of their own, the
// identifier's first.
func nextInfo(b []byte) (id int, body, rest []byte, ok bool) {
	id, n := int(b[0]>>4), int(b[0]&15)
	b = b[1:]
	for _, field := range [...]*int{&id, &n} {
		if *field != 15 {
			continue
		}
		if len(b) == 0 {
			return 0, nil, nil, false
		}
		*field += int(b[0])
		b = b[1:]
	}
	if len(b) < n {
		return 0, nil, nil, false
	}
	return id, b[:n], b[n:], true
}

// AppendInfos appends the framing extras that say r: the inverse of Parse.
func (r *RequestInfos) AppendInfos(dst []byte) []byte {
	if r.Barrier {
		dst = appendInfo(dst, frameBarrier)
	}
	if r.Durability != 0 && r.Timeout != 0 {
		dst = appendInfo(dst, frameDurability, r.Durability, byte(r.Timeout>>8), byte(r.Timeout))
	} else if r.Durability != 0 {
		dst = appendInfo(dst, frameDurability, r.Durability)
	}
	if len(r.Impersonate) > 0 {
		dst = appendInfo(dst, frameImpersonate, r.Impersonate...)
	}
	if r.PreserveExpiry {
		dst = appendInfo(dst, framePreserveExpiry)
	}
	return dst
}

// appendInfo appends one framing extra of at most 270 bytes.
func appendInfo(dst []byte, id int, body ...byte) []byte {
	first, escapes := byte(0), [2]byte{}
	n := 0
	for i, field := range [...]int{id, len(body)} {
		nibble := field
		if field >= 15 {
			nibble = 15
			escapes[n] = byte(field - 15)
			n++
		}
		first |= byte(nibble) << (4 * (1 - i))
	}
	dst = append(dst, first)
	dst = append(dst, escapes[:n]...)
	return append(dst, body...)
}

// DurationInfoLen is the length of the framing extra that carries the server's duration.
const DurationInfoLen = 3

// PutDurationInfo writes the framing extra of a response that tells how long the server took. buf has at least
// DurationInfoLen bytes.
func PutDurationInfo(buf []byte, micros uint64) {
	_ = buf[2]
	buf[0] = frameServerDuration<<4 | 2
	binary.BigEndian.PutUint16(buf[1:], EncodeDuration(micros))
}

// ServerDuration finds the server's duration in the framing extras of a response, in microseconds.
func ServerDuration(frameExtras []byte) (micros float64, ok bool) {
	for b := frameExtras; len(b) > 0; {
		id, body, rest, whole := nextInfo(b)
		if !whole {
			return 0, false
		}
		if id == frameServerDuration && len(body) == 2 {
			return DecodeDuration(binary.BigEndian.Uint16(body)), true
		}
		b = rest
	}
	return 0, false
}
