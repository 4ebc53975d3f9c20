package disk

import (
	"errors"
	"io"
	"io/fs"
	"time"
)

// Timed wraps fs so that done hears of each write and each sync with the time that it took, and of everything else that
// failed for a reason of the disk; that a file is not there, or there already, is none. It is called from the goroutine that
// did the operation, after it, and must be quick. Put it directly around the machine's file system, so that it sees what the
// disk does and not what is made of it.
func Timed(fs FS, done func(op Op, took time.Duration, err error)) FS {
	h := NewHooked(fs)
	h.done = done
	return h
}

// begin reads the clock for an operation whose time is told. The zero time means that it is not.
func (h *Hooked) begin(kind Kind) time.Time {
	if h.done == nil || kind != Write && kind != Sync {
		return time.Time{}
	}
	return time.Now()
}

// end tells of an operation that has ended.
func (h *Hooked) end(op Op, begun time.Time, err error) {
	switch {
	case h.done == nil:
	case !begun.IsZero():
		h.done(op, time.Since(begun), err)
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist):
		h.done(op, 0, err)
	}
}
