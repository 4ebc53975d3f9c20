package kv

import (
	"unsafe"

	"github.com/charpoy/charpoy/internal/arena"
	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// header is how an item begins in memory. It is never written to disk in this form. Behind it come the key and, unless it is
// ejected or empty, the value.
//
// It is read and written under the lock of its vBucket only. It has no pointers: the memory is not Go's.
type header struct {
	cas   uint64
	seqVB uint64 // 48 bits seqno, 16 bits vBucket. 0 in freed memory
	disk  uint64 // 48 bits seqno of this key's row on disk while the item is dirty, 16 bits state
	rev   uint64 // 48 bits revision, 8 bits key length, 8 bits access (for eviction)

	flags  uint32
	expiry uint32 // Unix seconds; of a tombstone: when it was deleted
	cid    uint32
	vlen   uint32 // bytes of the value as stored, also while it is ejected
}

const low48 = 1<<48 - 1

// The state bits of an item. Bits 0 to 2 are its value.Datatype. Prepared items (bits 7, 8 and 11) come with replication.
const (
	stateDatatype = 7
	stateDeleted  = 1 << 3 // a tombstone
	stateExpired  = 1 << 4 // of a tombstone: it expired, nobody deleted it
	stateEjected  = 1 << 5 // the value is on disk only
	stateLocked   = 1 << 6 // vBucket.locks has more

	stateLevelShift = 9 // two bits: level of the durable write that made it

	// What only memory knows of an item, see access.go. A store clears them.
	stateStale   = 1 << 12 // somebody should make a new version
	stateGiven   = 1 << 13 // somebody has been told to
	stateFetched = 1 << 14 // it has been read
	stateMemory  = stateStale | stateGiven | stateFetched
)

func (h *header) seqno() vbucket.Seqno  { return vbucket.Seqno(h.seqVB & low48) }
func (h *header) onDisk() vbucket.Seqno { return vbucket.Seqno(h.disk & low48) }
func (h *header) state() uint16         { return uint16(h.disk >> 48) }
func (h *header) revision() uint64      { return h.rev & low48 }
func (h *header) keyLen() int           { return int(h.rev >> 48 & 0xff) }
func (h *header) access() uint8         { return uint8(h.rev >> 56) }
func (h *header) deleted() bool         { return h.disk>>48&stateDeleted != 0 }
func (h *header) ejected() bool         { return h.disk>>48&stateEjected != 0 }

func (h *header) datatype() value.Datatype { return value.Datatype(h.disk >> 48 & stateDatatype) }
func (h *header) level() spec.Durability   { return spec.Durability(h.disk >> 48 >> stateLevelShift & 3) }

func (h *header) setState(set, clear uint16) {
	h.disk = (h.disk &^ (uint64(clear) << 48)) | uint64(set)<<48
}

// setAccess replaces the access byte, if it changes: hot items should not write their cache line at each read.
func (h *header) setAccess(a uint8) {
	if h.access() != a {
		h.rev = h.rev&^(0xff<<56) | uint64(a)<<56
	}
}

// expired reports whether the item has an expiry that has come. A tombstone has none.
func (h *header) expired(now uint32) bool { return h.expiry != 0 && h.expiry <= now && !h.deleted() }

// resident is how many bytes of the value are in memory.
func (h *header) resident() int {
	if h.ejected() {
		return 0
	}
	return int(h.vlen)
}

// size is what the item was allocated with.
func (h *header) size() int { return headerBytes + h.keyLen() + h.resident() }

// op is what the item means to a reader of the feed.
func (h *header) op() change.Op {
	switch s := h.state(); {
	case s&stateDeleted == 0:
		return change.OpMutation
	case s&stateExpired != 0:
		return change.OpExpiration
	}
	return change.OpDeletion
}

// name and body alias the item's memory: they are good for as long as the lock is held. What keeps them valid is that the
// header was found under that lock in memory that is not freed.
func (h *header) name() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(h), headerBytes)), h.keyLen())
}

func (h *header) body() []byte {
	return unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(h), headerBytes+h.keyLen())), h.resident())
}

// is reports whether the item is the one of a key.
func (h *header) is(k *Key) bool {
	return h.keyLen() == len(k.Name) && h.cid == uint32(k.Coll) && string(h.name()) == string(k.Name)
}

// at finds the item of a place.
func (b *Bucket) at(r arena.Ref) *header { return (*header)(b.arena.Pointer(r)) }

// meta describes the item as readers see it. uuid is the vBucket's; locked that a lock holds.
func (h *header) meta(uuid vbucket.UUID, locked bool) Meta {
	m := Meta{
		CAS:      vbucket.CAS(h.cas),
		Seqno:    h.seqno(),
		UUID:     uuid,
		Rev:      h.revision(),
		Flags:    h.flags,
		Expiry:   h.expiry,
		Datatype: h.datatype(),
		Deleted:  h.deleted(),
		ValueLen: int(h.vlen),
	}
	if locked {
		m.CAS = vbucket.LockedCAS
	}
	return m
}

// mutation describes the item to a reader of the feed, without key and value.
func (h *header) mutation() change.Mutation {
	return change.Mutation{
		Seqno:      h.seqno(),
		Prev:       h.onDisk(),
		CAS:        vbucket.CAS(h.cas),
		Rev:        h.revision(),
		Flags:      h.flags,
		Expiry:     h.expiry,
		Op:         h.op(),
		Datatype:   h.datatype(),
		Durability: uint8(h.level()),
		Collection: docid.Collection(h.cid),
	}
}
