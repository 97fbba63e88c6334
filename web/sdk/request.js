// What a page asks for when it publishes or subscribes, in the words the Go program takes.

import {ConferenceError} from './events.js';

const invalid = (message) => new ConferenceError(message, 'invalid-argument');

// publishRequest checks the options against the stream and returns the request and the MediaStreamTracks, in the same order.
export function publishRequest(stream, options = {}, videoCodecs) {
  if (typeof options !== 'object' || !options || Array.isArray(options)) throw new TypeError('Options should be an object.');
  const request = {tracks: [], attributes: stream.attributes};
  const tracks = [];
  for (const kind of ['audio', 'video']) {
    const available = stream.mediaStream.getTracks().filter((t) => t.kind === kind);
    const wanted = options[kind] === undefined ? available.length > 0 : options[kind];
    if (!wanted) continue;
    if (available.length === 0) throw invalid('options.audio/video is inconsistent with tracks presented in the MediaStream.');
    request.tracks.push({kind, source: publishSource(stream.source[kind]), ...sendOptions(kind, wanted, videoCodecs)});
    tracks.push(available[0]);
  }
  if (tracks.length === 0) throw invalid('Cannot publish a stream without audio and video.');
  return {request, tracks};
}

// The protocol tells files by what is in them; the page's word for both is file, and a browser sends raw pictures.
const publishSource = (source) => source === 'file' ? 'raw-file' : source;

// sendOptions reads one kind's options: true, RTCRtpEncodingParameters, or {codec, maxBitrate} as the OWT SDK has them.
function sendOptions(kind, wanted, videoCodecs) {
  if (wanted === true) return {};
  if (!Array.isArray(wanted)) throw new TypeError(`options.${kind} should be a boolean or an array.`);
  const owt = wanted.filter((p) => p?.codec !== undefined && typeof p.codec === 'object' && !('mimeType' in p.codec));
  if (owt.length === 0) {
    const codecs = kind === 'video' ? codecNames(videoCodecs) : [];
    return {encodings: wanted, codecs};
  }
  const good = owt.length === wanted.length && owt.every((p) => typeof p.codec.name === 'string' && ['undefined', 'number'].includes(typeof p.maxBitrate));
  if (!good) throw new TypeError(`options.${kind} has incorrect parameters.`);
  const limit = owt[0].maxBitrate;
  return {codecs: codecNames(owt.map((p) => p.codec)), encodings: limit ? [{maxBitrate: limit * 1000}] : []};
}

const codecNames = (codecs) => (codecs ?? []).map((c) => String(c.name ?? c).toLowerCase());

// subscribeRequest checks the options against what the stream has.
export function subscribeRequest(stream, options = {}) {
  if (typeof options !== 'object' || !options) throw new TypeError('Options should be an object.');
  const request = {};
  for (const kind of ['audio', 'video']) {
    const has = Boolean(stream.settings[kind]);
    const wanted = options[kind] === undefined ? has : options[kind];
    if (typeof wanted !== 'object' && typeof wanted !== 'boolean') throw new TypeError('Invalid options type.');
    if (!wanted) continue;
    if (!has) throw invalid('options.audio/video cannot be true or an object if there is no audio/video track in remote stream.');
    request[kind] = {from: stream.id, ...receiveOptions(stream, kind, wanted)};
  }
  if (!request.audio && !request.video) throw invalid('Cannot subscribe a stream without audio and video.');
  return request;
}

function receiveOptions(stream, kind, wanted) {
  if (wanted === true) return {};
  if (Array.isArray(wanted.codecs) && wanted.codecs.length === 0) {
    throw new TypeError(`${kind === 'audio' ? 'Audio' : 'Video'} codec cannot be an empty array.`);
  }
  const options = {codecs: codecNames(wanted.codecs)};
  if (kind === 'audio') return options;
  if (wanted.rid !== undefined) {
    const layer = stream.settings.video.find((v) => v.rid === wanted.rid);
    if (!layer) throw invalid(`The stream has no layer ${wanted.rid}.`);
    return {...options, from: layer.trackId};
  }
  return {...options, parameters: parametersOf(wanted)};
}

// parametersOf is what a subscriber wishes of the picture, in the protocol's words; undefined for no wish.
export function parametersOf(wanted) {
  const multiplier = wanted.bitrateMultiplier;
  const parameters = {
    resolution: wanted.resolution,
    framerate: wanted.frameRate,
    bitrate: multiplier && multiplier !== 1 ? `x${multiplier}` : undefined,
    keyFrameInterval: wanted.keyFrameInterval,
  };
  return Object.values(parameters).some((p) => p !== undefined) ? parameters : undefined;
}
