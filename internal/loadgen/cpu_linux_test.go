package loadgen

import (
	"os"
	"testing"
)

// TestProcessCPU: the clock of another process, here our own by its number, is the one that the process itself reads.
func TestProcessCPU(t *testing.T) {
	before := ownCPU()
	got, err := ProcessCPU(os.Getpid())
	after := ownCPU()
	if err != nil || got < before || got > after {
		t.Errorf("CPU time %v, error %v; want between %v and %v", got, err, before, after)
	}
	if own := threadCPU(); own <= 0 || own > after {
		t.Errorf("CPU time of the thread %v, of the process %v", own, after)
	}
	for _, pid := range []int{-1, 0, 1 << 22, 1 << 30} {
		if _, err := ProcessCPU(pid); err == nil {
			t.Errorf("process %d, which does not exist, has CPU time", pid)
		}
	}
}
