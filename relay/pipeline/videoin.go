package pipeline

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/pion/rtcp"

	"portico/relay/codec"
	"portico/relay/payload"
	"portico/shared/conference"
	"portico/shared/relayproto"
	"portico/shared/rtp/inspect"
	"portico/shared/rtp/jitter"
)

// The rules of decoding.
const (
	lead       = 50 * millisecond // before its time, a picture is decoded at the earliest
	maxBacklog = 900 * millisecond
	maxAhead   = second // a picture's time is not farther away
	maxUnread  = 64     // packets come at most that run is not woken for

	firstAsk = 300 * millisecond // between two requests for key frames, doubled each time,
	lastAsk  = 2400 * millisecond
)

// videoIn is the video of one input. Its goroutine takes the packets out of the jitter buffer, decodes and shows; while nobody sees
// the input, its packets are dropped.
type videoIn struct {
	job    *Job
	id     string
	track  relayproto.InputTrack
	pt     uint8
	notice *notice
	tile   tile
	sound  atomic.Pointer[audioIn] // of the same input; nil: none
	wake   chan struct{}
	ending chan struct{}
	ended  chan struct{}
	size   atomic.Uint64 // width << 32 | height of the last picture

	mu     sync.Mutex // guards the fields below; held while a packet is copied
	wanted bool
	got    reception
	gaps   gaps
	buf    *jitter.Video
	unread int    // packets that run was not woken for
	follow int64  // index after the newest packet's
	stamp  uint32 // timestamp of the newest packet
	marked bool   // it was the last of its frame
	fresh  bool   // what comes next begins anew
	keys   bool   // a key frame is needed
	keyAt  int64  // when to ask for one again
	pause  int64

	// Of the goroutine.
	decoder codec.VideoDecoder
	parts   depacketiser
	lost    bool          // only a key frame can be decoded
	held    payload.Frame // whose time has not come; without Data: none
	due     int64         // when held is decoded,
	showAt  int64         // and when it is shown
	shift   int64         // that pictures are shown later, to be with their sound
	payload []byte
}

func newVideoIn(j *Job, in *relayproto.Input, n *notice) *videoIn {
	v := &videoIn{
		job: j, id: in.ID, track: *in.Video, pt: relayproto.PayloadType(in.Video.Format.Codec), notice: n,
		wake: make(chan struct{}, 1), ending: make(chan struct{}), ended: make(chan struct{}),
		payload: make([]byte, 0, jitter.MaxPayload),
	}
	v.got.clock = relayproto.ClockRate(v.track.Format.Codec)
	return v
}

// want says whether anybody sees the input.
func (v *videoIn) want(wanted bool) {
	v.mu.Lock()
	changed := wanted != v.wanted
	if v.wanted = wanted; changed {
		v.begin()
	}
	v.mu.Unlock()
	if changed {
		v.poke()
	}
}

// begin forgets what was; under mu.
func (v *videoIn) begin() {
	v.buf = jitter.NewVideo(jitter.VideoConfig{ClockRate: v.got.clock})
	v.gaps.reset()
	v.unread = maxUnread
	v.fresh, v.keys = true, v.wanted
	v.keyAt, v.pause = 0, firstAsk
}

func (v *videoIn) poke() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

func (v *videoIn) rtp(packet []byte, now int64) {
	h, ok := inspect.ParseHeader(packet)
	if !ok || h.PayloadType != v.pt {
		return
	}
	if v.take(&h, packet, now) {
		v.poke()
	}
}

// take stores a packet and tells whether there is something to do: of the middle of a frame, nothing can be made yet.
func (v *videoIn) take(h *inspect.Header, packet []byte, now int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	index, took := v.got.take(h, now)
	if took == takeNot || !v.wanted {
		return false
	}
	if took == takeNew {
		v.begin()
	}
	v.gaps.came(index, now)
	middle := !h.Marker && (v.marked || h.Timestamp == v.stamp) && index == v.follow && len(v.gaps.list) == 0
	v.follow, v.stamp, v.marked = index+1, h.Timestamp, h.Marker
	p := jitter.Packet{Seq: h.Sequence, Timestamp: h.Timestamp, Marker: h.Marker, Payload: h.Payload(packet)}
	if v.buf.Push(p, now) != jitter.Stored {
		return false
	}
	if v.unread++; middle && v.unread < maxUnread {
		return false
	}
	v.unread = 0
	return true
}

func (v *videoIn) rtcp(packet []byte, now int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.got.senderReports(packet, now)
}

// run decodes.
func (v *videoIn) run() {
	alarm := v.job.newAlarm()
	defer alarm.t.Stop()
	defer close(v.ended)
	defer v.free()
	for {
		next := v.drain()
		select {
		case <-v.ending:
			return
		case <-v.job.closing:
			return
		case <-v.wake:
		case <-alarm.at(next):
		}
	}
}

// drain decodes what is there and due, and returns when to look again if nothing comes.
func (v *videoIn) drain() int64 {
	for {
		now := v.job.now()
		select {
		case <-v.ending:
			return now
		case <-v.job.closing:
			return now
		default:
		}
		if v.held.Data != nil && now < v.due && v.current() {
			return v.due
		}
		if v.held.Data != nil {
			v.decode()
			continue
		}
		if at, more := v.next(now); !more {
			return at
		}
	}
}

// current tells whether what is held still counts.
func (v *videoIn) current() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return !v.fresh
}

// next takes the next packet out. Without one it returns when there may be one.
func (v *videoIn) next(now int64) (at int64, more bool) {
	v.mu.Lock()
	wanted, fresh := v.wanted, v.fresh
	v.fresh = false
	var it jitter.VideoItem
	if wanted {
		it, more = v.buf.Pop(now)
		v.payload = append(v.payload[:0], it.Payload...)
		if due, ok := v.buf.Due(); ok && !more {
			at = due
		}
	}
	v.mu.Unlock()
	if fresh {
		v.restart(wanted)
	}
	switch {
	case more:
		v.push(it)
	case at == 0:
		at = now + 60*second
	}
	return at, more
}

// restart forgets what was begun; while the input is not seen, it holds no decoder.
func (v *videoIn) restart(wanted bool) {
	v.held, v.parts, v.lost, v.shift = payload.Frame{}, nil, true, 0
	if !wanted {
		v.free()
	}
}

func (v *videoIn) free() {
	if v.decoder != nil {
		v.tile.Return(true)
		v.decoder.Close()
		v.decoder = nil
	}
}

// push puts a packet to its frame.
func (v *videoIn) push(it jitter.VideoItem) {
	if v.parts == nil {
		parts, err := v.job.codecs.Depacketiser(v.track.Format.Codec)
		if err != nil {
			v.notice.set(v.track.Format.Codec + ": " + err.Error())
			v.quiet()
			return
		}
		v.parts = parts
	}
	frame, err := v.parts.Push(payload.Packet{Timestamp: it.TS, Marker: it.Marker, Missing: it.Missing > 0, Payload: v.payload})
	if err != nil {
		if frame.Data != nil && frame.Timestamp != it.TS { // it is from before what was lost
			v.hold(frame)
			frame.Data = nil
		}
		if v.held.Data != nil {
			v.decode()
		}
		v.needKey("")
	}
	if frame.Data != nil {
		v.hold(frame)
	}
}

// needKey drops everything up to the next key frame, and has one asked for. why is the reason, if it is to be told.
func (v *videoIn) needKey(why string) {
	v.lost = true
	if why != "" {
		v.notice.set(why)
	}
	v.mu.Lock()
	v.keys = true
	v.mu.Unlock()
}

// hold finds out when a frame is to be decoded and shown.
func (v *videoIn) hold(f payload.Frame) {
	if v.lost && !f.Key {
		return
	}
	if f.Width > codec.MaxSide || f.Height > codec.MaxSide {
		v.needKey("picture of " + sizeText(f.Width, f.Height) + " is larger than allowed")
		return
	}
	now := v.job.now()
	v.mu.Lock()
	at, ok := v.buf.PlayTime(f.Timestamp)
	last, _ := v.buf.PlayTime(v.got.newest)
	captured, synced := v.got.captured(f.Timestamp)
	v.mu.Unlock()
	if !ok {
		at = now
	}
	at = min(at, now+maxAhead)
	if last-at > maxBacklog+v.shift && !f.Key {
		v.needKey("pictures come faster than this machine decodes them")
		return
	}
	if synced {
		v.align(captured, at)
	} else {
		v.shift = 0
	}
	v.held, v.showAt = f, at+v.shift
	v.due = v.showAt - lead
}

// align moves shift towards what brings pictures together with their sound.
func (v *videoIn) align(captured, at int64) {
	sound := v.sound.Load()
	if sound == nil {
		v.shift = 0
		return
	}
	heard, ok := sound.follow(captured, at)
	if !ok {
		v.shift = 0
		return
	}
	aim := min(max(heard-at, 0), int64(maxDelay))
	if off := aim - v.shift; off > 100*millisecond || off < -100*millisecond {
		v.shift = aim
	} else {
		v.shift += off / 8
	}
}

// decode decodes and shows what is held.
func (v *videoIn) decode() {
	f := v.held
	v.held = payload.Frame{}
	if v.lost && !f.Key || !v.current() {
		return
	}
	if v.decoder == nil {
		d, err := v.job.codecs.VideoDecoder(v.track.Format.Codec)
		if err != nil {
			v.notice.set(v.track.Format.Codec + ": " + err.Error())
			v.quiet()
			return
		}
		v.decoder = d
	}
	var err error
	v.job.work(func() {
		var p *codec.Picture
		v.tile.Return(false) // the decoder will write to it
		slot := v.job.options.Watch.Begin(v.id, conference.Video)
		if p, err = v.decoder.Decode(f.Data); err == nil && p != nil {
			v.show(p) // which is C, too, and of a size that the sender chose
		}
		v.job.options.Watch.End(slot)
	})
	switch {
	case err == nil:
		v.lost = false
		v.notice.set("")
		if f.Key {
			v.quiet()
		}
	case errors.Is(err, codec.ErrTooLarge):
		v.needKey("picture is larger than allowed")
	default:
		v.needKey("video cannot be decoded: " + err.Error())
		if f.Key {
			v.free()
		}
	}
}

// quiet ends asking for key frames.
func (v *videoIn) quiet() {
	v.mu.Lock()
	v.keys, v.pause = false, firstAsk
	v.mu.Unlock()
}

func (v *videoIn) show(p *codec.Picture) {
	size := uint64(p.Width)<<32 | uint64(uint32(p.Height))
	if v.size.Swap(size) != size {
		v.job.keeper.changed()
	}
	v.tile.Lend(p, v.showAt-v.job.video.halfPeriod())
}

// feedback appends what has to be said to the sender now: requests for packets, and for a key frame.
func (v *videoIn) feedback(list []rtcp.Packet, ssrc uint32, now int64) []rtcp.Packet {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.wanted || !v.got.started {
		return list
	}
	if numbers := v.gaps.ask(nil, now); len(numbers) > 0 {
		list = append(list, &rtcp.TransportLayerNack{
			SenderSSRC: ssrc, MediaSSRC: v.got.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(numbers),
		})
	}
	if v.gaps.keys {
		v.gaps.keys, v.keys = false, true
	}
	if v.keys && now >= v.keyAt {
		v.keyAt = now + v.pause
		v.pause = min(2*v.pause, lastAsk)
		list = append(list, &rtcp.PictureLossIndication{SenderSSRC: ssrc, MediaSSRC: v.got.ssrc})
	}
	return list
}

func (v *videoIn) report(now int64) (block rtcp.ReceptionReport, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.got.report(now)
}
