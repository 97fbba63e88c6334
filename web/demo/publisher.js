// Keeps one publication in step with the microphone and the camera: published when there is something to send, muted and
// unmuted for the others to know, and with another track when the device changes.

// LAYERS are the sizes in which a large picture is sent, so that the server can choose for each receiver.
const LAYERS = [
  {rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 150_000},
  {rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 500_000},
  {rid: 'f', scaleResolutionDownBy: 1, maxBitrate: 1_700_000},
];
const LARGE = 640 * 360; // pixels; a picture that is no larger is sent once

// layersFor are the encodings for a camera with those settings, undefined for the browser's single one.
export function layersFor({width = 0, height = 0}, adapts) {
  return adapts && width * height > LARGE ? LAYERS : undefined;
}

export class Publisher {
  // adapts says that the server chooses layers for each receiver; without that nobody would get the large ones.
  adapts = false;
  #sdk;
  #client;
  #onProblem;
  #onPublished;
  #wanted = null;
  #current = null; // {publication, sending: {audio, video}}
  #running = null;
  #closed = false;

  // onProblem(error) is called when the others do not receive what they should, onPublished(publication) with each that the room has.
  constructor(sdk, client, onProblem, onPublished) {
    this.#sdk = sdk;
    this.#client = client;
    this.#onProblem = onProblem;
    this.#onPublished = onPublished;
  }

  // update takes the wanted state, {on, track} for each, and returns when the room has it; later calls replace earlier ones.
  update(mic, camera) {
    this.#wanted = {audio: mic, video: camera};
    this.#running ??= this.#settle().finally(() => {
      this.#running = null;
    });
    return this.#running;
  }

  close() {
    this.#closed = true;
  }

  // getStats is the browser's RTCStatsReport, null while nothing is published.
  async getStats() {
    return this.#current ? this.#current.publication.getStats() : null;
  }

  async #settle() {
    let done = null;
    while (!this.#closed && done !== this.#wanted) {
      done = this.#wanted;
      try {
        await this.#bring(done);
      } catch (error) {
        if (!this.#closed) this.#onProblem(error);
      }
    }
  }

  async #bring(wanted) {
    const kinds = ['audio', 'video'];
    if (kinds.some((kind) => wanted[kind].track && !this.#current?.sending[kind])) await this.#publish(wanted);
    if (!this.#current) return;
    const {publication, sending} = this.#current;
    for (const kind of kinds) {
      const sent = sending[kind];
      if (!sent) continue;
      const {on, track} = wanted[kind];
      if (sent.track !== track) {
        await publication.replaceTrack(kind, track);
        sent.track = track;
      }
      if (sent.on === on) continue;
      await (on ? publication.unmute(kind) : publication.mute(kind));
      sent.on = on;
    }
  }

  // #publish starts over with every track there is: a publication cannot grow another kind.
  async #publish(wanted) {
    const old = this.#current;
    this.#current = null;
    await old?.publication.stop();
    const {audio, video} = wanted;
    const media = new MediaStream([audio.track, video.track].filter(Boolean));
    const source = new this.#sdk.StreamSourceInfo(audio.track ? 'mic' : undefined, video.track ? 'camera' : undefined);
    const options = {video: video.track ? layersFor(video.track.getSettings(), this.adapts) : undefined};
    const publication = await this.#client.publish(new this.#sdk.LocalStream(media, source), options);
    const sending = {};
    for (const [kind, {track}] of Object.entries(wanted)) {
      if (track) sending[kind] = {track, on: true};
    }
    const current = {publication, sending};
    this.#current = current;
    this.#onPublished(publication);
    publication.addEventListener('error', ({error}) => {
      if (!this.#closed && this.#current === current) this.#onProblem(error);
    });
    // Ended by the server: the next change of a device publishes anew.
    publication.addEventListener('ended', () => {
      if (this.#current === current) this.#current = null;
    });
  }
}
