package mcserver

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/spec"
)

// manifestDoc is the JSON form of a manifest (wire.md 9.1): all ids are hexadecimal strings.
type manifestDoc struct {
	UID    string     `json:"uid"`
	Scopes []scopeDoc `json:"scopes"`
}

type scopeDoc struct {
	Name        string          `json:"name"`
	UID         string          `json:"uid"`
	Collections []collectionDoc `json:"collections"`
}

type collectionDoc struct {
	Name   string `json:"name"`
	UID    string `json:"uid"`
	MaxTTL *int32 `json:"maxTTL,omitempty"`
}

func hexUID(id uint64) string { return strconv.FormatUint(id, 16) }

// manifest answers COLLECTIONS_GET_MANIFEST with the scopes and collections that the user may see.
func (c *conn) manifest(_ context.Context, w *work, q *request) error {
	rights, err := c.rights(q)
	if err != nil {
		return err
	}
	m := c.session.bucket.Manifest()
	doc := manifestDoc{UID: hexUID(m.UID), Scopes: []scopeDoc{}}
	for i := range m.Scopes {
		scope := scopeDoc{Name: m.Scopes[i].Name, UID: hexUID(uint64(m.Scopes[i].ID)), Collections: []collectionDoc{}}
		for _, col := range m.Scopes[i].Collections {
			if !rights.Sees(scope.Name, col.Name) {
				continue
			}
			d := collectionDoc{Name: col.Name, UID: hexUID(uint64(col.ID))}
			if col.MaxTTL != 0 {
				d.MaxTTL = &col.MaxTTL
			}
			scope.Collections = append(scope.Collections, d)
		}
		if len(scope.Collections) > 0 || rights.Sees(scope.Name, "") {
			doc.Scopes = append(doc.Scopes, scope)
		}
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	w.value(&c.session, q, jsonBit, text)
	return nil
}

// path reads the name that GET_ID and GET_SCOPE_ID carry: in the value, or in the key as old clients send it.
func path(q *request) (string, error) {
	switch {
	case q.VB != 0:
		return "", invalid("Request vBucket must be 0")
	case len(q.Key) > 0 && len(q.Value) > 0:
		return "", invalid("Request must include a path in either key or value")
	case len(q.Key) > 0:
		return string(q.Key), nil
	case len(q.Value) > 0:
		return string(q.Value), nil
	}
	return "", invalid("Request must include a path")
}

// maxName bounds the name of a scope or collection, in bytes (wire.md 18).
const maxName = 251

// validName reports whether a scope or collection can have that name.
func validName(name string) bool {
	if name == spec.DefaultScope {
		return true
	}
	if name == "" || len(name) > maxName || name[0] == '%' {
		return false
	}
	for i := range len(name) {
		b := name[i]
		if (b < 'a' || b > 'z') && (b < 'A' || b > 'Z') && (b < '0' || b > '9') && b != '_' && b != '-' && b != '%' {
			return false
		}
	}
	return true
}

// orDefault gives the name that an empty part of a path stands for.
func orDefault(name string) string {
	if name == "" {
		return spec.DefaultScope
	}
	return name
}

// collectionID answers COLLECTIONS_GET_ID.
func (c *conn) collectionID(_ context.Context, w *work, q *request) error {
	p, err := path(q)
	if err != nil {
		return err
	}
	scopeName, name, ok := strings.Cut(p, ".")
	scopeName, name = orDefault(scopeName), orDefault(name)
	if !ok || !validName(scopeName) || !validName(name) {
		return invalid("Path must be scope.collection")
	}
	rights, err := c.rights(q)
	if err != nil {
		return err
	}
	m := c.session.bucket.Manifest()
	scope := m.Scope(scopeName)
	if scope == nil {
		return &spec.UnknownScopeError{Manifest: m.UID}
	}
	col := scope.Collection(name)
	if col == nil || !rights.Sees(scopeName, name) {
		return &spec.UnknownCollectionError{Manifest: m.UID}
	}
	c.replyID(w, q, m.UID, col.ID)
	return nil
}

// scopeID answers COLLECTIONS_GET_SCOPE_ID. Of a path scope.collection only the scope counts.
func (c *conn) scopeID(_ context.Context, w *work, q *request) error {
	p, err := path(q)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(p, ".")
	name = orDefault(name)
	if !validName(name) {
		return invalid("Path must be the name of a scope")
	}
	rights, err := c.rights(q)
	if err != nil {
		return err
	}
	m := c.session.bucket.Manifest()
	scope := m.Scope(name)
	visible := scope != nil && rights.Sees(name, "")
	for i := 0; scope != nil && i < len(scope.Collections); i++ {
		visible = visible || rights.Sees(name, scope.Collections[i].Name)
	}
	if !visible {
		return &spec.UnknownScopeError{Manifest: m.UID}
	}
	c.replyID(w, q, m.UID, scope.ID)
	return nil
}

func (c *conn) replyID(w *work, q *request, manifest uint64, id uint32) {
	at := w.open(&c.session)
	w.putUint64(manifest)
	w.putUint32(id)
	w.seal(&c.session, q, at, reply{extras: mcbp.CollectionIDLen})
}
