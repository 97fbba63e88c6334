package sfu

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"portico/edge/sfu/feedback"
	"portico/shared/rtp/inspect"
)

// FuzzForward feeds simulcast with temporal layers through loss, late packets and changes of mind, and asks for everything again:
// each number stands for the same bytes, and the picture ids that arrive count on without holes but for pictures still missing.
func FuzzForward(f *testing.F) {
	for seed := range uint64(5) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 5))
		b := newBench(t, true)
		list := []*layered{b.layered("vp8", uint16(rng.Uint32()), rng.Uint32()), b.layered("vp8", uint16(rng.Uint32()), rng.Uint32())}
		s, to := b.watch(list...)
		s.Renegotiated(100, 0, Extensions{AudioLevel: 1, TransportSeq: 2})
		var held [][2]any // packets that come late: the encoding and the bytes
		for n := range 200 {
			b.now += 33 * ms
			for _, l := range list {
				l.ts += 2970
				key, temporal := n%40 == 0 || rng.IntN(30) == 0, uint8(n%2)
				if key {
					temporal = 0
				}
				l.num++
				if temporal == 0 {
					l.tl0++
				}
				for part := range 3 {
					payload := vp8(key, l.num, l.tl0, temporal, rng.IntN(2) == 0)
					if part > 0 {
						payload = append([]byte{0x80}, payload[1:6]...)
					}
					p := raw(96, l.seq, l.ts, append(payload, byte(part), byte(n)))
					l.seq++
					if rng.IntN(12) == 0 {
						held = append(held, [2]any{l.enc, p})
						continue
					}
					_ = l.enc.Ingest(p, b.now, nil)
				}
			}
			if len(held) > 0 && rng.IntN(2) == 0 {
				i := rng.IntN(len(held))
				_ = held[i][0].(*Encoding).IngestRepair(held[i][1].([]byte), b.now, nil)
				held = slices.Delete(held, i, i+1)
			}
			switch rng.IntN(20) {
			case 0:
				s.SetTarget(Target{Encoding: rng.IntN(2), Spatial: -1, Temporal: int8(rng.IntN(3) - 1)}, ReasonAsked, b.now)
			case 1:
				s.SetActive(rng.IntN(3) > 0, b.now)
			case 2:
				list[0].enc.SenderReport(feedback.SenderReport{NTP: feedback.ToNTP(b.now), Timestamp: list[0].ts}, b.now)
				list[1].enc.SenderReport(feedback.SenderReport{NTP: feedback.ToNTP(b.now), Timestamp: list[1].ts}, b.now)
			}
			if rng.IntN(3) > 0 {
				b.writer.drain()
			}
		}
		b.writer.drain()
		checkTape(t, to, s, b)
	})
}

func checkTape(t *testing.T, to *tape, s *Subscription, b *bench) {
	t.Helper()
	sent := map[uint16][]byte{}
	stamps := map[uint32]uint16{} // picture of each timestamp
	for i := range to.packets {
		h, payload := to.read(t, i)
		if again, twice := sent[h.Sequence]; twice {
			t.Fatalf("number %d twice: %x and %x", h.Sequence, again, to.packets[i])
		}
		sent[h.Sequence] = to.packets[i]
		if to.seqAt[i] == 0 || to.seqAt[i]+2 > h.Size {
			t.Fatalf("transport-wide number at %d of a header of %d", to.seqAt[i], h.Size)
		}
		if len(payload) == 0 {
			continue
		}
		f, _ := inspect.VP8Frame(payload)
		if picture, seen := stamps[h.Timestamp]; seen && picture != f.Picture {
			t.Fatalf("pictures %d and %d at %d", picture, f.Picture, h.Timestamp)
		}
		stamps[h.Timestamp] = f.Picture
	}
	n := len(to.packets)
	for seq := range sent {
		b.now += 20 * ms
		s.Receive(feedback.AppendNACK(nil, 1, 0xaaaa, []uint16{seq}), b.now)
		b.writer.drain()
	}
	for i := n; i < len(to.packets); i++ {
		h, _ := to.read(t, i)
		if !bytes.Equal(sent[h.Sequence], to.packets[i]) {
			t.Fatalf("number %d was\n%x\nand is\n%x", h.Sequence, sent[h.Sequence], to.packets[i])
		}
	}
}
