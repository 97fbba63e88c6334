// A browser and a native participant in one room.

import assert from 'node:assert/strict';
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import path from 'node:path';
import {createInterface} from 'node:readline';
import test from 'node:test';
import {buildFolder, launch, openPage} from './lib/browser.mjs';
import {enter, PATIENCE, say, step, waitForText, waitForTiles} from './lib/demo.mjs';
import {assertMoves, assertSounds} from './lib/media.mjs';
import {startPortico} from './lib/portico.mjs';

// Guest is the native participant. It says what it sees in JSON lines.
class Guest {
  #seen = [];
  #waiting = new Set();

  constructor(token, ...flags) {
    this.program = spawn(process.env.PORTICO_GUEST ?? path.join(buildFolder, 'guest'), ['-publish', '-subscribe', '-loopback', ...flags], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {...process.env, PORTICO_TOKEN: token},
    });
    this.exited = once(this.program, 'exit').then(([code, signal]) => code ?? signal);
    createInterface({input: this.program.stdout}).on('line', (line) => {
      this.#seen.push(JSON.parse(line));
      for (const check of this.#waiting) check();
    });
  }

  // until resolves with the first line, of those already said or to come, that accept takes.
  until(accept, what) {
    return new Promise((resolve, reject) => {
      const done = (end, value) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        end(value);
      };
      const check = () => {
        const line = this.#seen.find(accept);
        if (line) done(resolve, line);
      };
      const timer = setTimeout(() => done(reject, new Error(`${what}: never said; the last lines are ${JSON.stringify(this.#seen.slice(-15), null, 1)}`)), PATIENCE);
      this.#waiting.add(check);
      check();
    });
  }

  async leave() {
    this.program.kill('SIGTERM');
    return this.exited;
  }
}

test('a browser and a native participant', async (t) => {
  const portico = await startPortico();
  t.after(() => portico.stop());
  const browser = await launch();
  t.after(() => browser.close());
  const page = await openPage(browser, `${portico.address}/?room=mixed`);
  await page.waitForFunction(() => document.querySelector('#preview').videoWidth > 0);
  await enter(page, 'Ann');

  const guest = new Guest(await portico.token('mixed', 'Guest'));
  t.after(() => guest.program.kill('SIGKILL'));
  await guest.until(({event}) => event === 'joined', 'joined');

  await step('the browser sees and hears the clip', async () => {
    const seen = await waitForTiles(page, (list) => list.some(({name, video}) => name === 'Guest' && video === 'on'), 'the guest is there');
    const {stream} = seen.find(({name}) => name === 'Guest');
    const [red] = await assertMoves(page, stream, 'the clip');
    assert.ok(red > 60, `the clip is colourful and the browser's own picture green; red is ${red}`);
    await assertSounds(page, stream, 'the clip');
  });

  await step('the guest receives pictures and sound of the browser', async () => {
    const arrives = (kind, enough) => guest.until(({event, kind: of, counts}) => event === 'media' && of === kind && enough(counts), `${kind} of the browser`);
    const {counts} = await arrives('video', ({frames, keyFrames}) => frames >= 15 && keyFrames >= 1);
    t.diagnostic(`video at the guest: ${JSON.stringify(counts)}`);
    await arrives('audio', ({packets}) => packets >= 50);
  });

  await step('messages go through', async () => {
    await say(page, 'hello native');
    await guest.until(({event, message}) => event === 'message' && message === 'hello native', 'the message');
  });

  await step('the guest leaves', async () => {
    assert.equal(await guest.leave(), 0);
    await waitForTiles(page, (list) => !list.some(({name}) => name === 'Guest'), 'the guest is gone');
    await waitForText(page, '#count', /Only you/);
  });
  assert.deepEqual(page.faults, []);
});
