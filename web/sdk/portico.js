// The Portico client for browsers: join a conference, publish and subscribe to media, send messages.
//
// The names, arguments and events are those of the Open WebRTC Toolkit's JavaScript SDK (version 5.1), so an application
// moves over by changing its imports. The conference itself is a Go program in WebAssembly, which this module loads as soon
// as it is imported; the classes here are thin views of what that program knows. portico.d.ts describes everything.

export {
  ActiveAudioInputChangeEvent, ConferenceError, DisconnectedEvent, ErrorEvent, LayoutChangeEvent, MessageEvent, MuteEvent,
  ParticipantEvent, ReconnectedEvent, RosterChangeEvent, StreamEvent,
} from './events.js';
export {load} from './loader.js';
export {
  AudioCodec, AudioCodecParameters, AudioEncodingParameters, AudioSourceInfo, AudioTrackConstraints, MediaStreamFactory, Resolution,
  StreamConstraints, TrackKind, VideoCodec, VideoCodecParameters, VideoEncodingParameters, VideoSourceInfo, VideoTrackConstraints,
} from './media.js';
export {
  AudioPublicationSettings, AudioSubscriptionCapabilities, LocalStream, PublicationSettings, RemoteMixedStream, RemoteStream, Stream,
  StreamSourceInfo, SubscriptionCapabilities, VideoPublicationSettings, VideoSubscriptionCapabilities,
} from './stream.js';
export {Publication, Subscription} from './session.js';
export {ConferenceClient, ConferenceInfo, Participant} from './client.js';
