// Where media comes from and how it is coded: the vocabulary of publishing and subscribing, and a factory of MediaStreams.

export const TrackKind = Object.freeze({AUDIO: 'audio', VIDEO: 'video', AUDIO_AND_VIDEO: 'av'});
export const AudioSourceInfo = Object.freeze({MIC: 'mic', SCREENCAST: 'screen-cast', FILE: 'file', MIXED: 'mixed'});
export const VideoSourceInfo = Object.freeze({CAMERA: 'camera', SCREENCAST: 'screen-cast', FILE: 'file', MIXED: 'mixed'});
export const AudioCodec = Object.freeze({
  PCMU: 'pcmu', PCMA: 'pcma', OPUS: 'opus', G722: 'g722', ISAC: 'iSAC', ILBC: 'iLBC', AAC: 'aac', AC3: 'ac3', NELLYMOSER: 'nellymoser',
});
export const VideoCodec = Object.freeze({VP8: 'vp8', VP9: 'vp9', H264: 'h264', H265: 'h265', AV1: 'av1'});

export class Resolution {
  constructor(width, height) {
    this.width = width;
    this.height = height;
  }
}

export class AudioCodecParameters {
  constructor(name, channelCount, clockRate) {
    this.name = name;
    this.channelCount = channelCount;
    this.clockRate = clockRate;
  }
}

export class VideoCodecParameters {
  constructor(name, profile) {
    this.name = name;
    this.profile = profile;
  }
}

// maxBitrate is in kbit/s, as in the OWT SDK; RTCRtpEncodingParameters, which may be given instead, have it in bit/s.
export class AudioEncodingParameters {
  constructor(codec, maxBitrate) {
    this.codec = codec;
    this.maxBitrate = maxBitrate;
  }
}

export class VideoEncodingParameters {
  constructor(codec, maxBitrate) {
    this.codec = codec;
    this.maxBitrate = maxBitrate;
  }
}

function known(sources, source) {
  if (!Object.values(sources).includes(source)) {
    throw new TypeError(`Invalid source: ${source}; it has to be one of ${Object.values(sources).join(', ')}.`);
  }
  return source;
}

export class AudioTrackConstraints {
  constructor(source) {
    this.source = known(AudioSourceInfo, source);
    this.deviceId = undefined;
  }
}

export class VideoTrackConstraints {
  constructor(source) {
    this.source = known(VideoSourceInfo, source);
    this.deviceId = undefined;
    this.resolution = undefined;
    this.frameRate = undefined;
  }
}

export class StreamConstraints {
  constructor(audioConstraints = false, videoConstraints = false) {
    this.audio = audioConstraints;
    this.video = videoConstraints;
  }
}

function audioRequest(audio) {
  if (typeof audio !== 'object' || !audio) return Boolean(audio);
  if (audio.source !== AudioSourceInfo.MIC || audio.deviceId === undefined) return true;
  return {deviceId: {exact: audio.deviceId}};
}

// A camera has to give exactly the resolution asked for, or the promise fails; a screen comes as near as it can.
function videoRequest(video) {
  if (typeof video !== 'object' || !video) return Boolean(video);
  const request = {};
  const exactly = (value) => video.source === VideoSourceInfo.SCREENCAST ? value : {exact: value};
  if (typeof video.frameRate === 'number') request.frameRate = video.frameRate;
  if (video.resolution?.width && video.resolution?.height) {
    request.width = exactly(video.resolution.width);
    request.height = exactly(video.resolution.height);
  }
  if (typeof video.deviceId === 'string') request.deviceId = {exact: video.deviceId};
  return Object.keys(request).length > 0 ? request : true;
}

export class MediaStreamFactory {
  // createMediaStream asks for a camera, a microphone or a screen. It rejects with a TypeError for constraints that make no
  // sense, otherwise with the DOMException of getUserMedia or getDisplayMedia (NotAllowedError, NotFoundError, …).
  static async createMediaStream(constraints) {
    if (typeof constraints !== 'object' || !constraints || (!constraints.audio && !constraints.video)) {
      throw new TypeError('At least one of audio and video must be requested.');
    }
    const screen = constraints.video?.source === VideoSourceInfo.SCREENCAST;
    const screenAudio = constraints.audio?.source === AudioSourceInfo.SCREENCAST;
    if (screenAudio && !screen) throw new TypeError('Cannot share screen without video.');
    if (screen && typeof constraints.audio === 'object' && constraints.audio && !screenAudio) {
      throw new TypeError('Cannot capture video from screen cast while capture audio from other source.');
    }
    const devices = globalThis.navigator?.mediaDevices;
    if (!devices) throw new TypeError('This page has no access to media devices; it must be served over HTTPS or from localhost.');
    const request = {audio: audioRequest(constraints.audio), video: videoRequest(constraints.video)};
    return screen ? devices.getDisplayMedia(request) : devices.getUserMedia(request);
  }
}
