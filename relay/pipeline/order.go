package pipeline

import (
	"errors"
	"fmt"
	"slices"

	"portico/relay/codec"
	"portico/shared/conference"
	"portico/shared/jsonvalue"
	"portico/shared/layout"
	"portico/shared/relayproto"
)

// input is an input as it was ordered. Job.ordering guards it.
type input struct {
	spec  relayproto.Input
	audio *audioIn // nil: none
	video *videoIn // nil: none
	tile  tile     // as long as there is video
	sound notice   // what is wrong with the sound,
	sight notice   // and with the video
}

// output is an output as it was ordered.
type output struct {
	spec   relayproto.Output
	audio  *audioOut // one of the two; neither when it cannot be made, and notice says why
	video  *videoOut
	notice notice
}

// sender is nil when the output cannot be made.
func (o *output) sender() *sender {
	switch {
	case o.video != nil:
		return o.video.sender
	case o.audio != nil:
		return o.audio.sender
	}
	return nil
}

// Order carries out an order, all of which relayproto.Decode has let through: what is as it was goes on undisturbed, the rest begins,
// changes or ends. An output that cannot be made is left out, and its reports say why. It fails with *Error, and then nothing has changed:
// when the order makes no sense, or none of what it asks for can be done.
func (j *Job) Order(o *relayproto.Order) error {
	j.ordering.Lock()
	defer j.ordering.Unlock()
	if j.closed {
		return bad("the job has ended")
	}
	scene, err := j.check(o)
	if err != nil {
		return err
	}
	outputs, err := j.makeOutputs(o)
	if err != nil {
		return err
	}
	first := j.order == nil
	if first && j.video.stage == nil {
		j.video.stage = j.newStage(o)
	}
	reset := !first && o.Resets > j.order.Resets
	j.order = o
	left := j.changeInputs(o)
	j.setScene(scene, len(videoOuts(outputs)) > 0)
	left = append(left, j.audio.replace(soundsOf(j.inputs), audioOuts(outputs), wantsActive(o))...)
	if reset {
		j.audio.forgetActive()
	}
	for _, a := range left {
		a.close()
	}
	j.video.replace(videoOuts(outputs))
	j.outputs = outputs
	j.setFlows()
	j.keeper.set(o.Revision, j.inputs, j.outputs)
	if first {
		j.start()
	}
	return nil
}

// wantsActive tells whether it is to be reported who is the loudest.
func wantsActive(o *relayproto.Order) bool { return o.View != nil && o.View.VAD }

func bad(format string, args ...any) error {
	return &Error{relayproto.BadOrder, fmt.Sprintf(format, args...)}
}

// check finds out whether the order makes sense behind the one before.
func (j *Job) check(o *relayproto.Order) (layout.Scene, error) {
	switch was := j.order; {
	case o.Kind == relayproto.Mix && o.View == nil:
		return nil, bad("a mix without a view")
	case was == nil:
	case o.Job != was.Job || o.Kind != was.Kind:
		return nil, bad("another job")
	case o.Revision < was.Revision:
		return nil, bad("revision %d behind %d", o.Revision, was.Revision)
	case o.Kind == relayproto.Mix && canvas(o.View) != canvas(was.View):
		return nil, bad("the canvas of a mix does not change")
	}
	for i := range o.Outputs {
		if o.Kind == relayproto.Mix && o.Outputs[i].Kind == conference.Video && (o.View.Width < 2 || o.View.Height < 2) {
			return nil, bad("pictures of a view of %dx%d", o.View.Width, o.View.Height)
		}
	}
	if len(o.Scene) == 0 {
		return nil, nil
	}
	v, err := jsonvalue.Parse(o.Scene, jsonvalue.Limits{})
	if err != nil {
		return nil, bad("scene: %v", err)
	}
	scene, err := layout.ReadScene(v)
	if err != nil {
		return nil, bad("scene: %v", err)
	}
	return scene, nil
}

// canvas is what of a view does not change.
func canvas(v *relayproto.View) relayproto.View {
	return relayproto.View{Width: v.Width, Height: v.Height, Background: v.Background, Crop: v.Crop}
}

func (j *Job) newStage(o *relayproto.Order) stage {
	if o.Kind == relayproto.Transcode || o.View.Width < 2 || o.View.Height < 2 { // without pictures it is not looked at
		return new(screen)
	}
	return newMixed(o.View, j.options.Avatar)
}

// makeOutputs is the list of the order's outputs: those that there are, where they are as they were, and new ones. One that cannot be
// made is tried again with each order; if that is so of all, and there is nothing else to do, it fails with *Error.
func (j *Job) makeOutputs(o *relayproto.Order) ([]*output, error) {
	list := make([]*output, len(o.Outputs))
	made, why := 0, ""
	for i, spec := range o.Outputs {
		same := func(old *output) bool { return old.sender() != nil && sameOutput(old.spec, spec) }
		if at := slices.IndexFunc(j.outputs, same); at >= 0 {
			list[i] = j.outputs[at]
		} else {
			list[i] = j.makeOutput(spec, o)
		}
		if list[i].sender() != nil {
			made++
		} else {
			why = list[i].notice.get()
		}
	}
	if made == 0 && len(list) > 0 && !wantsActive(o) {
		return nil, &Error{relayproto.Unable, "output in " + why}
	}
	for i, out := range list {
		out.spec = o.Outputs[i]
		if out.video != nil {
			out.video.setBitrate(&out.spec)
		}
	}
	return list, nil
}

// sameOutput tells whether an output only changes its bit rate, or not even that.
func sameOutput(a, b relayproto.Output) bool {
	a.Bitrate, a.Ceiling = b.Bitrate, b.Ceiling
	return a == b
}

// makeOutput makes a new output; one that cannot be made is neither sound nor video.
func (j *Job) makeOutput(spec relayproto.Output, o *relayproto.Order) *output {
	out := &output{spec: spec}
	out.notice.changed = j.keeper.changed
	var err error
	if spec.Kind == conference.Audio {
		if o.Kind == relayproto.Transcode {
			spec.Participant = ""
		}
		if err = j.canEncode(spec.Format); err == nil {
			out.audio = &audioOut{
				participant: spec.Participant, format: spec.Format, notice: &out.notice, sender: newSender(j, &spec),
			}
		}
	} else {
		if o.Kind == relayproto.Mix && (spec.Width == 0 || spec.Height == 0) {
			spec.Width, spec.Height = o.View.Width, o.View.Height
		}
		out.video = newVideoOut(j, spec, o.View, &out.notice)
		out.video.sender = newSender(j, &spec)
		err = out.video.prepare()
	}
	if err != nil {
		if out.video != nil {
			out.video.close()
		}
		out.audio, out.video = nil, nil
		out.notice.set(spec.Format.Codec + ": " + err.Error())
	}
	return out
}

// prepare makes the encoder, if its size is known, or another to find out whether there is one.
func (o *videoOut) prepare() error {
	width, height := o.spec.Width&^1, o.spec.Height&^1
	if width > 0 && height > 0 {
		return o.open(width, height)
	}
	defer o.free()
	defer func() { o.width, o.height = 0, 0 }()
	return o.open(320, 240)
}

// canEncode finds out, once for each format, whether sound can be encoded in it.
func (j *Job) canEncode(f conference.Format) error {
	err, known := j.usable[f]
	if !known {
		var e codec.AudioEncoder
		if e, err = j.codecs.AudioEncoder(codec.AudioConfig{Format: f}); err == nil {
			e.Close()
		}
		if err == nil || errors.Is(err, codec.ErrUnsupported) {
			j.usable[f] = err
		}
	}
	return err
}

// changeInputs makes the list of inputs that of the order. It returns the sounds that were never mixed.
func (j *Job) changeInputs(o *relayproto.Order) (left []*audioIn) {
	old := j.inputs
	j.inputs = make([]*input, len(o.Inputs))
	for i := range o.Inputs {
		spec := &o.Inputs[i]
		at := slices.IndexFunc(old, func(in *input) bool { return in.spec.ID == spec.ID })
		var in *input
		if at >= 0 {
			in = old[at]
			old = slices.Delete(slices.Clone(old), at, at+1)
		} else {
			in = &input{}
			in.sound.changed, in.sight.changed = j.keeper.changed, j.keeper.changed
		}
		j.inputs[i] = in
		if a := j.changeSound(in, spec); a != nil {
			left = append(left, a)
		}
		j.changeVideo(in, spec)
		in.spec = *spec
	}
	for _, in := range old {
		if a := j.changeSound(in, &relayproto.Input{}); a != nil {
			left = append(left, a)
		}
		j.changeVideo(in, &relayproto.Input{})
	}
	return left
}

func sameTrack(a, b *relayproto.InputTrack) bool {
	return a != nil && b != nil && a.Flow == b.Flow && a.Format == b.Format
}

// changeSound makes in's sound what is ordered. It returns one that was left out of the mix and is over; others the mixer returns.
func (j *Job) changeSound(in *input, spec *relayproto.Input) (left *audioIn) {
	if in.audio != nil && sameTrack(in.spec.Audio, spec.Audio) && in.spec.Participant == spec.Participant {
		j.audio.setMuted(in.audio, spec.Audio.Muted)
		return nil
	}
	if in.audio != nil && in.audio.in == nil {
		left = in.audio
	}
	in.audio = nil
	in.sound.set("")
	if spec.Audio != nil {
		in.audio = newAudioIn(j, spec, &in.sound)
	}
	return left
}

// changeVideo makes in's video what is ordered. The place of an input keeps its picture when only its flow or codec changes.
func (j *Job) changeVideo(in *input, spec *relayproto.Input) {
	if in.video != nil && sameTrack(in.spec.Video, spec.Video) {
		return
	}
	if in.video != nil {
		close(in.video.ending)
		<-in.video.ended
		in.video = nil
		in.sight.set("")
	}
	if spec.Video == nil {
		j.video.removeTile(in)
		return
	}
	j.video.addTile(in, spec.ID)
	in.video = newVideoIn(j, spec, &in.sight)
	in.video.tile = in.tile
	j.goes(in.video.run)
}

func (v *videoSide) addTile(in *input, id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if in.tile == nil {
		in.tile = v.stage.add(id)
	}
}

func (v *videoSide) removeTile(in *input) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if in.tile != nil {
		v.stage.remove(in.spec.ID, in.tile)
		in.tile = nil
	}
}

// setScene shows the inputs where they belong, and has those decoded that somebody sees. watched: there is an output to see them in.
func (j *Job) setScene(scene layout.Scene, watched bool) {
	j.video.mu.Lock()
	j.video.stage.setScene(scene)
	seen := make(map[*input]bool)
	for _, in := range j.inputs {
		if in.tile != nil {
			muted := in.spec.Video.Muted
			in.tile.SetMuted(muted)
			seen[in] = watched && !muted && !in.tile.Place().Empty()
		}
	}
	j.video.mu.Unlock()
	for _, in := range j.inputs {
		if in.video != nil {
			in.video.sound.Store(in.audio)
			in.video.want(seen[in])
		}
		if in.audio != nil && !seen[in] {
			in.audio.alone()
		}
	}
}

// setFlows makes known where packets go.
func (j *Job) setFlows() {
	flows := make(map[uint64]end)
	for _, in := range j.inputs {
		if in.audio != nil {
			flows[in.audio.track.Flow] = in.audio
		}
		if in.video != nil {
			flows[in.video.track.Flow] = in.video
		}
	}
	for _, out := range j.outputs {
		switch {
		case out.video != nil:
			flows[out.spec.Flow] = out.video
		case out.audio != nil:
			flows[out.spec.Flow] = out.audio
		}
	}
	j.mu.Lock()
	j.flows = flows
	j.mu.Unlock()
}

func soundsOf(inputs []*input) (list []*audioIn) {
	for _, in := range inputs {
		if in.audio != nil {
			list = append(list, in.audio)
		}
	}
	return list
}

func audioOuts(outputs []*output) (list []*audioOut) {
	for _, o := range outputs {
		if o.audio != nil {
			list = append(list, o.audio)
		}
	}
	return list
}

func videoOuts(outputs []*output) (list []*videoOut) {
	for _, o := range outputs {
		if o.video != nil {
			list = append(list, o.video)
		}
	}
	return list
}
