package pipeline

import (
	"slices"
	"sync"

	"portico/relay/audiomix"
	"portico/relay/codec"
	"portico/shared/conference"
)

const (
	tickLength  = 10 * millisecond
	maxStall    = 200 * millisecond // behind the clock by more, frames are left out
	unusedTicks = 500               // after which an encoder is closed
	sweepTicks  = 100
)

// audioSide is the sound of a job. A transcode is a mix of one input that everybody hears.
type audioSide struct {
	job *Job

	mu       sync.Mutex // guards the fields below; held while a frame is mixed and encoded
	mixer    *audiomix.Mixer
	inputs   []*audioIn
	outs     []*audioOut
	mixes    map[string]*heard // by participant; "" is for all who hear everybody
	encoders map[encoderKey]*audioEncoder
	vad      bool
	active   string // id of the input
	tick     int64  // number of the next frame, since the job's epoch
}

// audioOut is one output.
type audioOut struct {
	participant string
	sender      *sender
	format      conference.Format
	mix         *heard
	notice      *notice
	begun       bool
}

// heard is what a participant hears: in 20 ms, which begin with a frame of even number.
type heard struct {
	participant string
	listener    *audiomix.Listener
	used        int // outputs
	pcm         [2 * audiomix.FrameLength]int16
	level       uint8
	voice       bool
	apart       bool // it differs from what everybody hears
}

type encoderKey struct {
	participant string
	format      conference.Format
}

// audioEncoder encodes one mix in one format, for all who want it.
type audioEncoder struct {
	codec     codec.AudioEncoder
	err       error
	resampler *audiomix.Resampler
	used      int64 // tick
	mono, pcm []int16
	packet    []byte
}

func newAudioSide(j *Job) *audioSide {
	return &audioSide{
		job: j, mixer: audiomix.New(audiomix.Config{}),
		mixes: make(map[string]*heard), encoders: make(map[encoderKey]*audioEncoder),
	}
}

// run mixes a frame every 10 ms.
func (s *audioSide) run() {
	alarm := s.job.newAlarm()
	defer alarm.t.Stop()
	for {
		s.mu.Lock()
		next := s.job.epoch + s.tick*tickLength
		s.mu.Unlock()
		select {
		case <-s.job.closing:
			return
		case <-alarm.at(next):
		}
		now := s.job.now()
		s.mu.Lock()
		if late := now - next; late > maxStall {
			s.tick += late / (2 * tickLength) * 2 // whole packets: their receivers conceal them
		}
		s.frame(s.job.epoch+s.tick*tickLength, now)
		s.tick++
		s.mu.Unlock()
	}
}

// frame mixes the frame of the time at.
func (s *audioSide) frame(at, now int64) {
	if len(s.outs) == 0 && !s.vad {
		return
	}
	for _, a := range s.inputs {
		a.tick(at)
	}
	if r := s.mixer.Mix(); r.Active != nil && s.vad {
		s.setActive(r.Active)
	}
	half := int(s.tick & 1)
	for _, h := range s.mixes {
		h.hear(s.mixer, half)
	}
	if half == 0 {
		return
	}
	for _, o := range s.outs {
		s.send(o, at-tickLength, now)
	}
	if s.tick%sweepTicks == sweepTicks-1 {
		s.sweep()
	}
}

func (s *audioSide) setActive(in *audiomix.Input) {
	for _, a := range s.inputs {
		if a.in == in && s.active != a.id {
			s.active = a.id
			s.job.keeper.changed()
		}
	}
}

// hear takes the frame that was mixed.
func (h *heard) hear(m *audiomix.Mixer, half int) {
	if half == 0 {
		h.apart, h.level, h.voice = false, 127, false
	}
	out := m.Shared()
	if h.listener != nil {
		out = h.listener.Output()
	}
	h.apart = h.apart || out != m.Shared()
	h.level = min(h.level, out.Level())
	copy(h.pcm[half*audiomix.FrameLength:], out.PCM[:])
}

// speaks tells whether somebody speaks in a mix.
func (s *audioSide) speaks(h *heard) bool {
	for _, a := range s.inputs {
		if _, voice := a.in.Level(); voice && a.in.Mixed() && (h.participant == "" || h.participant != a.participant) {
			return true
		}
	}
	return false
}

// send sends an output the packet that begins at the time at.
func (s *audioSide) send(o *audioOut, at, now int64) {
	mix := o.mix
	if !mix.apart {
		mix = s.mixes[""]
	}
	e := s.encoder(encoderKey{mix.participant, o.format})
	if e.err != nil {
		o.notice.set(e.err.Error())
		return
	}
	o.notice.set("")
	if e.used != s.tick {
		e.used = s.tick
		mix.voice = s.speaks(mix)
		e.encode(mix.pcm[:])
	}
	if e.err != nil || len(e.packet) == 0 || len(e.packet) > maxPayload {
		return
	}
	level := int(mix.level)
	if mix.voice {
		level |= 0x80
	}
	o.sender.send(e.packet, !o.begun, at, level, now)
	o.begun = true
}

// encoder finds the encoder, or makes it.
func (s *audioSide) encoder(key encoderKey) *audioEncoder {
	e := s.encoders[key]
	if e == nil {
		e = &audioEncoder{used: s.tick - 1}
		if e.codec, e.err = s.job.codecs.AudioEncoder(codec.AudioConfig{Format: key.format}); e.err == nil {
			e.resampler, e.err = audiomix.NewResampler(audiomix.Rate, e.codec.Rate(), e.codec.Channels())
		}
		s.encoders[key] = e
	}
	return e
}

// encode makes the packet of 20 ms of sound.
func (e *audioEncoder) encode(pcm []int16) {
	if e.codec.Channels() == 1 {
		e.mono = audiomix.Mono(e.mono[:0], pcm)
		pcm = e.mono
	}
	if e.codec.Rate() != audiomix.Rate {
		e.pcm = e.resampler.Process(e.pcm[:0], pcm)
		pcm = e.pcm
	}
	packet, err := e.codec.Encode(e.packet[:0], pcm)
	if err != nil {
		e.packet = e.packet[:0]
		return
	}
	e.packet = packet
}

func (e *audioEncoder) close() {
	if e.codec != nil {
		e.codec.Close()
	}
}

// sweep closes the encoders that are not used any more, and tells the others how much is lost on the way.
func (s *audioSide) sweep() {
	for key, e := range s.encoders {
		if s.tick-e.used > unusedTicks {
			e.close()
			delete(s.encoders, key)
		}
	}
	loss := make(map[encoderKey]uint32)
	for _, o := range s.outs {
		key := encoderKey{"", o.format}
		if o.mix.apart {
			key.participant = o.mix.participant
		}
		loss[key] = max(loss[key], o.sender.loss.Load())
	}
	for key, share := range loss {
		if e := s.encoders[key]; e != nil && e.err == nil {
			e.codec.SetLoss(float64(share) / 256)
		}
	}
}

// replace puts inputs and outputs in the place of what was there; both lists hold those that stay, too. It returns what nobody uses
// any more.
func (s *audioSide) replace(inputs []*audioIn, outs []*audioOut, vad bool) (left []*audioIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.inputs {
		if !slices.Contains(inputs, a) {
			s.mixer.RemoveInput(a.in)
			left = append(left, a)
			if s.active == a.id {
				s.active = ""
			}
		}
	}
	for _, a := range inputs {
		if a.in == nil {
			s.enter(a)
		}
	}
	s.inputs = slices.DeleteFunc(slices.Clone(inputs), func(a *audioIn) bool { return a.in == nil })
	for _, o := range s.outs {
		if !slices.Contains(outs, o) {
			o.sender.close()
		}
	}
	s.setOuts(outs)
	s.vad = vad
	if !vad {
		s.active = ""
	}
	if len(outs) == 0 { // nobody sweeps then
		s.closeEncoders()
	}
	for _, a := range s.inputs {
		a.listen(vad || len(outs) > 0)
	}
	return left
}

func (s *audioSide) enter(a *audioIn) {
	in, err := s.mixer.AddInput(a.participant)
	if err != nil {
		a.notice.set(err.Error())
		return
	}
	a.in = in
}

// setOuts takes the outputs over, and makes a listener for each participant among them.
func (s *audioSide) setOuts(outs []*audioOut) {
	s.outs = outs
	for _, h := range s.mixes {
		h.used = 0
	}
	s.mix("")
	for _, o := range outs {
		o.mix = s.mix(o.participant)
		o.mix.used++
	}
	for name, h := range s.mixes {
		if h.used == 0 && name != "" {
			s.mixer.RemoveListener(h.listener)
			delete(s.mixes, name)
		}
	}
}

// mix finds what a participant hears, or makes it.
func (s *audioSide) mix(participant string) *heard {
	h := s.mixes[participant]
	if h == nil {
		h = &heard{participant: participant}
		if participant != "" {
			if l, err := s.mixer.AddListener(participant); err == nil {
				h.listener = l
			}
		}
		s.mixes[participant] = h
	}
	return h
}

// setMuted mutes an input, or does not.
func (s *audioSide) setMuted(a *audioIn, muted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.muted = muted
}

// forgetActive has it found out anew who is the loudest.
func (s *audioSide) forgetActive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mixer.ResetActive()
	s.active = ""
}

func (s *audioSide) activeInput() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.active
}

func (s *audioSide) closeEncoders() {
	for _, e := range s.encoders {
		e.close()
	}
	clear(s.encoders)
}

// close is for when run has ended.
func (s *audioSide) close() {
	s.closeEncoders()
	for _, o := range s.outs {
		o.sender.close()
	}
}
