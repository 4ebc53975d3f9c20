package kv

import (
	"errors"
	"fmt"

	"github.com/charpoy/charpoy/internal/change"
	"github.com/charpoy/charpoy/internal/storage"
	"github.com/charpoy/charpoy/internal/vbucket"
)

// recovered reads how far each vBucket reaches on disk, without its keys. If the bucket was not closed in order, each
// history goes on as a new branch, which is on disk before anything is served: what was in memory only is lost, and its
// seqnos will be given again (kv.md 14).
func (p *persistence) recovered() error {
	b := p.b
	if err := p.raiseCeiling(b.clock.Now().Wall); err != nil {
		return err
	}
	flushed, err := b.store.Flushed()
	if err != nil {
		return err
	}
	b.meta.flushed = flushed
	clean, err := b.store.TakeClean()
	if err != nil {
		return err
	}
	var changes []storage.LocalChange
	for i := range b.vbs {
		change, err := p.recoverVBucket(&b.vbs[i], clean)
		if err != nil {
			return err
		}
		if change != nil {
			changes = append(changes, *change)
		}
	}
	if len(changes) > 0 {
		if err := b.store.PutLocal(true, changes); err != nil {
			return err
		}
	}
	if !clean {
		b.logger.Info("bucket was not closed in order: its vBuckets begin new branches of history", "vbuckets", len(changes))
	}
	return nil
}

// recoverVBucket sets a vBucket up as its local rows say, and gives what must be written before it may serve.
func (p *persistence) recoverVBucket(vb *vBucket, clean bool) (*storage.LocalChange, error) {
	b := p.b
	s, l, err := b.store.Local(vb.id)
	if errors.Is(err, storage.ErrNotFound) { // nothing to load
		vb.mu.Lock()
		defer vb.mu.Unlock()
		vb.follow(b)
		vb.becomeReady()
		return nil, nil
	}
	var damage *storage.CorruptionError
	switch {
	case errors.As(err, &damage):
		b.quarantine(vb, damage)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("vb %d: %w", vb.id, err)
	}
	var renewed *storage.LocalChange
	if (!clean || !s.Whole()) && l.State != vbucket.Replica && l.State != vbucket.Pending {
		if renewed, err = p.renew(vb, &s, &l); err != nil {
			if errors.As(err, &damage) {
				b.quarantine(vb, damage)
				return nil, nil
			}
			return nil, fmt.Errorf("vb %d: %w", vb.id, err)
		}
	}
	vb.mu.Lock()
	defer vb.mu.Unlock()
	vb.mu.failovers, vb.mu.uuid, vb.mu.purge = l.Failover, l.Failover.Current(), l.Purge
	vb.mu.high, vb.mu.claimed, vb.mu.persisted = s.High, s.High, s.High
	vb.mu.snapStart, vb.mu.snapEnd = s.SnapStart, s.SnapEnd
	vb.persisted.Store(uint64(s.High))
	vb.mu.maxDeletedRev = s.MaxDeletedRev
	vb.mu.clock.Observe(uint64(s.MaxCAS))
	vb.mu.window.base = s.High
	vb.mu.disk.known, vb.mu.disk.opaque, vb.mu.disk.loaded = true, l.Opaque, s
	vb.follow(b)
	return renewed, nil
}

// follow gives the flusher its place in the vBucket. Call it with the lock held.
func (vb *vBucket) follow(b *Bucket) {
	c := &cursor{r: b.disk, vb: vb, next: vb.mu.high + 1}
	vb.mu.disk.cursor = c
	vb.addCursor(c)
}

// renew begins a new branch of a history that a crash cut off. If the crash came in the middle of a snapshot, some keys are
// newer than its begin and others lack a later version, so the branch begins where the snapshot did: who followed the old one
// beyond must go back there (kv.md 14.3).
func (p *persistence) renew(vb *vBucket, s *storage.State, l *storage.Local) (*storage.LocalChange, error) {
	at := s.High
	if !s.Whole() {
		at = s.SnapStart
		items, bytes, err := p.countRows(vb.id)
		if err != nil {
			return nil, err
		}
		s.Items, s.Bytes = items, bytes
		s.SnapStart, s.SnapEnd = s.High, s.High
	}
	l.Failover = l.Failover.Begin(newUUID(), at)
	return &storage.LocalChange{ID: vb.id, State: s, Local: l}, nil
}

// countRows counts the documents of a vBucket on disk, and their keys and values.
func (p *persistence) countRows(id vbucket.ID) (items, bytes uint64, err error) {
	scan, err := p.b.store.ScanMeta(id)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	for scan.Next() {
		if r := scan.Row(); r.Op == change.OpMutation {
			_, key := scan.Key()
			items++
			bytes += uint64(len(key)) + uint64(r.ValueLen)
		}
	}
	return items, bytes, scan.Err()
}

// raiseCeiling sees to it that the ceiling on disk is ahead of the clock and of what was given.
func (p *persistence) raiseCeiling(wall int64) error {
	cas := max(vbucket.CAS(max(wall, 0)), vbucket.CAS(p.maxCAS.Load()))
	ceiling, err := p.b.store.DB().KeepCASCeiling(cas)
	if err != nil {
		return err
	}
	p.ceiling.Store(int64(ceiling))
	return nil
}
