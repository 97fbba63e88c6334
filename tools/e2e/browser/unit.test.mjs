// The demo page's modules that need no browser.

import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import {repository} from './lib/browser.mjs';

const load = (name) => import(path.join(repository, 'web/demo', `${name}.js`));
const {invitation, readAddress, withRoom} = await load('address');
const {linkify} = await load('chat');
const {hue, initials} = await load('dom');
const {bestGrid} = await load('layout');
const {changedMuch} = await load('display');
const {Mixing, regionsOf} = await load('mixing');
const {layersFor} = await load('publisher');
const {bitsText, eventRows, receivedRows, receivedSentence, sentRows, sentSentence} = await load('reasons');
const {receivedPicture, sentPictures} = await load('stats');
const {checkToken, requestToken} = await load('token');
const {deviceProblem, joinProblem, jointProblem, screenProblem, unsupported, wayIn} = await load('words');

test('the grid fits its box and wastes little of it', () => {
  for (const [width, height] of [[1256, 650], [374, 712], [750, 376], [320, 300]]) {
    for (let count = 1; count <= 16; count++) {
      const grid = bestGrid(count, width, height, 10);
      const rows = Math.ceil(count / grid.columns);
      const text = `${count} in ${width}×${height}: ${JSON.stringify(grid)}`;
      assert.ok(grid.columns * grid.width + 10 * (grid.columns - 1) <= width, text);
      assert.ok(rows * grid.height + 10 * (rows - 1) <= height, text);
      const shape = grid.width / grid.height;
      assert.ok(shape < 1.8 && shape > 0.58, `shape of ${text}`);
      assert.ok(count * grid.width * grid.height > 0.3 * width * height, `area of ${text}`);
    }
  }
  assert.deepEqual(bestGrid(3, 0, 0, 10), {columns: 1, width: 0, height: 0});
});

test('addresses carry the room to others, and neither token nor relay', () => {
  assert.deepEqual(readAddress('http://h:1/?room=%20blue%20&relay=1#token=abc'), {room: 'blue', token: 'abc', relay: true});
  assert.deepEqual(readAddress('http://h:1/'), {room: '', token: '', relay: false});
  assert.equal(withRoom('http://h:1/?relay=1#token=abc', 'a b&c'), 'http://h:1/?relay=1&room=a+b%26c');
  assert.equal(invitation('http://h:1/?relay=1#token=abc', 'a b'), 'http://h:1/?room=a+b');
});

test('links in messages are http addresses and nothing else', () => {
  assert.deepEqual(linkify('see https://a.example/x?y=1, then (http://b.example/z).'), [
    {text: 'see ', link: false}, {text: 'https://a.example/x?y=1', link: true}, {text: ', then (', link: false},
    {text: 'http://b.example/z', link: true}, {text: ').', link: false},
  ]);
  assert.deepEqual(linkify('javascript:alert(1) <b>'), [{text: 'javascript:alert(1) <b>', link: false}]);
  assert.equal(linkify('').length, 0);
});

test('initials and colours of names', () => {
  assert.equal(initials('Ann Marie Baker'), 'AB');
  assert.equal(initials('  zoë '), 'Z');
  assert.equal(initials('陳美玲'), '陳');
  assert.equal(initials('👩‍🚀 Sally'), '👩S');
  assert.equal(initials(''), '?');
  assert.equal(hue('Ann'), hue('Ann'));
  assert.notEqual(hue('Ann'), hue('Tom'));
});

test('a token is checked before it travels', () => {
  const token = Buffer.from(JSON.stringify({host: 'h:8080'})).toString('base64');
  assert.equal(checkToken(`${token.slice(0, 9)}\n ${token.slice(9)}`), token);
  for (const text of ['', 'hello', '!!', Buffer.from('{"host":1}').toString('base64'), Buffer.from('null').toString('base64')]) {
    assert.throws(() => checkToken(text), {code: 'invalid-token'}, text);
  }
});

test('asking for a token tells apart why there is none', async () => {
  const answer = (status, body) => async (url, {method, body: sent}) => {
    assert.equal(`${method} ${url} ${sent}`, 'POST /demo/token {"room":"blue","user":"Ann","role":"presenter"}');
    return new Response(body, {status});
  };
  assert.equal(await requestToken('blue', 'Ann', answer(200, '{"token":"abc"}')), 'abc');
  await assert.rejects(requestToken('blue', 'Ann', answer(404, '')), {code: 'needs-token'});
  await assert.rejects(requestToken('blue', 'Ann', answer(500, '{"error":{"code":1301,"message":"Failed to get portal"}}')), {code: 'refused', message: 'Failed to get portal'});
  await assert.rejects(requestToken('blue', 'Ann', answer(503, 'too busy\n')), {code: 'refused', message: 'too busy'});
  await assert.rejects(requestToken('blue', 'Ann', answer(502, '')), {code: 'refused', message: 'HTTP 502'});
  await assert.rejects(requestToken('blue', 'Ann', answer(200, '{}')), {code: 'refused'});
  await assert.rejects(requestToken('blue', 'Ann', async () => { throw new TypeError('fetch failed'); }), {code: 'disconnected'});
});

test('every failure has words that say what to do', () => {
  const error = (name, message = '') => Object.assign(new Error(message), {name});
  assert.match(deviceProblem('camera', error('NotAllowedError'), 'Chrome/1 Safari/1').text, /click the symbol left of the address/);
  assert.match(deviceProblem('camera', error('NotAllowedError'), 'Firefox/1').text, /crossed-out camera/);
  assert.match(deviceProblem('camera', error('NotAllowedError'), 'iPhone Safari/1').text, /Website Settings/);
  assert.match(deviceProblem('camera', error('NotAllowedError'), 'Version/17 Safari/1').text, /Settings for This Website/);
  assert.match(deviceProblem('camera', error('NotAllowedError', 'Permission denied by system')).title, /system/);
  assert.match(deviceProblem('camera', error('NotReadableError')).title, /else is using the camera/);
  assert.match(deviceProblem('camera', error('OddError', 'why not')).text, /why not/);
  const [camera, mic] = [deviceProblem('camera', error('NotFoundError')), deviceProblem('microphone', error('NotFoundError'))];
  assert.equal(jointProblem(camera, mic).title, 'No camera and microphone found');
  assert.equal(jointProblem(camera, null), null);
  assert.equal(jointProblem(camera, deviceProblem('microphone', error('NotReadableError'))), null);

  assert.equal(screenProblem(error('NotAllowedError', 'Permission denied')), null);
  assert.match(screenProblem(error('NotAllowedError', 'Permission denied by system')).title, /system/);
  assert.match(screenProblem(error('NotReadableError', 'no luck')).text, /no luck/);

  assert.match(joinProblem({code: 'refused', message: 'Room is full'}).text, /Try again when/);
  assert.match(joinProblem({code: 'refused', message: 'No worker available'}).text, /No worker/);
  assert.match(joinProblem({code: 'disconnected', message: 'x'}).text, /network/);
  assert.match(joinProblem({code: 'load-failed', message: '404'}).text, /Load the page again. \(404\)/);
  assert.match(joinProblem({message: 'odd'}).text, /odd/);

  assert.equal(wayIn(true, true), '');
  assert.match(wayIn(true, false), /microphone only/);
  assert.match(wayIn(false, false), /see and hear/);
  const whole = {WebAssembly: 1, RTCPeerConnection: 1, WebSocket: 1, HTMLDialogElement: 1, ResizeObserver: 1};
  assert.equal(unsupported(whole), '');
  delete whole.RTCPeerConnection;
  assert.match(unsupported(whole), /too old.*RTCPeerConnection/);
});

test('a size is told when it has changed much', () => {
  assert.equal(changedMuch(null, {width: 1, height: 1}), true);
  assert.equal(changedMuch({width: 100, height: 100}, {width: 120, height: 80}), false);
  assert.equal(changedMuch({width: 100, height: 100}, {width: 121, height: 100}), true);
  assert.equal(changedMuch({width: 100, height: 100}, {width: 100, height: 79}), true);
});

test('only what is large is sent in layers, and only where somebody chooses among them', () => {
  assert.deepEqual(layersFor({width: 1280, height: 720}, true).map(({rid}) => rid), ['q', 'h', 'f']);
  for (const [settings, adapts] of [[{width: 640, height: 360}, true], [{width: 1280, height: 720}, false], [{}, true]]) assert.equal(layersFor(settings, adapts), undefined);
});

test('every reason has its words, and what is not known is left out', () => {
  const told = (picture) => ({tracks: [{kind: 'video', sending: true, ...picture}]});
  const reasons = ['none', 'asked for', 'displayed size', 'bandwidth', 'waiting for key frame', 'source has no more', 'paused by subscriber', 'muted', 'overloaded'];
  const sentences = reasons.map((reason) => receivedSentence('Ann', told({reason})));
  assert.equal(new Set(sentences).size, reasons.length);
  assert.ok(sentences.every((sentence) => /^[A-Z].*\.$/.test(sentence)), sentences.join('\n'));
  assert.match(receivedSentence('Ann', told({reason: 'something new'})), /something new/);
  assert.match(receivedSentence('Ann', {tracks: [{kind: 'audio'}]}), /does not say why/);
  assert.deepEqual(receivedRows(null, null, {width: 0, height: 0}), []);
  assert.deepEqual(receivedRows(null, told({reason: 'muted', sending: false, since: new Date(1000).toISOString()}), null, 181_000),
    [['The server sends', 'nothing'], ['Reason', 'muted, for 3 min']]);
  assert.deepEqual(eventRows({events: [{at: '2026-01-02T03:04:05Z', until: '2026-01-02T03:04:09Z', count: 3, kind: 'loss', detail: 'video', from: 6, to: 7},
    {at: '2026-01-02T03:04:10Z', kind: 'estimate', from: 2e6, to: 5e5}, {at: '2026-01-02T03:04:11Z', kind: 'unheard of'}]}).map(({at, text}) => [at.getUTCSeconds(), text]),
  [[11, 'unheard of'], [10, 'room on the connection, 2.0 Mbit/s to 500 kbit/s'], [9, 'losses, video, 7 %, 3 times']]);
  assert.deepEqual([bitsText(999_499), bitsText(999_500)], ['999 kbit/s', '1.0 Mbit/s']);
  assert.equal(sentSentence(null), 'Nothing is being sent.');
  assert.deepEqual(sentRows(null), []);
});

test('statistics are read, and rates are those since the last look', () => {
  const report = (...entries) => new Map(entries.map((entry) => [entry.id, entry]));
  const base = {type: 'inbound-rtp', kind: 'video', id: 'a', trackIdentifier: 'x'};
  assert.equal(receivedPicture(report(base), {id: 'other'}, null), null);
  const first = receivedPicture(report({...base, timestamp: 1000, bytesReceived: 100, packetsReceived: 10, packetsLost: 0}), {id: 'x'}, null);
  assert.deepEqual([first.bitrate, first.loss, first.path], [undefined, undefined, undefined]);
  const second = receivedPicture(report({...base, timestamp: 3000, bytesReceived: 1100, packetsReceived: 18, packetsLost: 2}), {id: 'x'}, first);
  assert.deepEqual([second.bitrate, second.loss], [4000, 0.2]);
  // Another track under the same name begins at 0 again; lost packets that came late make the count go back.
  const third = receivedPicture(report({...base, timestamp: 4000, bytesReceived: 0, packetsReceived: 30, packetsLost: -1}), {id: 'x'}, second);
  assert.deepEqual([third.bitrate, third.loss], [0, 0]);
  const out = (timestamp, bytesSent) => report({type: 'media-source', id: 's', trackIdentifier: 'y'},
    {type: 'outbound-rtp', kind: 'video', id: 'o', mediaSourceId: 's', timestamp, bytesSent, qualityLimitationReason: 'bandwidth'});
  assert.equal(sentPictures(out(0, 0), {id: 'x'}, null), null);
  const sent = sentPictures(out(1000, 500), {id: 'y'}, sentPictures(out(0, 0), {id: 'y'}, null));
  assert.equal(sent.layers[0].bitrate, 4000);
  assert.match(sentSentence(sent), /Your connection/);
  assert.deepEqual(sentRows(sent), [['Sent', 'nothing']]);
});

// mixer gives a Mixing with a stream, what it has told, and the subscriptions: open(n) lets the n-th begin.
function mixer() {
  const stream = Object.assign(new EventTarget(), {id: 'm', label: 'common', settings: {audio: {}, video: {}}, layout: [], activeInput: 'unknown'});
  const subscriptions = [];
  const seen = {media: null, ends: 0, stopped: []};
  const client = {
    refusal: null,
    subscribe: () => new Promise((resolve) => {
      const number = subscriptions.length;
      const subscription = Object.assign(new EventTarget(), {stream: number, stop: async () => seen.stopped.push(number)});
      subscriptions.push({subscription, resolve: () => resolve(subscription)});
    }),
    async mix() {
      if (client.refusal) throw client.refusal;
    },
  };
  const mixing = new Mixing(client, (mix) => {
    seen.media = mix ? mix.media : 'no mix';
  }, () => seen.ends++);
  mixing.found(stream);
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const open = async (number) => {
    subscriptions[number].resolve();
    await settle();
  };
  return {mixing, client, seen, subscriptions, open, settle};
}

test('the mixed picture is received once, however fast the mind is changed', async () => {
  const {mixing, seen, subscriptions, open, settle} = mixer();
  mixing.watch();
  mixing.unwatch();
  mixing.watch();
  assert.equal(subscriptions.length, 1);
  await open(0);
  assert.deepEqual(seen, {media: 0, ends: 0, stopped: []});
  mixing.unwatch();
  assert.deepEqual(seen, {media: null, ends: 0, stopped: [0]});
  mixing.watch(); // before the end of the first was told
  assert.equal(subscriptions.length, 2);
  subscriptions[0].subscription.dispatchEvent(new Event('ended'));
  await open(1);
  assert.deepEqual(seen, {media: 1, ends: 0, stopped: [0]});
  subscriptions[1].subscription.dispatchEvent(new Event('ended'));
  assert.deepEqual(seen, {media: null, ends: 1, stopped: [0]});
  mixing.watch();
  mixing.unwatch();
  await open(2);
  await settle();
  assert.deepEqual(seen, {media: null, ends: 1, stopped: [0, 2]});
});

test('a mixed picture that the server stops to offer is left', async () => {
  const {mixing, client, seen, open} = mixer();
  mixing.watch();
  await open(0);
  client.refusal = {code: 'refused'};
  await mixing.enter(Object.assign(new EventTarget(), {id: 'p'}));
  assert.deepEqual(seen, {media: 'no mix', ends: 1, stopped: [0]});
});

test('regions are parts of the picture', () => {
  const area = {left: '1/3', top: '0/1', width: '2/3', height: '1'};
  assert.deepEqual(regionsOf([{stream: 's', region: {id: '1', area}}, {region: {id: '2', area: {...area, left: '1/0'}}}]), [
    {id: '1', stream: 's', left: 1 / 3, top: 0, width: 2 / 3, height: 1}, {id: '2', stream: null, left: 1, top: 0, width: 2 / 3, height: 1},
  ]);
  assert.deepEqual(regionsOf(undefined), []);
});
