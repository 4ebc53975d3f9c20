package cli

import (
	"strings"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/spec"
)

// userCmd holds the commands for users.
type userCmd struct {
	remote

	Ls     userLsCmd     `cmd:"" aliases:"list" help:"List users."`
	Get    userGetCmd    `cmd:"" help:"Show one user."`
	Put    userPutCmd    `cmd:"" help:"Make a user or change one."`
	Delete userDeleteCmd `cmd:"" aliases:"rm" help:"Delete a user."`
	Roles  userRolesCmd  `cmd:"" help:"List the roles that can be granted."`
}

// Help is the long help.
func (*userCmd) Help() string {
	return "Example: charpoy user put app --roles 'data_reader[default],data_writer[default]'"
}

// userLine is a user with -o json. The names are documented and stable.
type userLine struct {
	ID              string   `json:"id"`
	Domain          string   `json:"domain"`
	Name            string   `json:"name,omitempty"`
	Roles           []string `json:"roles"` // granted to the user, not through groups
	Groups          []string `json:"groups"`
	Inherited       []string `json:"inherited_roles"`
	PasswordChanged string   `json:"password_changed,omitempty"` // RFC 3339
}

func lineOfUser(u *client.UserInfo) userLine {
	l := userLine{
		ID: u.ID, Domain: string(u.Domain), Name: u.Name, PasswordChanged: u.PasswordChanged, Groups: append([]string{}, u.Groups...),
		Roles: []string{}, Inherited: []string{},
	}
	for i := range u.Roles {
		role, own := u.Roles[i].Role().String(), len(u.Roles[i].Origins) == 0
		for _, o := range u.Roles[i].Origins {
			own = own || o.Type == "user"
		}
		if own {
			l.Roles = append(l.Roles, role)
		} else {
			l.Inherited = append(l.Inherited, role)
		}
	}
	return l
}

// userLsCmd lists users.
type userLsCmd struct{ format }

// Run lists them.
func (c *userLsCmd) Run(a *app, t *tree) error {
	return t.User.manage(a, func(r *client.REST) error {
		list, err := r.ListUsers(a.ctx, "")
		if err != nil {
			return err
		}
		return a.print(c.format, userTable(list))
	})
}

func userTable(list []client.UserInfo) *table {
	out := &table{columns: []string{"user", "domain", "roles", "groups", "password changed"}}
	for i := range list {
		l := lineOfUser(&list[i])
		out.add(l, l.ID, l.Domain, strings.Join(append(l.Roles, l.Inherited...), ","), strings.Join(l.Groups, ","), l.PasswordChanged)
	}
	return out
}

// userName is a user as an argument.
type userName struct {
	ID     string `arg:"" name:"user" help:"Name of the user."`
	Domain string `enum:"local,external" default:"local" help:"local, or external for users whose password is kept elsewhere."`
}

// missing makes an error say that the user does not exist, if it is that.
func (n *userName) missing(a *app, err error) error {
	if describe(a.ctx, err).code != exitNotFound {
		return err
	}
	return fail(exitNotFound, "%s user %q does not exist: %w", n.Domain, n.ID, err).do("See: charpoy user ls")
}

// userGetCmd shows a user.
type userGetCmd struct {
	format
	userName
}

// Run shows it.
func (c *userGetCmd) Run(a *app, t *tree) error {
	return t.User.manage(a, func(r *client.REST) error {
		u, err := r.User(a.ctx, spec.Domain(c.Domain), c.ID)
		if err != nil {
			return c.missing(a, err)
		}
		return a.print(c.format, userTable([]client.UserInfo{u}))
	})
}

// userPutCmd makes or changes a user.
type userPutCmd struct {
	userName
	Name       *string  `placeholder:"TEXT" help:"The user's name for people."`
	Roles      []string `placeholder:"ROLE,…" help:"Roles, such as admin or 'data_reader[shop]'; see charpoy user roles. They replace the present ones."`
	Groups     []string `placeholder:"GROUP,…" help:"Groups; they replace the present ones."`
	NoPassword bool     `help:"Keep the password that the user has."`
}

// Help is the long help.
func (*userPutCmd) Help() string {
	return "The user's password comes from CHARPOY_NEW_PASSWORD, CHARPOY_NEW_PASSWORD_FILE or a prompt. What is not given stays as it is.\n\n" +
		"Example: charpoy user put app --roles 'data_reader[default],data_writer[default]'"
}

// Run makes it.
func (c *userPutCmd) Run(a *app, t *tree) error {
	return t.User.manage(a, func(r *client.REST) error {
		u := spec.User{Domain: spec.Domain(c.Domain), ID: c.ID, Groups: c.Groups}
		old, err := r.User(a.ctx, u.Domain, u.ID)
		exists := err == nil
		if err != nil && describe(a.ctx, err).code != exitNotFound {
			return err
		}
		if u.Roles, err = c.roles(exists, &old); err != nil {
			return err
		}
		if exists && c.Groups == nil {
			u.Groups = old.Groups
		}
		if u.Name = old.Name; c.Name != nil {
			u.Name = *c.Name
		}
		password := ""
		if !c.NoPassword && u.Domain == spec.DomainLocal && (!exists || a.hasNewPassword() || terminal(a.Stdin)) {
			if password, err = a.secret("CHARPOY_NEW_PASSWORD", "New password of "+c.ID); err != nil {
				return err
			}
		}
		if err := r.PutUser(a.ctx, u, password); err != nil {
			return err
		}
		a.note("user %s was %s", c.ID, map[bool]string{true: "changed", false: "made"}[exists])
		return nil
	})
}

// hasNewPassword reports whether a password was given for a user who may have one already.
func (a *app) hasNewPassword() bool {
	return a.env("CHARPOY_NEW_PASSWORD")+a.env("CHARPOY_NEW_PASSWORD_FILE") != ""
}

// roles gives the roles asked for; without any, those that the user has.
func (c *userPutCmd) roles(exists bool, old *client.UserInfo) ([]spec.Role, error) {
	asked := c.Roles
	if asked == nil && exists {
		asked = lineOfUser(old).Roles
	}
	var roles []spec.Role
	for _, text := range asked {
		role, err := parseRole(text)
		if err != nil {
			return nil, err
		}
		roles = append(roles, role)
	}
	return roles, nil
}

// parseRole reads role, role[bucket], role[bucket:scope] or role[bucket:scope:collection].
func parseRole(text string) (spec.Role, error) {
	name, rest, narrowed := strings.Cut(text, "[")
	r := spec.Role{Name: name}
	if !narrowed {
		return r, nil
	}
	inner, closed := strings.CutSuffix(rest, "]")
	parts := strings.Split(inner, ":")
	if !closed || len(parts) > 3 || name == "" || inner == "" {
		return r, fail(exitUsage, "role %q cannot be read", text).do("Write it like 'data_reader[shop]'; see: charpoy user roles")
	}
	parts = append(parts, "", "")
	r.Bucket, r.Scope, r.Collection = parts[0], parts[1], parts[2]
	return r, nil
}

// userDeleteCmd deletes a user.
type userDeleteCmd struct{ userName }

// Run deletes it.
func (c *userDeleteCmd) Run(a *app, t *tree) error {
	return t.User.manage(a, func(r *client.REST) error {
		if err := r.DeleteUser(a.ctx, spec.Domain(c.Domain), c.ID); err != nil {
			return c.missing(a, err)
		}
		a.note("user %s was deleted", c.ID)
		return nil
	})
}

// userRolesCmd lists roles.
type userRolesCmd struct{ format }

// roleLine is a role with -o json. The names are documented and stable.
type roleLine struct {
	Role  string `json:"role"`
	Takes string `json:"takes,omitempty"` // bucket, or bucket:scope, or bucket:scope:collection
	Name  string `json:"name"`
	Desc  string `json:"description"`
}

// Run lists them.
func (c *userRolesCmd) Run(a *app, t *tree) error {
	return t.User.manage(a, func(r *client.REST) error {
		list, err := r.Roles(a.ctx)
		if err != nil {
			return err
		}
		out := &table{columns: []string{"role", "takes", "name", "what it grants"}}
		for _, role := range list {
			l := roleLine{Role: role.Role, Name: role.Name, Desc: role.Desc}
			for _, p := range []struct{ given, name string }{
				{role.Bucket, "bucket"}, {role.Scope, ":scope"}, {role.Collection, ":collection"},
			} {
				if p.given != "" {
					l.Takes += p.name
				}
			}
			out.add(l, l.Role, l.Takes, l.Name, l.Desc)
		}
		return a.print(c.format, out)
	})
}
