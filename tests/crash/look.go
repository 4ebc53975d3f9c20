package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// look reads everything that the server has after a restart.
func look(ctx context.Context, c *client.Conn, clean bool) (*found, error) {
	f := &found{
		clean:     clean,
		logs:      map[vbucket.ID]vbucket.FailoverLog{},
		high:      map[vbucket.ID]vbucket.Seqno{},
		documents: map[string]document{},
	}
	var err error
	if f.high, err = c.Seqnos(ctx, vbucket.Active); err != nil {
		return nil, fmt.Errorf("read the seqnos: %w", err)
	}
	if len(f.high) != vBuckets {
		return nil, fmt.Errorf("%d of %d vBuckets are active after a restart", len(f.high), vBuckets)
	}
	for vb := range vbucket.ID(vBuckets) {
		if f.logs[vb], err = c.FailoverLog(ctx, vb); err != nil {
			return nil, fmt.Errorf("vb %d: read the failover log: %w", vb, err)
		}
		if err := lookVBucket(ctx, c, vb, f.documents); err != nil {
			return nil, fmt.Errorf("vb %d: %w", vb, err)
		}
	}
	return f, nil
}

func lookVBucket(ctx context.Context, c *client.Conn, vb vbucket.ID, documents map[string]document) error {
	from := " "
	for {
		keys, err := c.Keys(ctx, vb, from, 1000)
		if err != nil && !errors.Is(err, client.ErrNotFound) {
			return fmt.Errorf("list the keys: %w", err)
		}
		for _, key := range keys {
			doc, err := c.Get(ctx, key, client.With{})
			if err != nil {
				return fmt.Errorf("read the listed key %s: %w", key, err)
			}
			documents[key] = document{found: true, value: string(doc.Value), cas: doc.CAS}
		}
		if len(keys) < 1000 {
			return nil
		}
		from = keys[len(keys)-1] + "\x00"
	}
}

// verify compares, while no server runs, the rows on disk with each other (kv.md 14).
func verify(dir string) (err error) {
	db, err := storage.Open(storage.Options{Dir: filepath.Join(dir, "docs"), ReadOnly: true})
	if err != nil {
		return fmt.Errorf("open the documents: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	uuids, err := db.Buckets()
	if err != nil {
		return err
	}
	for _, uuid := range uuids {
		b, err := db.Bucket(uuid)
		if err != nil {
			return err
		}
		for vb := range vbucket.ID(vbucket.MaxCount) {
			findings, err := b.Verify(vb)
			if err != nil && !errors.Is(err, storage.ErrNotFound) {
				return fmt.Errorf("bucket %s, vb %d: %w", uuid, vb, err)
			}
			if len(findings.Breaches) > 0 {
				return fmt.Errorf("bucket %s, vb %d: %q", uuid, vb, findings.Breaches)
			}
		}
	}
	return nil
}
