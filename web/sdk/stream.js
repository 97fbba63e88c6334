// Streams: what this page can publish and what the room offers.

import {SendStream} from './data.js';
import {AudioCodecParameters, AudioSourceInfo, Resolution, TrackKind, VideoCodecParameters, VideoSourceInfo} from './media.js';

export class StreamSourceInfo {
  constructor(audioSourceInfo, videoSourceInfo, dataSourceInfo) {
    const check = (sources, source, kind) => {
      // Streams from elsewhere may name sources of the protocol that the OWT SDK has no word for.
      const valid = source === undefined || Object.values(sources).includes(source) || source === 'raw-file' || source === 'encoded-file';
      if (!valid) throw new TypeError(`Incorrect value for ${kind} source info: ${source}`);
      return source;
    };
    this.audio = check(AudioSourceInfo, audioSourceInfo, 'audio');
    this.video = check(VideoSourceInfo, videoSourceInfo, 'video');
    this.data = dataSourceInfo;
  }
}

export class Stream extends EventTarget {
  constructor(mediaStream, sourceInfo, attributes) {
    super();
    this.mediaStream = mediaStream;
    Object.defineProperty(this, 'source', {enumerable: true, value: sourceInfo});
    Object.defineProperty(this, 'attributes', {enumerable: true, writable: true, value: attributes});
  }

  get stream() {
    return this.mediaStream;
  }
}

export class LocalStream extends Stream {
  #data; // a SendStream

  // stream is a MediaStream, or what createSendStream gave.
  constructor(stream, sourceInfo, attributes) {
    const data = sourceInfo?.data ? stream : undefined;
    const mediaStream = data ? undefined : stream;
    if (data) checkData(data, sourceInfo);
    else checkMedia(mediaStream, sourceInfo);
    super(mediaStream, sourceInfo, attributes);
    this.#data = data;
    Object.defineProperty(this, 'id', {enumerable: true, value: crypto.randomUUID ? crypto.randomUUID() : String(Math.random()).slice(2)});
  }

  get stream() {
    return this.#data ?? this.mediaStream;
  }
}

function checkData(stream, {audio, video}) {
  if (!(stream instanceof SendStream)) throw new TypeError('Invalid stream.');
  if (audio || video) throw new TypeError('Invalid source info. A stream is either of data or of media.');
}

function checkMedia(stream, sourceInfo) {
  if (!(stream instanceof MediaStream)) throw new TypeError('Invalid stream.');
  if (stream.getAudioTracks().length > 0 && !sourceInfo?.audio) throw new TypeError('Missing audio source info.');
  if (stream.getVideoTracks().length > 0 && !sourceInfo?.video) throw new TypeError('Missing video source info.');
}

export class AudioPublicationSettings {
  constructor(codec) {
    this.codec = codec;
  }
}

export class VideoPublicationSettings {
  constructor(codec, resolution, frameRate, bitrate, keyFrameInterval, rid) {
    this.codec = codec;
    this.resolution = resolution;
    this.frameRate = frameRate;
    this.bitrate = bitrate;
    this.keyFrameInterval = keyFrameInterval;
    this.rid = rid;
  }
}

export class PublicationSettings {
  constructor(audio, video) {
    this.audio = audio;
    this.video = video;
  }
}

export class AudioSubscriptionCapabilities {
  constructor(codecs) {
    this.codecs = codecs;
  }
}

export class VideoSubscriptionCapabilities {
  constructor(codecs, resolutions, frameRates, bitrateMultipliers, keyFrameIntervals) {
    this.codecs = codecs;
    this.resolutions = resolutions;
    this.frameRates = frameRates;
    this.bitrateMultipliers = bitrateMultipliers;
    this.keyFrameIntervals = keyFrameIntervals;
  }
}

export class SubscriptionCapabilities {
  constructor(audio, video) {
    this.audio = audio;
    this.video = video;
  }
}

const audioCodec = (format) => new AudioCodecParameters(format.codec, format.channelNum, format.sampleRate);
const videoCodec = (format) => new VideoCodecParameters(format.codec, format.profile);
const resolutionOf = (size) => size && new Resolution(size.width, size.height);

// settingsOf reads what a stream is made of. A simulcast stream has one video setting for each rid; trackId is what
// subscribing to that layer alone needs.
function settingsOf(tracks) {
  const audio = tracks.filter((t) => t.type === TrackKind.AUDIO).map((t) => new AudioPublicationSettings(audioCodec(t.format)));
  const video = tracks.filter((t) => t.type === TrackKind.VIDEO).map((t) => {
    const p = t.parameters ?? {};
    const settings = new VideoPublicationSettings(
      videoCodec(t.format), resolutionOf(p.resolution), p.framerate, p.bitrate && p.bitrate * 1000, p.keyFrameInterval, t.rid);
    Object.defineProperty(settings, 'trackId', {value: t.id});
    return settings;
  });
  return new PublicationSettings(audio.length > 0 ? audio : undefined, video.length > 0 ? video : undefined);
}

// capabilitiesOf reads what the server can make of a stream, beyond forwarding it as it is.
function capabilitiesOf(tracks) {
  const track = (kind) => tracks.find((t) => t.type === kind);
  const numbers = (list) => [...(list ?? [])].sort((a, b) => a - b);
  const [a, v] = [track(TrackKind.AUDIO), track(TrackKind.VIDEO)];
  const optional = v?.optional?.parameters ?? {};
  return new SubscriptionCapabilities(
    a && new AudioSubscriptionCapabilities((a.optional?.format ?? []).map(audioCodec)),
    v && new VideoSubscriptionCapabilities(
      (v.optional?.format ?? []).map(videoCodec),
      (optional.resolution ?? []).map(resolutionOf).sort((x, y) => x.width - y.width || x.height - y.height),
      numbers(optional.framerate),
      numbers([1, ...(optional.bitrate ?? []).map((text) => Number.parseFloat(text.replace(/^x/, '')))]),
      numbers(optional.keyFrameInterval)));
}

// mutedOf says which kinds are paused: those whose tracks all are.
function mutedOf(tracks) {
  const muted = (kind) => {
    const all = tracks.filter((t) => t.type === kind);
    return all.length > 0 && all.every((t) => t.status === 'inactive');
  };
  return Object.freeze({audio: muted(TrackKind.AUDIO), video: muted(TrackKind.VIDEO)});
}

export class RemoteStream extends Stream {
  // info is a stream as the portal describes it (portal protocol 9.4).
  constructor(info) {
    const source = (kind) => info.media.tracks.find((t) => t.type === kind)?.source;
    const mixed = info.type === 'mixed' ? 'mixed' : undefined;
    super(undefined, new StreamSourceInfo(mixed ?? source('audio'), mixed ?? source('video'), info.data || undefined), info.info.attributes);
    Object.defineProperty(this, 'id', {enumerable: true, value: info.id});
    Object.defineProperty(this, 'origin', {enumerable: true, value: info.info.owner});
    this._update(info);
  }

  // _update takes over a newer description and returns the kinds that became muted or unmuted by it.
  _update(info) {
    const before = this.muted ?? {};
    const tracks = info.media.tracks;
    this.settings = settingsOf(tracks);
    this.extraCapabilities = capabilitiesOf(tracks);
    this.muted = mutedOf(tracks);
    if (info.info.attributes !== undefined) this.attributes = info.info.attributes;
    return ['audio', 'video'].filter((kind) => Boolean(before[kind]) !== this.muted[kind]);
  }
}

export class RemoteMixedStream extends RemoteStream {
  constructor(info) {
    super(info);
    this.label = info.info.label;
    this.layout = info.info.layout ?? [];
    this.activeInput = info.info.activeInput;
  }
}
