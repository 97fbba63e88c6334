//go:build !cgo

package videomix

import "math"

// Scaling in Go is for tests and prepares tables for each picture.
const allowedAllocations = math.MaxInt
