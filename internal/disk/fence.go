package disk

import (
	"errors"
	"sync/atomic"
	"time"
)

// Fence stands between an engine and a file system. Once it is shut, nothing is changed through it any more, as if the
// process had ended at that moment, while reading goes on: an engine that met an error it cannot recover from is fenced off,
// so that what its background work does afterwards cannot make matters worse before the process is gone.
//
// The fence shuts itself at the first failure of a vital operation. Engines panic when those fail, some with locks in a
// state that even recovering cannot cure. So vital operations succeed in the engine's eyes, from the failed one on, without
// an effect, and it is the owner's part to believe nothing that the engine says after Broken was called. Other operations
// that would change something fail.
type Fence struct {
	*Hooked
	o       FenceOptions
	err     atomic.Pointer[error]
	refused atomic.Uint64
}

// FenceOptions says what is vital. Both are called from the goroutine that does an operation, and must not use the fence.
type FenceOptions struct {
	Vital  func(Op) bool        // asked about changes and Close; nil: nothing is
	Broken func(op Op, e error) // a vital operation failed; called before the engine hears of its supposed success
}

// Background work that tries again at once must not keep a processor busy until the process has ended.
const (
	quickRefusals = 32
	refusalDelay  = 20 * time.Millisecond
)

// NewFence wraps fs with an open fence.
func NewFence(fs FS, o FenceOptions) *Fence {
	if o.Vital == nil {
		o.Vital = func(Op) bool { return false }
	}
	f := &Fence{Hooked: NewHooked(fs), o: o}
	f.met = f.meet
	f.Judge(f.decide)
	return f
}

func (f *Fence) decide(op Op) Verdict {
	err := f.err.Load()
	switch {
	case err == nil:
		return Verdict{}
	case f.vital(op):
		return Verdict{Pretend: true}
	case !op.Kind.Changes():
		return Verdict{}
	}
	v := Verdict{Err: *err}
	if f.refused.Add(1) > quickRefusals {
		v.Delay = refusalDelay
	}
	return v
}

func (f *Fence) vital(op Op) bool {
	return (op.Kind.Changes() || op.Kind == Close) && f.o.Vital(op)
}

func (f *Fence) meet(op Op, err error) error {
	if !f.vital(op) {
		if op.Kind.Changes() && errors.Is(err, ErrNoSpace) {
			<-time.After(refusalDelay) // engines try again at once
		}
		return err
	}
	f.Shut(err)
	f.o.Broken(op, err)
	return nil
}

// Shut shuts the fence with the error that changes fail with, which must not be nil. The first error stays.
func (f *Fence) Shut(err error) { f.err.CompareAndSwap(nil, &err) }
