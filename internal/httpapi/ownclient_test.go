package httpapi

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/spec"
)

// Our own REST client and this server understand each other in everything that the command line does.
func TestOwnClient(t *testing.T) {
	w := newWorld(t, nil, true)
	r, err := client.NewREST(client.RESTOptions{URL: w.url(""), User: "Administrator", Password: "password", Net: w.net})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	is := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
	b := spec.Bucket{Name: "shop%1", QuotaBytes: 100 << 20, NumVBuckets: 4, FlushEnabled: true, MaxTTL: 60, MinDurability: spec.Majority}
	must(r.CreateBucket(ctx, b))
	is(r.CreateBucket(ctx, b), client.ErrExists)
	got, err := r.Bucket(ctx, "shop%1")
	must(err)
	if got.Quota.PerNode != b.QuotaBytes || got.NumVBuckets != 4 || !got.FlushEnabled() || got.MaxTTL != 60 || got.MinDurability != "majority" ||
		got.Type != spec.Persistent || got.Stats.Items != 7 {
		t.Errorf("bucket: %+v", got)
	}
	must(r.FlushBucket(ctx, "shop%1"))
	must(r.UpdateBucket(ctx, "shop%1", url.Values{"flushEnabled": {"0"}}))
	is(r.FlushBucket(ctx, "shop%1"), client.ErrInvalid)
	list, err := r.ListBuckets(ctx)
	must(err)
	if len(list) != 2 || list[1].Name != "shop%1" || list[1].FlushEnabled() {
		t.Errorf("buckets: %+v", list)
	}
	must(r.DropBucket(ctx, "shop%1"))
	is(r.DropBucket(ctx, "shop%1"), client.ErrNotFound)

	u := spec.User{Domain: spec.DomainLocal, ID: "app", Name: "App", Roles: []spec.Role{{Name: "data_reader", Bucket: "default"}}}
	is(r.PutUser(ctx, u, ""), client.ErrInvalid)
	must(r.PutUser(ctx, u, "secret"))
	user, err := r.User(ctx, spec.DomainLocal, "app")
	must(err)
	if user.Name != "App" || len(user.Roles) != 1 || user.Roles[0].Role() != u.Roles[0] || user.PasswordChanged == "" {
		t.Errorf("user: %+v", user)
	}
	must(r.DeleteUser(ctx, spec.DomainLocal, "app"))
	is(r.DeleteUser(ctx, spec.DomainLocal, "app"), client.ErrNotFound)
	roles, err := r.Roles(ctx)
	must(err)
	if len(roles) == 0 || roles[0].Role != "admin" {
		t.Errorf("roles: %+v", roles)
	}
	stats, err := r.Stats(ctx, "default", "all")
	must(err)
	if len(stats) != 2 || stats[0].Value != "default" {
		t.Errorf("statistics: %+v", stats)
	}
	text, err := r.Metrics(ctx)
	must(err)
	if !strings.Contains(string(text), "charpoy_build_info{") || !strings.Contains(string(text), "charpoy_bucket_ops_total{") {
		t.Errorf("metrics:\n%s", text)
	}
	must(r.ChangePassword(ctx, "other"))
	_, err = r.ListBuckets(ctx)
	is(err, client.ErrAuth)
}
