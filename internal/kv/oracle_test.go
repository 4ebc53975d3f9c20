package kv

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/charpoy/charpoy/internal/change/changetest"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// oracle is what a vBucket must do, written for reading instead of speed: a map, and the rules of wire.md 7 one by one. CAS
// values cannot be foretold; it takes them from the engine's answers and holds them to rising.
type oracle struct {
	docs    map[string]*odoc
	high    vbucket.Seqno
	maxCAS  vbucket.CAS
	maxRev  uint64 // of tombstones
	history *changetest.History
}

// odoc is a document or a tombstone.
type odoc struct {
	value   string // as readers see it, inflated
	flags   uint32
	expiry  uint32
	cas     vbucket.CAS
	rev     uint64
	seqno   vbucket.Seqno
	deleted bool
	locked  time.Duration // until, on the monotonic clock
	lockCAS vbucket.CAS
}

// ask is one operation on a document.
type ask struct {
	op      string
	key     string
	value   string
	flags   uint32
	expiry  uint32
	cas     vbucket.CAS
	keep    bool
	delta   uint64
	initial uint64
	down    bool
	create  bool
}

// answer is what an operation says.
type answer struct {
	err     error
	cas     vbucket.CAS
	seqno   vbucket.Seqno
	rev     uint64
	flags   uint32
	expiry  uint32
	value   string
	json    bool
	deleted bool
	number  uint64
}

// now is a reading of the test's clock.
type now struct {
	unix uint32
	mono time.Duration
}

func (n now) absolute(wire uint32) uint32 {
	if wire != 0 && wire <= relativeExpiry {
		return n.unix + wire
	}
	return wire
}

// find gives a document that is alive, and makes a tombstone of one that has expired.
func (o *oracle) find(key string, n now) *odoc {
	d := o.docs[key]
	if d == nil || d.deleted {
		return nil
	}
	if d.expiry != 0 && d.expiry <= n.unix {
		o.bury(key, n)
		return nil
	}
	return d
}

// bury makes a tombstone. Its CAS is learnt later: nobody is told.
func (o *oracle) bury(key string, n now) {
	d := o.docs[key]
	o.high++
	*d = odoc{deleted: true, expiry: n.unix, rev: d.rev + 1, seqno: o.high}
	o.maxRev = max(o.maxRev, d.rev)
	o.history.Note(0, changetest.Version{Seqno: o.high, Key: key, Deleted: true})
}

// write gives a document a new version, whose CAS the engine's answer will tell.
func (o *oracle) write(key, val string, flags, expiry uint32) *odoc {
	d := o.docs[key]
	if d == nil {
		d = &odoc{rev: o.maxRev}
		o.docs[key] = d
	}
	o.high++
	*d = odoc{value: val, flags: flags, expiry: expiry, rev: d.rev + 1, seqno: o.high}
	o.history.Note(0, changetest.Version{Seqno: o.high, Key: key, Value: val})
	return d
}

func (d *odoc) isLocked(n now) bool { return d.lockCAS != 0 && n.mono < d.locked }

// mayChange is the table of locks and CAS for mutations of what is there.
func (d *odoc) mayChange(cas vbucket.CAS, n now) error {
	switch {
	case d.isLocked(n) && cas != d.lockCAS:
		return ErrLocked
	case !d.isLocked(n) && cas != 0 && cas != d.cas:
		return ErrCASMismatch
	}
	return nil
}

func (d *odoc) read(n now) answer {
	a := answer{cas: d.cas, seqno: d.seqno, rev: d.rev, flags: d.flags, expiry: d.expiry, value: d.value, deleted: d.deleted}
	a.json = d.value != "" && json.Valid([]byte(d.value))
	if d.isLocked(n) {
		a.cas = vbucket.LockedCAS
	}
	return a
}

// expect says what the engine must answer. An answer's CAS of 1 stands for a new one.
func (o *oracle) expect(q *ask, n now) answer {
	if q.op == "getmeta" {
		if o.find(q.key, n); o.docs[q.key] == nil {
			return answer{err: ErrNotFound}
		}
		a := o.docs[q.key].read(n)
		a.value = ""
		return a
	}
	d := o.find(q.key, n)
	switch q.op {
	case "set", "add", "replace":
		return o.store(q, d, n)
	case "append", "prepend":
		if d == nil {
			return answer{err: ErrNotStored}
		}
		if err := d.mayChange(q.cas, n); err != nil {
			return answer{err: err}
		}
		body := d.value + q.value
		if q.op == "prepend" {
			body = q.value + d.value
		}
		return written(o.write(q.key, body, d.flags, d.expiry))
	case "counter":
		return o.counter(q, d, n)
	}
	if d == nil {
		return answer{err: ErrNotFound}
	}
	switch q.op {
	case "get":
		return d.read(n)
	case "touch", "gat":
		if d.isLocked(n) {
			return answer{err: ErrLocked}
		}
		a := answer{cas: d.cas, seqno: d.seqno}
		if at := n.absolute(q.expiry); at != d.expiry {
			d = o.write(q.key, d.value, d.flags, at)
			a = written(d)
		}
		if q.op == "gat" {
			cas := a.cas
			a = d.read(n)
			a.cas = cas
		}
		return a
	case "getl":
		if d.isLocked(n) {
			return answer{err: ErrLocked}
		}
		a := d.read(n)
		a.cas = 1
		d.lockCAS, d.locked = 1, n.mono+time.Duration(q.delta)*time.Second
		return a
	case "unlock":
		switch {
		case !d.isLocked(n):
			return answer{err: ErrNotLocked}
		case d.lockCAS != q.cas:
			return answer{err: ErrLocked}
		}
		d.lockCAS = 0
		return answer{}
	}
	if err := d.mayChange(q.cas, n); err != nil { // delete
		return answer{err: err}
	}
	o.bury(q.key, n)
	return written(o.docs[q.key])
}

func written(d *odoc) answer { return answer{cas: 1, seqno: d.seqno} }

func (o *oracle) store(q *ask, d *odoc, n now) answer {
	switch {
	case d == nil && (q.op == "replace" || q.op == "set" && q.cas != 0):
		return answer{err: ErrNotFound}
	case d != nil && q.op == "add":
		return answer{err: ErrExists}
	case d != nil:
		if err := d.mayChange(q.cas, n); err != nil {
			return answer{err: err}
		}
	}
	expiry := n.absolute(q.expiry)
	if d != nil && q.keep {
		expiry = d.expiry
	}
	return written(o.write(q.key, q.value, q.flags, expiry))
}

func (o *oracle) counter(q *ask, d *odoc, n now) answer {
	if d == nil {
		if !q.create || q.cas != 0 {
			return answer{err: ErrNotFound}
		}
		a := written(o.write(q.key, strconv.FormatUint(q.initial, 10), 0, n.absolute(q.expiry)))
		a.number = q.initial
		return a
	}
	if err := d.mayChange(q.cas, n); err != nil {
		return answer{err: err}
	}
	have, err := strconv.ParseUint(d.value, 10, 64)
	if err != nil || len(d.value) > 20 {
		return answer{err: ErrBadDelta}
	}
	next := have + q.delta
	if q.down {
		next = have - min(have, q.delta)
	}
	a := written(o.write(q.key, strconv.FormatUint(next, 10), d.flags, d.expiry))
	a.number = next
	return a
}

// learn takes the CAS that the engine gave, which must be above all before. It reports false if it is not.
func (o *oracle) learn(q *ask, cas vbucket.CAS) bool {
	if cas <= o.maxCAS || cas == vbucket.LockedCAS {
		return false
	}
	o.maxCAS = cas
	d := o.docs[q.key]
	if q.op == "getl" {
		d.lockCAS = cas
	} else {
		d.cas = cas
	}
	return true
}

// inflated gives a stored value as its reader sees it.
func inflated(v []byte, dt value.Datatype) (string, error) {
	if dt&value.Snappy == 0 {
		return string(v), nil
	}
	plain, err := value.Inflate(nil, v)
	return string(plain), err
}
