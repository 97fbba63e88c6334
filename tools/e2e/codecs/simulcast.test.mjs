// Layers of a simulcast, chosen by track id and, in version 1.1, by rid.

import assert from 'node:assert/strict';
import test from 'node:test';
import {assertMoves} from '../browser/lib/media.mjs';
import {open, token} from './lib.mjs';

const WIDTHS = {q: 240, h: 480, f: 960};

test('layers of a simulcast', async (t) => {
  const page = await open(t);
  const tracks = await page.evaluate(async ([tokens]) => {
    globalThis.ann = await Participant.join(tokens[0]);
    globalThis.bob = await Participant.join(tokens[1]);
    globalThis.old = await Participant.join(tokens[2], '1.1');
    const [track] = await camera(960, 540);
    globalThis.publication = await ann.publish([{track, source: 'camera', codec: 'video/VP8', encodings: [
      {rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 150_000}, {rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 400_000}, {rid: 'f', maxBitrate: 900_000},
    ]}]);
    const added = await bob.notified('stream', (name, {id, status}) => name === 'stream' && id === publication.id && status === 'add');
    return added.data.media.tracks;
  }, [[token(), token(), token()]]);
  assert.deepEqual(tracks.map(({rid}) => rid), ['q', 'h', 'f']);
  assert.deepEqual(tracks.map(({id}) => id.replace(/^.*-/, '')), ['0:q', '0:h', '0:f']);

  const sizes = (how) => page.evaluate(async ([how, want]) => {
    const subscription = await globalThis[how.who][how.method](...how.args);
    const counts = await until(`a picture of ${want}`, async () => {
      const counts = await received(subscription.transceivers[0]);
      return {ok: counts?.frameWidth === want && counts.framesDecoded > 10, layers: (await sent(publication.transceivers[0])).map(({rid, frameWidth, framesEncoded}) => [rid, frameWidth, framesEncoded]), ...counts};
    });
    return [subscription.id, counts];
  }, [how, how.want]);
  for (const {id, rid} of tracks) {
    const [session, counts] = await sizes({who: 'bob', method: 'subscribe', args: [[{type: 'video', from: id}]], want: WIDTHS[rid]});
    assert.equal(counts.frameHeight, WIDTHS[rid] * 9 / 16);
    await assertMoves(page, session, rid);
  }
  const stream = await page.evaluate(() => publication.id);
  const [session] = await sizes({who: 'old', method: 'subscribe11', args: [stream, 'h'], want: WIDTHS.h});
  await assertMoves(page, session, 'h in version 1.1');
  await sizes({who: 'bob', method: 'subscribe', args: [[{type: 'video', from: stream}]], want: WIDTHS.q});

  const known = await page.evaluate(async () => {
    const all = await bob.notified('sizes', (name, {id, data}) => name === 'stream' && id === publication.id && data?.field === '.' &&
      data.value.media.tracks.every(({parameters}) => parameters?.resolution));
    return all.data.value.media.tracks.map(({rid, parameters}) => [rid, parameters.resolution.width]);
  });
  assert.deepEqual(Object.fromEntries(known), WIDTHS);
});
