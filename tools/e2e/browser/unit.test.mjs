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
