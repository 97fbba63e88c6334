// What goes through one PeerConnection: media of two streams in one subscription, and m-lines that end and come again.

import assert from 'node:assert/strict';
import test from 'node:test';
import {assertMoves, assertSounds} from '../browser/lib/media.mjs';
import {open, token} from './lib.mjs';

test('audio of one stream and video of another', async (t) => {
  const page = await open(t);
  const [session, streams, ids] = await page.evaluate(async (tokens) => {
    const [ann, bob, cleo] = await Promise.all(tokens.map((token) => Participant.join(token)));
    const [audio, video] = await camera(640, 360, true);
    const one = await ann.publish([{track: audio, source: 'mic'}]);
    const two = await bob.publish([{track: video, source: 'camera'}]);
    const both = await cleo.subscribe([{type: 'audio', from: one.id}, {type: 'video', from: two.id}]);
    return [both.id, both.streams, [...both.transport.answer.matchAll(/^a=msid:(\S+)/gm)].map(([, id]) => id)];
  }, [token(), token(), token()]);
  assert.equal(streams, 1);
  assert.equal(ids.length, 2);
  assert.equal(ids[0], ids[1]);
  await assertMoves(page, session, 'video of the second stream');
  await assertSounds(page, session, 'audio of the first stream');
});

test('the first m-line is stopped, and its place is used again', async (t) => {
  const page = await open(t);
  const sessions = await page.evaluate(async (tokens) => {
    const [ann, bob] = await Promise.all(tokens.map((token) => Participant.join(token)));
    const [audio, video] = await camera(640, 360, true);
    // Chromium begins a new association when the first m-line ends, and another when its place is used again.
    const first = await ann.publish([{track: audio, source: 'mic'}]);
    const {transport} = first;
    const second = await ann.publish([{track: video, source: 'camera'}], transport);
    const before = await bob.subscribe([{type: 'video', from: second.id}]);
    await ann.request('unpublish', {id: first.id});
    first.transceivers[0].stop();
    await ann.negotiate(transport);
    const stopped = transport.answer.match(/^m=\w+ \d+/gm);
    const bundle = transport.answer.match(/^a=group:BUNDLE.*$/m)[0];
    const third = await ann.publish([{track: audio, source: 'mic'}], transport);
    const lines = transport.answer.match(/^m=\w+ \d+/gm);
    const after = await bob.subscribe([{type: 'audio', from: third.id}, {type: 'video', from: second.id}]);
    await until('connected', async () => ({ok: transport.pc.connectionState === 'connected', state: transport.pc.connectionState}));
    return {before: before.id, after: after.id, stopped, bundle, lines};
  }, [token(), token()]);
  t.diagnostic(JSON.stringify(sessions));
  assert.deepEqual(sessions.stopped, ['m=audio 0', 'm=video 9']);
  assert.equal(sessions.bundle.trim(), 'a=group:BUNDLE 1');
  assert.deepEqual(sessions.lines, ['m=audio 9', 'm=video 9'], 'the place of the first m-line is used again');
  await assertMoves(page, sessions.before, 'video after the audio beside it was stopped');
  await assertMoves(page, sessions.after, 'video for a later subscription');
  await assertSounds(page, sessions.after, 'audio on the m-line that was used again');
});
