package mcbp

import (
	"encoding/binary"
	"errors"
)

// Magic is the first byte of a frame (wire.md 3.2).
type Magic uint8

// The magics.
const (
	MagicRequest        Magic = 0x80 // client to server
	MagicResponse       Magic = 0x81 // server to client
	MagicFlexRequest    Magic = 0x08 // a request with framing extras
	MagicFlexResponse   Magic = 0x18 // a response with framing extras
	MagicServerRequest  Magic = 0x82 // server to client, once duplex was negotiated
	MagicClientResponse Magic = 0x83 // a client's answer to a server's request
)

// Valid reports whether m begins a frame.
func (m Magic) Valid() bool {
	return m == MagicRequest || m == MagicResponse || m.flex() || m == MagicServerRequest || m == MagicClientResponse
}

func (m Magic) flex() bool { return m == MagicFlexRequest || m == MagicFlexResponse }

// Sizes of frames, in bytes.
const (
	HeaderLen = 24
	MaxBody   = 30 << 20 // larger ones are malformed: nobody allocates for them
)

// Errors of decoding.
var (
	// ErrIncomplete says that more bytes are needed.
	ErrIncomplete = errors.New("frame is not complete yet")
	// ErrMalformed says that the bytes cannot be a frame, so that there is no way to find the next one.
	ErrMalformed = errors.New("malformed frame")
	// ErrTooLarge says that the frame announces a body above MaxBody.
	ErrTooLarge = errors.New("frame body exceeds 30 MiB")
)

// Frame is one message. After decoding, its slices alias the buffer that was decoded.
type Frame struct {
	Magic    Magic
	Opcode   Opcode
	Datatype uint8  // bits of wire.md 3.4
	VB       uint16 // requests: the vBucket; responses: the status, see Status
	Opaque   uint32 // echoed, never interpreted
	CAS      uint64

	FrameExtras []byte
	Extras      []byte
	Key         []byte
	Value       []byte
}

// Status reads the status of a response.
func (f *Frame) Status() Status { return Status(f.VB) }

// Size reads from the beginning of a frame how long the whole frame is. It needs HeaderLen bytes and answers ErrIncomplete
// for fewer, ErrMalformed as soon as the bytes present cannot begin a frame, and ErrTooLarge for a body above MaxBody.
func Size(buf []byte) (int, error) {
	if len(buf) > 0 && !Magic(buf[0]).Valid() {
		return 0, ErrMalformed
	}
	if len(buf) < HeaderLen {
		return 0, ErrIncomplete
	}
	body := binary.BigEndian.Uint32(buf[8:])
	if body > MaxBody {
		return 0, ErrTooLarge
	}
	frameExtras, key := lengths(buf)
	if frameExtras+key+int(buf[4]) > int(body) {
		return 0, ErrMalformed
	}
	return HeaderLen + int(body), nil
}

// lengths gives the lengths of framing extras and key, which share two bytes of the header.
func lengths(header []byte) (frameExtras, key int) {
	if Magic(header[0]).flex() {
		return int(header[2]), int(header[3])
	}
	return 0, int(binary.BigEndian.Uint16(header[2:]))
}

// Decode reads the frame at the beginning of buf and returns it with its length. Errors are those of Size.
func Decode(buf []byte) (Frame, int, error) {
	var f Frame
	n, err := f.Decode(buf)
	return f, n, err
}

// Decode is like the function of the same name, without copying the Frame. After an error f is undefined.
func (f *Frame) Decode(buf []byte) (int, error) {
	n, err := Size(buf)
	if err != nil {
		return 0, err
	}
	if len(buf) < n {
		return 0, ErrIncomplete
	}
	frameExtras, key := lengths(buf)
	f.Magic = Magic(buf[0])
	f.Opcode = Opcode(buf[1])
	f.Datatype = buf[5]
	f.VB = binary.BigEndian.Uint16(buf[6:])
	f.Opaque = binary.BigEndian.Uint32(buf[12:])
	f.CAS = binary.BigEndian.Uint64(buf[16:])
	rest := buf[HeaderLen:n:n]
	f.FrameExtras, rest = rest[:frameExtras:frameExtras], rest[frameExtras:]
	extras := int(buf[4])
	f.Extras, rest = rest[:extras:extras], rest[extras:]
	f.Key, f.Value = rest[:key:key], rest[key:]
	return n, nil
}

// AppendRequest appends f as a client's request, with magic 08 if it has framing extras and 80 otherwise. f.Magic is not
// looked at. With framing extras the key must not exceed 255 bytes.
func AppendRequest(dst []byte, f *Frame) []byte {
	if len(f.FrameExtras) > 0 {
		return appendFrame(dst, MagicFlexRequest, f)
	}
	return appendFrame(dst, MagicRequest, f)
}

// AppendResponse appends f as a server's response, with magic 18 if it has framing extras and 81 otherwise; f.VB is the
// status. With framing extras the key must not exceed 255 bytes.
func AppendResponse(dst []byte, f *Frame) []byte {
	if len(f.FrameExtras) > 0 {
		return appendFrame(dst, MagicFlexResponse, f)
	}
	return appendFrame(dst, MagicResponse, f)
}

// AppendServerRequest appends f as a request from server to client (magic 82).
func AppendServerRequest(dst []byte, f *Frame) []byte { return appendFrame(dst, MagicServerRequest, f) }

func appendFrame(dst []byte, magic Magic, f *Frame) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, HeaderLen)...)
	PutHeader(dst[at:], &Header{
		Magic: magic, Opcode: f.Opcode, Datatype: f.Datatype, VB: f.VB, Opaque: f.Opaque, CAS: f.CAS,
		FrameExtras: len(f.FrameExtras), Extras: len(f.Extras), Key: len(f.Key),
		Body: len(f.FrameExtras) + len(f.Extras) + len(f.Key) + len(f.Value),
	})
	dst = append(dst, f.FrameExtras...)
	dst = append(dst, f.Extras...)
	dst = append(dst, f.Key...)
	return append(dst, f.Value...)
}

// Header is the fixed part of a frame with the lengths of what follows. It serves writers that build the body in place and
// know its length only afterwards.
type Header struct {
	Magic    Magic
	Opcode   Opcode
	Datatype uint8
	VB       uint16 // or the status
	Opaque   uint32
	CAS      uint64

	FrameExtras int // ≤ 255, 0 unless Magic is 08 or 18
	Extras      int // ≤ 255
	Key         int // ≤ 255 with magic 08 and 18, else ≤ 65535
	Body        int // everything after the header
}

// PutHeader writes h into the first HeaderLen bytes of buf.
func PutHeader(buf []byte, h *Header) {
	_ = buf[HeaderLen-1]
	buf[0], buf[1] = byte(h.Magic), byte(h.Opcode)
	if h.Magic.flex() {
		buf[2], buf[3] = byte(h.FrameExtras), byte(h.Key)
	} else {
		binary.BigEndian.PutUint16(buf[2:], uint16(h.Key))
	}
	buf[4], buf[5] = byte(h.Extras), h.Datatype
	binary.BigEndian.PutUint16(buf[6:], h.VB)
	binary.BigEndian.PutUint32(buf[8:], uint32(h.Body))
	binary.BigEndian.PutUint32(buf[12:], h.Opaque)
	binary.BigEndian.PutUint64(buf[16:], h.CAS)
}
