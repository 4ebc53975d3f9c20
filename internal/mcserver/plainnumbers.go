package mcserver

import (
	"errors"
	"math/bits"
	"sync/atomic"

	"github.com/charpoy/charpoy/internal/kv"
)

// plainStat is one of the counters of the memcached port, named as memcached names them. They count the whole port since the
// start or the last reset. What the metrics of the server count as well is counted there by bucket and for all ports.
type plainStat uint8

// The counters.
const (
	statGet plainStat = iota
	statSet
	statFlush
	statTouch
	statMeta
	statGetHit
	statGetMiss
	statDeleteMiss
	statDeleteHit
	statIncrMiss
	statIncrHit
	statDecrMiss
	statDecrHit
	statCASMiss
	statCASHit
	statCASBad
	statTouchHit
	statTouchMiss
	statTooLarge
	statNoMemory
	statAuth
	statAuthError
	numPlainStats = iota
)

func (s plainStat) String() string {
	return [numPlainStats]string{
		"cmd_get", "cmd_set", "cmd_flush", "cmd_touch", "cmd_meta", "get_hits", "get_misses", "delete_misses", "delete_hits",
		"incr_misses", "incr_hits", "decr_misses", "decr_hits", "cas_misses", "cas_hits", "cas_badval", "touch_hits",
		"touch_misses", "store_too_large", "store_no_memory", "auth_cmds", "auth_errors",
	}[s]
}

// plainNumbers are the counters of the port.
type plainNumbers [numPlainStats]atomic.Uint64

// plainTally counts what happens in a batch, so that counters which all connections share are touched once for each kind.
type plainTally struct {
	kinds uint32 // bit of each counter that is not 0
	some  [numPlainStats]uint16
}

func (t *plainTally) add(s plainStat) {
	t.kinds |= 1 << s
	t.some[s]++
}

// counted counts a counter operation that ended with err.
func (t *plainTally) counted(down bool, err error) {
	hit, miss := statIncrHit, statIncrMiss
	if down {
		hit, miss = statDecrHit, statDecrMiss
	}
	switch {
	case err == nil:
		t.add(hit)
	case errors.Is(err, kv.ErrNotFound):
		t.add(miss)
	case errors.Is(err, kv.ErrCASMismatch):
		t.add(statCASBad)
	}
}

// add takes over the counts of a batch.
func (n *plainNumbers) add(t *plainTally) {
	for ; t.kinds != 0; t.kinds &= t.kinds - 1 {
		s := bits.TrailingZeros32(t.kinds)
		n[s].Add(uint64(t.some[s]))
		t.some[s] = 0
	}
}

// reset begins counting anew.
func (n *plainNumbers) reset() {
	for i := range n {
		n[i].Store(0)
	}
}
