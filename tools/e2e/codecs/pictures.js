// Runs in the page, after peer.js: pictures that carry their number, and what becomes of them.

const BITS = 12; // of the number, in a row of blocks along the upper edge

// numbered makes a track of pictures that move, dark and reddish on the left, bright and bluish on the right, each with its number.
// drawn has the times at which they were handed out.
globalThis.numbered = (width, height, rate) => {
  const generator = new MediaStreamTrackGenerator({kind: 'video'});
  const writer = generator.writable.getWriter();
  const drawn = [];
  const data = new Uint8Array(width * height * 3 / 2); // Y, then U and V of half the size
  const [across, block] = [width / 2, width / BITS];
  for (let i = 0; i < width * height / 2; i++) {
    const [left, blue] = [i % across < across / 2, i < width * height / 4];
    data[width * height + i] = left === blue ? 90 : 170;
  }
  setInterval(() => {
    const n = drawn.length;
    for (let row = 0; row < height; row++) {
      // Nothing on the left is as bright as anything on the right: encoders look for motion by brightness, and colours would follow it.
      const wave = Math.abs((row + 3 * n) % 128 - 64);
      data.fill(40 + wave, row * width, row * width + across);
      data.fill(140 + wave, row * width + across, (row + 1) * width);
    }
    for (let row = 0; row < block; row++) {
      for (let bit = 0; bit < BITS; bit++) data.fill(n >> bit & 1 ? 235 : 16, row * width + bit * block, row * width + (bit + 1) * block);
    }
    const now = performance.now();
    drawn.push(now);
    writer.write(new VideoFrame(data, {format: 'I420', codedWidth: width, codedHeight: height, timestamp: Math.round(now * 1000)}));
  }, 1000 / rate);
  return {track: generator, drawn};
};

// watch keeps a list of the pictures that a video element shows: when, with which number, how large, and how much more red than blue
// there is on the left, and how much more blue than red on the right. count is the browser's own number, in which those count that it
// did not tell of.
globalThis.watch = (video) => {
  const shown = [];
  const [width, height] = [96, 54];
  const context = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
  const look = (_, {presentationTime, presentedFrames, width: across}) => {
    video.requestVideoFrameCallback(look);
    context.drawImage(video, 0, 0, width, height);
    const {data} = context.getImageData(0, 0, width, height);
    const at = (x, y) => data.subarray(4 * (Math.floor(y * height) * width + Math.floor(x * width)));
    let number = 0;
    for (let bit = 0; bit < BITS; bit++) number |= (at((bit + 0.5) / BITS, 0.06)[1] > 125) << bit;
    const [[leftRed,, leftBlue], [rightRed,, rightBlue]] = [at(1 / 4, 3 / 4), at(3 / 4, 3 / 4)];
    shown.push({at: presentationTime, number, width: across, count: presentedFrames, colours: [leftRed - leftBlue, rightBlue - rightRed]});
  };
  video.requestVideoFrameCallback(look);
  return shown;
};

// follow keeps lists of the times at which a transceiver was seen to have sent more pictures, for each of its streams (by rid), of how
// long the picture of another stood still each time that the browser calls it a freeze, or, when nothing came, a pause, and of the times
// at which the browser answered at all.
globalThis.follow = (sender, receiver) => {
  const followed = {sent: {}, freezes: [], answered: []};
  const counts = {};
  let frozen = 0;
  setInterval(async () => {
    const at = performance.now();
    for (const {rid = '', framesSent} of await sent(sender)) {
      if (framesSent !== counts[rid]) (followed.sent[rid] ??= []).push(at);
      counts[rid] = framesSent;
    }
    const {totalFreezesDuration = 0, totalPausesDuration = 0} = receiver() && await received(receiver()) || {};
    const total = totalFreezesDuration + totalPausesDuration;
    if (total > frozen) followed.freezes.push({at, length: 1000 * (total - frozen)});
    frozen = total;
    followed.answered.push(performance.now());
  }, POLLED);
  return followed;
};
globalThis.POLLED = 60; // ms

// longest is the longest time between two of those, in ms, where any of it is between the two moments.
globalThis.longest = (times, from, to) => {
  let gap = 0;
  for (let i = 1; i < times.length; i++) {
    if (times[i] >= from && times[i - 1] <= to) gap = Math.max(gap, times[i] - times[i - 1]);
  }
  return gap;
};
