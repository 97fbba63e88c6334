package library

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"portico/relay/codec"
	"portico/shared/conference"
)

// resident is the memory of this process, in bytes, what C took included.
func resident(t *testing.T) int {
	t.Helper()
	debug.FreeOSMemory()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("this system does not tell how much memory a process has: ", err)
	}
	pages, err := strconv.Atoi(string(bytes.Fields(text)[1]))
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// Opening, using, breaking and closing many times leaves nothing behind. One picture of this size that stays in each round is 16 MB
// in the end. C's allocator keeps some memory for each thread it was called from, so there is to be but one.
func TestNothingLeaks(t *testing.T) {
	const rounds, allowance = 200, 8 << 20
	eachVideo(t, func(t *testing.T, name string) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		frames := sequence(t, name, 320, 180, 2)
		p := codec.NewPicture(320, 180)
		moving(p, 0)
		round := func() {
			e, err := VideoEncoder(config(name, 320, 180, 300_000))
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			if _, _, err := e.Encode(p, 0, false); err != nil {
				t.Fatal(err)
			}
			d, err := VideoDecoder(name)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if _, err := d.Decode(frames[0].frame); err != nil {
				t.Fatal(err)
			}
			broken := append([]byte(nil), frames[0].frame...)
			for i := 40; i < len(broken); i += 7 {
				broken[i] ^= 0x55
			}
			_, _ = d.Decode(broken[:len(broken)/2])
			_, _ = d.Decode(frames[0].frame)
			_, _ = d.Decode(nil)
		}
		for range 30 {
			round()
		}
		before := resident(t)
		for range rounds {
			round()
		}
		grown := resident(t) - before
		t.Logf("%d kB", grown>>10)
		if grown > allowance {
			t.Errorf("%d rounds left %d kB behind", rounds, grown>>10)
		}
	})
	t.Run("opus", func(t *testing.T) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		round := func() {
			e, err := AudioEncoder(codec.AudioConfig{Format: conference.Format{Codec: "opus"}})
			if err != nil {
				t.Skip("opus is not built in: build with CGO_ENABLED=1 to test it")
			}
			d, err := AudioDecoder(conference.Format{Codec: "opus"})
			if err != nil {
				t.Fatal(err)
			}
			packet, _ := e.Encode(nil, tone(e, 0))
			if _, err := d.Decode(nil, packet); err != nil {
				t.Fatal(err)
			}
			e.Close()
			d.Close()
		}
		for range 30 {
			round()
		}
		before := resident(t)
		for range 10 * rounds {
			round()
		}
		grown := resident(t) - before
		t.Logf("%d kB", grown>>10)
		if grown > allowance {
			t.Errorf("%d rounds left %d kB behind", 10*rounds, grown>>10)
		}
	})
}
