package loadgen

import (
	"bytes"
	"fmt"
	"strconv"
)

// textState is where a stream stands within a reply of a text protocol whose body is only skipped.
type textState uint8

const (
	textReply textState = iota // a reply begins
	textEnd                    // ASCII: the END behind a value comes next
)

// maxLine bounds a line of a text protocol; a longer one is malformed.
const maxLine = 2048

// line finds the line that begins at p; next is where the following one begins. It answers ok = false if more bytes are
// needed.
func line(buf []byte, p int) (text []byte, next int, ok bool, err error) {
	n := bytes.IndexByte(buf[p:], '\n')
	switch {
	case n < 0 && len(buf)-p > maxLine:
		return nil, p, false, fmt.Errorf("%w: a line of more than %d bytes", ErrProtocol, maxLine)
	case n < 0:
		return nil, p, false, nil
	case n == 0 || buf[p+n-1] != '\r':
		return nil, p, false, fmt.Errorf("%w: line %.80q does not end with CR LF", ErrProtocol, buf[p:p+n])
	}
	return buf[p : p+n-1], p + n + 1, true, nil
}

// length reads a decimal number of bytes.
func length(digits []byte) (int, error) {
	n := 0
	for _, d := range digits {
		if d < '0' || d > '9' || n > MaxValueBytes {
			return 0, fmt.Errorf("%w: length %.20q", ErrProtocol, digits)
		}
		n = n*10 + int(d-'0')
	}
	if len(digits) == 0 || n > 2*MaxValueBytes {
		return 0, fmt.Errorf("%w: length %.20q", ErrProtocol, digits)
	}
	return n, nil
}

// body deals with a body of n bytes and CR LF at p: it is compared or skipped. It answers ok = false, without having counted
// anything, if the body is wanted and not there yet.
func (s *stream) body(buf []byte, p, n int) (next int, ok bool, err error) {
	end := p + n + 2
	if end > len(buf) {
		if s.verify != nil {
			return p, false, nil
		}
		s.skip = end - len(buf)
		return len(buf), true, nil
	}
	if buf[end-2] != '\r' || buf[end-1] != '\n' {
		return p, false, fmt.Errorf("%w: a body of %d bytes without CR LF behind it", ErrProtocol, n)
	}
	if s.verify != nil {
		if err := s.check(s.next, buf[p:p+n]); err != nil {
			return p, false, err
		}
	}
	return end, true, nil
}

// lineReplies are the replies of a protocol that begin with a line. It takes the line that ends before next, with the body behind
// it if there is one, and counts it. It returns where that ends; ok = false if the body is wanted and not there yet.
type lineReplies func(s *stream, buf, text []byte, next int) (end int, ok bool, err error)

func (take lineReplies) scan(s *stream, buf []byte) (int, error) {
	p := min(s.skip, len(buf))
	s.skip -= p
	for (s.next < len(s.batch) || s.text == textEnd) && s.skip == 0 {
		text, next, ok, err := line(buf, p)
		if err != nil || !ok {
			return p, err
		}
		if next, ok, err = take(s, buf, text, next); err != nil || !ok {
			return p, err
		}
		p = next
	}
	return p, nil
}

// wants reports an error unless the reply belongs to a request of that action.
func (s *stream) wants(do action, text []byte) error {
	if s.batch[s.next].action() != do {
		return fmt.Errorf("%w: %.80q as an answer to another request", ErrProtocol, text)
	}
	return nil
}

// refusal counts a line that reports an error.
func (s *stream) refusal(text []byte) {
	s.fails(s.next, "%s", text)
}

func asciiRequest(do action, _ []byte, v *value) request {
	switch do {
	case actionSet:
		return request{before: "set ", between: " 0 0 " + strconv.Itoa(len(v.text)) + "\r\n", value: true, after: "\r\n"}
	case actionDelete:
		return request{before: "delete ", after: "\r\n"}
	case actionGet:
	}
	return request{before: "get ", after: "\r\n"}
}

// takeASCII takes a line of memcached's ASCII protocol.
func takeASCII(s *stream, buf, text []byte, next int) (end int, ok bool, err error) {
	if s.text == textReply && bytes.HasPrefix(text, []byte("VALUE ")) {
		if err := s.wants(actionGet, text); err != nil {
			return 0, false, err
		}
		if end, ok, err = s.value(buf, text, next); err == nil && ok {
			s.text = textEnd
		}
		return end, ok, err
	}
	if err := s.endASCII(text); err != nil {
		return 0, false, err
	}
	s.text = textReply
	s.next++
	return next, true, nil
}

// value takes the body behind a line VALUE.
func (s *stream) value(buf, text []byte, next int) (end int, ok bool, err error) {
	n, err := length(text[bytes.LastIndexByte(text, ' ')+1:])
	if err != nil {
		return 0, false, err
	}
	return s.body(buf, next, n)
}

// takeMulti takes a line of the ASCII protocol when GETs that follow each other were sent as one command: one END for all of
// them, and nothing for keys that are missing.
func takeMulti(s *stream, buf, text []byte, next int) (end int, ok bool, err error) {
	gets := s.next < len(s.batch) && s.batch[s.next].action() == actionGet
	switch {
	case gets && bytes.HasPrefix(text, []byte("VALUE ")):
		if err := s.seek(text); err != nil {
			return 0, false, err
		}
		if end, ok, err = s.value(buf, text, next); err == nil && ok {
			s.ops++
			s.next++
			s.text = textEnd
		}
		return end, ok, err
	case (gets || s.text == textEnd) && string(text) == "END":
		for s.next < len(s.batch) && s.batch[s.next].action() == actionGet {
			s.missed()
			s.next++
		}
		s.text = textReply
	case s.text == textEnd:
		return 0, false, fmt.Errorf("%w: %.80q, want VALUE or END", ErrProtocol, text)
	default:
		if err := s.endASCII(text); err != nil {
			return 0, false, err
		}
		s.next++
	}
	return next, true, nil
}

// seek finds the request that the line VALUE answers, when bodies are compared: keys before it are missing. Otherwise it does
// not matter which of them are.
func (s *stream) seek(text []byte) error {
	if s.verify == nil {
		return nil
	}
	key, _, _ := bytes.Cut(text[len("VALUE "):], []byte(" "))
	for ; s.next < len(s.batch) && s.batch[s.next].action() == actionGet; s.next++ {
		if string(s.verify.Key(s.batch[s.next].index())) == string(key) {
			return nil
		}
		s.missed()
	}
	return fmt.Errorf("%w: %.80q was not asked for", ErrProtocol, text)
}

// endASCII counts the line that ends a reply.
func (s *stream) endASCII(text []byte) error {
	do := s.batch[s.next].action()
	switch {
	case s.text == textEnd && string(text) == "END":
		s.ops++
	case s.text == textEnd:
		return fmt.Errorf("%w: %.80q, want END", ErrProtocol, text)
	case do == actionGet && string(text) == "END", do == actionDelete && string(text) == "NOT_FOUND":
		s.missed()
	case do == actionSet && string(text) == "STORED", do == actionDelete && string(text) == "DELETED":
		s.ops++
	case bytes.HasPrefix(text, []byte("SERVER_ERROR")), bytes.HasPrefix(text, []byte("CLIENT_ERROR")), string(text) == "ERROR",
		do == actionSet && string(text) == "NOT_STORED":
		s.refusal(text)
	default:
		return fmt.Errorf("%w: %.80q", ErrProtocol, text)
	}
	return nil
}

func metaRequest(do action, _ []byte, v *value) request {
	switch do {
	case actionSet:
		return request{before: "ms ", between: " " + strconv.Itoa(len(v.text)) + "\r\n", value: true, after: "\r\n"}
	case actionDelete:
		return request{before: "md ", after: "\r\n"}
	case actionGet:
	}
	return request{before: "mg ", after: " v\r\n"}
}

// takeMeta takes a line of memcached's meta protocol.
func takeMeta(s *stream, buf, text []byte, next int) (end int, ok bool, err error) {
	code, rest, _ := bytes.Cut(text, []byte(" "))
	do := s.batch[s.next].action()
	switch {
	case string(code) == "VA" && do == actionGet:
		digits, _, _ := bytes.Cut(rest, []byte(" "))
		n, err := length(digits)
		if err != nil {
			return 0, false, err
		}
		if next, ok, err = s.body(buf, next, n); err != nil || !ok {
			return 0, false, err
		}
		s.ops++
	case string(code) == "EN" && do == actionGet, string(code) == "NF" && do == actionDelete:
		s.missed()
	case string(code) == "HD" && do != actionGet:
		s.ops++
	case string(code) == "SERVER_ERROR", string(code) == "CLIENT_ERROR", string(code) == "ERROR", string(code) == "NS":
		s.refusal(text)
	default:
		return 0, false, fmt.Errorf("%w: %.80q", ErrProtocol, text)
	}
	s.next++
	return next, true, nil
}

func respRequest(do action, key []byte, v *value) request {
	bulk := func(n int) string { return "$" + strconv.Itoa(n) + "\r\n" }
	switch do {
	case actionSet:
		return request{
			before: "*3\r\n$3\r\nSET\r\n" + bulk(len(key)), between: "\r\n" + bulk(len(v.text)), value: true, after: "\r\n",
		}
	case actionDelete:
		return request{before: "*2\r\n$3\r\nDEL\r\n" + bulk(len(key)), after: "\r\n"}
	case actionGet:
	}
	return request{before: "*2\r\n$3\r\nGET\r\n" + bulk(len(key)), after: "\r\n"}
}

// takeRESP takes a line of redis.
func takeRESP(s *stream, buf, text []byte, next int) (end int, ok bool, err error) {
	do := s.batch[s.next].action()
	switch {
	case do == actionGet && string(text) == "$-1", do == actionDelete && string(text) == ":0":
		s.missed()
	case do == actionGet && len(text) > 0 && text[0] == '$':
		n, err := length(text[1:])
		if err != nil {
			return 0, false, err
		}
		if next, ok, err = s.body(buf, next, n); err != nil || !ok {
			return 0, false, err
		}
		s.ops++
	case do == actionSet && string(text) == "+OK", do == actionDelete && string(text) == ":1":
		s.ops++
	case len(text) > 0 && text[0] == '-':
		s.refusal(text)
	default:
		return 0, false, fmt.Errorf("%w: %.80q", ErrProtocol, text)
	}
	s.next++
	return next, true, nil
}
