// Redundant audio (RFC 2198): Ann sends it, Bob takes it as it is, and Cid, who does not know it, hears her too.

import assert from 'node:assert/strict';
import test from 'node:test';
import {launch, openPage} from './lib/browser.mjs';
import {enter, waitForTiles} from './lib/demo.mjs';
import {assertSounds, watchPeers} from './lib/media.mjs';
import {startPortico} from './lib/portico.mjs';

test('redundant audio', async (t) => {
  const portico = await startPortico();
  t.after(() => portico.stop());
  const browser = await launch();
  t.after(() => browser.close());
  const people = {};
  for (const [name, order] of [['Ann', 'first'], ['Bob', 'last'], ['Cid', 'never']]) {
    people[name] = await openPage(browser, `${portico.address}/?room=red`, {prepare: (context) => preferring(context, order)});
    await people[name].waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
    await enter(people[name], name);
  }
  for (const [name, again] of Object.entries({Ann: false, Bob: true, Cid: false})) { // Ann's is the only one of that kind
    const seen = await waitForTiles(people[name], (list) => list.filter(({own, video}) => !own && video === 'on').length === 2, `${name} has company`);
    for (const {stream} of seen.filter(({own}) => !own)) await assertSounds(people[name], stream, `${name} hears ${stream}`);
    const sizes = await packetSizes(people[name]);
    t.diagnostic(`${name}: ${sizes.map(Math.round)} bytes`);
    assert.equal(Math.max(...sizes) > 1.5 * Math.min(...sizes), again, `${name} receives packets of ${sizes} bytes`);
    assert.deepEqual(people[name].faults, []);
  }
});

// preferring makes a context's connections offer redundant audio first, last or never.
async function preferring(context, order) {
  await context.addInitScript((order) => {
    const make = RTCPeerConnection.prototype.addTransceiver;
    RTCPeerConnection.prototype.addTransceiver = function addTransceiver(track, ...rest) {
      const transceiver = make.call(this, track, ...rest);
      if ((track.kind ?? track) !== 'audio') return transceiver;
      const all = RTCRtpReceiver.getCapabilities('audio').codecs;
      const [red, others] = [true, false].map((wanted) => all.filter(({mimeType}) => (mimeType === 'audio/red') === wanted));
      transceiver.setCodecPreferences({first: [...red, ...others], last: [...others, ...red], never: others}[order]);
      return transceiver;
    };
  }, order);
  await watchPeers(context);
}

// packetSizes gives the mean size of the packets in which each of two sounds comes, when enough of them came.
function packetSizes(page) {
  return page.evaluate(async () => {
    for (const end = performance.now() + 60_000; performance.now() < end;) {
      const sounds = [];
      for (const peer of peers) {
        for (const s of (await peer.getStats()).values()) {
          if (s.type === 'inbound-rtp' && s.kind === 'audio') sounds.push(s);
        }
      }
      if (sounds.length === 2 && sounds.every((s) => s.packetsReceived > 400)) return sounds.map((s) => s.bytesReceived / s.packetsReceived);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    throw new Error('not enough sound came');
  });
}
