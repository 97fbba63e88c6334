// How loud each stream is, to show who speaks.

const PERIOD = 100; // ms between two looks
const SPEAKING = 0.02; // root mean square of full scale, from which on it counts as speech
const HOLD = 600; // ms that somebody still counts as speaking after the last sound

export class Levels {
  #context = null;
  #watched = new Map();
  #timer = 0;

  // watch calls listener(level, speaking) about ten times a second; level runs from 0 to 1. A key watched before is replaced.
  watch(key, track, listener) {
    this.unwatch(key);
    this.#context ??= new AudioContext();
    const source = this.#context.createMediaStreamSource(new MediaStream([track]));
    const analyser = this.#context.createAnalyser();
    analyser.fftSize = 1024;
    source.connect(analyser);
    this.#watched.set(key, {source, analyser, listener, samples: new Float32Array(analyser.fftSize), heard: -HOLD});
    this.#timer ||= setInterval(() => this.#look(), PERIOD);
  }

  unwatch(key) {
    const watched = this.#watched.get(key);
    if (!watched) return;
    watched.source.disconnect();
    this.#watched.delete(key);
    if (this.#watched.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = 0;
  }

  // resume starts the meter where the browser waited for a click.
  resume() {
    this.#context?.resume();
  }

  #look() {
    const now = performance.now();
    for (const watched of this.#watched.values()) {
      watched.analyser.getFloatTimeDomainData(watched.samples);
      let sum = 0;
      for (const sample of watched.samples) sum += sample * sample;
      const level = Math.sqrt(sum / watched.samples.length);
      if (level > SPEAKING) watched.heard = now;
      watched.listener(Math.min(1, level * 6), now - watched.heard < HOLD);
    }
  }
}
