//go:build unix

package mcserver

import (
	"syscall"
	"time"
)

// processTimes is the processor time that this process has taken, in its own code and in the system's.
func processTimes() (user, system time.Duration) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0, 0
	}
	return time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano())
}
