package client

import (
	"context"
	"encoding/binary"
	"strings"

	"github.com/charpoy/charpoy/internal/mcbp"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Stat is one number or word of a statistics group.
type Stat struct{ Name, Value string }

// Observed says how far a vBucket's history has come on the node that answered.
type Observed struct {
	VB        vbucket.ID
	UUID      vbucket.UUID     // the present history
	Persisted vbucket.Seqno    // on disk
	High      vbucket.Seqno    // in memory
	Old       vbucket.Position // zero, or: the history that was asked for is an older one, which ended here
}

// Noop asks for a sign of life.
func (c *Conn) Noop(ctx context.Context) error {
	_, err := c.send(ctx, &mcbp.Frame{Opcode: mcbp.OpNoop}, 0)
	return err
}

// Version asks for the server's version.
func (c *Conn) Version(ctx context.Context) (string, error) {
	reply, err := c.send(ctx, &mcbp.Frame{Opcode: mcbp.OpVersion}, 0)
	return string(reply.Value), err
}

// Buckets lists the names of the buckets that the user may use.
func (c *Conn) Buckets(ctx context.Context) ([]string, error) {
	reply, err := c.send(ctx, &mcbp.Frame{Opcode: mcbp.OpListBuckets}, 0)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(reply.Value)), nil
}

// Stats reads a statistics group, in the order of the server; the empty name is the general one. Arguments follow the name
// after blanks. Errors: ErrNotFound (unknown group), ErrAccess.
func (c *Conn) Stats(ctx context.Context, group string) ([]Stat, error) {
	f := &mcbp.Frame{Opcode: mcbp.OpStat, Key: []byte(group)}
	replies, err := c.exchange(ctx, f, true, 0)
	if err != nil {
		return nil, err
	}
	last := &replies[len(replies)-1]
	if err := statusOf(f, last); err != nil {
		return nil, err
	}
	stats := make([]Stat, 0, len(replies)-1)
	for i := range replies[:len(replies)-1] {
		stats = append(stats, Stat{Name: string(replies[i].Key), Value: string(replies[i].Value)})
	}
	return stats, nil
}

// Keys lists at most count keys of a vBucket in order, from the key from on, which must not be empty; 0 leaves the count to
// the server, which may also give fewer than asked for.
func (c *Conn) Keys(ctx context.Context, vb vbucket.ID, from string, count uint32) ([]string, error) {
	f := &mcbp.Frame{Opcode: mcbp.OpGetKeys, VB: uint16(vb), Key: []byte(from)}
	if count > 0 {
		f.Extras = binary.BigEndian.AppendUint32(nil, count)
	}
	reply, err := c.send(ctx, f, 0)
	if err != nil {
		return nil, err
	}
	return keysReply(&reply)
}

// RandomKey picks a document of the default collection. Error: ErrNotFound if there is none.
func (c *Conn) RandomKey(ctx context.Context) (string, Doc, error) {
	reply, err := c.send(ctx, &mcbp.Frame{Opcode: mcbp.OpGetRandomKey}, 0)
	if err != nil {
		return "", Doc{}, err
	}
	d, err := docReply(&reply)
	return string(reply.Key), d, err
}

// ObserveSeqno asks how far the history uuid of a vBucket has come. Error: ErrNotFound if the vBucket never had it.
func (c *Conn) ObserveSeqno(ctx context.Context, vb vbucket.ID, uuid vbucket.UUID) (Observed, error) {
	reply, err := c.send(ctx, &mcbp.Frame{
		Opcode: mcbp.OpObserveSeqno, VB: uint16(vb), Value: binary.BigEndian.AppendUint64(nil, uint64(uuid)),
	}, 0)
	if err != nil {
		return Observed{}, err
	}
	return observedReply(&reply)
}

// FailoverLog reads the branches of a vBucket's history, newest first.
func (c *Conn) FailoverLog(ctx context.Context, vb vbucket.ID) (vbucket.FailoverLog, error) {
	reply, err := c.send(ctx, &mcbp.Frame{Opcode: mcbp.OpFailoverLog, VB: uint16(vb)}, 0)
	if err != nil {
		return nil, err
	}
	return failoverReply(&reply)
}

// Seqnos reads the high seqno of each vBucket that is in a state; state 0 stands for all but dead ones.
func (c *Conn) Seqnos(ctx context.Context, state vbucket.State) (map[vbucket.ID]vbucket.Seqno, error) {
	f := &mcbp.Frame{Opcode: mcbp.OpAllVBSeqnos, Extras: binary.BigEndian.AppendUint32(nil, uint32(state))}
	reply, err := c.send(ctx, f, 0)
	if err != nil {
		return nil, err
	}
	return seqnosReply(&reply)
}
