package arena

import (
	"encoding/binary"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

const testQuota = 64 << 20

func newArena(tb testing.TB) *Arena {
	tb.Helper()
	a, err := New(testQuota)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(a.Close)
	return a
}

// failer is what testing.T and rapid.T have in common here.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// shadow is the model: what is allocated, with the mark that fills it.
type shadow struct {
	a     *Arena
	live  map[Ref]int // sizes
	bytes int64
}

func (s *shadow) fill(r Ref, n int) {
	b := s.a.Bytes(r, n)
	for i := range b {
		b[i] = byte(uint64(r)>>(8*(i%5))) ^ byte(i)
	}
}

func (s *shadow) intact(t failer, r Ref, n int) {
	t.Helper()
	for i, got := range s.a.Bytes(r, n) {
		if want := byte(uint64(r)>>(8*(i%5))) ^ byte(i); got != want {
			t.Fatalf("byte %d of %d at %#x is %#x, want %#x: something was written over it", i, n, r, got, want)
		}
	}
}

func (s *shadow) alloc(t failer, n int) Ref {
	t.Helper()
	r := s.a.Alloc(n, false)
	if r == 0 {
		t.Fatalf("Alloc(%d) failed with %d bytes live", n, s.bytes)
	}
	if _, taken := s.live[r]; taken {
		t.Fatalf("Alloc(%d) gave %#x a second time", n, r)
	}
	s.live[r] = n
	s.bytes += int64(Round(n))
	s.fill(r, n)
	return r
}

func (s *shadow) free(t failer, r Ref) {
	t.Helper()
	n := s.live[r]
	s.intact(t, r, n)
	s.a.Free(r)
	delete(s.live, r)
	s.bytes -= int64(Round(n))
	if !OffHeap {
		return // a run on the heap is gone by now
	}
	if second := *(*uint64)(unsafe.Add(s.a.Pointer(r), 8)); second != 0 {
		t.Fatalf("after Free(%#x) the second word is %#x", r, second)
	}
}

func (s *shadow) check(t failer) {
	t.Helper()
	st := s.a.Stats()
	if st.Live != s.bytes || s.a.Live() != s.bytes {
		t.Fatalf("live bytes %d (Live %d), want %d", st.Live, s.a.Live(), s.bytes)
	}
	if st.Slabs < st.Live || st.Committed < st.Slabs || st.Reserved < st.Committed {
		t.Fatalf("live ≤ slabs ≤ committed ≤ reserved does not hold: %+v", st)
	}
	refs := make([]Ref, 0, len(s.live))
	for r := range s.live {
		refs = append(refs, r)
	}
	slices.Sort(refs)
	for i, r := range refs {
		s.intact(t, r, s.live[r])
		if i > 0 && refs[i-1]+Ref(Round(s.live[refs[i-1]])/Unit) > r {
			t.Fatalf("allocations at %#x and %#x overlap", refs[i-1], r)
		}
	}
}

// TestModel compares random sequences of allocations and frees, of all kinds of sizes, with a map.
func TestModel(t *testing.T) {
	size := rapid.OneOf(rapid.IntRange(1, 300), rapid.IntRange(1, maxClass+100), rapid.IntRange(maxClass, slabBytes+1),
		rapid.IntRange(slabBytes, extentSize+1), rapid.IntRange(extentSize, 3*extentSize))
	steps := 120
	if !OffHeap {
		steps = 25 // every extent is cleared there, and each byte is watched
	}
	rapid.Check(t, func(t *rapid.T) {
		a, err := New(testQuota)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		s := shadow{a: a, live: map[Ref]int{}}
		order := []Ref{}
		for range rapid.IntRange(1, steps).Draw(t, "steps") {
			if len(order) > 0 && rapid.IntRange(0, 2).Draw(t, "what") == 0 {
				i := rapid.IntRange(0, len(order)-1).Draw(t, "which")
				s.free(t, order[i])
				order = slices.Delete(order, i, i+1)
				continue
			}
			order = append(order, s.alloc(t, size.Draw(t, "size")))
		}
		s.check(t)
		for _, r := range order {
			s.free(t, r)
		}
		s.check(t)
	})
}

// TestSlabsReturn fills and empties many slabs of one class: all but the one that the class keeps must serve another class.
func TestSlabsReturn(t *testing.T) {
	a := newArena(t)
	var refs []Ref
	for range 100 * slabBytes / 64 {
		refs = append(refs, a.Alloc(64, false))
	}
	full := a.Stats()
	for _, r := range refs {
		a.Free(r)
	}
	empty := a.Stats()
	if empty.Live != 0 || empty.Slabs > slabBytes || full.Slabs != 100*slabBytes {
		t.Errorf("full %+v, empty %+v: want 100 slabs, then at most one", full.Slabs, empty.Slabs)
	}
	if empty.Committed > 3*extentSize {
		t.Errorf("%d bytes are still committed", empty.Committed)
	}
	if empty.Peak != full.Committed {
		t.Errorf("peak %d, want %d", empty.Peak, full.Committed)
	}
}

// TestLimit allocates up to the limit: then only urgent allocations succeed, and freeing makes room again.
func TestLimit(t *testing.T) {
	a := newArena(t)
	a.SetLimit(4 * extentSize)
	var refs []Ref
	for {
		r := a.Alloc(100_000, false)
		if r == 0 {
			break
		}
		refs = append(refs, r)
	}
	if got := a.Committed(); got != 4*extentSize {
		t.Errorf("%d bytes committed at the limit, want %d", got, 4*extentSize)
	}
	urgent := a.Alloc(100_000, true)
	if urgent == 0 {
		t.Error("an urgent allocation failed at the limit")
	}
	a.Free(urgent)
	a.Free(refs[0])
	if r := a.Alloc(100_000, false); r == 0 {
		t.Error("no allocation after one was freed")
	}
}

// TestReservationEnds asks for more than the address space holds.
func TestReservationEnds(t *testing.T) {
	a := &Arena{}
	if err := a.space.reserve(4 * extentSize); err != nil {
		t.Fatal(err)
	}
	a.setUp(4 * extentSize)
	if a.Alloc(4*extentSize, true) != 0 {
		t.Error("a run as long as the reservation, whose first extent is never used, was given")
	}
	if r := a.Alloc(3*extentSize, true); r == 0 {
		t.Error("the last run that fits was refused")
	}
	if a.Alloc(64, true) != 0 {
		t.Error("a slot beyond the reservation was given")
	}
	a.Close()
}

// TestConcurrent has goroutines allocate, fill, check and free at once.
func TestConcurrent(t *testing.T) {
	a := newArena(t)
	var wait sync.WaitGroup
	for g := range 4 {
		wait.Go(func() {
			type one struct {
				r Ref
				n int
			}
			var mine []one
			for i := range 3000 {
				n := 64 + (i*7919+g*104729)%40_000
				r := a.Alloc(n, false)
				binary.LittleEndian.PutUint64(a.Bytes(r, n)[16:], uint64(r)*31+uint64(g))
				mine = append(mine, one{r, n})
				if len(mine) > 50 {
					x := mine[0]
					mine = mine[1:]
					if got := binary.LittleEndian.Uint64(a.Bytes(x.r, x.n)[16:]); got != uint64(x.r)*31+uint64(g) {
						t.Errorf("goroutine %d: %#x holds %#x", g, x.r, got)
					}
					a.Free(x.r)
				}
			}
			for _, x := range mine {
				a.Free(x.r)
			}
		})
	}
	wait.Wait()
	if got := a.Live(); got != 0 {
		t.Errorf("%d bytes live at the end", got)
	}
}

func TestRound(t *testing.T) {
	for n := 1; n <= maxClass; n++ {
		r := Round(n)
		if r < n || r%Unit != 0 || n > minClass && n > 128 && float64(r-n) > float64(n)/8+Unit {
			t.Fatalf("Round(%d) = %d", n, r)
		}
	}
	for n, want := range map[int]int{
		maxClass + 1: 20 << 10, slabBytes: slabBytes, slabBytes + 1: 2 * slabBytes, extentSize: extentSize,
		extentSize + 1: 2 * extentSize,
	} {
		if got := Round(n); got != want {
			t.Errorf("Round(%d) = %d, want %d", n, got, want)
		}
	}
	if !SamePlace(65, 80) || SamePlace(64, 65) {
		t.Error("SamePlace disagrees with the classes")
	}
}

// TestCloseIsFinal closes an arena and lets the collector find it: nothing may fail.
func TestCloseIsFinal(t *testing.T) {
	a, err := New(testQuota)
	if err != nil {
		t.Fatal(err)
	}
	a.Alloc(1000, false)
	a.Close()
	a.Close()
	if a.Alloc(1000, true) != 0 && a.Alloc(3<<20, true) != 0 {
		t.Error("a closed arena committed memory")
	}
	a = nil
	runtime.GC()
}
