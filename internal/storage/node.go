package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/charpoy/charpoy/internal/vbucket"
)

// Names of the node's rows. Numbers in them are u64, but bids are u32.
const (
	rowFormat    = "format"
	rowBoot      = "boot"
	rowCeiling   = "casceil"
	rowNextBid   = "nextbid"
	rowBidPrefix = "bid/"
)

// How far ahead of the clock the CAS ceiling is kept, and how often it is raised (kv.md 5).
const (
	ceilingAhead = 10 * time.Second
	ceilingEvery = 5 * time.Second
)

// nodeRows is what the node's rows say.
type nodeRows struct {
	boot         uint64 // number of this start
	startCeiling uint64 // the CAS ceiling as the starts before this one left it

	mu struct {
		sync.Mutex
		ceiling uint64
		kept    bool // it was raised in this start
	}
}

func (db *DB) readNode() error {
	format, err := db.nodeNumber(rowFormat)
	if err != nil {
		return err
	}
	if format > FormatVersion {
		return fmt.Errorf("format %d of the data directory: %w", format, ErrNewerFormat)
	}
	if db.node.boot, err = db.nodeNumber(rowBoot); err != nil {
		return err
	}
	if db.node.startCeiling, err = db.nodeNumber(rowCeiling); err != nil {
		return err
	}
	db.node.mu.ceiling = db.node.startCeiling
	return nil
}

// nodeNumber reads a row that holds one number, 0 if it is not there.
func (db *DB) nodeNumber(name string) (uint64, error) {
	row, err := db.get(nil, nodeKey(name))
	switch {
	case errors.Is(err, ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("node row %s: %w", name, db.nodeFault(name, err))
	case len(row) != 8:
		return 0, db.nodeFault(name, damaged("node row %s has %d bytes", name, len(row)))
	}
	return binary.BigEndian.Uint64(row), nil
}

// nodeFault makes a *CorruptionError of damage in the node's own rows.
func (db *DB) nodeFault(name string, err error) error {
	if errors.Is(err, errDamaged) || pebble.IsCorruptionError(err) {
		return &CorruptionError{Reason: "row " + name, Err: err}
	}
	return err
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// noteStart writes that another start has begun.
func (db *DB) noteStart() error {
	db.node.boot++
	b := db.pebble.NewBatch()
	if err := errors.Join(
		b.Set(nodeKey(rowFormat), number(FormatVersion), nil),
		b.Set(nodeKey(rowBoot), number(db.node.boot), nil),
	); err != nil {
		return errors.Join(err, b.Close())
	}
	return db.write(b, true)
}

// Boot is the number of this start of the data directory, from 1 upwards.
func (db *DB) Boot() uint64 { return db.node.boot }

// KeepCASCeiling makes sure that the stored ceiling is well ahead of a CAS, the highest that was given or would be given
// now, and returns it: no CAS above it may be given. It writes and syncs once at each start, since values above the ceiling
// of earlier starts may be given from then on, and then at most every five seconds of progress; call it about every second.
func (db *DB) KeepCASCeiling(cas vbucket.CAS) (vbucket.CAS, error) {
	n := &db.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.mu.kept && n.mu.ceiling >= uint64(cas)+uint64(ceilingAhead-ceilingEvery) {
		return vbucket.CAS(n.mu.ceiling), nil
	}
	next := max(uint64(cas), n.mu.ceiling) + uint64(ceilingAhead)
	b := db.pebble.NewBatch()
	if err := b.Set(nodeKey(rowCeiling), number(next), nil); err != nil {
		return 0, errors.Join(err, b.Close())
	}
	if err := db.write(b, true); err != nil {
		return vbucket.CAS(n.mu.ceiling), fmt.Errorf("raise the CAS ceiling: %w", err)
	}
	n.mu.ceiling, n.mu.kept = next, true
	return vbucket.CAS(next), nil
}

// readBuckets reads which bucket has which bid.
func (db *DB) readBuckets() (err error) {
	db.mu.buckets = map[string]*Bucket{}
	next, err := db.nodeNumber(rowNextBid)
	if err != nil {
		return err
	}
	db.next = bid(max(next, 1))
	start := nodeKey(rowBidPrefix)
	end := nodeKey(rowBidPrefix[:len(rowBidPrefix)-1] + string(rowBidPrefix[len(rowBidPrefix)-1]+1))
	rows, err := db.pebble.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return fmt.Errorf("list buckets: %w", err)
	}
	defer func() { err = errors.Join(err, db.nodeFault("bid", rows.Close())) }()
	for ok := rows.First(); ok; ok = rows.Next() {
		uuid := strings.TrimPrefix(string(rows.Key()[4:]), rowBidPrefix)
		if len(rows.Value()) != 4 {
			return db.nodeFault("bid", damaged("bid of %d bytes of bucket %s", len(rows.Value()), uuid))
		}
		n := bid(binary.BigEndian.Uint32(rows.Value()))
		if n == nodeBid || n >= db.next {
			return db.nodeFault("bid", damaged("bucket %s has the bid %d, the next one is %d", uuid, n, db.next))
		}
		db.mu.buckets[uuid] = &Bucket{db: db, uuid: uuid, bid: n}
	}
	return nil
}
