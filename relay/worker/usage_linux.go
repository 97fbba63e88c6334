package worker

import (
	"bytes"
	"os"
	"strconv"
	"time"
)

// tick is the unit of CPU times in /proc: USER_HZ, which is 100 on every machine that Go runs on.
const tick = time.Second / 100

// usage is what a process has used so far and holds at present: CPU time of all its threads, and memory in bytes.
func usage(pid int) (cpu time.Duration, memory int64, ok bool) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	return parseStat(text)
}

// parseStat reads /proc/PID/stat (proc(5)): behind the name, which is in parentheses and may hold anything, field 14 and 15 are the
// user's and the system's time, 24 is the memory in pages.
func parseStat(text []byte) (cpu time.Duration, memory int64, ok bool) {
	f := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(f) < 22 {
		return 0, 0, false
	}
	user, err1 := strconv.ParseInt(string(f[11]), 10, 64)
	system, err2 := strconv.ParseInt(string(f[12]), 10, 64)
	pages, err3 := strconv.ParseInt(string(f[21]), 10, 64)
	if err1 != nil || err2 != nil || err3 != nil {
		return 0, 0, false
	}
	return time.Duration(user+system) * tick, pages * int64(os.Getpagesize()), true
}
