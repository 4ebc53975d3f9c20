//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"runtime"
)

// ownCPUs lists the CPUs that this process may use.
func ownCPUs() ([]int, error) {
	cpus := make([]int, runtime.NumCPU())
	for i := range cpus {
		cpus[i] = i
	}
	return cpus, nil
}

var errNoPinning = errors.New("processes can be pinned on Linux only; try -modes unpinned")

func startOn(cpus []int, cmd *exec.Cmd) error {
	if len(cpus) > 0 {
		return errNoPinning
	}
	return cmd.Start()
}

func moveTo(cpus []int) error {
	if len(cpus) > 0 {
		return errNoPinning
	}
	return nil
}
