package arena

// Stats says what an arena holds, in bytes.
type Stats struct {
	Live      int64 // of allocations, rounded up to what they take
	Slabs     int64 // of slabs in use; Slabs − Live is slack that the same sizes can use
	Committed int64 // of extents that have memory behind them: what the system sees, once it was all touched
	Peak      int64 // most that was ever committed
	Reserved  int64 // of address space
	Items     int64 // allocations of up to MaxClass bytes
	Classes   []ClassStats
}

// ClassStats describes one size class.
type ClassStats struct {
	Size  int    // of a slot, in bytes
	Slots uint64 // in use
	Slabs uint32
}

// Stats counts. The numbers of different classes are read one after another.
func (a *Arena) Stats() Stats {
	var s Stats
	s.Classes = make([]ClassStats, 0, numClasses)
	for i := range a.classes {
		c := &a.classes[i]
		c.mu.Lock()
		one := ClassStats{Size: int(c.size), Slots: c.mu.live, Slabs: c.mu.slabs}
		c.mu.Unlock()
		s.Live += int64(one.Slots) * int64(one.Size)
		s.Items += int64(one.Slots)
		s.Classes = append(s.Classes, one)
	}
	a.pages.mu.Lock()
	s.Live += int64(a.pages.mu.pages) * pageBytes
	a.pages.mu.Unlock()
	s.Live += a.large.Load()
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Slabs = a.mu.slabs * slabBytes
	s.Committed = int64(a.mu.count) * extentSize
	s.Peak = a.mu.peak
	s.Reserved = a.Reserved()
	return s
}

// Live is Stats().Live without the rest.
func (a *Arena) Live() int64 {
	n := a.large.Load()
	for i := range a.classes {
		c := &a.classes[i]
		c.mu.Lock()
		n += int64(c.mu.live) * int64(c.size)
		c.mu.Unlock()
	}
	a.pages.mu.Lock()
	defer a.pages.mu.Unlock()
	return n + int64(a.pages.mu.pages)*pageBytes
}

// Committed is Stats().Committed without the rest.
func (a *Arena) Committed() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return int64(a.mu.count) * extentSize
}
