package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// The state file, byte by byte, is described in docs/formats/cluster-state.md.
const (
	stateMagic   = "CHARPOYS"
	stateVersion = 1
	stateHeader  = 8 + 4 + 8 + 4 // magic, version, revision, number of entries
	stateTrailer = 4             // CRC-32C
	maxStateFile = 256 << 20
)

// ErrNewerFormat says that a state file was written by a newer version of the program.
var ErrNewerFormat = errors.New("the cluster state was written by a newer version; start that one")

// CorruptError says that a state file does not read back as it was written.
type CorruptError struct{ Reason string }

// Error says what is wrong.
func (e *CorruptError) Error() string { return "the cluster state file is damaged: " + e.Reason }

// encodeState gives the content of a state file.
func encodeState(s state) []byte {
	keys := make([]Entry, 0, len(s.entries))
	size := stateHeader + stateTrailer
	for _, e := range s.entries {
		keys = append(keys, e)
		size += len(e.Key) + len(e.Value) + 4*binary.MaxVarintLen64
	}
	slices.SortFunc(keys, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	out := make([]byte, 0, size)
	out = append(out, stateMagic...)
	out = binary.BigEndian.AppendUint32(out, stateVersion)
	out = binary.BigEndian.AppendUint64(out, uint64(s.revision))
	out = binary.BigEndian.AppendUint32(out, uint32(len(keys)))
	for _, e := range keys {
		out = binary.AppendUvarint(out, uint64(len(e.Key)))
		out = append(out, e.Key...)
		out = binary.AppendUvarint(out, uint64(e.Created))
		out = binary.AppendUvarint(out, uint64(e.Modified))
		out = binary.AppendUvarint(out, uint64(len(e.Value)))
		out = append(out, e.Value...)
	}
	return binary.BigEndian.AppendUint32(out, crc32.Checksum(out, crc32.MakeTable(crc32.Castagnoli)))
}

// decodeState reads the content of a state file. The values point into data. A *CorruptError, or ErrNewerFormat.
func decodeState(data []byte) (state, error) {
	if len(data) < stateHeader+stateTrailer || string(data[:8]) != stateMagic {
		return state{}, &CorruptError{"it does not begin as a state file does"}
	}
	body, sum := data[:len(data)-stateTrailer], binary.BigEndian.Uint32(data[len(data)-stateTrailer:])
	if got := crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)); got != sum {
		return state{}, &CorruptError{fmt.Sprintf("its checksum is %08x, not %08x", got, sum)}
	}
	if v := binary.BigEndian.Uint32(body[8:]); v > stateVersion {
		return state{}, fmt.Errorf("format %d: %w", v, ErrNewerFormat)
	} else if v != stateVersion {
		return state{}, &CorruptError{fmt.Sprintf("unknown format %d", v)}
	}
	r := stateReader{rest: body[stateHeader:]}
	s := state{revision: Revision(binary.BigEndian.Uint64(body[12:]))}
	n := binary.BigEndian.Uint32(body[20:])
	if s.revision < 0 || uint64(n)*4 > uint64(len(r.rest)) {
		return state{}, &CorruptError{"its header does not fit its content"}
	}
	s.entries = make(map[string]Entry, n)
	last := ""
	for range n {
		e := r.entry()
		if r.bad || e.Key <= last || e.Created < 1 || e.Created > e.Modified || e.Modified > s.revision {
			return state{}, &CorruptError{"an entry contradicts itself after key " + last}
		}
		last = e.Key
		s.entries[e.Key] = e
	}
	if len(r.rest) > 0 {
		return state{}, &CorruptError{fmt.Sprintf("%d bytes follow the last entry", len(r.rest))}
	}
	return s, nil
}

// stateReader takes fields off a buffer; bad is set when one is cut short or out of bounds.
type stateReader struct {
	rest []byte
	bad  bool
}

func (r *stateReader) entry() Entry {
	key := r.bytes(MaxKey)
	created, modified := r.revision(), r.revision()
	return Entry{Key: string(key), Created: created, Modified: modified, Value: r.bytes(MaxValue)}
}

func (r *stateReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *stateReader) revision() Revision {
	v := r.uvarint()
	if v > 1<<62 {
		r.bad = true
		return 0
	}
	return Revision(v)
}

func (r *stateReader) bytes(limit int) []byte {
	n := r.uvarint()
	if n > uint64(limit) || n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	out := r.rest[:n:n]
	r.rest = r.rest[n:]
	return out
}
