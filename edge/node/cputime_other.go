//go:build !unix

package node

import "time"

// cpuTime is not known here: packets and connections have to do.
func cpuTime() time.Duration { return 0 }
