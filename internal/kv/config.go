package kv

import (
	"errors"
	"fmt"
	"math"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/spec"
)

// config is what operations need of the bucket's settings, worked out once for each change of them. It is immutable.
type config struct {
	spec        spec.Bucket
	manifest    spec.Manifest
	collections map[docid.Collection]uint32 // maxTTL in seconds, 0 = none
	defaultTTL  uint32                      // of the default collection
	hasDefault  bool

	low, high, writes, deletes int64 // bytes
	window                     int64 // bytes
	fold                       int64 // bytes a vBucket keeps to itself before it folds them into Bucket.used
}

func newConfig(s *spec.Bucket, m *spec.Manifest) *config {
	c := &config{spec: s.WithDefaults(), manifest: *m, collections: map[docid.Collection]uint32{}}
	percent := func(n int64) int64 { return s.QuotaBytes / 100 * n }
	c.low, c.high, c.writes, c.deletes = percent(lowMark), percent(highMark), percent(writeLimit), percent(deleteLimit)
	c.window = percent(windowLimit)
	c.fold = max(256, s.QuotaBytes/int64(s.NumVBuckets)/256)
	for i := range m.Scopes {
		for _, coll := range m.Scopes[i].Collections {
			ttl := c.spec.MaxTTL
			switch {
			case coll.MaxTTL > 0:
				ttl = uint32(coll.MaxTTL)
			case coll.MaxTTL < 0:
				ttl = 0
			}
			c.collections[docid.Collection(coll.ID)] = ttl
		}
	}
	c.defaultTTL, c.hasDefault = c.collections[docid.Default]
	return c
}

func (c *config) has(id docid.Collection) bool {
	if id == docid.Default {
		return c.hasDefault
	}
	_, ok := c.collections[id]
	return ok
}

// expiry turns the wire's expiry into Unix seconds: 0 is none, up to 30 days is from now, more is absolute; the collection's
// maxTTL caps what is there and fills in what is not (wire.md 7.5). It saturates instead of wrapping.
func (c *config) expiry(id docid.Collection, wire uint32, at hlc.Time) uint32 {
	ttl := c.defaultTTL
	if id != docid.Default {
		ttl = c.collections[id]
	}
	if wire == 0 && ttl == 0 {
		return 0
	}
	now := uint64(at.Unix())
	abs := uint64(wire)
	if wire != 0 && wire <= relativeExpiry {
		abs = now + uint64(wire)
	}
	if most := now + uint64(ttl); ttl != 0 && (wire == 0 || abs > most) {
		abs = most
	}
	return uint32(min(abs, math.MaxUint32))
}

// durability gives the level that a write must reach: its own, raised by the bucket's. Levels that this bucket can never
// give are ErrDurabilityInvalid, such that lack copies ErrDurabilityImpossible.
func (c *config) durability(asked spec.Durability) (spec.Durability, error) {
	level := max(asked, c.spec.MinDurability)
	switch {
	case level == spec.DurabilityNone:
		return level, nil
	case !asked.Valid(), level > spec.Majority && c.spec.Type == spec.Ephemeral:
		return 0, ErrDurabilityInvalid
	case c.spec.NumReplicas > 0: // a majority of two and more copies is at least two, and there is one
		return 0, ErrDurabilityImpossible
	}
	return level, nil
}

// errFixed says that a setting cannot be changed on a live bucket.
var errFixed = errors.New("cannot be changed on a live bucket")

// Update changes the settings and the manifest of the bucket while it works. What cannot be changed live is an error, and
// then nothing is changed. A quota above what was reserved at the start needs a restart of the bucket.
func (b *Bucket) Update(s spec.Bucket, m spec.Manifest) error {
	s = s.WithDefaults()
	if err := s.Validate(); err != nil {
		return err
	}
	old := b.config.Load()
	switch {
	case s.NumVBuckets != old.spec.NumVBuckets:
		return fmt.Errorf("number of vBuckets: %w", errFixed)
	case s.Type != old.spec.Type:
		return fmt.Errorf("bucket type: %w", errFixed)
	case s.QuotaBytes > b.arena.Reserved():
		return fmt.Errorf("quota of %d bytes: only %d bytes of address space are reserved; restart the node to raise it: %w",
			s.QuotaBytes, b.arena.Reserved(), errFixed)
	}
	if len(m.Scopes) == 0 {
		m = old.manifest
	}
	b.config.Store(newConfig(&s, &m))
	b.applyLimits()
	b.exhausted.Store(false)
	return nil
}
