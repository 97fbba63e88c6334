package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/relayproto"
)

// TestFrameBehindGap: pictures of one packet each, of which one is lost. What follows it is not decoded without it; and a key frame right
// behind the gap is decoded, with all that follows, without another being asked for.
func TestFrameBehindGap(t *testing.T) {
	for _, key := range []bool{false, true} {
		t.Run(map[bool]string{false: "delta", true: "key frame"}[key], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakes{}
				w := newWorld(t, f)
				defer w.close()
				w.viewOf(64, 48, 30)
				c := w.film("S1", "vp8", 24, 16, 30)
				c.sent = nil // what is lost stays so
				c.deaf = true
				w.scene("fluid", "S1")
				w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
				w.give()
				w.run(2 * time.Second)
				before := c.keys
				c.spoil = func([]byte) []byte {
					c.spoil, c.key = nil, key
					c.seq++
					return nil
				}
				w.run(time.Second)
				if n := f.corrupt.Load(); n > 0 {
					t.Errorf("%d frames were decoded without those before them", n)
				}
				if key && c.keys > before {
					t.Errorf("%d key frames were asked for behind one that came", c.keys-before)
				}
				if !key && c.keys == before {
					t.Error("no key frame was asked for")
				}
			})
		})
	}
}
