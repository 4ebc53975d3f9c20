package main

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// cpusOf makes a set; nil stands for no change.
func cpusOf(cpus []int) *unix.CPUSet {
	if len(cpus) == 0 {
		return nil
	}
	set := &unix.CPUSet{}
	for _, c := range cpus {
		set.Set(c)
	}
	return set
}

// ownCPUs lists the CPUs that this process may use.
func ownCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, err
	}
	var cpus []int
	for c := 0; len(cpus) < set.Count(); c++ {
		if set.IsSet(c) {
			cpus = append(cpus, c)
		}
	}
	return cpus, nil
}

// startOn starts a command on the given CPUs: a child begins with the set of the thread that made it.
func startOn(cpus []int, cmd *exec.Cmd) error {
	set := cpusOf(cpus)
	if set == nil {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, set); err != nil {
		return err
	}
	err := cmd.Start()
	if restored := unix.SchedSetaffinity(0, &before); err == nil {
		err = restored
	}
	return err
}

// moveTo lets all threads of this process run on the given CPUs only.
func moveTo(cpus []int) error {
	set := cpusOf(cpus)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil || set == nil {
		return err
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, set); err != nil && err != unix.ESRCH { // a thread may just have ended
			return err
		}
	}
	return nil
}
