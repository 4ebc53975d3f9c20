package cli

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/spec"
)

// bucketCmd holds the commands for buckets.
type bucketCmd struct {
	remote

	Ls     bucketLsCmd     `cmd:"" aliases:"list" help:"List buckets."`
	Get    bucketGetCmd    `cmd:"" help:"Show one bucket."`
	Create bucketCreateCmd `cmd:"" help:"Make a bucket."`
	Update bucketUpdateCmd `cmd:"" help:"Change a bucket's settings; what is not named stays."`
	Delete bucketDeleteCmd `cmd:"" aliases:"rm,drop" help:"Drop a bucket with all documents in it."`
	Flush  bucketFlushCmd  `cmd:"" help:"Delete all documents of a bucket."`
}

// Help is the long help.
func (*bucketCmd) Help() string {
	return "Example: charpoy bucket create shop --quota 256MiB"
}

// manage runs f with a client of the management port.
func (r *remote) manage(a *app, f func(*client.REST) error) error {
	rest, err := r.rest(a)
	if err != nil {
		return err
	}
	defer rest.Close() //nolint:errcheck // it only ends idle connections
	return f(rest)
}

// bucketLine is a bucket with -o json. The names are documented and stable.
type bucketLine struct {
	Name          string  `json:"name"`
	UUID          string  `json:"uuid"`
	Type          string  `json:"type"`
	QuotaBytes    int64   `json:"quota_bytes"`
	Replicas      int     `json:"replicas"`
	VBuckets      int     `json:"vbuckets"`
	Eviction      string  `json:"eviction"`
	Compression   string  `json:"compression"`
	MaxTTL        uint32  `json:"max_ttl_seconds"`
	MinDurability string  `json:"min_durability"`
	Flush         bool    `json:"flush"`
	Items         uint64  `json:"items"`
	MemoryBytes   uint64  `json:"memory_bytes"`
	DiskBytes     uint64  `json:"disk_bytes"`
	OpsPerSecond  float64 `json:"ops_per_second"`
}

func lineOfBucket(b *client.BucketInfo) bucketLine {
	kind := string(b.Type)
	if b.Type == spec.Persistent {
		kind = "persistent"
	}
	return bucketLine{
		Name: b.Name, UUID: b.UUID, Type: kind, QuotaBytes: b.Quota.PerNode, Replicas: b.NumReplicas, VBuckets: b.NumVBuckets,
		Eviction: string(b.Eviction), Compression: string(b.Compression), MaxTTL: b.MaxTTL, MinDurability: b.MinDurability,
		Flush: b.FlushEnabled(), Items: b.Stats.Items, MemoryBytes: b.Stats.MemBytes, DiskBytes: b.Stats.DiskBytes,
		OpsPerSecond: b.Stats.OpsPerSec,
	}
}

// bucketLsCmd lists buckets.
type bucketLsCmd struct{ format }

// Run lists them.
func (c *bucketLsCmd) Run(a *app, t *tree) error {
	return t.Bucket.manage(a, func(r *client.REST) error {
		list, err := r.ListBuckets(a.ctx)
		if err != nil {
			return err
		}
		out := &table{columns: []string{"name", "type", "items", "memory", "quota", "disk", "ops/s"}}
		for i := range list {
			l := lineOfBucket(&list[i])
			out.add(l, l.Name, l.Type, groups(int64(l.Items)), size(int64(l.MemoryBytes)), size(l.QuotaBytes),
				size(int64(l.DiskBytes)), strconv.FormatFloat(l.OpsPerSecond, 'f', 0, 64))
		}
		return a.print(c.format, out)
	})
}

// bucketGetCmd shows a bucket.
type bucketGetCmd struct {
	format
	Name string `arg:"" help:"Name of the bucket."`
}

// Run shows it.
func (c *bucketGetCmd) Run(a *app, t *tree) error {
	return t.Bucket.manage(a, func(r *client.REST) error {
		b, err := r.Bucket(a.ctx, c.Name)
		if err != nil {
			return bucketError(a.ctx, r, c.Name, err)
		}
		l := lineOfBucket(&b)
		if c.Output != "table" {
			return a.print(c.format, &table{objects: []any{l}})
		}
		out := &table{columns: []string{"setting", "value"}}
		for _, row := range [][2]string{
			{"name", l.Name},
			{"uuid", l.UUID},
			{"type", l.Type},
			{"quota", size(l.QuotaBytes)},
			{"replicas", strconv.Itoa(l.Replicas)},
			{"vbuckets", strconv.Itoa(l.VBuckets)},
			{"eviction", l.Eviction},
			{"compression", l.Compression},
			{"max ttl", span(time.Duration(l.MaxTTL) * time.Second)},
			{"min durability", l.MinDurability},
			{"flush", strconv.FormatBool(l.Flush)},
			{"items", groups(int64(l.Items))},
			{"memory", size(int64(l.MemoryBytes))},
			{"disk", size(int64(l.DiskBytes))},
		} {
			out.add(nil, row[0], row[1])
		}
		return a.print(c.format, out)
	})
}

// bucketError says which buckets there are when one is missing.
func bucketError(ctx context.Context, r *client.REST, name string, err error) error {
	if !errors.Is(err, client.ErrNotFound) {
		return err
	}
	f := fail(exitNotFound, "bucket %q does not exist: %w", name, err)
	list, listing := r.ListBuckets(ctx)
	if listing != nil || len(list) == 0 {
		return f
	}
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].Name
	}
	return f.do("Buckets: %s", strings.Join(names, ", "))
}

// bucketSettings are the flags of create and update.
type bucketSettings struct {
	Quota       string  `placeholder:"SIZE" help:"Memory for documents on each node, such as 256MiB."`
	Replicas    *int    `placeholder:"N" help:"Copies beside the active one, 0 to 3."`
	Eviction    string  `placeholder:"POLICY" help:"valueOnly or fullEviction; of an ephemeral bucket noEviction or nruEviction."`
	Compression string  `placeholder:"MODE" help:"off, passive or active."`
	MaxTTL      *string `name:"max-ttl" placeholder:"D" help:"Longest life of a document, such as 7d; 0 = no limit."`
	Durability  string  `placeholder:"LEVEL" help:"Least durability of every write: none, majority, majorityAndPersistActive or persistToMajority."`
	Flush       *bool   `negatable:"" help:"Allow charpoy bucket flush."`
}

// form makes the form of the settings that were given.
func (s *bucketSettings) form() (url.Values, error) {
	form := url.Values{}
	if s.Quota != "" {
		mib, err := parseMiB(s.Quota)
		if err != nil {
			return nil, err
		}
		form.Set("ramQuota", strconv.FormatInt(mib, 10))
	}
	if s.Replicas != nil {
		form.Set("replicaNumber", strconv.Itoa(*s.Replicas))
	}
	if s.MaxTTL != nil {
		d, err := parseSpan(*s.MaxTTL)
		if *s.MaxTTL != "0" && (err != nil || d < time.Second) {
			return nil, fail(exitUsage, "--max-ttl %q is no duration of at least 1s", *s.MaxTTL).do("Examples: 12h, 7d, 0")
		}
		form.Set("maxTTL", strconv.FormatInt(int64(d/time.Second), 10))
	}
	if s.Flush != nil {
		form.Set("flushEnabled", map[bool]string{true: "1", false: "0"}[*s.Flush])
	}
	for name, v := range map[string]string{
		"evictionPolicy": s.Eviction, "compressionMode": s.Compression, "durabilityMinLevel": s.Durability,
	} {
		if v != "" {
			form.Set(name, v)
		}
	}
	return form, nil
}

// bucketCreateCmd makes a bucket.
type bucketCreateCmd struct {
	bucketSettings
	Name      string `arg:"" help:"Name of the bucket."`
	Ephemeral bool   `help:"Keep documents in memory only."`
	VBuckets  int    `name:"vbuckets" placeholder:"N" help:"Number of vBuckets, a power of two up to 1024; it never changes."`
}

// defaultQuota is that of a bucket for which none was asked.
const defaultQuota = "256MiB"

// Run makes it and waits until it can be used.
func (c *bucketCreateCmd) Run(a *app, t *tree) error {
	if c.Quota == "" {
		c.Quota = defaultQuota
	}
	form, err := c.form()
	if err != nil {
		return err
	}
	form.Set("name", c.Name)
	if c.Ephemeral {
		form.Set("bucketType", string(spec.Ephemeral))
	}
	if c.VBuckets != 0 {
		form.Set("numVBuckets", strconv.Itoa(c.VBuckets))
	}
	return t.Bucket.manage(a, func(r *client.REST) error {
		if err := r.Post(a.ctx, "/pools/default/buckets", form, nil); err != nil {
			return err
		}
		a.note("bucket %s was made", c.Name)
		return nil
	})
}

// bucketUpdateCmd changes a bucket.
type bucketUpdateCmd struct {
	bucketSettings
	Name string `arg:"" help:"Name of the bucket."`
}

// Run changes it.
func (c *bucketUpdateCmd) Run(a *app, t *tree) error {
	form, err := c.form()
	if err != nil {
		return err
	}
	if len(form) == 0 {
		return fail(exitUsage, "no setting was named: %w", errNothing).do("See: charpoy bucket update --help")
	}
	return t.Bucket.manage(a, func(r *client.REST) error {
		if err := r.UpdateBucket(a.ctx, c.Name, form); err != nil {
			return bucketError(a.ctx, r, c.Name, err)
		}
		a.note("bucket %s was changed", c.Name)
		return nil
	})
}

// bucketDeleteCmd drops a bucket.
type bucketDeleteCmd struct {
	Name      string `arg:"" help:"Name of the bucket."`
	YesDelete string `name:"yes-delete" placeholder:"NAME" help:"In scripts: the bucket's name once more, in place of typing it."`
}

// Run drops it.
func (c *bucketDeleteCmd) Run(a *app, t *tree) error {
	return t.Bucket.manage(a, func(r *client.REST) error {
		if _, err := r.Bucket(a.ctx, c.Name); err != nil {
			return bucketError(a.ctx, r, c.Name, err)
		}
		if err := a.confirm("bucket", c.Name, c.YesDelete); err != nil {
			return err
		}
		if err := r.DropBucket(a.ctx, c.Name); err != nil {
			return err
		}
		a.note("bucket %s was dropped", c.Name)
		return nil
	})
}

// bucketFlushCmd empties a bucket.
type bucketFlushCmd struct {
	Name      string `arg:"" help:"Name of the bucket."`
	YesDelete string `name:"yes-delete" placeholder:"NAME" help:"In scripts: the bucket's name once more, in place of typing it."`
}

// Run empties it.
func (c *bucketFlushCmd) Run(a *app, t *tree) error {
	return t.Bucket.manage(a, func(r *client.REST) error {
		if _, err := r.Bucket(a.ctx, c.Name); err != nil {
			return bucketError(a.ctx, r, c.Name, err)
		}
		if err := a.confirm("documents of bucket", c.Name, c.YesDelete); err != nil {
			return err
		}
		if err := r.FlushBucket(a.ctx, c.Name); err != nil {
			return err
		}
		a.note("bucket %s is empty", c.Name)
		return nil
	})
}
