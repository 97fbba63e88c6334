// Package relayproto is what an edge and a relay say to each other about a job: mixing a view, or making a stream in another form.
//
// It stands on a control stream of a node link (package link), one stream for each job, which is open as long as the job runs: the
// edge's first message starts it, and its later ones replace what is wanted as a whole, so that nothing depends on what was said
// before. Either side ends the job by closing the stream. Every message is one JSON object; members that are not known are ignored,
// so that nodes of two versions understand each other.
//
//	edge -> relay    {"order": Order}                     first, and whenever something changed
//	relay -> edge    {"report": Report} | {"refusal": Refusal}
//
// A stream that begins with {"command": …} is no job: it is answered once, by {"answer": …}. What stands in both is the operator's affair
// (package cluster, Command).
//
// Media goes in datagrams of the same link. Each encoding is a flow, whose number the edge chooses, never the same twice on a link:
// its RTP packets go by flow id 2n, RTCP about it, both ways, by 2n+1 (as RTP over QUIC pairs them).
package relayproto

import (
	"encoding/json"
	"errors"
	"fmt"

	"portico/shared/conference"
)

// JobKind is what a job does.
type JobKind string

// The kinds of jobs.
const (
	Mix       JobKind = "mix"       // a view: many inputs, one picture and N-1 sound
	Transcode JobKind = "transcode" // one input in other forms: at most one of sound and one of video
)

// Limits of what an order may ask for.
const (
	MaxInputs   = 256
	MaxOutputs  = 512
	MaxMessage  = 1 << 20 // bytes
	MaxName     = 1024    // bytes of an id of any kind
	MaxSuspects = 64      // of a Refusal
)

// Order is all that is wanted of a job.
type Order struct {
	Job      string  `json:"job"`  // id, 32 hexadecimal digits
	Room     string  `json:"room"` // for the log and for admission
	Kind     JobKind `json:"kind"`
	Epoch    uint64  `json:"epoch"`    // of the room's home: a relay obeys the highest it has seen of a job's room, and drops others
	Revision uint64  `json:"revision"` // rises with every order of a job
	View     *View   `json:"view,omitempty"`
	// Scene is where the inputs of a mix are shown, in the form of layout.Scene.Value; absent without video.
	Scene   json.RawMessage `json:"scene,omitempty"`
	Inputs  []Input         `json:"inputs"`  // in the order of mixing; ids differ
	Outputs []Output        `json:"outputs"` // ids differ
	// Resets counts how often it was forgotten who was the loudest; it rises (rooms-and-media 5.5). A relay then finds out anew.
	Resets uint64 `json:"resets,omitempty"`
}

// View is how a mix looks and sounds, whatever is in it.
type View struct {
	Width      int              `json:"width"` // of the canvas, 0 without video
	Height     int              `json:"height"`
	Framerate  float64          `json:"framerate"` // pictures a second
	Background conference.Color `json:"background"`
	Crop       bool             `json:"crop"` // fit policy: else letterbox
	VAD        bool             `json:"vad"`  // report who is the loudest
}

// Input is a stream that comes in.
type Input struct {
	ID          string      `json:"id"`                    // the stream's
	Participant string      `json:"participant,omitempty"` // who does not hear it in its own output; empty: nobody's
	Audio       *InputTrack `json:"audio,omitempty"`
	Video       *InputTrack `json:"video,omitempty"`
}

// InputTrack is one encoding that comes in. Its codec, and for video the size, may change in the middle: another flow then comes
// with another order, a size without any notice.
type InputTrack struct {
	Flow   uint64            `json:"flow"`
	Format conference.Format `json:"format"`
	Muted  bool              `json:"muted,omitempty"` // the sound is skipped, the region shows the avatar
}

// Output is a stream that goes out.
type Output struct {
	ID     string            `json:"id"`
	Flow   uint64            `json:"flow"`
	Kind   conference.Kind   `json:"kind"`
	Format conference.Format `json:"format"`
	// Participant is whose own inputs are not in the sound: N-1. Empty: all voices.
	Participant string `json:"participant,omitempty"`
	// Of video. Width and Height 0 in a transcode: the input's, whatever it is.
	Width            int     `json:"width,omitempty"`
	Height           int     `json:"height,omitempty"`
	Framerate        float64 `json:"framerate,omitempty"`        // pictures a second
	Bitrate          int     `json:"bitrate,omitempty"`          // kbit/s; 0 in a transcode: by the input's size
	Ceiling          int     `json:"ceiling,omitempty"`          // kbit/s that the receivers' networks carry; 0: not known
	KeyFrameInterval float64 `json:"keyFrameInterval,omitempty"` // seconds; 0: on demand only
}

// Refusal ends a job that was not begun, or cannot go on. The stream is closed behind it.
type Refusal struct {
	Reason Reason `json:"reason"`
	Detail string `json:"detail,omitempty"` // for the log
	// Suspects are whose media decoders were at work on when a process died: one of them is the likely cause. Empty where that is not
	// known, or nothing was decoded.
	Suspects []Suspect `json:"suspects,omitempty"`
}

// Suspect is one track of an input of the order. They differ.
type Suspect struct {
	Input string          `json:"input"` // id
	Kind  conference.Kind `json:"kind"`
}

// Reason is why a relay refuses or gives up a job.
type Reason string

// The reasons of a Refusal.
const (
	Full        Reason = "full"         // no capacity: try another relay
	Unable      Reason = "unable"       // codecs or sizes that this relay does not do, and nothing else to do
	BadOrder    Reason = "bad order"    // the order makes no sense
	Stale       Reason = "stale"        // a newer epoch of the room is known
	Crashed     Reason = "crashed"      // the job's process has died: start it again
	ShuttingOff Reason = "shutting off" // the relay stops: try another
)

// Report is how a job goes: sent when it runs, when something in it changed, and every few seconds.
type Report struct {
	Revision uint64         `json:"revision"`         // of the order that is carried out
	Active   string         `json:"active,omitempty"` // the input that was the loudest last, of a mix whose View says VAD; none since a reset
	Inputs   []InputReport  `json:"inputs,omitempty"`
	Outputs  []OutputReport `json:"outputs,omitempty"`
	CPU      float64        `json:"cpu,omitempty"` // cores in use
}

// InputReport is what comes of one input.
type InputReport struct {
	ID     string `json:"id"`
	Width  int    `json:"width,omitempty"`
	Height int    `json:"height,omitempty"`
	// Trouble is why the input's video or sound is not in the mix at the moment, in words; empty when all is well.
	Trouble string `json:"trouble,omitempty"`
}

// OutputReport is what comes of one output.
type OutputReport struct {
	ID      string `json:"id"`
	Bitrate int    `json:"bitrate,omitempty"` // kbit/s, measured
	Frames  uint64 `json:"frames,omitempty"`
	// Trouble is why the output does not come, or not as ordered, in words; empty when all is well.
	Trouble string `json:"trouble,omitempty"`
}

// Message is one message in either direction; exactly one member is set.
type Message struct {
	Order   *Order   `json:"order,omitempty"`
	Report  *Report  `json:"report,omitempty"`
	Refusal *Refusal `json:"refusal,omitempty"`

	Command json.RawMessage `json:"command,omitempty"`
	Answer  json.RawMessage `json:"answer,omitempty"`
}

// ErrMessage is of a message that cannot be read, or says what cannot be.
var ErrMessage = errors.New("relayproto: bad message")

// Encode writes a message.
func Encode(m Message) ([]byte, error) {
	b, err := json.Marshal(m)
	if err == nil && len(b) > MaxMessage {
		err = fmt.Errorf("%w: longer than %d bytes", ErrMessage, MaxMessage)
	}
	return b, err
}

// Decode reads a message and checks all of it that can be checked without knowing the job. It fails with ErrMessage.
func Decode(b []byte) (Message, error) {
	var m Message
	if len(b) > MaxMessage {
		return m, fmt.Errorf("%w: longer than %d bytes", ErrMessage, MaxMessage)
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return Message{}, fmt.Errorf("%w: %v", ErrMessage, err)
	}
	n := 0
	if m.Order != nil {
		n++
		if err := m.Order.check(); err != nil {
			return Message{}, err
		}
	}
	if m.Report != nil {
		n++
	}
	if m.Refusal != nil {
		n++
		if err := m.Refusal.check(); err != nil {
			return Message{}, err
		}
	}
	if m.Command != nil {
		n++
	}
	if m.Answer != nil {
		n++
	}
	if n != 1 {
		return Message{}, fmt.Errorf("%w: %d things in one", ErrMessage, n)
	}
	return m, nil
}

// MaxSide is the longest side of a picture that is made, in pixels.
const MaxSide = 4096

func (o *Order) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: order: "+format, append([]any{ErrMessage}, args...)...)
	}
	switch {
	case o.Job == "":
		return bad("no job")
	case len(o.Job) > MaxName || len(o.Room) > MaxName:
		return bad("a name of %d bytes", max(len(o.Job), len(o.Room)))
	case o.Kind != Mix && o.Kind != Transcode:
		return bad("kind %q", o.Kind)
	case o.Kind == Mix && o.View == nil:
		return bad("a mix without a view")
	case len(o.Inputs) > MaxInputs || o.Kind == Transcode && len(o.Inputs) > 1:
		return bad("%d inputs", len(o.Inputs))
	case len(o.Outputs) > MaxOutputs:
		return bad("%d outputs", len(o.Outputs))
	}
	if v := o.View; v != nil && (!sideFits(v.Width) || !sideFits(v.Height) || !rateFits(v.Framerate)) {
		return bad("view of %dx%d at %v", v.Width, v.Height, v.Framerate)
	}
	flows, inputs, outputs := map[uint64]bool{}, map[string]bool{}, map[string]bool{}
	fresh := func(flow uint64) bool {
		was := flows[flow]
		flows[flow] = true
		return !was && flow > 0 && flow <= MaxFlow
	}
	for i := range o.Inputs {
		in := &o.Inputs[i]
		if in.ID == "" || inputs[in.ID] || len(in.ID) > MaxName || len(in.Participant) > MaxName {
			return bad("input %d has no id of its own", i)
		}
		inputs[in.ID] = true
		for _, t := range []*InputTrack{in.Audio, in.Video} {
			if t != nil && !fresh(t.Flow) {
				return bad("flow %d", t.Flow)
			}
		}
	}
	for i := range o.Outputs {
		out := &o.Outputs[i]
		switch {
		case out.ID == "" || outputs[out.ID] || len(out.ID) > MaxName || len(out.Participant) > MaxName:
			return bad("output %d has no id of its own", i)
		case !fresh(out.Flow):
			return bad("flow %d", out.Flow)
		case out.Kind != conference.Audio && out.Kind != conference.Video:
			return bad("output of kind %q", out.Kind)
		case !sideFits(out.Width) || !sideFits(out.Height) || !rateFits(out.Framerate) || out.Bitrate < 0 || out.Ceiling < 0 || out.KeyFrameInterval < 0:
			return bad("output of %dx%d at %v with %d kbit/s", out.Width, out.Height, out.Framerate, out.Bitrate)
		}
		outputs[out.ID] = true
	}
	return nil
}

func (r *Refusal) check() error {
	if len(r.Suspects) > MaxSuspects {
		return fmt.Errorf("%w: refusal: %d suspects", ErrMessage, len(r.Suspects))
	}
	known := make(map[Suspect]bool, len(r.Suspects))
	for i, s := range r.Suspects {
		if s.Input == "" || len(s.Input) > MaxName || known[s] || s.Kind != conference.Audio && s.Kind != conference.Video {
			return fmt.Errorf("%w: refusal: suspect %d is no track of its own", ErrMessage, i)
		}
		known[s] = true
	}
	return nil
}

func sideFits(side int) bool { return side >= 0 && side <= MaxSide }

// rateFits tells whether a frame rate can be produced: rooms-and-media 5.8 says 1 to 60, 0 is none given.
func rateFits(rate float64) bool { return rate == 0 || rate >= 1 && rate <= 60 }

// MaxFlow is the greatest number of a flow: its flow ids still fit into a QUIC variable-length integer.
const MaxFlow = 1<<60 - 1

// RTP and RTCP are the flow ids of a flow's packets.
func RTP(flow uint64) uint64  { return flow << 1 }
func RTCP(flow uint64) uint64 { return flow<<1 | 1 }

// Flow is the flow of a flow id, and whether its packet is RTCP.
func Flow(id uint64) (flow uint64, rtcp bool) { return id >> 1, id&1 == 1 }

// PayloadType is the RTP payload type that packets of a codec have on a link, whatever a client calls it; 0, which is also PCMU's, for
// unknown ones.
func PayloadType(codec string) uint8 { return payloadTypes[codec] }

var payloadTypes = map[string]uint8{
	"pcmu": 0, "pcma": 8, "g722": 9, "opus": 111, "vp8": 96, "vp9": 98, "h264": 102, "av1": 45,
}

// ClockRate is the RTP clock of a codec in ticks a second (RFC 3551: G.722 says 8000).
func ClockRate(codec string) int {
	switch codec {
	case "opus":
		return 48000
	case "pcmu", "pcma", "g722":
		return 8000
	}
	return 90000
}

// Extensions of the RTP header on a link, one-byte form (RFC 8285): the same ids for all.
const (
	ExtAudioLevel           = 1 // RFC 6464
	ExtDependencyDescriptor = 2 // of AV1
)
