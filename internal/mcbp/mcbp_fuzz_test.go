package mcbp_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
)

// FuzzDecode feeds arbitrary bytes: no panic, and a frame that was decoded encodes to the very bytes it came from.
func FuzzDecode(f *testing.F) {
	for _, frame := range frames()[:5] {
		b := encode(&frame)
		f.Add(b)
		f.Add(b[:len(b)-1])
	}
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(bytes.Repeat([]byte{0x80}, 24))
	f.Add(bytes.Repeat([]byte{0x08}, 60))
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, n, err := mcbp.Decode(b)
		if err != nil {
			if !errors.Is(err, mcbp.ErrIncomplete) && !errors.Is(err, mcbp.ErrMalformed) && !errors.Is(err, mcbp.ErrTooLarge) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if n < mcbp.HeaderLen || n > len(b) {
			t.Fatalf("%d of %d bytes", n, len(b))
		}
		size := len(frame.FrameExtras) + len(frame.Extras) + len(frame.Key) + len(frame.Value) + mcbp.HeaderLen
		if size != n {
			t.Fatalf("parts of %d bytes in a frame of %d", size, n)
		}
		if op := mcbp.Lookup(frame.Opcode); op != nil {
			op.Validate(&frame, 7, frame.VB%2 == 0)
		}
		if frame.Magic != mcbp.MagicClientResponse && (len(frame.FrameExtras) > 0) == (frame.Magic == mcbp.MagicFlexRequest || frame.Magic == mcbp.MagicFlexResponse) {
			if again := encode(&frame); !bytes.Equal(again, b[:n]) {
				t.Fatalf("% x became % x", b[:n], again)
			}
		}
	})
}

// FuzzFrameInfos parses arbitrary framing extras: no panic, and what was understood survives being written again.
func FuzzFrameInfos(f *testing.F) {
	for _, b := range [][]byte{
		{},
		{0x00},
		{0x11, 1},
		{0x13, 3, 0x27, 0x10},
		{0x43, '^', 'm', 'e'},
		{0x50},
		{0xff, 0, 0},
		{0x4f, 5, 'a'},
		{0xf0, 1},
		append([]byte{0x4f, 20 - 15}, "a-user-name-of-20-by"...),
	} {
		f.Add(b, byte(mcbp.OpSet))
	}
	f.Fuzz(func(t *testing.T, b []byte, o byte) {
		op := mcbp.Lookup(mcbp.Opcode(o))
		if op == nil {
			op = mcbp.Lookup(mcbp.OpSet)
		}
		mcbp.ServerDuration(b)
		var infos, again mcbp.RequestInfos
		status, text := infos.Parse(b, op)
		if (status == mcbp.StatusSuccess) != (text == "") {
			t.Fatalf("status %v with text %q", status, text)
		}
		if status != mcbp.StatusSuccess {
			return
		}
		if status, text := again.Parse(infos.AppendInfos(nil), op); status != mcbp.StatusSuccess {
			t.Fatalf("% x, written again, is refused: %s", b, text)
		}
		if again.Durability != infos.Durability || again.Timeout != infos.Timeout || again.Barrier != infos.Barrier ||
			again.PreserveExpiry != infos.PreserveExpiry || !bytes.Equal(again.Impersonate, infos.Impersonate) {
			t.Fatalf("%+v became %+v", infos, again)
		}
	})
}

// FuzzErrorBody parses arbitrary values as clients do with any reply: no panic, and what was read can be written and read.
func FuzzErrorBody(f *testing.F) {
	f.Add([]byte(`{"manifest_uid":"1f","error":{"context":"c","ref":"r"}}`))
	f.Add([]byte(`{"error":5}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, b []byte) {
		body, ok := mcbp.ParseErrorBody(b)
		if !ok {
			return
		}
		again, ok := mcbp.ParseErrorBody(body.Append(nil))
		if empty := body.Context == "" && body.Ref == "" && body.ManifestUID == nil; ok == empty || again.Context != body.Context || again.Ref != body.Ref {
			t.Fatalf("%+v became %+v, %v", body, again, ok)
		}
	})
}
