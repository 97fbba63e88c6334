// The camera and the microphone of this device: opened together with one question, then each by itself.
// A microphone that is off stays open and silent, so that it is back at once; a camera that is off is let go, so that its light goes out.

import {deviceProblem} from './words.js';

const SIZES = {
  low: {width: 320, height: 180, frameRate: 15},
  medium: {width: 640, height: 360, frameRate: 30},
  high: {width: 1280, height: 720, frameRate: 30},
};

// What the browser calls each kind: in constraints, in its list of devices and when asked for permissions.
const KINDS = {
  mic: {constraint: 'audio', device: 'audioinput', permission: 'microphone'},
  camera: {constraint: 'video', device: 'videoinput', permission: 'camera'},
};

export class Devices {
  #store;
  #prefs;
  #media;
  #queue = {mic: Promise.resolve(), camera: Promise.resolve()};

  constructor(store, prefs) {
    this.#store = store;
    this.#prefs = prefs;
    this.#media = navigator.mediaDevices;
    this.#media?.addEventListener('devicechange', () => this.#list());
  }

  // open asks for both at once. What fails is told in the state; it never throws.
  async open() {
    if (!this.#media?.getUserMedia) {
      for (const kind of Object.keys(KINDS)) this.#put(kind, {problem: this.#words(kind, {name: 'InsecureError'})});
      return;
    }
    this.#store.set({opening: true});
    try {
      const stream = await this.#media.getUserMedia({audio: this.#constraints('mic'), video: this.#constraints('camera')});
      this.#take('mic', stream.getAudioTracks()[0]);
      this.#take('camera', stream.getVideoTracks()[0]);
    } catch (error) {
      await this.#openApart(error);
    }
    await this.#list();
    this.#store.set({opening: false});
  }

  // #openApart finds out which of the two was the reason, without asking a second time for what was refused.
  async #openApart(error) {
    const kinds = Object.keys(KINDS);
    const allowed = error.name === 'NotAllowedError' ? await stillAllowed(kinds) : kinds;
    for (const kind of kinds) {
      if (allowed.includes(kind)) await this.#acquire(kind, this.#constraints(kind));
      else this.#put(kind, {problem: this.#words(kind, error)});
    }
  }

  // setOn turns a kind on or off; turning on asks for the device again when it is not held.
  setOn(kind, on) {
    return this.#enqueue(kind, async () => {
      const {track} = this.#store.state[kind];
      if (!on && kind === 'camera') {
        track?.stop();
        this.#put(kind, {on: false, track: null});
      } else if (!on) {
        if (track) track.enabled = false;
        this.#put(kind, {on: false});
      } else if (track) {
        track.enabled = true;
        this.#put(kind, {on: true});
      } else {
        await this.#acquire(kind, this.#constraints(kind));
        await this.#list();
      }
    });
  }

  // choose takes another device; a kind that is off remembers the choice for when it is turned on.
  choose(kind, id) {
    this.#prefs.save({[kind]: id});
    return this.#enqueue(kind, async () => {
      const {on, track} = this.#store.state[kind];
      // Many phones cannot open a second camera beside the first.
      track?.stop();
      this.#put(kind, {track: null});
      if (on) await this.#acquire(kind, {...this.#constraints(kind), deviceId: {exact: id}});
      else this.#put(kind, {});
    });
  }

  // setQuality changes the size of the camera's picture, at once when it is on.
  setQuality(quality) {
    this.#prefs.save({quality});
    return this.#enqueue('camera', async () => {
      const {track} = this.#store.state.camera;
      await track?.applyConstraints(ideal(SIZES[quality])).catch((error) => this.#put('camera', {problem: this.#words('camera', error)}));
    });
  }

  // close lets both devices go.
  close() {
    for (const kind of Object.keys(KINDS)) {
      this.#store.state[kind].track?.stop();
      this.#put(kind, {on: false, track: null, problem: null});
    }
  }

  // #enqueue runs the jobs of one kind one after the other: pressing a button twice ends as the second press says.
  #enqueue(kind, job) {
    this.#queue[kind] = this.#queue[kind].then(job);
    return this.#queue[kind];
  }

  async #acquire(kind, constraints) {
    const {constraint} = KINDS[kind];
    if (!this.#media?.getUserMedia) {
      this.#put(kind, {problem: this.#words(kind, {name: 'InsecureError'})});
      return;
    }
    try {
      const stream = await this.#media.getUserMedia({[constraint]: constraints});
      this.#take(kind, stream.getTracks()[0]);
    } catch (error) {
      this.#put(kind, {on: false, track: null, problem: this.#words(kind, error)});
    }
  }

  #take(kind, track) {
    track.contentHint = kind === 'mic' ? 'speech' : 'motion';
    // "ended" comes when the device goes away, not when the page stops the track.
    track.addEventListener('ended', () => {
      if (this.#store.state[kind].track !== track) return;
      this.#put(kind, {on: false, track: null, problem: this.#words(kind, {name: 'EndedError'})});
    });
    this.#put(kind, {on: true, track, problem: null});
  }

  #constraints(kind) {
    const id = this.#prefs[kind];
    const device = id ? {deviceId: {ideal: id}} : {};
    if (kind === 'mic') return {...device, echoCancellation: true, noiseSuppression: true, autoGainControl: true};
    return {...device, ...ideal(SIZES[this.#prefs.quality] ?? SIZES.medium)};
  }

  #words(kind, error) {
    return deviceProblem(KINDS[kind].permission, error, navigator.userAgent);
  }

  #put(kind, patch) {
    this.#store.set({[kind]: {...this.#store.state[kind], ...patch}});
  }

  // #list reads the devices there are; names are empty until permission was given once.
  async #list() {
    const devices = await this.#media.enumerateDevices().catch(() => []);
    const choices = (kind) => devices
      .filter((device) => device.kind === KINDS[kind].device && device.deviceId)
      .map((device, index) => ({id: device.deviceId, label: device.label || `${kind === 'mic' ? 'Microphone' : 'Camera'} ${index + 1}`}));
    this.#store.set({choices: {mics: choices('mic'), cameras: choices('camera')}});
  }
}

function ideal(size) {
  return Object.fromEntries(Object.entries(size).map(([key, value]) => [key, {ideal: value}]));
}

// stillAllowed is the kinds that may be asked for after a refusal of both: those with permission, and, when one is
// blocked for good, the other. A question that was only dismissed is not repeated.
async function stillAllowed(kinds) {
  const states = await Promise.all(kinds.map((kind) =>
    navigator.permissions?.query({name: KINDS[kind].permission}).then((status) => status.state, () => 'unknown')));
  const blocked = states.includes('denied');
  return kinds.filter((_, index) => states[index] === 'granted' || (blocked && states[index] === 'prompt'));
}
