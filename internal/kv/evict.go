package kv

import (
	"context"
	"time"

	"github.com/charpoy/charpoy/internal/arena"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Ejection takes the values of documents out of memory that are on disk; header and key stay. Which ones is decided by
// S3-FIFO (kv.md 17.2) with the header's access byte in place of its queues:
//
//	bits 0-1  frequency: uses, up to 3
//	bit  2    main: the document has proved itself; otherwise it is in the small queue
//	bits 3-7  epoch, 1 to 31, 0 = none: of a value in memory, when it came; of an ejected one, when it left
//
// New documents are in the small queue. As long as that holds more than a tenth of the values, it is the one that is looked
// through: who was used goes to main, who was not is ejected, but nobody in the epoch in which he came. Otherwise main is
// swept like a clock. An ejected header is its own ghost: a value that is asked for within about an epoch of leaving goes
// straight to main. An epoch ends when half as many values have left as there are.
const (
	accessMain  = 1 << 2
	accessEpoch = 3 // shift
	lastEpoch   = 31
	usedEnough  = 2 // a fetched document has been used once by whoever had it fetched
	ejectTurns  = 1 + frequency + 1
)

// ejector is the state of the ejecting goroutine.
type ejector struct {
	hands [vbucket.MaxCount]uint32 // slot at which the next look at a vBucket begins
	next  int                      // vBucket at which the next pass begins
	gone  int64                    // values that left in this epoch
}

// fresh is the access byte of a value that comes into memory.
func (b *Bucket) fresh() uint8 {
	if b.persist == nil {
		return 0
	}
	return uint8(b.persist.epoch.Load()) << accessEpoch
}

// welcome is the access byte of a value that comes back. old is that of its ejected header.
func (p *persistence) welcome(old uint8) uint8 {
	now := p.epoch.Load()
	left := uint32(old >> accessEpoch)
	if left != 0 && (now+lastEpoch-left)%lastEpoch <= 1 {
		return uint8(now)<<accessEpoch | accessMain
	}
	return uint8(now) << accessEpoch
}

// runEjector keeps memory below the high mark.
func (p *persistence) runEjector(ctx context.Context) {
	timer := time.NewTicker(pagerInterval)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-p.b.pager:
		}
		if p.b.memoryNow() <= p.b.config.Load().high {
			p.b.exhausted.Store(false)
			continue
		}
		begun, before := time.Now(), p.b.memoryNow()
		n := p.ejectPass(ctx)
		p.b.pagerRan(n, before, time.Since(begun))
		if f := p.b.options.Events.Ejected; f != nil {
			f(n, time.Since(begun))
		}
	}
}

// ejectPass ejects values down to the low mark, from each vBucket its share, copies that are not active first. It tells how
// many values have left.
func (p *persistence) ejectPass(ctx context.Context) int {
	b := p.b
	conf := b.config.Load()
	total, blocked := 0, false
	for _, active := range []bool{false, true} {
		need := b.memoryNow() - conf.low
		if need <= 0 {
			break
		}
		values := b.valueBytes(active)
		if values == 0 {
			continue
		}
		for range b.vbs {
			if ctx.Err() != nil || b.memoryNow() <= conf.low {
				break
			}
			vb := &b.vbs[p.ejector.next]
			p.ejector.next = (p.ejector.next + 1) % len(b.vbs)
			n, held := p.ejectVBucket(conf, vb, active, func(own int64) int64 { return need*own/values + 1 })
			total += n
			blocked = blocked || held
		}
	}
	for i := range b.vbs {
		if b.memoryNow() <= conf.high {
			break
		}
		total += b.vbs[i].forgetTombstones(b)
	}
	b.exhausted.Store(b.memoryNow() > conf.high && total == 0 && !blocked && !p.flusher.behind())
	p.advance(int64(total))
	return total
}

// behind reports whether there are changes that are not on disk.
func (f *flusher) behind() bool {
	for i := range f.p.b.vbs {
		vb := &f.p.b.vbs[i]
		vb.mu.Lock()
		dirty := vb.mu.high > vb.mu.persisted && vb.mu.disk.cursor != nil
		vb.mu.Unlock()
		if dirty {
			return true
		}
	}
	return false
}

// advance begins another epoch when enough values have left in this one.
func (p *persistence) advance(gone int64) {
	e := &p.ejector
	e.gone += gone
	resident := int64(0)
	for i := range p.b.vbs {
		vb := &p.b.vbs[i]
		vb.mu.Lock()
		resident += int64(vb.mu.items - vb.mu.ejected)
		vb.mu.Unlock()
	}
	if e.gone > resident/2 {
		e.gone = 0
		p.epoch.Store(p.epoch.Load()%lastEpoch + 1)
	}
}

// valueBytes adds up the values in memory of copies that are active, or of those that are not.
func (b *Bucket) valueBytes(active bool) (bytes int64) {
	for i := range b.vbs {
		vb := &b.vbs[i]
		vb.mu.Lock()
		if (vb.mu.state == vbucket.Active) == active {
			bytes += vb.mu.valueBytes
		}
		vb.mu.Unlock()
	}
	return bytes
}

// sweep is one look at a vBucket's items.
type sweep struct {
	p           *persistence
	conf        *config
	vb          *vBucket
	small, main int64 // bytes of the values of either kind
	freed       int64
	values      int
	held        bool // something could not go, because it is not on disk or a reader needs it
}

// ejectVBucket ejects from one vBucket until it has given its share.
func (p *persistence) ejectVBucket(conf *config, vb *vBucket, active bool, share func(own int64) int64) (values int,
	held bool,
) {
	vb.mu.Lock()
	own := vb.mu.valueBytes
	if (vb.mu.state == vbucket.Active) != active || own == 0 || vb.mu.closed {
		vb.mu.Unlock()
		return 0, false
	}
	vb.mu.Unlock()
	s := &sweep{p: p, conf: conf, vb: vb}
	s.walk(0, func(h *header, _ uint32) bool {
		if h.access()&accessMain == 0 {
			s.small += int64(h.resident())
		} else {
			s.main += int64(h.resident())
		}
		return false
	})
	quota := share(own)
	for turn := range ejectTurns {
		if s.freed >= quota {
			break
		}
		small := s.small*9 > s.main
		p.ejector.hands[vb.id] = s.walk(p.ejector.hands[vb.id], func(h *header, i uint32) bool {
			s.consider(h, i, small, turn == 0)
			return s.freed >= quota
		})
	}
	p.b.evicted(vb, s.values, s.freed)
	return s.values, s.held
}

// walk calls f for all items with a value in memory, from a slot on and once around, until f returns true. It takes the lock
// for a few slots at a time, and returns where it stopped.
func (s *sweep) walk(from uint32, f func(h *header, i uint32) bool) uint32 {
	done := uint32(0)
	for {
		s.vb.mu.Lock()
		t := s.vb.table.Load()
		n := uint32(len(t.slots))
		for range ejectSlots {
			if done == n || s.vb.mu.closed {
				s.vb.mu.Unlock()
				return from & t.mask
			}
			i := from & t.mask
			from++
			done++
			if t.slots[i] == 0 {
				continue
			}
			h := s.p.b.at(slotRef(t.slots[i]))
			if !h.deleted() && h.resident() > 0 && f(h, i) {
				s.vb.mu.Unlock()
				return from & t.mask
			}
		}
		done = min(done, n)
		s.vb.mu.Unlock()
	}
}

// consider decides about one item. It is called with the lock held.
func (s *sweep) consider(h *header, i uint32, small, first bool) {
	a := h.access()
	if (a&accessMain == 0) != small {
		return
	}
	n := int64(h.resident())
	switch uses := a & frequency; {
	case small && uses >= usedEnough:
		h.setAccess(a&^frequency | accessMain)
		s.small -= n
		s.main += n
		return
	case small && first && uint32(a>>accessEpoch) == s.p.epoch.Load():
		return // it came in this epoch and has had little time
	case !small && uses > 0:
		h.setAccess(a - 1)
		return
	}
	b := s.p.b
	size := headerBytes + h.keyLen()
	gain := arena.Round(h.size()) - arena.Round(size)
	switch {
	case gain == 0:
		return
	case h.seqno() > s.vb.lowest(b):
		s.held = true
		return
	case s.vb.locked(h, b.clock.Now()):
		return
	}
	if !s.vb.eject(b, s.conf, i, h) {
		return
	}
	if small {
		s.small -= n
	} else {
		s.main -= n
	}
	s.freed += int64(gain)
	s.values++
}

// eject takes the value of an item out of memory. It must be on disk, and no reader may need it. Call it with the lock held.
func (vb *vBucket) eject(b *Bucket, conf *config, i uint32, h *header) bool {
	size := headerBytes + h.keyLen()
	r := b.arena.Alloc(size, true)
	if r == 0 {
		return false
	}
	t := vb.table.Load()
	old := slotRef(t.slots[i])
	grown := arena.Round(size) - arena.Round(h.size())
	next := b.at(r)
	*next = *h
	copy(next.name(), h.name())
	vb.uncount(h)
	next.setState(stateEjected, 0)
	next.setAccess(b.fresh())
	t.put(i, slotOf(slotHash(t.slots[i]), r))
	vb.count(b, conf, next, grown)
	b.arena.Free(old)
	vb.mu.ops.Ejected++
	return true
}
