package storage

import (
	"errors"
	"fmt"
)

// rowOwner names the cluster that the documents belong to.
const rowOwner = "owner"

// Owner is the UUID of the cluster that the documents belong to, empty if nobody has said so yet.
func (db *DB) Owner() (string, error) {
	row, err := db.get(nil, nodeKey(rowOwner))
	switch {
	case errors.Is(err, ErrNotFound):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("owner of the documents: %w", db.nodeFault(rowOwner, err))
	}
	return string(row), nil
}

// SetOwner writes down, durably, which cluster the documents belong to.
func (db *DB) SetOwner(uuid string) error {
	b := db.pebble.NewBatch()
	if err := b.Set(nodeKey(rowOwner), []byte(uuid), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	if err := db.write(b, true); err != nil {
		return fmt.Errorf("owner of the documents: %w", err)
	}
	return nil
}
