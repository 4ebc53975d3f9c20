package mcserver

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/cockroachdb/datadriven"
)

// TestScripts runs the scripts of testdata against a real server. -rewrite writes the answers anew. Commands:
//
//	connect [user=U] [bucket=B] [features=(04,07,…)]   a new connection
//	send                                              one request a line; then all replies up to a NOOP of the driver's own
//	advance seconds=N                                 the clock
//
// A request is an operation's name (or a hexadecimal opcode) and fields: key, value (strings, quoted if need be), vb, cas, dt,
// ext, frame (hexadecimal), cid (puts a collection prefix in front of the key), snappy (a value to compress), opaque. "raw" sends
// hexadecimal bytes as they are. CAS values and history UUIDs differ from run to run and are written as names: c1 is the first CAS
// that the script met, u1 the first UUID.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{world: newWorld(t), names: map[string]string{}, values: map[string]uint64{}}
		datadriven.RunTest(t, path, s.run)
	})
}

type script struct {
	world  *world
	peer   *peer
	names  map[string]string // "c" or "u" and the number → name
	values map[string]uint64
	count  map[string]int
}

func (s *script) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	switch d.Cmd {
	case "connect":
		var user, bucket string
		d.MaybeScanArgs(t, "user", &user)
		d.MaybeScanArgs(t, "bucket", &bucket)
		var features []mcbp.Feature
		for _, arg := range d.CmdArgs {
			for _, v := range arg.Vals {
				if arg.Key == "features" {
					n, err := strconv.ParseUint(v, 16, 16)
					if err != nil {
						t.Fatal(err)
					}
					features = append(features, mcbp.Feature(n))
				}
			}
		}
		s.peer = s.world.dial()
		if features == nil {
			s.peer.login(user, bucket)
			return "no HELLO\n"
		}
		s.peer.enter(user, bucket, features...)
		return ""
	case "send":
		for line := range strings.SplitSeq(strings.TrimSpace(d.Input), "\n") {
			s.peer.write(s.request(t, line))
		}
		return s.replies()
	case "advance":
		var seconds int
		d.ScanArgs(t, "seconds", &seconds)
		s.world.clock.Advance(time.Duration(seconds) * time.Second)
		return ""
	}
	t.Fatalf("unknown command %s", d.Cmd)
	return ""
}

// sentinel is the opaque of the NOOP that marks the end of the replies.
const endOpaque = 0xfffffffe

func (s *script) replies() string {
	noop := mcbp.Frame{Opcode: mcbp.OpNoop, Opaque: endOpaque}
	_, _ = s.peer.conn.Write(mcbp.AppendRequest(nil, &noop)) // fails if the server has closed, which next shows
	var out strings.Builder
	for {
		f, err := s.peer.next()
		switch {
		case errors.Is(err, io.EOF):
			return out.String() + "closed\n"
		case err != nil:
			return out.String() + err.Error() + "\n"
		case f.Opcode == mcbp.OpNoop && f.Opaque == endOpaque:
			return out.String()
		}
		s.reply(&out, &f)
	}
}

func opcodeNamed(name string) (mcbp.Opcode, bool) {
	for o := range 256 {
		if op := mcbp.Lookup(mcbp.Opcode(o)); op != nil && op.Name == name {
			return mcbp.Opcode(o), true
		}
	}
	n, err := strconv.ParseUint(name, 16, 8)
	return mcbp.Opcode(n), err == nil
}

// fields splits a line at blanks that are not inside quotes.
func fields(line string) []string {
	var out []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		end, quoted := 0, false
		for end < len(line) && (quoted || line[end] != ' ') {
			if line[end] == '"' && (end == 0 || line[end-1] != '\\') {
				quoted = !quoted
			}
			end++
		}
		out = append(out, line[:end])
		line = line[end:]
	}
	return out
}

func text(t *testing.T, v string) []byte {
	t.Helper()
	if !strings.HasPrefix(v, `"`) {
		return []byte(v)
	}
	s, err := strconv.Unquote(v)
	if err != nil {
		t.Fatalf("%s: %v", v, err)
	}
	return []byte(s)
}

func unhex(t *testing.T, v string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(v, "_", ""))
	if err != nil {
		t.Fatalf("%s: %v", v, err)
	}
	return b
}

func (s *script) request(t *testing.T, line string) []byte {
	t.Helper()
	words := fields(line)
	if words[0] == "raw" {
		return unhex(t, strings.Join(words[1:], ""))
	}
	op, ok := opcodeNamed(words[0])
	if !ok {
		t.Fatalf("unknown operation %s", words[0])
	}
	f := mcbp.Frame{Opcode: op}
	for _, word := range words[1:] {
		name, v, _ := strings.Cut(word, "=")
		number := func(bits int) uint64 {
			n, err := strconv.ParseUint(v, 0, bits)
			if err != nil {
				t.Fatalf("%s: %v", word, err)
			}
			return n
		}
		switch name {
		case "key":
			f.Key = append(f.Key, text(t, v)...)
		case "keylen":
			f.Key = append(f.Key, strings.Repeat("k", int(number(16)))...)
		case "cid":
			f.Key = docid.AppendPrefix(f.Key, docid.Collection(number(32)))
		case "hexkey":
			f.Key = append(f.Key, unhex(t, v)...)
		case "value":
			f.Value = text(t, v)
		case "hexvalue":
			f.Value = unhex(t, v)
		case "uuidvalue":
			f.Value = binary.BigEndian.AppendUint64(nil, s.values[v])
		case "snappy":
			f.Value = value.Deflate(nil, text(t, v))
			f.Datatype |= mcbp.DatatypeSnappy
		case "vb":
			f.VB = uint16(number(16))
		case "dt":
			f.Datatype = uint8(number(8))
		case "opaque":
			f.Opaque = uint32(number(32))
		case "cas":
			if known, ok := s.values[v]; ok {
				f.CAS = known
			} else {
				f.CAS = number(64)
			}
		case "ext":
			f.Extras = unhex(t, v)
		case "frame":
			f.FrameExtras = unhex(t, v)
		default:
			t.Fatalf("unknown field %s", word)
		}
	}
	return mcbp.AppendRequest(nil, &f)
}

// alias names a number that differs from run to run.
func (s *script) alias(kind string, n uint64) string {
	switch n {
	case 0:
		return "0"
	case 1<<64 - 1:
		return "locked"
	}
	id := kind + strconv.FormatUint(n, 16)
	if name, ok := s.names[id]; ok {
		return name
	}
	if s.count == nil {
		s.count = map[string]int{}
	}
	s.count[kind]++
	name := kind + strconv.Itoa(s.count[kind])
	s.names[id], s.values[name] = name, n
	return name
}

func (s *script) reply(out *strings.Builder, f *mcbp.Frame) {
	if f.Magic != mcbp.MagicResponse {
		fmt.Fprintf(out, "[%02x] ", uint8(f.Magic))
	}
	fmt.Fprintf(out, "%v %02x %s", f.Opcode, uint16(f.Status()), f.Status().String())
	if f.Datatype != 0 {
		fmt.Fprintf(out, " dt=%d", f.Datatype)
	}
	if f.Opaque != 0 {
		fmt.Fprintf(out, " opaque=%d", f.Opaque)
	}
	if f.CAS != 0 {
		fmt.Fprintf(out, " cas=%s", s.alias("c", f.CAS))
	}
	if len(f.FrameExtras) > 0 {
		fmt.Fprintf(out, " frame=%x", f.FrameExtras)
	}
	if token, ok := mcbp.ParseToken(f.Extras); ok && f.Opcode != mcbp.OpGetMeta {
		fmt.Fprintf(out, " token=%s/%d", s.alias("u", token.UUID), token.Seqno)
	} else if len(f.Extras) > 0 {
		fmt.Fprintf(out, " ext=%x", f.Extras)
	}
	if len(f.Key) > 0 {
		fmt.Fprintf(out, " key=%q", f.Key)
	}
	if len(f.Value) > 0 {
		s.value(out, f)
	}
	out.WriteByte('\n')
}

// value prints a reply's value: text as text, what holds history UUIDs with their names.
func (s *script) value(out *strings.Builder, f *mcbp.Frame) {
	v := f.Value
	success := f.Status() == mcbp.StatusSuccess
	switch {
	case success && f.Opcode == mcbp.OpFailoverLog:
		for ; len(v) >= 16; v = v[16:] {
			fmt.Fprintf(out, " %s/%d", s.alias("u", binary.BigEndian.Uint64(v)), binary.BigEndian.Uint64(v[8:]))
		}
	case success && f.Opcode == mcbp.OpObserveSeqno:
		fmt.Fprintf(out, " format=%d vb=%x uuid=%s persisted=%d current=%d", v[0], v[1:3],
			s.alias("u", binary.BigEndian.Uint64(v[3:])), binary.BigEndian.Uint64(v[11:]), binary.BigEndian.Uint64(v[19:]))
	case success && f.Opcode == mcbp.OpObserve:
		for len(v) > 4 {
			n := 4 + int(binary.BigEndian.Uint16(v[2:]))
			fmt.Fprintf(out, " vb=%x key=%q state=%02x cas=%s", v[:2], v[4:n], v[n], s.alias("c", binary.BigEndian.Uint64(v[n+1:])))
			v = v[n+9:]
		}
	case f.Datatype&mcbp.DatatypeSnappy != 0:
		plain, err := value.Inflate(nil, v)
		fmt.Fprintf(out, " snappy=%q", plain)
		if err != nil {
			fmt.Fprintf(out, " (%v)", err)
		}
	case len(v) > 300:
		fmt.Fprintf(out, " value=%q… (%d bytes)", v[:60], len(v))
	default:
		fmt.Fprintf(out, " value=%q", v)
	}
}
