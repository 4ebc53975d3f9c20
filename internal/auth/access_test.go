package auth

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/charpoy/charpoy/internal/spec"
)

// Role lists are read as the management API writes them, and written back the same.
func TestParseRoles(t *testing.T) {
	f := func(in string, want ...spec.Role) {
		t.Helper()
		got, err := ParseRoles(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
		if err := ValidateRoles(got); err != nil {
			t.Errorf("%q: valid when read, not afterwards: %v", in, err)
		}
	}
	f("")
	f("admin", spec.Role{Name: "admin"})
	f(" admin , ro_admin,admin", spec.Role{Name: "admin"}, spec.Role{Name: "ro_admin"})
	f("data_reader[*]", spec.Role{Name: "data_reader", Bucket: "*"})
	f("data_reader[b],data_writer[b:s],data_reader[b:s:c]", spec.Role{Name: "data_reader", Bucket: "b"},
		spec.Role{Name: "data_writer", Bucket: "b", Scope: "s"}, spec.Role{Name: "data_reader", Bucket: "b", Scope: "s", Collection: "c"})
	f("data_reader[b:*],data_reader[b:s:*],data_reader[b:*:*]", spec.Role{Name: "data_reader", Bucket: "b"},
		spec.Role{Name: "data_reader", Bucket: "b", Scope: "s"})
	f("bucket_full_access[a%20b.c]", spec.Role{Name: "bucket_full_access", Bucket: "a%20b.c"})
}

// What is unknown or malformed is named in the error, all of it.
func TestParseRolesErrors(t *testing.T) {
	f := func(in string, bad ...string) {
		t.Helper()
		_, err := ParseRoles(in)
		var e *RoleError
		if !errors.As(err, &e) {
			t.Errorf("%q: %v, want a RoleError", in, err)
			return
		}
		if diff := cmp.Diff(bad, e.Roles); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
	f("x", "x")
	f("admin,x[b],data_reader", "x[b]", "data_reader")
	f("admin[*]", "admin[*]")
	f("data_reader[]", "data_reader[]")
	f("data_reader[b", "data_reader[b")
	f("data_reader[b]c", "data_reader[b]c")
	f("data_reader[b:s:c:d]", "data_reader[b:s:c:d]")
	f("data_reader[*:s]", "data_reader[*:s]")
	f("data_reader[b:*:c]", "data_reader[b:*:c]")
	f("data_reader[b::c]", "data_reader[b::c]")
	f("bucket_admin[b:s]", "bucket_admin[b:s]")
	f("scope_admin[b:s:c]", "scope_admin[b:s:c]")
	f("data_reader[b,c]", "data_reader[b,c]")
	f("data_reader[ü]", "data_reader[ü]")
	f("query_select[b]", "query_select[b]")
	want := "Cannot assign roles to user because the following roles are unknown, malformed or role parameters are undefined: [x]"
	if _, err := ParseRoles("x"); err.Error() != want {
		t.Errorf("text %q, want %q", err, want)
	}
}

func directory(t *testing.T, users []spec.User, groups ...spec.Group) *Directory {
	t.Helper()
	d := NewDirectory(Options{})
	d.Replace(users, groups)
	return d
}

// Each role grants what the table of wire.md 19.2 says, where it says so, and nothing elsewhere.
func TestAccessByRole(t *testing.T) {
	f := func(roles, bucket string, has, lacks Privilege) {
		t.Helper()
		d := directory(t, []spec.User{user(t, spec.DomainLocal, "u", "", roles)})
		a := d.Access(&Identity{User: "u", Domain: spec.DomainLocal}, bucket)
		if !a.Has(has) {
			t.Errorf("%s in %q lacks %v", roles, bucket, has&^a.bucket)
		}
		if a.bucket&lacks != 0 {
			t.Errorf("%s in %q has %v", roles, bucket, a.bucket&lacks)
		}
	}
	const data = documents
	f("admin", "b", everything&^Impersonate, Impersonate)
	f("admin", "", Administrator|SecurityWrite|BucketCreate, Impersonate)
	f("ro_admin", "b", PoolRead|BucketRead|UsersRead|MetricsRead|SimpleStats|Stats, data|BucketWrite|UsersWrite|ClusterWrite)
	f("cluster_admin", "b", ClusterWrite|BucketCreate|BucketWrite|BucketFlush|CollectionsWrite, data|UsersRead|UsersWrite|SecurityWrite)
	f("security_admin", "b", UsersRead|UsersWrite|SecurityWrite, data|BucketRead|BucketWrite|Administrator)
	f("ro_security_admin", "", UsersRead, UsersWrite|SecurityWrite)
	f("user_admin_local", "", UsersRead|UsersWrite, SecurityWrite|Administrator)
	f("bucket_admin[b]", "b", BucketRead|BucketWrite|BucketFlush|CollectionsWrite, data|BucketCreate)
	f("bucket_admin[b]", "c", PoolRead, data|BucketRead|BucketWrite|BucketFlush)
	f("scope_admin[b]", "b", CollectionsWrite, data|BucketWrite)
	f("bucket_full_access[b]", "b", data|BucketFlush|BucketRead|ViewsRead|ViewsWrite|DcpProducer, BucketWrite|CollectionsWrite|Stats)
	f("bucket_full_access[*]", "any", data, BucketWrite)
	f("data_reader[b]", "b", Read|RangeScan|Settings|SystemSettings, Insert|Upsert|Delete|MetaWrite|SimpleStats|BucketFlush)
	f("data_reader[b]", "c", PoolRead, data|Settings)
	f("data_writer[b]", "b", Insert|Upsert|Delete|Settings|SystemSettings, Read|RangeScan|MetaWrite)
	f("data_dcp_reader[b]", "b", Read|DcpProducer|DcpStream|SystemXattrRead|IdleConnection, Insert|Upsert|Delete)
	f("data_backup[b]", "b", data|MetaWrite|CollectionsWrite, BucketWrite|Stats)
	f("data_monitoring[b]", "b", SimpleStats, data)
	f("views_admin[b]", "b", ViewsRead|ViewsWrite|Read, Insert|Upsert|Delete)
	f("views_reader[b]", "b", ViewsRead|Read, ViewsWrite|Insert|Upsert|Delete)
	f("external_stats_reader", "b", MetricsRead, data|BucketRead|UsersRead)
	f("mobile_sync_gateway[b]", "b", data|SystemXattrRead|SystemXattrWrite|Settings|DcpProducer, BucketWrite|Stats)
	for _, r := range Roles() {
		if r.Title == "" || r.Description == "" || r.node&anyone != anyone && r.Name != "admin" {
			t.Errorf("role %s: incomplete", r.Name)
		}
	}
}

// Privileges of a scope or collection hold there only; the most specific place has those of the wider ones too.
func TestAccessNarrow(t *testing.T) {
	d := directory(t, []spec.User{user(t, spec.DomainLocal, "u", "", "data_monitoring[b],data_reader[b:s],data_writer[b:s:c]")})
	a := d.Access(&Identity{User: "u", Domain: spec.DomainLocal}, "b")
	f := func(scope, collection string, has, lacks Privilege) {
		t.Helper()
		if got := a.In(scope, collection); got&has != has || got&lacks != 0 {
			t.Errorf("in %s.%s: %v, want %v without %v", scope, collection, got, has, lacks)
		}
	}
	f("s", "c", Read|Upsert|SimpleStats, MetaWrite)
	f("s", "d", Read|SimpleStats, Upsert)
	f("t", "c", SimpleStats, Read|Upsert)
	if a.Has(Read) || a.HasDefault(Read) || a.HasAny(Read|Upsert) || !a.Somewhere(Read|Upsert) || !a.MaySelect() || !a.Has(Settings) {
		t.Errorf("in the bucket: %+v", a)
	}
	only := directory(t, []spec.User{user(t, spec.DomainLocal, "u", "", "data_reader[b:_default:_default]")})
	a = only.Access(&Identity{User: "u", Domain: spec.DomainLocal}, "b")
	if !a.HasDefault(Read) || a.Has(Read) || !a.MaySelect() || !a.Sees("_default", "_default") || a.Sees("_default", "x") {
		t.Errorf("with a role for the default collection: %+v", a)
	}
	if none := only.Access(&Identity{User: "u", Domain: spec.DomainLocal}, "c"); none.MaySelect() {
		t.Error("another bucket may be selected")
	}
}

// Groups grant, deletion takes all away, impersonation finds the same user as a login.
func TestIdentities(t *testing.T) {
	u := user(t, spec.DomainLocal, "u", "", "")
	u.Groups = []string{"readers", "gone"}
	x := user(t, spec.DomainExternal, "u", "", "data_writer[b]")
	d := directory(t, []spec.User{u, x, user(t, spec.DomainAdmin, "root", "", "admin"), user(t, spec.DomainLocal, "root", "", "")},
		spec.Group{ID: "readers", Roles: []spec.Role{{Name: "data_reader", Bucket: "b"}}})
	id := &Identity{User: "u", Domain: spec.DomainLocal}
	if a := d.Access(id, "b"); !a.Has(Read) || a.Has(Upsert) {
		t.Errorf("by group: %v", a.bucket)
	}
	roles, err := d.RolesOf(id)
	if diff := cmp.Diff([]Granted{{spec.Role{Name: "data_reader", Bucket: "b"}, "readers"}}, roles); err != nil || diff != "" {
		t.Errorf("RolesOf: %v (-want +got):\n%s", err, diff)
	}
	for name, want := range map[string]spec.Domain{"u": spec.DomainLocal, "^u": spec.DomainExternal, "root": spec.DomainAdmin} {
		if got, err := d.Impersonate(name); err != nil || got.Domain != want || got.String() != name {
			t.Errorf("Impersonate(%q) = %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "^", "nobody", "^nobody", InternalUser} {
		if got, err := d.Impersonate(name); !errors.Is(err, ErrStale) {
			t.Errorf("Impersonate(%q) = %v, %v, want ErrStale", name, got, err)
		}
	}
	if a := d.Access(d.internal.id, "b"); !a.Has(Impersonate | Read) {
		t.Error("the node itself may not impersonate")
	}
	d.Replace(nil, nil)
	if a := d.Access(id, "b"); a.bucket != 0 || a.MaySelect() || a.Version() != d.Version() {
		t.Errorf("a deleted user may %v", a.bucket)
	}
	if _, err := d.RolesOf(id); !errors.Is(err, ErrStale) {
		t.Errorf("RolesOf a deleted user: %v, want ErrStale", err)
	}
	if a := d.Access(nil, "b"); a.bucket != 0 {
		t.Errorf("nobody may %v", a.bucket)
	}
}

// Nobody can give what would make him more than he is.
func TestCanGrant(t *testing.T) {
	f := func(who, what string, want bool) {
		t.Helper()
		d := directory(t, []spec.User{user(t, spec.DomainLocal, "u", "", who)})
		roles, err := ParseRoles(what)
		if err != nil {
			t.Fatal(err)
		}
		if got := d.CanGrant(&Identity{User: "u", Domain: spec.DomainLocal}, roles); got != want {
			t.Errorf("%s may grant %s: %v, want %v", who, what, got, want)
		}
	}
	f("admin", "admin", true)
	f("security_admin", "admin", false)
	f("security_admin", "security_admin,cluster_admin,data_reader[*]", true)
	f("user_admin_local", "data_reader[*],bucket_admin[b]", true)
	f("user_admin_local", "security_admin", false)
	f("user_admin_local", "ro_admin", false)
	f("user_admin_local", "cluster_admin", false)
	f("user_admin_local", "admin", false)
}

// Names of privileges are complete, and lists of them are readable.
func TestPrivilegeNames(t *testing.T) {
	if got := (Read | Upsert | Impersonate | MetricsRead).String(); got != "Read|Upsert|Impersonate|MetricsRead" {
		t.Errorf("String() = %q", got)
	}
	var granted Privilege
	for _, r := range Roles() {
		if r.Name != "admin" {
			granted |= r.node | r.bucket | r.whole
		}
	}
	for bit := range 64 {
		if p := Privilege(1) << bit; granted&p != 0 && p.String() == "" {
			t.Errorf("bit %d has no name", bit)
		}
	}
}
