package sfu

import (
	"slices"
	"sync"
	"sync/atomic"

	"portico/edge/sfu/feedback"
	"portico/shared/rtp/history"
	"portico/shared/rtp/inspect"
	"portico/shared/rtp/seqnum"
)

// Packets kept for retransmission: about 2 s of video at 2 Mbit/s, 2.5 s of audio.
const (
	videoHistory = 512
	audioHistory = 128
)

// EncodingConfig is what an Encoding is made of.
type EncodingConfig struct {
	Video       bool
	Codec       string // lower case; decides how key frames are found
	ClockRate   int    // ticks a second
	PayloadType uint8
	NACK        bool // lost packets are asked for again
	// AudioLevel is the id of the header extension with the audio level (RFC 6464), 0 without.
	AudioLevel uint8
	Upstream   Upstream
	// Timeline is shared by all encodings of one source; nil gives the encoding its own.
	Timeline *feedback.Timeline
	// Picture, if set, is told the size of the first key frame and of each with another size. Ingest calls it; it must not block.
	Picture func(width, height int)
}

// Encoding is one incoming RTP stream. Make it with NewEncoding. Ingest is for one goroutine at a time; everything else is
// safe for concurrent use.
type Encoding struct {
	config  EncodingConfig
	inspect inspect.Inspector // nil: no key frames to wait for
	history *history.Ring[packet]

	payloadType atomic.Uint32
	audioLevel  atomic.Uint32
	subscribers atomic.Pointer[[]*Subscription] // copied on change, under mu
	nacks       []uint16                        // scratch of Ingest

	mu        sync.Mutex // guards the fields below; held for a few instructions per packet, never while calling out
	numbers   seqnum.Unwrapper
	requests  feedback.Requests
	reception *feedback.Reception
	keyFrames feedback.KeyFrames
	report    report
	epoch     uint32 // counts breaks: restarts of the sender, and unmuting
	muted     bool
	closed    bool
	width     int
	height    int
	stats     EncodingStats
}

// packet is what is kept beside the bytes in the history.
type packet struct {
	arrival   int64
	timestamp uint32
	payload   uint16 // where it begins
	padding   uint8
	level     uint8 // audio level as on the wire
	hasLevel  bool
	marker    bool
	keyFrame  bool
	repair    bool
}

// report is the last sender report: the same moment on our clock and in the stream.
type report struct {
	at        int64
	timestamp uint32
	epoch     uint32
	known     bool
}

// EncodingStats are the counts of an Encoding so far.
type EncodingStats struct {
	Packets, Bytes     uint64 // received and kept
	KeyFrames          uint64
	PacketsRequested   uint64 // by NACK
	KeyFramesRequested uint64
	Drops              Drops
}

// NewEncoding makes an Encoding. Its owner calls Close.
func NewEncoding(config EncodingConfig) *Encoding {
	size := audioHistory
	if config.Video {
		size = videoHistory
	}
	if config.Timeline == nil {
		config.Timeline = new(feedback.Timeline)
	}
	e := &Encoding{config: config, history: history.New[packet](size), reception: feedback.NewReception(config.ClockRate)}
	if config.Video {
		e.inspect = inspect.For(config.Codec)
	}
	e.payloadType.Store(uint32(config.PayloadType))
	e.audioLevel.Store(uint32(config.AudioLevel))
	e.subscribers.Store(new([]*Subscription))
	return e
}

// Renegotiated sets what a new negotiation may change: the payload type and the id of the audio level extension.
func (e *Encoding) Renegotiated(payloadType, audioLevel uint8) {
	e.payloadType.Store(uint32(payloadType))
	e.audioLevel.Store(uint32(audioLevel))
}

// Ingest takes one packet of this encoding as it left SRTP, at most MaxPacket bytes. It copies it and keeps no reference;
// now is the time of arrival. ErrMalformed changes nothing but a count; after Close it gives ErrClosed.
func (e *Encoding) Ingest(raw []byte, now int64) error { return e.ingest(raw, now, false) }

// IngestRepair takes a packet like Ingest that was restored from one of an RTX stream: it fills its place, and the statistics of
// reception leave it out (RFC 4588 section 8.4).
func (e *Encoding) IngestRepair(raw []byte, now int64) error { return e.ingest(raw, now, true) }

func (e *Encoding) ingest(raw []byte, now int64, repair bool) error {
	h, ok := inspect.ParseHeader(raw)
	if !ok || len(raw) > MaxPacket {
		e.mu.Lock()
		e.stats.Drops[DropMalformed]++
		e.mu.Unlock()
		return ErrMalformed
	}
	var picture inspect.Picture
	payload := h.Payload(raw)
	if e.inspect != nil && len(payload) > 0 {
		picture = e.inspect(payload)
	}
	p := packet{
		arrival: now, timestamp: h.Timestamp, payload: uint16(h.Size), padding: uint8(h.Padding), marker: h.Marker,
		keyFrame: picture.KeyFrame, repair: repair,
	}
	if level, ok := h.Extension(raw, uint8(e.audioLevel.Load())); ok && len(level) > 0 {
		p.level, p.hasLevel = level[0], true
	}
	index, epoch, wishes, err := e.take(raw, &h, p, picture, now)
	if wishes.keyFrame {
		e.config.Upstream.RequestKeyFrame()
	}
	if len(wishes.packets) > 0 {
		e.config.Upstream.RequestPackets(wishes.packets)
	}
	if wishes.picture {
		e.config.Picture(picture.Width, picture.Height)
	}
	if index < 0 {
		return err
	}
	for _, s := range *e.subscribers.Load() {
		s.offer(e, index, epoch)
	}
	return nil
}

// wishes is what take leaves to be done without the lock.
type wishes struct {
	keyFrame, picture bool
	packets           []uint16
}

// take is the part of Ingest under the lock: it puts the packet into its place. index is negative when it has none.
func (e *Encoding) take(raw []byte, h *inspect.Header, p packet, picture inspect.Picture, now int64) (int64, uint32, wishes, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var w wishes
	if e.closed {
		return -1, 0, w, ErrClosed
	}
	if uint32(h.PayloadType) != e.payloadType.Load() {
		e.stats.Drops[DropForeignPayload]++
		return -1, 0, w, nil
	}
	if p.repair && !e.numbers.Near(h.Sequence) { // what comes again begins nothing
		e.stats.Drops[DropStrange]++
		return -1, 0, w, nil
	}
	index, result := e.numbers.Next(h.Sequence)
	switch result {
	case seqnum.Strange:
		e.stats.Drops[DropStrange]++
		return -1, 0, w, nil
	case seqnum.Restarted:
		e.epoch++
		e.report.known = false
		e.requests.Restart()
		e.reception.Restart()
	}
	if e.muted {
		e.count(index, p)
		e.stats.Drops[DropMuted]++
		return -1, 0, w, nil
	}
	if !e.history.Put(index, raw, p) {
		e.stats.Drops[DropDuplicate]++
		return -1, 0, w, nil
	}
	e.count(index, p)
	e.stats.Packets++
	e.stats.Bytes += uint64(len(raw))
	w = e.wishes(index, picture, now)
	return index, e.epoch, w, nil
}

// count lets the statistics of reception know of a packet. It is called with the lock held.
func (e *Encoding) count(index int64, p packet) {
	if !p.repair {
		e.reception.Packet(index, p.timestamp, p.arrival)
	}
}

// wishes finds out what to ask of the sender after the packet index. It is called with the lock held.
func (e *Encoding) wishes(index int64, picture inspect.Picture, now int64) (w wishes) {
	if e.config.NACK {
		if e.requests.Received(index, now) && e.inspect != nil {
			w.keyFrame = e.keyFrames.Request(now)
		}
		if e.requests.Pending() > 0 {
			e.nacks = e.requests.Due(now, e.nacks[:0])
			w.packets = e.nacks
			e.stats.PacketsRequested += uint64(len(e.nacks))
		}
	}
	if picture.KeyFrame {
		e.stats.KeyFrames++
		e.keyFrames.Arrived()
		e.requests.Forget(index)
		if picture.Width != 0 && (picture.Width != e.width || picture.Height != e.height) {
			e.width, e.height = picture.Width, picture.Height
			w.picture = e.config.Picture != nil
		}
	}
	w.keyFrame = w.keyFrame || e.keyFrames.Due(now)
	if w.keyFrame {
		e.stats.KeyFramesRequested++
	}
	return w
}

// SenderReport takes an SR of the encoding's sender.
func (e *Encoding) SenderReport(sr feedback.SenderReport, now int64) {
	e.mu.Lock()
	e.reception.SenderReport(sr.NTP, now)
	e.report = report{at: e.config.Timeline.Local(sr.NTP, now), timestamp: sr.Timestamp, epoch: e.epoch, known: true}
	send := !e.muted && !e.closed
	e.mu.Unlock()
	if send {
		for _, s := range *e.subscribers.Load() {
			s.offerReport(e)
		}
	}
}

// Report makes the report block for the encoding's sender, who calls it ssrc; ok is false while nothing came. Each call
// begins a new period.
func (e *Encoding) Report(ssrc uint32, now int64) (r feedback.Report, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.reception.Report(ssrc, now)
}

// RequestKeyFrame asks the sender for a key frame, now or when the pause since the last request is over.
func (e *Encoding) RequestKeyFrame(now int64) {
	if e.inspect == nil {
		return
	}
	e.mu.Lock()
	send := !e.closed && !e.muted && e.keyFrames.Request(now)
	if send {
		e.stats.KeyFramesRequested++
	}
	e.mu.Unlock()
	if send {
		e.config.Upstream.RequestKeyFrame()
	}
}

// SetActive mutes the source (false), so that its packets go nowhere, or lets it be heard again, beginning with a key frame.
func (e *Encoding) SetActive(active bool, now int64) {
	e.mu.Lock()
	changed := e.muted == active
	e.muted = !active
	if changed {
		e.epoch++
		e.report.epoch = e.epoch // the source's clock goes on all the time
		e.requests.Restart()
	}
	e.mu.Unlock()
	if changed && active {
		e.RequestKeyFrame(now)
	}
}

// Size is the size of the last key frame in pixels, 0 while unknown.
func (e *Encoding) Size() (width, height int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.width, e.height
}

// Stats returns the counts so far.
func (e *Encoding) Stats() EncodingStats {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stats
}

// Close ends the Encoding: later packets are refused, and its Subscriptions get nothing more from it.
func (e *Encoding) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	e.subscribers.Store(new([]*Subscription))
}

// lastReport returns the last sender report, if it belongs to the present epoch.
func (e *Encoding) lastReport() (report, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.report, e.report.known && e.report.epoch == e.epoch
}

func (e *Encoding) attach(s *Subscription) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	list := append(slices.Clip(*e.subscribers.Load()), s)
	e.subscribers.Store(&list)
}

func (e *Encoding) detach(s *Subscription) {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(*e.subscribers.Load()), func(other *Subscription) bool { return other == s })
	e.subscribers.Store(&list)
}
