package kv

import (
	"context"
	"math"
	"strconv"

	"github.com/charpoy/charpoy/internal/hlc"
	"github.com/charpoy/charpoy/internal/value"
)

// Append adds bytes behind the value of a document, which keeps its flags, expiry and attributes. ErrNotStored if there is
// none; other errors are those of Set.
func (b *Bucket) Append(ctx context.Context, at hlc.Time, k Key, w *Write) (Written, error) {
	return b.concat(ctx, at, &k, w, false)
}

// Prepend adds bytes in front of the value of a document, as Append does behind it.
func (b *Bucket) Prepend(ctx context.Context, at hlc.Time, k Key, w *Write) (Written, error) {
	return b.concat(ctx, at, &k, w, true)
}

// concat copies the old value under the lock, makes the new one without it, and writes that if the document is still the
// same. If it is not, somebody else has made progress, and it begins again.
func (b *Bucket) concat(ctx context.Context, at hlc.Time, k *Key, w *Write, front bool) (Written, error) {
	conf := b.config.Load()
	level, err := conf.durability(w.Level)
	if err != nil {
		return Written{}, err
	}
	sc := b.getScratch()
	defer b.putScratch(sc)
	operand, err := sc.body(w, conf.spec.MaxValueBytes)
	if err != nil {
		return Written{}, err
	}
	if err := b.admit(conf, k.VB, len(operand)); err != nil {
		return Written{}, err
	}
	base := uint64(0)
	v := version{level: level}
	for {
		vb, i, h, err := b.live(ctx, conf, at, k)
		if err == ErrNotFound { //nolint:errorlint // the sentinel that live returns
			err = ErrNotStored
		}
		if err != nil {
			return Written{}, err
		}
		if err := vb.mayChange(h, w.CAS, at); err != nil {
			vb.mu.Unlock()
			return Written{}, err
		}
		if base == h.cas {
			v.flags, v.expiry = h.flags, h.expiry
			done, err := vb.put(b, conf, k, i, h, &v, at)
			if err == nil {
				w.Size = sc.bodyLen
				vb.mu.ops.Appends++
			}
			return b.finish(ctx, vb, done, err, level, w)
		}
		cas, dt, copied, err := b.takeOld(ctx, vb, k, h, sc)
		if err != nil {
			return Written{}, err
		}
		if !copied {
			continue
		}
		if v.value, v.datatype, err = sc.concat(dt, operand, front, conf.spec.MaxValueBytes); err != nil {
			return Written{}, err
		}
		base = cas
	}
}

// concat makes the value of an append or prepend in s.result. It is kept uncompressed.
func (s *scratch) concat(dt value.Datatype, operand []byte, front bool, most int) ([]byte, value.Datatype, error) {
	section, body, err := s.split(dt)
	if err != nil {
		return nil, 0, err
	}
	if len(body)+len(operand) > most {
		return nil, 0, ErrTooBig
	}
	out := s.result[:0]
	if dt&value.Xattr != 0 {
		out = value.Join(out, section, nil)
	}
	begin := len(out)
	if front {
		out = append(append(out, operand...), body...)
	} else {
		out = append(append(out, body...), operand...)
	}
	s.result, s.bodyLen = out, len(out)-begin
	return out, jsonBit(out[begin:]) | dt&value.Xattr, nil
}

// maxDigits is the length of the largest counter.
const maxDigits = 20

// Counter adds to the number that a document holds in ASCII decimal and returns the new one. The document keeps its flags
// and expiry. A missing one is made with c.Initial if c.Create says so, else it is ErrNotFound. ErrBadDelta if the value is
// no number; other errors are those of Set.
func (b *Bucket) Counter(ctx context.Context, at hlc.Time, k Key, c *Count) (uint64, Written, error) {
	conf := b.config.Load()
	level, err := conf.durability(c.Level)
	if err != nil {
		return 0, Written{}, err
	}
	if err := b.admit(conf, k.VB, headerBytes+len(k.Name)+maxDigits); err != nil {
		return 0, Written{}, err
	}
	sc := b.getScratch()
	defer b.putScratch(sc)
	ct := counting{b: b, conf: conf, at: at, k: k, c: c, v: version{level: level}, sc: sc}
	return ct.run(ctx)
}

// counting is a counter operation that has been checked as far as that can be done without the lock.
type counting struct {
	b    *Bucket
	conf *config
	at   hlc.Time
	k    Key
	c    *Count
	v    version // its value is in sc.result
	n    uint64  // the new number
	base uint64  // CAS of the version that v was made of without the lock
	sc   *scratch
}

func (ct *counting) run(ctx context.Context) (uint64, Written, error) {
	b, k := ct.b, &ct.k
	for {
		vb, err := b.enter(ctx, ct.conf, k)
		if err != nil {
			return 0, Written{}, err
		}
		i, h := vb.find(b, k)
		if h != nil && h.expired(ct.at.Unix()) {
			if err := b.expireHere(ctx, ct.conf, ct.at, vb, k, i, h); err != nil {
				return 0, Written{}, err
			}
			continue
		}
		ready, err := ct.next(ctx, vb, h)
		if err != nil {
			return 0, Written{}, err
		}
		if !ready {
			continue
		}
		done, err := vb.put(b, ct.conf, k, i, h, &ct.v, ct.at)
		if err == nil {
			vb.mu.ops.Counters++
		}
		done, err = b.finish(ctx, vb, done, err, ct.v.level, &Write{Timeout: ct.c.Timeout})
		return ct.n, done, err
	}
}

// next makes the version to write. It is called with the lock held, and holds it when it returns true.
func (ct *counting) next(ctx context.Context, vb *vBucket, h *header) (ready bool, err error) {
	if h == nil || h.deleted() {
		if !ct.c.Create || ct.c.CAS != 0 {
			vb.mu.ops.Misses++
			vb.mu.Unlock()
			return false, ErrNotFound
		}
		ct.n = ct.c.Initial
		ct.v.flags, ct.v.expiry = 0, ct.conf.expiry(ct.k.Coll, ct.c.Expiry, ct.at)
		ct.c.Before, ct.c.After = ct.v.expiry, ct.v.expiry
		ct.put()
		return true, nil
	}
	if err := vb.mayChange(h, ct.c.CAS, ct.at); err != nil {
		vb.mu.Unlock()
		return false, err
	}
	ct.v.flags, ct.v.expiry = h.flags, h.expiry
	if ct.c.Touch {
		ct.v.expiry = ct.conf.expiry(ct.k.Coll, ct.c.NewExpiry, ct.at)
	}
	ct.c.Before, ct.c.After = h.expiry, ct.v.expiry
	switch {
	case !h.ejected() && h.datatype()&(value.Snappy|value.Xattr) == 0: // a few digits: no reason to leave the lock
		var ok bool
		if ct.n, ok = ct.c.apply(h.body()); !ok {
			vb.mu.Unlock()
			return false, ErrBadDelta
		}
		ct.put()
		return true, nil
	case ct.base == h.cas:
		return true, nil
	}
	cas, dt, copied, err := ct.b.takeOld(ctx, vb, &ct.k, h, ct.sc)
	if err != nil || !copied {
		return false, err
	}
	ct.base = cas
	ct.n, err = ct.sc.count(dt, ct.c, &ct.v)
	return false, err
}

// put makes the number the value to write.
func (ct *counting) put() {
	ct.sc.result = strconv.AppendUint(ct.sc.result[:0], ct.n, 10)
	ct.v.value, ct.v.datatype = ct.sc.result, value.JSON
}

// apply computes the next number. It reports false if body is not a number.
func (c *Count) apply(body []byte) (uint64, bool) {
	n, ok := parseCounter(body)
	switch {
	case !ok:
		return 0, false
	case !c.Decrement:
		return n + c.Delta, true
	case n < c.Delta:
		return 0, true
	}
	return n - c.Delta, true
}

// parseCounter reads ASCII decimal without sign or blanks, below 2^64.
func parseCounter(body []byte) (uint64, bool) {
	if len(body) == 0 || len(body) > maxDigits {
		return 0, false
	}
	n := uint64(0)
	for _, c := range body {
		d := uint64(c - '0')
		if d > 9 || n > math.MaxUint64/10 || n == math.MaxUint64/10 && d > math.MaxUint64%10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// count makes the value of a counter whose document is compressed or has attributes, in s.result.
func (s *scratch) count(dt value.Datatype, c *Count, v *version) (uint64, error) {
	section, body, err := s.split(dt)
	if err != nil {
		return 0, err
	}
	n, ok := c.apply(body)
	if !ok {
		return 0, ErrBadDelta
	}
	out := s.result[:0]
	if dt&value.Xattr != 0 {
		out = value.Join(out, section, nil)
	}
	s.result = strconv.AppendUint(out, n, 10)
	v.value, v.datatype = s.result, value.JSON|dt&value.Xattr
	return n, nil
}
