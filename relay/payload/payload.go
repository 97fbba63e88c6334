// Package payload turns the RTP payloads of video into frames, and frames into RTP payloads.
//
// A Depacketiser stands between the jitter buffer, which has put the packets in order and says where some are missing, and the
// decoder; a Packetiser between the encoder and the RTP packets. A frame is all that was sent with one RTP timestamp, in the form
// that codec.VideoDecoder takes. The formats, each described in its file, are
//
//	vp8   RFC 7741
//	vp9   RFC 9628; the spatial layers of a picture are one frame
//	h264  RFC 6184, packetization-mode 0 and 1: single NAL units, STAP-A, FU-A
//	av1   RTP Payload Format For AV1, version 1.0
//
// Sound needs none of this: a payload is a packet of the codec.
package payload

import (
	"errors"

	"portico/shared/rtp/inspect"
)

const (
	MaxPayload = 1150    // bytes of a payload that a Packetiser makes
	MaxFrame   = 2 << 20 // bytes of a frame, in both directions
	usualFrame = 1 << 18 // bytes above which a buffer is not kept
)

var (
	ErrCodec  = errors.New("payload: unknown codec")
	ErrBroken = errors.New("payload: packets are missing or make no sense")
	ErrFrame  = errors.New("payload: not a frame of this codec")
)

// Packet is what of an RTP packet matters here.
type Packet struct {
	Timestamp uint32
	Marker    bool   // the last packet of its frame
	Missing   bool   // packets right before this one did not come
	Payload   []byte // not kept; empty when it was padding alone
}

// Frame is a frame that lacks no packet.
type Frame struct {
	Data          []byte // the Depacketiser's, valid until its next Push; nil: no frame
	Timestamp     uint32
	Key           bool // a decoder can begin here
	Width, Height int  // pixels, of the largest layer; 0 when the packets do not tell, as they do in most key frames
}

// assembler puts one frame together. ok is false when the packets do not fit together; the rest of the frame is not shown to it.
type assembler interface {
	// begin starts a frame. gap: what was before its first packet is missing, so that it may lack its beginning.
	begin(gap bool)
	// add appends what the payload, which is not empty, has of the frame.
	add(frame, payload []byte) (longer []byte, ok bool)
	// end finishes the frame; not ok when more has to come.
	end(frame []byte) (finished []byte, ok bool)
}

// Depacketiser turns the packets of one encoding into frames. Make it with NewDepacketiser. It is not safe for concurrent use.
type Depacketiser struct {
	parts   assembler
	inspect inspect.Inspector
	buffer  []byte // the frame that is being put together
	other   []byte // the frame that was given last
	frame   Frame  // what is known of the one being put together, without Data
	open    bool   // there is one
	broken  bool   // and it will not be given
	done    bool   // and it is complete, but another was given first
	gap     bool   // packets are missing right before the next frame
}

// NewDepacketiser makes a Depacketiser for "vp8", "vp9", "h264" or "av1", ErrCodec for others.
func NewDepacketiser(codec string) (*Depacketiser, error) {
	d := &Depacketiser{inspect: inspect.For(codec)}
	switch codec {
	case "vp8":
		d.parts = new(vp8Parts)
	case "vp9":
		d.parts = new(vp9Parts)
	case "h264":
		d.parts = new(h264Parts)
	case "av1":
		d.parts = new(av1Parts)
	default:
		return nil, ErrCodec
	}
	return d, nil
}

// Push takes the next packet, in the order in which they were sent, and gives the frame that is complete with it, if any. Any bytes
// may come in.
//
// ErrBroken says, once for each such place, that something was lost: whole frames, or parts of one that is left out then. A frame
// may come along with it, one from before. The frames behind it lack no packet themselves, but what they refer to may be missing:
// up to the next key frame (Frame.Key) they are not to be decoded.
//
// Senders that leave out the marker are understood: their frames end where another timestamp begins.
func (d *Depacketiser) Push(p Packet) (out Frame, err error) {
	if p.Missing {
		d.gap, err = true, ErrBroken
		if d.open && !d.done {
			d.broken = true
		}
	}
	if d.done || d.open && p.Timestamp != d.frame.Timestamp {
		var fault error
		if out, fault = d.finish(); fault != nil {
			err = fault
		}
	}
	if len(p.Payload) == 0 {
		return out, err
	}
	if !d.open {
		d.open, d.broken, d.buffer, d.frame = true, false, d.buffer[:0], Frame{Timestamp: p.Timestamp}
		d.parts.begin(d.gap)
		d.gap = false
	}
	if !d.broken && !d.add(p.Payload) {
		d.broken, err = true, ErrBroken
	}
	switch {
	case !p.Marker:
	case out.Data != nil:
		d.done = true
	default:
		var fault error
		if out, fault = d.finish(); fault != nil {
			err = fault
		}
	}
	return out, err
}

func (d *Depacketiser) add(payload []byte) (ok bool) {
	if len(d.buffer)+len(payload) > MaxFrame {
		return false
	}
	if d.buffer, ok = d.parts.add(d.buffer, payload); !ok || len(d.buffer) > MaxFrame {
		return false
	}
	p := d.inspect(payload)
	d.frame.Key = d.frame.Key || p.KeyFrame
	if p.Width*p.Height > d.frame.Width*d.frame.Height {
		d.frame.Width, d.frame.Height = p.Width, p.Height
	}
	return true
}

// finish ends the open frame, which is given unless it is broken. The error is of one that nobody knew of yet.
func (d *Depacketiser) finish() (Frame, error) {
	d.open, d.done = false, false
	if d.broken {
		return Frame{}, nil
	}
	frame, ok := d.parts.end(d.buffer)
	if !ok || len(frame) > MaxFrame {
		return Frame{}, ErrBroken
	}
	if len(frame) == 0 {
		return Frame{}, nil
	}
	d.buffer, d.other = d.other, frame
	if cap(d.buffer) > usualFrame {
		d.buffer = nil
	}
	out := d.frame
	out.Data = frame
	return out, nil
}

// splitter writes the payloads of a frame that is not empty.
type splitter interface {
	split(p *pieces, frame []byte) error
}

// Packetiser turns the frames of one encoding into payloads of at most MaxPayload bytes. Make it with NewPacketiser. It is not safe
// for concurrent use.
type Packetiser struct {
	splitter splitter
	pieces   pieces
}

// NewPacketiser makes a Packetiser for "vp8", "vp9", "h264" or "av1", ErrCodec for others. Where frames have picture ids, which
// have 15 bits, the first frame gets the one given.
func NewPacketiser(codec string, pictureID uint16) (*Packetiser, error) {
	p := &Packetiser{}
	switch codec {
	case "vp8":
		p.splitter = &vp8Splitter{picture: pictureID}
	case "vp9":
		p.splitter = &vp9Splitter{picture: pictureID}
	case "h264":
		p.splitter = new(h264Splitter)
	case "av1":
		p.splitter = new(av1Splitter)
	default:
		return nil, ErrCodec
	}
	return p, nil
}

// Split gives the payloads of a frame, of the form that codec.VideoEncoder makes; the packet of the last one gets the marker. They
// are the Packetiser's and valid until the next call; the frame is not kept. ErrFrame when it is empty, too large or no such frame:
// nothing is to be sent then.
func (p *Packetiser) Split(frame []byte) ([][]byte, error) {
	if len(frame) == 0 || len(frame) > MaxFrame {
		return nil, ErrFrame
	}
	p.pieces.reset()
	if err := p.splitter.split(&p.pieces, frame); err != nil {
		return nil, err
	}
	return p.pieces.list(), nil
}

// pieces is a list of byte strings in one buffer, which is written at its end.
type pieces struct {
	buffer []byte
	ends   []int
	all    [][]byte
}

func (p *pieces) reset() {
	if cap(p.buffer) > usualFrame {
		p.buffer = nil
	}
	p.buffer, p.ends = p.buffer[:0], p.ends[:0]
}

func (p *pieces) write(b ...byte) { p.buffer = append(p.buffer, b...) }

// cut ends a piece.
func (p *pieces) cut() { p.ends = append(p.ends, len(p.buffer)) }

func (p *pieces) list() [][]byte {
	p.all = p.all[:0]
	begin := 0
	for _, end := range p.ends {
		p.all = append(p.all, p.buffer[begin:end:end])
		begin = end
	}
	return p.all
}

// evenly is the length of the pieces of b, but the last, that have room for so many bytes: as equal as can be, so that no packet is
// sent for a few bytes.
func evenly(b []byte, room int) int {
	n := (len(b) + room - 1) / room
	return (len(b) + n - 1) / n
}
