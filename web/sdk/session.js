// Publications and subscriptions: what this page sends and receives.

import {SendStream} from './data.js';
import {ConferenceError, ErrorEvent, MuteEvent} from './events.js';
import {TrackKind} from './media.js';
import {parametersOf} from './request.js';

// Session is what the two have in common. connection is the client's side of the bridge: request(method, arguments, object), forget(session)
// and peerConnection.
class Session extends EventTarget {
  #id;
  #connection;
  #ended = false;

  constructor(id, connection) {
    super();
    this.#id = id;
    this.#connection = connection;
    Object.defineProperty(this, 'id', {enumerable: true, get: () => this.#id});
  }

  // stop ends the session. It resolves when the server knows, at once if the session has ended by itself.
  async stop() {
    if (this.#ended) return;
    try {
      await this._request('stop', {});
    } finally {
      this._end();
    }
  }

  async getStats() {
    const pc = this.#connection.peerConnection;
    if (!pc) throw new ConferenceError('PeerConnection is not available.', 'invalid-state');
    return pc.getStats();
  }

  async mute(kind) {
    await this._control('mute', kind);
  }

  async unmute(kind) {
    await this._control('unmute', kind);
  }

  async _control(method, kind) {
    if (!Object.values(TrackKind).includes(kind)) throw new ConferenceError(`Invalid track kind: ${kind}`, 'invalid-argument');
    await this._request(method, {kind});
  }

  _request(method, data, object) {
    return this.#connection.request(method, {...data, id: this.id}, object);
  }

  get _ended() { return this.#ended; }

  // _restore gives it the id that it has after the client joined anew, or went to another server.
  _restore(id) {
    this.#id = id;
    this.dispatchEvent(new Event('restored'));
  }

  // _end fires ended, once; before it error, when there is one.
  _end(error) {
    if (this.#ended) return;
    this.#ended = true;
    this.#connection.forget(this);
    if (error) this.dispatchEvent(new ErrorEvent('error', {error}));
    this.dispatchEvent(new Event('ended'));
  }
}

// A Publication's mute and unmute events come when the server says that the stream's state has changed, whoever changed it.
export class Publication extends Session {
  #data; // a Promise of the DataConnection, or itself, of one of data
  #sends = new Set(); // its SendStreams

  constructor(id, connection, data, first) {
    super(id, connection);
    this.#data = data;
    if (first) this.#sends.add(first);
  }

  // createSendStream opens another stream of a publication of data.
  async createSendStream() {
    if (!this.#data) throw new ConferenceError('This is no publication of data.', 'invalid-state');
    const stream = new SendStream();
    stream._take();
    this.#sends.add(stream);
    try {
      await stream._connect(Promise.resolve(this.#data).then((connection) => connection.send(this.id)));
    } catch (cause) {
      this.#sends.delete(stream);
      throw new ConferenceError(`The stream of data could not be opened: ${cause.message}`, 'disconnected');
    }
    return stream;
  }

  get _isData() { return Boolean(this.#data); }

  // _move makes it one of another connection, of which it gets a Promise. Its streams end; it resolves when they have.
  _move(connection, id) {
    this.#data = connection;
    const error = new ConferenceError('The connection for data is another one now: open another stream.', 'disconnected');
    const ends = [...this.#sends].map((stream) => stream._retire(error));
    this.#sends.clear();
    this._restore(id);
    return Promise.all(ends);
  }

  _end(error) {
    for (const stream of this.#sends) stream._fail(error ?? new ConferenceError('The publication has ended.', 'session-ended'));
    this.#sends.clear();
    super._end(error);
  }

  // replaceTrack changes what is sent, another camera for example, without anybody noticing; null sends nothing.
  async replaceTrack(kind, track) {
    await this._request('replace', {kind}, track);
  }
}

export class Subscription extends Session {
  #data; // a Promise of the DataConnection, or itself, of one of data
  #changed; // {promise, resolve}: it has another one, or has ended

  // stream is the MediaStream with what is received; remoteStream is what it was made from. Of data, stream is the first that comes.
  constructor(id, connection, remoteStream, tracks, data) {
    super(id, connection);
    Object.defineProperty(this, 'remoteStream', {enumerable: true, value: remoteStream});
    this.#data = data;
    this.#changed = resolvable();
    if (data) return;
    this.stream = new MediaStream(tracks);
    remoteStream.mediaStream = this.stream;
  }

  // nextStream gives the next stream that the publisher of data opens, {readable}, or null when the subscription has ended.
  async nextStream() {
    if (!this.#data) throw new ConferenceError('This is no subscription to data.', 'invalid-state');
    for (;;) {
      const [data, {promise}, id] = [this.#data, this.#changed, this.id];
      const readable = await Promise.resolve(data).then((connection) => connection.receive(id), () => null);
      if (readable) return {readable};
      if (this._ended) return null;
      if (this.#data === data) await promise; // that connection is lost: another one comes, or the end
    }
  }

  get _isData() { return Boolean(this.#data); }

  // _move makes it one of another connection, of which it gets a Promise.
  async _move(connection, id) {
    const [before, old] = [this.#data, this.id];
    this.#data = connection;
    this.#change();
    super._restore(id);
    Promise.resolve(before).then((one) => one.forget(old), () => {});
  }

  #change() {
    const {resolve} = this.#changed;
    this.#changed = resolvable();
    resolve();
  }

  // applyOptions changes what is received: {video: {resolution, frameRate, bitrateMultiplier, keyFrameInterval}}.
  async applyOptions(options) {
    const parameters = options?.video && parametersOf(options.video);
    if (!parameters) throw new ConferenceError('Options should be an object with a video member.', 'invalid-argument');
    await this._request('update', {parameters});
  }

  // quality is what the server says of what is received, and why it is not more.
  async quality() {
    return (await this._request('quality', {})).data;
  }

  async _control(method, kind) {
    await super._control(method, kind);
    this.dispatchEvent(new MuteEvent(method, {kind}));
  }

  _restore(id, tracks) {
    for (const track of this.stream.getTracks()) this.stream.removeTrack(track);
    for (const track of tracks) this.stream.addTrack(track);
    super._restore(id);
  }

  _end(error) {
    const {id} = this;
    if (this.#data) Promise.resolve(this.#data).then((connection) => connection.forget(id), () => {});
    this.#change();
    if (!this.#data && this.remoteStream.mediaStream === this.stream) this.remoteStream.mediaStream = undefined;
    super._end(error);
  }
}

// resolvable is a Promise with what fulfils it.
function resolvable() {
  let resolve;
  const promise = new Promise((fulfil) => { resolve = fulfil; });
  return {promise, resolve};
}
