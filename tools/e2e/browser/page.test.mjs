// The demo page with the client library of the folder fake: everything that can be tested without a server.

import assert from 'node:assert/strict';
import test, {after, afterEach, before, describe} from 'node:test';
import {launch, openPage} from './lib/browser.mjs';
import {enter, namesOf, say, tiles, waitForText, waitForTiles} from './lib/demo.mjs';
import {startPageServer} from './lib/pageserver.mjs';

const PHONE = {viewport: {width: 390, height: 844}, isMobile: true, hasTouch: true};
const PHONE_SIDEWAYS = {viewport: {width: 844, height: 390}, isMobile: true, hasTouch: true};

let browser;
let server;
const pages = [];
const servers = []; // of one test

before(async () => {
  [browser, server] = await Promise.all([launch({flags: ['--host-resolver-rules=MAP portico.test 127.0.0.1']}), startPageServer()]);
});
after(async () => {
  await browser?.close();
  server?.close();
});

// Every page of a test is closed after it, then the servers, and none of them may have had an error in its console unless the test expects it.
afterEach(async () => {
  const ended = pages.splice(0);
  for (const page of ended) await page.context().close();
  for (const other of servers.splice(0)) other.close();
  for (const page of ended) assert.deepEqual(page.faults, []);
});

async function open(query = '', context = {}, address = server.address) {
  const page = await openPage(browser, `${address}/${query}`, context);
  pages.push(page);
  return page;
}

const log = (page) => page.evaluate(() => fakeRoom.log);
const waitForLog = (page, entry) => page.waitForFunction((wanted) => fakeRoom.log.includes(wanted), entry);

describe('before the call', () => {
  test('two clicks lead into the call, and the page remembers', async () => {
    const page = await open('?people=2&relay=1');
    await page.waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
    assert.ok(await page.locator('.preview [data-device=camera] option').count() > 0, 'cameras are listed');
    assert.ok(await page.locator('.preview [data-device=mic] option').count() > 0, 'microphones are listed');
    assert.equal(await page.inputValue('#room'), 'lobby');
    await page.fill('#room', 'blue room');
    await enter(page, 'Sam Rivers');
    assert.deepEqual(namesOf(await tiles(page)), ['Ann Baker', 'Miguel Ortega', 'Sam Rivers (you)']);
    assert.equal(new URL(page.url()).search, '?people=2&relay=1&room=blue+room');
    assert.equal(await page.title(), 'blue room – Portico');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'call-title');
    assert.equal(await page.evaluate(() => fakeRoom.client.config.relayOnly), true);
    await page.evaluate(() => localStorage.getItem('portico.demo')).then((stored) => assert.match(stored, /Sam Rivers/));
  });

  test('a device chosen before the call is the one that is used', async () => {
    const page = await open();
    const select = page.locator('.preview [data-device=camera]');
    await page.waitForFunction(() => document.querySelectorAll('.preview [data-device=mic] option').length > 1);
    const mic = page.locator('.preview [data-device=mic]');
    const wanted = await mic.locator('option').last().getAttribute('value');
    await mic.selectOption(wanted);
    await page.waitForFunction(() => document.querySelector('#preview-mic').getAttribute('aria-pressed') === 'true');
    assert.equal(await mic.inputValue(), wanted);
    assert.equal(await select.isDisabled(), false);
    await enter(page);
    await waitForLog(page, 'publish audio+video as mic/camera');
    assert.equal(await page.evaluate(() => fakeRoom.client.peerConnection.getSenders().find(({track}) => track.kind === 'audio').track.getSettings().deviceId), wanted);
  });

  test('a microphone and a camera turned off before the call stay off in it', async () => {
    const page = await open();
    await page.click('#preview-camera[aria-pressed=true]');
    await page.click('#preview-mic[aria-pressed=true]');
    await waitForText(page, '#preview-note', /camera is off/);
    await enter(page);
    await waitForLog(page, 'mute audio');
    assert.ok((await log(page)).includes('publish audio as mic/undefined'), String(await log(page)));
    await page.click('#camera');
    await waitForLog(page, 'publish audio+video as mic/camera');
    const [self] = await tiles(page);
    assert.deepEqual([self.audio, self.video], ['off', 'on']);
  });

  test('a server that gives no tokens asks for one', async () => {
    const closed = await startPageServer({status: 404});
    servers.push(closed);
    const page = await open('?people=1', {}, closed.address);
    assert.equal(await page.isVisible('#token'), false);
    await page.click('#join');
    await waitForText(page, '#join-problem', /needs a token/);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'token');
    await page.fill('#token', 'hello');
    await page.click('#join');
    await waitForText(page, '#join-problem', /not a token/);
    await page.fill('#token', Buffer.from('{"host":"h","user":"Sam"}').toString('base64'));
    await enter(page);
    assert.deepEqual(namesOf(await tiles(page)), ['Ann Baker', 'Sam (you)']);
    page.faults.splice(0); // the browser notes the 404
  });

  test('a token in the address is used and taken out of sight', async () => {
    const token = Buffer.from('{"host":"h","user":"Sam"}').toString('base64');
    const page = await open(`#token=${encodeURIComponent(token)}`);
    assert.doesNotMatch(page.url(), /token/);
    assert.equal(await page.isVisible('#room'), false);
    await enter(page);
    assert.ok((await log(page)).includes(`join ${token}`));
    assert.equal(await page.isVisible('#invite-button'), false, 'no room to invite to');
  });
});

describe('what goes wrong is said in words', () => {
  test('no devices: join to listen', async () => {
    const poor = await launch({devices: false});
    const page = await openPage(poor, `${server.address}/?people=1`);
    await waitForText(page, '#device-problem', /No camera and microphone found.*join to see and hear/);
    await enter(page);
    assert.deepEqual((await tiles(page)).map(({label}) => label), ['Ann Baker', 'Guest (you), camera off, microphone off']);
    assert.equal((await log(page)).filter((entry) => entry.startsWith('publish')).length, 0);
    await page.click('#camera');
    await waitForText(page, '#notices', /No camera found/);
    await poor.close();
  });

  const refusing = (failures) => {
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = (constraints) => {
      for (const [kind, name] of Object.entries(failures)) {
        if (constraints[kind]) return Promise.reject(new DOMException('as the test wants it', name));
      }
      return real(constraints);
    };
  };

  async function openRefusing(failures, query = '') {
    const page = await open();
    await page.addInitScript(refusing, failures);
    await page.goto(`${server.address}/${query}`);
    return page;
  }

  test('a camera in use: join with the microphone alone', async () => {
    const page = await openRefusing({video: 'NotReadableError'});
    await waitForText(page, '#device-problem', /else is using the camera.*microphone only/);
    await enter(page);
    await waitForLog(page, 'publish audio as mic/undefined');
    assert.equal(await page.getAttribute('#mic', 'data-on'), 'true');
    assert.match(await page.getAttribute('#camera', 'aria-label'), /Start video \(Something else is using the camera\)/);
  });

  test('no microphone: join with the camera alone', async () => {
    const page = await openRefusing({audio: 'NotFoundError'});
    await waitForText(page, '#device-problem', /No microphone found.*camera only/);
    await enter(page);
    await waitForLog(page, 'publish video as undefined/camera');
  });

  test('permission for the camera refused: the microphone is asked for by itself', async () => {
    // Playwright denies what it was not asked to grant.
    const strict = await launch({devices: false, flags: ['--use-fake-device-for-media-stream']});
    const page = await openPage(strict, server.address, {permissions: ['microphone']});
    await waitForText(page, '#device-problem', /Permission for the camera was refused.*click the symbol left of the address.*microphone only/);
    await enter(page);
    await waitForLog(page, 'publish audio as mic/undefined');
    await page.context().close();
    const deaf = await openPage(strict, server.address, {permissions: []});
    await waitForText(deaf, '#device-problem', /Permission for the camera and microphone was refused.*see and hear/);
    await strict.close();
  });

  test('an address without TLS in the network', async () => {
    const page = await open('?people=1', {}, server.address.replace('127.0.0.1', 'portico.test'));
    assert.equal(await page.evaluate(() => isSecureContext), false);
    await waitForText(page, '#device-problem', /need a secure address.*localhost/);
    await enter(page);
    await page.click('#invite-button');
    await page.click('#invite-copy');
    await waitForText(page, '#invite-state', /is selected/);
  });

  test('the server refuses', async () => {
    const failing = await startPageServer({status: 500, body: '{"error":{"code":1301,"message":"Failed to get portal"}}'});
    servers.push(failing);
    const page = await open('', {}, failing.address);
    await page.click('#join');
    await waitForText(page, '#join-problem', /server refused.*Failed to get portal/);
    page.faults.splice(0); // the browser notes the 500

    const full = await open();
    await full.evaluate(() => { fakeRoom.refusal = Object.assign(new Error('Room is full'), {code: 'refused'}); });
    await full.click('#join');
    await waitForText(full, '#join-problem', /room is full/);
    await full.evaluate(() => { fakeRoom.refusal = null; });
    await enter(full);
  });

  test('the client library does not start', async () => {
    const page = await open('?fake=noload');
    await page.click('#join');
    await waitForText(page, '#join-problem', /Load the page again. \(the module did not arrive\)/);
  });

  test('the connection is lost: join again leads back, with the microphone as it was', async () => {
    const page = await open('?people=2');
    await enter(page);
    await page.click('#mic');
    await waitForLog(page, 'mute audio');
    await page.evaluate(() => fakeRoom.lose());
    await waitForText(page, '#ended', /Connection lost.*join again/);
    await page.evaluate(() => fakeRoom.log.splice(0));
    await page.click('#rejoin');
    await waitForTiles(page, (seen) => seen.length === 3, 'everyone is back');
    await waitForLog(page, 'mute audio');
    assert.equal(await page.getAttribute('#mic', 'data-on'), 'false');
  });

  test('a browser that lacks WebRTC', async () => {
    const page = await open();
    await page.addInitScript(() => { delete globalThis.RTCPeerConnection; });
    await page.goto(server.address);
    await waitForText(page, '#unsupported', /too old.*RTCPeerConnection/);
    assert.equal(await page.isVisible('#lobby'), false);
  });

  test('sound that the browser holds back', async () => {
    const page = await open('?people=2');
    await page.evaluate(() => {
      const play = HTMLMediaElement.prototype.play;
      HTMLMediaElement.prototype.play = function () {
        const allowed = this.muted || navigator.userActivation.isActive && globalThis.clickedSound;
        return allowed ? play.call(this) : Promise.reject(new DOMException('not yet', 'NotAllowedError'));
      };
      document.querySelector('#sound').addEventListener('click', () => { globalThis.clickedSound = true; }, {capture: true});
    });
    await enter(page);
    await page.click('#sound');
    await page.waitForFunction(() => [...document.querySelectorAll('.tile[data-own=no] video')].every((video) => !video.muted && !video.paused));
    assert.equal(await page.isVisible('#sound'), false);
    assert.equal(await page.$eval('.tile[data-own=yes] video', (video) => video.muted), true);
  });

  test('a camera that is pulled out', async () => {
    const page = await open();
    await enter(page);
    await waitForLog(page, 'publish audio+video as mic/camera');
    await page.evaluate(() => {
      const {track} = fakeRoom.client.peerConnection.getSenders().find((sender) => sender.track.kind === 'video');
      track.dispatchEvent(new Event('ended'));
    });
    await waitForText(page, '#notices', /camera stopped/);
    await waitForLog(page, 'mute video');
  });
});

describe('in the call', () => {
  test('people and screens come and go', async () => {
    const page = await open('?people=3&mixed=1');
    await enter(page, 'Sam');
    assert.deepEqual(namesOf(await tiles(page)), ['Ann Baker', 'Miguel Ortega', 'Priya Nair', 'Sam (you)'], 'and no tile for the mixed stream');
    await waitForTiles(page, (seen) => seen.some(({name, speaking}) => name === 'Miguel Ortega' && speaking), 'Miguel speaks');
    assert.equal((await tiles(page)).find(({name}) => name === 'Ann Baker').speaking, false);
    assert.match((await tiles(page))[2].label, /Priya Nair, camera off, microphone off/);

    await page.evaluate(() => {
      fakeRoom.come('x', 'Xenia');
      fakeRoom.send('x1', 'x');
      fakeRoom.send('x2', 'x', {screen: true});
    });
    await waitForTiles(page, (seen) => seen.length === 6, 'Xenia with a camera and a screen');
    assert.equal(await page.$eval('#screens .name', (name) => name.textContent), 'Xenia’s screen');
    assert.equal(await page.$eval('#tiles > :last-child', (tile) => tile.dataset.own), 'yes');
    const area = (selector) => page.$eval(selector, (tile) => tile.offsetWidth * tile.offsetHeight);
    assert.ok(await area('#screens .tile') > 8 * await area('#tiles .tile'), 'the screen is large');

    await page.evaluate(() => fakeRoom.setMuted('x1', 'video', true));
    await waitForTiles(page, (seen) => seen.some(({name, video}) => name === 'Xenia' && video === 'off'), 'the camera is off');
    assert.equal(await page.$eval('[data-stream=x1] .avatar', (avatar) => avatar.checkVisibility()), true);
    await page.evaluate(() => fakeRoom.stop('x2'));
    await waitForTiles(page, (seen) => seen.length === 5, 'the screen is gone');
    await page.evaluate(() => fakeRoom.stop('x1'));
    await waitForTiles(page, (seen) => seen.some(({name, video}) => name === 'Xenia' && video === 'none'), 'Xenia listens');
    await page.evaluate(() => fakeRoom.go('x'));
    await waitForTiles(page, (seen) => !seen.some(({name}) => name === 'Xenia'), 'Xenia is gone');
    await page.evaluate(() => fakeRoom.go('p0'));
    await waitForTiles(page, (seen) => !seen.some(({name}) => name === 'Ann Baker'), 'Ann went without ending her stream');
    await waitForText(page, '#notices', /Ann Baker left/);
    await page.evaluate(() => fakeRoom.send('in', 'admin'));
    await waitForTiles(page, (seen) => seen.some(({name, video}) => name === 'Stream' && video === 'on'), 'a stream of nobody in the room');
  });

  for (const [shape, context] of [['a desktop', {}], ['a phone', PHONE], ['a phone held sideways', PHONE_SIDEWAYS], ['a small phone', {...PHONE, viewport: {width: 320, height: 568}}]]) {
    test(`1 to 16 tiles fit ${shape}`, async () => {
      const page = await open('', context);
      await enter(page);
      for (let count = 1; count <= 16; count++) {
        if (count > 1) await page.evaluate((id) => fakeRoom.come(`n${id}`, `Somebody with number ${id}`), count);
        await waitForTiles(page, (seen) => seen.length === count, `${count} tiles`);
        const fault = await page.evaluate(misplaced);
        assert.equal(fault, '', `${count} tiles`);
      }
    });
  }

  test('mute and camera: told to the room, and the camera is let go', async () => {
    const page = await open('?people=1');
    await enter(page);
    await waitForLog(page, 'publish audio+video as mic/camera');
    await page.evaluate(() => { globalThis.sent = fakeRoom.client.peerConnection.getSenders().map((sender) => sender.track); });
    await page.click('#mic');
    await page.click('#camera');
    await waitForLog(page, 'mute audio');
    await waitForLog(page, 'mute video');
    assert.deepEqual(await page.evaluate(() => sent.map(({kind, enabled, readyState}) => [kind, enabled, readyState])), [['video', true, 'ended'], ['audio', false, 'live']].sort());
    assert.equal(await page.textContent('#mic .label'), 'Unmute');
    assert.equal(await page.textContent('#camera .label'), 'Start video');
    await page.click('#mic');
    await page.click('#camera');
    await waitForLog(page, 'unmute audio');
    await waitForLog(page, 'unmute video');
    assert.deepEqual(await page.evaluate(() => fakeRoom.client.peerConnection.getSenders().map(({track}) => track.readyState)), ['live', 'live']);
    const after = (await log(page)).map((entry) => entry.split(' ')[0]); // a slow camera may have come after the microphone
    assert.equal(after.lastIndexOf('publish') < after.indexOf('mute'), true, after.join());
  });

  test('sharing the screen', async () => {
    const page = await open('?people=1');
    await enter(page);
    await page.click('#share');
    await page.waitForFunction(() => fakeRoom.log.some((entry) => /^publish .*video as .*screen-cast$/.test(entry)));
    await page.waitForFunction(() => document.querySelector('#share').dataset.on === 'true');
    await page.click('#share');
    await page.waitForFunction(() => fakeRoom.log.some((entry) => entry.startsWith('stop ')));
    assert.equal(await page.textContent('#share .label'), 'Share screen');
  });

  test('chat', async () => {
    const page = await open('?people=2');
    await enter(page);
    await page.evaluate(() => {
      fakeRoom.say('p0', 'first <b>bold</b>');
      fakeRoom.say('p0', {x: 1});
      fakeRoom.say('p1', 'see https://example.org/a');
    });
    await waitForText(page, '#chat-toggle .badge', /^2$/);
    assert.equal(await page.getAttribute('#chat-toggle', 'aria-label'), 'Chat, 2 new');
    assert.match(await page.title(), /^\(2\)/);
    await page.click('#chat-toggle');
    assert.equal(await page.isVisible('#chat-toggle .badge'), false);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'chat-text');
    assert.deepEqual(await page.$$eval('.message p', (texts) => texts.map((text) => text.textContent)), ['first <b>bold</b>', 'see https://example.org/a']);
    assert.deepEqual(await page.$$eval('.message strong', (names) => names.map((name) => name.textContent)), ['Ann Baker', 'Miguel Ortega']);
    assert.match(await page.$eval('.message time', (time) => time.textContent), /\d/);
    assert.equal(await page.$eval('.message a', (link) => `${link.href} ${link.rel}`), 'https://example.org/a noopener noreferrer');
    await say(page, 'from me');
    await waitForText(page, '.message.own', /You.*from me/);
    await page.evaluate(() => { fakeRoom.mute = true; });
    await say(page, 'lost words');
    await waitForText(page, '#notices', /not sent/);
    assert.equal(await page.inputValue('#chat-text'), 'lost words');
  });

  test('by keyboard alone', async () => {
    const page = await open('?people=1');
    await page.focus('#name');
    await page.keyboard.type('Sam');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#call:not([hidden])');
    await waitForLog(page, 'publish audio+video as mic/camera');
    await page.keyboard.press('m');
    await waitForLog(page, 'mute audio');
    await page.keyboard.press('c');
    await page.waitForSelector('#chat:not([hidden])');
    await page.keyboard.type('mvsc');
    assert.equal(await page.inputValue('#chat-text'), 'mvsc', 'letters typed are no shortcuts');
    assert.equal(await page.getAttribute('#camera', 'data-on'), 'true');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Escape');
    assert.equal(await page.isVisible('#chat'), false);
    assert.equal(await page.evaluate(() => document.activeElement.id), 'chat-toggle');
    await page.keyboard.press('?');
    await page.waitForSelector('#help[open]');
    await page.uncheck('#shortcuts-on');
    await page.keyboard.press('Escape');
    await page.waitForSelector('#help:not([open])', {state: 'attached'});
    await page.keyboard.press('m');
    assert.equal(await page.getAttribute('#mic', 'data-on'), 'false', 'shortcuts are off');

    // Every control can be reached and shows that it has the focus.
    await page.focus('#call-title');
    const reached = [];
    for (let i = 0; i < 30; i++) {
      await page.keyboard.press('Tab');
      const [id, ring] = await page.evaluate(() => [document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]);
      if (!id && reached.length > 6) break;
      if (id) assert.equal(ring, 'solid', `focus ring of ${id}`);
      reached.push(id);
    }
    for (const id of ['invite-button', 'mic', 'camera', 'share', 'chat-toggle', 'leave']) assert.ok(reached.includes(id), `${id} among ${reached}`);
  });

  test('everything that can be used has a name for screen readers', async () => {
    const page = await open('?people=2');
    const nameless = () => page.$$eval('button, input, select, textarea, video', (elements) => elements
      .filter((element) => element.checkVisibility())
      .filter((element) => !element.closest('.tile') || element.localName === 'button')
      .filter((element) => !element.ariaLabel && !element.textContent.trim() && !element.labels?.length)
      .map((element) => element.outerHTML));
    assert.deepEqual(await nameless(), []);
    await enter(page);
    await page.click('#chat-toggle');
    assert.deepEqual(await nameless(), []);
    assert.equal(await page.getAttribute('#messages', 'aria-live'), 'polite');
    assert.equal(await page.getAttribute('#messages', 'role'), 'log');
  });

  test('leaving lets the devices go and says so to the room', async () => {
    const page = await open('?people=2');
    await enter(page);
    await waitForLog(page, 'publish audio+video as mic/camera');
    await page.evaluate(() => { globalThis.sent = fakeRoom.client.peerConnection.getSenders().map((sender) => sender.track); });
    await page.click('#leave');
    await waitForText(page, '#ended', /You left the call/);
    await waitForLog(page, 'leave');
    assert.deepEqual(await page.evaluate(() => sent.map((track) => track.readyState)), ['ended', 'ended']);
    assert.equal((await tiles(page)).length, 0);
    await page.click('#rejoin');
    await page.waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
    await enter(page);
  });
});

test('nothing moves for those who asked for less motion', async () => {
  const page = await open('', {reducedMotion: 'reduce'});
  assert.equal(await page.$eval('#join', (button) => parseFloat(getComputedStyle(button).transitionDuration) < 0.001), true);
});

// misplaced names a tile that is outside the stage, under another one, or too small; empty when all is well.
function misplaced() {
  const boxes = [...document.querySelectorAll('.tile')].map((tile) => tile.getBoundingClientRect());
  const stage = document.querySelector('#tiles').getBoundingClientRect();
  for (const [index, box] of boxes.entries()) {
    const inside = box.left >= stage.left - 1 && box.right <= stage.right + 1 && box.top >= stage.top - 1 && box.bottom <= stage.bottom + 1;
    if (!inside) return `tile ${index} is outside: ${JSON.stringify([box, stage])}`;
    if (box.width < 44 || box.height < 44) return `tile ${index} is too small: ${JSON.stringify(box)}`;
    for (const other of boxes.slice(index + 1)) {
      if (box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom) return `tile ${index} is under another`;
    }
  }
  if (document.documentElement.scrollWidth > innerWidth || document.documentElement.scrollHeight > innerHeight) return 'the page scrolls';
  return '';
}
