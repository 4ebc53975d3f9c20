package kv

import (
	"github.com/charpoy/charpoy/internal/jsonscan"
	"github.com/charpoy/charpoy/internal/value"
)

// scratch is memory in which an operation works on a value without a lock and without allocating.
type scratch struct {
	old     []byte // copy of the document's value
	plain   []byte // it, inflated
	operand []byte // the request's value, inflated
	section []byte
	result  []byte
	bodyLen int // of the part of result that is no attributes, of Append and Prepend
}

func (b *Bucket) getScratch() *scratch { return b.scratch.Get().(*scratch) }

func (b *Bucket) putScratch(s *scratch) {
	if cap(s.old)+cap(s.plain)+cap(s.operand)+cap(s.section)+cap(s.result) <= keptScratch {
		b.scratch.Put(s)
	}
}

// split inflates the value in old, if it is a Snappy block, and separates its attributes from its body. What it finds is
// what was stored, so an error is damage.
func (s *scratch) split(dt value.Datatype) (section, body []byte, err error) {
	plain := s.old
	if dt&value.Snappy != 0 {
		if s.plain, err = value.Inflate(s.plain[:0], s.old); err != nil {
			return nil, nil, err
		}
		plain = s.plain
	}
	return value.Split(plain, dt)
}

// body checks the value of a request and gives its inflated form: ErrInflate, ErrTooBig. It is the request's own memory or
// s.operand.
func (s *scratch) body(w *Write, most int) ([]byte, error) {
	if w.Datatype&value.Snappy == 0 {
		if len(w.Value) > most {
			return nil, ErrTooBig
		}
		return w.Value, nil
	}
	n, err := value.InflatedLen(w.Value)
	if err != nil {
		return nil, ErrInflate
	}
	if n > most {
		return nil, ErrTooBig
	}
	if s.operand, err = value.Inflate(s.operand[:0], w.Value); err != nil {
		return nil, ErrInflate
	}
	return s.operand, nil
}

// jsonBit says whether a body is JSON. An empty one is not.
func jsonBit(body []byte) value.Datatype {
	if len(body) > 0 && jsonscan.Valid(body) {
		return value.JSON
	}
	return 0
}
