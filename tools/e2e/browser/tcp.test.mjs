// A call of browsers that no UDP reaches: their media come through the port of HTTP.

import assert from 'node:assert/strict';
import test from 'node:test';
import {launchProfile, openPage} from './lib/browser.mjs';
import {enter, waitForTiles} from './lib/demo.mjs';
import {assertMoves, assertSounds, watchPeers} from './lib/media.mjs';
import {startPortico} from './lib/portico.mjs';

test('a call by TCP only', async (t) => {
  const portico = await startPortico();
  t.after(() => portico.stop());
  const people = {};
  for (const name of ['Ann', 'Bob']) {
    const browser = await launchProfile({flags: ['--webrtc-ip-handling-policy=disable_non_proxied_udp']});
    t.after(() => browser.close());
    people[name] = await openPage(browser, `${portico.address}/?room=tcp`, {prepare: withoutRelays});
    await people[name].waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
    await enter(people[name], name);
  }
  for (const [name, page] of Object.entries(people)) {
    const seen = await waitForTiles(page, (list) => list.some(({own, video}) => !own && video === 'on'), `${name} has company`);
    const {stream} = seen.find(({own}) => !own);
    await assertMoves(page, stream, `${name} by TCP`);
    await assertSounds(page, stream, `${name} by TCP`);
    const ends = await remoteEnds(page);
    t.diagnostic(`${name}: ${ends}`);
    const port = new URL(portico.address).port;
    assert.ok(ends.length > 0 && ends.every((end) => end === `tcp host ${port}`), `${name} goes to ${ends}`);
    assert.deepEqual(page.faults, []);
  }
});

// withoutRelays leaves a context's connections no relay: Chromium takes the first way that works, and looks for TCP last.
async function withoutRelays(context) {
  await context.addInitScript(() => {
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(configuration) {
        super({...configuration, iceServers: []});
      }
    };
  });
  await watchPeers(context);
}

// remoteEnds gives the servers' ends of the connections in use.
function remoteEnds(page) {
  return page.evaluate(async () => {
    const ends = [];
    for (const peer of peers) {
      if (peer.connectionState !== 'connected') continue;
      const stats = await peer.getStats();
      const {selectedCandidatePairId} = [...stats.values()].find(({type}) => type === 'transport');
      const {protocol, candidateType, port} = stats.get(stats.get(selectedCandidatePairId).remoteCandidateId);
      ends.push(`${protocol} ${candidateType} ${port}`);
    }
    return ends;
  });
}
