package arena

import (
	"encoding/binary"
	"testing"
)

// FuzzArena reads a script of allocations and frees: two bytes each, of which the lowest bit says which.
func FuzzArena(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 1, 0, 0, 1})
	f.Add([]byte("a longer script with many sizes in it, and some frees between them"))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) > 400 {
			return
		}
		a := newArena(t)
		s := shadow{a: a, live: map[Ref]int{}}
		for ; len(script) >= 2; script = script[2:] {
			v := int(binary.LittleEndian.Uint16(script))
			if v&1 == 1 && len(s.live) > 0 {
				var lowest Ref // a choice that the script repeats
				for r := range s.live {
					if lowest == 0 || r < lowest {
						lowest = r
					}
				}
				s.free(t, lowest)
				continue
			}
			n := v>>1 + 1
			if v&0xF == 0xE {
				n *= 100
			}
			s.alloc(t, n)
		}
		s.check(t)
		for r := range s.live {
			s.free(t, r)
		}
		s.check(t)
	})
}
