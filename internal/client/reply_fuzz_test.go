package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// FuzzReply feeds bytes of a server to everything that reads replies: nothing may panic, and each refusal is ErrProtocol or
// the end of the bytes.
func FuzzReply(f *testing.F) {
	add := func(r mcbp.Frame) { f.Add(mcbp.AppendResponse(nil, &r)) }
	add(mcbp.Frame{Opcode: mcbp.OpGet, Extras: make([]byte, 4), Value: []byte("{}"), Datatype: 1, CAS: 9})
	add(mcbp.Frame{Opcode: mcbp.OpSet, Extras: mcbp.Token{UUID: 1, Seqno: 2}.Append(nil), CAS: 9})
	add(mcbp.Frame{Opcode: mcbp.OpIncrement, Value: make([]byte, 8)})
	add(mcbp.Frame{Opcode: mcbp.OpGetMeta, Extras: (&mcbp.DocMeta{Rev: 1}).Append(nil, true)})
	add(mcbp.Frame{Opcode: mcbp.OpGetKeys, Value: []byte("\x00\x01a\x00\x02bc")})
	add(mcbp.Frame{Opcode: mcbp.OpFailoverLog, Value: make([]byte, 32)})
	add(mcbp.Frame{Opcode: mcbp.OpObserveSeqno, Value: make([]byte, observedLen)})
	add(mcbp.Frame{Opcode: mcbp.OpObserveSeqno, Value: append([]byte{1}, make([]byte, observedOlderLen-1)...)})
	add(mcbp.Frame{Opcode: mcbp.OpAllVBSeqnos, Value: make([]byte, 20)})
	add(mcbp.Frame{Opcode: mcbp.OpGet, VB: 1, Value: []byte(`{"error":{"context":"x","ref":"y"}}`)})
	add(mcbp.Frame{Opcode: mcbp.OpSASLAuth, VB: 0x21, Value: []byte("r=cnoncesnonce,s=MDEyMzQ1,i=4096")})
	f.Add([]byte("HTTP/1.1 200 OK\r\n\r\nthis is another protocol"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(data), readBufferBytes)
		for {
			r, err := readFrame(in)
			if err != nil {
				if !errors.Is(err, ErrProtocol) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("readFrame: %v", err)
				}
				return
			}
			readAll(t, &r)
		}
	})
}

// readAll reads a reply as if it were of every kind.
func readAll(t *testing.T, r *mcbp.Frame) {
	t.Helper()
	check := func(err error) {
		if err != nil && !errors.Is(err, ErrProtocol) {
			t.Fatalf("reply %+v: error %v, want ErrProtocol", r, err)
		}
	}
	_, err := docReply(r)
	check(err)
	_, err = writtenReply(r, 0)
	check(err)
	_, err = counterReply(r)
	check(err)
	_, err = metaReply(r)
	check(err)
	keys, err := keysReply(r)
	check(err)
	if n := len(keys) * 3; n > len(r.Value) {
		t.Fatalf("%d keys from %d bytes", len(keys), len(r.Value))
	}
	_, err = failoverReply(r)
	check(err)
	_, err = observedReply(r)
	check(err)
	_, err = seqnosReply(r)
	check(err)
	_, _, iterations, err := parseServerFirst(string(r.Value))
	check(err)
	if err == nil && (iterations < minIterations || iterations > maxIterations) {
		t.Fatalf("%d iterations accepted", iterations)
	}
	if err := statusOf(&mcbp.Frame{Opcode: r.Opcode}, r); err != nil && err.Error() == "" {
		t.Fatal("an error without words")
	}
}
