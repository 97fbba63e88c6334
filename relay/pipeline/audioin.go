package pipeline

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"

	"portico/relay/audiomix"
	"portico/relay/codec"
	"portico/shared/conference"
	"portico/shared/relayproto"
	"portico/shared/rtp/inspect"
	"portico/shared/rtp/jitter"
)

// audioIn is the sound of one input.
type audioIn struct {
	id          string
	participant string // who does not hear it
	track       relayproto.InputTrack
	clock       int // of the RTP timestamps
	notice      *notice
	watch       Watch
	decoder     codec.AudioDecoder // nil: there is none for the format

	// Of the goroutine that mixes, under audioSide.mu.
	in     *audiomix.Input
	muted  bool
	silent int // frames since it was muted
	faults int // packets in a row that could not be decoded
	pcm    []int16
	packet []byte
	behind atomic.Int64 // how long it takes from the jitter buffer into the mix

	mu  sync.Mutex // guards the fields below; held while a packet is copied
	on  bool       // somebody listens
	got reception
	buf *jitter.Audio
}

const (
	fadeFrames = 3   // a muted input is decoded on for so long, to be faded
	manyFaults = 10  // packets in a row that cannot be decoded are worth a word
	maxPops    = 16  // pieces of sound in one frame
	maxConceal = 120 // milliseconds that are made up at a time
)

func newAudioIn(j *Job, in *relayproto.Input, n *notice) *audioIn {
	track := *in.Audio
	a := &audioIn{id: in.ID, participant: in.Participant, track: track, muted: track.Muted, silent: fadeFrames, notice: n, watch: j.options.Watch}
	a.clock = relayproto.ClockRate(track.Format.Codec)
	a.got.clock = a.clock
	a.packet = make([]byte, 0, jitter.MaxPayload)
	a.begin()
	decoder, err := j.codecs.AudioDecoder(track.Format)
	if err != nil {
		n.set(track.Format.Codec + ": " + err.Error())
		return a
	}
	a.decoder = decoder
	return a
}

func (a *audioIn) begin() { a.buf = jitter.NewAudio(jitter.Config{ClockRate: a.clock}) }

// listen says whether anybody does. While nobody does, what comes is dropped.
func (a *audioIn) listen(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.on != on {
		a.on = on
		a.begin()
	}
}

func (a *audioIn) rtp(packet []byte, now int64) {
	h, ok := inspect.ParseHeader(packet)
	if !ok || h.PayloadType != relayproto.PayloadType(a.track.Format.Codec) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, took := a.got.take(&h, now)
	if took == takeNot || !a.on || a.decoder == nil {
		return
	}
	if took == takeNew {
		a.begin()
	}
	p := jitter.Packet{Seq: h.Sequence, Timestamp: h.Timestamp, Marker: h.Marker, Payload: h.Payload(packet)}
	if a.track.Format.Codec == "opus" {
		p.Ticks, p.Quiet = jitter.Opus(p.Payload)
	} else {
		p.Ticks = len(p.Payload) // 64 kbit/s, and a clock of 8 kHz: one byte is a tick in all three
	}
	a.buf.Push(p, now)
}

func (a *audioIn) rtcp(packet []byte, now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got.senderReports(packet, now)
}

// senderReports takes in the sender reports of an RTCP packet.
func (r *reception) senderReports(packet []byte, now int64) {
	packets, err := rtcp.Unmarshal(packet)
	if err != nil {
		return
	}
	for _, p := range packets {
		if sr, ok := p.(*rtcp.SenderReport); ok && r.started {
			r.senderReport(sr, now)
		}
	}
}

// tick gives the mixer what it needs for the frame of the time now.
func (a *audioIn) tick(now int64) {
	if a.decoder == nil {
		return
	}
	a.in.SetMuted(a.muted)
	if a.silent++; !a.muted {
		a.silent = 0
	}
	for range maxPops {
		if a.in.Buffered() >= a.in.Need() {
			return
		}
		a.behind.Store(int64(a.in.Buffered()) * second / audiomix.Rate)
		it, stretch := a.pop(now)
		a.in.SetStretch(stretch * audiomix.Rate / float64(a.clock))
		a.play(it)
	}
}

// pop takes the next piece out, with a copy of its payload.
func (a *audioIn) pop(now int64) (it jitter.Item, stretch float64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	it = a.buf.Pop(now)
	switch {
	case it.Payload != nil:
		a.packet = append(a.packet[:0], it.Payload...)
		it.Payload = a.packet
	case it.Next != nil:
		a.packet = append(a.packet[:0], it.Next...)
		it.Next = a.packet
	}
	return it, a.buf.Stretch()
}

// play decodes a piece of sound and writes it to the mixer.
func (a *audioIn) play(it jitter.Item) {
	d := a.decoder
	samples := min(max(it.Ticks, 1)*d.Rate()/a.clock, d.Rate()*maxConceal/1000)
	pcm := a.pcm[:0]
	switch {
	case it.Kind == jitter.Sound && len(it.Payload) == 0:
		return // a packet of padding alone
	case it.Kind == jitter.Silence || a.silent > fadeFrames:
		pcm = slices.Grow(pcm, samples*d.Channels())[:samples*d.Channels()]
		clear(pcm)
	default:
		slot := a.watch.Begin(a.id, conference.Audio)
		pcm = a.decode(pcm, it, samples)
		a.watch.End(slot)
	}
	a.pcm = pcm
	if err := a.in.Write(pcm, d.Rate(), d.Channels()); err != nil {
		a.notice.set(err.Error())
	}
}

// decode appends the sound of a piece, made up where there is none.
func (a *audioIn) decode(pcm []int16, it jitter.Item, samples int) []int16 {
	switch {
	case it.Kind == jitter.Sound:
	case it.Kind == jitter.Lost && it.Next != nil:
		return a.decoder.Recover(pcm, it.Next, samples)
	default:
		return a.decoder.Conceal(pcm, samples)
	}
	out, err := a.decoder.Decode(pcm, it.Payload)
	if err == nil {
		if a.faults >= manyFaults {
			a.notice.set("")
		}
		a.faults = 0
		return out
	}
	if a.faults++; a.faults == manyFaults {
		a.notice.set("sound cannot be decoded: " + err.Error())
	}
	return a.decoder.Conceal(pcm, samples)
}

// Bounds of what sound and pictures wait for each other.
const (
	minDelay  = 20 * time.Millisecond
	maxDelay  = 500 * time.Millisecond
	believed  = 2 * second           // reports that put the two farther apart are wrong
	tolerated = 5 * time.Millisecond // that the jitter buffer lets its delay be under the target
)

// follow is for pictures of the same sender: taken at the time captured of its clock, such a one will be shown at the time at. It has
// the sound wait for that, and tells when the sound of that moment is heard at present.
func (a *audioIn) follow(captured, at int64) (heard int64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	timestamp, ok := a.got.timestampAt(captured)
	if !ok || !a.on {
		return 0, false
	}
	played, ok := a.buf.PlayTime(timestamp)
	if !ok {
		return 0, false
	}
	s := a.buf.Stats()
	undelayed := played - int64(s.Target)
	if d := at - undelayed; d > believed || d < -believed {
		return 0, false
	}
	behind := a.behind.Load()
	a.buf.SetMin(min(max(time.Duration(at-undelayed-behind)+tolerated, minDelay), maxDelay))
	if s.Delay == 0 {
		return played + behind, true
	}
	return undelayed + int64(s.Delay) + behind, true
}

// alone is for when there are no pictures to wait for.
func (a *audioIn) alone() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.buf.SetMin(minDelay)
}

func (a *audioIn) report(now int64) (block rtcp.ReceptionReport, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.got.report(now)
}

func (a *audioIn) close() {
	if a.decoder != nil {
		a.decoder.Close()
	}
}
