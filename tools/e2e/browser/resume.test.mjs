// A network that comes and goes: the call goes on, and nobody else notices.

import assert from 'node:assert/strict';
import test, {after, before} from 'node:test';
import {launch, openPage, picture} from './lib/browser.mjs';
import {enter, say, step, tiles, waitForText, waitForTiles} from './lib/demo.mjs';
import {assertMoves, assertSounds, watchPeers} from './lib/media.mjs';
import {startPortico, startPorticoToRestart} from './lib/portico.mjs';

let portico;
let browser;

before(async () => {
  [portico, browser] = await Promise.all([startPortico(), launch()]);
});
after(async () => {
  await browser?.close();
  await portico?.stop();
});

// watchSockets keeps every WebSocket of the page in globalThis.sockets. While globalThis.outage is set, new ones fail as they do
// without a network; cut() sets it and breaks those that are open.
async function watchSockets(context) {
  await watchPeers(context);
  await context.addInitScript(() => {
    globalThis.sockets = [];
    globalThis.outage = false;
    const Real = WebSocket;
    globalThis.WebSocket = class extends Real {
      constructor(url, protocols) {
        super(globalThis.outage ? 'ws://127.0.0.1:1/' : url, protocols);
        globalThis.sockets.push(this);
      }
    };
    globalThis.cut = () => {
      globalThis.outage = true;
      for (const socket of globalThis.sockets) socket.close();
    };
  });
}

// watchChanges notes what the others would notice: notices of people coming and going, and tiles that are replaced. A notice of before may go.
async function watchChanges(page) {
  await page.evaluate(() => {
    globalThis.noticed = [];
    new MutationObserver((records) => {
      for (const {addedNodes, removedNodes} of records) {
        for (const node of addedNodes) if (node.matches?.('.notice, .tile')) noticed.push(node.textContent);
        for (const node of removedNodes) if (node.matches?.('.tile')) noticed.push(node.textContent);
      }
    }).observe(document.body, {subtree: true, childList: true});
  });
}

const texts = (page) => page.$$eval('.message', (list) => list.map((message) => message.textContent.replace(/\s+/g, ' ').trim()));
const sends = (list) => list.some(({own, audio, video}) => !own && audio === 'on' && video === 'on');
const OFFLINE = /ERR_CONNECTION_REFUSED|ERR_INTERNET_DISCONNECTED|WebSocket connection to .* failed/;

async function pair(room, at = portico.address) {
  const pages = [];
  for (const name of ['Ann', 'Bob']) {
    const page = await openPage(browser, `${at}/?room=${room}`, {prepare: watchSockets});
    await page.waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
    await enter(page, name);
    pages.push(page);
  }
  const found = [];
  for (const page of pages) found.push((await waitForTiles(page, sends, 'the other is there')).find(({own}) => !own));
  return {ann: pages[0], bob: pages[1], bobAtAnn: found[0], annAtBob: found[1]};
}

// sameAsBefore checks that the others saw nothing, and that sound and picture still go both ways.
async function sameAsBefore({ann, bob, bobAtAnn, annAtBob}) {
  const [now] = (await tiles(ann)).filter(({own}) => !own);
  assert.equal(now.participant, bobAtAnn.participant, 'Bob has another id');
  assert.equal(now.stream, bobAtAnn.stream, 'Bob has another stream');
  assert.deepEqual(await ann.evaluate(() => noticed), [], 'Ann noticed');
  await assertMoves(ann, bobAtAnn.stream, 'Ann looks at Bob');
  await assertSounds(ann, bobAtAnn.stream, 'Ann listens to Bob');
  await assertMoves(bob, annAtBob.stream, 'Bob looks at Ann');
  await assertSounds(bob, annAtBob.stream, 'Bob listens to Ann');
  for (const page of [ann, bob]) assert.deepEqual(page.faults.filter((fault) => !OFFLINE.test(fault)), []);
}

test('the signalling socket is lost for a while', async () => {
  const call = await pair('socket');
  const {ann, bob, annAtBob} = call;
  await say(ann, 'before');
  await waitForText(bob, '#chat-toggle .badge', /^1$/);
  await say(bob, 'open the chat');
  await waitForText(ann, '#messages', /open the chat/);
  await watchChanges(ann);

  await step('sound and picture go on without it', async () => {
    await bob.evaluate(() => cut());
    await waitForText(bob, '#connection', /Coming back/);
    await picture(bob, 'reconnecting');
    await assertMoves(bob, annAtBob.stream, 'Bob looks at Ann during the outage');
  });
  await step('what is written meanwhile arrives once and in order', async () => {
    for (const text of ['one', 'two']) {
      await say(ann, text);
      await waitForText(ann, '#messages', new RegExp(text));
    }
    await say(bob, 'three');
    await say(bob, 'four');
    await bob.evaluate(() => {
      globalThis.outage = false;
    });
    await bob.waitForFunction(() => document.querySelector('#connection').textContent === '');
    for (const page of [ann, bob]) {
      await waitForText(page, '#messages', /four/);
      const said = (await texts(page)).map((text) => ['before', 'open the chat', 'one', 'two', 'three', 'four'].find((word) => text.includes(word)));
      assert.deepEqual(said, ['before', 'open the chat', 'one', 'two', 'three', 'four']);
    }
  });
  await step('the others saw nothing', () => sameAsBefore(call));
});

test('the network of the browser goes and comes', async () => {
  const call = await pair('network');
  const {ann, bob} = call;
  await say(ann, 'hello');
  await waitForText(ann, '#messages', /hello/);
  await watchChanges(ann);
  await bob.context().setOffline(true);
  await bob.waitForFunction(() => !navigator.onLine);
  await say(ann, 'are you there');
  await bob.context().setOffline(false);
  await bob.waitForFunction(() => navigator.onLine && document.querySelector('#connection').textContent === '');
  await say(bob, 'I am');
  await waitForText(bob, '#messages', /are you there.*I am/);
  await waitForText(ann, '#messages', /are you there.*I am/);
  for (const page of [ann, bob]) assert.equal((await texts(page)).length, 3);
  await sameAsBefore(call);
});

test('the server is restarted', async (t) => {
  const own = await startPorticoToRestart();
  t.after(() => own.stop());
  const {ann, bob, bobAtAnn, annAtBob} = await pair('restarted', own.address);
  await own.kill();
  for (const page of [ann, bob]) await waitForText(page, '#connection', /Coming back/);
  await own.restart();
  const fresh = (before) => (list) => sends(list) && list.every(({own, participant}) => own || participant !== before.participant);
  const [bobNow, annNow] = [
    (await waitForTiles(ann, fresh(bobAtAnn), 'Ann has the new Bob')).find(({own}) => !own),
    (await waitForTiles(bob, fresh(annAtBob), 'Bob has the new Ann')).find(({own}) => !own),
  ];
  for (const page of [ann, bob]) {
    await page.waitForFunction(() => document.querySelector('#connection').textContent === '');
    assert.equal((await tiles(page)).length, 2, 'nobody is there twice');
  }
  await assertMoves(ann, bobNow.stream, 'Ann looks at Bob');
  await assertSounds(ann, bobNow.stream, 'Ann listens to Bob');
  await assertMoves(bob, annNow.stream, 'Bob looks at Ann');
  await assertSounds(bob, annNow.stream, 'Bob listens to Ann');
  await say(bob, 'here again');
  await waitForText(ann, '#chat-toggle .badge', /^1$/);
  // Muting works on the restored publication.
  await bob.click('#mic');
  await waitForTiles(ann, (list) => list.some(({own, audio}) => !own && audio === 'off'), 'Bob is muted');
});
