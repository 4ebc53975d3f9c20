package changetest

import (
	"context"
	"fmt"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/value"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// Follower consumes the batches of one reader and checks them. It belongs to one goroutine.
type Follower struct {
	Reader  change.Reader
	History *History
	// Late is called before a snapshot's end is compared with the History, with the seqno that must have been noted by then.
	// Writers that note their writes after they were made wait here. Nil: nothing is late.
	Late func(vb vbucket.ID, high vbucket.Seqno)

	vbs   map[vbucket.ID]*copyOf
	batch change.Batch
}

// copyOf is what the follower has of one vBucket.
type copyOf struct {
	docs     map[string]Version
	at       vbucket.Position // end of the newest complete snapshot
	open     *change.Snapshot // not complete yet
	last     vbucket.Seqno    // within it
	keys     map[string]bool  // delivered in it
	snapshot int              // complete ones
	disk     int              // of them, backfills
}

// NewFollower gives a follower without vBuckets.
func NewFollower(r change.Reader, h *History) *Follower {
	return &Follower{Reader: r, History: h, vbs: map[vbucket.ID]*copyOf{}}
}

// Add starts to follow vb after what the follower has of it: nothing at first.
func (f *Follower) Add(vb vbucket.ID) error {
	c := f.vbs[vb]
	if c == nil {
		c = &copyOf{docs: map[string]Version{}}
		f.vbs[vb] = c
	}
	c.open = nil
	return f.Reader.Add(vb, c.at)
}

// Restart forgets what an incomplete snapshot has brought: the copy becomes what it was at the end of the last complete one.
// A follower does so when the feed has ended its stream, before it adds the vBucket again.
func (f *Follower) Restart(vb vbucket.ID) {
	c := f.vbs[vb]
	c.docs = f.History.At(vb, c.at.Seqno)
}

// Position is the end of the newest complete snapshot of vb.
func (f *Follower) Position(vb vbucket.ID) vbucket.Position { return f.vbs[vb].at }

// Snapshots tells how many snapshots of vb were completed, and how many of them came from disk.
func (f *Follower) Snapshots(vb vbucket.ID) (all, fromDisk int) {
	return f.vbs[vb].snapshot, f.vbs[vb].disk
}

// Step takes one batch from the reader and checks it. It returns the batch, which is good until the next Step. An error is
// the reader's, or says which rule was broken.
func (f *Follower) Step(ctx context.Context) (*change.Batch, error) {
	f.batch = change.Batch{}
	if err := f.Reader.Next(ctx, &f.batch); err != nil {
		return nil, err
	}
	b := &f.batch
	c := f.vbs[b.VB]
	switch {
	case c == nil:
		return nil, fmt.Errorf("a batch of vb %d, which is not followed", b.VB)
	case b.End != nil:
		if len(b.Mutations) > 0 {
			return nil, fmt.Errorf("vb %d: mutations beside End %w", b.VB, b.End)
		}
		return b, nil
	}
	if err := f.apply(c, b); err != nil {
		return nil, fmt.Errorf("vb %d, snapshot (%d, %d]: %w", b.VB, b.Snapshot.Low, b.Snapshot.High, err)
	}
	return b, nil
}

// UntilHigh steps until vb's copy is complete at or above high.
func (f *Follower) UntilHigh(ctx context.Context, vb vbucket.ID, high vbucket.Seqno) error {
	for f.vbs[vb].at.Seqno < high {
		b, err := f.Step(ctx)
		if err != nil {
			return err
		}
		if b.End != nil {
			return fmt.Errorf("vb %d ended: %w", b.VB, b.End)
		}
	}
	return nil
}

func (f *Follower) apply(c *copyOf, b *change.Batch) error {
	if err := c.begin(b); err != nil {
		return err
	}
	for i := range b.Mutations {
		m := &b.Mutations[i]
		body, err := plain(m)
		if err != nil {
			return err
		}
		switch key := string(m.Key); {
		case m.Seqno <= c.last || m.Seqno > b.Snapshot.High:
			return fmt.Errorf("seqno %d after %d", m.Seqno, c.last)
		case c.keys[key]:
			return fmt.Errorf("key %q twice, the second time with seqno %d", key, m.Seqno)
		case m.CAS == 0 || m.Rev == 0:
			return fmt.Errorf("key %q has CAS %d and revision %d", key, m.CAS, m.Rev)
		default:
			c.keys[key] = true
			c.last = m.Seqno
			c.docs[key] = Version{Seqno: m.Seqno, Key: key, Value: body, Deleted: m.Op.Deleted()}
		}
	}
	f.Reader.Ack(b.VB, c.last)
	if b.Complete() {
		return f.complete(c, b)
	}
	return nil
}

// plain gives the value of a mutation as it was written, whatever form it is stored in.
func plain(m *change.Mutation) (string, error) {
	if m.Datatype&value.Snappy == 0 {
		return string(m.Value), nil
	}
	body, err := value.Inflate(nil, m.Value)
	if err != nil {
		return "", fmt.Errorf("key %q: %w", m.Key, err)
	}
	return string(body), nil
}

// begin checks how a batch joins what came before.
func (c *copyOf) begin(b *change.Batch) error {
	s := &b.Snapshot
	switch {
	case len(b.Mutations) == 0:
		return fmt.Errorf("an empty batch")
	case c.open != nil && *c.open != *s:
		return fmt.Errorf("another snapshot, (%d, %d], is not complete", c.open.Low, c.open.High)
	case c.open != nil:
		return nil
	case s.UUID == 0:
		return fmt.Errorf("it names no branch of history")
	case s.Low < c.at.Seqno || s.High <= s.Low:
		return fmt.Errorf("the copy is at %d already", c.at.Seqno)
	case s.Low > c.at.Seqno:
		return fmt.Errorf("there is a gap behind %d", c.at.Seqno)
	}
	open := *s
	c.open, c.last, c.keys = &open, s.Low, map[string]bool{}
	return nil
}

// complete compares the copy with the history at the end of a snapshot.
func (f *Follower) complete(c *copyOf, b *change.Batch) error {
	high := b.Snapshot.High
	if f.Late != nil {
		f.Late(b.VB, high)
	}
	c.at = vbucket.Position{UUID: b.Snapshot.UUID, Seqno: high}
	c.open = nil
	c.snapshot++
	if b.Snapshot.FromDisk {
		c.disk++
	}
	if d := difference(c.docs, f.History.At(b.VB, high)); d != "" {
		return fmt.Errorf("at its end %s", d)
	}
	return nil
}
