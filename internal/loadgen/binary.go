package loadgen

import (
	"encoding/binary"
	"fmt"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// newBinaryMaker makes the templates of the binary protocol.
func newBinaryMaker(w *Workload, quiet bool) *maker {
	m := newMaker(w, func(do action, key []byte, v *value) request {
		f := mcbp.Frame{Opcode: mcbp.OpGet}
		switch {
		case do == actionDelete:
			f.Opcode = mcbp.OpDelete
		case do == actionSet && quiet:
			f.Opcode = mcbp.OpSetQ
		case do == actionSet:
			f.Opcode = mcbp.OpSet
		case quiet:
			f.Opcode = mcbp.OpGetQ
		}
		f.Key = key
		if do == actionSet {
			f.Extras, f.Value = make([]byte, 8), v.text // neither flags nor expiry
		}
		frame := mcbp.AppendRequest(nil, &f)
		return request{before: string(frame[:mcbp.HeaderLen+len(f.Extras)]), value: do == actionSet}
	})
	m.header = true
	if quiet {
		m.tail = mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpNoop})
	}
	return m
}

// binaryReplies are those of the binary protocol: one a request, in order.
type binaryReplies struct{}

func (binaryReplies) scan(s *stream, buf []byte) (int, error) {
	p := min(s.skip, len(buf))
	s.skip -= p
	batch := s.batch
	for s.next < len(batch) && len(buf)-p >= mcbp.HeaderLen {
		h := buf[p : p+mcbp.HeaderLen : p+mcbp.HeaderLen]
		body := int(binary.BigEndian.Uint32(h[8:]))
		status := mcbp.Status(binary.BigEndian.Uint16(h[6:]))
		if mcbp.Magic(h[0]) != mcbp.MagicResponse || body > mcbp.MaxBody {
			return p, malformedBinary(h)
		}
		end := p + mcbp.HeaderLen + body
		if s.verify != nil || status != mcbp.StatusSuccess {
			if end > len(buf) {
				return p, nil // all of it is wanted
			}
			if err := s.takeBinary(s.next, h, buf[p+mcbp.HeaderLen:end], status); err != nil {
				return p, err
			}
		} else {
			s.ops++
		}
		s.next++
		if p = end; p > len(buf) {
			s.skip, p = p-len(buf), len(buf)
		}
	}
	return p, nil
}

func malformedBinary(h []byte) error {
	return fmt.Errorf("%w: header % x", ErrProtocol, h)
}

// takeBinary looks closely at one reply: the i-th of the batch.
func (s *stream) takeBinary(i int, h, body []byte, status mcbp.Status) error {
	do := s.batch[i].action()
	if s.verify != nil && binary.BigEndian.Uint32(h[12:]) != uint32(i) {
		return fmt.Errorf("%w: opaque %d, want %d", ErrWrong, binary.BigEndian.Uint32(h[12:]), i)
	}
	switch {
	case status == mcbp.StatusNotFound && do != actionSet:
		s.missed()
	case status != mcbp.StatusSuccess:
		s.fails(i, "status %#02x: %.200s", uint16(status), body)
	default:
		s.ops++
		if do == actionGet && s.verify != nil {
			extras := int(h[4]) + int(binary.BigEndian.Uint16(h[2:]))
			if extras > len(body) {
				return malformedBinary(h)
			}
			return s.check(i, body[extras:])
		}
	}
	return nil
}

// quietReplies are those of the quiet variants: GETQ says nothing of a key that is not there, SETQ nothing of success. The
// reply to the NOOP settles what was not answered.
type quietReplies struct{}

func (quietReplies) scan(s *stream, buf []byte) (int, error) {
	p := min(s.skip, len(buf))
	s.skip -= p
	for !s.ended && len(buf)-p >= mcbp.HeaderLen {
		h := buf[p : p+mcbp.HeaderLen : p+mcbp.HeaderLen]
		body := int(binary.BigEndian.Uint32(h[8:]))
		status := mcbp.Status(binary.BigEndian.Uint16(h[6:]))
		if mcbp.Magic(h[0]) != mcbp.MagicResponse || body > mcbp.MaxBody {
			return p, malformedBinary(h)
		}
		end := p + mcbp.HeaderLen + body
		if mcbp.Opcode(h[1]) == mcbp.OpNoop {
			if status != mcbp.StatusSuccess || body != 0 {
				return p, malformedBinary(h)
			}
			s.settle(len(s.batch))
			s.ended = true
			return end, nil
		}
		i := int(binary.BigEndian.Uint32(h[12:]))
		if i < s.next || i >= len(s.batch) {
			return p, fmt.Errorf("%w: opaque %d between %d and %d", ErrProtocol, i, s.next, len(s.batch))
		}
		if end > len(buf) && (s.verify != nil || status != mcbp.StatusSuccess) {
			return p, nil
		}
		s.settle(i)
		if end > len(buf) {
			s.ops++
		} else if err := s.takeBinary(i, h, buf[p+mcbp.HeaderLen:end], status); err != nil {
			return p, err
		}
		s.next++
		if p = end; p > len(buf) {
			s.skip, p = p-len(buf), len(buf)
		}
	}
	return p, nil
}

// settle counts the requests before i that were answered by silence.
func (s *stream) settle(i int) {
	for ; s.next < i; s.next++ {
		s.ops++
		if s.batch[s.next].action() == actionGet {
			s.misses++
		}
	}
}
