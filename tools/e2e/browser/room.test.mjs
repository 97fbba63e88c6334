// Three browsers in one room, through the real program.

import assert from 'node:assert/strict';
import test, {after, before} from 'node:test';
import {launch, openPage, picture} from './lib/browser.mjs';
import {enter, say, step, tiles, waitForText, waitForTiles} from './lib/demo.mjs';
import {assertMoves, assertSounds, assertStands, watchPeers} from './lib/media.mjs';
import {startPortico} from './lib/portico.mjs';

// ms from the click on Join to the first picture of somebody else. The better of two joins has to keep it: what else runs on the
// machine while the tests do is no property of the program.
const FIRST_MEDIA = 2000;

let portico;
let browser;

before(async () => {
  [portico, browser] = await Promise.all([startPortico(), launch()]);
});
after(async () => {
  await browser?.close();
  await portico?.stop();
});

// come opens the page for one participant and waits until the camera runs, as a person would; nobody has joined yet.
async function come(options = {}) {
  const page = await openPage(browser, `${portico.address}/?room=three`, {...options, prepare: watchPeers});
  await page.waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
  return page;
}

const others = (list) => list.filter(({own}) => !own);
const allSend = (count) => (list) => others(list).length === count && others(list).every(({audio, video}) => audio === 'on' && video === 'on');

test('three participants', async (t) => {
  const people = {Ann: await come(), Bob: await come({colorScheme: 'dark'}), Cleo: await come({viewport: {width: 390, height: 844}})};
  const {Ann, Bob, Cleo} = people;

  await step('a joiner sees the others within two seconds', async () => {
    await enter(Ann, 'Ann');
    const delays = [];
    for (const name of ['Bob', 'Cleo']) {
      await enter(people[name], name);
      const delay = Math.round(await people[name].evaluate(() => firstPicture));
      t.diagnostic(`first media of ${name}: ${delay} ms after the click`);
      delays.push(delay);
      // The next one joins a room that is settled, so that each figure is of one join.
      await waitForTiles(Ann, allSend(name === 'Bob' ? 1 : 2), `Ann sees ${name}`);
    }
    assert.ok(Math.min(...delays) < FIRST_MEDIA, `first pictures after ${delays} ms`);
  });

  await step('everyone sees and hears the two others', async () => {
    for (const [name, page] of Object.entries(people)) {
      const seen = await waitForTiles(page, allSend(2), `${name} has both others`);
      assert.deepEqual(seen.map((tile) => tile.name).sort(), Object.keys(people).map((other) => (other === name ? `${other} (you)` : other)));
      for (const tile of others(seen)) {
        await assertMoves(page, tile.stream, `${name} looks at ${tile.name}`);
        await assertSounds(page, tile.stream, `${name} listens to ${tile.name}`);
      }
    }
    await picture(Ann, 'call-light');
    await picture(Bob, 'call-dark');
    await picture(Cleo, 'call-phone');
  });

  await step('a message arrives at everyone, once', async () => {
    await say(Bob, 'hello from Bob');
    await waitForText(Bob, '#messages', /You.*hello from Bob/);
    await waitForText(Ann, '#chat-toggle .badge', /^1$/);
    for (const page of [Ann, Cleo]) {
      await page.click('#chat-toggle');
      await waitForText(page, '#messages', /Bob.*hello from Bob/);
      assert.equal(await page.locator('.message').count(), 1);
      await page.click('#chat-close');
    }
  });

  await step('one mutes and the others see it', async () => {
    await Ann.click('#mic');
    await Ann.click('#camera');
    const ann = (audio, video) => (list) => list.some((tile) => tile.name === 'Ann' && tile.audio === audio && tile.video === video);
    for (const page of [Bob, Cleo]) await waitForTiles(page, ann('off', 'off'), 'Ann is muted and dark');
    const streams = new Map((await tiles(Bob)).map(({name, stream}) => [name, stream]));
    await assertStands(Bob, streams.get('Ann'), streams.get('Cleo'), 'Ann without her camera');
    assert.match((await tiles(Bob)).find(({name}) => name === 'Ann').label, /camera off, microphone off/);
    await Ann.click('#camera');
    await Ann.click('#mic');
    for (const page of [Bob, Cleo]) {
      const seen = await waitForTiles(page, ann('on', 'on'), 'Ann is back');
      const {stream} = seen.find(({name}) => name === 'Ann');
      await assertMoves(page, stream, 'Ann after the pause');
      await assertSounds(page, stream, 'Ann after the pause');
    }
  });

  await step('a shared screen is seen and ends', async () => {
    await Cleo.click('#share');
    for (const page of [Ann, Bob]) {
      const seen = await waitForTiles(page, (list) => list.some(({kind}) => kind === 'screen'), 'the screen of Cleo');
      const screen = seen.find(({kind}) => kind === 'screen');
      assert.equal(screen.name, 'Cleo’s screen');
      await page.waitForFunction((id) => document.querySelector(`.tile[data-stream="${id}"] video`).videoWidth > 0, screen.stream);
    }
    await picture(Ann, 'call-screen');
    await Cleo.click('#share');
    for (const page of [Ann, Bob]) await waitForTiles(page, (list) => !list.some(({kind}) => kind === 'screen'), 'the screen is gone');
  });

  await step('one leaves and the tiles of the others follow', async () => {
    await Cleo.click('#leave');
    await waitForText(Cleo, '#ended', /You left/);
    for (const page of [Ann, Bob]) await waitForTiles(page, (list) => !list.some(({name}) => name === 'Cleo'), 'Cleo is gone');
  });

  await step('one closes the window and is gone at once', async () => {
    await Bob.goto('about:blank');
    await waitForTiles(Ann, (list) => others(list).length === 0, 'Bob is gone');
  });

  for (const [name, page] of Object.entries(people)) assert.deepEqual(page.faults, [], name);
});
