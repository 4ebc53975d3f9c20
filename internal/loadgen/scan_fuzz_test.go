package loadgen

import (
	"bufio"
	"bytes"
	"testing"
)

// answers gives what a server that has all keys replies to a batch.
func answers(p Protocol, batch []sample, w *Workload) []byte {
	s := &toy{protocol: p, docs: map[string][]byte{}, refused: map[string]int{}}
	for i := range w.Keys() {
		s.docs[string(w.Key(uint32(i)))] = w.values[0].text
	}
	m, _ := codec(p, w)
	in := bufio.NewReader(bytes.NewReader(m.build(nil, batch)))
	var out []byte
	for {
		var answer []byte
		var err error
		switch p {
		case Meta, ASCII, ASCIIMulti:
			answer, err = s.text(in)
		case RESP:
			answer, err = s.resp(in)
		default:
			answer, err = s.binary(in)
		}
		if err != nil {
			return out
		}
		out = append(out, answer...)
	}
}

// FuzzScan: whatever a server sends, scanning never panics, never takes more than there is, never counts more replies than
// there were requests; and where the bytes are cut makes no difference.
func FuzzScan(f *testing.F) {
	w := newTestWorkload(f, WorkloadOptions{GetShare: 0.6})
	batch := w.samples[:16]
	for i, p := range Protocols() {
		full := answers(p, batch, w)
		f.Add(uint8(i), uint16(1), false, full)
		f.Add(uint8(i), uint16(100), true, full)
		f.Add(uint8(i), uint16(7), true, full[:len(full)/2])
	}
	f.Add(uint8(2), uint16(5), false, []byte("EN\r\nSERVER_ERROR no\r\nVA 3\r\nabc\r\n"))
	f.Add(uint8(3), uint16(5), false, []byte("END\r\nCLIENT_ERROR no\r\nVALUE k 0 3\r\nabc\r\nEND\r\n"))
	f.Add(uint8(4), uint16(5), false, []byte("END\r\nSTORED\r\nVALUE k 0 3\r\nabc\r\nVALUE k 0 1\r\na\r\nEND\r\n"))
	f.Add(uint8(5), uint16(5), false, []byte("$-1\r\n-ERR no\r\n$3\r\nabc\r\n+OK\r\n:1\r\n"))
	f.Fuzz(func(t *testing.T, which uint8, piece uint16, verify bool, data []byte) {
		p := Protocols()[int(which)%len(Protocols())]
		scan := func(piece int) (tally, error) {
			m, r := codec(p, w)
			s := stream{tail: len(m.tail) > 0}
			if verify {
				s.verify = w
			}
			s.begin(batch)
			var rest []byte
			for left := data; len(left) > 0 && !s.done(); {
				n := min(piece, len(left))
				rest, left = append(rest, left[:n]...), left[n:]
				used, err := r.scan(&s, rest)
				if used < 0 || used > len(rest) || s.next > len(batch) || s.ops > uint64(len(batch)) || s.skip < 0 {
					t.Fatalf("%s: used %d of %d, %d replies, %d counted, skip %d", p, used, len(rest), s.next, s.ops, s.skip)
				}
				if err != nil {
					return s.tally, err
				}
				rest = rest[used:]
			}
			return s.tally, nil
		}
		whole, err := scan(len(data) + 1)
		parts, partsErr := scan(int(piece) + 1)
		if err == nil && partsErr == nil && whole != parts {
			t.Errorf("%s: as a whole %+v, in pieces of %d %+v: %q", p, whole, piece+1, parts, data)
		}
	})
}
