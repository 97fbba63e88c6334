// Tests of data streams against a WebTransport and a program made of JavaScript. Run as sdk.test.mjs is.

import assert from 'node:assert/strict';
import {beforeEach, test} from 'node:test';
import {pathToFileURL} from 'node:url';

const sdk = await import(`${pathToFileURL(process.env.SDK)}/portico.js`);

const hexOf = (bytes) => Buffer.from(bytes).toString('hex');
const idOf = (n) => String(n).padStart(32, '0');
const TRANSPORT = idOf(77);
const token = btoa(JSON.stringify({transportId: TRANSPORT}));
const text = (bytes) => new TextDecoder().decode(bytes);
const bytes = (string) => new TextEncoder().encode(string);

// Edge is a WebTransport with the edge at its other end. streams are those that the page has opened: {id, content, closed, aborted}.
class Edge {
  static all = [];
  static refuse = false;
  streams = [];

  constructor(url, options) {
    Object.assign(this, {url, options});
    Edge.all.push(this);
    this.ready = Edge.refuse ? Promise.reject(new Error('no way there')) : Promise.resolve();
    this.ready.catch(() => {});
    this.closed = new Promise((resolve) => { this.end = (reason) => resolve({reason}); });
    this.incomingBidirectionalStreams = new ReadableStream({start: (controller) => { this.incoming = controller; }});
  }

  async createBidirectionalStream() {
    const stream = {id: '', content: '', closed: false, aborted: false};
    this.streams.push(stream);
    let answer;
    return {
      readable: new ReadableStream({start: (controller) => { answer = controller; }}),
      writable: new WritableStream({
        start: (controller) => { stream.reset = (error) => controller.error(error); },
        write: (chunk) => {
          if (stream.id !== '') return void (stream.content += text(chunk));
          stream.id = hexOf(chunk.subarray(0, 16));
          answer.enqueue(Buffer.from(stream.id === idOf(0) ? idOf(0) : TRANSPORT, 'hex'));
        },
        close: () => { stream.closed = true; },
        abort: () => { stream.aborted = true; },
      }),
    };
  }

  // deliver opens a stream of a subscription to the page, which ends at once unless its controller is wanted.
  deliver(id, content, opened = (controller) => controller.close()) {
    this.incoming.enqueue({readable: new ReadableStream({
      start: (controller) => {
        controller.enqueue(Buffer.concat([Buffer.from(id, 'hex'), Buffer.from(content)]));
        opened(controller);
      },
    })});
  }

  close() { this.end('closed'); }
}

beforeEach(() => {
  Edge.all = [];
  Edge.refuse = false;
  globalThis.WebTransport = Edge;
  globalThis.MediaStream = class {};
});

const dataInfo = (id) => ({id, type: 'forward', media: {tracks: []}, data: true, info: {owner: 'p2', type: 'quic', inViews: []}});
const room = {
  room: 'r1', self: 'p1', views: ['common'], participants: [{id: 'p1', user: 'ana', role: 'presenter'}], streams: [dataInfo(idOf(9))],
};

// Program is its side of the bridge; grants counts what it has been asked for.
class Program {
  calls = [];
  sessions = 0;
  held = false; // publications do not become ready
  answers = {};

  constructor() {
    globalThis.program = (slot) => {
      this.slot = slot;
      slot.started((...call) => this.onCall(...call), 'go9.9');
    };
  }

  onCall(number, method, json) {
    const data = JSON.parse(json);
    this.calls.push({number, method, data});
    const reply = (ok, value) => this.slot.reply(number, ok, value && JSON.stringify(value));
    if (this.answers[method]) return reply(false, this.answers[method]);
    if (method === 'join') return reply(true, room);
    if (method === 'opendata') return reply(true, {url: 'https://edge/', token, certificateHashes: [{algorithm: 'sha-256', value: 'AQI='}]});
    if (method === 'abort') return this.slot.reply(number, false, JSON.stringify({code: 'aborted', message: 'aborted'}));
    if (method !== 'publish' && method !== 'subscribe') return reply(true);
    const id = idOf(++this.sessions);
    if (method === 'publish') this.event('dataopened', {key: data.key, id});
    if (!this.held) reply(true, {id});
  }

  event(name, data) { this.slot.event(1, name, data && JSON.stringify(data)); }
  methods() { return this.calls.map(({method}) => method); }
}

async function joined() {
  const program = new Program();
  const client = new sdk.ConferenceClient({module: new WebAssembly.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]))});
  await client.join('token');
  return {program, client};
}

const data = new sdk.StreamSourceInfo(undefined, undefined, true);
const once = (target, name) => new Promise((resolve) => target.addEventListener(name, resolve, {once: true}));
const refused = (promise, code) => assert.rejects(promise, (e) => {
  assert.ok(e instanceof sdk.ConferenceError, `${e}`);
  assert.equal(e.code, code);
  return true;
});
async function until(condition) {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve));
}

test('data is published', async () => {
  const {program, client} = await joined();
  assert.equal(Edge.all.length, 0, 'the connection was opened before anybody wanted it');
  const stream = await client.createSendStream();
  const [edge] = Edge.all;
  assert.equal(edge.url, 'https://edge/');
  assert.deepEqual(edge.options, {serverCertificateHashes: [{algorithm: 'sha-256', value: Uint8Array.of(1, 2)}]});
  assert.equal(edge.streams.length, 1, 'a stream of data was opened before it was published');
  const writer = stream.writable.getWriter();
  const early = writer.write(bytes('early '));
  const local = new sdk.LocalStream(stream, data, {topic: 'chess'});
  assert.deepEqual([local.stream, local.mediaStream], [stream, undefined]);
  const publication = await client.publish(local);
  assert.equal(publication.id, idOf(1));
  assert.deepEqual(program.calls.at(-1).data, {data: true, key: 1, attributes: {topic: 'chess'}, client: 1});
  await early;
  await writer.write(bytes('late'));
  await writer.close();
  const sent = edge.streams[1];
  assert.deepEqual([sent.id, sent.content, sent.closed], [publication.id, 'early late', true]);
  await refused(client.publish(local), 'invalid-argument');

  const second = await publication.createSendStream();
  const more = second.writable.getWriter();
  await more.write(bytes('more'));
  assert.deepEqual([edge.streams[2].id, edge.streams[2].content], [publication.id, 'more']);
  await publication.stop();
  await refused(more.closed, 'session-ended');
  assert.deepEqual([edge.streams[1].aborted, edge.streams[2].aborted], [false, true]);
  assert.equal(Edge.all.length, 1);
  await client.leave();
  assert.equal((await edge.closed).reason, 'closed');
});

test('data is received', async () => {
  const {program, client} = await joined();
  const [stream] = client.info.remoteStreams;
  assert.deepEqual([stream.source.data, stream.source.audio, stream.settings.audio], [true, undefined, undefined]);
  const subscribing = client.subscribe(stream);
  await until(() => program.methods().includes('subscribe'));
  assert.deepEqual(program.calls.at(-1).data, {data: idOf(9), client: 1});
  const [edge] = Edge.all;
  edge.deliver(idOf(1), 'first');
  edge.deliver(idOf(1), 'second');
  const subscription = await subscribing;
  assert.equal(subscription.remoteStream, stream);
  assert.equal(await new Response(subscription.stream.readable).text(), 'first');
  assert.equal(await new Response((await subscription.nextStream()).readable).text(), 'second');
  let open;
  edge.deliver(idOf(1), 'third', (controller) => { open = controller; });
  const reader = (await subscription.nextStream()).readable.getReader();
  assert.equal(text((await reader.read()).value), 'third');
  open.error(new Error('reset by the edge'));
  await assert.rejects(reader.closed, /reset by the edge/); // though nobody reads
  const next = subscription.nextStream();
  program.event('sessionended', {id: subscription.id, reason: 'Source stream loss'});
  const {error} = await once(subscription, 'error');
  assert.equal(error.message, 'Source stream loss');
  assert.equal(await next, null);
  edge.deliver(subscription.id, 'too late'); // and held by nobody
  assert.equal(await subscription.nextStream(), null);
});

test('a lost connection ends what is on it, and the next use opens another', async () => {
  const {program, client} = await joined();
  const stream = await client.createSendStream();
  const publication = await client.publish(new sdk.LocalStream(stream, data));
  Edge.all[0].end('lost');
  await until(() => program.methods().includes('datalost'));
  program.event('sessionended', {id: publication.id, reason: 'data connection lost'});
  await once(publication, 'ended');
  await assert.rejects(stream.writable.getWriter().closed, /data connection lost/);
  await client.createSendStream();
  assert.deepEqual(program.methods(), ['join', 'opendata', 'publish', 'datalost', 'opendata']);
  assert.equal(Edge.all.length, 2);
  // As another participant the page has another connection, without anybody being told that the first has gone.
  program.event('connectionstate', {signaling: 'reconnecting', self: {id: 'p1'}});
  program.event('connectionstate', {signaling: 'joined', self: {id: 'p9', user: 'ana', role: 'presenter'}});
  await once(client, 'reconnected');
  await Edge.all[1].closed;
  await client.createSendStream();
  assert.deepEqual(program.methods().slice(4), ['opendata', 'opendata']);
});

test('what goes wrong is told', async () => {
  const {program, client} = await joined();
  const stream = await client.createSendStream();
  const writing = stream.writable.getWriter().write(bytes('x'));
  program.answers.publish = {code: 'refused', message: 'unauthorized'};
  await refused(client.publish(new sdk.LocalStream(stream, data)), 'refused');
  await refused(writing, 'refused');

  // The stream cannot be opened though the connection stands.
  delete program.answers.publish;
  program.held = true;
  const other = await client.createSendStream();
  Edge.all[0].createBidirectionalStream = async () => { throw new Error('no more streams'); };
  await refused(client.publish(new sdk.LocalStream(other, data)), 'disconnected');

  Edge.all[0].end('lost');
  await until(() => program.methods().at(-1) === 'datalost');
  Edge.refuse = true;
  await refused(client.createSendStream(), 'disconnected');
  await until(() => program.methods().at(-1) === 'datalost');
  program.answers.opendata = {code: 'unsupported', message: 'the server has no data streams'};
  await refused(client.createSendStream(), 'unsupported');
  delete globalThis.WebTransport;
  await refused(client.subscribe(client.info.remoteStreams[0]), 'unsupported');
});

test('a stream that is aborted before it is published', async () => {
  const {client} = await joined();
  const stream = await client.createSendStream();
  const writer = stream.writable.getWriter();
  const writing = writer.write(bytes('x'));
  const reason = new Error('changed my mind');
  await Promise.all([writer.abort(reason), assert.rejects(writing, reason)]);
  await client.publish(new sdk.LocalStream(stream, data));
  await until(() => Edge.all[0].streams[1].aborted);
});

// onTheMove is a page with a publication and a subscription whose client has gone to another server.
async function onTheMove() {
  const {program, client} = await joined();
  const stream = await client.createSendStream();
  const publication = await client.publish(new sdk.LocalStream(stream, data));
  const subscribing = client.subscribe(client.info.remoteStreams[0]);
  await until(() => program.sessions === 2);
  Edge.all[0].deliver(idOf(2), 'before');
  const subscription = await subscribing;
  const writer = stream.writable.getWriter();
  await writer.write(bytes('written before'));
  const next = subscription.nextStream();
  program.event('datamoved');
  await until(() => Edge.all.length === 2);
  return {program, client, publication, subscription, writer, next, before: Edge.all[0], edge: Edge.all[1]};
}

test('sessions of data go on at another server', async () => {
  const {program, publication, subscription, writer, next, before, edge} = await onTheMove();
  const restored = [once(publication, 'restored'), once(subscription, 'restored')];
  program.event('sessionrestored', {old: idOf(1), id: idOf(1)});
  await restored[0];
  await assert.rejects(writer.closed, {code: 'disconnected'});
  await until(() => before.streams[1].closed);
  assert.equal(before.streams[1].content, 'written before', 'what was written is not lost');
  assert.equal(await Promise.race([before.closed, 'open']), 'open', 'the subscription still needs it');
  program.event('sessionrestored', {old: idOf(2), id: idOf(12)});
  await restored[1];
  await before.closed;
  assert.deepEqual([publication.id, subscription.id], [idOf(1), idOf(12)]);

  const more = await publication.createSendStream();
  await more.writable.getWriter().write(bytes('after'));
  assert.deepEqual([edge.streams[1].id, edge.streams[1].content], [idOf(1), 'after']);
  edge.deliver(idOf(12), 'comes to who waited before');
  assert.equal(await new Response((await next).readable).text(), 'comes to who waited before');
  assert.equal(program.methods().includes('datalost'), false);
  program.event('sessionended', {id: idOf(12), reason: ''});
  assert.equal(await subscription.nextStream(), null);
});

test('what is lost with its server is there again at another one', async () => {
  const {program, client} = await joined();
  const stream = await client.createSendStream();
  const publication = await client.publish(new sdk.LocalStream(stream, data));
  const subscribing = client.subscribe(client.info.remoteStreams[0]);
  await until(() => program.sessions === 2);
  Edge.all[0].deliver(idOf(2), 'before');
  const subscription = await subscribing;
  const next = subscription.nextStream();
  Edge.all[0].end('lost');
  await until(() => program.methods().includes('datalost'));
  program.event('datamoved');
  await until(() => Edge.all.length === 2);
  for (const [old, id] of [[1, 1], [2, 12]]) program.event('sessionrestored', {old: idOf(old), id: idOf(id)});
  Edge.all[1].deliver(idOf(12), 'after');
  assert.equal(await new Response((await next).readable).text(), 'after');
  await publication.createSendStream();
  assert.equal(Edge.all[1].streams[1].id, idOf(1));
});

test('sessions that do not go on do not keep the connection of before', async () => {
  const {program, client, next, before, edge} = await onTheMove();
  // It had to become another publication, which needs a stream.
  program.event('dataopened', {key: 1, id: idOf(21)});
  await until(() => edge.streams[1]?.closed);
  assert.equal(edge.streams[1].id, idOf(21));
  program.event('sessionrestored', {old: idOf(1), id: idOf(21)});
  program.event('sessionended', {id: idOf(2), reason: 'Source stream loss'});
  assert.equal(await next, null);
  await before.closed;
  program.event('sessionended', {id: idOf(21), reason: ''});
  program.event('datamoved'); // and nothing of data is there
  await edge.closed;
  assert.equal(Edge.all.length, 2);
  await client.createSendStream();
  assert.equal(Edge.all.length, 3);
});

test('local streams are of data or of media', async () => {
  const {client} = await joined();
  const stream = await client.createSendStream();
  assert.throws(() => new sdk.LocalStream(new MediaStream(), data), TypeError);
  assert.throws(() => new sdk.LocalStream(stream, new sdk.StreamSourceInfo('mic', undefined, true)), TypeError);
  assert.throws(() => new sdk.LocalStream(stream, new sdk.StreamSourceInfo()), TypeError);
  const publication = new sdk.Publication('x', {});
  await refused(publication.createSendStream(), 'invalid-state');
});
