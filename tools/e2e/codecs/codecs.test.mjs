// Each codec from one participant to another.

import assert from 'node:assert/strict';
import test from 'node:test';
import {assertMoves} from '../browser/lib/media.mjs';
import {open, token} from './lib.mjs';

for (const [codec, options] of [
  ['video/VP8', {}], ['video/H264', {}], ['video/VP9', {}], ['video/AV1', {}],
  ['video/VP9', {scalabilityMode: 'L3T3_KEY'}], ['video/AV1', {scalabilityMode: 'L1T3'}],
]) {
  test(`${codec} ${options.scalabilityMode ?? ''}`, async (t) => {
    const page = await open(t);
    const session = await page.evaluate(async ([tokens, codec, {scalabilityMode}]) => {
      globalThis.ann = await Participant.join(tokens[0]);
      globalThis.bob = await Participant.join(tokens[1]);
      const [track] = await camera(640, 360);
      const encodings = scalabilityMode && [{scalabilityMode}];
      globalThis.publication = await ann.publish([{track, source: 'camera', codec, encodings, scalabilityMode}]);
      // Bob comes in the middle of the stream: the edge has to begin at a key frame for him.
      await until('frames are encoded', async () => ({ok: (await sent(publication.transceivers[0]))[0]?.framesEncoded > 20}));
      globalThis.subscription = await bob.subscribe([{type: 'video', from: publication.id}]);
      return subscription.id;
    }, [[token(), token()], codec, options]);
    await assertMoves(page, session, codec);
    const [counts, out, update] = await page.evaluate(async () => {
      const enough = await until('frames', async () => {
        const counts = await received(subscription.transceivers[0]);
        return {ok: counts.framesDecoded > 30 && counts.frameWidth === 640, ...counts};
      });
      const changed = await bob.notified('resolution', (name, {id, data}) => name === 'stream' && id === publication.id && data?.field === '.' &&
        data.value.media.tracks[0].parameters?.resolution?.width === 640);
      return [enough, (await sent(publication.transceivers[0]))[0], changed.data.value.media.tracks];
    });
    t.diagnostic(JSON.stringify(counts));
    assert.equal(counts.codec, codec);
    assert.equal(counts.frameHeight, 360);
    assert.ok(counts.rtxSsrc && out.rtxSsrc, 'RTX is negotiated both ways');
    assert.equal(update.length, 1);
    assert.deepEqual(update[0].parameters.resolution, {width: 640, height: 360});
    assert.equal(`video/${update[0].format.codec}`, codec.toLowerCase());
  });
}
