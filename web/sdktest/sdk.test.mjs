// Tests of the SDK's JavaScript against a program made of JavaScript. Run by web_test.go, which puts program.js where
// wasm_exec.js belongs and names the folder in SDK.

import assert from 'node:assert/strict';
import {test} from 'node:test';
import {pathToFileURL} from 'node:url';

globalThis.MediaStream ??= class {
  constructor(tracks = []) { this.tracks = tracks; }
  getTracks() { return this.tracks; }
  getAudioTracks() { return this.tracks.filter((t) => t.kind === 'audio'); }
  getVideoTracks() { return this.tracks.filter((t) => t.kind === 'video'); }
  addTrack(track) { this.tracks = [...this.tracks, track]; }
  removeTrack(track) { this.tracks = this.tracks.filter((t) => t !== track); }
};

// What a page has beside: a window and the browser's idea of the network.
const page = new EventTarget();
globalThis.addEventListener = page.addEventListener.bind(page);
const network = Object.assign(new EventTarget(), {type: 'wifi'});
Object.defineProperty(globalThis, 'navigator', {value: {connection: network}, configurable: true});

// In a page, importing the SDK begins to fetch the program.
globalThis.document = {};
const fetched = [];
const realFetch = globalThis.fetch;
globalThis.fetch = async (url) => {
  fetched.push(new URL(url).pathname.split('/').at(-1));
  return new Response('try later', {status: 503});
};
const sdk = await import(`${pathToFileURL(process.env.SDK)}/portico.js`);
await new Promise((resolve) => setTimeout(resolve));
globalThis.fetch = realFetch;
delete globalThis.document;

const emptyBytes = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]);
const emptyModule = () => new WebAssembly.Module(emptyBytes);
const mic = {kind: 'audio', id: 'mic'};
const camera = {kind: 'video', id: 'camera'};
const localStream = (...tracks) => new sdk.LocalStream(new MediaStream(tracks), new sdk.StreamSourceInfo('mic', 'camera'), {name: 'me'});

const streamInfo = (id, changes = {}) => ({
  id, type: 'forward', info: {owner: 'p2', type: 'webrtc', inViews: [], attributes: {name: 'cam'}}, ...changes,
  media: {tracks: [
    {id: `${id}-0`, type: 'audio', source: 'mic', format: {codec: 'opus', sampleRate: 48000, channelNum: 2}, optional: {format: [{codec: 'pcmu'}]}, status: 'active'},
    {id: `${id}-1:q`, type: 'video', source: 'camera', rid: 'q', format: {codec: 'vp8'}, parameters: {resolution: {width: 320, height: 180}, bitrate: 100}, status: 'active',
      optional: {format: [{codec: 'h264', profile: 'CB'}], parameters: {resolution: [{width: 640, height: 360}, {width: 160, height: 90}], framerate: [30, 6, 12], bitrate: ['x0.8', 'x0.2'], keyFrameInterval: [5, 1]}}},
    {id: `${id}-1:f`, type: 'video', source: 'camera', rid: 'f', format: {codec: 'vp8'}, optional: {}, status: 'active'},
  ]},
});

const room = {
  room: 'r1', self: 'p1', views: ['common'],
  participants: [{id: 'p1', user: 'ana', role: 'presenter'}, {id: 'p2', user: 'bo', role: 'viewer'}],
  streams: [streamInfo('s1')],
};

// Fake is the program's side of the bridge. answers maps methods to what they give; calls keeps what was asked.
class Fake {
  calls = [];
  answers = {join: () => ({data: room})};
  version = 'go9.9';
  config = {module: emptyModule()};

  constructor() {
    globalThis.program = (slot, go) => {
      Object.assign(this, {slot, go});
      slot.started((...call) => this.onCall(...call), this.version);
    };
  }

  onCall(number, method, text, object) {
    const data = JSON.parse(text);
    this.calls.push({number, method, data, object});
    const answer = this.answers[method] ?? (() => ({}));
    const result = answer(data, object, number);
    if (result?.error) this.slot.reply(number, false, JSON.stringify(result.error));
    else if (result) this.slot.reply(number, true, result.data && JSON.stringify(result.data), result.object);
  }

  event(name, data, object) {
    this.slot.event(1, name, data && JSON.stringify(data), object);
  }

  last(method) {
    return this.calls.findLast((c) => c.method === method);
  }
}

async function joined() {
  const fake = new Fake();
  const client = new sdk.ConferenceClient(fake.config);
  await client.join('token');
  return {fake, client};
}

// until resolves when the condition holds.
async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve));
}

// once resolves with the next event of that name.
const once = (target, name) => new Promise((resolve) => target.addEventListener(name, resolve, {once: true}));
const refused = (promise, code, message) => assert.rejects(promise, (e) => {
  assert.ok(e instanceof sdk.ConferenceError, `${e}`);
  assert.equal(e.code, code);
  if (message) assert.match(e.message, message);
  return true;
});

test('the program is fetched ahead, and again after a failure', async () => {
  assert.deepEqual(fetched, ['portico.wasm']);
  await refused(sdk.load(), 'load-failed', /503 try later/);
  const fake = new Fake();
  globalThis.fetch = async () => new Response(emptyBytes, {headers: {'Content-Type': 'application/wasm'}});
  try {
    await sdk.load();
  } finally {
    globalThis.fetch = realFetch;
  }
  assert.ok(fake.slot);
});

test('join gives the room', async () => {
  const fake = new Fake();
  const client = new sdk.ConferenceClient({...fake.config, rtcConfiguration: {iceTransportPolicy: 'relay'}, relayOnly: true});
  assert.equal(client.info, null);
  const info = await client.join('token');
  assert.deepEqual([info.id, info.self.userId, info.participants.map((p) => p.id), info.remoteStreams.map((s) => s.id)], ['r1', 'ana', ['p1', 'p2'], ['s1']]);
  assert.equal(info.self, client.info.self);
  const {data, object} = fake.last('join');
  assert.deepEqual([data, object], [{token: 'token', relayOnly: true, refreshes: false, thin: false, client: 1}, {iceTransportPolicy: 'relay'}]);
  await refused(client.join('token'), 'invalid-state');
  await client.leave();
  assert.equal(client.info, null);
  await refused(client.send('x'), 'invalid-state');
});

test('a refused join can be tried again', async () => {
  const fake = new Fake();
  const client = new sdk.ConferenceClient(fake.config);
  fake.answers.join = () => ({error: {code: 'refused', message: 'Room is full'}});
  await refused(client.join('token'), 'refused', /^Room is full$/);
  fake.answers.join = () => ({data: room});
  await client.join('token');
  await refused(new sdk.ConferenceClient(fake.config).join(''), 'invalid-token');
});

test('a stream tells what it is made of', async () => {
  const {client} = await joined();
  const [stream] = client.info.remoteStreams;
  assert.ok(stream instanceof sdk.RemoteStream);
  assert.deepEqual([stream.origin, stream.source.audio, stream.source.video, stream.attributes, stream.muted], ['p2', 'mic', 'camera', {name: 'cam'}, {audio: false, video: false}]);
  assert.deepEqual(stream.settings.video.map((v) => [v.rid, v.codec.name, v.resolution?.width, v.bitrate]), [['q', 'vp8', 320, 100000], ['f', 'vp8', undefined, undefined]]);
  const {audio, video} = stream.extraCapabilities;
  assert.deepEqual([audio.codecs[0].name, video.codecs[0].profile, video.resolutions.map((r) => r.width), video.frameRates, video.bitrateMultipliers, video.keyFrameIntervals],
    ['pcmu', 'CB', [160, 640], [6, 12, 30], [0.2, 0.8, 1], [1, 5]]);
});

test('participants and streams come and go', async () => {
  const {fake, client} = await joined();
  fake.event('participantjoined', {id: 'p3', user: 'cy', role: 'viewer'});
  const {participant} = await once(client, 'participantjoined');
  assert.equal(client.info.participants.length, 3);
  fake.event('participantleft', {id: 'p3'});
  await once(participant, 'left');
  assert.equal(client.info.participants.length, 2);
  fake.event('streamadded', streamInfo('s2'));
  const {stream} = await once(client, 'streamadded');
  fake.event('streamremoved', {id: 's2'});
  await once(stream, 'ended');
  assert.deepEqual(client.info.remoteStreams.map((s) => s.id), ['s1']);
});

test('a thin roster is counted', async () => {
  const fake = new Fake();
  const client = new sdk.ConferenceClient(fake.config);
  await client.join('token', {thin: true});
  assert.equal(fake.last('join').data.thin, true);
  const seen = (from = client.info) => [from.participants?.length, from.participantCount, from.thin];
  assert.deepEqual(seen(), [2, 2, false]);
  const order = [];
  client.addEventListener('rosterchange', (event) => order.push(seen(event)));
  client.info.participants[1].addEventListener('left', () => order.push('left'));
  client.addEventListener('participantjoined', () => order.push('joined'));
  fake.event('rosterchanged', {count: 501, thin: true});
  fake.event('participantleft', {id: 'p2'});
  await until(() => order.length === 2);
  assert.deepEqual(seen(), [1, 501, true]);
  fake.event('participantjoined', {id: 'p3', user: 'cy', role: 'viewer'});
  fake.event('rosterchanged', {count: 2, thin: false});
  await until(() => order.length === 4);
  assert.deepEqual(order, [[undefined, 501, true], 'left', 'joined', [undefined, 2, false]]);
  assert.deepEqual(seen(), [2, 2, false]);
  await client.leave();
  fake.answers.join = () => ({data: {...room, count: 700, thin: true}});
  assert.deepEqual(seen(await client.join('token')), [2, 700, true]);
});

test('mixed streams have their own class and events', async () => {
  const {fake, client} = await joined();
  const mixed = streamInfo('r1-common', {type: 'mixed', info: {label: 'common', activeInput: 'unknown', layout: []}});
  fake.event('streamadded', mixed);
  const {stream} = await once(client, 'streamadded');
  assert.ok(stream instanceof sdk.RemoteMixedStream);
  assert.deepEqual([stream.label, stream.origin, stream.source.audio, stream.source.video], ['common', undefined, 'mixed', 'mixed']);
  fake.event('streamupdated', {stream: {...mixed, info: {...mixed.info, activeInput: 's1'}}, field: 'activeInput', value: 's1'});
  assert.equal((await once(stream, 'activeaudioinputchange')).activeAudioInputStreamId, 's1');
  fake.event('streamupdated', {stream: mixed, field: 'video.layout', value: [{stream: 's1'}]});
  assert.deepEqual((await once(stream, 'layoutchange')).layout, [{stream: 's1'}]);
});

test('messages are any JSON', async () => {
  const {fake, client} = await joined();
  await client.send({a: [1]});
  await client.send('hi', 'p2');
  assert.deepEqual(fake.calls.slice(1).map((c) => c.data), [{message: {a: [1]}, to: 'all', client: 1}, {message: 'hi', to: 'p2', client: 1}]);
  await refused(client.send(undefined), 'invalid-argument');
  fake.event('message', {message: 'hello', origin: 'p2', to: 'all'});
  const {message, origin, to} = await once(client, 'messagereceived');
  assert.deepEqual([message, origin, to], ['hello', 'p2', 'all']);
});

test('what waits for a reply runs before the event after it', async () => {
  const {fake, client} = await joined();
  fake.answers.publish = (_data, _object, number) => {
    fake.event('participantjoined', {id: 'p9', user: 'early', role: 'viewer'});
    fake.slot.reply(number, true, '{"id":"mine"}');
    fake.event('streamadded', streamInfo('mine'));
  };
  const log = [];
  client.addEventListener('participantjoined', () => log.push('joined'));
  client.addEventListener('streamadded', ({stream}) => log.push(`added ${stream.id === publication?.id}`));
  let publication;
  await (async () => {
    publication = await (async () => client.publish(localStream(mic)))();
    log.push('published');
  })();
  await until(() => log.length === 3);
  assert.deepEqual(log, ['joined', 'published', 'added true']);
});

test('publish says what is sent', async () => {
  const {fake, client} = await joined();
  fake.answers.publish = () => ({data: {id: `mine${fake.calls.length}`}});
  const request = async (stream, ...options) => {
    await client.publish(stream, ...options);
    return fake.last('publish');
  };
  let {data, object} = await request(localStream(mic, camera));
  assert.deepEqual(data, {tracks: [{kind: 'audio', source: 'mic'}, {kind: 'video', source: 'camera'}], attributes: {name: 'me'}, client: 1});
  assert.deepEqual(object, [mic, camera]);
  ({data, object} = await request(localStream(mic, camera), {audio: false, video: [{rid: 'q', scaleResolutionDownBy: 4}, {rid: 'f'}]}, [{name: 'VP8'}]));
  assert.deepEqual([data.tracks, object], [[{kind: 'video', source: 'camera', encodings: [{rid: 'q', scaleResolutionDownBy: 4}, {rid: 'f'}], codecs: ['vp8']}], [camera]]);
  const h264 = new sdk.VideoEncodingParameters(new sdk.VideoCodecParameters('h264', 'CB'), 500);
  ({data} = await request(localStream(camera), {video: [h264]}));
  assert.deepEqual(data.tracks, [{kind: 'video', source: 'camera', codecs: ['h264'], encodings: [{maxBitrate: 500000}]}]);
});

test('publish refuses what makes no sense', async () => {
  const {client} = await joined();
  await refused(client.publish(new MediaStream()), 'invalid-argument');
  await refused(client.publish(localStream(mic), {video: true}), 'invalid-argument');
  await refused(client.publish(localStream(mic), {audio: false}), 'invalid-argument');
  await assert.rejects(client.publish(localStream(mic), 'audio'), TypeError);
  await assert.rejects(client.publish(localStream(mic), {audio: {}}), TypeError);
  await assert.rejects(client.publish(localStream(mic), {audio: [{codec: {name: 7}}]}), TypeError);
  assert.throws(() => new sdk.LocalStream({}), TypeError);
  assert.throws(() => new sdk.LocalStream(new MediaStream([mic])), TypeError);
  assert.throws(() => new sdk.StreamSourceInfo('microphone'), TypeError);
});

test('subscribe says what is wanted', async () => {
  const {fake, client} = await joined();
  const [stream] = client.info.remoteStreams;
  fake.answers.subscribe = () => ({data: {id: `sub${fake.calls.length}`}, object: [mic, camera]});
  const request = async (...options) => {
    const subscription = await client.subscribe(stream, ...options);
    const {client: _, ...data} = fake.last('subscribe').data;
    return [data, subscription];
  };
  let [data, subscription] = await request();
  assert.deepEqual(data, {audio: {from: 's1'}, video: {from: 's1'}});
  assert.deepEqual(subscription.stream.getTracks(), [mic, camera]);
  assert.equal(stream.mediaStream, subscription.stream);
  assert.equal(subscription.remoteStream, stream);
  [data] = await request({audio: null, video: {codecs: [{name: 'VP8'}], resolution: {width: 160, height: 90}, bitrateMultiplier: 0.5, frameRate: 6}});
  assert.deepEqual(data, {video: {from: 's1', codecs: ['vp8'], parameters: {resolution: {width: 160, height: 90}, framerate: 6, bitrate: 'x0.5'}}});
  [data] = await request({audio: false, video: {rid: 'f', frameRate: 6}});
  assert.deepEqual(data, {video: {from: 's1-1:f', codecs: []}});
  await refused(client.subscribe(stream, {video: {rid: 'z'}}), 'invalid-argument');
  await refused(client.subscribe(stream, {audio: false, video: false}), 'invalid-argument');
  await refused(client.subscribe({}), 'invalid-argument');
  await assert.rejects(client.subscribe(stream, {video: {codecs: []}}), TypeError);
  await assert.rejects(client.subscribe(stream, {video: 'yes'}), TypeError);
});

// withSessions is a client with a publication of its own stream and a subscription to s1.
async function withSessions() {
  const {fake, client} = await joined();
  fake.answers.publish = () => ({data: {id: 'mine'}});
  fake.answers.subscribe = () => ({data: {id: 'sub'}, object: [mic]});
  const publication = await client.publish(localStream(mic));
  const [stream] = client.info.remoteStreams;
  return {fake, client, publication, stream, subscription: await client.subscribe(stream)};
}

test('muting is told to the server, and heard of by its events', async () => {
  const {fake, client, publication, stream, subscription} = await withSessions();
  await publication.mute('audio');
  assert.deepEqual(fake.last('mute').data, {kind: 'audio', id: 'mine', client: 1});
  await refused(publication.mute('smell'), 'invalid-argument');
  const own = once(subscription, 'mute');
  await subscription.mute('av');
  assert.equal((await own).kind, 'av');

  const muted = streamInfo('s1');
  muted.media.tracks[0].status = 'inactive';
  fake.event('streamupdated', {stream: muted, field: 'audio.status', value: 'inactive'});
  const [updated, event] = await Promise.all([once(stream, 'updated'), once(subscription, 'mute')]);
  assert.ok(updated instanceof Event);
  assert.equal(event.kind, 'audio');
  assert.deepEqual(stream.muted, {audio: true, video: false});
  fake.event('streamupdated', {stream: streamInfo('s1'), field: '.'});
  assert.equal((await once(subscription, 'unmute')).kind, 'audio');

  fake.event('streamadded', streamInfo('mine'));
  await once(client, 'streamadded');
  fake.event('streamupdated', {stream: streamInfo('mine'), field: 'video.status', value: 'active'});
  assert.equal((await once(publication, 'unmute')).kind, 'video');
});

test('a publication can send another track, a subscription get another picture', async () => {
  const {fake, publication, subscription} = await withSessions();
  await publication.replaceTrack('audio', null);
  assert.deepEqual([fake.last('replace').data, fake.last('replace').object], [{kind: 'audio', id: 'mine', client: 1}, null]);
  await subscription.applyOptions({video: {frameRate: 5}});
  assert.deepEqual(fake.last('update').data, {parameters: {framerate: 5}, id: 'sub', client: 1});
  await refused(subscription.applyOptions({}), 'invalid-argument');
});

test('a subscription tells what the server says of it', async () => {
  const {fake, subscription} = await withSessions();
  fake.answers.quality = () => ({data: {id: 'sub', tracks: [{reason: 'bandwidth'}]}});
  assert.deepEqual(await subscription.quality(), {id: 'sub', tracks: [{reason: 'bandwidth'}]});
  assert.deepEqual(fake.last('quality').data, {id: 'sub', client: 1});
});

test('sessions end once', async () => {
  const {fake, client, publication, stream, subscription} = await withSessions();
  let ended = 0;
  publication.addEventListener('ended', () => ended++);
  fake.answers.stop = (_data, _object, number) => {
    fake.event('sessionended', {id: 'mine', reason: ''});
    fake.slot.reply(number, true);
  };
  await publication.stop();
  await publication.stop();
  assert.equal(ended, 1);
  assert.equal(fake.calls.filter((c) => c.method === 'stop').length, 1);

  const log = [];
  subscription.addEventListener('error', ({error}) => log.push(`${error.code}: ${error.message}`));
  subscription.addEventListener('ended', () => log.push('ended'));
  fake.event('sessionended', {id: 'sub', reason: 'Source stream loss'});
  await once(subscription, 'ended');
  assert.deepEqual(log, ['session-ended: Source stream loss', 'ended']);
  assert.equal(stream.mediaStream, undefined);
  await client.leave();
});

test('statistics are those of the PeerConnection', async () => {
  const {fake, client, publication} = await withSessions();
  await refused(publication.getStats(), 'invalid-state');
  const pc = {getStats: async () => 'report'};
  fake.event('peerconnection', undefined, pc);
  fake.event('connectionstate', {});
  await once(client, 'connectionstatechange');
  assert.equal(client.peerConnection, pc);
  assert.equal(await publication.getStats(), 'report');
});

test('the end of the connection ends everything', async () => {
  const {fake, client, publication, subscription} = await withSessions();
  const ends = Promise.all([once(publication, 'ended'), once(subscription, 'ended'), once(client, 'serverdisconnected')]);
  fake.event('disconnected', {code: 'dropped', message: 'the server ended it'});
  assert.equal((await ends)[2].error.code, 'dropped');
  assert.equal(client.info, null);
  await client.join('another token');
});

const self = {id: 'p1', user: 'ana', role: 'presenter'};

test('a lost connection is told, and that it is back', async () => {
  const {fake, client} = await withSessions();
  const log = [];
  for (const name of ['reconnecting', 'reconnected', 'messagereceived', 'serverdisconnected']) client.addEventListener(name, ({message}) => log.push(message ?? name));
  fake.event('connectionstate', {signaling: 'joined', media: '', self});
  fake.event('connectionstate', {signaling: 'reconnecting', media: '', self});
  fake.event('connectionstate', {signaling: 'reconnecting', media: 'disconnected', self});
  fake.event('connectionstate', {signaling: 'joined', media: 'disconnected', self});
  fake.event('message', {message: 'missed', origin: 'p2', to: 'all'});
  const [{participantId, same}] = await Promise.all([once(client, 'reconnected'), once(client, 'messagereceived')]);
  assert.deepEqual([participantId, same, client.info.self.id], ['p1', true, 'p1']);
  assert.deepEqual(log, ['reconnecting', 'reconnected', 'missed']);
});

test('another participant keeps its publications and subscriptions', async () => {
  const {fake, client, publication, stream, subscription} = await withSessions();
  const log = [];
  publication.addEventListener('ended', () => log.push('ended'));
  const {stream: media} = subscription;
  fake.event('connectionstate', {signaling: 'reconnecting', media: '', self});
  fake.event('connectionstate', {signaling: 'joined', media: '', self: {id: 'p9', user: 'anna', role: 'viewer'}});
  const {participantId, same} = await once(client, 'reconnected');
  assert.deepEqual([participantId, same, client.info.self.userId], ['p9', false, 'anna']);
  fake.event('streamadded', streamInfo('mine'));
  fake.event('streamremoved', {id: 'mine'}); // of the participant before
  fake.event('participantleft', {id: 'p1'});
  fake.event('sessionrestored', {old: 'mine', id: 'mine2'});
  await once(publication, 'restored');
  fake.event('sessionrestored', {old: 'sub', id: 'sub2'}, [camera]);
  await once(subscription, 'restored');
  assert.deepEqual([publication.id, subscription.id, subscription.stream.getTracks()], ['mine2', 'sub2', [camera]]);
  assert.equal(subscription.stream, media);
  assert.equal(subscription.remoteStream, stream);
  assert.deepEqual(client.info.participants.map(({id}) => id), ['p2', 'p9']);
  await publication.mute('audio');
  assert.equal(fake.last('mute').data.id, 'mine2');
  fake.event('sessionended', {id: 'sub2', reason: ''});
  await once(subscription, 'ended');
  assert.deepEqual(log, []);
});

test('a new token comes from the page', async () => {
  const fake = new Fake();
  const client = new sdk.ConferenceClient(fake.config);
  const tokens = [async () => 'fresh', () => { throw new Error('no more'); }];
  await client.join('token', {refreshToken: () => tokens.shift()()});
  assert.equal(fake.last('join').data.refreshes, true);
  for (const want of [{token: 'fresh'}, {error: 'no more'}]) {
    const before = fake.calls.length;
    fake.event('tokenneeded');
    await until(() => fake.calls.length > before);
    assert.deepEqual(fake.last('token').data, {...want, client: 1});
  }
  await client.leave();
});

test('the program learns of the network and of the page, while it is in a conference', async () => {
  const {fake, client} = await joined();
  const methods = () => fake.calls.slice(1).map(({method}) => method);
  page.dispatchEvent(new Event('online'));
  page.dispatchEvent(Object.assign(new Event('pageshow'), {persisted: false}));
  page.dispatchEvent(Object.assign(new Event('pageshow'), {persisted: true}));
  network.dispatchEvent(new Event('change')); // the speed
  network.type = 'cellular';
  network.dispatchEvent(new Event('change'));
  page.dispatchEvent(Object.assign(new Event('pagehide'), {persisted: true}));
  assert.deepEqual(methods(), ['network', 'check', 'network']);
  page.dispatchEvent(Object.assign(new Event('pagehide'), {persisted: false}));
  assert.deepEqual(methods(), ['network', 'check', 'network', 'leave']);
  await until(() => client.info === null);
  page.dispatchEvent(new Event('online'));
  assert.equal(methods().length, 4);
});

test('a program that stops is reported, and started again by the next join', async () => {
  const {fake, client} = await joined();
  fake.answers.send = () => undefined; // never answers
  const waiting = client.send('x');
  const lost = once(client, 'serverdisconnected');
  const printed = [];
  const original = console.error;
  console.error = (text) => printed.push(text);
  fake.go.mem = new DataView(new ArrayBuffer(256));
  for (const piece of ['panic: all is', ' lost\n', '\ngoroutine 1 [running]\n']) {
    const said = new TextEncoder().encode(piece);
    new Uint8Array(fake.go.mem.buffer).set(said, 100);
    fake.go.mem.setUint32(16, 100, true);
    fake.go.mem.setInt32(24, said.length, true);
    fake.go.importObject.gojs['runtime.wasmWrite'](0);
  }
  fake.go.exit(2);
  await refused(waiting, 'program-stopped', /panic: all is lost/);
  assert.equal((await lost).error.code, 'program-stopped');
  console.error = original;
  assert.deepEqual(printed, ['panic: all is lost\n\ngoroutine 1 [running]']);
  await refused(client.send('x'), 'invalid-state');
  const before = fake.slot;
  await client.join('token');
  assert.notEqual(fake.slot, before);
});

test('an aborted call is ended by the program', async () => {
  const fake = new Fake();
  fake.answers.join = () => undefined;
  fake.answers.abort = (_data, _object, number) => ({error: {code: 'aborted', message: 'aborted'}, number});
  const client = new sdk.ConferenceClient(fake.config);
  const controller = new AbortController();
  const joining = client.join('token', {signal: controller.signal});
  await until(() => fake.last('join'));
  controller.abort();
  await refused(joining, 'aborted');
  assert.equal(fake.last('abort').number, fake.last('join').number);
  await refused(client.join('token', {signal: controller.signal}), 'aborted');
});

test('several clients share a program', async () => {
  const {fake, client} = await joined();
  const second = new sdk.ConferenceClient(fake.config);
  const {slot} = fake;
  await second.join('token');
  assert.equal(fake.slot, slot);
  assert.equal(fake.last('join').data.client, 2);
  let heard = 0;
  client.addEventListener('messagereceived', () => heard++);
  slot.event(2, 'message', '{"message":"m"}');
  await once(second, 'messagereceived');
  assert.equal(heard, 0);
});

test('the page keeps its globals', () => {
  for (const name of ['Go', 'fs', 'path']) assert.ok(!(name in globalThis), name);
  assert.equal(globalThis[Symbol.for('portico.slot')], undefined);
});

test('another version of the program is refused', async () => {
  const fake = new Fake();
  fake.version = 'go1.1';
  await refused(sdk.load(fake.config), 'version-mismatch', /go9\.9.*go1\.1/);
});

test('a program that does not answer is refused', async () => {
  const fake = new Fake();
  globalThis.program = () => {};
  await refused(sdk.load(fake.config), 'load-failed');
});

test('a program that cannot be fetched is explained', async () => {
  const original = globalThis.fetch;
  try {
    globalThis.fetch = async () => new Response('The client program is not part of this build: run `make build`.\n', {status: 503});
    await refused(sdk.load({wasmURL: 'http://h/x.wasm'}), 'load-failed', /503 The client program .* `make build`/);
    globalThis.fetch = async () => { throw new TypeError('no network'); };
    await refused(sdk.load({wasmURL: 'http://h/x.wasm'}), 'load-failed', /no network/);
    globalThis.fetch = async () => new Response('<html>', {headers: {'Content-Type': 'text/html'}});
    await refused(sdk.load({wasmURL: 'http://h/x.wasm'}), 'load-failed', /cannot run/);
    const fake = new Fake();
    globalThis.fetch = async () => new Response(emptyBytes, {headers: {'Content-Type': 'application/wasm'}});
    await sdk.load({wasmURL: 'http://h/x.wasm'});
    assert.ok(fake.slot);
  } finally {
    globalThis.fetch = original;
  }
});

test('media is asked for in the words of the browser', async () => {
  const asked = [];
  const devices = {getUserMedia: async (c) => asked.push(['user', c]), getDisplayMedia: async (c) => asked.push(['display', c])};
  const original = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
  Object.defineProperty(globalThis, 'navigator', {value: {mediaDevices: devices}, configurable: true});
  const create = (audio, video) => sdk.MediaStreamFactory.createMediaStream(new sdk.StreamConstraints(audio, video));
  const microphone = new sdk.AudioTrackConstraints(sdk.AudioSourceInfo.MIC);
  const picture = new sdk.VideoTrackConstraints(sdk.VideoSourceInfo.CAMERA);
  const screen = new sdk.VideoTrackConstraints(sdk.VideoSourceInfo.SCREENCAST);
  try {
    await create(microphone, picture);
    microphone.deviceId = 'm';
    Object.assign(picture, {resolution: new sdk.Resolution(640, 360), frameRate: 15, deviceId: 'c'});
    await create(microphone, picture);
    screen.resolution = new sdk.Resolution(1280, 720);
    await create(false, screen);
    assert.deepEqual(asked, [
      ['user', {audio: true, video: true}],
      ['user', {audio: {deviceId: {exact: 'm'}}, video: {frameRate: 15, width: {exact: 640}, height: {exact: 360}, deviceId: {exact: 'c'}}}],
      ['display', {audio: false, video: {width: 1280, height: 720}}],
    ]);
    await assert.rejects(create(false, false), TypeError);
    await assert.rejects(create(microphone, screen), TypeError);
    await assert.rejects(create(new sdk.AudioTrackConstraints('screen-cast'), false), TypeError);
    assert.throws(() => new sdk.VideoTrackConstraints('eyes'), TypeError);
  } finally {
    Object.defineProperty(globalThis, 'navigator', original ?? {value: undefined, configurable: true});
  }
});
