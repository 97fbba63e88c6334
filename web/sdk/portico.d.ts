// Types of the Portico client for browsers. The names are those of the Open WebRTC Toolkit's JavaScript SDK 5.1;
// what goes beyond it is marked "Portico".

/** What went wrong, for programs. Messages are for people and may change. */
export type ConferenceErrorCode =
  | 'aborted'           // the AbortSignal of the call was aborted
  | 'busy'              // too many publications and subscriptions at a time
  | 'disconnected'      // the server cannot be reached, or the connection to it is lost
  | 'dropped'           // the server ended the participation
  | 'internal'          // a fault of this client
  | 'invalid-argument'  // the call makes no sense for these arguments
  | 'invalid-state'     // not joined, or joined already
  | 'invalid-token'     // the text is not a token
  | 'load-failed'       // the program could not be fetched or run
  | 'media'             // the browser or the network refused: a track, a codec, a description, a connection
  | 'program-stopped'   // the program has ended; join again
  | 'protocol'          // the server's answer makes no sense
  | 'refused'           // the server said no; message is its reason, such as "Room is full"
  | 'session-ended'     // the publication or subscription is over
  | 'timeout'           // no answer in time
  | 'unknown-outcome'   // the connection broke before the server answered: it may have done what was asked
  | 'unsupported'       // this browser has no WebRTC; for streams of data: it has no WebTransport, or the server has none
  | 'version-mismatch'; // wasm_exec.js and portico.wasm are from different builds

export class ConferenceError extends Error {
  constructor(message: string, code?: ConferenceErrorCode);
  readonly code: ConferenceErrorCode;
}

// ---- Events ----

export class StreamEvent extends Event {
  constructor(type: string, init: {stream: RemoteStream});
  readonly stream: RemoteStream;
}
export class ParticipantEvent extends Event {
  constructor(type: string, init: {participant: Participant});
  readonly participant: Participant;
}
export class MessageEvent extends Event {
  constructor(type: string, init: {message: unknown; origin: string; to: string});
  /** What was sent: any JSON value, usually a string. */
  readonly message: any;
  /** The sender's participant id. */
  readonly origin: string;
  /** "all", or "me" for a message to this participant alone. */
  readonly to: string;
}
export class ErrorEvent extends Event {
  constructor(type: string, init: {error: ConferenceError});
  readonly error: ConferenceError;
}
export class MuteEvent extends Event {
  constructor(type: string, init: {kind: TrackKind});
  readonly kind: TrackKind;
}
/** Portico: why the conference ended. */
export class DisconnectedEvent extends Event {
  constructor(type: string, init: {error: ConferenceError});
  readonly error: ConferenceError;
}
/** Portico: the connection to the server is back. */
export class ReconnectedEvent extends Event {
  constructor(type: string, init: {participantId: string; same: boolean});
  readonly participantId: string;
  /** False when the page's participant is another one now, as the server had forgotten the one before. */
  readonly same: boolean;
}
/** Portico: how many participants there are, and whether ConferenceInfo.participants has them all. */
export class RosterChangeEvent extends Event {
  constructor(type: string, init: {participantCount: number; thin: boolean});
  readonly participantCount: number;
  readonly thin: boolean;
}
export class ActiveAudioInputChangeEvent extends Event {
  constructor(type: string, init: {activeAudioInputStreamId: string});
  readonly activeAudioInputStreamId: string;
}
export class LayoutChangeEvent extends Event {
  constructor(type: string, init: {layout: unknown});
  readonly layout: any;
}

/** An EventTarget whose events are known by name. It exists for the compiler only. */
declare class TypedEventTarget<Events> extends EventTarget {
  addEventListener<Name extends keyof Events & string>(
    type: Name, listener: ((event: Events[Name]) => unknown) | {handleEvent(event: Events[Name]): unknown} | null,
    options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<Name extends keyof Events & string>(
    type: Name, listener: ((event: Events[Name]) => unknown) | {handleEvent(event: Events[Name]): unknown} | null,
    options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}
export {};

// ---- Loading ----

/** Portico: where the program comes from. */
export interface LoadOptions {
  /** Address of portico.wasm, for pages that do not serve it beside this module. */
  wasmURL?: string | URL;
  /** A module that the page compiled itself. */
  module?: WebAssembly.Module;
}
/** Portico: makes the program ready. Clients load it by themselves; calling this early saves the wait. */
export function load(options?: LoadOptions): Promise<void>;

// ---- Media ----

export type TrackKind = 'audio' | 'video' | 'av';
export const TrackKind: {readonly AUDIO: 'audio'; readonly VIDEO: 'video'; readonly AUDIO_AND_VIDEO: 'av'};
export type AudioSourceInfo = 'mic' | 'screen-cast' | 'file' | 'mixed';
export const AudioSourceInfo: {readonly MIC: 'mic'; readonly SCREENCAST: 'screen-cast'; readonly FILE: 'file'; readonly MIXED: 'mixed'};
export type VideoSourceInfo = 'camera' | 'screen-cast' | 'file' | 'mixed';
export const VideoSourceInfo: {readonly CAMERA: 'camera'; readonly SCREENCAST: 'screen-cast'; readonly FILE: 'file'; readonly MIXED: 'mixed'};
export type AudioCodec = 'pcmu' | 'pcma' | 'opus' | 'g722' | 'iSAC' | 'iLBC' | 'aac' | 'ac3' | 'nellymoser';
export const AudioCodec: {
  readonly PCMU: 'pcmu'; readonly PCMA: 'pcma'; readonly OPUS: 'opus'; readonly G722: 'g722'; readonly ISAC: 'iSAC'; readonly ILBC: 'iLBC';
  readonly AAC: 'aac'; readonly AC3: 'ac3'; readonly NELLYMOSER: 'nellymoser';
};
export type VideoCodec = 'vp8' | 'vp9' | 'h264' | 'h265' | 'av1';
export const VideoCodec: {readonly VP8: 'vp8'; readonly VP9: 'vp9'; readonly H264: 'h264'; readonly H265: 'h265'; readonly AV1: 'av1'};

export class Resolution {
  constructor(width: number, height: number);
  width: number;
  height: number;
}
export class AudioCodecParameters {
  constructor(name: AudioCodec | string, channelCount?: number, clockRate?: number);
  name: string;
  channelCount?: number;
  clockRate?: number;
}
export class VideoCodecParameters {
  constructor(name: VideoCodec | string, profile?: string);
  name: string;
  profile?: string;
}
export class AudioEncodingParameters {
  constructor(codec: AudioCodecParameters, maxBitrate?: number);
  codec: AudioCodecParameters;
  /** kbit/s */
  maxBitrate?: number;
}
export class VideoEncodingParameters {
  constructor(codec: VideoCodecParameters, maxBitrate?: number);
  codec: VideoCodecParameters;
  /** kbit/s */
  maxBitrate?: number;
}
export class AudioTrackConstraints {
  /** Throws TypeError for an unknown source. */
  constructor(source: AudioSourceInfo);
  source: AudioSourceInfo;
  /** Only with source "mic". */
  deviceId?: string;
}
export class VideoTrackConstraints {
  /** Throws TypeError for an unknown source. */
  constructor(source: VideoSourceInfo);
  source: VideoSourceInfo;
  /** Only with source "camera". */
  deviceId?: string;
  /** A camera has to give exactly this size; a screen comes near it. */
  resolution?: Resolution;
  frameRate?: number;
}
export class StreamConstraints {
  constructor(audioConstraints?: AudioTrackConstraints | boolean, videoConstraints?: VideoTrackConstraints | boolean);
  audio: AudioTrackConstraints | boolean;
  video: VideoTrackConstraints | boolean;
}
export class MediaStreamFactory {
  /** Asks for camera, microphone or screen. Rejects with TypeError for constraints without sense, else with the browser's DOMException. */
  static createMediaStream(constraints: StreamConstraints): Promise<MediaStream>;
}

// ---- Streams ----

export class StreamSourceInfo {
  /** Throws TypeError for an unknown source. */
  constructor(audioSourceInfo?: AudioSourceInfo, videoSourceInfo?: VideoSourceInfo, dataSourceInfo?: boolean);
  readonly audio?: string;
  readonly video?: string;
  readonly data?: boolean;
}
export class Stream<Events = unknown> extends TypedEventTarget<Events> {
  protected constructor();
  mediaStream: MediaStream | undefined;
  /** Of data that goes out, the SendStream; otherwise as mediaStream. */
  readonly stream: MediaStream | SendStream | undefined;
  readonly source: StreamSourceInfo;
  attributes: Record<string, any> | undefined;
}
/** A stream of data on its way out. */
export interface SendStream {
  /** What is written before the stream is published waits. Closing or aborting it ends the stream for those who have subscribed to it. */
  readonly writable: WritableStream<BufferSource>;
}
/** A stream of data that comes in. Its borders between chunks are not those of the writer. */
export interface ReceiveStream {
  readonly readable: ReadableStream<Uint8Array>;
}
export class LocalStream extends Stream {
  /** Throws TypeError when the source of a kind of track in mediaStream is not said. attributes go to everybody in the room. */
  constructor(mediaStream: MediaStream, sourceInfo: StreamSourceInfo, attributes?: Record<string, string>);
  /** With a stream of data that createSendStream gave, and a sourceInfo that says data and nothing else. */
  constructor(stream: SendStream, sourceInfo: StreamSourceInfo, attributes?: Record<string, string>);
  readonly id: string;
  /** undefined of data, which is in stream. */
  mediaStream: MediaStream;
  readonly stream: MediaStream | SendStream;
}
export class AudioPublicationSettings {
  constructor(codec: AudioCodecParameters);
  codec: AudioCodecParameters;
}
export class VideoPublicationSettings {
  constructor(codec: VideoCodecParameters, resolution?: Resolution, frameRate?: number, bitrate?: number, keyFrameInterval?: number, rid?: string);
  codec: VideoCodecParameters;
  resolution?: Resolution;
  frameRate?: number;
  /** bit/s */
  bitrate?: number;
  /** seconds */
  keyFrameInterval?: number;
  /** The simulcast layer this is. */
  rid?: string;
}
export class PublicationSettings {
  constructor(audio?: AudioPublicationSettings[], video?: VideoPublicationSettings[]);
  audio?: AudioPublicationSettings[];
  video?: VideoPublicationSettings[];
}
export class AudioSubscriptionCapabilities {
  constructor(codecs: AudioCodecParameters[]);
  codecs: AudioCodecParameters[];
}
export class VideoSubscriptionCapabilities {
  constructor(codecs: VideoCodecParameters[], resolutions: Resolution[], frameRates: number[], bitrateMultipliers: number[], keyFrameIntervals: number[]);
  codecs: VideoCodecParameters[];
  resolutions: Resolution[];
  frameRates: number[];
  bitrateMultipliers: number[];
  keyFrameIntervals: number[];
}
export class SubscriptionCapabilities {
  constructor(audio?: AudioSubscriptionCapabilities, video?: VideoSubscriptionCapabilities);
  audio?: AudioSubscriptionCapabilities;
  video?: VideoSubscriptionCapabilities;
}

export interface RemoteStreamEvents {
  /** The stream is no longer in the room. */
  ended: Event;
  /** settings, extraCapabilities or muted have changed. */
  updated: Event;
}
export class RemoteStream<Events extends RemoteStreamEvents = RemoteStreamEvents> extends Stream<Events> {
  protected constructor();
  readonly id: string;
  /** The participant that publishes it; undefined for mixed streams. */
  readonly origin: string | undefined;
  settings: PublicationSettings;
  /** What the server can make of the stream besides settings. */
  extraCapabilities: SubscriptionCapabilities;
  /** Portico: which kinds are paused at their source. */
  readonly muted: {readonly audio: boolean; readonly video: boolean};
  /** What the newest subscription to it receives; undefined while there is none. */
  mediaStream: MediaStream | undefined;
}

/** Portico: a region of a mixed stream, and the id of the stream that is shown there. The parts of area are fractions of the picture, "n/d". */
export interface MixedRegion {
  readonly stream?: string;
  readonly region: {readonly id: string; readonly shape: 'rectangle'; readonly area: {readonly left: string; readonly top: string; readonly width: string; readonly height: string}};
}
export interface RemoteMixedStreamEvents extends RemoteStreamEvents {
  activeaudioinputchange: ActiveAudioInputChangeEvent;
  layoutchange: LayoutChangeEvent;
}
export class RemoteMixedStream extends RemoteStream<RemoteMixedStreamEvents> {
  protected constructor();
  /** Portico: the view it is of. */
  readonly label: string;
  /** Portico: where its inputs are, newest word of the server. */
  layout: readonly MixedRegion[];
  /** Portico: id of the stream that was the loudest last; "unknown" when there was none. */
  activeInput: string;
}

// ---- Sessions ----

export interface SessionEvents {
  ended: Event;
  /** Comes before ended when the server ended it. */
  error: ErrorEvent;
  /** The stream's media was paused, by whoever. */
  mute: MuteEvent;
  unmute: MuteEvent;
  /**
   * Portico: the client had to join anew, or went to another server of the cluster, and this is there again; a subscription has new tracks in
   * its stream, and a new id. A publication has a new one too unless the participant is the same as before. Data is restored on another
   * server only, not by joining anew, where it ends: the streams of before end, for the page with an error and for the others in order, what
   * was under way on them may be lost, and new ones can be opened and come.
   */
  restored: Event;
}
export class Publication extends TypedEventTarget<SessionEvents> {
  protected constructor();
  /** The id of the stream that the others see; it may be another one after `restored`. */
  readonly id: string;
  stop(): Promise<void>;
  /** Statistics of the whole RTCPeerConnection. */
  getStats(): Promise<RTCStatsReport>;
  /** Portico: sends another track of that kind instead, or nothing for null, without negotiation. */
  replaceTrack(kind: 'audio' | 'video', track: MediaStreamTrack | null): Promise<void>;
  /** Portico: opens another stream of a publication of data. */
  createSendStream(): Promise<SendStream>;
  /** Pauses media at the server, for everybody; the browser goes on sending. Not of data. */
  mute(kind: TrackKind): Promise<void>;
  unmute(kind: TrackKind): Promise<void>;
}
export class Subscription extends TypedEventTarget<SessionEvents> {
  protected constructor();
  readonly id: string;
  /** What is received: a MediaStream, or of data the first ReceiveStream; it is never both. */
  readonly stream: MediaStream & ReceiveStream;
  /** Portico: of data, the next stream that the publisher opens; null when the subscription has ended. */
  nextStream(): Promise<ReceiveStream | null>;
  /** Portico: what was subscribed to. */
  readonly remoteStream: RemoteStream;
  stop(): Promise<void>;
  /** Statistics of the whole RTCPeerConnection. */
  getStats(): Promise<RTCStatsReport>;
  /**
   * Changes what is received, within the stream's extraCapabilities. Portico: where ConferenceInfo.adapts, the resolution alone may be any: the size in
   * device pixels at which the video is shown.
   */
  applyOptions(options: {video: {resolution?: Resolution; frameRate?: number; bitrateMultiplier?: number; keyFrameInterval?: number}}): Promise<void>;
  /** Portico: what the server says of what is received, and why it is not more. */
  quality(): Promise<SubscriptionQuality>;
  /** Pauses media to this participant only. */
  mute(kind: TrackKind): Promise<void>;
  unmute(kind: TrackKind): Promise<void>;
}

/** Portico: see Subscription.quality. What is not known is left out. Rates are bit/s, durations milliseconds, losses 0 to 1, times ISO 8601. */
export interface SubscriptionQuality {
  id: string;
  participant: string;
  transport: string;
  ready: boolean;
  /** The addresses that ICE has chosen. */
  path?: {local: string; remote: string};
  /** The way from the server to this page: estimate is what fits, by is what it goes by, queue what piles up on the way. */
  network: {
    estimate: number; by: 'nothing' | 'twcc' | 'remb' | 'reports'; wanted: number; sent: number; arrives: number; rtt: number; queue: number; loss: number;
    usage: string; probing: boolean; stalled: boolean;
  };
  tracks: TrackQuality[];
  /** What happened last, oldest first. */
  events: QualityEvent[];
}
export interface TrackQuality {
  kind: 'audio' | 'video';
  mid: string;
  from: string;
  /** Whether layers are chosen for it. */
  adapts: boolean;
  /** As the page told with applyOptions. */
  displayed?: {width: number; height: number};
  sending: boolean;
  /** The largest there is, what this page is to get, and what it gets. */
  source?: QualityLayer;
  target?: QualityLayer;
  current?: QualityLayer;
  /** Why it is not more. */
  reason: 'none' | 'asked for' | 'displayed size' | 'bandwidth' | 'waiting for key frame' | 'source has no more' | 'paused by subscriber' | 'muted' | 'overloaded';
  since?: string;
  bitrate: number;
  frameRate: number;
  loss: number;
  packets: number;
  bytes: number;
  packetsResent: number;
  drops: {reason: string; packets: number}[];
}
export interface QualityLayer {
  rid?: string;
  width?: number;
  height?: number;
  spatial?: number;
  temporal?: number;
}
export interface QualityEvent {
  at: string;
  /** Of what was repeated. */
  until?: string;
  count?: number;
  kind: string;
  reason?: string;
  detail?: string;
  /** Heights of pictures; of estimate bit/s, of loss percent. */
  from?: number;
  to?: number;
}

// ---- The conference ----

export interface ParticipantEvents {
  left: Event;
}
export class Participant extends TypedEventTarget<ParticipantEvents> {
  protected constructor();
  readonly id: string;
  readonly role: string;
  readonly userId: string;
}
export class ConferenceInfo {
  protected constructor();
  /** The room's id. */
  readonly id: string;
  readonly participants: Participant[];
  readonly remoteStreams: RemoteStream[];
  readonly self: Participant;
  /**
   * Portico: the server chooses the layers of each video by the subscriber's network and by the size at which it is shown, which
   * Subscription.applyOptions tells.
   */
  readonly adapts: boolean;
  /** Portico: how many participants there are, self included. */
  readonly participantCount: number;
  /** Portico: participants are not all: see JoinOptions.thin. */
  readonly thin: boolean;
}

export interface ConferenceClientConfiguration extends LoadOptions {
  /** For the RTCPeerConnection. iceServers, when given, replace those that the server names. */
  rtcConfiguration?: RTCConfiguration;
  /** Portico: send and receive through a TURN server only. */
  relayOnly?: boolean;
}
export interface JoinOptions {
  signal?: AbortSignal;
  /** Portico: gives a new token for joining anew when the server has forgotten this participant; without it that is the end. */
  refreshToken?: () => string | Promise<string>;
  /**
   * Portico: makes do with a thin roster in a large room. Above 500 participants info.participants has only self, those that publish a stream,
   * and those that have sent this page a message of its own; info.participantCount counts them all. A `rosterchange` whose thin is true comes
   * before the others leave the list, and one whose thin is false after all are back on it, at fewer than 400. While it is thin,
   * `participantjoined` and `left` say only who is on the list. A message to all may come from somebody who is not.
   */
  thin?: boolean;
}
export interface PublishOptions {
  audio?: boolean | null | AudioEncodingParameters[] | RTCRtpEncodingParameters[];
  video?: boolean | null | VideoEncodingParameters[] | RTCRtpEncodingParameters[];
}
export interface AudioSubscriptionConstraints {
  codecs?: AudioCodecParameters[];
}
export interface VideoSubscriptionConstraints {
  codecs?: VideoCodecParameters[];
  resolution?: Resolution;
  frameRate?: number;
  bitrateMultiplier?: number;
  keyFrameInterval?: number;
  /** One simulcast layer. */
  rid?: string;
}
export interface SubscribeOptions {
  audio?: boolean | null | AudioSubscriptionConstraints;
  video?: boolean | null | VideoSubscriptionConstraints;
}
export interface ConferenceClientEvents {
  streamadded: StreamEvent;
  participantjoined: ParticipantEvent;
  messagereceived: MessageEvent;
  /** Portico: for pages that join with thin: the roster has become thin or full, or, while it is thin, there are more participants or fewer. */
  rosterchange: RosterChangeEvent;
  /** The conference is over for this page, not by leave(), and cannot be got back. Everything of it has ended; join again with a new token. */
  serverdisconnected: DisconnectedEvent;
  /** Portico: peerConnection.connectionState has changed. */
  connectionstatechange: Event;
  /**
   * Portico: the connection to the server is lost and being got back. Media may go on; calls wait. Calls that were on their way and cannot be
   * repeated, such as send() and publish(), reject with the code unknown-outcome.
   */
  reconnecting: Event;
  /**
   * Portico: the connection is back, and what happened meanwhile follows. As another participant the page is told how the room differs from
   * before; its publications, and the subscriptions to streams that are still there, are restored.
   */
  reconnected: ReconnectedEvent;
}
/**
 * Portico: servers of a cluster stand in for each other, and a page has nothing to do or to configure for it.
 *
 * When the server of a page dies, `reconnecting` follows as soon as the loss shows, and within seconds `reconnected`: on another server, as the
 * same participant (same is true), whom the others have not seen leave. The page is told by the usual events what is different in the room.
 * Its publications go on under their ids; for each of them and of its subscriptions `restored` says that media flow again, from a new
 * peerConnection. A subscription then has another id, and its new tracks in the same MediaStream; one whose stream has gone ends. Data ends with
 * `error` and `ended`. Calls that waited are carried out; a publish() or send() that was on its way rejects with unknown-outcome.
 *
 * When a server is about to stop, the client goes to another one beforehand, with the old media until the new have come: nothing but
 * `restored` is told. Where a server lets nobody in, join() tries others that it names.
 *
 * Only when no server knows the participant any more does refreshToken matter: then it joins anew as another one (same is false), or without
 * such a function the conference ends with `serverdisconnected`.
 */
export class ConferenceClient extends TypedEventTarget<ConferenceClientEvents> {
  constructor(config?: ConferenceClientConfiguration);
  /** The room as it is now; null outside a conference. */
  readonly info: ConferenceInfo | null;
  /** For statistics only; null before the first publication or subscription. */
  readonly peerConnection: RTCPeerConnection | null;
  join(token: string, options?: JoinOptions): Promise<ConferenceInfo>;
  /** videoCodecs orders the codecs for publishing with RTCRtpEncodingParameters. */
  publish(stream: LocalStream, options?: PublishOptions, videoCodecs?: VideoCodecParameters[]): Promise<Publication>;
  /** Of a stream of data (source.data) there is nothing to choose: it needs no options. */
  subscribe(stream: RemoteStream, options?: SubscribeOptions): Promise<Subscription>;
  /**
   * Makes a stream of data, for a LocalStream. Data goes over a WebTransport connection of its own, which is opened by the first use of data;
   * when it is lost, all data sessions end with an error, and the next use opens another. When the client goes to another server of the
   * cluster, it opens one there by itself.
   */
  createSendStream(): Promise<SendStream>;
  /** Sends any JSON value to one participant, or to all, the sender included. */
  send(message: any, participantId?: string): Promise<void>;
  /**
   * Portico: takes a stream of this page's, for an admin any, into the mixed stream with that label ("common" by default), and out of it again.
   * A publication that is restored is mixed again.
   */
  mix(stream: Publication | RemoteStream | string, label?: string): Promise<void>;
  unmix(stream: Publication | RemoteStream | string, label?: string): Promise<void>;
  /** Portico: the id of the region that the stream is shown in. */
  region(stream: Publication | RemoteStream | string, label?: string): Promise<string>;
  /** Portico: moves the stream to a region, whose stream takes its place. */
  setRegion(stream: Publication | RemoteStream | string, region: string, label?: string): Promise<void>;
  leave(): Promise<void>;
}
