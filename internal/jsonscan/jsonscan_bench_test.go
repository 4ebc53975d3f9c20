package jsonscan_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/charpoy/charpoy/internal/jsonscan"
)

// BenchmarkValid stands beside the standard library in the same run: the ratio is what counts.
func BenchmarkValid(b *testing.B) {
	for _, size := range []int{200, 1 << 10, 16 << 10} {
		text := []byte(document(size))
		for name, valid := range map[string]func([]byte) bool{"ours": jsonscan.Valid, "std": json.Valid} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				b.SetBytes(int64(len(text)))
				for b.Loop() {
					if !valid(text) {
						b.Fatal("not valid")
					}
				}
			})
		}
	}
}
