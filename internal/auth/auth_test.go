package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/spec"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func user(tb testing.TB, d spec.Domain, id, password, roles string) spec.User {
	tb.Helper()
	u := spec.User{Domain: d, ID: id}
	var err error
	if u.Roles, err = ParseRoles(roles); err != nil {
		tb.Fatal(err)
	}
	if password != "" {
		if u.Credentials, err = NewCredentialsAt(password, CheapCost()); err != nil {
			tb.Fatal(err)
		}
	}
	return u
}

// Names and passwords that fit give an identity; nothing else does, and all else looks alike.
func TestCheckPassword(t *testing.T) {
	d := NewDirectory(Options{})
	d.Replace([]spec.User{
		user(t, spec.DomainAdmin, "Administrator", "password", "admin"),
		user(t, spec.DomainLocal, "app", "päss:wörd", ""),
		user(t, spec.DomainExternal, "ext", "", ""),
	}, nil)
	f := func(name, password string, want error, domain spec.Domain) {
		t.Helper()
		id, err := d.CheckPassword(t.Context(), name, password, "10.0.0.1:"+fmt.Sprint(len(name)))
		if !errors.Is(err, want) || (err == nil) != (id != nil) {
			t.Errorf("%s/%s: %v, %v, want %v", name, password, id, err, want)
		} else if id != nil && (id.User != name || id.Domain != domain) {
			t.Errorf("%s/%s is %+v", name, password, id)
		}
	}
	for range 2 { // the second time from the cache
		f("Administrator", "password", nil, spec.DomainAdmin)
		f("app", "päss:wörd", nil, spec.DomainLocal)
	}
	f("app", "password", ErrBadCredentials, "")
	f("app", "", ErrBadCredentials, "")
	f("nobody", "password", ErrBadCredentials, "")
	f("", "", ErrBadCredentials, "")
	f("ext", "", ErrBadCredentials, "")
	f("app", strings.Repeat("x", maxPassword+1), ErrBadCredentials, "")
	name, password := d.Internal()
	f(name, password, nil, spec.DomainAdmin)
	f(name, password+"x", ErrBadCredentials, "")
}

// PLAIN takes NUL separated parts and no foreign authzid.
func TestCheckPlain(t *testing.T) {
	d := NewDirectory(Options{})
	d.Replace([]spec.User{user(t, spec.DomainLocal, "u", "p", "")}, nil)
	for message, want := range map[string]error{
		"\x00u\x00p":     nil,
		"u\x00u\x00p":    nil,
		"v\x00u\x00p":    ErrBadCredentials,
		"\x00u\x00q":     ErrBadCredentials,
		"u\x00p":         ErrBadCredentials,
		"\x00u\x00p\x00": ErrBadCredentials,
		"":               ErrBadCredentials,
	} {
		if _, err := d.CheckPlain(t.Context(), []byte(message), "h:1"); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", message, err, want)
		}
	}
}

// A remembered login ends with the password, and Replace of the same users changes nothing.
func TestReplaceForgetsLogins(t *testing.T) {
	d := NewDirectory(Options{})
	old := user(t, spec.DomainLocal, "u", "old", "")
	d.Replace([]spec.User{old}, nil)
	version := d.Version()
	if _, err := d.CheckPassword(t.Context(), "u", "old", "h:1"); err != nil {
		t.Fatal(err)
	}
	d.Replace([]spec.User{old}, nil)
	if d.Version() != version {
		t.Error("the version rose although nothing changed")
	}
	d.Replace([]spec.User{user(t, spec.DomainLocal, "u", "new", "")}, nil)
	if d.Version() <= version {
		t.Errorf("version %d after a change, %d before", d.Version(), version)
	}
	if _, err := d.CheckPassword(t.Context(), "u", "old", "h:1"); !errors.Is(err, ErrBadCredentials) {
		t.Errorf("the old password: %v", err)
	}
	if _, err := d.CheckPassword(t.Context(), "u", "new", "h:1"); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

// The cache of logins is bounded, and a login that has been verified needs no place to hash.
func TestLoginCache(t *testing.T) {
	c := newLoginCache()
	for i := range 3 * maxCached {
		c.put(fmt.Sprint(i), &Identity{})
	}
	if len(c.mu.m) != maxCached {
		t.Errorf("%d logins are remembered, want %d", len(c.mu.m), maxCached)
	}
	d := NewDirectory(Options{})
	d.Replace([]spec.User{user(t, spec.DomainLocal, "u", "p", "")}, nil)
	if _, err := d.CheckPassword(t.Context(), "u", "p", "h:1"); err != nil {
		t.Fatal(err)
	}
	for range maxHashing() {
		d.hashing <- struct{}{}
	}
	if _, err := d.CheckPassword(t.Context(), "u", "p", "h:1"); err != nil {
		t.Errorf("a remembered login had to wait: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.CheckPassword(ctx, "u", "other", "h:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("a login that cannot be hashed: %v, want Canceled", err)
	}
}

// Failures cost waiting time, doubling, by address and user; success and time forgive.
func TestThrottle(t *testing.T) {
	c := newClock()
	var log bytes.Buffer
	d := NewDirectory(Options{Now: c.now, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	d.Replace([]spec.User{user(t, spec.DomainLocal, "u", "p", ""), user(t, spec.DomainLocal, "v", "p", "")}, nil)
	f := func(name, password, remote string, want error) {
		t.Helper()
		if _, err := d.CheckPassword(t.Context(), name, password, remote); !errors.Is(err, want) {
			t.Errorf("%s/%s from %s: %v, want %v", name, password, remote, err, want)
		}
	}
	for i := range freeFailures + 1 {
		f("u", "wrong", fmt.Sprintf("10.0.0.1:%d", i+1), ErrBadCredentials)
	}
	f("u", "wrong", "10.0.0.1:99", ErrTooManyFailures)
	f("u", "p", "10.0.0.1:99", ErrTooManyFailures)
	f("u", "p", "[::ffff:10.0.0.1]:99", ErrTooManyFailures)
	f("u", "p", "10.0.0.2:99", nil)
	f("v", "p", "10.0.0.1:99", nil)
	c.advance(firstWait)
	f("u", "wrong", "10.0.0.1:1", ErrBadCredentials)
	c.advance(firstWait)
	f("u", "p", "10.0.0.1:1", ErrTooManyFailures) // the wait has doubled
	c.advance(firstWait)
	f("u", "p", "10.0.0.1:1", nil)
	for range freeFailures {
		f("u", "wrong", "10.0.0.1:1", ErrBadCredentials) // success has forgiven
	}
	for range 20 {
		c.advance(longestWait)
		f("u", "wrong", "10.0.0.1:1", ErrBadCredentials)
	}
	c.advance(longestWait - time.Millisecond)
	f("u", "p", "10.0.0.1:1", ErrTooManyFailures)
	c.advance(time.Millisecond)
	f("u", "p", "10.0.0.1:1", nil)
	if text := log.String(); strings.Count(text, "login refused") < 20 || !strings.Contains(text, "user=u") {
		t.Errorf("the log says:\n%s", text)
	}
}

// IPv6 addresses count by network; the table of failing pairs and the log stay bounded under a flood.
func TestThrottleBounds(t *testing.T) {
	if keyOf("[2001:db8::1]:1", "u") != keyOf("[2001:db8::2]:2", "u") || keyOf("[2001:db8::1]:1", "u") == keyOf("[2001:db8:0:1::1]:1", "u") {
		t.Error("IPv6 addresses do not count by their /64")
	}
	c := newClock()
	var tab throttle
	tab.init()
	for range freeFailures + 3 {
		tab.failed(c.now(), "victim:1", "u")
	}
	logged := 0
	for i := range 3 * maxThrottled {
		tab.failed(c.now(), fmt.Sprint(i), "x")
		if ok, _ := tab.mayLog(c.now()); ok {
			logged++
		}
	}
	if n := len(tab.mu.pairs); n > maxThrottled {
		t.Errorf("%d pairs are remembered, want at most %d", n, maxThrottled)
	}
	if err := tab.check(c.now(), "victim:1", "u"); !errors.Is(err, ErrTooManyFailures) {
		t.Errorf("a flood made a failing pair be forgotten: %v", err)
	}
	if logged != maxLogLines {
		t.Errorf("%d lines in a second, want %d", logged, maxLogLines)
	}
	c.advance(time.Second)
	if ok, left := tab.mayLog(c.now()); !ok || left != 3*maxThrottled-maxLogLines {
		t.Errorf("the next line: %v, %d were left out", ok, left)
	}
}

// Passwords that cannot be taken are refused; hashes from elsewhere cannot make us work without bound.
func TestCredentials(t *testing.T) {
	for _, p := range []string{"", "a\x00b", "tab\t", strings.Repeat("x", maxPassword+1)} {
		if _, err := NewCredentialsAt(p, CheapCost()); !errors.Is(err, ErrBadPassword) {
			t.Errorf("%q: %v, want ErrBadPassword", p, err)
		}
	}
	c, err := NewCredentials("p")
	if err != nil {
		t.Fatal(err)
	}
	if !matches(c.Hash, "p") || matches(c.Hash, "q") {
		t.Errorf("the hash %s does not tell p from q", c.Hash)
	}
	if c.ScramSHA512.Iterations < 4096 || len(c.ScramSHA512.Salt) < 16 || len(c.ScramSHA1.StoredKey) != 20 ||
		len(c.ScramSHA256.StoredKey) != 32 || len(c.ScramSHA512.ServerKey) != 64 {
		t.Errorf("verifiers: %+v", c)
	}
	if strings.Contains(fmt.Sprintf("%+v", c), `"p"`) {
		t.Error("the credentials show the password")
	}
	for _, h := range []string{
		"", "$", "$argon2id$v=19$m=9216,t=4,p=1$AAAA", "$argon2i$v=19$m=9216,t=4,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=18$m=9216,t=4,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=4294967295,t=4,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=9216,t=4000000,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=9216,t=4,p=9$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
		"$argon2id$v=19$m=9216,t=4,p=1$!$aGFzaGhhc2hoYXNoaGFzaA", "$argon2id$v=19$m=9216,t=4,p=1$c2FsdHNhbHQ$",
	} {
		if _, _, _, ok := parseHash(h); ok {
			t.Errorf("the hash %q was accepted", h)
		}
	}
}
