package cluster

import (
	"errors"
	"testing"
	"time"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/spec"
)

// Users and groups come and go; what refers to them follows.
func TestUsersAndGroups(t *testing.T) {
	ctx := within(t)
	c, _, _ := start(t, store.NewMemory(), firstBoot())
	creds := &spec.Credentials{Hash: "h"}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	field := func(err error, want string) {
		t.Helper()
		var bad spec.Invalid
		if !errors.As(err, &bad) || bad[0].Field != want {
			t.Errorf("got %v, want the field %s", err, want)
		}
	}
	must(c.PutGroup(ctx, spec.Group{ID: "g", Roles: []spec.Role{{Name: "data_reader", Bucket: "default"}, {Name: "ro_admin"}}}))
	u := spec.User{
		Domain: spec.DomainLocal, ID: "app", Name: "App", Groups: []string{"g"},
		Roles: []spec.Role{{Name: "data_writer", Bucket: "default"}, {Name: "data_writer", Bucket: "*"}},
	}
	field(c.PutUser(ctx, u), "password")
	u.Credentials = creds
	must(c.PutUser(ctx, u))
	u.Credentials, u.Name = nil, "Changed"
	must(c.PutUser(ctx, u))
	if got := c.State().User(spec.DomainLocal, "app"); got == nil || got.Name != "Changed" || got.Credentials.Hash != "h" {
		t.Errorf("after a change without a password: %+v", got)
	}
	field(c.PutUser(ctx, spec.User{Domain: spec.DomainLocal, ID: "Administrator", Credentials: creds}), "name")
	field(c.PutUser(ctx, spec.User{Domain: spec.DomainLocal, ID: "x", Credentials: creds, Groups: []string{"none"}}), "groups")
	field(c.PutUser(ctx, spec.User{Domain: spec.DomainLocal, ID: "a@b", Credentials: creds}), "name")
	field(c.PutGroup(ctx, spec.Group{ID: ""}), "name")
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	must(c.ChangePassword(ctx, spec.DomainLocal, "app", &spec.Credentials{Hash: "new"}, now))
	if got := c.State().User(spec.DomainLocal, "app"); got.Credentials.Hash != "new" || !got.PasswordChanged.Equal(now) {
		t.Errorf("after a change of password: %+v", got)
	}
	must(c.DropBucket(ctx, "default"))
	if got := c.State().User(spec.DomainLocal, "app").Roles; len(got) != 1 || got[0].Bucket != "*" {
		t.Errorf("roles after the bucket was dropped: %v", got)
	}
	if got := c.State().Group("g").Roles; len(got) != 1 || got[0].Name != "ro_admin" {
		t.Errorf("roles of the group after the bucket was dropped: %v", got)
	}
	must(c.DeleteGroup(ctx, "g"))
	if got := c.State().User(spec.DomainLocal, "app").Groups; len(got) != 0 || c.State().Group("g") != nil {
		t.Errorf("groups after the group was deleted: %v", got)
	}
	must(c.DeleteUser(ctx, spec.DomainLocal, "app"))
	for _, f := range []struct{ got, want error }{
		{c.DeleteUser(ctx, spec.DomainLocal, "app"), ErrNoUser},
		{c.ChangePassword(ctx, spec.DomainLocal, "app", creds, now), ErrNoUser},
		{c.DeleteGroup(ctx, "g"), ErrNoGroup},
	} {
		if !errors.Is(f.got, f.want) {
			t.Errorf("got %v, want %v", f.got, f.want)
		}
	}
}

// More users than one transaction can rewrite do not stop a drop.
func TestManyUsers(t *testing.T) {
	ctx := within(t)
	boot := firstBoot()
	for i := range maxRewrites + 10 {
		boot.Users = append(boot.Users, spec.User{
			Domain: spec.DomainExternal, ID: string(rune(0x4e00 + i)), Groups: []string{"g"},
			Roles: []spec.Role{{Name: "data_reader", Bucket: "default"}},
		})
	}
	c, _, _ := start(t, store.NewMemory(), boot)
	if err := c.PutGroup(ctx, spec.Group{ID: "g"}); err != nil {
		t.Fatal(err)
	}
	if err := c.DropBucket(ctx, "default"); err != nil {
		t.Fatal(err)
	}
	if err := c.DeleteGroup(ctx, "g"); err != nil {
		t.Fatal(err)
	}
	for _, u := range c.State().Users[1:] {
		if len(u.Roles)+len(u.Groups) > 0 {
			t.Fatalf("user %s kept %v %v", u.ID, u.Roles, u.Groups)
		}
	}
}
