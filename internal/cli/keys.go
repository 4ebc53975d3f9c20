package cli

import (
	"iter"
	"slices"
	"strings"
)

// keysOf walks the keys of one vBucket that begin with a prefix, in order. page gives the keys from one on, that one
// included; it may give fewer than there are, but gives none only at the end.
func keysOf(prefix string, page func(from string) ([]string, error)) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for keys, err := range pagesOf(prefix, page) {
			if err != nil {
				yield("", err)
				return
			}
			for _, key := range keys {
				if !yield(key, nil) {
					return
				}
			}
		}
	}
}

// pagesOf is keysOf by the page.
func pagesOf(prefix string, page func(from string) ([]string, error)) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		from, last := prefix, ""
		if from == "" {
			from = "\x00" // no key is smaller, and an empty one is not allowed
		}
		for {
			keys, err := page(from)
			if err != nil {
				yield(nil, err)
				return
			}
			if len(keys) > 0 && keys[0] == last {
				keys = keys[1:] // the next page begins with the last key of the one before
			}
			end := slices.IndexFunc(keys, func(k string) bool { return !strings.HasPrefix(k, prefix) })
			if end >= 0 {
				keys = keys[:end]
			}
			if len(keys) > 0 && !yield(keys, nil) || end >= 0 || len(keys) == 0 {
				return
			}
			last = keys[len(keys)-1]
			from = last
		}
	}
}
