//go:build !race && !heaparena

package arena

import "testing"

// TestFetch: any reference may be asked for, also stale ones, those at the end of memory and those where there is none.
func TestFetch(t *testing.T) {
	a, err := New(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	live, gone := a.Alloc(200, false), a.Alloc(200, false)
	a.Free(gone)
	const hash = 0xABCDEF << RefBits // what a table keeps beside the reference
	slots := []uint64{0, hash | uint64(live), hash | uint64(gone), hash | 1<<RefBits - 1, uint64(a.Reserved()>>unitShift) - 1}
	a.Fetch(nil)
	a.Fetch(slots)
	if n := testing.AllocsPerRun(10, func() { a.Fetch(slots) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
