package loadgen

import (
	"encoding/binary"
	"fmt"
)

// template is a request with places to patch.
type template struct {
	text  []byte
	key   int // where the digits of the key's index go
	value int // where they go in the value; 0: nowhere
}

// maker builds the requests of a protocol.
type maker struct {
	templates []template // by sample.template
	header    bool       // each request begins with a binary header: patch vBucket and opaque
	tail      []byte     // ends a batch
	join      int        // GETs that follow each other become one command: so many bytes of each but the first are left out, 0: none
	longest   int        // bytes of the longest template
}

// replies knows where the replies of a protocol end.
type replies interface {
	// scan takes as many complete replies of s.batch as buf holds and counts them in s. It returns how many bytes it is done
	// with; what remains is handed in again, with more behind it. It keeps no reference to buf.
	scan(s *stream, buf []byte) (int, error)
}

// stream is the state of one connection between two reads. It belongs to the goroutine that runs the connection.
type stream struct {
	batch []sample // sent last
	next  int      // replies taken of it
	skip  int      // bytes of a body that are still to come and of no interest
	ended bool     // the reply that ends the batch is taken
	tail  bool     // the protocol has such a reply
	text  textState

	first uint64 // ordinal of the first operation of the batch, in the open loop
	sent  int64  // ns since the start of the run, in the closed loop

	tally
	example string    // of a reply that is counted as an error: the first
	failed  []sample  // writes that were refused, if keep says so
	keep    bool      // only in a preload
	verify  *Workload // nil: bodies are not compared
}

// tally counts replies.
type tally struct {
	ops, misses, errors uint64
}

// begin prepares a stream for a batch.
func (s *stream) begin(batch []sample) {
	s.batch, s.next, s.ended = batch, 0, false
}

// done reports whether all replies of the batch are taken.
func (s *stream) done() bool {
	return s.next == len(s.batch) && s.skip == 0 && s.text == textReply && (s.ended || !s.tail)
}

// missed counts a reply that says that there is no such key.
func (s *stream) missed() {
	s.ops++
	s.misses++
}

// fails counts a reply that says that something is wrong, and keeps the first as an example.
func (s *stream) fails(i int, format string, args ...any) {
	s.ops++
	s.errors++
	if s.example == "" {
		s.example = fmt.Sprintf(format, args...)
	}
	if s.keep {
		s.failed = append(s.failed, s.batch[i])
	}
}

// check compares the body of a GET with what the workload writes under the key.
func (s *stream) check(i int, body []byte) error {
	index := s.batch[i].index()
	for j := range s.verify.values {
		if s.verify.values[j].is(body, index) {
			return nil
		}
	}
	return fmt.Errorf("%w: %d bytes under key %s are not what was written: %.60q", ErrWrong, len(body), s.verify.Key(index), body)
}

// build appends the requests of a batch to dst.
func (m *maker) build(dst []byte, batch []sample) []byte {
	for i, s := range batch {
		t := &m.templates[s.template()]
		left := 0
		if m.join > 0 && i > 0 && s.action() == actionGet && batch[i-1].action() == actionGet {
			left = m.join
			dst = dst[:len(dst)-len("\r\n")]
		}
		at := len(dst)
		dst = append(dst, t.text[left:]...)
		b := dst[at:]
		digits := hexDigits(s.index())
		binary.BigEndian.PutUint64(b[t.key-left:], digits)
		if t.value > 0 {
			binary.BigEndian.PutUint64(b[t.value:], digits)
		}
		if m.header {
			binary.BigEndian.PutUint16(b[6:], s.vb())
			binary.BigEndian.PutUint32(b[12:], uint32(i))
		}
	}
	return append(dst, m.tail...)
}

// request is a template before its places are known: text before the key, between key and value, after the value.
type request struct {
	before, between, after string
	value                  bool
}

// newMaker makes the templates of every action and size.
func newMaker(w *Workload, of func(do action, key []byte, v *value) request) *maker {
	m := &maker{templates: make([]template, numActions+4*(len(w.values)-1))}
	key := w.Key(0)
	for size := range w.values {
		v := &w.values[size]
		for do := range action(numActions) {
			r := of(do, key, v)
			t := template{text: []byte(r.before)}
			t.key = len(t.text) + len(key) - keyDigits
			t.text = append(append(t.text, key...), r.between...)
			if r.value {
				if v.digits >= 0 {
					t.value = len(t.text) + v.digits
				}
				t.text = append(t.text, v.text...)
			}
			t.text = append(t.text, r.after...)
			m.templates[newSample(0, 0, do, size).template()] = t
			m.longest = max(m.longest, len(t.text))
		}
	}
	return m
}

// codec gives both halves of a protocol.
func codec(p Protocol, w *Workload) (*maker, replies) {
	switch p {
	case BinaryQuiet:
		return newBinaryMaker(w, true), quietReplies{}
	case Meta:
		return newMaker(w, metaRequest), lineReplies(takeMeta)
	case ASCII:
		return newMaker(w, asciiRequest), lineReplies(takeASCII)
	case ASCIIMulti:
		m := newMaker(w, asciiRequest)
		m.join = len("get")
		return m, lineReplies(takeMulti)
	case RESP:
		return newMaker(w, respRequest), lineReplies(takeRESP)
	case Binary:
	}
	return newBinaryMaker(w, false), binaryReplies{}
}
