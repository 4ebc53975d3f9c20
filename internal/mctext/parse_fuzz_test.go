package mctext

import (
	"errors"
	"slices"
	"testing"
)

// FuzzParse: no panic, never more bytes than there are, and the same commands however the input is cut.
func FuzzParse(f *testing.F) {
	for _, in := range []string{
		"get k\r\n", "gets a b  c\r\n", "gat 100 a b\r\n", "set k 1 2 3\r\nabc\r\n", "cas k 0 0 1 5 noreply\r\na\r\n",
		"set k 0 0 -1\r\nabc\r\n", "set k 0 0 300\r\nabc\r\n", "set k 0 0 3\r\nabcdef\r\nget k\r\n", "set k x 0 3\r\nabc\r\n",
		"incr k 18446744073709551616\r\n", "delete k 0 noreply\r\n", "touch k -5\r\n", "flush_all 10 noreply\r\n", "\r\n \r\n\n",
		"mg Zm9v b k O1 v N-3\r\n", "ms k 3 T5 F7 C9 MA I c\r\nabc\r\n", "ms k S3\r\n", "md k q x I\r\n", "ma k MD D5 J3 N0 v t\r\n",
		"me k b\r\n", "mn\r\nquit\r\n", "GET / HTTP/1.1\r\n", "stats items noreply\r\n", "lru_crawler metadump all\r\n",
		"ms k 100 zz\r\n0123456789", "mg k 1 2 3 4 5 6 7 8 9 a b c d e f g h i j k l m n o p\r\n",
	} {
		f.Add([]byte(in), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		const most = 64
		piece = max(piece&15, 1)
		if len(in) > 1<<12 {
			return // looking at a line again with each byte of it is slow, here and nowhere else
		}
		whole, rest, err := parseAll(in, max(len(in), 1), most)
		if rest > len(in) {
			t.Fatalf("%d of %d bytes left", rest, len(in))
		}
		again, left, e := parseAll(in, piece, most)
		if !slices.Equal(whole, again) || left != rest || !errors.Is(e, err) {
			t.Fatalf("%q in pieces of %d:\n%q, %d left, %v\nat once:\n%q, %d left, %v", in, piece, again, left, e, whole, rest, err)
		}
	})
}
