//go:build !race && !heaparena && (linux || darwin || windows)

package kv

import (
	"runtime"
	"sync/atomic"
)

// maxPrefetch bounds the keys of one touch pass; more are not looked at.
const maxPrefetch = 64

// Prefetch looks at the slots of all keys of a batch and then asks for their items, so that the waits for memory overlap that
// would otherwise be paid one after another (kv.md 3.3). What it returns means nothing; the caller must keep it somewhere of
// its own, so that the compiler cannot drop the loads, and never in a place that goroutines share.
//
// It is the only one who goes for items without a lock. Their memory may have been freed or given to another item: it does
// nothing with it, and follows no reference or length that is there.
func (b *Bucket) Prefetch(keys []Key) uint64 {
	var slots [maxPrefetch]uint64
	keys = keys[:min(len(keys), maxPrefetch)]
	for i := range keys {
		k := &keys[i]
		if int(k.VB) >= len(b.vbs) {
			continue
		}
		t := b.vbs[k.VB].table.Load()
		slots[i] = atomic.LoadUint64(&t.slots[k.hash&t.mask])
	}
	sum := b.arena.Fetch(slots[:len(keys)])
	runtime.KeepAlive(b) // and with it the address space
	return sum
}
