// Package vbucket holds the nouns of a partitioned bucket: what a vBucket is called, where it stands in its history and
// what one node is told about it.
//
// A bucket's keys are spread over a fixed number of vBuckets (a power of two, 1024 by default, never changed for a live
// bucket). Each vBucket has exactly one ordered history of changes at a time. A place in it is a Position: the UUID of the
// branch of history and the sequence number (seqno) on that branch. Whoever may write begins a new branch when it cannot
// prove that it knows the whole of the old one; the FailoverLog lists the branches, newest first.
//
// The cluster plane and the data plane share only values of this package (and of package spec): an Assignment goes down,
// a Report comes back. Everything here is a plain value without locks; Assignment and Report are immutable once published.
package vbucket

import (
	"fmt"
	"hash/crc32"
)

// MaxCount is the largest number of vBuckets that a bucket may have. The wire's vBucket field would allow more; the
// cluster configuration that SDKs read is sized for this (wire.md 18).
const MaxCount = 1024

// ID is the number of a vBucket within its bucket, 0 ≤ ID < number of vBuckets.
type ID uint16

// Seqno numbers the changes of one vBucket on one branch of its history, from 1 upwards. It uses 48 bits.
type Seqno uint64

// MaxSeqno is the highest seqno that can be given: item headers keep 48 bits.
const MaxSeqno Seqno = 1<<48 - 1

// UUID names one branch of a vBucket's history. It is never 0.
type UUID uint64

// Epoch numbers the assignments of a vBucket; it rises with each change of its members.
type Epoch uint64

// CAS is the version stamp of a document: nanoseconds of wall time in the upper 48 bits, a counter in the lower 16. It
// rises strictly within a vBucket. 0 in a request means "do not check"; a live document never has it.
type CAS uint64

// LockedCAS is what a reader sees in place of the CAS of a locked document. As a request's CAS it never matches.
const LockedCAS CAS = 1<<64 - 1

// Position is a place in the history of a vBucket.
type Position struct {
	UUID  UUID
	Seqno Seqno
}

// State says what a node does with its copy of a vBucket. The values are those of the wire.
type State uint8

// The states of a copy.
const (
	Active  State = 1 // takes writes
	Replica State = 2 // follows an active
	Pending State = 3 // will become active when its predecessor hands over
	Dead    State = 4 // not served
)

// String gives the name that STAT groups and logs use.
func (s State) String() string {
	switch s {
	case Active:
		return "active"
	case Replica:
		return "replica"
	case Pending:
		return "pending"
	case Dead:
		return "dead"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Of gives the vBucket of a document key (without collection prefix) among count vBuckets: bits 16 to 30 of the key's
// CRC-32 (IEEE), modulo count. All SDKs compute the same; it can never change.
func Of(key []byte, count int) ID {
	return ID((crc32.ChecksumIEEE(key) >> 16 & 0x7fff) % uint32(count))
}

// ValidCount reports whether n can be the number of vBuckets of a bucket: a power of two from 1 to MaxCount.
func ValidCount(n int) bool { return n >= 1 && n <= MaxCount && n&(n-1) == 0 }
