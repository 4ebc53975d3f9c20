package mctext

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// describe prints what is known of a command.
func describe(c *Command) string {
	var b strings.Builder
	b.WriteString(c.Verb.String())
	if c.Fault != "" {
		fmt.Fprintf(&b, " fault=%q", c.Fault)
	}
	for _, f := range []struct {
		name string
		on   bool
	}{{"quiet", c.Quiet}, {"base64", c.Base64}, {"large", c.TooLarge}} {
		if f.on {
			b.WriteString(" " + f.name)
		}
	}
	if c.Mode != 0 {
		fmt.Fprintf(&b, " mode=%c", c.Mode)
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"key", c.Key}, {"args", c.Args}, {"value", c.Value}} {
		if len(f.text) > 0 {
			fmt.Fprintf(&b, " %s=%q", f.name, f.text)
		}
	}
	for key, rest := NextKey(c.Keys); len(key) > 0; key, rest = NextKey(rest) {
		fmt.Fprintf(&b, " [%s]", key)
	}
	for _, f := range []struct {
		name string
		n    uint64
	}{
		{"flags", uint64(c.ClientFlags)},
		{"expiry", uint64(c.Expiry)},
		{"cas", c.CAS},
		{"vivify", uint64(c.Vivify)},
		{"recache", uint64(c.Recache)},
		{"delta", c.Delta},
		{"initial", c.Initial},
	} {
		if f.n != 0 {
			fmt.Fprintf(&b, " %s=%d", f.name, f.n)
		}
	}
	for _, f := range c.Flags[:c.NumFlags] {
		fmt.Fprintf(&b, " (%c%s)", f.Letter, c.Token(f))
	}
	return b.String()
}

// parseAll parses all of in, of which piece bytes more are seen at a time, as a connection does. It returns the commands, what
// is left, and the error that ended it.
func parseAll(in []byte, piece, maxValue int) (commands []string, rest int, err error) {
	var skip Skip
	begin := 0
	for end := 0; ; {
		more := min(end+piece, len(in))
		if more == end && end == len(in) {
			return commands, len(in) - begin, nil
		}
		end = more
		for {
			begin += skip.Take(in[begin:end])
			if skip.Pending() || begin == end {
				break
			}
			var c Command
			n, err := c.Parse(in[begin:end], maxValue)
			if errors.Is(err, ErrIncomplete) {
				break
			}
			if err != nil {
				return commands, 0, err
			}
			commands = append(commands, describe(&c))
			begin += n
			skip = c.Skip
		}
	}
}

// TestParse runs the scripts of testdata: each line of input gets a line end, \ at its end leaves that out.
func TestParse(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			most := 1 << 20
			d.MaybeScanArgs(t, "max", &most)
			var in []byte
			for line := range strings.SplitSeq(d.Input, "\n") {
				line, open := strings.CutSuffix(line, `\`)
				raw, err := strconv.Unquote(`"` + strings.ReplaceAll(line, `"`, `\"`) + `"`)
				if err != nil {
					t.Fatalf("%s: %v", line, err)
				}
				in = append(in, raw...)
				if !open {
					in = append(in, "\r\n"...)
				}
			}
			whole, rest, err := parseAll(in, len(in), most)
			out := strings.Join(whole, "\n") + "\n"
			switch {
			case err != nil:
				out += err.Error() + "\n"
			case rest > 0:
				out += fmt.Sprintf("%d bytes wait for more\n", rest)
			}
			if again, _, e := parseAll(in, 1, most); !slices.Equal(whole, again) || !errors.Is(e, err) {
				t.Errorf("%q byte by byte: %v, %v", in, again, e)
			}
			return out
		})
	})
}

// TestLines holds long lines against their limits.
func TestLines(t *testing.T) {
	keys := func(n int) string { return "get" + strings.Repeat(" k", n) }
	for _, c := range []struct {
		name string
		in   string
		want error
	}{
		{"longest", "set " + strings.Repeat("x", MaxLine-5) + "\r\n", nil},
		{"one more", "set " + strings.Repeat("x", MaxLine-3) + "\r\n", ErrLineTooLong},
		{"without an end", strings.Repeat("x", MaxLine), ErrIncomplete},
		{"without an end, one more", strings.Repeat("x", MaxLine+1), ErrLineTooLong},
		{"keys", keys(5000) + "\r\n", nil},
		{"keys without an end", keys(5000), ErrIncomplete},
		{"keys of gats", " gats 0" + strings.Repeat(" k", 5000) + "\r\n", nil},
		{"too many keys", keys(MaxKeysLine/2) + "\r\n", ErrLineTooLong},
		{"too many keys without an end", keys(MaxKeysLine / 2), ErrLineTooLong},
	} {
		var cmd Command
		if _, err := cmd.Parse([]byte(c.in), 1<<20); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	var cmd Command
	if _, err := cmd.Parse([]byte(keys(5000)+"\r\n"), 0); err != nil || cmd.NumKeys != 5000 {
		t.Errorf("%d keys, %v, want 5000", cmd.NumKeys, err)
	}
}

// TestNeed: when a data block is missing, the length of the whole command is known.
func TestNeed(t *testing.T) {
	in := []byte("set k 0 0 10\r\n0123456789\r\nget k\r\n")
	const whole = 26
	for n := range whole {
		var c Command
		used, err := c.Parse(in[:n], 100)
		want := 0
		if n >= 14 {
			want = whole
		}
		if used != 0 || !errors.Is(err, ErrIncomplete) || c.Need != want {
			t.Errorf("%d bytes: used %d, %v, need %d, want %d", n, used, err, c.Need, want)
		}
	}
}

// TestResume: the rest of a list of keys is a command as well.
func TestResume(t *testing.T) {
	in := []byte("gat 5 a b  c\r\nversion\r\n")
	var c Command
	n, err := c.Parse(in, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, rest := NextKey(c.Keys)
	from := cap(in) - cap(rest)
	c.Resume(c.Verb, c.Expiry, in[from:n])
	if got := describe(&c); got != "gat [b] [c] expiry=5" {
		t.Errorf("got %s", got)
	}
}

// TestNoAllocations: parsing costs none.
func TestNoAllocations(t *testing.T) {
	for _, in := range []string{
		"get some-key\r\n", "get a b c d e\r\n", "set k 0 0 3 noreply\r\nabc\r\n", "mg key s v t f q k Oabc N30\r\n",
		"ms Zm9v 3 b T30 F5 C123456\r\nabc\r\n", "incr k 5\r\n", "bogus\r\n", "delete k\r\n",
	} {
		c := new(Command)
		b := []byte(in)
		if n := testing.AllocsPerRun(100, func() {
			if used, err := c.Parse(b, 100); used != len(b) || err != nil {
				t.Errorf("%q: %d, %v", in, used, err)
			}
		}); n > 0 {
			t.Errorf("%q: %v allocations", in, n)
		}
	}
}

func TestReplies(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{string(AppendLine(nil, "OK")), "OK\r\n"},
		{string(AppendEnd(nil)), "END\r\n"},
		{string(AppendNumber(nil, 18446744073709551615)), "18446744073709551615\r\n"},
		{string(AppendValueHead(nil, []byte("k"), 4294967295, 0, 0)), "VALUE k 4294967295 0\r\n"},
		{string(AppendValueHead(nil, []byte("k"), 1, 22, 333)), "VALUE k 1 22 333\r\n"},
		{string(AppendStat(nil, "a", "b c")), "STAT a b c\r\n"},
		{string(AppendFlag(nil, 's', 5)), " s5"},
		{string(AppendSigned(nil, 't', -1)), " t-1"},
		{string(AppendURI(nil, []byte("a-Z0._~/\x00\xff"))), "a-Z0._~%2F%00%FF"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	var c Command
	if _, err := c.Parse([]byte("mg Zm9v v Ox k b q\r\n"), 0); err != nil {
		t.Fatal(err)
	}
	if got := string(c.AppendEcho(nil)); got != " Ox kZm9v b" {
		t.Errorf("echo is %q", got)
	}
}

// TestVerbs: each verb's spelling leads back to it.
func TestVerbs(t *testing.T) {
	for v := Get; v < NumVerbs; v++ {
		if got := verbOf([]byte(v.String())); got != v {
			t.Errorf("%s is %s", v, got)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, in := range []string{"get key-0000000001\r\n", "mg key-0000000001 v\r\n", "set key-0000000001 0 0 10\r\n0123456789\r\n"} {
		b.Run(strings.Fields(in)[0], func(b *testing.B) {
			c, raw := new(Command), []byte(in)
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := c.Parse(raw, 1<<20); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
