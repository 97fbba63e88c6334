package pipeline

import (
	"portico/relay/codec"
	"portico/relay/codec/library"
	"portico/relay/payload"
	"portico/shared/conference"
)

// codecs makes what a job works with. Errors are those of package codec.
type codecs interface {
	VideoDecoder(name string) (codec.VideoDecoder, error)
	VideoEncoder(codec.VideoConfig) (codec.VideoEncoder, error)
	AudioDecoder(conference.Format) (codec.AudioDecoder, error)
	AudioEncoder(codec.AudioConfig) (codec.AudioEncoder, error)
	Depacketiser(name string) (depacketiser, error)
	Packetiser(name string, pictureID uint16) (packetiser, error)
}

type depacketiser interface {
	Push(payload.Packet) (payload.Frame, error)
}

type packetiser interface {
	Split(frame []byte) ([][]byte, error)
}

// built are the codecs of this program.
type built struct{}

func (built) VideoDecoder(name string) (codec.VideoDecoder, error) { return library.VideoDecoder(name) }
func (built) VideoEncoder(c codec.VideoConfig) (codec.VideoEncoder, error) {
	return library.VideoEncoder(c)
}
func (built) AudioDecoder(f conference.Format) (codec.AudioDecoder, error) {
	return library.AudioDecoder(f)
}
func (built) AudioEncoder(c codec.AudioConfig) (codec.AudioEncoder, error) {
	return library.AudioEncoder(c)
}
func (built) Depacketiser(name string) (depacketiser, error) { return payload.NewDepacketiser(name) }
func (built) Packetiser(name string, id uint16) (packetiser, error) {
	return payload.NewPacketiser(name, id)
}
