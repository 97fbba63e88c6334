// Package pionpeer is the conference client's PeerConnection on pion/webrtc, for native participants: load tests, end-to-end
// tests and the guest program.
//
// It stands where the browser's RTCPeerConnection stands in a page: shared/client makes transceivers and offers through it,
// local tracks are webrtc.TrackLocal (or a slice of them, one per simulcast layer), remote tracks arrive as *Remote. It reads
// RTCP itself, so that pion's interceptors see reports and feedback; RTP is for the receiver of a Remote to read.
package pionpeer

import (
	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"

	"portico/shared/client"
)

// Options say what the peers of a Factory have in common. The zero value is good for the open network.
type Options struct {
	// Settings changes the engine's settings before anything is made of them: virtual networks, loopback candidates, ports.
	Settings func(*webrtc.SettingEngine)
	// Codecs registers codecs and header extensions; nil: pion's defaults (VP8, VP9, H.264, AV1, Opus, G.722, PCM).
	Codecs func(*webrtc.MediaEngine) error
	// RTCP is told the RTCP packets that came for a local track: key frame requests, reports. Calls for different m-lines may
	// come at the same time; it must not block.
	RTCP func(mid string, packets []rtcp.Packet)
	// Log makes pion's loggers; nil: pion's own, which obeys PION_LOG_*.
	Log logging.LoggerFactory
}

// Factory makes peers; safe for concurrent use.
type Factory struct {
	api  *webrtc.API
	rtcp func(mid string, packets []rtcp.Packet)
}

var _ client.PeerFactory = (*Factory)(nil)

// New builds the engine that the peers share.
func New(options Options) (*Factory, error) {
	media := &webrtc.MediaEngine{}
	codecs := options.Codecs
	if codecs == nil {
		codecs = (*webrtc.MediaEngine).RegisterDefaultCodecs
	}
	if err := codecs(media); err != nil {
		return nil, err
	}
	interceptors := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(media, interceptors); err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{}
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	// A browser reports a remote track when the answer is applied, not when media flows: a paused stream is a track too.
	settings.SetFireOnTrackBeforeFirstRTP(true)
	if options.Log != nil {
		settings.LoggerFactory = options.Log
	}
	if options.Settings != nil {
		options.Settings(&settings)
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(interceptors),
		webrtc.WithSettingEngine(settings))
	return &Factory{api: api, rtcp: options.RTCP}, nil
}

// NewPeer makes one PeerConnection. The caller closes it.
func (f *Factory) NewPeer(config client.PeerConfig, events client.PeerEvents) (client.Peer, error) {
	configuration := webrtc.Configuration{ICEServers: iceServers(config.ICEServers)}
	if config.RelayOnly {
		configuration.ICETransportPolicy = webrtc.ICETransportPolicyRelay
	}
	pc, err := f.api.NewPeerConnection(configuration)
	if err != nil {
		return nil, err
	}
	return newPeer(pc, f.rtcp, events), nil
}

func iceServers(servers []client.ICEServer) []webrtc.ICEServer {
	list := make([]webrtc.ICEServer, len(servers))
	for i, s := range servers {
		list[i] = webrtc.ICEServer{URLs: s.URLs, Username: s.Username}
		if s.Credential != "" {
			list[i].Credential = s.Credential
		}
	}
	return list
}
