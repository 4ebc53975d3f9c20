package client

import (
	"encoding/binary"
	"fmt"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// The functions of this file read successful replies. They trust nothing that the server says about itself: what is not as
// the protocol has it is ErrProtocol. Results alias the reply, which belongs to the caller.

func malformed(f *mcbp.Frame, what string) error {
	return fmt.Errorf("%w: %s in a reply to %s", ErrProtocol, what, f.Opcode)
}

// docReply reads a reply of the GET kind.
func docReply(f *mcbp.Frame) (Doc, error) {
	if len(f.Extras) != 4 {
		return Doc{}, malformed(f, "no flags")
	}
	if value.Datatype(f.Datatype)&^value.JSON != 0 {
		return Doc{}, malformed(f, "a datatype that was not negotiated")
	}
	return Doc{
		Value: f.Value, Flags: binary.BigEndian.Uint32(f.Extras), Datatype: value.Datatype(f.Datatype), CAS: vbucket.CAS(f.CAS),
	}, nil
}

// writtenReply reads a reply to a change; it may or may not carry a token.
func writtenReply(f *mcbp.Frame, vb vbucket.ID) (Written, error) {
	w := Written{CAS: vbucket.CAS(f.CAS), VB: vb}
	if len(f.Extras) == 0 {
		return w, nil
	}
	t, ok := mcbp.ParseToken(f.Extras)
	if !ok {
		return Written{}, malformed(f, "no token")
	}
	w.Token = vbucket.Position{UUID: vbucket.UUID(t.UUID), Seqno: vbucket.Seqno(t.Seqno)}
	return w, nil
}

// counterReply reads the new value of a counter.
func counterReply(f *mcbp.Frame) (uint64, error) {
	if len(f.Value) != 8 {
		return 0, malformed(f, "no number")
	}
	return binary.BigEndian.Uint64(f.Value), nil
}

// metaReply reads a reply to GET_META.
func metaReply(f *mcbp.Frame) (Meta, error) {
	m, ok := mcbp.ParseDocMeta(f.Extras)
	if !ok {
		return Meta{}, malformed(f, "no metadata")
	}
	return Meta{DocMeta: m, CAS: vbucket.CAS(f.CAS)}, nil
}

// keysReply reads a reply to GET_KEYS: keys, each behind its length.
func keysReply(f *mcbp.Frame) ([]string, error) {
	var keys []string
	for rest := f.Value; len(rest) > 0; {
		if len(rest) < 2 {
			return nil, malformed(f, "a torn key")
		}
		n := int(binary.BigEndian.Uint16(rest))
		if rest = rest[2:]; n == 0 || len(rest) < n {
			return nil, malformed(f, "a torn key")
		}
		keys = append(keys, string(rest[:n]))
		rest = rest[n:]
	}
	return keys, nil
}

const failoverEntryLen = 16

// failoverReply reads a reply to GET_FAILOVER_LOG.
func failoverReply(f *mcbp.Frame) (vbucket.FailoverLog, error) {
	if len(f.Value)%failoverEntryLen != 0 {
		return nil, malformed(f, "a torn failover log")
	}
	log := make(vbucket.FailoverLog, 0, len(f.Value)/failoverEntryLen)
	for b := f.Value; len(b) > 0; b = b[failoverEntryLen:] {
		log = append(log, vbucket.FailoverEntry{
			UUID: vbucket.UUID(binary.BigEndian.Uint64(b)), Seqno: vbucket.Seqno(binary.BigEndian.Uint64(b[8:])),
		})
	}
	return log, nil
}

// Lengths of the two forms of an OBSERVE_SEQNO reply (wire.md 11).
const (
	observedLen      = 27
	observedOlderLen = 43
)

// observedReply reads a reply to OBSERVE_SEQNO.
func observedReply(f *mcbp.Frame) (Observed, error) {
	b := f.Value
	if len(b) == 0 || b[0] == 0 && len(b) != observedLen || b[0] == 1 && len(b) != observedOlderLen || b[0] > 1 {
		return Observed{}, malformed(f, "an unknown form")
	}
	o := Observed{
		VB: vbucket.ID(binary.BigEndian.Uint16(b[1:])), UUID: vbucket.UUID(binary.BigEndian.Uint64(b[3:])),
		Persisted: vbucket.Seqno(binary.BigEndian.Uint64(b[11:])), High: vbucket.Seqno(binary.BigEndian.Uint64(b[19:])),
	}
	if b[0] == 1 {
		o.Old = vbucket.Position{
			UUID: vbucket.UUID(binary.BigEndian.Uint64(b[27:])), Seqno: vbucket.Seqno(binary.BigEndian.Uint64(b[35:])),
		}
	}
	return o, nil
}

const seqnoEntryLen = 10

// seqnosReply reads a reply to GET_ALL_VB_SEQNOS.
func seqnosReply(f *mcbp.Frame) (map[vbucket.ID]vbucket.Seqno, error) {
	if len(f.Value)%seqnoEntryLen != 0 {
		return nil, malformed(f, "a torn list of seqnos")
	}
	seqnos := make(map[vbucket.ID]vbucket.Seqno, len(f.Value)/seqnoEntryLen)
	for b := f.Value; len(b) > 0; b = b[seqnoEntryLen:] {
		seqnos[vbucket.ID(binary.BigEndian.Uint16(b))] = vbucket.Seqno(binary.BigEndian.Uint64(b[2:]))
	}
	return seqnos, nil
}
