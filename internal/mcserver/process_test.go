package mcserver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/network"
)

// direct makes a connection that is driven by calling process, without a socket.
func (w *world) direct(t testing.TB, user, bucket string, features ...mcbp.Feature) *conn {
	t.Helper()
	near, far := network.Pipe(network.Addr("127.0.0.1:1"), network.Addr("127.0.0.1:2"))
	t.Cleanup(func() { near.Close(); far.Close() })
	c := newConn(w.server, near, listener{port: "kv"})
	c.session.greet(mcbp.Features(features...))
	if user != "" {
		id, err := w.auth.CheckPassword(t.Context(), user, user, "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		c.login(id)
	}
	if bucket != "" {
		b, err := w.node.Bucket(bucket)
		if err != nil {
			t.Fatal(err)
		}
		c.selectBucket(b)
	}
	return c
}

// runAll processes all of in, as drain does, and returns the replies and how it ended.
func (c *conn) runAll(t testing.TB, in []byte) (out []byte, rest int, next verdict) {
	w := c.server.takeWork()
	defer c.server.giveBack(w)
	for {
		used, next := c.process(t.Context(), w, in)
		in = in[used:]
		out = append(out, w.out...)
		w.out = w.out[:0]
		if next == hangUp || next == needInput {
			return out, len(in), next
		}
	}
}

// TestMalformed sends what is not a proper request. Each line says whether the connection lives on and, if so, the status.
func TestMalformed(t *testing.T) {
	w := newWorld(t)
	frame := func(change func(b []byte)) []byte {
		f := storeFrame(mcbp.OpSet, 1, "k", "v")
		b := mcbp.AppendRequest(nil, &f)
		change(b)
		return b
	}
	body := func(n uint32) func([]byte) { return func(b []byte) { binary.BigEndian.PutUint32(b[8:], n) } }
	for name, c := range map[string]struct {
		in     []byte
		closes bool
		status mcbp.Status
	}{
		"good":                      {frame(func([]byte) {}), false, mcbp.StatusSuccess},
		"HTTP":                      {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), true, 0},
		"ASCII":                     {[]byte("get k\r\n"), true, 0},
		"a response":                {frame(func(b []byte) { b[0] = 0x81 }), true, 0},
		"a flexible response":       {frame(func(b []byte) { b[0] = 0x18 }), true, 0},
		"a server's request":        {frame(func(b []byte) { b[0] = 0x82 }), true, 0},
		"body above the limit":      {frame(body(30<<20 + 1)), true, 0},
		"body of 4 GiB":             {frame(body(0xffffffff)), true, 0},
		"parts longer than body":    {frame(body(5)), true, 0},
		"frame extras beyond body":  {frame(func(b []byte) { b[0], b[2] = 0x08, 200 }), true, 0},
		"unknown opcode":            {frame(func(b []byte) { b[1] = 0xd3 }), false, mcbp.StatusUnknownCommand},
		"cluster manager's opcode":  {frame(func(b []byte) { b[1] = 0xf4 }), false, mcbp.StatusUnknownCommand},
		"RETURN_META":               {frame(func(b []byte) { b[1] = 0xb2 }), false, mcbp.StatusUnknownCommand},
		"GETEX":                     {frame(func(b []byte) { b[1] = 0x49 }), false, mcbp.StatusUnknownCommand},
		"unknown datatype":          {frame(func(b []byte) { b[5] = 0x08 }), false, mcbp.StatusInvalid},
		"xattr bit":                 {frame(func(b []byte) { b[5] = 0x04 }), false, mcbp.StatusInvalid},
		"not Snappy":                {frame(func(b []byte) { b[5] = 0x02; b[len(b)-1] = 0xff }), false, mcbp.StatusInvalid},
		"extras missing":            {frame(func(b []byte) { b[1] = byte(mcbp.OpAppend) }), false, mcbp.StatusInvalid},
		"value in GET":              {frame(func(b []byte) { b[1], b[4] = byte(mcbp.OpGet), 0 }), false, mcbp.StatusInvalid},
		"key in NOOP":               {frame(func(b []byte) { b[1], b[4] = byte(mcbp.OpNoop), 0 }), false, mcbp.StatusInvalid},
		"CAS in ADD":                {frame(func(b []byte) { b[1], b[23] = byte(mcbp.OpAdd), 1 }), false, mcbp.StatusInvalid},
		"cut framing extras":        {append(frame(func(b []byte) { b[0], b[2], b[3], b[11], b[24] = 0x08, 1, 1, 11, 0x13 }), 0)[:35], false, mcbp.StatusInvalid},
		"DCP":                       {frame(func(b []byte) { b[1] = 0x50 }), false, mcbp.StatusUnknownCommand},
		"FLUSH belongs on 11211":    {mcbp.AppendRequest(nil, &mcbp.Frame{Opcode: mcbp.OpFlush}), false, mcbp.StatusNotSupported},
		"sub-document is not here":  {frame(func(b []byte) { b[1] = 0xc5 }), false, mcbp.StatusUnknownCommand},
		"a client's answer to push": {frame(func(b []byte) { b[0] = 0x83 }), false, mcbp.StatusSuccess},
	} {
		t.Run(name, func(t *testing.T) {
			conn := w.direct(t, "app", "default", mcbp.FeatureXError, mcbp.FeatureJSON, mcbp.FeatureSnappy)
			out, rest, next := conn.runAll(t, c.in)
			if (next == hangUp) != c.closes {
				t.Fatalf("closed %v, want %v", next == hangUp, c.closes)
			}
			if c.closes {
				if len(out) != 0 {
					t.Errorf("answered % x before closing", out)
				}
				return
			}
			if rest != 0 {
				t.Errorf("%d bytes left", rest)
			}
			if c.in[0] == 0x83 {
				if len(out) != 0 {
					t.Errorf("answered % x", out)
				}
				return
			}
			f, n, err := mcbp.Decode(out)
			if err != nil || n != len(out) || f.Status() != c.status {
				t.Errorf("%s, %v; want %s", f.Status().String(), err, c.status.String())
			}
		})
	}
}

// TestStrangersFrames: who has not logged in cannot make the server take a large frame.
func TestStrangersFrames(t *testing.T) {
	w := newWorld(t)
	f := storeFrame(mcbp.OpSet, 1, "k", strings.Repeat("v", maxStranger+100))
	in := mcbp.AppendRequest(nil, &f)
	if _, _, next := w.direct(t, "", "").runAll(t, in[:100]); next != hangUp {
		t.Error("a stranger's large frame was waited for")
	}
	if _, _, next := w.direct(t, "app", "default").runAll(t, in[:100]); next != needInput {
		t.Error("a user's large frame was refused")
	}
}

// TestFeatureRefusal tries basic operations with each feature left out, and with none: they work without any of them, and
// replies show exactly what was negotiated.
func TestFeatureRefusal(t *testing.T) {
	w := newWorld(t)
	all := append(usual(), mcbp.FeatureDuplex, mcbp.FeatureConfigPush, mcbp.FeatureKnownConfig, mcbp.FeatureDedupeConfig)
	cases := map[string][]mcbp.Feature{"all": all, "none": nil}
	for i, f := range all {
		if f != mcbp.FeatureDuplex { // the push would be refused with it
			cases[fmt.Sprintf("without %02x", uint16(f))] = append(append([]mcbp.Feature(nil), all[:i]...), all[i+1:]...)
		}
	}
	for name, features := range cases {
		t.Run(name, func(t *testing.T) {
			set := mcbp.Features(features...)
			p := w.dial().enter("app", "default", features...)
			key := "doc"
			if set.Has(mcbp.FeatureCollections) {
				key = "\x00doc"
			}
			stored := p.must(storeFrame(mcbp.OpSet, 1, key, `{"a":1}`))
			if len(stored.Extras) == mcbp.TokenLen != set.Has(mcbp.FeatureMutationToken) {
				t.Errorf("token of %d bytes", len(stored.Extras))
			}
			got := p.must(mcbp.Frame{Opcode: mcbp.OpGet, VB: 1, Key: []byte(key)})
			if string(got.Value) != `{"a":1}` || got.CAS != stored.CAS || len(got.Extras) != 4 {
				t.Errorf("GET: %q, CAS %x, want %x", got.Value, got.CAS, stored.CAS)
			}
			if (got.Datatype == mcbp.DatatypeJSON) != set.Has(mcbp.FeatureJSON) {
				t.Errorf("datatype %d", got.Datatype)
			}
			if (got.Magic == mcbp.MagicFlexResponse) != set.Has(mcbp.FeatureTracing) {
				t.Errorf("magic %x", got.Magic)
			}
			miss := p.call(mcbp.Frame{Opcode: mcbp.OpGet, VB: 1, Key: []byte(key + "2")})
			if miss.Status() != mcbp.StatusNotFound || len(miss.Value) != 0 {
				t.Errorf("miss: %s %q", miss.Status().String(), miss.Value)
			}
			locked := p.must(mcbp.Frame{Opcode: mcbp.OpGetAndLock, VB: 1, Key: []byte(key)})
			want := mcbp.StatusLocked
			if !set.Has(mcbp.FeatureXError) {
				want = mcbp.StatusExists
			}
			if got := p.call(storeFrame(mcbp.OpSet, 1, key, "x")).Status(); got != want {
				t.Errorf("SET of a locked document: %s, want %s", got.String(), want.String())
			}
			p.must(mcbp.Frame{Opcode: mcbp.OpUnlock, VB: 1, Key: []byte(key), CAS: locked.CAS})
			if config := p.must(mcbp.Frame{Opcode: mcbp.OpGetClusterConfig}); len(config.Value) == 0 {
				t.Error("no configuration")
			}
			p.must(mcbp.Frame{Opcode: mcbp.OpDelete, VB: 1, Key: []byte(key)})
		})
	}
}

// TestBatches feeds the same pipeline in pieces of every size, so that frames are cut everywhere and batches overflow: the
// replies must always be the same.
func TestBatches(t *testing.T) {
	w := newWorld(t)
	var in []byte
	for i := range 100 {
		f := storeFrame(mcbp.OpSet, uint16(i%8), fmt.Sprintf("key-%d", i), strings.Repeat("v", i))
		f.Opaque = uint32(2 * i)
		in = mcbp.AppendRequest(in, &f)
		in = mcbp.AppendRequest(in, &mcbp.Frame{Opcode: mcbp.OpGet, VB: uint16(i % 8), Key: f.Key, Opaque: uint32(2*i + 1)})
	}
	for _, piece := range []int{1, 7, 24, 100, 1000, len(in)} {
		c := w.direct(t, "app", "default", mcbp.FeatureTracing)
		var out, pending []byte
		for rest := in; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			pending = append(pending, rest[:min(piece, len(rest))]...)
			got, left, next := c.runAll(t, pending)
			if next != needInput {
				t.Fatalf("piece %d: verdict %d", piece, next)
			}
			out = append(out, got...)
			pending = bytes.Clone(pending[len(pending)-left:])
		}
		for i := range 200 {
			f, n, err := mcbp.Decode(out)
			if err != nil || f.Opaque != uint32(i) || f.Status() != mcbp.StatusSuccess {
				t.Fatalf("piece %d, reply %d: %+v, %v", piece, i, f, err)
			}
			if i%2 == 1 && len(f.Value) != i/2 {
				t.Fatalf("piece %d, reply %d: %d bytes", piece, i, len(f.Value))
			}
			out = out[n:]
		}
	}
}

// TestLargeRepliesLeaveEarly: a batch whose replies are large is written in parts, so that a client which does not read
// cannot have a whole batch of large documents held for it.
func TestLargeRepliesLeaveEarly(t *testing.T) {
	const size = writeAt / 2
	w := newWorld(t)
	c := w.direct(t, "app", "default")
	set := storeFrame(mcbp.OpSet, 0, "large", strings.Repeat("v", size))
	c.runAll(t, mcbp.AppendRequest(nil, &set))
	var in []byte
	for range maxBatch {
		in = mcbp.AppendRequest(in, &mcbp.Frame{Opcode: mcbp.OpGet, Key: []byte("large")})
	}
	work := new(work)
	replies := 0
	for len(in) > 0 {
		used, next := c.process(t.Context(), work, in)
		in = in[used:]
		if len(work.out) > writeAt+size+1000 || len(in) > 0 && next != writeOut {
			t.Fatalf("%d bytes of replies at once, verdict %d", len(work.out), next)
		}
		for ; len(work.out) > 0; replies++ {
			f, n, err := mcbp.Decode(work.out)
			if err != nil || len(f.Value) != size {
				t.Fatalf("%d bytes, %v", len(f.Value), err)
			}
			work.out = work.out[n:]
		}
	}
	if replies != maxBatch {
		t.Errorf("%d replies to %d requests", replies, maxBatch)
	}
}

// TestInbox grows and shrinks a connection's input buffer.
func TestInbox(t *testing.T) {
	i := inbox{buf: make([]byte, smallBuffer)}
	fill := func(b []byte) {
		n := copy(i.room(), b)
		i.received(n)
	}
	big := storeFrame(mcbp.OpSet, 1, "k", strings.Repeat("v", 1<<20))
	wire := mcbp.AppendRequest(nil, &big)
	fill(wire)
	i.fit()
	if len(i.buf) != fullBuffer {
		t.Errorf("after a full read: %d", len(i.buf))
	}
	for sent := smallBuffer; sent < len(wire); {
		room := len(i.room())
		if room == 0 || len(i.buf) > 4*max(i.have, fullBuffer) {
			t.Fatalf("%d received, buffer of %d", i.have, len(i.buf))
		}
		fill(wire[sent:min(len(wire), sent+room)])
		sent += room
		i.fit()
	}
	if i.have != len(wire) || !bytes.Equal(i.data(), wire) {
		t.Fatal("the frame was damaged while the buffer grew")
	}
	i.consume(len(wire))
	i.fit()
	if len(i.buf) != fullBuffer {
		t.Errorf("after the large frame: %d", len(i.buf))
	}
	for range shrinkAfter {
		fill(wire[:100])
		i.consume(i.have)
		i.fit()
	}
	if len(i.buf) != smallBuffer {
		t.Errorf("after quiet reads: %d", len(i.buf))
	}
	reads := func(n, size int) {
		for range n {
			fill(wire[:size])
			i.consume(i.have)
			i.fit()
		}
	}
	reads(1, smallBuffer)
	if len(i.buf) != fullBuffer {
		t.Errorf("after a read that filled it: %d", len(i.buf))
	}
	for range 10 { // the same traffic must not make it swing
		reads(shrinkAfter, smallBuffer+1)
		if len(i.buf) != bufferStep*smallBuffer {
			t.Errorf("after reads of a little more than the small buffer: %d", len(i.buf))
		}
	}
	reads(shrinkAfter, 100)
	if len(i.buf) != smallBuffer {
		t.Errorf("after quiet reads again: %d", len(i.buf))
	}
	for sent := 0; sent < len(wire); { // a large frame that comes in many small pieces
		n := min(len(wire)-sent, 1000, len(i.room()))
		fill(wire[sent : sent+n])
		sent += n
		i.fit()
	}
	if !bytes.Equal(i.data(), wire) {
		t.Error("a frame in many pieces was damaged")
	}
}

// TestExecutors: every opcode of the table has somebody who carries it out.
func TestExecutors(t *testing.T) {
	for o := range 256 {
		if (mcbp.Lookup(mcbp.Opcode(o)) != nil) != (executors[o] != nil) {
			t.Errorf("opcode %02x: line in the table %v, executor %v", o, mcbp.Lookup(mcbp.Opcode(o)) != nil, executors[o] != nil)
		}
	}
}

// TestSentinels walks the exported errors of the packages below and looks for each in the table of statuses. Those that never
// reach a reply are listed with their reason.
func TestSentinels(t *testing.T) {
	never := map[string]string{
		"value.ErrInflatedSize": "is an ErrInflate",
		"auth.ErrBadPassword":   "for who sets a password",
		"kv.ErrTooSlow":         "for readers of the change feed",
		"kv.ErrVBucketState":    "for readers of the change feed",
		"kv.ErrSnapshot":        "for tests that go back to a snapshot",
	}
	table, err := os.ReadFile("status.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kv", "data", "auth", "value"} {
		for _, sentinel := range exportedErrors(t, filepath.Join("..", name)) {
			full := name + "." + sentinel
			inTable := bytes.Contains(table, []byte("{"+full+","))
			if _, excused := never[full]; inTable == excused {
				t.Errorf("%s: in the table %v, excused %v", full, inTable, excused)
			}
		}
	}
	for i, s := range sentinels {
		c := &conn{}
		if got := c.explain(&request{}, fmt.Errorf("wrapped: %w", s.err)); got.status != s.status {
			t.Errorf("%v gives %s, want %s: an earlier line covers it", s.err, got.status.String(), s.status.String())
		}
		if s.status.Info() == nil {
			t.Errorf("line %d: status %x is not in the error map", i, uint16(s.status))
		}
	}
}

// exportedErrors lists the package-level variables of a package whose names begin with Err.
func exportedErrors(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", dir, err)
	}
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			decl, ok := d.(*ast.GenDecl)
			if !ok || decl.Tok != token.VAR {
				continue
			}
			for _, s := range decl.Specs {
				for _, id := range s.(*ast.ValueSpec).Names {
					if strings.HasPrefix(id.Name, "Err") {
						names = append(names, id.Name)
					}
				}
			}
		}
	}
	return names
}
