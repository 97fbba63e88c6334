// The layer that fits the size of what is displayed, among the encodings of a simulcast and among the layers inside one stream, and
// how smoothly it changes.

import assert from 'node:assert/strict';
import {readFile} from 'node:fs/promises';
import test from 'node:test';
import {assertMoves} from '../browser/lib/media.mjs';
import {open, token} from './lib.mjs';

// Chromium sends three layers from this size on only.
const SMALL = [240, 135], MIDDLE = [480, 270], LARGE = [960, 540];
const RATE = 15; // pictures a second
const STANDS = 500; // ms that the picture may stand still
const ARRIVES = 5000; // ms that another size may take

const simulcast = (each) => [
  {rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 100_000, ...each}, {rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 250_000, ...each},
  {rid: 'f', maxBitrate: 600_000, ...each},
];
const layered = (scalabilityMode) => ({encodings: [{scalabilityMode, maxBitrate: 900_000}], scalabilityMode});

for (const [codec, how] of [
  ['VP8', {encodings: simulcast()}], ['H264', {encodings: simulcast()}], ['VP9', {encodings: simulcast({scalabilityMode: 'L1T2'})}],
  ['VP9', layered('L3T3_KEY')], ['VP9', layered('L3T3')], ['AV1', layered('L3T3_KEY')], ['AV1', layered('L3T3')],
]) {
  test(`${codec} ${how.scalabilityMode ?? 'simulcast'}`, async (t) => {
    const page = await open(t);
    await page.evaluate(await readFile(new URL('pictures.js', import.meta.url), 'utf8'));
    await page.evaluate(begin, [[token(), token()], {codec: `video/${codec}`, ...how}, LARGE, RATE]);
    // The last time by way of others, each for a moment only.
    let before = [LARGE];
    for (const sizes of [[SMALL], [LARGE], [MIDDLE], [LARGE], [MIDDLE, SMALL, LARGE, SMALL, MIDDLE]]) {
      let seen = await page.evaluate(display, sizes);
      // A machine that stood still for so long shows nothing of the change: once more, and then it counts.
      for (let tries = 0; seen.stalled > STANDS && tries < 3; tries++) {
        t.diagnostic(`once more after ${JSON.stringify(seen)}`);
        await page.evaluate(display, before);
        seen = await page.evaluate(display, sizes);
      }
      before = [sizes.at(-1)];
      t.diagnostic(JSON.stringify(seen));
      assertSmooth(seen, `${codec} to ${sizes.map(([width]) => width).join(', ')}`);
    }
  });
}

// assertSmooth judges a change of size. What stood still because the publisher sent nothing, or the browser did nothing at all, on a
// machine that is busy with other things, is not held against the change.
function assertSmooth(seen, what) {
  const told = `${what}: ${JSON.stringify(seen)}`;
  assert.ok(seen.stood - seen.stalled <= STANDS, `the picture stands still for too long, ${told}`);
  assert.ok(seen.froze - seen.stalled <= STANDS, `the browser saw a freeze that is too long, ${told}`);
  assert.ok(seen.arrived - seen.stalled <= ARRIVES, `the size comes late, ${told}`);
  assert.deepEqual(seen.backwards, [], `pictures from before come again, ${told}`);
  assert.deepEqual(seen.discoloured, [], `pictures are not as they were sent, ${told}`);
  assert.ok(seen.behind - seen.stalled <= STANDS, `the pictures stay behind, ${told}`);
  assert.ok(seen.lost > 0 || seen.keyFrameRequests === 0, `the decoder had to ask for key frames, ${told}`);
}

// begin publishes, and subscribes to the stream, which means its largest picture.
async function begin([tokens, how, [width, height], rate]) {
  const [ann, bob] = await Promise.all(tokens.map((token) => Participant.join(token)));
  globalThis.bob = bob;
  globalThis.pictures = numbered(width, height, rate);
  // All layers are sent from the beginning: how the publisher finds out what its line carries is not what this is about.
  globalThis.publication = await ann.publish([{track: pictures.track, source: 'camera', ...how}], ann.transport({start: 2000}));
  globalThis.subscription = undefined;
  globalThis.asked = width;
  globalThis.followed = follow(publication.transceivers[0], () => subscription?.transceivers[0]);
  globalThis.subscription = await bob.subscribe([{type: 'video', from: publication.id}]);
  globalThis.shown = watch(document.querySelector(`.tile[data-stream="${subscription.id}"] video`));
  // The first are not to be judged, and counts may be missing.
  await until('five of the largest pictures', async () => ({
    ok: shown.length > 5 && shown.slice(-5).every((s) => s.width === width), shown: shown.at(-1), sent: await sent(publication.transceivers[0]),
  }));
}

// display shows the picture in other sizes, one soon after the other, and tells how that went: until the last has come, and for a
// while after.
async function display(sizes) {
  const [width] = sizes.at(-1);
  const counts = () => received(subscription.transceivers[0]);
  // The line may have seemed too narrow for a moment, on a busy machine.
  await until('the size before', async () => ({ok: shown.at(-1).width === asked, shown: shown.at(-1)}));
  globalThis.asked = width;
  const before = await counts();
  const from = performance.now();
  const first = shown.length - 1;
  for (const [i, [width, height]] of sizes.entries()) {
    if (i > 0) await new Promise((resolve) => setTimeout(resolve, 120));
    await bob.request('subscription-control', {id: subscription.id, operation: 'update', data: {video: {parameters: {resolution: {width, height}}}}});
  }
  await until(`a picture ${width} across`, async () => ({
    ok: shown.at(-1).width === width, shown: shown.at(-1), inbound: await counts(), sent: await sent(publication.transceivers[0]),
    why: performance.now() > from + 3000 && await bob.request('subscription-quality', {id: subscription.id}),
  }));
  const arrived = shown.findLastIndex((s, i) => i > first && s.width === width && shown[i - 1].width !== width);
  await until('it goes on', async () => ({ok: shown.length > arrived + 12}));
  const polls = followed.answered.length;
  await until('the last freeze is known', async () => ({ok: followed.answered.length > polls + 1}));
  const after = await counts();
  const seen = shown.slice(first);
  const to = seen.at(-1).at;
  const since = (name) => after[name] - before[name];
  // Of what was presented without telling us we know the number only.
  const gaps = seen.slice(1).map(({at, count}, i) => (at - seen[i].at) / Math.max(1, count - seen[i].count));
  // Encodings of a simulcast are by name q, h and f: those that were shown count.
  const rid = (across) => followed.sent[''] ? '' : {240: 'q', 480: 'h', 960: 'f'}[across];
  const streams = new Set(seen.map(({width}) => rid(width)));
  const stalls = [
    longest(pictures.drawn, from - 500, to), longest(followed.answered, from - 500, to) - POLLED,
    ...[...streams].map((name) => longest(followed.sent[name], from - 500, to) - POLLED),
  ];
  const late = ({at, number}) => at - pictures.drawn[number];
  const rounded = (values) => Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Math.round(value)]));
  const discoloured = seen.filter(({colours}) => Math.min(...colours) < 40);
  const backwards = seen.filter(({number}, i) => i > 0 && number < seen[i - 1].number);
  const why = shown[arrived].at - from > 3000 ? await bob.request('subscription-quality', {id: subscription.id}) : undefined;
  return {discoloured, backwards, why, ...rounded({
    width, arrived: shown[arrived].at - from, stood: Math.max(...gaps), stalled: Math.max(0, Math.max(...stalls) - 100),
    froze: Math.max(0, ...followed.freezes.filter(({at}) => at >= from).map(({length}) => length)),
    behind: Math.min(...seen.slice(-10).map(late)), worst: Math.max(...seen.map(late)), decoded: since('framesDecoded'), dropped: since('framesDropped'),
    keyFrames: since('keyFramesDecoded'), keyFrameRequests: since('pliCount'), lost: since('packetsLost'), nacks: since('nackCount'),
  })};
}

test('AV1 for who cannot put its layers together', async (t) => {
  const page = await open(t);
  const session = await page.evaluate(async ([tokens, how]) => {
    const [ann, bob] = await Promise.all(tokens.map((token) => Participant.join(token)));
    const [track] = await camera(960, 540);
    const publication = await ann.publish([{track, source: 'camera', ...how}]);
    globalThis.subscriptions = await Promise.all([`${publication.id}-0`, publication.id].map((from) => bob.subscribe([{type: 'video', from}], bob.transport(), false)));
    return subscriptions.map(({id}) => id);
  }, [[token(), token()], {codec: 'video/AV1', ...layered('L3T3_KEY')}]);
  for (const id of session) await assertMoves(page, id, 'the lowest layer');
  const widths = await page.evaluate(() => Promise.all(subscriptions.map(async ({transceivers}) => (await received(transceivers[0])).frameWidth)));
  assert.deepEqual(widths, [SMALL[0], SMALL[0]]);
});
