//go:build cgo

package videomix

// allowedAllocations is how many one picture of a mix may cost.
const allowedAllocations = 0
