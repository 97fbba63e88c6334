// Everybody in one picture and one sound, mixed by the relay: what a page sees and hears of it.

import assert from 'node:assert/strict';
import test, {after, before} from 'node:test';
import {launch, openPage, picture} from './lib/browser.mjs';
import {enter, PATIENCE, step} from './lib/demo.mjs';
import {coloursOf, paint, tonesOf} from './lib/painted.mjs';
import {startPortico} from './lib/portico.mjs';

let portico;
let browser;

before(async () => {
  [portico, browser] = await Promise.all([startPortico(), launch()]);
});
after(async () => {
  await browser?.close();
  await portico?.stop();
});

const PEOPLE = {
  Ann: {colour: 'rgb(200,40,40)', rgb: [200, 40, 40], tone: 440},
  Bob: {colour: 'rgb(40,180,60)', rgb: [40, 180, 60], tone: 880},
  Cid: {colour: 'rgb(50,70,210)', rgb: [50, 70, 210], tone: 1320},
};
const NEAR = 45; // by which a part of a colour may be off after two encoders

async function come(room, name) {
  const {colour, tone} = PEOPLE[name];
  const page = await openPage(browser, `${portico.address}/?room=${room}`, {prepare: paint(colour, tone)});
  await enter(page, name);
  return page;
}

// people waits until the mixed picture of a page shows just these people, each in their colour, in this order.
async function people(page, names, what) {
  const deadline = Date.now() + 2 * PATIENCE;
  for (;;) {
    const seen = Object.values(await coloursOf(page).catch(() => ({})));
    const near = (rgb, name) => PEOPLE[name].rgb.every((part, index) => Math.abs(part - rgb[index]) < NEAR);
    if (seen.length === names.length && seen.every((rgb, index) => near(rgb, names[index]))) return;
    assert.ok(Date.now() < deadline, `${what}: ${names} never showed; the colours are ${JSON.stringify(seen)}; faults: ${page.faults.join('; ')}`);
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 100)));
  }
}

test('three people, as they come, speak, change places and go', async () => {
  const pages = {Ann: await come('mixed', 'Ann'), Bob: await come('mixed', 'Bob')};
  const ann = pages.Ann;
  await step('the choice is there', () => ann.waitForSelector('#view:not([hidden])', {timeout: PATIENCE}));
  await ann.click('#view');
  await step('two of them', () => people(ann, ['Ann', 'Bob'], 'at first'));
  await step('a third comes', async () => {
    pages.Cid = await come('mixed', 'Cid');
    await people(ann, ['Ann', 'Bob', 'Cid'], 'three');
    await picture(ann, 'mixed');
  });
  await step('everyone hears the others and not themselves', async () => {
    const [own, bob, cid] = await tonesOf(ann, [440, 880, 1320]);
    assert.ok(bob > own + 25 && cid > own + 25, `Ann hears herself at ${own} dB, Bob at ${bob}, Cid at ${cid}`);
  });
  await step('who speaks is shown', async () => {
    await pages.Ann.evaluate(() => speak(false));
    await pages.Bob.evaluate(() => speak(false));
    const stream = await ann.$$eval('.mix .place', (list) => list[2].dataset.stream);
    await ann.waitForSelector(`.mix .place.speaking[data-stream="${stream}"]`, {timeout: PATIENCE});
    const [, bob, cid] = await tonesOf(ann, [440, 880, 1320]);
    assert.ok(cid > bob + 25, `Bob is silent: ${bob} dB, Cid speaks: ${cid} dB`);
  });
  await step('Ann changes places with Cid', async () => {
    await ann.click('.mix .place:nth-child(3) .nameplate');
    await ann.waitForFunction(() => document.querySelector('.mix .place .nameplate').textContent === 'Cid', null, {timeout: PATIENCE});
    await people(ann, ['Cid', 'Bob', 'Ann'], 'moved');
  });
  await step('Bob goes', async () => {
    await pages.Bob.close();
    await people(ann, ['Cid', 'Ann'], 'two are left');
  });
  await step('back to the gallery', async () => {
    await ann.click('#view');
    await ann.waitForFunction(() => [...document.querySelectorAll('.tile[data-own=no] video')].some((video) => video.videoWidth > 0), null, {timeout: PATIENCE});
    assert.equal(await ann.$('.mix'), null);
  });
  for (const [name, page] of Object.entries(pages)) {
    if (name !== 'Bob') assert.deepEqual(page.faults, [], name);
  }
});

// look has a page subscribe to a stream of a room, the mixed one or the first other, in a codec and a size, and gives what it then sees at
// two places of the picture: {size, codec, left, right}.
async function look(room, {mixed, codec, width, height}) {
  const page = await openPage(browser, `${portico.address}/?room=elsewhere`);
  const seen = await page.evaluate(async ([token, wanted, patience]) => {
    const sdk = await import('/sdk/portico.js');
    const client = new sdk.ConferenceClient();
    const {remoteStreams} = await client.join(token);
    const stream = remoteStreams.find((s) => wanted.mixed === s instanceof sdk.RemoteMixedStream);
    const offered = stream.extraCapabilities.video.resolutions.map((size) => `${size.width}x${size.height}`);
    const subscription = await client.subscribe(stream, {
      audio: true, video: {codecs: [{name: wanted.codec}], resolution: {width: wanted.width, height: wanted.height}},
    }).catch((error) => {
      throw new Error(`${error.message}; offered are ${offered}`);
    });
    const video = document.createElement('video');
    video.muted = true;
    video.srcObject = subscription.stream;
    video.play();
    const canvas = new OffscreenCanvas(1, 1);
    const context = canvas.getContext('2d', {willReadFrequently: true});
    const at = (x, y) => [...context.getImageData(canvas.width * x, canvas.height * y, 1, 1).data.slice(0, 3)];
    const deadline = performance.now() + patience;
    let result;
    do {
      await new Promise((resolve) => setTimeout(resolve, 100));
      if (!video.videoWidth) continue;
      [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
      context.drawImage(video, 0, 0);
      result = {size: [video.videoWidth, video.videoHeight], left: at(0.25, 0.25), right: at(0.75, 0.25)};
    } while (performance.now() < deadline && !(result && Math.max(...result.left) > 120 && Math.max(...result.right) > 120));
    const report = await subscription.getStats();
    const inbound = [...report.values()].find(({type, kind}) => type === 'inbound-rtp' && kind === 'video');
    await client.leave();
    return {...result, codec: report.get(inbound.codecId)?.mimeType};
  }, [await portico.token(room, 'viewer'), {mixed, codec, width, height}, 2 * PATIENCE]);
  assert.deepEqual(seen.size, [width, height], JSON.stringify(seen));
  assert.equal(seen.codec.toLowerCase(), `video/${codec}`);
  assert.deepEqual(page.faults, []);
  await page.close();
  return seen;
}

function assertColour(seen, name, side) {
  assert.ok(PEOPLE[name].rgb.every((part, index) => Math.abs(part - seen[side][index]) < NEAR), `${name}: ${JSON.stringify(seen)}`);
}

for (const codec of ['h264', 'vp9', 'vp8']) {
  test(`the mixed picture in ${codec}, smaller than it is`, async () => {
    const room = `mixed-${codec}`;
    const pages = [await come(room, 'Ann'), await come(room, 'Bob')];
    const seen = await look(room, {mixed: true, codec, width: 320, height: 240});
    assertColour(seen, 'Ann', 'left');
    assertColour(seen, 'Bob', 'right');
    for (const page of pages) {
      assert.deepEqual(page.faults, []);
      await page.close();
    }
  });
}

test('one person’s picture in another codec and size', async () => {
  const page = await come('transcoded', 'Cid');
  await page.waitForFunction(() => document.querySelector('.tile[data-own=yes][data-video=on]'));
  for (const [codec, width, height] of [['h264', 320, 180], ['vp9', 480, 270]]) {
    const seen = await look('transcoded', {mixed: false, codec, width, height});
    assertColour(seen, 'Cid', 'left');
    assertColour(seen, 'Cid', 'right');
  }
  assert.deepEqual(page.faults, []);
});
