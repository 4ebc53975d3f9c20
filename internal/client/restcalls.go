package client

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/charpoy/charpoy/internal/spec"
)

// joined makes one line of what is wrong with each field; _ stands for none in particular.
func joined(fields map[string]string) string {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		line := fields[name]
		if name != "_" {
			line = name + ": " + line
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "; ")
}

// BucketInfo is a bucket as the management API describes it.
type BucketInfo struct {
	Name  string          `json:"name"`
	UUID  string          `json:"uuid"`
	Type  spec.BucketType `json:"bucketType"`
	Quota struct {
		Total   int64 `json:"ram"`    // bytes, over all nodes
		PerNode int64 `json:"rawRAM"` // bytes
	} `json:"quota"`
	NumReplicas   int                     `json:"replicaNumber"`
	NumVBuckets   int                     `json:"numVBuckets"`
	Eviction      spec.Eviction           `json:"evictionPolicy"`
	Compression   spec.Compression        `json:"compressionMode"`
	Conflicts     spec.ConflictResolution `json:"conflictResolutionType"`
	MaxTTL        uint32                  `json:"maxTTL"`
	MinDurability string                  `json:"durabilityMinLevel"`
	Controllers   map[string]string       `json:"controllers"`
	Stats         struct {
		Items            uint64  `json:"itemCount"`
		MemBytes         uint64  `json:"memUsed"`
		DiskBytes        uint64  `json:"diskUsed"`
		QuotaPercentUsed float64 `json:"quotaPercentUsed"`
		OpsPerSec        float64 `json:"opsPerSec"`
	} `json:"basicStats"`
}

// FlushEnabled reports whether the bucket may be emptied.
func (b *BucketInfo) FlushEnabled() bool { return b.Controllers["flush"] != "" }

// GrantedRole is a role of a user, and where it comes from.
type GrantedRole struct {
	Name       string `json:"role"`
	Bucket     string `json:"bucket_name"`
	Scope      string `json:"scope_name"`
	Collection string `json:"collection_name"`
	Origins    []struct {
		Type string `json:"type"` // "user" or "group"
		Name string `json:"name"` // of the group
	} `json:"origins"`
}

// Role gives the form that users are created with.
func (g *GrantedRole) Role() spec.Role {
	r := spec.Role{Name: g.Name, Bucket: g.Bucket}
	if g.Scope != "*" {
		r.Scope = g.Scope
	}
	if g.Collection != "*" {
		r.Collection = g.Collection
	}
	return r
}

// UserInfo is a user as the management API describes it.
type UserInfo struct {
	ID              string        `json:"id"`
	Domain          spec.Domain   `json:"domain"`
	Name            string        `json:"name"`
	Roles           []GrantedRole `json:"roles"`
	Groups          []string      `json:"groups"`
	PasswordChanged string        `json:"password_change_date"` // RFC 3339; empty if there is no password
}

// RoleInfo is a role that can be granted.
type RoleInfo struct {
	Role       string `json:"role"`
	Name       string `json:"name"`
	Desc       string `json:"desc"`
	Bucket     string `json:"bucket_name"`     // "*" if the role takes a bucket
	Scope      string `json:"scope_name"`      // likewise
	Collection string `json:"collection_name"` // likewise
}

// ClusterInfo is what /pools tells.
type ClusterInfo struct {
	UUID    string `json:"uuid"`
	Version string `json:"implementationVersion"`
	Admin   bool   `json:"isAdminCreds"`
}

// PoolInfo is what /pools/default tells.
type PoolInfo struct {
	Name        string     `json:"name"`
	ClusterName string     `json:"clusterName"`
	Balanced    bool       `json:"balanced"`
	Nodes       []NodeInfo `json:"nodes"`
}

// NodeInfo is a node as the management API describes it.
type NodeInfo struct {
	Hostname   string         `json:"hostname"` // with the management port
	UUID       string         `json:"nodeUUID"`
	Status     string         `json:"status"` // healthy, warmup or unhealthy
	Membership string         `json:"clusterMembership"`
	Version    string         `json:"version"`
	OS         string         `json:"os"`
	Uptime     string         `json:"uptime"` // seconds
	This       bool           `json:"thisNode"`
	Services   []string       `json:"services"`
	Ports      map[string]int `json:"ports"`
}

func bucketPath(name string) string { return "/pools/default/buckets/" + url.PathEscape(name) }

func userPath(d spec.Domain, id string) string {
	return "/settings/rbac/users/" + url.PathEscape(string(d)) + "/" + url.PathEscape(id)
}

// Pools asks which cluster this is.
func (r *REST) Pools(ctx context.Context) (c ClusterInfo, err error) {
	err = r.Get(ctx, "/pools", &c)
	return c, err
}

// PoolDefault asks for the cluster's nodes.
func (r *REST) PoolDefault(ctx context.Context) (p PoolInfo, err error) {
	err = r.Get(ctx, "/pools/default", &p)
	return p, err
}

// SetClusterName gives the cluster another name.
func (r *REST) SetClusterName(ctx context.Context, name string) error {
	return r.Post(ctx, "/pools/default", url.Values{"clusterName": {name}}, nil)
}

// WhoAmI asks who the server takes us for. Error: ErrAuth.
func (r *REST) WhoAmI(ctx context.Context) (u UserInfo, err error) {
	err = r.Get(ctx, "/whoami", &u)
	return u, err
}

// ListBuckets lists the buckets that the user may use.
func (r *REST) ListBuckets(ctx context.Context) (b []BucketInfo, err error) {
	err = r.Get(ctx, "/pools/default/buckets", &b)
	return b, err
}

// Bucket describes one bucket. Error: ErrNotFound.
func (r *REST) Bucket(ctx context.Context, name string) (b BucketInfo, err error) {
	err = r.Get(ctx, bucketPath(name), &b)
	return b, err
}

// CreateBucket makes a bucket; what is left zero is the server's choice. Errors: ErrExists, ErrInvalid.
func (r *REST) CreateBucket(ctx context.Context, b spec.Bucket) error {
	form := BucketForm(b)
	form.Set("name", b.Name)
	return r.Post(ctx, "/pools/default/buckets", form, nil)
}

// UpdateBucket changes the settings that the form names (wire.md 20.2); the others stay. Errors: ErrNotFound, ErrInvalid.
func (r *REST) UpdateBucket(ctx context.Context, name string, form url.Values) error {
	return r.Post(ctx, bucketPath(name), form, nil)
}

// DropBucket removes a bucket with its documents. Error: ErrNotFound.
func (r *REST) DropBucket(ctx context.Context, name string) error {
	return r.Delete(ctx, bucketPath(name))
}

// FlushBucket empties a bucket. Errors: ErrNotFound, ErrInvalid if its setting forbids that.
func (r *REST) FlushBucket(ctx context.Context, name string) error {
	return r.Post(ctx, bucketPath(name)+"/controller/doFlush", url.Values{}, nil)
}

// BucketForm gives the form of a bucket's settings, without those that are zero. The quota is rounded down to MiB.
func BucketForm(b spec.Bucket) url.Values {
	form := url.Values{}
	text := func(name, v string) {
		if v != "" {
			form.Set(name, v)
		}
	}
	number := func(name string, n int64) {
		if n != 0 {
			form.Set(name, strconv.FormatInt(n, 10))
		}
	}
	text("bucketType", string(b.Type))
	number("ramQuota", b.QuotaBytes>>20)
	number("numVBuckets", int64(b.NumVBuckets))
	form.Set("replicaNumber", strconv.Itoa(b.NumReplicas))
	text("evictionPolicy", string(b.Eviction))
	text("compressionMode", string(b.Compression))
	text("conflictResolutionType", string(b.ConflictResolution))
	number("maxTTL", int64(b.MaxTTL))
	text("storageBackend", b.StorageBackend)
	if b.MinDurability != spec.DurabilityNone {
		form.Set("durabilityMinLevel", b.MinDurability.String())
	}
	if b.FlushEnabled {
		form.Set("flushEnabled", "1")
	}
	if b.ReplicaIndex {
		form.Set("replicaIndex", "1")
	}
	return form
}

// ListUsers lists the users of a domain; an empty domain stands for all.
func (r *REST) ListUsers(ctx context.Context, d spec.Domain) (u []UserInfo, err error) {
	path := "/settings/rbac/users"
	if d != "" {
		path += "/" + url.PathEscape(string(d))
	}
	err = r.Get(ctx, path, &u)
	return u, err
}

// User describes one user. Error: ErrNotFound.
func (r *REST) User(ctx context.Context, d spec.Domain, id string) (u UserInfo, err error) {
	err = r.Get(ctx, userPath(d, id), &u)
	return u, err
}

// PutUser makes or replaces a user. An empty password keeps the one that is there; a new local user needs one. Of u only
// domain, id, name, roles and groups are used. Error: ErrInvalid.
func (r *REST) PutUser(ctx context.Context, u spec.User, password string) error {
	roles := make([]string, len(u.Roles))
	for i := range u.Roles {
		roles[i] = u.Roles[i].String()
	}
	form := url.Values{"roles": {strings.Join(roles, ",")}, "groups": {strings.Join(u.Groups, ",")}}
	if u.Name != "" {
		form.Set("name", u.Name)
	}
	if password != "" {
		form.Set("password", password)
	}
	return r.Put(ctx, userPath(u.Domain, u.ID), form, nil)
}

// DeleteUser removes a user. Error: ErrNotFound.
func (r *REST) DeleteUser(ctx context.Context, d spec.Domain, id string) error {
	return r.Delete(ctx, userPath(d, id))
}

// Roles lists the roles that can be granted.
func (r *REST) Roles(ctx context.Context) (roles []RoleInfo, err error) {
	err = r.Get(ctx, "/settings/rbac/roles", &roles)
	return roles, err
}

// ChangePassword gives the user who calls another password; the REST itself keeps the old one.
func (r *REST) ChangePassword(ctx context.Context, password string) error {
	return r.Post(ctx, "/controller/changePassword", url.Values{"password": {password}}, nil)
}

// Stats reads a statistics group over HTTP. group "all" is the general one; an empty bucket asks for the server's own.
func (r *REST) Stats(ctx context.Context, bucket, group string) ([]Stat, error) {
	path := "/api/v1/stats/" + url.PathEscape(group)
	if bucket != "" {
		path += "?bucket=" + url.QueryEscape(bucket)
	}
	var stats []Stat
	err := r.Get(ctx, path, &stats)
	return stats, err
}

// Metrics reads the node's numbers in the Prometheus text format.
func (r *REST) Metrics(ctx context.Context) ([]byte, error) {
	var text []byte
	err := r.Get(ctx, "/metrics", &text)
	return text, err
}
