package kv

import (
	"testing"

	"github.com/charpoy/charpoy/internal/arena"
	"pgregory.net/rapid"
)

// TestTable compares a table with a map under random insertions, removals and growth. Hashes have few bits in some runs, so
// that probe sequences are long and wrap around.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bits := rapid.SampledFrom([]int{1, 4, 28}).Draw(t, "hash bits")
		tab := newTable(firstTable)
		model := map[uint64]bool{}
		next := arena.Ref(1)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if len(model) > 0 && rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				var some []uint64
				for _, s := range tab.slots {
					if s != 0 {
						some = append(some, s)
					}
				}
				s := rapid.SampledFrom(some).Draw(t, "slot")
				tab.remove(uint32(tab.find(s)))
				delete(model, s)
			} else {
				if tab.full(len(model)) {
					tab = tab.resized(2 * len(tab.slots))
				}
				s := slotOf(rapid.Uint32Range(0, 1<<bits-1).Draw(t, "hash"), next)
				next++
				tab.insert(s)
				model[s] = true
			}
			n := 0
			for _, s := range tab.slots {
				if s != 0 {
					n++
				}
			}
			if n != len(model) {
				t.Fatalf("%d slots in use, want %d", n, len(model))
			}
			for s := range model {
				if tab.find(s) < 0 {
					t.Fatalf("slot %#x is lost", s)
				}
			}
		}
	})
}
