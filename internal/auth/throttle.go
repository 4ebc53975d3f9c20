package auth

import (
	"net/netip"
	"sync"
	"time"
)

// throttle slows down guessing. It counts failures in a row for each pair of address and user; after freeFailures of them an
// attempt is refused unseen until a wait is over that doubles with each further failure. A success forgets the pair.
//
// Per pair, not per user: a stranger must not be able to lock a user out from elsewhere. Not per address: clients of many
// users may share one. IPv6 addresses count by their /64, which is what one customer has.
type throttle struct {
	mu struct {
		sync.Mutex
		pairs map[throttleKey]*failing
		// the log's own limit: lines written in the second that began at since, and those left out
		since      time.Time
		lines      int
		suppressed int
	}
}

type throttleKey struct{ addr, user string }

type failing struct {
	failures int
	last     time.Time
	until    time.Time // attempts before it are refused
}

func (t *throttle) init() { t.mu.pairs = make(map[throttleKey]*failing) }

func keyOf(remote, user string) throttleKey {
	if len(user) > 128 { // longer ones do not exist; they share a place
		user = user[:128]
	}
	addr := remote
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		addr = network(ap.Addr())
	} else if a, err := netip.ParseAddr(remote); err == nil {
		addr = network(a)
	}
	return throttleKey{addr, user}
}

func network(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// check gives ErrTooManyFailures while the pair has to wait.
func (t *throttle) check(now time.Time, remote, user string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.mu.pairs[keyOf(remote, user)]
	if f != nil && now.Before(f.until) {
		return ErrTooManyFailures
	}
	return nil
}

// failed counts a failure and gives how many there were in a row and how long the pair has to wait.
func (t *throttle) failed(now time.Time, remote, user string) (failures int, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := keyOf(remote, user)
	f := t.mu.pairs[key]
	if f == nil || now.Sub(f.last) > forgetFailing {
		if f == nil && len(t.mu.pairs) >= maxThrottled {
			t.evictLocked(now)
		}
		f = &failing{}
		t.mu.pairs[key] = f
	}
	f.failures++
	f.last = now
	if over := f.failures - freeFailures; over > 0 {
		wait = longestWait
		if over < 8 {
			wait = min(longestWait, firstWait<<(over-1))
		}
		f.until = now.Add(wait)
	}
	return f.failures, wait
}

func (t *throttle) succeeded(remote, user string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.mu.pairs, keyOf(remote, user))
}

// evictLocked makes room: of a few pairs it forgets those that are old, or else the one that failed least. Somebody who
// floods the table with made-up names pushes out mostly his own.
func (t *throttle) evictLocked(now time.Time) {
	var least throttleKey
	var best *failing
	looked := 0
	for k, f := range t.mu.pairs {
		if now.Sub(f.last) > forgetFailing {
			delete(t.mu.pairs, k)
		} else if best == nil || f.failures < best.failures {
			least, best = k, f
		}
		if looked++; looked == 32 {
			break
		}
	}
	if len(t.mu.pairs) >= maxThrottled {
		delete(t.mu.pairs, least)
	}
}

// mayLog reports whether a line may be logged now, and how many were left out since the last one.
func (t *throttle) mayLog(now time.Time) (ok bool, suppressed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.mu.since) >= time.Second {
		t.mu.since, t.mu.lines = now, 0
	}
	if t.mu.lines == maxLogLines {
		t.mu.suppressed++
		return false, 0
	}
	t.mu.lines++
	suppressed, t.mu.suppressed = t.mu.suppressed, 0
	return true, suppressed
}
