//go:build cgo

package yuv

// #cgo LDFLAGS: -lyuv
// #include <stdint.h>
// #include <libyuv/scale.h>
import "C"

// scale has libyuv do all three planes in one call.
func scale(to, from [3]plane) {
	pix := func(p plane) *C.uint8_t { return (*C.uint8_t)(&p.pix[0]) }
	C.I420Scale(
		pix(from[0]), C.int(from[0].stride), pix(from[1]), C.int(from[1].stride), pix(from[2]), C.int(from[2].stride),
		C.int(from[0].width), C.int(from[0].height),
		pix(to[0]), C.int(to[0].stride), pix(to[1]), C.int(to[1].stride), pix(to[2]), C.int(to[2].stride),
		C.int(to[0].width), C.int(to[0].height), C.kFilterBox)
}
