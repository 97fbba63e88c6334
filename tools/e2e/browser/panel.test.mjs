// Why a picture looks as it does, and what the server is told of it: the demo page with the client library of the folder fake.

import assert from 'node:assert/strict';
import test, {after, afterEach, before, describe} from 'node:test';
import {launch, openPage, picture} from './lib/browser.mjs';
import {enter, waitForText, waitForTiles} from './lib/demo.mjs';
import {startPageServer} from './lib/pageserver.mjs';

const PHONE = {viewport: {width: 390, height: 844}, isMobile: true, hasTouch: true};

let browser;
let server;
const pages = [];

before(async () => {
  [browser, server] = await Promise.all([launch(), startPageServer()]);
});
after(async () => {
  await browser?.close();
  server?.close();
});

// Every page of a test is closed after it, and none of them may have had an error in its console.
afterEach(async () => {
  for (const page of pages.splice(0)) {
    await page.context().close();
    assert.deepEqual(page.faults, []);
  }
});

async function open(query = '', context = {}) {
  const page = await openPage(browser, `${server.address}/${query}`, context);
  pages.push(page);
  return page;
}

const waitForLog = (page, entry) => page.waitForFunction((wanted) => fakeRoom.log.includes(wanted), entry);

// What the server would say of a picture.
const quality = (picture, events = []) => ({
  network: {estimate: 2_300_000, by: 'twcc', rtt: 31, loss: 0},
  tracks: [{kind: 'audio', sending: true, reason: 'asked for'}, {kind: 'video', sending: true, source: {rid: 'f', width: 1280, height: 720}, ...picture}],
  events,
});

const facts = (page) => page.$$eval('#why-facts div', (rows) => Object.fromEntries(rows.map(({children: [label, value]}) => [label.textContent, value.textContent])));

describe('why a picture looks as it does', () => {
  test('the panel is reached by keyboard, says why, follows, and closes', async () => {
    const page = await open('?people=1');
    await enter(page);
    await waitForTiles(page, (seen) => seen.some(({own, video}) => !own && video === 'on'), 'somebody to look at');
    await page.evaluate((told) => {
      const [track] = document.querySelector('.tile[data-own=no] video').srcObject.getVideoTracks();
      const common = {type: 'inbound-rtp', kind: 'video', id: 'in', trackIdentifier: track.id, codecId: 'codec', frameWidth: 640, frameHeight: 360, framesPerSecond: 29.6};
      Object.assign(fakeRoom, {quality: told, stats: [
        {...common, timestamp: 1000, bytesReceived: 0, packetsReceived: 0, packetsLost: 0}, {type: 'codec', id: 'codec', mimeType: 'video/VP8'},
        {type: 'transport', id: 't', selectedCandidatePairId: 'pair'}, {type: 'candidate-pair', id: 'pair', localCandidateId: 'l', remoteCandidateId: 'r', currentRoundTripTime: 0.021},
        {type: 'local-candidate', id: 'l', candidateType: 'relay', protocol: 'udp', relayProtocol: 'tcp'}, {type: 'remote-candidate', id: 'r', candidateType: 'host'},
      ]});
    }, quality({reason: 'displayed size', current: {rid: 'h', width: 640, height: 360}, since: new Date().toISOString()},
      [{at: '2026-01-02T03:04:05.000Z', kind: 'layer', detail: '1280×720 to 640×360', reason: 'displayed size'}]));
    await page.locator('.tile[data-own=no] .why').focus();
    await page.keyboard.press('Enter');
    await waitForText(page, '#why-sentence', /as large as it is shown/);
    assert.equal(await page.textContent('#why-subject'), 'Ann Baker');
    const seen = await facts(page);
    assert.deepEqual([seen['Received'], seen['The server sends'], seen['There is'], seen['Room for'], seen['Round trip'], seen['Codec'], seen['Way']],
      ['640 × 360, 30 pictures a second', '640 × 360 (h)', '1280 × 720 (f)', '2.3 Mbit/s', '21 ms', 'VP8', 'through a relay by TCP']);
    assert.match(seen['Reason'], /^displayed size, for \d+ s$/);
    assert.match(seen['Shown at'], /^\d+ × \d+$/);
    await picture(page, 'why-desktop');
    await page.click('#why-history summary');
    await waitForText(page, '#why-events', /another size, 1280×720 to 640×360, displayed size$/);

    await page.evaluate((told) => {
      fakeRoom.quality = told;
      Object.assign(fakeRoom.stats[0], {timestamp: 2000, bytesReceived: 50_000, packetsReceived: 95, packetsLost: 5});
    }, quality({reason: 'bandwidth', sending: false}));
    await waitForText(page, '#why-sentence', /does not carry a picture at the moment/);
    await page.waitForFunction(() => /^5\.0 %$/.test([...document.querySelectorAll('#why-facts div')].find((row) => row.children[0].textContent === 'Lost')?.children[1].textContent));
    await page.keyboard.press('Escape');
    assert.equal(await page.isVisible('#why'), false);
    assert.equal(await page.evaluate(() => document.activeElement.classList.contains('why')), true, 'the focus is back on the tile');

    await page.click('.tile[data-own=no] .why');
    await page.evaluate(() => fakeRoom.stop('s0'));
    await page.waitForSelector('#why', {state: 'hidden'});
  });

  test('a server that says nothing, and the own picture', async () => {
    const page = await open('?people=1');
    await enter(page);
    await waitForTiles(page, (seen) => seen.some(({own, video}) => !own && video === 'on'), 'somebody to look at');
    await page.click('.tile[data-own=no] .why');
    await waitForText(page, '#why-sentence', /does not say why/);
    await page.keyboard.press('Escape');
    await page.evaluate(() => {
      const [track] = document.querySelector('.tile[data-own=yes] video').srcObject.getVideoTracks();
      fakeRoom.stats = [{type: 'media-source', id: 'source', trackIdentifier: track.id}, ...['q', 'f'].map((rid, index) => ({
        type: 'outbound-rtp', kind: 'video', id: rid, rid, mediaSourceId: 'source', timestamp: 1, frameWidth: 320 << (2 * index), frameHeight: 180 << (2 * index),
        framesPerSecond: 15, qualityLimitationReason: index ? 'cpu' : 'none',
      }))];
    });
    await page.click('.tile[data-own=yes] .why');
    await waitForText(page, '#why-sentence', /device is too busy/);
    assert.deepEqual(await facts(page), {'Sent as f': '1280 × 720, 15 pictures a second', 'Sent as q': '320 × 180, 15 pictures a second'});
  });

  for (const [shape, context] of [['a phone', PHONE], ['a small phone in the dark', {...PHONE, viewport: {width: 320, height: 568}, colorScheme: 'dark'}]]) {
    test(`the panel fits ${shape}`, async () => {
      const page = await open('?people=1', context);
      await enter(page);
      await waitForTiles(page, (seen) => seen.some(({own, video}) => !own && video === 'on'), 'somebody to look at');
      await page.evaluate((told) => { fakeRoom.quality = told; }, quality({reason: 'source has no more', current: {rid: 'f', width: 1280, height: 720}},
        Array.from({length: 30}, (_, index) => ({at: new Date(index).toISOString(), kind: 'path', detail: 'host udp4 192.0.2.123 50000 - prflx udp4 203.0.113.123 60000'}))));
      await page.tap('.tile[data-own=no] .why');
      await waitForText(page, '#why-sentence', /the best that Ann Baker sends/);
      await picture(page, `why-${context.viewport.width}`);
      await page.tap('#why-history summary');
      const box = await page.$eval('#why', (dialog) => ({...dialog.getBoundingClientRect().toJSON(), scrolls: dialog.scrollWidth > dialog.clientWidth}));
      const {width, height} = context.viewport;
      assert.ok(box.left >= 0 && box.right <= width && box.top >= 0 && box.bottom <= height && !box.scrolls, JSON.stringify(box));
      await page.tap('#why .close');
      assert.equal(await page.isVisible('#why'), false);
    });
  }
});

describe('the server is told what is seen', () => {
  test('the size of a tile, in device pixels, when it has changed much', async () => {
    const page = await open('?people=1', {deviceScaleFactor: 2});
    await enter(page);
    await page.waitForFunction(() => fakeRoom.shown.length > 0);
    const told = () => page.evaluate(() => {
      const {clientWidth, clientHeight} = document.querySelector('.tile[data-own=no]');
      return {shown: fakeRoom.shown.map(({id, width, height}) => [id, width, height]), now: [2 * clientWidth, 2 * clientHeight]};
    });
    await page.waitForFunction(() => fakeRoom.shown.at(-1).width === 2 * document.querySelector('.tile[data-own=no]').clientWidth);
    const first = await told();
    assert.deepEqual(first.shown.at(-1), ['subscription-s0', ...first.now]);
    await page.setViewportSize({width: 1240, height: 790}); // little smaller: nothing to say
    await page.setViewportSize({width: 700, height: 500});
    await page.waitForFunction((count) => fakeRoom.shown.length > count, first.shown.length);
    const second = await told();
    assert.deepEqual(second.shown.slice(first.shown.length), [['subscription-s0', ...second.now]]);
  });

  test('a picture that is out of sight is paused, and goes on when it is seen', async () => {
    const page = await open('?people=1');
    await enter(page);
    await waitForTiles(page, (seen) => seen.some(({own, video}) => !own && video === 'on'), 'somebody to look at');
    const hide = (hidden) => page.evaluate((state) => {
      Object.defineProperty(document, 'visibilityState', {configurable: true, get: () => state});
      document.dispatchEvent(new Event('visibilitychange'));
    }, hidden ? 'hidden' : 'visible');
    await hide(true);
    await waitForLog(page, 'mute video');
    await hide(false);
    await waitForLog(page, 'unmute video');
  });

  test('a large camera is sent in layers, a small one once', async () => {
    for (const [quality, rids] of [['medium', undefined], ['high', ['q', 'h', 'f']]]) {
      const page = await open('', {quality});
      await page.waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
      await enter(page);
      await waitForLog(page, 'publish audio+video as mic/camera');
      assert.deepEqual(await page.evaluate(() => fakeRoom.layers), rids);
    }
  });
});
