package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/charpoy/charpoy/internal/cluster/store"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Boot is what a node says of itself at its start, and what an empty store is filled with.
type Boot struct {
	// Self is this node as clients must see it, with the ports that were bound. If its UUID is empty the stored one is kept,
	// or one is made up.
	Self vbucket.Node

	// The rest matters at the first boot only.
	ClusterName string
	Users       []spec.User
	Buckets     []spec.Bucket
}

// Bootstrapped reports whether the store holds a cluster already, so that first-boot values would be ignored.
func (c *Cluster) Bootstrapped(ctx context.Context) (bool, error) {
	_, err := c.store.Get(ctx, keyMeta)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Bootstrap makes a cluster of an empty store, in one transaction, and tells whether it did. Then it writes down what this
// node is if that has changed, and publishes the first State.
func (c *Cluster) Bootstrap(ctx context.Context, boot Boot) (fresh bool, err error) {
	was, err := c.Bootstrapped(ctx)
	if err != nil {
		return false, fmt.Errorf("bootstrap: %w", err)
	}
	if was {
		err = c.register(ctx, boot.Self)
	} else {
		err = c.found(ctx, boot)
	}
	if err != nil {
		return false, fmt.Errorf("bootstrap: %w", err)
	}
	if _, err := c.reload(ctx); err != nil {
		return false, fmt.Errorf("bootstrap: %w", err)
	}
	return !was, nil
}

func (c *Cluster) found(ctx context.Context, boot Boot) error {
	if boot.Self.UUID == "" {
		boot.Self.UUID = newUUID()
	}
	t := store.Txn{
		If: []store.Condition{{Key: keyMeta}},
		Puts: []store.Put{
			putJSON(keyMeta, metaValue{ClusterUUID: newUUID(), RevEpoch: 1, Compat: compatVersion}),
			putJSON(keySettings, settingsValue{ClusterName: boot.ClusterName}),
			putJSON(keySelf, valueOf(selfID, boot.Self)),
		},
	}
	for _, u := range boot.Users {
		if err := spec.ValidateUserID("name", u.ID); err != nil {
			return err
		}
		t.Puts = append(t.Puts, putJSON(keyUser(u.Domain, u.ID), u))
	}
	if len(boot.Buckets) > spec.MaxBuckets {
		return ErrTooManyBuckets
	}
	for _, b := range boot.Buckets {
		puts, err := bucketPuts(b)
		if err != nil {
			return err
		}
		t.Puts = append(t.Puts, puts...)
	}
	_, err := c.store.Txn(ctx, t)
	return err
}

// register writes down what this node is now. Its key is part of every served configuration, so it is not touched if
// nothing has changed.
func (c *Cluster) register(ctx context.Context, self vbucket.Node) error {
	e, err := c.store.Get(ctx, keySelf)
	if err != nil {
		return err
	}
	var old nodeValue
	if err := json.Unmarshal(e.Value, &old); err != nil {
		return keyError(e.Key, err)
	}
	if self.UUID == "" {
		self.UUID = old.UUID
	}
	put := putJSON(keySelf, valueOf(selfID, self))
	if string(put.Value) == string(e.Value) {
		return nil
	}
	_, err = c.store.Txn(ctx, store.Txn{
		If:   []store.Condition{{Key: e.Key, Modified: e.Modified}},
		Puts: []store.Put{put},
	})
	return err
}

// newUUID gives 32 random hex digits.
func newUUID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails: the runtime ends the process first
	return hex.EncodeToString(b)
}
