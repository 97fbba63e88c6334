//go:build !linux

package worker

// quota is 0: only linux has control groups.
func quota() float64 { return 0 }
