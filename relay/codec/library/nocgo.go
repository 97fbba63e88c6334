//go:build !cgo

package library

// Without C there is no video, and of sound what is written in Go.
var (
	video []videoCodec
	audio = plainAudio
)
