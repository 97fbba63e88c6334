package jobs

import (
	"math/rand/v2"
	"slices"

	"portico/edge/rtc"
	"portico/shared/conference"
	"portico/shared/layout"
	"portico/shared/relayproto"
)

// inputKey names one track that goes into a job: the stream, and its kind.
type inputKey struct {
	stream string
	kind   conference.Kind
}

// input is one that is being sent to a relay.
type input struct {
	tracks []string
	flow   uint64
	format conference.Format
	tap    Tap
}

// need is a track that a job needs.
type need struct {
	tracks []string
	place  conference.Resolution // at which it is shown; 0: as large as there is
	hidden bool
}

// take opens and closes taps so that there are those that the job needs.
func (r *run) take() {
	needs := r.job.needs()
	r.spare(needs)
	for k, in := range r.inputs {
		if n, ok := needs[k]; !ok || !slices.Equal(n.tracks, in.tracks) {
			r.drop(k, in)
		}
	}
	for k, n := range needs {
		in := r.inputs[k]
		if in == nil {
			if in = r.tap(k, n); in == nil {
				continue // it is tried again
			}
		}
		in.tap.SetDisplay(n.place)
		in.tap.SetActive(!n.hidden)
	}
}

// tap opens one, nil when the track is not there.
func (r *run) tap(k inputKey, n need) *input {
	x := r.job
	in := &input{tracks: n.tracks, flow: r.port.number()}
	flow := &inflow{port: r.port, flow: in.flow}
	tap, err := x.jobs.media.OpenTap(rtc.TapSpec{
		Tracks: n.tracks, Sink: flow, SSRC: 1 + rand.Uint32N(1<<32-2), Extensions: extensions, Display: n.place, Crop: x.crops(),
		PayloadType: func(f conference.Format) uint8 { return relayproto.PayloadType(f.Codec) },
		Ended:       func() { x.post(func() { r.lost(k, in) }) },
	})
	if err != nil {
		return nil
	}
	in.tap, in.format, flow.tap = tap, tap.Format(), tap
	r.port.enter(in.flow, flow)
	r.inputs[k] = in
	x.jobs.inputs.Add(1)
	return in
}

func (r *run) drop(k inputKey, in *input) {
	delete(r.inputs, k)
	r.port.drop(in.flow)
	in.tap.Close()
	r.job.jobs.inputs.Add(-1)
}

// lost takes note of the end of a track; a mix is soon told to be without it.
func (r *run) lost(k inputKey, in *input) {
	if !r.over && r.inputs[k] == in {
		r.drop(k, in)
		r.sync()
	}
}

// needs are the tracks that the job needs now: sound if somebody hears it or it is known who is the loudest, pictures if somebody sees
// them.
func (x *job) needs() map[inputKey]need {
	needs := make(map[inputKey]need)
	sound, picture, place := x.vad(), false, conference.Resolution{}
	for k := range x.outputs {
		sound = sound || k.kind == conference.Audio
		if k.kind != conference.Video {
			continue
		}
		if k.width == 0 || picture && place.Width == 0 {
			place = conference.Resolution{}
		} else {
			place.Width, place.Height = max(place.Width, k.width), max(place.Height, k.height)
		}
		picture = true
	}
	if x.spec == nil {
		if sound || picture {
			needs[inputKey{x.source, x.kind}] = need{tracks: []string{x.source}, place: place}
		}
		return needs
	}
	for i := range x.listed() {
		in := &x.mix.Inputs[i]
		if sound && in.Audio != "" {
			needs[inputKey{in.Stream, conference.Audio}] = need{tracks: []string{in.Audio}}
		}
		if picture && len(in.Videos) > 0 {
			n := need{tracks: in.Videos}
			n.place, n.hidden = x.placeOf(in.Stream)
			needs[inputKey{in.Stream, conference.Video}] = n
		}
	}
	return needs
}

// listed is how many inputs are in the mix: a relay takes no more.
func (x *job) listed() int { return min(len(x.mix.Inputs), relayproto.MaxInputs) }

func (x *job) crops() bool {
	return x.spec != nil && x.spec.View.Video != nil && layout.FitPolicy(x.spec.View.Video.Layout.FitPolicy) == layout.Crop
}

// placeOf is the size of a stream's region in pixels.
func (x *job) placeOf(stream string) (size conference.Resolution, hidden bool) {
	v := x.spec.View.Video
	if v == nil {
		return size, true
	}
	canvas := layout.Size{W: v.Parameters.Resolution.Width, H: v.Parameters.Resolution.Height}
	for _, p := range x.mix.Scene {
		if p.Stream == stream {
			rect := layout.Place(p.Region.Area, canvas)
			return conference.Resolution{Width: rect.W, Height: rect.H}, rect.Empty()
		}
	}
	return size, true
}

// listInputs is what an order says of the inputs.
func (r *run) listInputs() []relayproto.Input {
	x := r.job
	if x.spec == nil {
		in := relayproto.Input{ID: x.source}
		in.Audio, in.Video = r.track(x.source, conference.Audio, false), r.track(x.source, conference.Video, false)
		if in.Audio == nil && in.Video == nil {
			return []relayproto.Input{}
		}
		return []relayproto.Input{in}
	}
	list := make([]relayproto.Input, 0, x.listed())
	for i := range x.listed() {
		in := &x.mix.Inputs[i]
		list = append(list, relayproto.Input{
			ID: in.Stream, Participant: in.Participant, Audio: r.track(in.Stream, conference.Audio, in.AudioMuted),
			Video: r.track(in.Stream, conference.Video, in.VideoMuted),
		})
	}
	return list
}

func (r *run) track(stream string, kind conference.Kind, muted bool) *relayproto.InputTrack {
	k := inputKey{stream, kind}
	in := r.inputs[k]
	if in == nil {
		return r.left[k]
	}
	return &relayproto.InputTrack{Flow: in.flow, Format: in.format, Muted: muted}
}

// inflow is the way of one input to the relay: the tap's sfu.Sink, and the receiver of what the relay says of it.
type inflow struct {
	port *port
	flow uint64
	tap  Tap
}

// WriteRTP implements sfu.Sink.
func (f *inflow) WriteRTP(packet []byte, _ int) error {
	return f.port.link.Send(relayproto.RTP(f.flow), packet)
}

// WriteRTCP implements sfu.Sink.
func (f *inflow) WriteRTCP(compound []byte) error {
	return f.port.link.Send(relayproto.RTCP(f.flow), compound)
}

func (f *inflow) rtp([]byte) {} // nothing of the kind is meant to come

func (f *inflow) rtcp(compound []byte) { f.tap.Receive(compound) }
