package spec_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/charpoy/charpoy/internal/spec"
)

// TestBucketValidate changes one property of a good bucket at a time and names the field that must be complained of.
func TestBucketValidate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*spec.Bucket)
		field  string
	}{
		"good":              {func(*spec.Bucket) {}, ""},
		"one vBucket":       {func(b *spec.Bucket) { b.NumVBuckets = 1 }, ""},
		"longest name":      {func(b *spec.Bucket) { b.Name = strings.Repeat("a", 100) }, ""},
		"all name letters":  {func(b *spec.Bucket) { b.Name = "aZ0_.%-" }, ""},
		"no name":           {func(b *spec.Bucket) { b.Name = "" }, "name"},
		"long name":         {func(b *spec.Bucket) { b.Name = strings.Repeat("a", 101) }, "name"},
		"dot first":         {func(b *spec.Bucket) { b.Name = ".a" }, "name"},
		"blank in name":     {func(b *spec.Bucket) { b.Name = "a b" }, "name"},
		"slash in name":     {func(b *spec.Bucket) { b.Name = "a/b" }, "name"},
		"no quota":          {func(b *spec.Bucket) { b.QuotaBytes = 0 }, "ramQuota"},
		"replicas":          {func(b *spec.Bucket) { b.NumReplicas = 4 }, "replicaNumber"},
		"vBuckets":          {func(b *spec.Bucket) { b.NumVBuckets = 1000 }, "numVBuckets"},
		"too many vBuckets": {func(b *spec.Bucket) { b.NumVBuckets = 2048 }, "numVBuckets"},
		"type":              {func(b *spec.Bucket) { b.Type = "memcached" }, "bucketType"},
		"eviction":          {func(b *spec.Bucket) { b.Eviction = spec.EvictNRU }, "evictionPolicy"},
		"eph eviction":      {func(b *spec.Bucket) { b.Type = spec.Ephemeral }, "evictionPolicy"},
		"compression":       {func(b *spec.Bucket) { b.Compression = "zip" }, "compressionMode"},
		"conflicts":         {func(b *spec.Bucket) { b.ConflictResolution = "custom" }, "conflictResolutionType"},
		"durability":        {func(b *spec.Bucket) { b.MinDurability = 4 }, "durabilityMinLevel"},
		"eph durability": {func(b *spec.Bucket) {
			b.Type, b.Eviction, b.MinDurability = spec.Ephemeral, spec.EvictNone, spec.PersistToMajority
		}, "durabilityMinLevel"},
		"ttl": {func(b *spec.Bucket) { b.MaxTTL = 1 << 31 }, "maxTTL"},
	} {
		t.Run(name, func(t *testing.T) {
			b := spec.Bucket{Name: "shop", QuotaBytes: 100 << 20}.WithDefaults()
			c.change(&b)
			err := b.Validate()
			var invalid spec.Invalid
			switch {
			case c.field == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.field != "" && (!errors.As(err, &invalid) || len(invalid) != 1 || invalid[0].Field != c.field):
				t.Errorf("got %v, want one complaint of %q", err, c.field)
			}
		})
	}
}

func TestDurabilityNames(t *testing.T) {
	for d := spec.DurabilityNone; d <= spec.PersistToMajority; d++ {
		if got, ok := spec.ParseDurability(d.String()); !ok || got != d {
			t.Errorf("%d → %q → %d, %v", d, d.String(), got, ok)
		}
	}
	if _, ok := spec.ParseDurability("everything"); ok {
		t.Error("an unknown level was accepted")
	}
	if spec.Durability(4).Valid() || spec.Durability(4).String() != "unknown" {
		t.Error("level 4 does not exist")
	}
}

func TestManifest(t *testing.T) {
	m := spec.NewManifest()
	if !m.Has(0) || m.Has(8) {
		t.Error("a new manifest holds the default collection and nothing else")
	}
	if s := m.Scope("_default"); s == nil || s.Collection("_default") == nil || s.Collection("x") != nil {
		t.Error("look-up by name")
	}
	if m.Scope("x") != nil {
		t.Error("a scope that does not exist was found")
	}
}

func TestRoleString(t *testing.T) {
	for want, r := range map[string]spec.Role{
		"admin":               {Name: "admin"},
		"data_reader[*]":      {Name: "data_reader", Bucket: "*"},
		"data_reader[b:s]":    {Name: "data_reader", Bucket: "b", Scope: "s"},
		"data_reader[b:s:c]":  {Name: "data_reader", Bucket: "b", Scope: "s", Collection: "c"},
		"bucket_admin[a%b.c]": {Name: "bucket_admin", Bucket: "a%b.c"},
	} {
		if got := r.String(); got != want {
			t.Errorf("%#v = %q, want %q", r, got, want)
		}
	}
}

func TestValidateUserID(t *testing.T) {
	for id, good := range map[string]bool{
		"app": true, "käthe": true, "a.b-c_d": true, "": false, "a/b": false, "a@b": false, "tab\t": false,
		"\xff": false, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false,
	} {
		if err := spec.ValidateUserID("id", id); (err == nil) != good {
			t.Errorf("%q: %v, want good = %v", id, err, good)
		}
	}
}
