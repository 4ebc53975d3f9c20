package node

import (
	"context"
	"slices"

	"github.com/charpoy/charpoy/internal/data"
	"github.com/charpoy/charpoy/internal/mcserver"
)

// What a test kit does with the documents of a node without a connection. The types are those of the data plane.
type (
	// Snapshot is the documents of all buckets.
	Snapshot = data.Snapshot
	// Place names a collection.
	Place = data.Place
	// Document is a document that is read or written without a connection.
	Document = data.Document
)

// Snapshot copies the documents of all buckets, see data.Node.Snapshot.
func (n *Node) Snapshot(ctx context.Context) (*Snapshot, error) { return n.data.Snapshot(ctx) }

// Restore replaces the documents of all buckets, see data.Node.Restore.
func (n *Node) Restore(ctx context.Context, s *Snapshot) error { return n.data.Restore(ctx, s) }

// Sweep makes tombstones of all documents whose time has come, and tells how many they were. It is for who has moved the
// clock.
func (n *Node) Sweep(ctx context.Context) int { return n.data.Sweep(ctx) }

// Read reads a document without a connection, see data.Node.Read.
func (n *Node) Read(ctx context.Context, p Place, key string) (d Document, found bool, err error) {
	return n.data.Read(ctx, p, key)
}

// Write writes a document without a connection, see data.Node.Write.
func (n *Node) Write(ctx context.Context, p Place, key string, d Document) error {
	return n.data.Write(ctx, p, key, d)
}

// Erase deletes a document without a connection, see data.Node.Erase.
func (n *Node) Erase(ctx context.Context, p Place, key string) (was bool, err error) {
	return n.data.Erase(ctx, p, key)
}

// Operations lists the names of the operations that Options.Interceptor can be told of.
func Operations() []string { return mcserver.Operations() }

// Nothing is the snapshot without any document.
func Nothing() *Snapshot { return &Snapshot{} }

// Buckets lists the names of all buckets, in order.
func (n *Node) Buckets() []string {
	var names []string
	for _, b := range n.cluster.State().Buckets {
		names = append(names, b.Spec.Name)
	}
	slices.Sort(names)
	return names
}

// StatusName is the name of the number of a status, as an interceptor is told it.
func StatusName(number uint16) string { return mcserver.StatusName(number) }

// ParseStatus finds the number of a status by its name; ok is false if there is none.
func ParseStatus(name string) (number uint16, ok bool) { return mcserver.ParseStatus(name) }
