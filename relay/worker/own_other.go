//go:build !unix

package worker

import "time"

// ownUsage is not known here.
func ownUsage() time.Duration { return 0 }
