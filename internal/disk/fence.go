package disk

import "sync/atomic"

// Fence is a file system that can be shut: from then on nothing is changed any more through it, as if the process had ended
// at that moment, while reading goes on. A storage engine that met an error it cannot recover from is fenced off, so that
// what its background work does afterwards cannot make matters worse before the process is gone.
type Fence struct {
	*Hooked
	err atomic.Pointer[error]
}

// NewFence wraps fs with an open fence.
func NewFence(fs FS) *Fence {
	f := &Fence{Hooked: NewHooked(fs)}
	f.Judge(func(op Op) Verdict {
		if err := f.err.Load(); err != nil && op.Kind.Changes() {
			return Verdict{Err: *err}
		}
		return Verdict{}
	})
	return f
}

// Shut makes every later operation that would change something fail with err, which must not be nil. The first error stays.
func (f *Fence) Shut(err error) { f.err.CompareAndSwap(nil, &err) }
