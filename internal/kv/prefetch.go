//go:build !race && !heaparena && (linux || darwin || windows)

package kv

import (
	"runtime"
	"sync/atomic"

	"github.com/charpoy/charpoy/internal/arena"
)

// maxPrefetch bounds the keys of one touch pass; more are not looked at.
const maxPrefetch = 64

// Prefetch looks at the slots, then at the items of all keys of a batch, so that the waits for memory overlap that would
// otherwise be paid one after another (kv.md 3.3). What it returns means nothing; the caller must keep it somewhere of its
// own, so that the compiler cannot drop the loads, and never in a place that goroutines share.
//
// It is the only reader of items without a lock. It may see memory that was freed or given to another item: it does nothing
// with it, and follows no reference or length that it finds there.
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
	var sum uint64
	for _, s := range slots[:len(keys)] {
		if s == 0 {
			continue
		}
		r := slotRef(s)
		sum ^= b.arena.Touch(r, 0) ^ b.arena.Touch(r, arena.Line) ^ b.arena.Touch(r, 2*arena.Line)
	}
	runtime.KeepAlive(b) // and with it the address space
	return sum
}
