// A call in which both sides may use the relay only.

import assert from 'node:assert/strict';
import test from 'node:test';
import {launch, openPage} from './lib/browser.mjs';
import {enter, waitForTiles} from './lib/demo.mjs';
import {assertMoves, assertSounds, selectedPairs, watchPeers} from './lib/media.mjs';
import {startPortico} from './lib/portico.mjs';

test('a relayed call', async (t) => {
  const portico = await startPortico();
  t.after(() => portico.stop());
  const browser = await launch();
  t.after(() => browser.close());
  const people = {};
  for (const name of ['Ann', 'Bob']) {
    people[name] = await openPage(browser, `${portico.address}/?room=relayed&relay=1`, {prepare: watchPeers});
    await people[name].waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
    await enter(people[name], name);
  }
  for (const [name, page] of Object.entries(people)) {
    const seen = await waitForTiles(page, (list) => list.some(({own, video}) => !own && video === 'on'), `${name} has company`);
    const {stream} = seen.find(({own}) => !own);
    await assertMoves(page, stream, `${name} through the relay`);
    await assertSounds(page, stream, `${name} through the relay`);
    const pairs = await selectedPairs(page);
    t.diagnostic(`${name}: ${pairs}`);
    assert.ok(pairs.length > 0 && pairs.every((pair) => pair.startsWith('relay/')), `${name} goes ${pairs}`);
    assert.deepEqual(page.faults, []);
  }
});
