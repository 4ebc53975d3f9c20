package cli

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestKeysOf walks a sorted list in pages of every size and compares with the list itself.
func TestKeysOf(t *testing.T) {
	longest := strings.Repeat("k", maxKey)
	keys := []string{"\x00", "a", "city::1", "city::10", "city::2", "d", longest, "z\xff"}
	slices.Sort(keys)
	for _, prefix := range []string{"", "city::", "city::1", "d", "nothing", "z\xff", longest} {
		for limit := 2; limit <= len(keys)+1; limit++ {
			page := func(from string) ([]string, error) {
				if from == "" || len(from) > maxKey {
					t.Fatalf("asked from %q, which no server takes", from)
				}
				i, _ := slices.BinarySearch(keys, from)
				return slices.Clone(keys[i:min(len(keys), i+limit)]), nil
			}
			var got, want []string
			for key, err := range keysOf(prefix, page) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, key)
			}
			for _, k := range keys {
				if strings.HasPrefix(k, prefix) {
					want = append(want, k)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("prefix %q, pages of %d: got %q, want %q", prefix, limit, got, want)
			}
		}
	}
}

// TestKeysOfFails: an error ends the walk and is handed on.
func TestKeysOfFails(t *testing.T) {
	broken := errors.New("broken")
	n := 0
	for _, err := range keysOf("", func(string) ([]string, error) { return nil, broken }) {
		if n++; !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d rounds, want 1", n)
	}
}
