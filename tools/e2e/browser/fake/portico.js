// A client library without a server, for the tests of the demo page: the room is in this page, and a test moves it
// through globalThis.fakeRoom. It has the names and the manners of the real one, as far as the demo uses them.

const plan = new URL(location.href).searchParams;

export class ConferenceError extends Error {
  constructor(message, code) {
    super(message);
    this.name = 'ConferenceError';
    this.code = code;
  }
}

export async function load() {
  if (plan.get('fake') === 'noload') throw new ConferenceError('the module did not arrive', 'load-failed');
}

export class StreamSourceInfo {
  constructor(audio, video) {
    this.audio = audio;
    this.video = video;
  }
}

export class LocalStream {
  constructor(mediaStream, source) {
    this.mediaStream = mediaStream;
    this.source = source;
  }
}

class Participant extends EventTarget {
  constructor(id, userId) {
    super();
    Object.assign(this, {id, userId, role: 'presenter'});
  }
}

class RemoteStream extends EventTarget {
  constructor(id, origin, source, media) {
    super();
    Object.assign(this, {id, origin, source, media, muted: {audio: false, video: false}});
  }
}

export class RemoteMixedStream extends RemoteStream {
  constructor(id, media) {
    super(id, undefined, new StreamSourceInfo('mixed', 'mixed'), media);
    Object.assign(this, {label: 'common', settings: {audio: {}, video: {}}, layout: [], activeInput: 'unknown'});
  }
}

class Session extends EventTarget {
  constructor(id, log) {
    super();
    this.id = id;
    this.log = log;
  }

  async mute(kind) { this.log.push(`mute ${kind}`); }
  async unmute(kind) { this.log.push(`unmute ${kind}`); }
  async stop() { this.log.push(`stop ${this.id}`); }
  async getStats() { return new Map(globalThis.fakeRoom.stats.map((entry) => [entry.id, entry])); }
  async applyOptions({video: {resolution}}) { globalThis.fakeRoom.shown.push({id: this.id, ...resolution}); }
  async quality() { return globalThis.fakeRoom.quality; }
}

export class ConferenceClient extends EventTarget {
  #room = globalThis.fakeRoom;

  constructor(config) {
    super();
    this.config = config;
    this.#room.client = this;
    this.peerConnection = null;
  }

  async join(token) {
    this.#room.log.push(`join ${token}`);
    if (this.#room.refusal) throw this.#room.refusal;
    const {user} = JSON.parse(atob(token));
    this.self = new Participant('self', user ?? 'Somebody');
    const participants = [this.self, ...this.#room.people.values()];
    return {id: 'room', self: this.self, participants, remoteStreams: [...this.#room.streams.values()], adapts: true};
  }

  async publish(stream, options) {
    const tracks = stream.mediaStream.getTracks();
    this.#room.layers = options?.video?.map(({rid}) => rid);
    this.#room.log.push(`publish ${tracks.map((track) => track.kind).sort().join('+')} as ${stream.source.audio}/${stream.source.video}`);
    const senders = tracks.map((track) => ({kind: track.kind, track}));
    this.peerConnection = {getSenders: () => senders};
    return Object.assign(new Session(`publication-${this.#room.log.length}`, this.#room.log), {
      async replaceTrack(kind, track) { senders.find((sender) => sender.kind === kind).track = track; },
    });
  }

  async subscribe(stream) {
    const subscription = new Session(`subscription-${stream.id}`, this.#room.log);
    subscription.stream = stream.media;
    return subscription;
  }

  async mix({id}, label) { this.#room.log.push(`mix ${id} into ${label}`); }

  async send(message) {
    if (this.#room.mute) throw new ConferenceError('the server did not answer in time', 'timeout');
    this.#room.say('self', message);
  }

  async leave() {
    this.#room.log.push('leave');
  }
}

function event(type, fields) {
  return Object.assign(new Event(type), fields);
}

// A moving picture that stands for a camera: a figure before a wall, in colours of its own.
function drawCamera(seed, width = 640, height = 360) {
  const canvas = Object.assign(document.createElement('canvas'), {width, height});
  const context = canvas.getContext('2d');
  const hue = (seed * 67 + 20) % 360;
  const draw = (time) => {
    const wall = context.createLinearGradient(0, 0, width, height);
    wall.addColorStop(0, `hsl(${hue} 32% 72%)`);
    wall.addColorStop(1, `hsl(${(hue + 40) % 360} 30% 48%)`);
    context.fillStyle = wall;
    context.fillRect(0, 0, width, height);
    const sway = Math.sin(time / 900 + seed) * width * 0.015;
    const [x, y] = [width * (0.5 + 0.04 * Math.sin(seed * 5)) + sway, height * 0.44];
    context.fillStyle = `hsl(${(hue + 190) % 360} 30% 34%)`;
    context.beginPath();
    context.ellipse(x - sway / 2, height * 1.06, width * 0.25, height * 0.42, 0, 0, 7);
    context.fill();
    context.fillStyle = `hsl(${18 + (seed % 4) * 5} 45% ${78 - (seed % 5) * 11}%)`;
    context.beginPath();
    context.ellipse(x, y, height * 0.15, height * 0.19, 0, 0, 7);
    context.fill();
    context.fillStyle = `hsl(${20 + seed * 9 % 30} 35% ${14 + (seed % 3) * 12}%)`;
    context.beginPath();
    context.ellipse(x, y - height * 0.075, height * 0.163, height * 0.14, 0, Math.PI, 0);
    context.fill();
    requestAnimationFrame(draw);
  };
  draw(0);
  return canvas.captureStream(10).getVideoTracks()[0];
}

function drawScreen() {
  const canvas = Object.assign(document.createElement('canvas'), {width: 1280, height: 720});
  const context = canvas.getContext('2d');
  const draw = (time) => {
    context.fillStyle = '#fbfaf7';
    context.fillRect(0, 0, 1280, 720);
    context.fillStyle = '#22333a';
    context.font = '600 44px sans-serif';
    context.fillText('Visitors per month', 90, 120);
    for (let i = 0; i < 12; i++) {
      const high = 120 + 200 * Math.abs(Math.sin(i * 0.7)) + 20 * Math.sin(time / 700 + i);
      context.fillStyle = i === 8 ? '#d9a441' : '#0e6a5e';
      context.fillRect(95 + i * 92, 620 - high, 60, high);
    }
    requestAnimationFrame(draw);
  };
  draw(0);
  return canvas.captureStream(5).getVideoTracks()[0];
}

let audio = null;
function makeTone(loud) {
  audio ??= new AudioContext();
  const out = audio.createMediaStreamDestination();
  const tone = new OscillatorNode(audio, {frequency: 220});
  tone.connect(new GainNode(audio, {gain: loud ? 0.3 : 0})).connect(out);
  tone.start();
  return out.stream.getAudioTracks()[0];
}

globalThis.fakeRoom = {
  client: null,
  refusal: null, // what join throws
  mute: false, // whether sending fails
  log: [],
  people: new Map(),
  streams: new Map(),
  stats: [], // what getStats tells of every session
  quality: null, // what the server says of every subscription
  shown: [], // the sizes that subscriptions were told, with their ids
  layers: undefined, // rids of the picture published last

  come(id, name) {
    const participant = new Participant(id, name);
    this.people.set(id, participant);
    this.client?.dispatchEvent(event('participantjoined', {participant}));
  },
  go(id) {
    const participant = this.people.get(id);
    this.people.delete(id);
    participant.dispatchEvent(new Event('left'));
  },
  send(id, owner, {screen = false, mixed = false, loud = false, silent = false} = {}) {
    const source = new StreamSourceInfo(screen || silent ? undefined : 'mic', screen ? 'screen-cast' : 'camera');
    const tracks = [screen ? drawScreen() : drawCamera(this.streams.size)];
    if (source.audio) tracks.push(makeTone(loud));
    const media = new MediaStream(tracks);
    const stream = mixed ? new RemoteMixedStream(id, media) : new RemoteStream(id, owner, source, media);
    this.streams.set(id, stream);
    this.client?.dispatchEvent(event('streamadded', {stream}));
  },
  stop(id) {
    const stream = this.streams.get(id);
    this.streams.delete(id);
    stream.dispatchEvent(new Event('ended'));
  },
  setMuted(id, kind, muted) {
    const stream = this.streams.get(id);
    stream.muted[kind] = muted;
    stream.dispatchEvent(new Event('updated'));
  },
  say(origin, message) {
    this.client.dispatchEvent(event('messagereceived', {message, origin, to: 'all'}));
  },
  lose() {
    this.client.dispatchEvent(event('serverdisconnected', {error: new ConferenceError('the connection to the server was lost', 'lost')}));
  },
};

// ?people=N fills the room before anybody joins, ?screen=1 has one of them share a screen.
const NAMES = ['Ann Baker', 'Miguel Ortega', 'Priya Nair', 'Tom', 'Zoë Lindqvist', 'Kofi Mensah', '陳美玲', 'Lea Marie von Hohenstein-Wittelsbach',
  'Omar Haddad', 'Ines', 'Sota Tanaka', 'Rosa Álvarez', 'Bert', 'Yuki', 'Dmitri', 'Fatima'];
const count = Number(plan.get('people') ?? 0);
for (let i = 0; i < count; i++) {
  fakeRoom.come(`p${i}`, NAMES[i % NAMES.length]);
  if (i % 5 === 3) continue; // listens only
  fakeRoom.send(`s${i}`, `p${i}`, {loud: i === 1});
  if (i % 4 === 2) fakeRoom.streams.get(`s${i}`).muted.video = true;
  if (i % 3 === 2) fakeRoom.streams.get(`s${i}`).muted.audio = true;
}
if (plan.get('screen')) fakeRoom.send('screen', 'p0', {screen: true});
if (plan.get('mixed')) fakeRoom.send('mix', 'room', {mixed: true});
