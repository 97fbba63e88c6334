package worker

import (
	"os"
	"strconv"
	"strings"
)

// quota is how many cores the container may use on average, from the control group's cpu.max (version 2) or cpu.cfs_quota_us
// (version 1); 0 when there is no limit, or none that can be read.
func quota() float64 {
	if text, err := os.ReadFile("/sys/fs/cgroup/cpu.max"); err == nil {
		return parseQuota(string(text))
	}
	limit, err1 := os.ReadFile("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
	period, err2 := os.ReadFile("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
	if err1 != nil || err2 != nil {
		return 0
	}
	return parseQuota(string(limit) + " " + string(period))
}

// parseQuota reads "QUOTA PERIOD" in microseconds, where QUOTA may be max, or negative for the same.
func parseQuota(text string) float64 {
	f := strings.Fields(text)
	if len(f) != 2 {
		return 0
	}
	limit, err1 := strconv.ParseFloat(f[0], 64)
	period, err2 := strconv.ParseFloat(f[1], 64)
	if err1 != nil || err2 != nil || !(limit > 0) || !(period > 0) {
		return 0
	}
	return limit / period
}
