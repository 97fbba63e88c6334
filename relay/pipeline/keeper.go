package pipeline

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pion/rtcp"

	"portico/shared/relayproto"
)

// The times of the keeper.
const (
	keepTick    = 20 * millisecond
	rtcpEvery   = second
	reportEvery = 2 * second
	reportPause = 100 * millisecond // between two at least: an input can have something to tell with every picture
)

// keeper sends what is due by the clock besides media: RTCP, and the job's reports.
type keeper struct {
	job   *Job
	dirty atomic.Bool // there is something to report

	mu       sync.Mutex // guards the fields below
	revision uint64
	inputs   []keptInput
	outputs  []keptOutput

	// Of run.
	meters     map[*output]*meter
	reportAt   int64
	measuredAt int64
}

// keptInput and keptOutput are inputs and outputs as they were when the order was carried out: the next one does not touch them.
type (
	keptInput struct {
		id           string
		audio        *audioIn
		video        *videoIn
		sound, sight *notice
	}
	keptOutput struct {
		*output
		id string
	}
)

// meter is what was measured of an output last.
type meter struct {
	bytes, frames, left uint64
	kbps                int
	trouble             string
}

func newKeeper(j *Job) *keeper { return &keeper{job: j, meters: make(map[*output]*meter)} }

// changed has a report sent soon.
func (k *keeper) changed() { k.dirty.Store(true) }

func (k *keeper) set(revision uint64, inputs []*input, outputs []*output) {
	in, out := make([]keptInput, len(inputs)), make([]keptOutput, len(outputs))
	for i, p := range inputs {
		in[i] = keptInput{p.spec.ID, p.audio, p.video, &p.sound, &p.sight}
	}
	for i, p := range outputs {
		out[i] = keptOutput{p, p.spec.ID}
	}
	k.mu.Lock()
	k.revision, k.inputs, k.outputs = revision, in, out
	k.mu.Unlock()
	k.changed()
}

func (k *keeper) run() {
	alarm := k.job.newAlarm()
	defer alarm.t.Stop()
	k.measuredAt = k.job.now()
	rtcpAt := k.measuredAt + rtcpEvery
	for next := k.job.now(); ; next = max(next+keepTick, k.job.now()) {
		select {
		case <-k.job.closing:
			return
		case <-alarm.at(next):
		}
		now := k.job.now()
		due := now >= k.reportAt || now >= k.reportAt-reportEvery+reportPause && k.dirty.Load()
		if due {
			k.dirty.Store(false) // before anything is looked at: what changes from now on is told with the next
		}
		k.mu.Lock()
		revision, inputs, outputs := k.revision, k.inputs, k.outputs
		k.mu.Unlock()
		regular := now >= rtcpAt
		if regular {
			rtcpAt = now + rtcpEvery
			for _, o := range outputs {
				if s := o.sender(); s != nil {
					s.report(now)
				}
			}
		}
		for i := range inputs {
			k.feedback(&inputs[i], regular, now)
		}
		if due {
			k.report(revision, inputs, outputs, now)
		}
	}
}

// feedback sends an input's senders what they have to know; with regular, how well it arrives.
func (k *keeper) feedback(in *keptInput, regular bool, now int64) {
	ssrc := k.job.ssrc
	if a := in.audio; a != nil && regular {
		if block, ok := a.report(now); ok {
			k.send(a.track.Flow, []rtcp.Packet{&rtcp.ReceiverReport{SSRC: ssrc, Reports: []rtcp.ReceptionReport{block}}})
		}
	}
	v := in.video
	if v == nil {
		return
	}
	var list []rtcp.Packet
	if regular {
		if block, ok := v.report(now); ok {
			list = append(list, &rtcp.ReceiverReport{SSRC: ssrc, Reports: []rtcp.ReceptionReport{block}})
		}
	}
	k.send(v.track.Flow, v.feedback(list, ssrc, now))
}

func (k *keeper) send(flow uint64, list []rtcp.Packet) {
	if len(list) == 0 {
		return
	}
	if b, err := rtcp.Marshal(list); err == nil {
		k.job.options.Port.Send(relayproto.RTCP(flow), b)
	}
}

// report says how the job goes.
func (k *keeper) report(revision uint64, inputs []keptInput, outputs []keptOutput, now int64) {
	k.measure(outputs, now)
	r := relayproto.Report{Revision: revision, Active: k.job.audio.activeInput()}
	for i := range inputs {
		r.Inputs = append(r.Inputs, inputs[i].report())
	}
	for _, o := range outputs {
		m := k.meters[o.output]
		out := relayproto.OutputReport{ID: o.id, Bitrate: m.kbps, Trouble: o.notice.get()}
		if o.video != nil {
			out.Frames = o.video.frames.Load()
		}
		if out.Trouble == "" {
			out.Trouble = m.trouble
		}
		r.Outputs = append(r.Outputs, out)
	}
	k.reportAt = now + reportEvery
	k.job.options.Port.Report(r)
}

func (in *keptInput) report() relayproto.InputReport {
	r := relayproto.InputReport{ID: in.id, Trouble: in.sight.get()}
	if in.video != nil {
		size := in.video.size.Load()
		r.Width, r.Height = int(size>>32), int(uint32(size))
	}
	if r.Trouble == "" {
		r.Trouble = in.sound.get()
	}
	return r
}

// measure finds out what the outputs have sent; once in a while, so that reports in between say the same.
func (k *keeper) measure(outputs []keptOutput, now int64) {
	length := now - k.measuredAt
	due := length >= reportEvery-keepTick
	if due {
		k.measuredAt = now
	}
	old := k.meters
	k.meters = make(map[*output]*meter, len(outputs))
	for _, o := range outputs {
		m := old[o.output]
		if m == nil {
			m = &meter{}
		}
		k.meters[o.output] = m
		if due && o.sender() != nil {
			m.take(o.output, length)
		}
	}
}

func (m *meter) take(o *output, length int64) {
	bytes := o.sender().bytes.Load()
	m.kbps = int(int64(bytes-m.bytes) * 8 * millisecond / length)
	m.bytes = bytes
	if o.video == nil {
		return
	}
	frames, left := o.video.frames.Load(), o.video.left.Load()
	made, missed := frames-m.frames, left-m.left
	m.frames, m.left, m.trouble = frames, left, ""
	if missed*50 > made+missed {
		m.trouble = fmt.Sprintf("too much to do: %d of %d pictures were left out", missed, made+missed)
	}
}
