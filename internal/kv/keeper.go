package kv

import (
	"context"
	"time"
)

// keep watches what changes slowly: the free space of the disk, the CAS ceiling, how far the flusher is behind, and when old
// tombstones are due.
func (p *persistence) keep(ctx context.Context) {
	slow := time.NewTicker(keepInterval)
	defer slow.Stop()
	quick := time.NewTicker(brakeInterval)
	defer quick.Stop()
	purge := time.NewTicker(p.b.options.PurgeInterval)
	defer purge.Stop()
	size := int64(0) // of an item, on average
	for {
		select {
		case <-ctx.Done():
			return
		case <-quick.C:
			p.setBrake(size)
		case <-slow.C:
			size = p.lookAround()
			if err := p.watchDisk(); err != nil && ctx.Err() == nil {
				p.b.logger.Warn("cannot watch the disk", "error", err)
			}
			if n, err := p.b.store.DiskBytes(); err == nil { // else the store has failed, which others report
				p.space.Store(n)
			}
		case <-purge.C:
			p.duePurges()
		}
	}
}

// watchDisk stops mutations when the disk is nearly full, and lets them go on when it is not; and raises the CAS ceiling.
func (p *persistence) watchDisk() error {
	db := p.b.store.DB()
	if _, err := db.CheckSpace(); err != nil {
		return err
	}
	p.b.refusing.Store(db.Low() || db.Failed() != nil)
	return p.raiseCeiling(p.b.clock.Now().Wall)
}

// lookAround tells how large an item is on average, and frees tombstones that are on disk where there are many.
func (p *persistence) lookAround() (size int64) {
	items, bytes := int64(0), int64(0)
	for i := range p.b.vbs {
		vb := &p.b.vbs[i]
		vb.mu.Lock()
		n, dead := vb.mu.items, vb.mu.tombstones
		bytes += vb.mu.bytes
		vb.mu.Unlock()
		items += int64(n + dead)
		if dead > manyTombstones && dead > n/8 {
			vb.forgetTombstones(p.b)
		}
	}
	return bytes / max(items, 1)
}

// duePurges has the flusher look for old tombstones where there may be some.
func (p *persistence) duePurges() {
	for i := range p.b.vbs {
		vb := &p.b.vbs[i]
		vb.mu.Lock()
		has := vb.mu.disk.tombstones > 0 && vb.mu.ready
		vb.mu.Unlock()
		if has {
			p.purges.add(vb.id)
			p.b.disk.mark(vb.id)
		}
	}
}

// setBrake works out by how much writers should be slowed. Memory takes mutations 25 to 50 times faster than the disk does,
// so that clients that never wait would fill the quota with what is not on disk within seconds, and then meet refusals. From
// 70 % of what may be dirty each batch of mutations waits a little, up to maxBrake, so that clients settle at the speed of
// the flusher. What compaction is behind counts as well, before the engine stops all writes.
func (p *persistence) setBrake(size int64) {
	b := p.b
	conf := b.config.Load()
	window := b.window.Load()
	if window > conf.window/2 {
		b.press()
	}
	share := float64(window) / float64(max(conf.window, 1))
	writes := float64(max(conf.writes, 1))
	// The window's chunks are mostly empty where little is written, so its size is an upper bound. Only where that is much
	// the changes are counted.
	if window/entryBytes*size > int64(brakeFrom*writes) {
		share = max(share, float64(min(p.unsaved()*size, b.used.Load()))/writes)
	}
	share = max(share, b.store.DB().Pressure())
	over := (share - brakeFrom) / (1 - brakeFrom)
	p.brake.Store(int64(min(max(over, 0), 1) * float64(maxBrake)))
}

// unsaved counts the changes that are not on disk.
func (p *persistence) unsaved() (n int64) {
	for i := range p.b.vbs {
		vb := &p.b.vbs[i]
		vb.mu.Lock()
		n += int64(vb.mu.high - vb.mu.persisted)
		vb.mu.Unlock()
	}
	return n
}

// Brake is how long a connection should wait before it answers a batch that has mutations in it, 0 nearly always. It is one
// atomic load.
func (b *Bucket) Brake() time.Duration {
	if b.persist == nil {
		return 0
	}
	return time.Duration(b.persist.brake.Load())
}
