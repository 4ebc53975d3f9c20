package testcluster

import (
	"regexp"
	"strings"
	"testing"
)

// FuzzGlob holds patterns against what they mean as regular expressions.
func FuzzGlob(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""},
		{"*", ""},
		{"*", "a/b"},
		{"a*b", "axxb"},
		{"a*b*c", "a-b-b-c"},
		{"??", "ab"},
		{"?", ""},
		{"a?c*", "abc"},
		{"**a", "ba"},
		{"cart::*", "cart::1"},
		{"*::1", "cart::1"},
		{"[a]", "a"},
		{`\*`, `\x`},
		{"a*a", "a"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 100 || len(text) > 1000 || !isASCII(pattern) || !isASCII(text) {
			return // ? is a byte here and a character there
		}
		quoted := ""
		for _, r := range pattern {
			switch r {
			case '*':
				quoted += ".*"
			case '?':
				quoted += "."
			default:
				quoted += regexp.QuoteMeta(string(r))
			}
		}
		want := regexp.MustCompile(`(?s)\A` + quoted + `\z`).MatchString(text)
		if got := glob(pattern, text); got != want {
			t.Errorf("%q fits %q: %v, want %v", text, pattern, got, want)
		}
	})
}

func isASCII(s string) bool { return !strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e }) }
