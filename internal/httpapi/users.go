package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/spec"
)

func (s *Server) whoami(c *call) error {
	granted, err := s.Auth.RolesOf(c.id)
	if err != nil {
		return err
	}
	roles := []any{}
	for _, g := range granted {
		roles = append(roles, roleJSON(g.Role))
	}
	writeJSON(c.w, http.StatusOK, map[string]any{"id": c.id.User, "domain": c.id.Domain, "roles": roles})
	return nil
}

// roleJSON describes a granted role.
func roleJSON(r spec.Role) map[string]any {
	out := map[string]any{"role": r.Name}
	if r.Bucket == "" {
		return out
	}
	out["bucket_name"] = r.Bucket
	info, _ := auth.FindRole(r.Name)
	for depth, param := range map[int][2]string{2: {"scope_name", r.Scope}, 3: {"collection_name", r.Collection}} {
		if info.Params >= depth {
			out[param[0]] = param[1]
			if param[1] == "" {
				out[param[0]] = "*"
			}
		}
	}
	return out
}

func (s *Server) listRoles(c *call) error {
	out := []any{}
	for _, r := range auth.Roles() {
		one := map[string]any{"role": r.Name, "name": r.Title, "desc": r.Description}
		for depth, param := range []string{"bucket_name", "scope_name", "collection_name"} {
			if r.Params > depth {
				one[param] = "*"
			}
		}
		out = append(out, one)
	}
	writeJSON(c.w, http.StatusOK, out)
	return nil
}

// userJSON describes a user with all roles, those of groups too, and where each comes from.
func userJSON(st *cluster.State, u *spec.User) map[string]any {
	type origin = map[string]string
	roles := []any{}
	origins := map[spec.Role][]origin{}
	var order []spec.Role
	add := func(r spec.Role, o origin) {
		if origins[r] == nil {
			order = append(order, r)
		}
		origins[r] = append(origins[r], o)
	}
	for _, r := range u.Roles {
		add(r, origin{"type": "user"})
	}
	for _, name := range u.Groups {
		if g := st.Group(name); g != nil {
			for _, r := range g.Roles {
				add(r, origin{"type": "group", "name": name})
			}
		}
	}
	for _, r := range order {
		one := roleJSON(r)
		one["origins"] = origins[r]
		roles = append(roles, one)
	}
	out := map[string]any{
		"id": u.ID, "domain": u.Domain, "name": u.Name, "roles": roles,
		"groups": append([]string{}, u.Groups...), "external_groups": []string{},
	}
	if !u.PasswordChanged.IsZero() {
		out["password_change_date"] = u.PasswordChanged.UTC().Format(time.RFC3339)
	}
	return out
}

// pathDomain gives the domain of the path; empty if the path has none.
func pathDomain(c *call) (spec.Domain, error) {
	switch d := spec.Domain(c.r.PathValue("domain")); d {
	case "", spec.DomainLocal, spec.DomainExternal:
		return d, nil
	default:
		return "", notFound()
	}
}

// listUsers lists local and external users. The administrator of the first boot is not listed (wire.md 19.2).
func (s *Server) listUsers(c *call) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	domain, err := pathDomain(c)
	if err != nil {
		return err
	}
	out := []any{}
	for i := range st.Users {
		u := &st.Users[i]
		if u.Domain != spec.DomainAdmin && (domain == "" || u.Domain == domain) {
			out = append(out, userJSON(st, u))
		}
	}
	writeJSON(c.w, http.StatusOK, out)
	return nil
}

// pathUser gives domain and name of the path, and the user if there is one.
func (s *Server) pathUser(c *call) (*cluster.State, spec.Domain, *spec.User, error) {
	st, err := s.state()
	if err != nil {
		return nil, "", nil, err
	}
	domain, err := pathDomain(c)
	if err != nil {
		return nil, "", nil, err
	}
	return st, domain, st.User(domain, c.r.PathValue("user")), nil
}

func (s *Server) getUser(c *call) error {
	st, _, u, err := s.pathUser(c)
	if err != nil {
		return err
	}
	if u == nil {
		return &failure{status: http.StatusNotFound, body: "Unknown user."}
	}
	writeJSON(c.w, http.StatusOK, userJSON(st, u))
	return nil
}

// rolesOf gives the roles that a user has by himself and by groups.
func rolesOf(st *cluster.State, roles []spec.Role, groups []string) []spec.Role {
	out := slices.Clone(roles)
	for _, name := range groups {
		if g := st.Group(name); g != nil {
			out = append(out, g.Roles...)
		}
	}
	return out
}

// mayGrant refuses callers who would give or take what they may not.
func (s *Server) mayGrant(c *call, roles []spec.Role) error {
	if !s.Auth.CanGrant(c.id, roles) {
		return forbidden("cluster.admin.security.admin!write")
	}
	return nil
}

// readRoles reads the field roles and checks that what the roles name exists.
func readRoles(st *cluster.State, f *form) ([]spec.Role, error) {
	text, _ := f.text("roles")
	roles, err := auth.ParseRoles(text)
	if err != nil {
		return nil, err
	}
	var bad []string
	for _, r := range roles {
		if !placeExists(st, r) {
			bad = append(bad, r.String())
		}
	}
	if len(bad) > 0 {
		return nil, &auth.RoleError{Roles: bad}
	}
	return roles, nil
}

func placeExists(st *cluster.State, r spec.Role) bool {
	if r.Bucket == "" || r.Bucket == "*" {
		return true
	}
	b := st.Bucket(r.Bucket)
	if b == nil {
		return false
	}
	if r.Scope == "" {
		return true
	}
	scope := b.Manifest.Scope(r.Scope)
	return scope != nil && (r.Collection == "" || scope.Collection(r.Collection) != nil)
}

// readGroups reads the field groups: names separated by commas.
func readGroups(f *form) []string {
	var out []string
	text, _ := f.text("groups")
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

func (s *Server) putUser(c *call) error {
	st, domain, old, err := s.pathUser(c)
	if err != nil {
		return err
	}
	f, err := readForm(c.r)
	if err != nil {
		return err
	}
	u := spec.User{Domain: domain, ID: c.r.PathValue("user"), Groups: readGroups(f)}
	u.Name, _ = f.text("name")
	if u.Roles, err = readRoles(st, f); err != nil {
		return err
	}
	touched := rolesOf(st, u.Roles, u.Groups)
	if old != nil {
		touched = append(touched, rolesOf(st, old.Roles, old.Groups)...)
	}
	if err := s.mayGrant(c, touched); err != nil {
		return err
	}
	if f.values.Has("password") && domain != spec.DomainExternal {
		if u.Credentials, err = auth.NewCredentials(f.values.Get("password")); err != nil {
			return err
		}
		u.PasswordChanged = s.Now().UTC()
	}
	if err := s.Cluster.PutUser(c.r.Context(), u); err != nil {
		return err
	}
	s.settle(c)
	s.Logger.Info("user changed", "user", u.ID, "domain", u.Domain, "by", c.id.String())
	writeJSON(c.w, http.StatusOK, "")
	return nil
}

func (s *Server) deleteUser(c *call) error {
	st, domain, old, err := s.pathUser(c)
	if err != nil {
		return err
	}
	if old != nil {
		if err := s.mayGrant(c, rolesOf(st, old.Roles, old.Groups)); err != nil {
			return err
		}
	}
	if err := s.Cluster.DeleteUser(c.r.Context(), domain, c.r.PathValue("user")); err != nil {
		return err
	}
	s.settle(c)
	s.Logger.Info("user deleted", "user", c.r.PathValue("user"), "domain", domain, "by", c.id.String())
	writeJSON(c.w, http.StatusOK, "")
	return nil
}

// changePassword gives the caller another password.
func (s *Server) changePassword(c *call) error {
	f, err := readForm(c.r)
	if err != nil {
		return err
	}
	if c.id.Internal() || c.id.Domain == spec.DomainExternal {
		return general(http.StatusBadRequest, "Changing the password is not possible for this user.")
	}
	if !f.values.Has("password") {
		return invalid("password", "The value must be supplied")
	}
	credentials, err := auth.NewCredentials(f.values.Get("password"))
	if err != nil {
		return err
	}
	if err := s.Cluster.ChangePassword(c.r.Context(), c.id.Domain, c.id.User, credentials, s.Now().UTC()); err != nil {
		return err
	}
	s.settle(c)
	s.Logger.Info("password changed", "user", c.id.String())
	writeEmpty(c.w, http.StatusOK)
	return nil
}

// settle waits a little until the data plane knows of a change of users, so that a client that goes on at once finds it
// there too. If that takes longer the change still holds.
func (s *Server) settle(c *call) {
	limit, cancel := context.WithTimeout(c.r.Context(), settleWait)
	defer cancel()
	if err := s.Cluster.WaitApplied(limit); err != nil {
		s.Logger.Info("the data plane does not know of a change yet", "path", c.r.URL.Path, "error", err)
	}
}

func groupJSON(g *spec.Group) map[string]any {
	roles := []any{}
	for _, r := range g.Roles {
		roles = append(roles, roleJSON(r))
	}
	return map[string]any{"id": g.ID, "description": g.Description, "roles": roles, "ldap_group_ref": g.LDAPGroupRef}
}

func (s *Server) listGroups(c *call) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	out := []any{}
	for i := range st.Groups {
		out = append(out, groupJSON(&st.Groups[i]))
	}
	writeJSON(c.w, http.StatusOK, out)
	return nil
}

func (s *Server) getGroup(c *call) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	g := st.Group(c.r.PathValue("group"))
	if g == nil {
		return &failure{status: http.StatusNotFound, body: "Unknown group."}
	}
	writeJSON(c.w, http.StatusOK, groupJSON(g))
	return nil
}

func (s *Server) putGroup(c *call) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	f, err := readForm(c.r)
	if err != nil {
		return err
	}
	g := spec.Group{ID: c.r.PathValue("group")}
	g.Description, _ = f.text("description")
	g.LDAPGroupRef, _ = f.text("ldap_group_ref")
	if g.Roles, err = readRoles(st, f); err != nil {
		return err
	}
	touched := g.Roles
	if old := st.Group(g.ID); old != nil {
		touched = append(slices.Clone(touched), old.Roles...)
	}
	if err := s.mayGrant(c, touched); err != nil {
		return err
	}
	if err := s.Cluster.PutGroup(c.r.Context(), g); err != nil {
		return err
	}
	s.settle(c)
	s.Logger.Info("group changed", "group", g.ID, "by", c.id.String())
	writeJSON(c.w, http.StatusOK, "")
	return nil
}

func (s *Server) deleteGroup(c *call) error {
	st, err := s.state()
	if err != nil {
		return err
	}
	if old := st.Group(c.r.PathValue("group")); old != nil {
		if err := s.mayGrant(c, old.Roles); err != nil {
			return err
		}
	}
	if err := s.Cluster.DeleteGroup(c.r.Context(), c.r.PathValue("group")); err != nil {
		return err
	}
	s.settle(c)
	s.Logger.Info("group deleted", "group", c.r.PathValue("group"), "by", c.id.String())
	writeJSON(c.w, http.StatusOK, "")
	return nil
}
