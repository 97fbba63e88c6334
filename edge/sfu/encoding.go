package sfu

import (
	"sync"
	"sync/atomic"
	"time"

	"portico/edge/sfu/feedback"
	"portico/shared/rtp/history"
	"portico/shared/rtp/inspect"
	"portico/shared/rtp/red"
	"portico/shared/rtp/seqnum"
)

// What is kept to be sent again and for those who join: the packets of so long, but no more of them than this, in so many blocks.
var (
	videoHistory = history.Config{Packets: 1024, Blocks: 160, Keep: 1250 * time.Millisecond}
	audioHistory = history.Config{Packets: 256, Blocks: 16, Keep: 1250 * time.Millisecond}
)

// EncodingConfig is what an Encoding is made of.
type EncodingConfig struct {
	Video       bool
	Codec       string // lower case; decides how key frames and layers are found
	ClockRate   int    // ticks a second
	PayloadType uint8
	NACK        bool       // lost packets are asked for again
	Extensions  Extensions // ids at the sender; the transport-wide number is not looked at
	Upstream    Upstream
	// Timeline is shared by all encodings of one source; nil gives the encoding its own.
	Timeline *feedback.Timeline
	// Picture, if set, is told the size of the first key frame and of each with another size. Ingest calls it; it must not block.
	Picture func(width, height int)
	// Level, if set, is told the audio level of each packet that has one and is not muted: RFC 6464, in -dBov, 0 (loudest) to 127.
	// Ingest calls it; it must not block.
	Level func(level uint8, voice bool, now int64)
}

// Extensions are the ids of the header extensions at one end, 0 for those that were not negotiated.
type Extensions struct {
	AudioLevel           uint8 // RFC 6464
	TransportSeq         uint8 // the transport-wide sequence number
	DependencyDescriptor uint8 // RTP payload format for AV1, appendix A
}

func (x Extensions) pack() uint32 {
	return uint32(x.AudioLevel) | uint32(x.TransportSeq)<<8 | uint32(x.DependencyDescriptor)<<16
}

func unpack(n uint32) Extensions {
	return Extensions{AudioLevel: uint8(n), TransportSeq: uint8(n >> 8), DependencyDescriptor: uint8(n >> 16)}
}

// Encoding is one incoming RTP stream. Make it with NewEncoding. Ingest is for one goroutine at a time; everything else is
// safe for concurrent use.
type Encoding struct {
	config  EncodingConfig
	inspect inspect.Inspector // nil: no key frames to wait for
	frames  inspect.FrameInspector
	history *history.Ring[packet]

	payloadType atomic.Uint32
	redundant   atomic.Uint32 // payload type of packets with redundant audio, 0 without
	extensions  atomic.Uint32
	groups      atomic.Pointer[[]*group] // copied on change, under mu

	// Only Ingest touches these.
	nacks        []uint16
	dependencies inspect.Dependencies
	lastFrame    inspect.Frame
	lastStamp    uint32

	mu        sync.Mutex // guards the fields below; held for a few instructions per packet, never while calling out
	numbers   seqnum.Unwrapper
	requests  feedback.Requests
	reception *feedback.Reception
	keyFrames feedback.KeyFrames
	report    report
	epoch     uint32 // counts breaks: restarts of the sender, and unmuting
	order     int64  // counts packets kept
	stamp     uint32 // timestamp of the newest packet
	stampAt   int64  // and when it came
	newest    entrance
	rates     *rates // of video
	muted     bool
	alone     int // so many packets go on without the audio from before them that they repeat
	closed    bool
	width     int
	height    int
	stats     EncodingStats
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
	kept := audioHistory
	if config.Video {
		kept = videoHistory
	}
	if config.Timeline == nil {
		config.Timeline = new(feedback.Timeline)
	}
	e := &Encoding{config: config, history: history.New[packet](kept), reception: feedback.NewReception(config.ClockRate)}
	if config.Video {
		e.inspect, e.frames, e.rates = inspect.For(config.Codec), inspect.FrameFor(config.Codec), new(rates)
	}
	e.groups.Store(new([]*group))
	e.Renegotiated(config.PayloadType, config.Extensions)
	return e
}

// Renegotiated sets what a new negotiation may change: the payload type and the ids of extensions.
func (e *Encoding) Renegotiated(payloadType uint8, x Extensions) {
	e.payloadType.Store(uint32(payloadType))
	e.extensions.Store(x.pack())
}

// SetRedundant says with which payload type packets come that carry audio from before them too (RFC 2198), besides those that do not;
// 0, as at the beginning: with none.
func (e *Encoding) SetRedundant(payloadType uint8) { e.redundant.Store(uint32(payloadType)) }

// repeated is after how many packets one repeats none of those from before them: a timestamp goes back by 14 bits at most, which
// is 17 packets of 20 ms.
const repeated = 20

// Ingest takes one packet of this encoding as it left SRTP, at most MaxPacket bytes. It copies it and keeps no reference;
// now is the time of arrival. The Writers with something to do go to wake, or are woken at once if it is nil. ErrMalformed changes
// nothing but a count; after Close it gives ErrClosed.
func (e *Encoding) Ingest(raw []byte, now int64, wake *Wake) error {
	return e.ingest(raw, now, wake, false)
}

// IngestRepair takes a packet like Ingest that was restored from one of an RTX stream: it fills its place, and the statistics of
// reception leave it out (RFC 4588 section 8.4).
func (e *Encoding) IngestRepair(raw []byte, now int64, wake *Wake) error {
	return e.ingest(raw, now, wake, true)
}

func (e *Encoding) ingest(raw []byte, now int64, wake *Wake, repair bool) error {
	h, ok := inspect.ParseHeader(raw)
	if !ok || len(raw) > MaxPacket {
		return e.malformed()
	}
	p := packet{
		arrival: now, timestamp: h.Timestamp, payload: uint16(h.Size), padding: uint8(h.Padding), marker: h.Marker, repair: repair,
	}
	if t := e.redundant.Load(); t != 0 && t == uint32(h.PayloadType) && len(h.Payload(raw)) > 0 {
		block, ok := red.Primary(h.Payload(raw))
		if !ok {
			return e.malformed()
		}
		p.primary = uint16(len(h.Payload(raw)) - len(block))
	}
	picture := e.look(raw, &h, &p)
	entry, err := e.take(raw, &h, &p, picture, now)
	e.ask(entry.wishes, picture)
	if !entry.kept {
		return err
	}
	if p.hasLevel && e.config.Level != nil {
		e.config.Level(p.level&0x7f, p.level&0x80 != 0, now)
	}
	for _, g := range *e.groups.Load() {
		g.writer.push(g, entry.entry, p.first, wake)
	}
	return nil
}

func (e *Encoding) malformed() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Drops[DropMalformed]++
	return ErrMalformed
}

// look finds out what can be told from the packet alone.
func (e *Encoding) look(raw []byte, h *inspect.Header, p *packet) (picture inspect.Picture) {
	x := unpack(e.extensions.Load())
	if level, ok := h.Extension(raw, x.AudioLevel); ok && len(level) > 0 {
		p.level, p.hasLevel = level[0], true
	}
	payload := h.Payload(raw)
	if e.inspect == nil || len(payload) == 0 {
		return picture
	}
	picture = e.inspect(payload)
	p.keyFrame = picture.KeyFrame
	if at, n, ok := h.ExtensionAt(raw, x.DependencyDescriptor); ok {
		p.descriptorAt, p.descriptorSize = uint16(at), uint8(n)
		if p.frame, ok = e.dependencies.Read(raw[at : at+n]); ok {
			return picture
		}
	}
	if e.frames == nil {
		return picture
	}
	var ok bool
	if p.frame, ok = e.frames(payload); ok {
		e.lastFrame, e.lastStamp = p.frame, p.timestamp
	} else if p.timestamp == e.lastStamp { // the rest of what the one before began
		p.frame.Spatial, p.frame.Temporal, p.frame.Layered = e.lastFrame.Spatial, e.lastFrame.Temporal, e.lastFrame.Layered
	}
	return picture
}

// wishes is what take leaves to be done without the lock.
type wishes struct {
	keyFrame, picture bool
	packets           []uint16
}

// ask does what is wished.
func (e *Encoding) ask(w wishes, picture inspect.Picture) {
	if w.keyFrame {
		e.config.Upstream.RequestKeyFrame()
	}
	if len(w.packets) > 0 {
		e.config.Upstream.RequestPackets(w.packets)
	}
	if w.picture {
		e.config.Picture(picture.Width, picture.Height)
	}
}

// taken is what became of a packet.
type taken struct {
	entry
	wishes
	kept bool
}

// take is the part of Ingest under the lock: it puts the packet into its place.
func (e *Encoding) take(raw []byte, h *inspect.Header, p *packet, picture inspect.Picture, now int64) (t taken, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return t, ErrClosed
	}
	if pt := uint32(h.PayloadType); pt != e.payloadType.Load() && (pt == 0 || pt != e.redundant.Load()) {
		e.stats.Drops[DropForeignPayload]++
		return t, nil
	}
	if p.repair && !e.numbers.Near(h.Sequence) { // what comes again begins nothing
		e.stats.Drops[DropStrange]++
		return t, nil
	}
	before := e.numbers.Highest()
	index, result := e.numbers.Next(h.Sequence)
	switch result {
	case seqnum.Strange:
		e.stats.Drops[DropStrange]++
		return t, nil
	case seqnum.Restarted:
		e.epoch++
		e.report.known = false
		e.requests.Restart()
		e.reception.Restart()
	}
	if e.muted {
		e.count(index, p)
		e.stats.Drops[DropMuted]++
		return t, nil
	}
	p.came = e.order + 1
	p.first = index > before && (p.timestamp != e.stamp || e.order == 0)
	p.alone = e.alone > 0
	if !e.history.Put(index, raw, *p, now) {
		e.stats.Drops[DropDuplicate]++
		return t, nil
	}
	e.order++
	e.alone = max(0, e.alone-1)
	if index > before {
		e.stamp, e.stampAt = p.timestamp, now
	}
	e.count(index, p)
	e.stats.Packets++
	e.stats.Bytes += uint64(len(raw))
	e.remember(index, p)
	if e.rates != nil && len(raw) > int(p.payload)+int(p.padding) {
		e.rates.add(raw, h, p, now)
	}
	t.wishes = e.wishes(index, picture, now)
	t.entry, t.kept = entry{index: index, order: p.came, epoch: e.epoch}, true
	return t, nil
}

// count lets the statistics of reception know of a packet. It is called with the lock held.
func (e *Encoding) count(index int64, p *packet) {
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
	if e.stats.Packets == 1 {
		e.keyFrames.Began()
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
		for _, g := range *e.groups.Load() {
			g.writer.report(g)
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
		e.alone = repeated       // what was said while it was muted stays unheard
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
	e.groups.Store(new([]*group))
	e.history.Release()
}

// lastReport returns the last sender report, if it belongs to the present epoch.
func (e *Encoding) lastReport() (report, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.report, e.report.known && e.report.epoch == e.epoch
}
