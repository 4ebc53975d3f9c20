package storage

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// localName is the name of the local row that holds a Local.
const localName = "a"

const localVersion = 1

// Local is what a vBucket keeps beside its documents that changes rarely. Fields that this version does not know are kept.
type Local struct {
	State    vbucket.State
	Failover vbucket.FailoverLog
	Purge    vbucket.Seqno // highest seqno of a tombstone whose rows are gone
	Stable   vbucket.Seqno // no rollback reaches below it
	// Opaque holds fields of the replication protocol by name, as JSON.
	Opaque map[string]json.RawMessage
}

// localRow is the fixed part of a Local's encoding.
type localRow struct {
	V        int                 `json:"v"`
	State    string              `json:"state"`
	UUID     vbucket.UUID        `json:"uuid"` // of the newest branch, for people; the log decides
	Failover vbucket.FailoverLog `json:"failover"`
	Purge    vbucket.Seqno       `json:"purge"`
	Stable   vbucket.Seqno       `json:"stable"`
}

func (l *Local) encode() ([]byte, error) {
	fixed, err := json.Marshal(localRow{
		V: localVersion, State: l.State.String(), UUID: l.Failover.Current(), Failover: l.Failover, Purge: l.Purge, Stable: l.Stable,
	})
	if err != nil {
		return nil, fmt.Errorf("encode local row: %w", err)
	}
	if len(l.Opaque) == 0 {
		return fixed, nil
	}
	opaque, err := json.Marshal(l.Opaque)
	if err != nil {
		return nil, fmt.Errorf("encode local row: %w", err)
	}
	return append(append(fixed[:len(fixed)-1], ','), opaque[1:]...), nil
}

func decodeLocal(row []byte) (Local, error) {
	var fixed localRow
	if err := json.Unmarshal(row, &fixed); err != nil {
		return Local{}, damaged("the local row is not what it should be: %v", err)
	}
	if fixed.V > localVersion {
		return Local{}, fmt.Errorf("local row version %d: %w", fixed.V, ErrNewerFormat)
	}
	l := Local{Failover: fixed.Failover, Purge: fixed.Purge, Stable: fixed.Stable}
	for s := vbucket.Active; s <= vbucket.Dead; s++ {
		if s.String() == fixed.State {
			l.State = s
		}
	}
	if fixed.V != localVersion || l.State == 0 || len(l.Failover) == 0 || len(l.Failover) > vbucket.MaxFailoverEntries {
		return Local{}, damaged("a local row of version %d, state %q, %d failover entries", fixed.V, fixed.State,
			len(fixed.Failover))
	}
	for i, e := range l.Failover {
		if e.UUID == 0 || i > 0 && e.Seqno > l.Failover[i-1].Seqno {
			return Local{}, damaged("a failover log that contradicts itself at entry %d", i)
		}
	}
	if err := json.Unmarshal(row, &l.Opaque); err != nil {
		return Local{}, damaged("the local row is not what it should be: %v", err)
	}
	for _, name := range []string{"v", "state", "uuid", "failover", "purge", "stable"} {
		delete(l.Opaque, name)
		for other := range l.Opaque { // the decoder above takes names that differ in case only for the same
			if strings.EqualFold(other, name) {
				return Local{}, damaged("the local row has a field %q beside %q", other, name)
			}
		}
	}
	if len(l.Opaque) == 0 {
		l.Opaque = nil
	}
	return l, nil
}
