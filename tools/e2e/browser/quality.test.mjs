// Why a picture looks as it does: a camera in three layers, a viewer whose window changes, and what page and operator are told of it.

import assert from 'node:assert/strict';
import test, {after, before} from 'node:test';
import {launch, openPage, picture} from './lib/browser.mjs';
import {enter, PATIENCE, step, waitForText, waitForTiles} from './lib/demo.mjs';
import {assertMoves} from './lib/media.mjs';
import {startPortico} from './lib/portico.mjs';

let portico;
let browser;

before(async () => {
  [portico, browser] = await Promise.all([startPortico(), launch()]);
});
after(async () => {
  await browser?.close();
  await portico?.stop();
});

// come opens a page as on a display with so many device pixels to each of the page's: drawing that many would cost too much.
// For the same reason the camera is one that is just large enough for three layers.
async function come({ratio = 1, ...options} = {}) {
  const prepare = (context) => context.addInitScript((pixels) => {
    globalThis.pretended = pixels;
    Object.defineProperty(globalThis, 'devicePixelRatio', {get: () => globalThis.pretended});
    const devices = navigator.mediaDevices;
    const open = devices.getUserMedia.bind(devices);
    devices.getUserMedia = ({video, ...rest}) => open({...rest, video: video && {...video, width: 960, height: 540, frameRate: 10}});
  }, ratio);
  const page = await openPage(browser, `${portico.address}/?room=why`, {...options, prepare});
  await page.waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
  return page;
}

// waitForRow waits until a row of the panel fits, and says what it was last when it never does.
async function waitForRow(page, label, pattern) {
  const row = ([wanted, source]) => {
    const found = [...document.querySelectorAll('#why-facts div')].find(({firstChild}) => firstChild.textContent === wanted);
    return new RegExp(source ?? '').test(found?.lastChild.textContent ?? '') && found?.lastChild.textContent;
  };
  return page.waitForFunction(row, [label, pattern.source], {timeout: PATIENCE}).then((handle) => handle.jsonValue(), async () => {
    assert.fail(`${label} never was ${pattern}; the panel says: ${await page.innerText('#why')}`);
  });
}

test('the reason follows the window', async (t) => {
  const ann = await come({quality: 'high'});
  const bob = await come({ratio: 3, viewport: {width: 900, height: 560}});
  await enter(ann, 'Ann');
  await enter(bob, 'Bob');
  const seen = await waitForTiles(bob, (list) => list.some(({own, video}) => !own && video === 'on'), 'Bob sees Ann');
  const {stream} = seen.find(({own}) => !own);
  await assertMoves(bob, stream, 'Bob looks at Ann');

  await step('a large window gets the best there is', async () => {
    await bob.locator('.tile[data-own=no] .why').focus();
    await bob.keyboard.press('Enter');
    await waitForText(bob, '#why-sentence', /^This is the best that Ann sends\.$/);
    const sent = await waitForRow(bob, 'The server sends', /× \d+ \([hf]\)$/);
    t.diagnostic(`to the large window: ${sent}`);
    await waitForRow(bob, 'Codec', /^VP8$/);
    await waitForRow(bob, 'Way', /^directly by UDP$/);
    await picture(bob, 'why-large');
  });

  await step('a small one gets the small layer, because it is small', async () => {
    await bob.evaluate(() => { globalThis.pretended = 0.5; });
    await bob.setViewportSize({width: 480, height: 420});
    await waitForText(bob, '#why-sentence', /as large as it is shown/);
    await waitForRow(bob, 'Reason', /^displayed size, /);
    await waitForRow(bob, 'The server sends', /^\d+ × \d+ \(q\)$/);
    await waitForRow(bob, 'Received', /^\d{2,3} × \d{2,3}, /);
    await bob.click('#why-history summary');
    await waitForText(bob, '#why-events', /another size, \d+×\d+[^,]* to \d+×\d+[^,]*, displayed size/);
    await picture(bob, 'why-small');
  });

  await step('the operator is told the same', async () => {
    const said = await portico.manage('room', 'quality', 'why', stream, '-events');
    assert.match(said, new RegExp(`^Stream ${stream} of Ann \\(`));
    assert.match(said, /^ {2}video q, vp8, \d+×\d+, /m);
    assert.match(said, /^ {2}video f, vp8, /m);
    assert.match(said, /^To Bob \(\S+\), host udp\S* \S+ \d+ - /m);
    // A browser that is short of time does not send the largest layer at all.
    assert.match(said, /^ {2}video: is sent \d+×\d+ \(q\), (there is \d+×\d+ \(\w\), )?shown at \d+×\d+, .*\n {4}because: displayed size, since /m);
    assert.match(said, / layer, \d+×\d+.* to \d+×\d+/);
  });

  await step('a picture that nobody sees is paused', async () => {
    await bob.keyboard.press('Escape');
    const hide = (state) => bob.evaluate((value) => {
      Object.defineProperty(document, 'visibilityState', {configurable: true, get: () => value});
      document.dispatchEvent(new Event('visibilitychange'));
    }, state);
    await hide('hidden');
    for (const deadline = Date.now() + PATIENCE; ;) {
      const said = await portico.manage('room', 'quality', 'why', stream);
      if (/^ {2}video: nothing is sent.*\n {4}because: paused by subscriber/m.test(said)) break;
      assert.ok(Date.now() < deadline, `never paused: ${said}`);
    }
    await hide('visible');
    await assertMoves(bob, stream, 'Ann is seen again');
  });

  await step('one asks after the own picture', async () => {
    await ann.click('.tile[data-own=yes] .why');
    await waitForRow(ann, 'Sent as q', /^\d+ × \d+, /);
    await waitForText(ann, '#why-sentence', /^\S.*\.$/);
  });
  for (const page of [ann, bob]) assert.deepEqual(page.faults, []);
});
