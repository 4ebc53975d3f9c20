package kv

import (
	"context"
	"errors"

	"github.com/charpoy/charpoy/internal/change"
)

// preload brings values into memory after all keys are there, in each vBucket the newest first, until memory is at the low
// mark. Reading them in the order of the disk is far cheaper than one by one when they are asked for.
func (p *persistence) preload(ctx context.Context) {
	b := p.b
	room := b.config.Load().low - b.memoryNow()
	values := int64(0)
	for i := range b.vbs {
		vb := &b.vbs[i]
		vb.mu.Lock()
		values += vb.mu.docBytes
		vb.mu.Unlock()
	}
	if values == 0 || room <= 0 {
		return
	}
	for i := range b.vbs {
		vb := &b.vbs[i]
		vb.mu.Lock()
		own, wanted := vb.mu.docBytes, vb.mu.ejected > 0
		vb.mu.Unlock()
		if ctx.Err() != nil || b.memoryNow() > b.config.Load().low {
			return
		}
		if !wanted {
			continue
		}
		share := own
		if values > room {
			share = own * (room >> 10) / (values>>10 + 1)
		}
		if err := p.preloadVBucket(ctx, vb, share); err != nil {
			_ = b.unreadable(vb, err) // it is quarantined, which is told to everybody
		}
	}
}

// preloadVBucket reads so many bytes of values.
func (p *persistence) preloadVBucket(ctx context.Context, vb *vBucket, share int64) (err error) {
	b := p.b
	scan, err := b.store.ScanSeqDown(vb.id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, scan.Close()) }()
	for share > 0 && ctx.Err() == nil && scan.Next() {
		m := scan.Mutation()
		if m.Op != change.OpMutation {
			continue
		}
		share -= int64(len(m.Value))
		k := b.Key(vb.id, m.Collection, m.Key)
		if err := vb.fill(b, &k, m, false); err != nil {
			return nil //nolint:nilerr // there is no more memory: that was all
		}
	}
	return scan.Err()
}
