// What goes wrong with a real server is said in words.

import assert from 'node:assert/strict';
import test, {after, before} from 'node:test';
import {launch, openPage} from './lib/browser.mjs';
import {enter, waitForText, waitForTiles} from './lib/demo.mjs';
import {assertMoves, watchPeers} from './lib/media.mjs';
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

const withToken = (token) => openPage(browser, `${portico.address}/#token=${encodeURIComponent(token)}`);

test('a token with a forged signature', async () => {
  const token = JSON.parse(atob(await portico.token('forged', 'Eve')));
  const page = await withToken(btoa(JSON.stringify({...token, tokenId: '0123456789abcdef01234567'})));
  await page.click('#join');
  await waitForText(page, '#join-problem', /server refused.*not made by this server/);
});

test('a token that was used before', async () => {
  const token = await portico.token('used', 'Eve');
  const first = await withToken(token);
  await enter(first);
  const second = await withToken(token);
  await second.click('#join');
  await waitForText(second, '#join-problem', /server refused.*used before/);
});

test('no permission for camera and microphone: the call works without them', async (t) => {
  const sender = await openPage(browser, `${portico.address}/?room=quiet`);
  await sender.waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
  await enter(sender, 'Ann');

  const strict = await launch({devices: false, flags: ['--use-fake-device-for-media-stream']});
  t.after(() => strict.close());
  const page = await openPage(strict, `${portico.address}/?room=quiet`, {permissions: [], prepare: watchPeers});
  await waitForText(page, '#device-problem', /Permission for the camera and microphone was refused.*see and hear/);
  await enter(page, 'Bob');
  const seen = await waitForTiles(page, (list) => list.some(({name, video}) => name === 'Ann' && video === 'on'), 'Bob has Ann');
  await assertMoves(page, seen.find(({name}) => name === 'Ann').stream, 'Bob looks at Ann');
  await waitForTiles(sender, (list) => list.some(({label}) => label === 'Bob, camera off, microphone off'), 'Ann knows that Bob only listens');
});

test('the server dies during a call', async (t) => {
  const own = await startPortico();
  t.after(() => own.stop());
  const page = await openPage(browser, `${own.address}/?room=doomed`);
  await enter(page, 'Ann');
  await own.kill();
  await waitForText(page, '#connection', /Connection lost. Coming back/); // for a minute
  await page.click('#leave');
  await waitForText(page, '#ended', /You left/);
  await page.click('#rejoin');
  await page.click('#join');
  await waitForText(page, '#join-problem', /server cannot be reached.*network/);
});
