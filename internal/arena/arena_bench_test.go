package arena

import "testing"

// BenchmarkAllocFree takes and frees one slot.
func BenchmarkAllocFree(b *testing.B) {
	a := newArena(b)
	b.ReportAllocs()
	for b.Loop() {
		a.Free(a.Alloc(200, false))
	}
}

// BenchmarkChurn replaces random ones of a million slots of different sizes.
func BenchmarkChurn(b *testing.B) {
	a := newArena(b)
	refs := make([]Ref, 1<<20)
	for i := range refs {
		refs[i] = a.Alloc(64+i*37%400, false)
		a.Bytes(refs[i], 1)[0] = 1
	}
	b.ReportAllocs()
	x := uint64(1)
	for b.Loop() {
		x = x*6364136223846793005 + 1442695040888963407
		i := x >> 44
		a.Free(refs[i])
		refs[i] = a.Alloc(64+int(x>>20&255), false)
	}
}
