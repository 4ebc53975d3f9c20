package jsonscan_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/jsonscan"
)

// samples are texts at the edges of the grammar; the fuzz test starts from them.
func samples() []string {
	list := strings.Split(`|  |{}|[]|{ }|[ ]|{"a":1}|{"a":1,}|{,}|[1,]|[,1]|[1 2]|{"a"}|{"a":}|{"a" : 1 , "b":[true,false,null]}|
{a:1}|{'a':1}|{1:1}|{"a":1}}|[[]|[]]|{]|[}|{"a":[}]|tru|truex|true|nul|null|falsE|fals|true false|0|-0|-|00|01|1.|.1|1.0|
1.5e|1e5|1E+5|1e-|1e+0|-1.25e-10|+1|1e5.5|0x1|Infinity|NaN|"|""|"a|"\|"\"|"\""|"\u12"|"\u123g"|"\uABcd"|"\x"|"\/\b\f\n\r\t"|
"abcdefg"|"abcdefgh"|"abcdefghi\"jkl"|"seven77\\"|[[[[1]]]]|//x|"a"b|{"a":1 "b":2}|[1,"two",{"three":3}] x|-a|1-|1+1`, "|")
	list = append(list,
		"\"\x01\"", "\"abcdefgh\x1fijkl\"", "\"\x7f\xff\xfe\"", "\x00", "\ufeff{}", "\"tab\there\"", "\v1", "\f1", "\u00a01",
		"\"12345678\n\"", "\"1234567\x00\"", "\" ! # [ ] \x80\"", "\"\xa2\xdc\x9f\"",
		strings.Repeat("[", 255)+strings.Repeat("]", 255), strings.Repeat("[", 256)+strings.Repeat("]", 256),
		strings.Repeat("[", 257)+strings.Repeat("]", 257), strings.Repeat("[", 257)+strings.Repeat("]", 256),
		strings.Repeat("[", 10000)+strings.Repeat("]", 10000), strings.Repeat("[", 10001)+strings.Repeat("]", 10001),
		strings.Repeat(`{"a":[`, 64)+strings.Repeat("]}", 64), strings.Repeat(`{"a":[`, 128)+"1"+strings.Repeat("]}", 128),
		strings.Repeat(`{"a":[`, 64)+strings.Repeat("}]", 64),
	)
	return list
}

func TestValidSamples(t *testing.T) {
	for _, s := range samples() {
		if got, want := jsonscan.Valid([]byte(s)), json.Valid([]byte(s)); got != want {
			t.Errorf("Valid(%.80q) = %v, want %v", s, got, want)
		}
	}
}

// TestValidEveryByte puts each byte at each place of a string long enough for the eight-byte step, and in place of each
// byte of a document.
func TestValidEveryByte(t *testing.T) {
	for _, text := range []string{`"0123456789abcdef"`, `{"a":[1.5e3,true,null],"b\n":"x\u00e4"}`} {
		for at := range len(text) {
			for c := range 256 {
				b := []byte(text)
				b[at] = byte(c)
				if got, want := jsonscan.Valid(b), json.Valid(b); got != want {
					t.Fatalf("Valid(%q) = %v, want %v", b, got, want)
				}
			}
		}
	}
}

// TestValidCut cuts a document at every length: no prefix may be read beyond its end.
func TestValidCut(t *testing.T) {
	text := []byte(`  {"name":"\u0041nn \"x\"","list":[1,-2.5E+7,true,false,null,{}],"long":"abcdefghijklmnop"}  `)
	for n := range len(text) + 1 {
		cut := append([]byte(nil), text[:n]...)
		if got, want := jsonscan.Valid(cut[:n:n]), json.Valid(cut); got != want {
			t.Errorf("Valid(%q) = %v, want %v", cut, got, want)
		}
	}
}

// TestValidMutated compares on random damage to a document; the seed is fixed, so that a failure repeats.
func TestValidMutated(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	const letters = "{}[]\",:\\ \n0123456789.eE+-truefalsn\x00\x1f\xff"
	text := []byte(`{"id":42,"tags":["a","b\\"],"nested":{"k":[{"x":-1.5e+10},null]},"s":"some longer text here"}`)
	for round := range 200_000 {
		b := append([]byte(nil), text...)
		for range 1 + r.IntN(3) {
			b[r.IntN(len(b))] = letters[r.IntN(len(letters))]
		}
		if got, want := jsonscan.Valid(b), json.Valid(b); got != want {
			t.Fatalf("round %d: Valid(%q) = %v, want %v", round, b, got, want)
		}
	}
}

func TestValidDoesNotAllocate(t *testing.T) {
	b := []byte(document(1 << 10))
	if n := testing.AllocsPerRun(100, func() { jsonscan.Valid(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// document makes a JSON object of roughly n bytes.
func document(n int) string {
	var b strings.Builder
	b.WriteString(`{"type":"city"`)
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `,"field_%d":"some ordinary text of a document","n%d":%d.25,"l%d":[1,2,{"x":true}]`, i, i, i*1001, i)
	}
	b.WriteString("}")
	return b.String()
}
