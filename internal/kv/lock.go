package kv

import (
	"time"

	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// lock says until when a document is locked, and with which CAS. The document's own CAS stays in its header and is valid
// again when the lock ends. Locks are kept by seqno: an item may move in memory, but it gets no other seqno without being
// unlocked. They are neither persisted nor replicated.
type lock struct {
	deadline int64 // monotonic, hlc.Time.Mono
	cas      vbucket.CAS
}

// locked reports whether an item is locked; a lock whose time is over ends here. Call it with the vBucket's lock held.
func (vb *vBucket) locked(h *header, at hlc.Time) bool {
	if h.state()&stateLocked == 0 {
		return false
	}
	if vb.mu.locks[h.seqno()].deadline > at.Mono {
		return true
	}
	vb.unlock(h)
	return false
}

// lock locks an item that is not locked and returns the lock's CAS.
func (vb *vBucket) lock(b *Bucket, h *header, seconds uint32, at hlc.Time) vbucket.CAS {
	if seconds == 0 || seconds > maxLock {
		seconds = defaultLock
	}
	l := lock{deadline: at.Mono + int64(seconds)*int64(time.Second), cas: vbucket.CAS(vb.mu.clock.Next(b.capped(at)))}
	if vb.mu.locks == nil {
		vb.mu.locks = map[vbucket.Seqno]lock{}
	}
	vb.mu.locks[h.seqno()] = l
	h.setState(stateLocked, 0)
	return l.cas
}

func (vb *vBucket) unlock(h *header) {
	delete(vb.mu.locks, h.seqno())
	h.setState(0, stateLocked)
}

// mayChange checks the lock and the CAS of a live document for a mutation that carries cas (wire.md 7.3 and 7.4).
func (vb *vBucket) mayChange(h *header, cas vbucket.CAS, at hlc.Time) error {
	if vb.locked(h, at) {
		if vb.mu.locks[h.seqno()].cas != cas {
			return ErrLocked
		}
		return nil
	}
	if cas != 0 && cas != vbucket.CAS(h.cas) {
		vb.mu.ops.CASMismatches++
		return ErrCASMismatch
	}
	return nil
}
