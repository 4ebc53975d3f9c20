// Package hlc is the only source of wall-clock time that data depends on: CAS values, expiry, lock deadlines and the age of
// tombstones. A drill can skew it and a test server can be moved forward a day, without anything else noticing.
//
// A Time is one reading. It is taken once for a batch of requests and handed down. A Source gives readings: the machine's
// clock (New), or a clock that stands still until it is told to move (NewManual). A Clock is the hybrid logical clock of one
// vBucket: it turns readings into CAS values that rise strictly, whatever the wall clock does.
//
// A Source may be used from any goroutine. A Clock has no lock of its own: it belongs to its vBucket's lock.
package hlc

import (
	"math"
	"sync/atomic"
	"time"
)

// Time is one reading of a Source.
type Time struct {
	Wall int64 // nanoseconds since the Unix epoch; may jump in both directions between readings
	Mono int64 // nanoseconds since the Source was made; never goes back. For deadlines and durations
}

// Unix gives the wall time in whole seconds, held within 32 bits.
func (t Time) Unix() uint32 {
	s := t.Wall / int64(time.Second)
	return uint32(min(max(s, 0), math.MaxUint32))
}

// Source gives readings of time. The zero value is not usable; see New and NewManual.
type Source struct {
	manual bool
	base   time.Time    // when it was made; of a manual source: what it began with
	moved  atomic.Int64 // nanoseconds by which Advance moved both parts
	skewed atomic.Int64 // nanoseconds by which Skew moved the wall part
}

// New gives a source that follows the machine's clock.
func New() *Source { return &Source{base: time.Now()} }

// NewManual gives a source that stands at start until Advance or Skew move it.
func NewManual(start time.Time) *Source { return &Source{manual: true, base: start} }

// Now reads the source.
func (s *Source) Now() Time {
	moved := s.moved.Load()
	if s.manual {
		return Time{Wall: s.base.UnixNano() + moved + s.skewed.Load(), Mono: moved}
	}
	now := time.Now()
	return Time{Wall: now.UnixNano() + moved + s.skewed.Load(), Mono: int64(now.Sub(s.base)) + moved}
}

// Advance lets time pass: wall time and deadlines move forward by d. A negative d is not allowed and ignored.
func (s *Source) Advance(d time.Duration) {
	if d > 0 {
		s.moved.Add(int64(d))
	}
}

// Skew sets the wall clock forward or, with a negative d, back. Deadlines do not move.
func (s *Source) Skew(d time.Duration) { s.skewed.Add(int64(d)) }

// grain clears the bits of a wall time that a Clock counts in: 65 µs.
const grain = 0xFFFF

// Clock is a hybrid logical clock: its values rise strictly, follow the wall clock as long as that moves forward, and count
// up while it does not. Bits 16 to 63 of a value are wall time in nanoseconds, the form that other tools read out of a CAS.
type Clock struct{ last uint64 }

// Next gives a value above all earlier ones and above all observed ones.
func (c *Clock) Next(now Time) uint64 {
	v := uint64(max(now.Wall, 0)) &^ grain
	if v <= c.last {
		v = c.last + 1
	}
	c.last = v
	return v
}

// Observe makes the clock continue above v, a value that came from elsewhere. Who takes values from strangers checks first
// that they are not far in the future: the clock cannot be set back.
func (c *Clock) Observe(v uint64) { c.last = max(c.last, v) }

// Last is the highest value given or observed.
func (c *Clock) Last() uint64 { return c.last }
