package cluster

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/spec"
)

// PutUser makes a user or replaces one. Without credentials those of the existing user are kept; a new local user needs
// some. Roles must have been validated (package auth knows them). A spec.Invalid names what is wrong.
func (c *Cluster) PutUser(ctx context.Context, u spec.User) error {
	if err := spec.ValidateUserID("name", u.ID); err != nil {
		return err
	}
	return c.retry(ctx, func(s *State) (store.Txn, error) {
		next, old := u, s.User(u.Domain, u.ID)
		if next.Credentials == nil && old != nil {
			next.Credentials, next.PasswordChanged = old.Credentials, old.PasswordChanged
		}
		if err := s.checkUser(&next); err != nil {
			return store.Txn{}, err
		}
		key := keyUser(u.Domain, u.ID)
		return store.Txn{If: append(s.is(key), s.groupsAre(u.Groups)...), Puts: []store.Put{putJSON(key, next)}}, nil
	})
}

func (s *State) checkUser(u *spec.User) error {
	var bad spec.Invalid
	if u.Credentials == nil && u.Domain != spec.DomainExternal {
		bad = append(bad, spec.FieldError{Field: "password", Text: "Password is required for new user."})
	}
	if u.Domain == spec.DomainLocal && s.User(spec.DomainAdmin, u.ID) != nil {
		bad = append(bad, spec.FieldError{Field: "name", Text: "The name belongs to the built-in administrator."})
	}
	var missing []string
	for _, g := range u.Groups {
		if s.Group(g) == nil {
			missing = append(missing, g)
		}
	}
	if len(missing) > 0 {
		bad = append(bad, spec.FieldError{Field: "groups", Text: "Groups do not exist: " + strings.Join(missing, ",")})
	}
	if len(bad) > 0 {
		return bad
	}
	return nil
}

// groupsAre makes the condition that groups are as this state has them, so that none disappears under a new member.
func (s *State) groupsAre(groups []string) []store.Condition {
	var keys []string
	for _, g := range groups {
		if key := keyGroup(g); !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return s.is(keys...)
}

// DeleteUser forgets a user. ErrNoUser.
func (c *Cluster) DeleteUser(ctx context.Context, d spec.Domain, id string) error {
	return c.retry(ctx, func(s *State) (store.Txn, error) {
		if s.User(d, id) == nil {
			return store.Txn{}, ErrNoUser
		}
		key := keyUser(d, id)
		return store.Txn{If: s.is(key), Delete: []string{key}}, nil
	})
}

// ChangePassword gives a user other credentials. ErrNoUser.
func (c *Cluster) ChangePassword(ctx context.Context, d spec.Domain, id string, creds *spec.Credentials, now time.Time) error {
	return c.retry(ctx, func(s *State) (store.Txn, error) {
		u := s.User(d, id)
		if u == nil {
			return store.Txn{}, ErrNoUser
		}
		next := *u
		next.Credentials, next.PasswordChanged = creds, now
		key := keyUser(d, id)
		return store.Txn{If: s.is(key), Puts: []store.Put{putJSON(key, next)}}, nil
	})
}

// PutGroup makes a group or replaces one. Roles must have been validated. A spec.Invalid names what is wrong.
func (c *Cluster) PutGroup(ctx context.Context, g spec.Group) error {
	if err := spec.ValidateUserID("name", g.ID); err != nil {
		return err
	}
	return c.retry(ctx, func(s *State) (store.Txn, error) {
		key := keyGroup(g.ID)
		return store.Txn{If: s.is(key), Puts: []store.Put{putJSON(key, g)}}, nil
	})
}

// DeleteGroup forgets a group; its members lose its roles. ErrNoGroup.
func (c *Cluster) DeleteGroup(ctx context.Context, id string) error {
	for more := true; more; {
		err := c.retry(ctx, func(s *State) (store.Txn, error) {
			if s.Group(id) == nil {
				return store.Txn{}, ErrNoGroup
			}
			key := keyGroup(id)
			t := store.Txn{If: s.is(key)}
			more = s.rewriteUsers(&t, func(u *spec.User) bool {
				kept := slices.DeleteFunc(slices.Clone(u.Groups), func(g string) bool { return g == id })
				changed := len(kept) != len(u.Groups)
				u.Groups = kept
				return changed
			})
			if !more {
				t.Delete = []string{key}
			}
			return t, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// maxRewrites keeps a transaction that rewrites users within the store's limit.
const maxRewrites = store.MaxOps / 2

// rewriteUsers adds to t the users that change alters; it gets copies and tells whether it did. more reports that there are
// others for a further transaction.
func (s *State) rewriteUsers(t *store.Txn, change func(*spec.User) bool) (more bool) {
	for _, u := range s.Users {
		if !change(&u) {
			continue
		}
		if len(t.Puts) >= maxRewrites {
			return true
		}
		key := keyUser(u.Domain, u.ID)
		t.If = append(t.If, s.is(key)...)
		t.Puts = append(t.Puts, putJSON(key, u))
	}
	return false
}

// forgetRoles takes away the roles that name a bucket: they are not meant for a later bucket of the same name. more reports
// that a further transaction is needed.
func (s *State) forgetRoles(t *store.Txn, bucket string) (more bool) {
	without := func(roles []spec.Role) ([]spec.Role, bool) {
		kept := slices.DeleteFunc(slices.Clone(roles), func(r spec.Role) bool { return r.Bucket == bucket })
		return kept, len(kept) != len(roles)
	}
	more = s.rewriteUsers(t, func(u *spec.User) bool {
		kept, changed := without(u.Roles)
		u.Roles = kept
		return changed
	})
	for _, g := range s.Groups {
		kept, changed := without(g.Roles)
		if !changed {
			continue
		}
		if more = more || len(t.Puts) >= maxRewrites; more {
			break
		}
		g.Roles = kept
		t.If = append(t.If, s.is(keyGroup(g.ID))...)
		t.Puts = append(t.Puts, putJSON(keyGroup(g.ID), g))
	}
	return more
}

// SetClusterName names the cluster; the name is part of every served configuration.
func (c *Cluster) SetClusterName(ctx context.Context, name string) error {
	return c.setSettings(ctx, func(v *settingsValue) error {
		v.ClusterName = name
		return nil
	})
}

// SetMemoryQuota bounds the sum of the buckets' quotas on a node; 0 lifts the bound. ErrQuotaExceeded if it is below what
// the buckets have.
func (c *Cluster) SetMemoryQuota(ctx context.Context, mib int64) error {
	return c.setSettings(ctx, func(v *settingsValue) error {
		v.MemoryQuotaMiB = mib
		return nil
	})
}

func (c *Cluster) setSettings(ctx context.Context, change func(*settingsValue) error) error {
	return c.retry(ctx, func(s *State) (store.Txn, error) {
		old := settingsValue{s.Name, s.MemoryQuotaMiB}
		next := old
		if err := change(&next); err != nil {
			return store.Txn{}, err
		}
		if next == old {
			return store.Txn{}, nil
		}
		lower := *s
		lower.MemoryQuotaMiB = next.MemoryQuotaMiB
		if next.MemoryQuotaMiB != old.MemoryQuotaMiB {
			if err := lower.checkQuota("", 0); err != nil {
				return store.Txn{}, err
			}
		}
		return store.Txn{If: s.is(keySettings), Puts: []store.Put{putJSON(keySettings, next)}}, nil
	})
}
