package hlc_test

import (
	"math"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/hlc"
	"pgregory.net/rapid"
)

// TestClockRises drives a clock with readings that jump both ways: values rise strictly, and follow a wall clock that is
// ahead of them within its grain.
func TestClockRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c hlc.Clock
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			before := c.Last()
			if rapid.Bool().Draw(t, "observe") {
				v := rapid.Uint64Range(0, 1<<61).Draw(t, "v")
				c.Observe(v)
				if c.Last() != max(before, v) {
					t.Fatalf("after Observe(%d): Last = %d, was %d", v, c.Last(), before)
				}
				continue
			}
			wall := rapid.Int64Range(-1<<40, 1<<61).Draw(t, "wall")
			got := c.Next(hlc.Time{Wall: wall})
			want := before + 1
			if floor := uint64(max(wall, 0)) &^ 0xFFFF; floor > before {
				want = floor
			}
			if got != want || c.Last() != got {
				t.Fatalf("Next(%d) = %d, Last = %d, want %d (last was %d)", wall, got, c.Last(), want, before)
			}
		}
	})
}

// TestClockCarries gives more values within one grain than its low bits can count: they run over into the time bits.
func TestClockCarries(t *testing.T) {
	var c hlc.Clock
	first := c.Next(hlc.Time{Wall: 1 << 40})
	for range 1 << 17 {
		c.Next(hlc.Time{Wall: 1 << 40})
	}
	if got := c.Last(); got != first+1<<17 {
		t.Errorf("Last = %d, want %d", got, first+1<<17)
	}
}

// TestManual moves a manual source and looks at both parts.
func TestManual(t *testing.T) {
	s := hlc.NewManual(time.Unix(1000, 5))
	if got, want := s.Now(), (hlc.Time{Wall: 1000*1e9 + 5}); got != want || got.Unix() != 1000 {
		t.Errorf("Now = %v (Unix %d), want %v", got, got.Unix(), want)
	}
	s.Advance(2 * time.Second)
	s.Advance(-time.Hour)
	if got, want := s.Now(), (hlc.Time{Wall: 1002*1e9 + 5, Mono: 2e9}); got != want {
		t.Errorf("after Advance: %v, want %v", got, want)
	}
	s.Skew(-3 * time.Second)
	if got, want := s.Now(), (hlc.Time{Wall: 999*1e9 + 5, Mono: 2e9}); got != want {
		t.Errorf("after Skew: %v, want %v", got, want)
	}
}

// TestReal holds a real source against the machine's clock before and after a shift.
func TestReal(t *testing.T) {
	s := hlc.New()
	before := time.Now().UnixNano()
	a := s.Now()
	after := time.Now().UnixNano()
	if a.Wall < before || a.Wall > after {
		t.Errorf("Wall %d outside [%d, %d]", a.Wall, before, after)
	}
	s.Advance(time.Hour)
	b := s.Now()
	if d := b.Mono - a.Mono; d < int64(time.Hour) || b.Wall-a.Wall < int64(time.Hour) {
		t.Errorf("after an hour: %v, was %v", b, a)
	}
}

func TestUnixBounds(t *testing.T) {
	for wall, want := range map[int64]uint32{-1: 0, 0: 0, 1e9 - 1: 0, 1e9: 1, math.MaxInt64: math.MaxUint32} {
		if got := (hlc.Time{Wall: wall}).Unix(); got != want {
			t.Errorf("Unix of %d ns = %d, want %d", wall, got, want)
		}
	}
}
