// Lost packets come again on RTX, from the publisher and to the subscriber.

import assert from 'node:assert/strict';
import test from 'node:test';
import {assertMoves} from '../browser/lib/media.mjs';
import {open, token} from './lib.mjs';

test('a line that loses packets', async (t) => {
  const page = await open(t);
  const session = await page.evaluate(async ([tokens, port]) => {
    // The answers name the lossy line in place of the edge.
    const [ann, bob] = await Promise.all(tokens.map((token) => Participant.join(token)));
    const [track] = await camera(640, 360);
    globalThis.publication = await ann.publish([{track, source: 'camera', codec: 'video/VP8'}], ann.transport({port}));
    globalThis.subscription = await bob.subscribe([{type: 'video', from: publication.id}], bob.transport({port}));
    return subscription.id;
  }, [[token(), token()], process.env.LOSSY_PORT]);
  await assertMoves(page, session, 'video over a lossy line');
  const counts = await page.evaluate(() => until('retransmissions both ways', async () => {
    const [up] = await sent(publication.transceivers[0]);
    const down = await received(subscription.transceivers[0]);
    const again = {sent: up.retransmittedPacketsSent, received: down.retransmittedPacketsReceived, rtx: down.rtxSsrc};
    return {ok: again.sent > 2 && again.received > 2 && down.framesDecoded > 90, frames: down.framesDecoded, keyFrames: down.keyFramesDecoded, ...again};
  }));
  t.diagnostic(JSON.stringify(counts));
  assert.ok(counts.rtx);
  // What is lost is repaired: it takes no key frame each time.
  assert.ok(counts.keyFrames <= 4, `${counts.keyFrames} key frames among ${counts.frames}`);
});
