package mcserver

import (
	"errors"
	"net"
	"sync"
	"time"
)

// logThrottle remembers which addresses have been logged lately.
type logThrottle struct {
	mu   sync.Mutex
	seen map[string]time.Time // last line by address
}

// allow reports whether a line about an address may be written at now: one a minute.
func (t *logThrottle) allow(address string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.seen[address]; ok && now.Sub(last) < time.Minute {
		return false
	}
	if t.seen == nil || len(t.seen) >= maxLogged {
		t.seen = map[string]time.Time{}
	}
	t.seen[address] = now
	return true
}

// logMalformed says why a connection is closed because of what it sent.
func (c *conn) logMalformed(err error) {
	remote := c.remote()
	address, _, e := net.SplitHostPort(remote)
	if e != nil {
		address = remote
	}
	if errors.Is(err, errParse) {
		c.server.logger.Error("panic while parsing a request", "connection", c.id, "remote", remote, "error", err)
		return
	}
	if c.server.throttle.allow(address, time.Now()) {
		c.server.logger.Warn("connection closed: what it sent is not the protocol of this port",
			"connection", c.id, "remote", remote, "error", err)
	}
}
