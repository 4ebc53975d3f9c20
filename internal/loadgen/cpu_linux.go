package loadgen

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ProcessCPU gives the CPU time (user and system) that a process on this machine has used, all its threads, those that have
// ended among them. It reads the process's CPU clock, which counts nanoseconds where /proc/PID/stat counts ticks of 10 ms.
func ProcessCPU(pid int) (time.Duration, error) {
	// The number of another process's clock, as clock_getcpuclockid(3) computes it.
	const schedulerClock, maxPID = 2, 1 << 22
	if pid < 1 || pid > maxPID {
		return 0, fmt.Errorf("%w: no process has the number %d", errNoCPU, pid)
	}
	d, err := readClock(int32(^pid)<<3 | schedulerClock)
	if err != nil {
		return 0, fmt.Errorf("CPU time of process %d: %w", pid, err)
	}
	return d, nil
}

// threadCPU is the CPU time of the calling thread; negative if it cannot be read.
func threadCPU() time.Duration {
	d, err := readClock(unix.CLOCK_THREAD_CPUTIME_ID)
	if err != nil {
		return -1
	}
	return d
}

// ownCPU is the CPU time of this process; negative if it cannot be read.
func ownCPU() time.Duration {
	d, err := readClock(unix.CLOCK_PROCESS_CPUTIME_ID)
	if err != nil {
		return -1
	}
	return d
}

func readClock(id int32) (time.Duration, error) {
	var t unix.Timespec
	err := unix.ClockGettime(id, &t)
	return time.Duration(t.Nano()), err
}
