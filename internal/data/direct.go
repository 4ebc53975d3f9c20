package data

import (
	"context"
	"errors"
	"fmt"

	"github.com/charpoy/charpoy/internal/docid"
	"github.com/charpoy/charpoy/internal/kv"
	"github.com/charpoy/charpoy/internal/spec"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Place names a collection. Empty scopes and collections stand for the default ones.
type Place struct{ Bucket, Scope, Collection string }

// Document is a document as Read gives it and Write takes it. Value is inflated and without extended attributes.
type Document struct {
	Value  []byte
	Flags  uint32
	Expiry uint32 // Unix seconds, 0 = none
	CAS    uint64 // not for Write
	JSON   bool   // not for Write: the value is valid JSON
}

// find gives the bucket of a place and the key in it.
func (n *Node) find(p Place, name string) (*kv.Bucket, kv.Key, error) {
	b, err := n.Bucket(p.Bucket)
	if err != nil {
		return nil, kv.Key{}, fmt.Errorf("bucket %s: %w", p.Bucket, err)
	}
	if p.Scope == "" {
		p.Scope = spec.DefaultScope
	}
	if p.Collection == "" {
		p.Collection = spec.DefaultCollection
	}
	m := b.Manifest()
	s := m.Scope(p.Scope)
	if s == nil {
		return nil, kv.Key{}, fmt.Errorf("scope %s: %w", p.Scope, &spec.UnknownScopeError{Manifest: m.UID})
	}
	c := s.Collection(p.Collection)
	if c == nil {
		return nil, kv.Key{}, fmt.Errorf("collection %s.%s: %w", p.Scope, p.Collection, &spec.UnknownCollectionError{Manifest: m.UID})
	}
	most := docid.MaxCollectionKey
	if c.ID == uint32(docid.Default) {
		most = docid.MaxKey
	}
	if name == "" || len(name) > most {
		return nil, kv.Key{}, fmt.Errorf("a key has 1 to %d bytes, this one has %d", most, len(name))
	}
	key := []byte(name)
	return b.kv, b.kv.Key(vbucket.Of(key, b.Spec().NumVBuckets), docid.Collection(c.ID), key), nil
}

// Read reads a document without a connection: for tests and test servers, whose own looks must not be among the operations of
// clients. found is false if there is no such document. The errors are those of kv.Bucket.Get, ErrNoBucket, ErrNotReady and
// those of places that do not exist.
func (n *Node) Read(ctx context.Context, p Place, key string) (d Document, found bool, err error) {
	b, k, err := n.find(p, key)
	if err != nil {
		return Document{}, false, err
	}
	m, stored, err := b.Get(ctx, n.options.Clock.Now(), k, nil)
	if errors.Is(err, kv.ErrNotFound) {
		return Document{}, false, nil
	}
	if err == nil && m.Datatype&value.Snappy != 0 {
		stored, err = value.Inflate(nil, stored)
	}
	if err != nil {
		return Document{}, false, err
	}
	_, body, err := value.Split(stored, m.Datatype)
	if err != nil {
		return Document{}, false, err
	}
	d = Document{Value: body, Flags: m.Flags, Expiry: m.Expiry, CAS: uint64(m.CAS), JSON: m.Datatype&value.JSON != 0}
	return d, true, nil
}

// Write writes a document without a connection, see Read. Its errors are those of kv.Bucket.Set.
func (n *Node) Write(ctx context.Context, p Place, key string, d Document) error {
	b, k, err := n.find(p, key)
	if err != nil {
		return err
	}
	_, err = b.Set(ctx, n.options.Clock.Now(), k, &kv.Write{Value: d.Value, Flags: d.Flags, Expiry: d.Expiry})
	return err
}

// Erase deletes a document without a connection, see Read, and reports whether there was one. Its errors are those of
// kv.Bucket.Delete.
func (n *Node) Erase(ctx context.Context, p Place, key string) (was bool, err error) {
	b, k, err := n.find(p, key)
	if err != nil {
		return false, err
	}
	_, err = b.Delete(ctx, n.options.Clock.Now(), k, &kv.Write{})
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
