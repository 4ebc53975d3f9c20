package storage

import (
	"encoding/binary"
	"fmt"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// stateName is the name of the local row that holds a State.
const stateName = "h"

const (
	stateVersion = 1
	stateWords   = 11
	stateLen     = 8 + 8*stateWords
)

// State says how far a vBucket on disk reaches. It is written with each batch, and so always fits the rows beside it.
type State struct {
	High      vbucket.Seqno // of the newest row
	SnapStart vbucket.Seqno // the snapshot that was being written when this was: (SnapStart, SnapEnd]. It is on disk as a
	SnapEnd   vbucket.Seqno // whole if SnapEnd == High; otherwise the vBucket is inside it (kv.md 14.3)
	MaxCAS    vbucket.CAS

	MaxVisible    vbucket.Seqno // the three of the replication protocol are opaque here
	HighPrepared  vbucket.Seqno
	HighCompleted vbucket.Seqno

	MaxDeletedRev uint64 // highest revision of a tombstone
	Items         uint64 // live documents at High
	Bytes         uint64 // their keys and values as stored
	AcceptedEpoch vbucket.Epoch
}

// Whole reports whether the state on disk is one that the vBucket really was in.
func (s *State) Whole() bool { return s.SnapEnd == s.High }

func (s *State) words() [stateWords]uint64 {
	return [stateWords]uint64{
		uint64(s.High), uint64(s.SnapStart), uint64(s.SnapEnd), uint64(s.MaxCAS), uint64(s.MaxVisible),
		uint64(s.HighPrepared), uint64(s.HighCompleted), s.MaxDeletedRev, s.Items, s.Bytes, uint64(s.AcceptedEpoch),
	}
}

// putState encodes s into dst, which has stateLen bytes.
func putState(dst []byte, s *State) {
	clear(dst[:8])
	dst[0] = stateVersion
	for i, w := range s.words() {
		binary.BigEndian.PutUint64(dst[8+8*i:], w)
	}
}

func decodeState(row []byte) (State, error) {
	if len(row) < 1 {
		return State{}, damaged("the state is empty")
	}
	if row[0] > stateVersion {
		return State{}, fmt.Errorf("state version %d: %w", row[0], ErrNewerFormat)
	}
	if row[0] != stateVersion || len(row) != stateLen {
		return State{}, damaged("state version %d with %d bytes", row[0], len(row))
	}
	for _, b := range row[1:8] {
		if b != 0 {
			return State{}, damaged("a reserved byte of the state is set")
		}
	}
	w := func(i int) uint64 { return binary.BigEndian.Uint64(row[8+8*i:]) }
	s := State{
		High:          vbucket.Seqno(w(0)),
		SnapStart:     vbucket.Seqno(w(1)),
		SnapEnd:       vbucket.Seqno(w(2)),
		MaxCAS:        vbucket.CAS(w(3)),
		MaxVisible:    vbucket.Seqno(w(4)),
		HighPrepared:  vbucket.Seqno(w(5)),
		HighCompleted: vbucket.Seqno(w(6)),
		MaxDeletedRev: w(7),
		Items:         w(8),
		Bytes:         w(9),
		AcceptedEpoch: vbucket.Epoch(w(10)),
	}
	if s.SnapStart > s.High || s.High > s.SnapEnd || s.SnapEnd > vbucket.MaxSeqno {
		return State{}, damaged("high seqno %d outside its snapshot (%d, %d]", s.High, s.SnapStart, s.SnapEnd)
	}
	return s, nil
}
