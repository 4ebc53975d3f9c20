package loadgen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// toy is a server of one protocol that keeps documents in a map, with ways to misbehave. Its fields are set before the first
// connection.
type toy struct {
	protocol Protocol
	piece    int                       // bytes that are written at once; 0: all
	hangUp   int                       // requests after which a connection is closed; 0: never
	refuse   int                       // how often each SET is refused before it is taken
	alter    func(value []byte) []byte // of what GET returns
	replace  []byte                    // instead of every reply
	silent   bool                      // never answer
	before   func(request int)         // called before each request of a connection
	user     string                    // "name:password" that must be given first

	mu      sync.Mutex
	docs    map[string][]byte
	refused map[string]int
	logins  int
	bucket  string
}

// serve starts the server and gives its address. It ends with the test.
func (s *toy) serve(t *testing.T, wrap func(net.Conn) net.Conn) string {
	t.Helper()
	s.docs, s.refused = map[string][]byte{}, map[string]int{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		wait.Wait()
	})
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if wrap != nil {
				c = wrap(c)
			}
			wait.Go(func() {
				defer c.Close()
				s.talk(c)
			})
		}
	})
	return l.Addr().String()
}

func (s *toy) talk(c net.Conn) {
	in := bufio.NewReader(c)
	for n := 1; ; n++ {
		var answer []byte
		var err error
		switch s.protocol {
		case Meta, ASCII, ASCIIMulti:
			answer, err = s.text(in)
		case RESP:
			answer, err = s.resp(in)
		default:
			answer, err = s.binary(in)
		}
		if err != nil || s.hangUp > 0 && n > s.hangUp {
			return
		}
		if s.before != nil {
			s.before(n)
		}
		if s.silent {
			continue
		}
		if s.replace != nil {
			answer = s.replace
		}
		for len(answer) > 0 {
			k := len(answer)
			if s.piece > 0 {
				k = min(k, s.piece)
			}
			if _, err := c.Write(answer[:k]); err != nil {
				return
			}
			answer = answer[k:]
		}
	}
}

func (s *toy) get(key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.docs[key]
	if ok && s.alter != nil {
		v = s.alter(bytes.Clone(v))
	}
	return v, ok
}

// set reports false if the write is refused.
func (s *toy) set(key string, value []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused[key]++; s.refused[key] <= s.refuse {
		return false
	}
	s.docs[key] = bytes.Clone(value)
	return true
}

func (s *toy) remove(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.docs[key]
	delete(s.docs, key)
	return ok
}

func (s *toy) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.docs)
}

func (s *toy) binary(in *bufio.Reader) ([]byte, error) {
	header, err := in.Peek(mcbp.HeaderLen)
	if err != nil {
		return nil, err
	}
	frame := make([]byte, mcbp.HeaderLen+int(binary.BigEndian.Uint32(header[8:])))
	if _, err := io.ReadFull(in, frame); err != nil {
		return nil, err
	}
	f, _, err := mcbp.Decode(frame)
	if err != nil {
		return nil, err
	}
	reply := mcbp.Frame{Opcode: f.Opcode, Opaque: f.Opaque}
	quiet := false
	switch f.Opcode {
	case mcbp.OpGet, mcbp.OpGetQ:
		value, ok := s.get(string(f.Key))
		reply.Extras, reply.Value = make([]byte, 4), value
		if !ok {
			reply.Extras, reply.Value, reply.VB = nil, []byte("Not found"), uint16(mcbp.StatusNotFound)
			quiet = f.Opcode == mcbp.OpGetQ
		}
	case mcbp.OpSet, mcbp.OpSetQ:
		quiet = f.Opcode == mcbp.OpSetQ
		if !s.set(string(f.Key), f.Value) {
			reply.VB, reply.Value, quiet = uint16(mcbp.StatusTempFail), []byte("patience"), false
		}
	case mcbp.OpDelete:
		if !s.remove(string(f.Key)) {
			reply.VB = uint16(mcbp.StatusNotFound)
		}
	case mcbp.OpSASLAuth:
		s.mu.Lock()
		s.logins++
		if string(f.Value) != "\x00"+strings.Replace(s.user, ":", "\x00", 1) {
			reply.VB, reply.Value = uint16(mcbp.StatusAuthError), []byte("who?")
		}
		s.mu.Unlock()
	case mcbp.OpSelectBucket:
		s.mu.Lock()
		s.bucket = string(f.Key)
		s.mu.Unlock()
	}
	if quiet {
		return nil, nil
	}
	return mcbp.AppendResponse(nil, &reply), nil
}

// text speaks ASCII and meta.
func (s *toy) text(in *bufio.Reader) ([]byte, error) {
	words, err := fields(in)
	if err != nil {
		return nil, err
	}
	key := words[1]
	switch words[0] {
	case "get":
		var answer []byte
		for _, key := range words[1:] {
			if value, ok := s.get(key); ok {
				answer = fmt.Appendf(answer, "VALUE %s 0 %d\r\n%s\r\n", key, len(value), value)
			}
		}
		return append(answer, "END\r\n"...), nil
	case "mg":
		value, ok := s.get(key)
		if !ok {
			return []byte("EN\r\n"), nil
		}
		return fmt.Appendf(nil, "VA %d\r\n%s\r\n", len(value), value), nil
	case "set", "ms":
		n, err := strconv.Atoi(words[len(words)-1])
		if err != nil {
			return nil, err
		}
		value := make([]byte, n+2)
		if _, err := io.ReadFull(in, value); err != nil {
			return nil, err
		}
		switch {
		case !s.set(key, value[:n]):
			return []byte("SERVER_ERROR patience\r\n"), nil
		case words[0] == "ms":
			return []byte("HD\r\n"), nil
		}
		return []byte("STORED\r\n"), nil
	case "delete":
		return []byte(map[bool]string{true: "DELETED\r\n", false: "NOT_FOUND\r\n"}[s.remove(key)]), nil
	case "md":
		return []byte(map[bool]string{true: "HD\r\n", false: "NF\r\n"}[s.remove(key)]), nil
	}
	return nil, fmt.Errorf("unknown command %q", words)
}

func fields(in *bufio.Reader) ([]string, error) {
	l, err := in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	words := strings.Fields(l)
	if len(words) < 2 {
		return nil, errors.New("too short")
	}
	return words, nil
}

func (s *toy) resp(in *bufio.Reader) ([]byte, error) {
	number := func(kind byte) (int, error) {
		l, err := in.ReadString('\n')
		if err != nil || l[0] != kind {
			return 0, errors.Join(err, fmt.Errorf("line %q", l))
		}
		return strconv.Atoi(strings.TrimSpace(l[1:]))
	}
	n, err := number('*')
	if err != nil {
		return nil, err
	}
	var words []string
	for range n {
		size, err := number('$')
		if err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words = append(words, string(word[:size]))
	}
	switch words[0] {
	case "AUTH":
		if words[1]+":"+words[2] != s.user {
			return []byte("-WRONGPASS who?\r\n"), nil
		}
		return []byte("+OK\r\n"), nil
	case "GET":
		value, ok := s.get(words[1])
		if !ok {
			return []byte("$-1\r\n"), nil
		}
		return fmt.Appendf(nil, "$%d\r\n%s\r\n", len(value), value), nil
	case "SET":
		if !s.set(words[1], []byte(words[2])) {
			return []byte("-BUSY patience\r\n"), nil
		}
		return []byte("+OK\r\n"), nil
	case "DEL":
		return []byte(map[bool]string{true: ":1\r\n", false: ":0\r\n"}[s.remove(words[1])]), nil
	}
	return nil, fmt.Errorf("unknown command %q", words)
}

// newTestWorkload makes a small workload.
func newTestWorkload(t testing.TB, o WorkloadOptions) *Workload {
	t.Helper()
	if o.Keys == 0 {
		o.Keys = 300
	}
	o.Samples, o.Prefix, o.VBuckets = 1<<10, "t:", 64
	w, err := NewWorkload(o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func newTestGenerator(t testing.TB, w *Workload, o Options) *Generator {
	t.Helper()
	if o.Stall == 0 {
		o.Stall = 20 * time.Second
	}
	g, err := New(w, o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}
