package node

import (
	"bufio"
	"os"
	"strconv"
	"strings"
)

const (
	minQuota      = 64 << 20
	maxFirstQuota = 1 << 30
	unknownMemory = 4 << 30 // where the machine does not tell
)

// defaultQuota gives each of n first buckets its part of a quarter of the memory that this process may use, at most 1 GiB.
func defaultQuota(n int) int64 {
	return max(min(MemoryLimit()/4/int64(max(n, 1)), maxFirstQuota), minQuota)
}

// MemoryLimit is how much memory this process may use, in bytes: the control group's limit, else the machine's memory.
func MemoryLimit() int64 {
	limit := machineMemory()
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		content, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(content)), 10, 64); err == nil && n > 0 && n < limit {
			limit = n
		}
	}
	return limit
}

func machineMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return unknownMemory
	}
	defer f.Close()
	for scan := bufio.NewScanner(f); scan.Scan(); {
		fields := strings.Fields(scan.Text())
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			if kib, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				return kib << 10
			}
		}
	}
	return unknownMemory
}
