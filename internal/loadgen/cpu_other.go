//go:build !linux

package loadgen

import "time"

// ProcessCPU gives the CPU time of a process. This system does not tell that of others.
func ProcessCPU(int) (time.Duration, error) { return 0, errNoCPU }

func ownCPU() time.Duration { return -1 }
