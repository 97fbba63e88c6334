package pipeline

import (
	"testing"
	"testing/synctest"
	"time"

	"portico/shared/conference"
	"portico/shared/relayproto"
)

// FuzzPackets has anything come by the flows of a job, all of them in one codec each: nothing panics, and the mix goes on.
func FuzzPackets(f *testing.F) {
	rtp := []byte{0x80, 96, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4, 0x10, 0x10, 0, 0, 0x9d, 1, 0x2a, 64, 0, 48, 0, 1, 2, 3}
	f.Add(uint8(0), rtp)
	f.Add(uint8(1), []byte{0x81, 0xce, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2})                                       // PLI
	f.Add(uint8(3), []byte{0x81, 0xcd, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 0xff, 0xff})                     // NACK
	f.Add(uint8(2), append([]byte{0x80, 0xc8, 0, 6, 0, 0, 0, 1}, make([]byte, 20)...))                      // SR
	f.Add(uint8(4), []byte{0x80, 111, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4, 8, 1, 2, 3})                            // Opus
	f.Add(uint8(5), []byte{0x80, 9, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4, 8, 1, 2, 3, 0x80, 9, 0, 2, 0, 0, 0, 169}) // G.722
	f.Fuzz(func(t *testing.T, which uint8, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, &fakes{})
			defer w.close()
			w.viewOf(32, 32, 30)
			w.scene("fluid", "S1")
			flows := []uint64{}
			track := func(codec string) *relayproto.InputTrack {
				flow := w.newFlow()
				flows = append(flows, relayproto.RTP(flow), relayproto.RTCP(flow))
				return &relayproto.InputTrack{Flow: flow, Format: conference.Format{Codec: codec}}
			}
			w.input("S1").Video = track("vp8")
			w.input("S1").Audio = track("opus")
			w.input("S2").Audio = track("g722")
			e := w.watch(relayproto.Output{ID: "v", Format: vp8, Framerate: 30})
			o := w.listen("a", "", opusFormat)
			flows = append(flows, relayproto.RTCP(e.flow), relayproto.RTCP(e.flow+1))
			w.give()
			w.run(50 * time.Millisecond)
			to := flows[int(which)%len(flows)]
			for n := 0; len(script) > 0 && n < 64; n++ {
				part := script[:min(len(script), 1+int(script[0]))]
				w.job.Packet(to, part)
				w.job.Packet(to, script)
				script = script[len(part):]
				w.run(5 * time.Millisecond)
			}
			frames, packets := e.frames, len(o.stamps)
			w.run(200 * time.Millisecond)
			if e.frames < frames+5 || len(o.stamps) < packets+9 {
				t.Errorf("%d pictures and %d packets of sound in 200 ms", e.frames-frames, len(o.stamps)-packets)
			}
		})
	})
}
