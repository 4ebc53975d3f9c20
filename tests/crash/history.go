package main

import (
	"sync"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// kind is what an operation did to its key.
type kind uint8

const (
	kindSet kind = iota
	kindDelete
	kindCounter
)

// op is one write of the load. Each key is written by one worker only, one operation at a time, so the order of a key's
// operations is the order in which they were issued.
type op struct {
	id    uint64 // unique over the whole run; the value written carries it
	vb    vbucket.ID
	key   string
	kind  kind
	value string // what a reader finds afterwards; unused for deletions
	level uint8  // durability level that was asked for

	acked bool // the server answered success; the fields below are from its answer
	uuid  vbucket.UUID
	seqno vbucket.Seqno
	cas   vbucket.CAS
}

// persistLevel is the lowest level whose acknowledgement promises that the write is on disk.
const persistLevel = 2

// place names one change of a vBucket's history.
type place struct {
	vb    vbucket.ID
	uuid  vbucket.UUID
	seqno vbucket.Seqno
}

// stamp is a CAS of one vBucket.
type stamp struct {
	vb  vbucket.ID
	cas vbucket.CAS
}

// round is what one life of the server was told and what it answered.
type round struct {
	mu struct {
		sync.Mutex
		ops   map[string][]*op // by key, in order of issue; only the last of a key may be unanswered
		shown map[vbucket.ID]vbucket.Position
	}
}

func newRound() *round {
	r := &round{}
	r.mu.ops = map[string][]*op{}
	r.mu.shown = map[vbucket.ID]vbucket.Position{}
	return r
}

// issue records an operation before it is sent.
func (r *round) issue(o *op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.ops[o.key] = append(r.mu.ops[o.key], o)
}

// withdraw takes back the last operation of a key: the server refused it, so it has no effect.
func (r *round) withdraw(o *op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.mu.ops[o.key]
	r.mu.ops[o.key] = list[:len(list)-1]
}

// ack records the server's answer to an operation.
func (r *round) ack(o *op, uuid vbucket.UUID, seqno vbucket.Seqno, cas vbucket.CAS) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o.acked, o.uuid, o.seqno, o.cas = true, uuid, seqno, cas
}

// show records that the server said that a vBucket is on disk up to a position.
func (r *round) show(vb vbucket.ID, at vbucket.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.mu.shown[vb]; old.UUID != at.UUID || at.Seqno > old.Seqno {
		r.mu.shown[vb] = at
	}
}

// document is what a reader found under a key after the restart.
type document struct {
	found bool
	value string
	cas   vbucket.CAS
}

// found is the state of the server after a restart.
type found struct {
	clean     bool // the server was stopped in order, not killed
	logs      map[vbucket.ID]vbucket.FailoverLog
	high      map[vbucket.ID]vbucket.Seqno
	documents map[string]document
}
