// Package beacon is media that tell who sent them and when: 50 packets of sound and 25 pictures a second, of a size that any line carries.
// A Sink measures how they arrive: the gaps, and what came twice.
//
// It is for end-to-end tests, whose question is not what media look like but whether they went on. Packets end with a stamp:
//
//	magic  4 bytes, "BECN"
//	name   8 bytes, of the sender, padded with zeros
//	kind   1 byte, 0 sound, 1 picture, 2 key frame
//	number 4 bytes, big endian, from 0
package beacon

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// How often there is something to send.
const (
	SoundInterval   = 20 * time.Millisecond
	PictureInterval = 40 * time.Millisecond
)

const (
	magic     = "BECN"
	nameSize  = 8
	stampSize = len(magic) + nameSize + 1 + 4
	soundSize = 80  // bytes of a packet: 32 kbit/s
	viewSize  = 600 // bytes of a picture, which is one packet: 120 kbit/s
)

// Kinds in a stamp.
const (
	kindSound = iota
	kindPicture
	kindKey
)

// Source sends the two, from Run on. Its tracks may be published more than once, also at the same time.
type Source struct {
	Audio, Video *webrtc.TrackLocalStaticRTP

	name    string
	wantKey atomic.Bool
	sent    [kept]atomic.Int64 // when the last sounds were sent, in Unix nanoseconds
}

// kept is how many sounds' times are remembered: of twenty seconds.
const kept = 1000

// NewSource makes one. Of the name, the first eight bytes are told.
func NewSource(name string) (*Source, error) {
	s := &Source{name: name}
	s.wantKey.Store(true)
	var err error
	if s.Audio, err = webrtc.NewTrackLocalStaticRTP(
		webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "audio", name); err != nil {
		return nil, err
	}
	s.Video, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "video", name)
	return s, err
}

// RTCP takes what comes back for the tracks: wishes for key frames.
func (s *Source) RTCP(_ string, packets []rtcp.Packet) {
	for _, p := range packets {
		switch p.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			s.wantKey.Store(true)
		}
	}
}

// Run sends until ctx ends, and catches up with what it was late for. What cannot be sent is lost.
func (s *Source) Run(ctx context.Context) {
	start, timer := time.Now(), time.NewTimer(0)
	defer timer.Stop()
	seq, clock := uint16(rand.Uint32()), rand.Uint32()
	for n := uint32(0); ; n++ {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		s.sent[n%kept].Store(time.Now().UnixNano())
		_ = s.Audio.WriteRTP(&rtp.Packet{
			Header:  rtp.Header{Version: 2, Marker: n == 0, SequenceNumber: uint16(n), Timestamp: n * 960},
			Payload: s.stamp(append(make([]byte, 0, soundSize), 0xfc), soundSize, kindSound, n), // one frame of 20 ms (RFC 6716 section 3.1)
		})
		if n%2 == 0 {
			kind := byte(kindPicture)
			if s.wantKey.Swap(false) {
				kind = kindKey
			}
			_ = s.Video.WriteRTP(&rtp.Packet{
				Header:  rtp.Header{Version: 2, Marker: true, SequenceNumber: seq, Timestamp: clock + n*1800},
				Payload: s.stamp(vp8(kind == kindKey, uint16(n/2)), viewSize, kind, n/2),
			})
			seq++
		}
		timer.Reset(time.Until(start.Add(time.Duration(n+1) * SoundInterval)))
	}
}

// Sent is when one of the last sounds was sent.
func (s *Source) Sent(number uint32) time.Time { return time.Unix(0, s.sent[number%kept].Load()) }

// stamp fills a payload up to a size, and ends it with the stamp.
func (s *Source) stamp(b []byte, size int, kind byte, number uint32) []byte {
	b = append(b, make([]byte, size-stampSize-len(b))...)
	b = append(b, magic...)
	b = append(b, make([]byte, nameSize)...)
	copy(b[len(b)-nameSize:], s.name)
	return binary.BigEndian.AppendUint32(append(b, kind), number)
}

// vp8 is the payload descriptor (RFC 7741 section 4.2), with a picture id of 15 bits and no layers, and the frame header (RFC 6386
// section 9.1) of a picture of 320x180.
func vp8(key bool, picture uint16) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0x90, 0x80}, 0x8000|picture)
	if !key {
		return append(b, 0x11, 0, 0)
	}
	return append(b, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 64, 1, 180, 0)
}

// stamp is what a packet says.
type stamp struct {
	name   string
	kind   byte
	number uint32
}

func readStamp(payload []byte) (s stamp, ok bool) {
	if len(payload) < stampSize {
		return s, false
	}
	b := payload[len(payload)-stampSize:]
	if string(b[:len(magic)]) != magic {
		return s, false
	}
	b = b[len(magic):]
	return stamp{strings.TrimRight(string(b[:nameSize]), "\x00"), b[nameSize], binary.BigEndian.Uint32(b[nameSize+1:])}, true
}
