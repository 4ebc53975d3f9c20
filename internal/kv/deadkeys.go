package kv

import "sync/atomic"

// deadKeys remembers which keys of a vBucket may have a tombstone on disk and none in memory: a Bloom filter with two bits a
// key. Two questions need it. Who writes a document that has no item must know whether there is an old row to delete; who
// asks for the metadata of a deleted document wants that row. Without it both would have to look on disk for every key that
// is not there.
//
// Keys are added under the vBucket's lock; the flusher looks without. It finds all that matter to it: a tombstone leaves
// memory before its key is written again, and so before the run begins that writes the key.
type deadKeys struct{ words [deadWords]atomic.Uint64 }

const (
	deadWords = 512 // 4 KiB; 5 % false answers at 4 000 keys
	deadBits  = deadWords * 64
	deadBytes = deadWords * 8
)

func deadPlaces(hash uint32) (uint32, uint32) {
	return hash % deadBits, hash >> (hashBits - 15) % deadBits
}

func (d *deadKeys) add(hash uint32) {
	x, y := deadPlaces(hash)
	d.words[x/64].Or(1 << (x % 64))
	d.words[y/64].Or(1 << (y % 64))
}

func (d *deadKeys) has(hash uint32) bool {
	if d == nil {
		return false
	}
	x, y := deadPlaces(hash)
	return d.words[x/64].Load()>>(x%64)&1 != 0 && d.words[y/64].Load()>>(y%64)&1 != 0
}

// bury notes that a key has a tombstone on disk only. Call it with the lock held.
func (vb *vBucket) buryKey(b *Bucket, hash uint32) {
	if vb.mu.disk.dead == nil {
		vb.mu.disk.dead = &deadKeys{}
		b.tables.Add(deadBytes)
	}
	vb.mu.disk.dead.add(hash)
}
