package httpapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/charpoy/charpoy/internal/auth"
	"github.com/charpoy/charpoy/internal/client"
	"github.com/charpoy/charpoy/internal/cluster"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// remoteDocuments reaches documents over a KV port. It logs in as the node itself and acts for the caller of each operation,
// so that the caller's rights are checked there, by the code that checks those of SDKs (docs/adr/0002).
type remoteDocuments struct{ pool *client.Pool }

// NewDocuments gives the Documents of the node whose KV port is at addr (host:port). internal gives the name and password of
// the node's own client. Nothing is dialled before the first operation; there is one connection for each bucket in use.
func NewDocuments(addr string, internal func() (user, password string)) Documents {
	user, password := internal()
	return &remoteDocuments{client.NewPool(client.Options{
		Addr: addr, User: user, Password: password, Agent: "charpoy-http", Timeout: docTime,
	})}
}

// Close implements Documents.
func (d *remoteDocuments) Close() error { return d.pool.Close() }

// Get implements Documents.
func (d *remoteDocuments) Get(ctx context.Context, user, bucket string, key []byte) (Document, error) {
	var out Document
	err := d.pool.Do(ctx, bucket, func(c *client.Conn) error {
		doc, err := c.Get(ctx, string(key), client.With{As: user})
		out = Document{Value: doc.Value, JSON: doc.JSON(), Flags: doc.Flags, CAS: uint64(doc.CAS)}
		return err
	})
	if errors.Is(err, client.ErrConnection) {
		err = fmt.Errorf("%w: %w", ErrTemporary, err) // a read may simply be done again
	}
	return out, documentError(err)
}

// Put implements Documents.
func (d *remoteDocuments) Put(ctx context.Context, user, bucket string, key []byte, doc Document) (uint64, error) {
	with := client.With{CAS: vbucket.CAS(doc.CAS), Flags: doc.Flags, Expiry: doc.Expiry, As: user}
	var out client.Written
	err := d.pool.Do(ctx, bucket, func(c *client.Conn) (err error) {
		if doc.Add {
			out, err = c.Add(ctx, string(key), doc.Value, with)
		} else {
			out, err = c.Set(ctx, string(key), doc.Value, with)
		}
		return err
	})
	return uint64(out.CAS), documentError(err)
}

// Delete implements Documents.
func (d *remoteDocuments) Delete(ctx context.Context, user, bucket string, key []byte, cas uint64) (uint64, error) {
	var out client.Written
	err := d.pool.Do(ctx, bucket, func(c *client.Conn) (err error) {
		out, err = c.Delete(ctx, string(key), client.With{CAS: vbucket.CAS(cas), As: user})
		return err
	})
	return uint64(out.CAS), documentError(err)
}

// documentError is the table from errors of the client to those of Documents; the first line that fits counts.
func documentError(err error) error {
	if err == nil {
		return nil
	}
	for _, line := range []struct{ from, to error }{
		{ErrTemporary, ErrTemporary},
		{client.ErrNoBucket, cluster.ErrNoBucket}, // before ErrAccess: both are answered alike when a bucket is selected
		{client.ErrAccess, auth.ErrNotAllowed},
		{client.ErrNotFound, ErrNoDocument},
		{client.ErrCASMismatch, ErrDocumentChanged}, // before ErrExists, which is the same status without a CAS
		{client.ErrExists, ErrDocumentExists},
		{client.ErrTooBig, ErrDocumentTooBig},
		{client.ErrInvalid, ErrBadDocument},
		{client.ErrLocked, ErrDocumentLocked},
		{client.ErrNoMemory, ErrNoMemory},
		{client.ErrTemporary, ErrTemporary},
		{client.ErrSyncWriteInProgress, ErrTemporary},
		{client.ErrNotSent, ErrTemporary},
		{client.ErrConnection, ErrOutcomeUnknown},
		{client.ErrDurabilityAmbiguous, ErrOutcomeUnknown},
		{client.ErrDurabilityImpossible, ErrNotDurable},
		{client.ErrDurabilityInvalid, ErrNotDurable},
	} {
		if errors.Is(err, line.from) {
			return fmt.Errorf("%w (%w)", line.to, err)
		}
	}
	return err
}
