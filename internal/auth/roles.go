package auth

import (
	"slices"
	"strings"

	"github.com/charpoy/charpoy/internal/spec"
)

// RoleInfo describes a role that can be granted.
type RoleInfo struct {
	Name        string // as the API spells it
	Title       string // for people
	Description string
	// Params is how deep the role can be narrowed: 0 not at all, 1 to a bucket, 2 to a scope, 3 to a collection. A role
	// with Params > 0 must name at least a bucket, or * for all.
	Params int

	node   Privilege // what it grants in the cluster
	bucket Privilege // what it grants in the place that it is narrowed to
	whole  Privilege // what it grants in the bucket even if it is narrowed further
}

const (
	anyone   = PoolRead | SystemSettings // what every role lets one see
	allData  = documents | SimpleStats | DcpProducer | SystemCollectionLookup | IdleConnection
	useViews = ViewsRead | Read
)

// Roles lists the roles that exist, in the order of wire.md 19.2. Roles of features that are not there are not offered.
func Roles() []RoleInfo {
	return []RoleInfo{
		{"admin", "Full Admin", "May do everything.", 0, everything, everything, 0},
		{
			"ro_admin", "Read-Only Admin", "May read all settings and statistics, but no documents.", 0,
			anyone | UsersRead | MetricsRead | Stats, BucketRead | SimpleStats | Settings, 0,
		},
		{
			"cluster_admin", "Cluster Admin", "May manage nodes, buckets and settings, but neither users nor documents.", 0,
			anyone | ClusterWrite | BucketCreate | MetricsRead | Stats,
			BucketRead | BucketWrite | BucketFlush | CollectionsWrite | SimpleStats | Settings, 0,
		},
		{
			"security_admin", "Security Admin", "May manage users and groups, but no full administrators.", 0,
			anyone | UsersRead | UsersWrite | SecurityWrite, 0, 0,
		},
		{"ro_security_admin", "Read-Only Security Admin", "May read users and groups.", 0, anyone | UsersRead, 0, 0},
		{
			"user_admin_local", "Local User Admin", "May manage local users who have no administrative role.", 0,
			anyone | UsersRead | UsersWrite, 0, 0,
		},
		{
			"bucket_admin", "Bucket Admin", "May manage a bucket and its scopes, but not read its documents.", 1,
			anyone, BucketRead | BucketWrite | BucketFlush | CollectionsWrite | SimpleStats | Settings, 0,
		},
		{
			"scope_admin", "Manage Scopes", "May manage scopes and collections.", 2,
			anyone, CollectionsWrite, BucketRead | Settings,
		},
		{
			"bucket_full_access", "Application Access", "May use all documents and views of a bucket and flush it.", 1,
			anyone, allData | Settings | BucketRead | BucketFlush | ViewsRead | ViewsWrite, 0,
		},
		{"data_reader", "Data Reader", "May read documents.", 3, anyone, Read | RangeScan, Settings},
		{"data_writer", "Data Writer", "May write documents.", 3, anyone, Insert | Upsert | Delete, Settings},
		{
			"data_dcp_reader", "Data DCP Reader", "May follow a bucket's changes.", 3,
			anyone | IdleConnection, Read | DcpStream | SystemXattrRead, Settings | DcpProducer,
		},
		{
			"data_backup", "Data Backup & Restore", "May read and write all of a bucket with its metadata.", 1,
			anyone, allData | Settings | BucketRead | CollectionsWrite | SystemCollectionMutation | ViewsRead | ViewsWrite, 0,
		},
		{"data_monitoring", "Data Monitor", "May read statistics of a bucket.", 3, anyone, SimpleStats, Settings},
		{
			"views_admin", "Views Admin", "May manage and query views.", 1,
			anyone, useViews | ViewsWrite | Settings | BucketRead, 0,
		},
		{"views_reader", "Views Reader", "May query views.", 1, anyone, useViews | Settings, 0},
		{"external_stats_reader", "External Stats Reader", "May read /metrics.", 0, anyone | MetricsRead, 0, 0},
		{
			"mobile_sync_gateway", "Sync Gateway", "May do what a synchronisation gateway needs.", 1,
			anyone, allData | Settings | BucketRead | ViewsRead | ViewsWrite, 0,
		},
	}
}

// roleIndex is the table of Roles by name. It is built once a Directory and once a parse: the table is short.
func roleIndex() map[string]RoleInfo {
	list := Roles()
	index := make(map[string]RoleInfo, len(list))
	for _, r := range list {
		index[r.Name] = r
	}
	return index
}

// RoleError lists the parts of a role list that are unknown or malformed.
type RoleError struct{ Roles []string }

// Error gives the text that the management API answers with (wire.md 19.2).
func (e *RoleError) Error() string {
	return "Cannot assign roles to user because the following roles are unknown, malformed or role parameters are undefined: [" +
		strings.Join(e.Roles, ",") + "]"
}

// ParseRoles reads a comma separated list of roles: role, role[bucket], role[bucket:scope] or
// role[bucket:scope:collection], with * for every bucket. Duplicates are dropped. The error is a *RoleError.
func ParseRoles(s string) ([]spec.Role, error) {
	index := roleIndex()
	var roles []spec.Role
	var bad []string
	for _, text := range splitRoles(s) {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		r, ok := parseRole(text, index)
		if !ok {
			bad = append(bad, text)
		} else if !slices.Contains(roles, r) {
			roles = append(roles, r)
		}
	}
	if len(bad) > 0 {
		return nil, &RoleError{bad}
	}
	return roles, nil
}

// ValidateRoles checks roles that did not come from ParseRoles.
func ValidateRoles(roles []spec.Role) error {
	index := roleIndex()
	var bad []string
	for _, r := range roles {
		if !validRole(r, index) {
			bad = append(bad, r.String())
		}
	}
	if len(bad) > 0 {
		return &RoleError{bad}
	}
	return nil
}

// splitRoles splits at commas outside of brackets.
func splitRoles(s string) []string {
	var out []string
	depth, start := 0, 0
	for i := range len(s) {
		switch {
		case s[i] == '[':
			depth++
		case s[i] == ']':
			depth--
		case s[i] == ',' && depth == 0:
			out, start = append(out, s[start:i]), i+1
		}
	}
	return append(out, s[start:])
}

func parseRole(s string, index map[string]RoleInfo) (spec.Role, bool) {
	name, rest, narrowed := strings.Cut(s, "[")
	r := spec.Role{Name: name}
	if narrowed {
		params, tail, closed := strings.Cut(rest, "]")
		parts := strings.Split(params, ":")
		if !closed || tail != "" || len(parts) > 3 || slices.Contains(parts, "") {
			return spec.Role{}, false
		}
		r.Bucket = parts[0]
		if len(parts) > 1 {
			r.Scope = parts[1]
		}
		if len(parts) > 2 {
			r.Collection = parts[2]
		}
	}
	r = trimStars(r)
	return r, validRole(r, index)
}

// trimStars drops a * for scope or collection: it says what leaving it out says.
func trimStars(r spec.Role) spec.Role {
	if r.Collection == "*" {
		r.Collection = ""
	}
	if r.Scope == "*" && r.Collection == "" {
		r.Scope = ""
	}
	return r
}

func validRole(r spec.Role, index map[string]RoleInfo) bool {
	info, known := index[r.Name]
	depth := 0
	switch {
	case r.Collection != "":
		depth = 3
	case r.Scope != "":
		depth = 2
	case r.Bucket != "":
		depth = 1
	}
	whole := depth < 2 || r.Bucket != "*" && r.Bucket != ""
	complete := depth < 3 || r.Scope != "" && r.Scope != "*"
	return known && depth <= info.Params && (info.Params == 0 || depth > 0) && whole && complete &&
		validParam(r.Bucket) && validParam(r.Scope) && validParam(r.Collection)
}

func validParam(s string) bool {
	return s == "*" || len(s) <= 251 && strings.IndexFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("_.%-", c)
	}) < 0
}

// FindRole describes one role.
func FindRole(name string) (RoleInfo, bool) {
	info, ok := roleIndex()[name]
	return info, ok
}
