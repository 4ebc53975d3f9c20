package mcbp_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// frames are one of each kind, with every field set.
func frames() []mcbp.Frame {
	return []mcbp.Frame{
		{
			Magic: mcbp.MagicRequest, Opcode: mcbp.OpSet, Datatype: 1, VB: 528, Opaque: 0xdeadbeef, CAS: 1<<63 + 5,
			Extras: []byte("12345678"), Key: []byte("hello"), Value: []byte(`{"a":1}`),
		},
		{
			Magic: mcbp.MagicFlexRequest, Opcode: mcbp.OpSet, VB: 1, FrameExtras: []byte{0x11, 1}, Extras: []byte("12345678"),
			Key: bytes.Repeat([]byte("k"), 251), Value: []byte("v"),
		},
		{Magic: mcbp.MagicResponse, Opcode: mcbp.OpGet, VB: uint16(mcbp.StatusNotFound), Opaque: 7},
		{Magic: mcbp.MagicFlexResponse, Opcode: mcbp.OpGet, FrameExtras: []byte{2, 0, 9}, Extras: []byte("flag"), Value: []byte("x")},
		{Magic: mcbp.MagicServerRequest, Opcode: mcbp.OpClusterConfigPush, Extras: make([]byte, 16), Key: []byte("default")},
		{Magic: mcbp.MagicRequest, Opcode: mcbp.OpGet, Key: bytes.Repeat([]byte("k"), 65535)},
	}
}

func encode(f *mcbp.Frame) []byte {
	switch f.Magic {
	case mcbp.MagicRequest, mcbp.MagicFlexRequest:
		return mcbp.AppendRequest(nil, f)
	case mcbp.MagicServerRequest:
		return mcbp.AppendServerRequest(nil, f)
	}
	return mcbp.AppendResponse(nil, f)
}

// TestFrameRoundTrip encodes each kind behind other bytes and decodes it with more behind it.
func TestFrameRoundTrip(t *testing.T) {
	for _, f := range frames() {
		b := encode(&f)
		got, n, err := mcbp.Decode(append(bytes.Clone(b), "next frame"...))
		if err != nil || n != len(b) {
			t.Fatalf("magic %x: %v, %d of %d bytes", f.Magic, err, n, len(b))
		}
		if diff := cmp.Diff(f, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("magic %x (-want +got):\n%s", f.Magic, diff)
		}
		for cut := range len(b) {
			if cut > 300 && cut < len(b)-10 {
				continue
			}
			if _, _, err := mcbp.Decode(b[:cut]); !errors.Is(err, mcbp.ErrIncomplete) {
				t.Fatalf("magic %x cut at %d: %v", f.Magic, cut, err)
			}
		}
	}
}

// TestDecodeRefuses shows what cannot be a frame, each as early as it can be known.
func TestDecodeRefuses(t *testing.T) {
	header := func(change func([]byte)) []byte {
		f := mcbp.Frame{Opcode: mcbp.OpSet, Extras: make([]byte, 8), Key: []byte("k")}
		b := mcbp.AppendRequest(nil, &f)
		change(b)
		return b[:mcbp.HeaderLen]
	}
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"HTTP":              {[]byte("G"), mcbp.ErrMalformed},
		"TLS":               {[]byte{0x16, 3, 1}, mcbp.ErrMalformed},
		"nothing":           {nil, mcbp.ErrIncomplete},
		"body too small":    {header(func(b []byte) { b[11] = 8 }), mcbp.ErrMalformed},
		"huge body":         {header(func(b []byte) { b[8] = 0xff }), mcbp.ErrTooLarge},
		"one above limit":   {header(func(b []byte) { copy(b[8:], []byte{0x01, 0xe0, 0, 1}) }), mcbp.ErrTooLarge},
		"at the limit":      {header(func(b []byte) { copy(b[8:], []byte{0x01, 0xe0, 0, 0}) }), mcbp.ErrIncomplete},
		"key over the body": {header(func(b []byte) { b[2] = 0xff }), mcbp.ErrMalformed},
		"flex over body":    {header(func(b []byte) { b[0] = 0x08; b[2] = 20 }), mcbp.ErrMalformed},
	} {
		if _, _, err := mcbp.Decode(c.in); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	b := encode(&frames()[0])
	out := make([]byte, 0, 256)
	var f mcbp.Frame
	if n := testing.AllocsPerRun(100, func() {
		if _, err := f.Decode(b); err != nil {
			t.Fatal(err)
		}
		out = mcbp.AppendRequest(out[:0], &f)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestGoldenFrames pins the bytes of frames, field by field as the protocol's description draws them.
func TestGoldenFrames(t *testing.T) {
	hex := func(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), "")) }
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"GET Hello": {
			mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpGet, Key: []byte("Hello")}),
			`80 00 0005 00 00 0000 00000005 00000000 0000000000000000 48656c6c6f`,
		},
		"reply with flags": {
			mcbp.AppendResponse(nil, &mcbp.Frame{Opcode: mcbp.OpGet, CAS: 1, Extras: []byte{0xde, 0xad, 0xbe, 0xef}, Value: []byte("World")}),
			`81 00 0000 04 00 0000 00000009 00000000 0000000000000001 deadbeef 576f726c64`,
		},
		"ADD with flags and expiry": {
			mcbp.AppendRequest(nil, &mcbp.Frame{
				Opcode: mcbp.OpAdd, VB: 0x0210, Opaque: 0x01020304, Datatype: 1,
				Extras: mcbp.StoreExtras{Flags: 0xdeadbeef, Expiry: 0xe10}.Append(nil), Key: []byte("Hello"), Value: []byte("World"),
			}),
			`80 02 0005 08 01 0210 00000012 01020304 0000000000000000 deadbeef 00000e10 48656c6c6f 576f726c64`,
		},
		"durable SET": {
			mcbp.AppendRequest(nil, &mcbp.Frame{
				Opcode: mcbp.OpSet, FrameExtras: (&mcbp.RequestInfos{Durability: 1, Timeout: 2000}).AppendInfos(nil),
				Extras: make([]byte, 8), Key: []byte{0, 'k'}, Value: []byte("v"),
			}),
			`08 01 04 02 08 00 0000 0000000f 00000000 0000000000000000 13 01 07d0 0000000000000000 006b 76`,
		},
		"miss with duration": {
			mcbp.AppendResponse(nil, &mcbp.Frame{
				Opcode: mcbp.OpGet, VB: uint16(mcbp.StatusNotFound), Opaque: 7, FrameExtras: []byte{0x02, 0x00, 0x15},
			}),
			`18 00 03 00 00 00 0001 00000003 00000007 0000000000000000 020015`,
		},
		"configuration push": {
			mcbp.AppendServerRequest(nil, &mcbp.Frame{
				Opcode: mcbp.OpClusterConfigPush, Extras: mcbp.ConfigVersion{Epoch: 1, Rev: 1042}.Append(nil), Key: []byte("b"),
			}),
			`82 01 0001 10 00 0000 00000011 00000000 0000000000000000 0000000000000001 0000000000000412 62`,
		},
	} {
		if got := fmt.Sprintf("%x", c.got); got != hex(c.want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, hex(c.want))
		}
	}
}
