//go:build !cgo

package yuv

func scale(to, from [3]plane) { scaleInGo(to, from) }
