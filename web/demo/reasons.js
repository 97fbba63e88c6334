// Why a picture looks as it does, in words. Nothing here needs the document: told is what Subscription.quality gives, facts what stats.js
// reads.

const SENTENCES = {
  'asked for': () => 'In this room everybody gets the same picture, whatever their connection and the size of their window.',
  'displayed size': () => 'It is sent as large as it is shown here. Make it larger, and a larger one comes.',
  'bandwidth': (name, sending) => (sending ? 'Your connection does not carry more at the moment.' :
    'Your connection does not carry a picture at the moment. Sound goes first; the picture comes back by itself.'),
  'waiting for key frame': () => 'The next whole picture is on its way.',
  'source has no more': (name) => `This is the best that ${name} sends.`,
  'paused by subscriber': () => 'It is paused, because nobody could see it here.',
  'muted': (name) => `${name} has turned the camera off.`,
  'overloaded': () => 'The server has too much to do, and sends less for a while.',
  'none': () => 'It has only just begun.',
};

const LIMITS = {
  none: 'Your browser sends all that was asked of it.',
  cpu: 'This device is too busy to send more.',
  bandwidth: 'Your connection does not carry more at the moment.',
  other: 'Your browser sends less than was asked of it, and does not say why.',
};

const KINDS = {
  'established': 'agreed with the server', 'ready': 'ready', 'path': 'way through the network', 'begins': 'begins', 'stops': 'stops', 'layer': 'another size',
  'reason': 'another reason', 'display': 'shown at another size', 'key frame': 'whole picture asked for', 'estimate': 'room on the connection', 'loss': 'losses',
  'stall': 'reports of this browser',
};

export function pictureOf(told) {
  return told?.tracks?.find(({kind}) => kind === 'video') ?? null;
}

// receivedSentence is the answer in one sentence.
export function receivedSentence(name, told) {
  const picture = pictureOf(told);
  if (!picture) return 'This server does not say why. What your browser knows:';
  const sentence = SENTENCES[picture.reason] ?? (() => `The server’s reason is: ${picture.reason}.`);
  return sentence(name, picture.sending);
}

export function sentSentence(facts) {
  if (!facts) return 'Nothing is being sent.';
  const limits = facts.layers.map(({limit}) => limit);
  return LIMITS[limits.find((limit) => limit !== 'none') ?? 'none'] ?? LIMITS.other;
}

// receivedRows are label and value of what is known, the more telling first.
export function receivedRows(facts, told, shown, now = Date.now()) {
  const picture = pictureOf(told);
  const network = told?.network;
  return rows([
    ['Shown at', sizeText(shown)],
    ['Received', join(sizeText(facts), rateText(facts))],
    ['The server sends', picture && (picture.sending ? layerText(picture.current) : 'nothing')],
    ['There is', picture && layerText(picture.source)],
    ['Reason', picture && join(picture.reason, sinceText(picture.since, now))],
    ['Room for', network?.estimate > 0 && bitsText(network.estimate)],
    ['Lost', lossText(facts?.loss ?? picture?.loss)],
    ['Round trip', millisText(facts?.rtt ?? network?.rtt)],
    ['Codec', facts?.codec],
    ['Way', facts?.path],
  ]);
}

export function sentRows(facts) {
  if (!facts) return [];
  return rows([
    ...facts.layers.map((layer) => [layer.rid ? `Sent as ${layer.rid}` : 'Sent', join(sizeText(layer) ?? 'nothing', layer.width && rateText(layer), lossText(layer.loss) && `${lossText(layer.loss)} lost`)]),
    ['Round trip', millisText(facts.rtt)],
    ['Codec', facts.codec],
    ['Way', facts.path],
  ]);
}

// eventRows are the last events, newest first, as time and words.
export function eventRows(told, most = 8) {
  return (told?.events ?? []).slice(-most).reverse().map((event) => ({at: new Date(event.until ?? event.at), text: eventText(event)}));
}

function eventText({kind, reason, detail, from, to, count}) {
  let change = detail;
  if (kind === 'estimate') change = `${bitsText(from)} to ${bitsText(to)}`;
  if (kind === 'loss') change = join(detail, `${to} %`);
  if (kind === 'display' && !to) change = undefined;
  return join(KINDS[kind] ?? kind, change, reason, count > 1 && `${count} times`);
}

const rows = (list) => list.filter(([, value]) => value);
const join = (...parts) => parts.filter(Boolean).join(', ');

function sizeText(size) {
  return size?.width && size?.height ? `${size.width} × ${size.height}` : undefined;
}

function layerText(layer) {
  return layer && (sizeText(layer) ? `${sizeText(layer)}${layer.rid ? ` (${layer.rid})` : ''}` : layer.rid);
}

function rateText(facts) {
  const pictures = facts?.frameRate === undefined ? undefined : `${Math.round(facts.frameRate)} pictures a second`;
  return join(pictures, facts?.bitrate !== undefined && bitsText(facts.bitrate));
}

export function bitsText(rate) {
  return rate >= 999_500 ? `${(rate / 1e6).toFixed(1)} Mbit/s` : `${Math.round(rate / 1000)} kbit/s`;
}

const lossText = (part) => (part === undefined ? undefined : `${(part * 100).toFixed(part > 0 && part < 0.1 ? 1 : 0)} %`);
const millisText = (ms) => (ms > 0 ? `${Math.max(1, Math.round(ms))} ms` : undefined);

function sinceText(since, now) {
  const seconds = Math.round((now - Date.parse(since)) / 1000);
  if (!(seconds >= 0)) return undefined;
  return seconds < 120 ? `for ${seconds} s` : `for ${Math.round(seconds / 60)} min`;
}
