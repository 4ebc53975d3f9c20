package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// storedRow is a row as the store keeps it: with ids of nodes instead of indexes, and without places for missing copies.
type storedRow struct {
	epoch vbucket.Epoch
	chain []uint16
}

// A shard's value: a version byte, then each row as flags, epoch, number of members, members. The flags are those of
// cluster.md 5.2; only established rows without a move are written so far.
const (
	rowsVersion    = 1
	rowEstablished = 1
	maxChain       = 8
)

var errBadRows = errors.New("the rows cannot be read")

func encodeRows(rows []storedRow) []byte {
	out := []byte{rowsVersion}
	for _, r := range rows {
		out = append(out, rowEstablished)
		out = binary.AppendUvarint(out, uint64(r.epoch))
		out = binary.AppendUvarint(out, uint64(len(r.chain)))
		for _, id := range r.chain {
			out = binary.AppendUvarint(out, uint64(id))
		}
	}
	return out
}

func decodeRows(data []byte) ([]storedRow, error) {
	if len(data) == 0 || data[0] != rowsVersion {
		return nil, fmt.Errorf("unknown version: %w", errBadRows)
	}
	data = data[1:]
	next := func(limit uint64) (uint64, bool) {
		v, n := binary.Uvarint(data)
		if n <= 0 || v > limit {
			return 0, false
		}
		data = data[n:]
		return v, true
	}
	var rows []storedRow
	for len(data) > 0 {
		flags := data[0]
		data = data[1:]
		epoch, ok1 := next(1<<63 - 1)
		n, ok2 := next(maxChain)
		if flags != rowEstablished || !ok1 || !ok2 || len(rows) == rowsPerShard {
			return nil, fmt.Errorf("row %d: %w", len(rows), errBadRows)
		}
		r := storedRow{epoch: vbucket.Epoch(epoch)}
		for range n {
			id, ok := next(1<<16 - 1)
			if !ok {
				return nil, fmt.Errorf("row %d: %w", len(rows), errBadRows)
			}
			r.chain = append(r.chain, uint16(id))
		}
		rows = append(rows, r)
	}
	return rows, nil
}
