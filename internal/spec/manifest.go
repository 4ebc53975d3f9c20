package spec

import "slices"

// Collection is one collection of a scope.
type Collection struct {
	Name   string `json:"name"`
	ID     uint32 `json:"id"`
	MaxTTL int32  `json:"maxTTL,omitempty"` // seconds; 0 = the bucket's, −1 = none even if the bucket has one
}

// Scope is one scope of a bucket.
type Scope struct {
	Name        string       `json:"name"`
	ID          uint32       `json:"id"`
	Collections []Collection `json:"collections"`
}

// Manifest lists a bucket's scopes and collections. Its UID rises by one with each change.
type Manifest struct {
	UID    uint64  `json:"uid"`
	Scopes []Scope `json:"scopes"`
}

// Names and id of the scope and collection that every bucket begins with.
const (
	DefaultScope      = "_default"
	DefaultCollection = "_default"
)

// NewManifest gives the manifest of a new bucket: the default collection in the default scope.
func NewManifest() Manifest {
	return Manifest{Scopes: []Scope{{Name: DefaultScope, Collections: []Collection{{Name: DefaultCollection}}}}}
}

// Scope finds a scope by name; nil if there is none.
func (m *Manifest) Scope(name string) *Scope {
	i := slices.IndexFunc(m.Scopes, func(s Scope) bool { return s.Name == name })
	if i < 0 {
		return nil
	}
	return &m.Scopes[i]
}

// Collection finds a collection by name; nil if there is none.
func (s *Scope) Collection(name string) *Collection {
	i := slices.IndexFunc(s.Collections, func(c Collection) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &s.Collections[i]
}

// Has reports whether the manifest holds the collection with this id.
func (m *Manifest) Has(id uint32) bool {
	for i := range m.Scopes {
		for j := range m.Scopes[i].Collections {
			if m.Scopes[i].Collections[j].ID == id {
				return true
			}
		}
	}
	return false
}

// UnknownCollectionError says that a collection id or name is not in the manifest with this UID.
type UnknownCollectionError struct{ Manifest uint64 }

// Error says what is unknown.
func (*UnknownCollectionError) Error() string { return "unknown collection" }

// UnknownScopeError says that a scope name is not in the manifest with this UID.
type UnknownScopeError struct{ Manifest uint64 }

// Error says what is unknown.
func (*UnknownScopeError) Error() string { return "unknown scope" }
