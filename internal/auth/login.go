package auth

import (
	"bytes"
	"context"
	"crypto/subtle"
	"sync"

	"github.com/charpoy/charpoy/internal/spec"
)

// CheckPassword verifies a name and a password that came from the address remote (host:port or host). Verified logins are
// remembered under a keyed hash, so that a client that sends its password with each HTTP request pays for the hashing once.
// ErrBadCredentials, ErrTooManyFailures, or the context's error while waiting for a turn to hash.
func (d *Directory) CheckPassword(ctx context.Context, user, password, remote string) (*Identity, error) {
	if err := d.throttle.check(d.now(), remote, user); err != nil {
		return nil, err
	}
	id, err := d.verify(ctx, user, password)
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	d.outcome(remote, user, err == nil)
	return id, err
}

// CheckPlain verifies the message of the SASL mechanism PLAIN (RFC 4616): [authzid] NUL user NUL password. Acting for
// somebody else by authzid is refused.
func (d *Directory) CheckPlain(ctx context.Context, message []byte, remote string) (*Identity, error) {
	parts := bytes.Split(message, []byte{0})
	if len(message) > maxMessage || len(parts) != 3 || len(parts[0]) > 0 && !bytes.Equal(parts[0], parts[1]) {
		return nil, ErrBadCredentials
	}
	return d.CheckPassword(ctx, string(parts[1]), string(parts[2]), remote)
}

// outcome tells the throttle about a login and the log about a failed one.
func (d *Directory) outcome(remote, user string, ok bool) {
	if ok {
		d.throttle.succeeded(remote, user)
		return
	}
	now := d.now()
	failures, wait := d.throttle.failed(now, remote, user)
	if log, suppressed := d.throttle.mayLog(now); log {
		d.logger.Warn("login refused", "user", printable(user), "remote", remote, "failures", failures, "wait", wait,
			"not_logged", suppressed)
	}
}

// printable bounds what a stranger can write into the log.
func printable(user string) string {
	if len(user) > spec.MaxUserName {
		return user[:spec.MaxUserName] + "…"
	}
	return user
}

func (d *Directory) verify(ctx context.Context, user, password string) (*Identity, error) {
	if user == InternalUser {
		if subtle.ConstantTimeCompare([]byte(password), []byte(d.internal.password)) != 1 {
			return nil, ErrBadCredentials
		}
		return d.internal.id, nil
	}
	s := d.current.Load()
	key := string(d.mac("login", user, password))
	if id := s.logins.get(key); id != nil {
		return id, nil
	}
	u := s.find(user)
	hash := "" // of nobody: the same work is done
	if u != nil && u.Credentials != nil {
		hash = u.Credentials.Hash
	}
	select {
	case d.hashing <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ok := len(password) <= maxPassword && matches(hash, password)
	<-d.hashing
	if !ok || u == nil {
		return nil, ErrBadCredentials
	}
	id := &Identity{User: u.ID, Domain: u.Domain}
	s.logins.put(key, id)
	return id, nil
}

// loginCache remembers verified logins of one snapshot. It forgets any one when it is full: a cache that is too small costs
// time, never safety.
type loginCache struct {
	mu struct {
		sync.Mutex
		m map[string]*Identity
	}
}

func newLoginCache() *loginCache {
	c := &loginCache{}
	c.mu.m = make(map[string]*Identity)
	return c
}

func (c *loginCache) get(key string) *Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.m[key]
}

func (c *loginCache) put(key string, id *Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.mu.m) >= maxCached {
		for k := range c.mu.m {
			delete(c.mu.m, k)
			break
		}
	}
	c.mu.m[key] = id
}
