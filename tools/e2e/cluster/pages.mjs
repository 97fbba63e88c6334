// Two pages on two edges of a cluster, in a browser that runs in a network of its own. The test that starts this kills the edge of the
// first page when it reads "ready", and says so by a line on the standard input.

import assert from 'node:assert/strict';
import {createInterface} from 'node:readline';
import {launch, openPage, picture} from '../browser/lib/browser.mjs';
import {enter, step, tiles, waitForTiles} from '../browser/lib/demo.mjs';
import {assertMoves, assertSounds} from '../browser/lib/media.mjs';

const edges = process.env.CLUSTER_EDGES.split(',');
const tokens = process.env.CLUSTER_TOKENS.split(',');
const lines = createInterface({input: process.stdin})[Symbol.asyncIterator]();
const others = (list) => list.filter(({own}) => !own);
const sends = (list) => others(list).length === 2 && others(list).every(({audio, video}) => audio === 'on' && video === 'on');

// A camera needs a page that is secure, or is said to be.
const browser = await launch({flags: [`--unsafely-treat-insecure-origin-as-secure=${edges.join(',')}`]});
try {
  const pages = [];
  for (const [index, name] of ['Ann', 'Bob'].entries()) {
    const page = await openPage(browser, `${edges[index]}/#token=${tokens[index]}`);
    await page.waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
    await enter(page, name);
    pages.push(page);
  }
  const [ann, bob] = pages;
  const all = async (what) => {
    for (const page of pages) {
      // The participant who is no page sends pictures that measure, and that nobody can look at.
      for (const {stream} of others(await waitForTiles(page, sends, what)).filter(({name}) => name !== 'carl')) {
        await assertMoves(page, stream, what);
        await assertSounds(page, stream, what);
      }
    }
  };
  await step('everyone sees everyone', () => all('at first'));
  const before = await Promise.all(pages.map(tiles));
  await bob.evaluate(() => {
    globalThis.noticed = [];
    new MutationObserver((changes) => {
      for (const {addedNodes, removedNodes} of changes) {
        for (const node of [...addedNodes, ...removedNodes]) if (node.classList?.contains('tile')) noticed.push(node.dataset.stream);
      }
    }).observe(document.body, {subtree: true, childList: true});
  });
  console.log('ready');
  const {value} = await lines.next();
  assert.equal(value, 'killed');
  const killed = Date.now();
  await step('Ann is on another edge', async () => {
    await ann.waitForFunction(() => document.querySelector('#connection').textContent === '' || document.querySelector('#connection').hidden);
    await all('after the edge was killed');
  });
  console.log(`back after ${Date.now() - killed} ms`);
  assert.deepEqual(await bob.evaluate(() => noticed), [], 'Bob noticed');
  const ids = (list) => list.map(({participant, stream}) => `${participant} ${stream}`).sort();
  for (const [index, page] of pages.entries()) assert.deepEqual(ids(await tiles(page)), ids(before[index]));
  await picture(ann, 'cluster');
  assert.deepEqual(bob.faults, []);
} finally {
  await browser.close();
}
process.exit(0);
