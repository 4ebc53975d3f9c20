package auth

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/spec"
)

// InternalUser is the name of the node's own client. No stored user can have it: the character @ is not allowed in names.
const InternalUser = "@charpoy"

// Options of a Directory. The zero value works.
type Options struct {
	Logger *slog.Logger     // failed logins; nil = nowhere
	Now    func() time.Time // for waits between failed logins; nil = time.Now
}

// Directory knows users, groups and what their roles mean.
type Directory struct {
	now      func() time.Time
	logger   *slog.Logger
	secret   []byte // made up at each start: keys of the login cache, salts of unknown users
	internal internalUser
	roles    map[string]RoleInfo
	hashing  chan struct{} // a place for each password being hashed
	throttle throttle
	current  atomic.Pointer[snapshot]
	replace  sync.Mutex // one Replace at a time
}

type internalUser struct {
	id       *Identity
	password string
	verifier func() (*spec.Credentials, error) // made at first use
}

// snapshot is one published state of the directory.
type snapshot struct {
	version uint64
	users   map[userKey]*spec.User
	groups  map[string]*spec.Group
	list    []spec.User // what Replace was given
	glist   []spec.Group
	logins  *loginCache
}

// NewDirectory returns a directory that knows nobody but the node itself.
func NewDirectory(o Options) *Directory {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	secret := make([]byte, 32)
	password := make([]byte, 24)
	_, _ = rand.Read(secret) // never fails: the runtime ends the process first
	_, _ = rand.Read(password)
	d := &Directory{now: o.Now, logger: o.Logger, secret: secret, roles: roleIndex(), hashing: make(chan struct{}, maxHashing())}
	d.internal.id = &Identity{User: InternalUser, Domain: spec.DomainAdmin, internal: true}
	d.internal.password = hex.EncodeToString(password)
	d.internal.verifier = sync.OnceValues(func() (*spec.Credentials, error) {
		return NewCredentialsAt(d.internal.password, CheapCost())
	})
	d.throttle.init()
	d.current.Store(&snapshot{version: 1, logins: newLoginCache()})
	return d
}

// Replace publishes the users and groups. The slices and what they refer to must not be changed afterwards. Nothing happens
// if they are the ones already known; otherwise the version rises and remembered logins are forgotten.
func (d *Directory) Replace(users []spec.User, groups []spec.Group) {
	d.replace.Lock()
	defer d.replace.Unlock()
	old := d.current.Load()
	if reflect.DeepEqual(old.list, users) && reflect.DeepEqual(old.glist, groups) {
		return
	}
	next := &snapshot{
		version: old.version + 1,
		users:   make(map[userKey]*spec.User, len(users)),
		groups:  make(map[string]*spec.Group, len(groups)),
		list:    users, glist: groups,
		logins: newLoginCache(),
	}
	for i := range users {
		next.users[userKey{users[i].Domain, users[i].ID}] = &users[i]
	}
	for i := range groups {
		next.groups[groups[i].ID] = &groups[i]
	}
	d.current.Store(next)
}

// Version rises with each change of users or groups. It starts at 1.
func (d *Directory) Version() uint64 { return d.current.Load().version }

// Internal gives the name and password with which the node's own client logs in. The password lives as long as the process.
func (d *Directory) Internal() (user, password string) { return InternalUser, d.internal.password }

// Impersonate gives the identity that a connection with the privilege Impersonate wants to act as: a user's name, or ^name
// for an external user. ErrStale if there is no such user.
func (d *Directory) Impersonate(name string) (*Identity, error) {
	s := d.current.Load()
	if external, ok := strings.CutPrefix(name, "^"); ok {
		if s.users[userKey{spec.DomainExternal, external}] == nil {
			return nil, ErrStale
		}
		return &Identity{User: external, Domain: spec.DomainExternal}, nil
	}
	if u := s.find(name); u != nil {
		return &Identity{User: u.ID, Domain: u.Domain}, nil
	}
	return nil, ErrStale
}

// find looks for a user who logs in with a password: an administrator of the first boot goes before a local user.
func (s *snapshot) find(name string) *spec.User {
	if u := s.users[userKey{spec.DomainAdmin, name}]; u != nil {
		return u
	}
	return s.users[userKey{spec.DomainLocal, name}]
}

// Granted is one role that an identity has and where it comes from: Group is empty if it was granted to the user.
type Granted struct {
	Role  spec.Role
	Group string
}

// RolesOf lists the roles of an identity, its own first. ErrStale if its user is gone.
func (d *Directory) RolesOf(id *Identity) ([]Granted, error) {
	if id.internal {
		return []Granted{{Role: spec.Role{Name: "admin"}}}, nil
	}
	s := d.current.Load()
	u := s.users[userKey{id.Domain, id.User}]
	if u == nil {
		return nil, ErrStale
	}
	return s.granted(u), nil
}

func (s *snapshot) granted(u *spec.User) []Granted {
	out := make([]Granted, 0, len(u.Roles))
	for _, r := range u.Roles {
		out = append(out, Granted{Role: r})
	}
	for _, name := range u.Groups {
		g := s.groups[name]
		if g == nil {
			continue
		}
		for _, r := range g.Roles {
			out = append(out, Granted{Role: r, Group: name})
		}
	}
	return out
}

// Access works out what an identity may do in a bucket; "" asks for the cluster as a whole. The cost grows with the number
// of roles: keep the result until Version changes.
func (d *Directory) Access(id *Identity, bucket string) Access {
	s := d.current.Load()
	a := Access{version: s.version}
	switch {
	case id == nil:
	case id.internal:
		a.bucket = everything
	default:
		if u := s.users[userKey{id.Domain, id.User}]; u != nil {
			for _, g := range s.granted(u) {
				a.grant(d.roles[g.Role.Name], g.Role, bucket)
			}
		}
	}
	if id == nil || !id.internal {
		a.bucket &^= Impersonate // an administrator need not hide behind others
	}
	a.standard = a.In(spec.DefaultScope, spec.DefaultCollection)
	a.union = a.bucket
	for _, p := range a.narrow {
		a.union |= p
	}
	return a
}

func (a *Access) grant(info RoleInfo, r spec.Role, bucket string) {
	a.bucket |= info.node
	if bucket == "" || info.Params > 0 && r.Bucket != "*" && r.Bucket != bucket {
		return
	}
	a.bucket |= info.whole
	if r.Scope == "" {
		a.bucket |= info.bucket
		return
	}
	if a.narrow == nil {
		a.narrow = make(map[place]Privilege)
	}
	a.narrow[place{r.Scope, r.Collection}] |= info.bucket
}

// CanGrant reports whether an identity may give or take these roles: full administrators are made by full administrators
// only, and other roles over users by who has SecurityWrite.
func (d *Directory) CanGrant(id *Identity, roles []spec.Role) bool {
	a := d.Access(id, "")
	if a.Has(Administrator) {
		return true
	}
	return !slices.ContainsFunc(roles, func(r spec.Role) bool {
		info := d.roles[r.Name]
		return info.node&Administrator != 0 || info.node&(UsersRead|ClusterWrite) != 0 && !a.Has(SecurityWrite)
	})
}

// mac is a keyed hash under a key that lives as long as the process.
func (d *Directory) mac(parts ...string) []byte {
	m := hmac.New(sha256.New, d.secret)
	var length [4]byte
	for _, p := range parts {
		length[0], length[1], length[2], length[3] = byte(len(p)>>24), byte(len(p)>>16), byte(len(p)>>8), byte(len(p))
		m.Write(length[:])
		m.Write([]byte(p))
	}
	return m.Sum(nil)
}
