//go:build linux

package network

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"portico/shared/client"
	"portico/shared/conference"
)

// What a camera and a microphone send.
const (
	frameTime   = time.Second / 30
	mostPayload = 1100 // bytes of a video packet
	audioTime   = 20 * time.Millisecond
	audioSize   = 80 // bytes: 32 kbit/s
	keyGap      = 300 * time.Millisecond
)

// layerSpecs are the simulcast layers, the smallest first.
var layerSpecs = []struct {
	rid           string
	width, height uint16
	kbps          int
}{{"q", 320, 180, 150}, {"h", 640, 360, 500}, {"f", 1280, 720, 1500}}

// top is the index of the best layer.
const top = 2

// began is the beginning of the clock that all times count from.
var began = time.Now()

func clock() time.Duration { return time.Since(began) }

// stamp ends the payload of every packet: a magic number, then the fields big-endian in this order.
type stamp struct {
	layer, key   uint8 // layer: an index into layerSpecs, or sound
	index, count uint16
	number       uint32 // of the picture or of the audio packet, from 0
	sent         time.Duration
}

const (
	stampMagic = 0x504e4554
	stampSize  = 22
	sound      = 255
)

func (s stamp) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, stampMagic)
	b = append(b, s.layer, s.key)
	b = binary.BigEndian.AppendUint16(b, s.index)
	b = binary.BigEndian.AppendUint16(b, s.count)
	b = binary.BigEndian.AppendUint32(b, s.number)
	return binary.BigEndian.AppendUint64(b, uint64(s.sent))
}

func readStamp(payload []byte) (s stamp, ok bool) {
	if len(payload) < stampSize {
		return s, false
	}
	b := payload[len(payload)-stampSize:]
	return stamp{
		layer: b[4], key: b[5], index: binary.BigEndian.Uint16(b[6:]), count: binary.BigEndian.Uint16(b[8:]),
		number: binary.BigEndian.Uint32(b[10:]), sent: time.Duration(binary.BigEndian.Uint64(b[14:])),
	}, binary.BigEndian.Uint32(b) == stampMagic
}

// camera sends the layers of a picture and audio.
type camera struct {
	layers []*layer
	audio  *webrtc.TrackLocalStaticRTP
	tasks  *sync.WaitGroup // the participant's
}

// publish begins to publish and to send, until the participant leaves. It returns the stream's id.
func (s *seat) publish() string {
	s.t.Helper()
	c := &camera{tasks: &s.tasks}
	var err error
	if c.audio, err = webrtc.NewTrackLocalStaticRTP(opus, "audio", s.name); err != nil {
		s.t.Fatal(err)
	}
	var layers []webrtc.TrackLocal
	for i, spec := range layerSpecs {
		track, err := webrtc.NewTrackLocalStaticRTP(vp8, "video", s.name, webrtc.WithRTPStreamID(spec.rid))
		if err != nil {
			s.t.Fatal(err)
		}
		l := &layer{
			TrackLocalStaticRTP: track, camera: c, index: uint8(i),
			chance: rand.New(rand.NewPCG(seed, uint64(i))), seq: uint16(rand.Uint32()), offset: rand.Uint32(),
		}
		l.wantKey.Store(true)
		c.layers = append(c.layers, l)
		layers = append(layers, l)
	}
	s.mu.Lock()
	s.camera = c
	s.mu.Unlock()
	p, err := s.c.Publish(s.t.Context(), client.PublishOptions{Tracks: []client.LocalTrack{
		{Kind: conference.Audio, Local: c.audio}, {Kind: conference.Video, Local: layers},
	}})
	if err != nil {
		s.t.Fatalf("%s cannot publish: %v", s.name, err)
	}
	s.tasks.Go(func() { every(audioTime, s.leaving, c.speak) })
	s.tasks.Go(func() {
		every(frameTime, s.leaving, func(n uint32) {
			for _, l := range c.layers {
				l.send(n)
			}
		})
	})
	return p.ID()
}

var (
	opus = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	vp8  = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
)

// every calls f at its times, with how often it was called before; one that is late is caught up with.
func every(interval time.Duration, stop <-chan struct{}, f func(n uint32)) {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := uint32(0); ; n++ {
		select {
		case <-timer.C:
		case <-stop:
			return
		}
		f(n)
		timer.Reset(time.Until(start.Add(time.Duration(n+1) * interval)))
	}
}

func (c *camera) speak(n uint32) {
	payload := make([]byte, audioSize-stampSize, audioSize)
	payload[0] = 0xfc // one frame of 20 ms (RFC 6716 section 3.1)
	payload = stamp{layer: sound, count: 1, number: n, sent: clock()}.append(payload)
	// What cannot be sent is lost.
	_ = c.audio.WriteRTP(&rtp.Packet{
		Header:  rtp.Header{Version: 2, Marker: n == 0, SequenceNumber: uint16(n), Timestamp: n * 960},
		Payload: payload,
	})
}

// heard notes which layers are asked for a key frame.
func (c *camera) heard(packets []rtcp.Packet) {
	for _, p := range packets {
		var media []uint32
		switch p := p.(type) {
		case *rtcp.PictureLossIndication:
			media = append(media, p.MediaSSRC)
		case *rtcp.FullIntraRequest:
			for _, f := range p.FIR {
				media = append(media, f.SSRC)
			}
		}
		for _, ssrc := range media {
			for _, l := range c.layers {
				if l.ssrc.Load() == ssrc {
					l.wantKey.Store(true)
				}
			}
		}
	}
}

// keys is how many key frames the layers have sent.
func (c *camera) keys() (n int) {
	for _, l := range c.layers {
		n += int(l.keys.Load())
	}
	return n
}

// layer is one encoding.
type layer struct {
	*webrtc.TrackLocalStaticRTP
	camera  *camera
	index   uint8
	line    atomic.Pointer[client.Transceiver]
	ssrc    atomic.Uint32
	ids     atomic.Pointer[extensions]
	wantKey atomic.Bool
	keys    atomic.Uint32

	// Its sender's.
	chance *rand.Rand
	seq    uint16
	offset uint32 // of timestamps
	key    time.Duration
	debt   int // bytes that were sent beyond the bitrate
}

// extensions are the ids of header extensions.
type extensions struct{ mid, rid uint8 }

// Bind implements webrtc.TrackLocal: the layer's RTCP is read here, since pionpeer reads that of the first only.
func (l *layer) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	ids := &extensions{}
	for _, x := range c.HeaderExtensions() {
		switch x.URI {
		case "urn:ietf:params:rtp-hdrext:sdes:mid":
			ids.mid = uint8(x.ID)
		case "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id":
			ids.rid = uint8(x.ID)
		}
	}
	l.ids.Store(ids)
	l.ssrc.Store(uint32(c.SSRC()))
	reader := c.RTCPReader()
	l.camera.tasks.Go(func() {
		buffer := make([]byte, 1500)
		for {
			n, _, err := reader.Read(buffer, interceptor.Attributes{})
			if err != nil {
				return
			}
			if packets, err := rtcp.Unmarshal(buffer[:n]); err == nil {
				l.camera.heard(packets)
			}
		}
	})
	return l.TrackLocalStaticRTP.Bind(c)
}

// size is that of the next picture, in bytes: key frames are large, and the pictures after them make up for it.
func (l *layer) size(key bool) int {
	mean := layerSpecs[l.index].kbps * 1000 / 8 / 30
	size := mean * (85 + l.chance.IntN(31)) / 100
	if key {
		size = 4 * mean
	} else if l.debt > 0 {
		size = size * 7 / 10
	}
	l.debt = max(0, l.debt+size-mean)
	return size
}

// send sends picture n, as a key frame when one was asked for.
func (l *layer) send(n uint32) {
	now := clock()
	ids, line := l.ids.Load(), l.line.Load()
	if ids == nil || line == nil {
		return // not negotiated yet
	}
	key := l.wantKey.Load() && (l.key == 0 || now-l.key >= keyGap)
	if key {
		l.wantKey.Store(false)
		l.key = now
		l.keys.Add(1)
	}
	size := l.size(key)
	count := (size + mostPayload - 1) / mostPayload
	s := stamp{layer: l.index, count: uint16(count), number: n, sent: now}
	if key {
		s.key = 1
	}
	for i := range count {
		s.index = uint16(i)
		timestamp := l.offset + uint32(now*90/time.Millisecond)
		header := rtp.Header{Version: 2, Marker: i == count-1, SequenceNumber: l.seq, Timestamp: timestamp}
		l.seq++
		// Neither fails: the contents are short.
		_ = header.SetExtension(ids.mid, []byte((*line).Mid()))
		_ = header.SetExtension(ids.rid, []byte(layerSpecs[l.index].rid))
		payload := putVP8(make([]byte, 0, mostPayload), i == 0, key, uint16(n), layerSpecs[l.index].width, layerSpecs[l.index].height)
		payload = append(payload, make([]byte, max(0, size/count-len(payload)-stampSize))...)
		_ = l.WriteRTP(&rtp.Packet{Header: header, Payload: s.append(payload)}) // what cannot be sent is lost
	}
}

// putVP8 appends the payload descriptor (RFC 7741 section 4.2) with a picture id of 15 bits and no layers, and at the beginning of a
// picture the frame header (RFC 6386 section 9.1).
func putVP8(b []byte, first, key bool, picture, width, height uint16) []byte {
	start := uint8(0)
	if first {
		start = 0x10 // S
	}
	b = append(b, 0x80|start, 0x80) // X; I
	b = binary.BigEndian.AppendUint16(b, 0x8000|picture)
	switch {
	case !first:
		return b
	case !key:
		return append(b, 0x11, 0, 0) // shown, not a key frame
	}
	b = append(b, 0x10, 0, 0, 0x9d, 0x01, 0x2a)
	b = binary.LittleEndian.AppendUint16(b, width)
	return binary.LittleEndian.AppendUint16(b, height)
}
