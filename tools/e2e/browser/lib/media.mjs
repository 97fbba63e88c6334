// Proof that media flows, taken where a person would see and hear it: from the pixels of the video elements and the samples of
// the tracks, not from what the browser counts.

import assert from 'node:assert/strict';
import {PATIENCE} from './demo.mjs';

// watchPeers keeps every RTCPeerConnection of the page in globalThis.peers, and the moment of the first remote picture after
// the click on Join in globalThis.firstPicture (ms). Call it before the page is loaded.
export async function watchPeers(context) {
  await context.addInitScript(() => {
    globalThis.peers = [];
    globalThis.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(...args) {
        super(...args);
        globalThis.peers.push(this);
      }
    };
    globalThis.firstPicture = new Promise((resolve) => {
      let clicked = 0;
      addEventListener('click', (event) => {
        if (event.target.closest('#join')) clicked = performance.now();
      }, {capture: true});
      const watched = new WeakSet();
      new MutationObserver(() => {
        for (const video of document.querySelectorAll('.tile[data-own=no][data-kind=camera] video')) {
          if (watched.has(video)) continue;
          watched.add(video);
          video.requestVideoFrameCallback(() => resolve(performance.now() - clicked));
        }
      }).observe(document, {subtree: true, childList: true});
    });
  });
}

// assertMoves draws frames of a stream's video to a canvas until two of them differ clearly and are not of one colour. It returns
// the mean of red, green and blue of the last one, each from 0 to 255.
export async function assertMoves(page, stream, what) {
  const seen = await page.evaluate(async ([id, patience]) => {
    const [width, height] = [80, 60];
    const video = document.querySelector(`.tile[data-stream="${id}"] video`);
    const context = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
    const result = {frames: 0, difference: 0, spread: 0, mean: []};
    const deadline = performance.now() + patience;
    const next = () => new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), deadline - performance.now());
      video.requestVideoFrameCallback(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
    let first = null;
    while (performance.now() < deadline && await next()) {
      result.frames++;
      context.drawImage(video, 0, 0, width, height);
      const pixels = context.getImageData(0, 0, width, height).data;
      const values = pixels.filter((_, index) => index % 4 !== 3);
      result.spread = Math.max(...values) - Math.min(...values);
      first ??= values;
      result.difference = values.reduce((sum, value, index) => sum + Math.abs(value - first[index]), 0) / values.length;
      result.mean = [0, 1, 2].map((colour) => values.filter((_, index) => index % 3 === colour).reduce((sum, value) => sum + value, 0) * 3 / values.length);
      if (result.spread > 40 && result.difference > 1.5) break;
    }
    return result;
  }, [stream, PATIENCE]);
  assert.ok(seen.frames >= 2 && seen.spread > 40 && seen.difference > 1.5, `${what}: no moving picture: ${JSON.stringify(seen)}`);
  return seen.mean;
}

// assertStands compares two streams: the pictures of one have stopped while the other's go on.
export async function assertStands(page, still, moving, what) {
  const counts = await page.evaluate(async (ids) => {
    const counts = [0, 0];
    await new Promise((resolve) => {
      for (const [index, id] of ids.entries()) {
        const video = document.querySelector(`.tile[data-stream="${id}"] video`);
        const count = () => {
          counts[index]++;
          if (counts[1] === 15) resolve();
          else video.requestVideoFrameCallback(count);
        };
        video.requestVideoFrameCallback(count);
      }
    });
    return counts;
  }, [still, moving]);
  // What was under way when the picture was paused still arrives.
  assert.ok(counts[0] <= 3, `${what}: ${counts[0]} pictures while the other stream had ${counts[1]}`);
}

// assertSounds listens to a stream's audio track, once it is there, until it is clearly not silent.
export async function assertSounds(page, stream, what) {
  await page.waitForFunction((id) => {
    const video = document.querySelector(`.tile[data-stream="${id}"] video`);
    return video?.srcObject?.getAudioTracks().length > 0;
  }, stream, {timeout: PATIENCE});
  const peak = await page.evaluate(async ([id, patience]) => {
    const [track] = document.querySelector(`.tile[data-stream="${id}"] video`).srcObject.getAudioTracks();
    const context = new AudioContext();
    const analyser = new AnalyserNode(context, {fftSize: 2048});
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let peak = 0;
    for (const deadline = performance.now() + patience; performance.now() < deadline && peak < 0.02;) {
      await new Promise(requestAnimationFrame);
      analyser.getFloatTimeDomainData(samples);
      peak = Math.max(peak, ...samples.map(Math.abs));
    }
    await context.close();
    return peak;
  }, [stream, PATIENCE]);
  assert.ok(peak >= 0.02, `${what}: nothing to hear, peak ${peak}`);
}

// selectedPairs gives the kinds of the candidate pairs in use, as "local/remote" of each connected PeerConnection.
export function selectedPairs(page) {
  return page.evaluate(async () => {
    const pairs = [];
    for (const peer of peers) {
      if (peer.connectionState !== 'connected') continue;
      const stats = await peer.getStats();
      const {selectedCandidatePairId} = [...stats.values()].find(({type}) => type === 'transport');
      const {localCandidateId, remoteCandidateId} = stats.get(selectedCandidatePairId);
      pairs.push(`${stats.get(localCandidateId).candidateType}/${stats.get(remoteCandidateId).candidateType}`);
    }
    return pairs;
  });
}
