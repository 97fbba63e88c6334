// The conference client: the door through which a page joins.

import {DataConnection, SendStream} from './data.js';
import {
  ActiveAudioInputChangeEvent, ConferenceError, DisconnectedEvent, LayoutChangeEvent, MessageEvent, MuteEvent, ParticipantEvent, ReconnectedEvent,
  RosterChangeEvent, StreamEvent,
} from './events.js';
import {program} from './loader.js';
import {publishRequest, subscribeRequest} from './request.js';
import {Publication, Subscription} from './session.js';
import {LocalStream, RemoteMixedStream, RemoteStream} from './stream.js';

export class Participant extends EventTarget {
  constructor(info) {
    super();
    for (const [name, value] of Object.entries({id: info.id, role: info.role, userId: info.user})) {
      Object.defineProperty(this, name, {enumerable: true, value});
    }
  }
}

export class ConferenceInfo {
  constructor(id, participants, remoteStreams, myInfo, adapts = false, participantCount = participants.length, thin = false) {
    this.id = id;
    this.participants = participants;
    this.remoteStreams = remoteStreams;
    this.self = myInfo;
    this.adapts = adapts;
    this.participantCount = participantCount;
    this.thin = thin;
  }
}

// FORMER_TIME is how long the connection for data to the server of before is kept at most, in milliseconds.
const FORMER_TIME = 15_000;

const State = Object.freeze({READY: 'ready', CONNECTING: 'connecting', CONNECTED: 'connected'});

export class ConferenceClient extends EventTarget {
  #config;
  #state = State.READY;
  #program;
  #registration; // our number in the program
  #room;
  #adapts;
  #roster; // {count, thin}: whether not all participants are known here, and how many there are then
  #self;
  #participants = new Map();
  #streams = new Map();
  #publications = new Map();
  #subscriptions = new Map();
  #peerConnection = null;
  #refreshToken; // the page's function for a new token, or undefined
  #signaling; // how the connection to the server is doing
  #watching; // an AbortController for what we listen to outside
  #data; // a Promise of the DataConnection; undefined before data is wanted, and when it is lost
  #dataEnding; // a Promise: the program knows of the end of the DataConnection before
  #former; // {waiting, ending, close}: the connection for data to the server of before, until the sessions in waiting are here
  #openings = new Map(); // by key: what a publication of data that is on its way does with its id
  #lastKey = 0;

  constructor(config = {}) {
    super();
    this.#config = config ?? {};
  }

  // info is the room as it is now, null outside a conference.
  get info() {
    if (!this.#room) return null;
    const {participantCount, thin} = this.#crowd();
    return new ConferenceInfo(this.#room, [...this.#participants.values()], [...this.#streams.values()], this.#self, this.#adapts, participantCount, thin);
  }

  #crowd() {
    const {size} = this.#participants;
    return this.#roster?.thin ? {participantCount: Math.max(this.#roster.count, size), thin: true} : {participantCount: size, thin: false};
  }

  // peerConnection is the browser's RTCPeerConnection, null before the first publication or subscription. It is for looking at:
  // changing it confuses the client.
  get peerConnection() {
    return this.#peerConnection;
  }

  async join(token, {signal, refreshToken, thin} = {}) {
    if (this.#state !== State.READY) throw new ConferenceError('connection state invalid', 'invalid-state');
    if (typeof token !== 'string' || token === '') throw new ConferenceError('Invalid token.', 'invalid-token');
    this.#state = State.CONNECTING;
    try {
      this.#program = await program(this.#config);
      this.#registration = this.#program.client((...event) => this.#onEvent(...event), (error) => this.#reset(error));
      this.#refreshToken = refreshToken;
      const options = {token, relayOnly: Boolean(this.#config.relayOnly), refreshes: typeof refreshToken === 'function', thin: Boolean(thin)};
      const {data} = await this.#request('join', options, this.#config.rtcConfiguration, signal);
      this.#seed(data);
      this.#state = State.CONNECTED;
      this.#watch();
      return this.info;
    } catch (error) {
      if (this.#state === State.CONNECTING) this.#reset();
      throw error;
    }
  }

  async publish(stream, options, videoCodecs) {
    if (!(stream instanceof LocalStream)) throw new ConferenceError('Invalid stream.', 'invalid-argument');
    this.#mustBeJoined();
    if (stream.source.data) return this.#publishData(stream);
    const {request, tracks} = publishRequest(stream, options, videoCodecs);
    const {data} = await this.#request('publish', request, tracks);
    const publication = new Publication(data.id, this.#connection);
    this.#publications.set(data.id, publication);
    return publication;
  }

  async subscribe(stream, options) {
    if (!(stream instanceof RemoteStream)) throw new ConferenceError('Invalid stream.', 'invalid-argument');
    this.#mustBeJoined();
    if (stream.source.data) return this.#subscribeData(stream);
    const {data, object} = await this.#request('subscribe', subscribeRequest(stream, options));
    const subscription = new Subscription(data.id, this.#connection, stream, object);
    this.#subscriptions.set(data.id, subscription);
    return subscription;
  }

  // createSendStream makes a stream of data, to be published in a LocalStream.
  async createSendStream() {
    this.#mustBeJoined();
    await this.#openData();
    return new SendStream();
  }

  // send gives message (any JSON value) to one participant, or to all including this one.
  async send(message, participantId) {
    this.#mustBeJoined();
    if (message === undefined) throw new ConferenceError('Invalid message.', 'invalid-argument');
    await this.#request('send', {message, to: participantId ?? 'all'});
  }

  // mix takes a stream that this page publishes, or any for an admin, into the mixed stream with that label. stream is a Publication, a
  // RemoteStream, or an id.
  async mix(stream, label = 'common') {
    await this.#control('mix', stream, label);
  }

  async unmix(stream, label = 'common') {
    await this.#control('unmix', stream, label);
  }

  // region gives the id of the region that the stream is shown in.
  async region(stream, label = 'common') {
    return (await this.#control('region', stream, label)).data.region;
  }

  // setRegion moves a stream to a region, whose stream takes its place.
  async setRegion(stream, region, label = 'common') {
    await this.#control('setregion', stream, label, {region});
  }

  #control(method, stream, view, more) {
    this.#mustBeJoined();
    return this.#request(method, {stream: stream?.id ?? stream, view, ...more});
  }

  // leave ends the conference for this page; it resolves when the server knows, or after two seconds.
  async leave() {
    this.#mustBeJoined();
    try {
      await this.#request('leave', {});
    } finally {
      this.#reset();
    }
  }

  // #connection is what sessions may do with their client.
  #connection = {
    request: (method, data, object) => this.#request(method, data, object),
    forget: (session) => {
      this.#publications.delete(session.id);
      this.#subscriptions.delete(session.id);
    },
    client: this,
    get peerConnection() { return this.client.peerConnection; },
  };

  // #publishData: the publication is ready when the edge has got a stream with its id.
  async #publishData({stream, attributes}) {
    if (!stream._take()) throw new ConferenceError('Cannot publish a published stream.', 'invalid-argument');
    const key = ++this.#lastKey;
    const given = new AbortController();
    let failure; // why the stream could not be opened
    try {
      const connection = await this.#openData();
      this.#openings.set(key, (id) => stream._connect(connection.send(id)).catch((error) => {
        failure = new ConferenceError(`The stream of data could not be opened: ${error.message}`, 'disconnected');
        given.abort();
      }));
      const {data} = await this.#request('publish', {data: true, key, attributes}, undefined, given.signal);
      const publication = new Publication(data.id, this.#connection, connection, stream);
      this.#publications.set(data.id, publication);
      return publication;
    } catch (error) {
      stream._fail(failure ?? error);
      throw failure ?? error;
    } finally {
      this.#openings.delete(key);
    }
  }

  async #subscribeData(stream) {
    const connection = await this.#openData();
    const {data} = await this.#request('subscribe', {data: stream.id});
    const subscription = new Subscription(data.id, this.#connection, stream, undefined, connection);
    this.#subscriptions.set(data.id, subscription);
    subscription.stream = await subscription.nextStream();
    if (!subscription.stream) throw new ConferenceError('The subscription has ended.', 'session-ended');
    return subscription;
  }

  // #openData gives the connection for data, which there is from the first use on.
  #openData() {
    if (!this.#data) {
      const opening = this.#data = this.#connectData();
      const over = () => { if (this.#data === opening) this.#dataLost(); };
      opening.then(({closed}) => closed.then(over), over);
    }
    return this.#data;
  }

  async #connectData() {
    if (!globalThis.WebTransport) throw new ConferenceError('This browser has no WebTransport.', 'unsupported');
    await this.#dataEnding;
    const {data} = await this.#request('opendata', {});
    let connection;
    try {
      connection = new DataConnection(data);
      await connection.ready;
      return connection;
    } catch (cause) {
      connection?.close();
      throw new ConferenceError(`The connection for data could not be opened: ${cause.message}`, 'disconnected');
    }
  }

  // #dataMoved: the server is another one. The sessions of data go on as soon as there is a connection to it.
  #dataMoved() {
    const before = this.#data;
    this.#data = undefined;
    this.#former?.close();
    const waiting = new Set([...this.#publications.values(), ...this.#subscriptions.values()].filter((s) => s._isData));
    const former = {waiting, ending: [], close: () => {
      clearTimeout(former.timer);
      before?.then((connection) => connection.close(), () => {});
      if (this.#former === former) this.#former = undefined;
    }};
    if (waiting.size === 0) return former.close();
    former.timer = setTimeout(former.close, FORMER_TIME);
    this.#former = former;
    this.#openData().catch(() => {}); // the program hears of it
  }

  // #settleData: a session of data is on the new connection, once what it gives has come, or has ended.
  #settleData(session, ending) {
    const former = this.#former;
    if (!former?.waiting.delete(session)) return;
    former.ending.push(ending);
    if (former.waiting.size === 0) Promise.all(former.ending).then(former.close);
  }

  // #beginData opens a stream without data for a publication that had to become another one.
  #beginData(id) {
    this.#data?.then(async (connection) => (await connection.send(id)).close()).catch(() => {}); // it ends then
  }

  #dataLost() {
    this.#data = undefined;
    this.#dataEnding = this.#request('datalost', {}).catch(() => {}); // it ends meanwhile
  }

  // #closeData: what the program had to do with the connection is over.
  #closeData() {
    this.#former?.close();
    this.#data?.then((connection) => connection.close(), () => {});
    this.#data = this.#dataEnding = undefined;
  }

  #mustBeJoined() {
    if (this.#state !== State.CONNECTED) throw new ConferenceError('Not in a conference: join first.', 'invalid-state');
  }

  #request(method, data, object, signal) {
    if (!this.#registration) return Promise.reject(new ConferenceError('Not in a conference: join first.', 'invalid-state'));
    return this.#program.call(method, {...data, client: this.#registration.number}, object, signal);
  }

  // #watch tells the program what it cannot see from where it is: that the network has changed or is back, that a sleeping page has
  // woken up. A page that goes away leaves, or the others would see its last picture for a minute.
  #watch() {
    this.#watching = new AbortController();
    const options = {signal: this.#watching.signal};
    const tell = (method) => this.#request(method, {}).catch(() => {}); // it ends meanwhile
    globalThis.addEventListener?.('online', () => tell('network'), options);
    globalThis.addEventListener?.('pageshow', ({persisted}) => persisted && tell('check'), options);
    globalThis.addEventListener?.('pagehide', ({persisted}) => !persisted && this.#state === State.CONNECTED && this.leave().catch(() => {}), options);
    globalThis.document?.addEventListener?.('visibilitychange', () => {
      if (document.visibilityState === 'visible' && this.#signaling === 'reconnecting') tell('check');
    }, options);
    const network = globalThis.navigator?.connection;
    let type = network?.type;
    network?.addEventListener?.('change', () => { // also for mere estimates of speed
      if (network.type !== type) tell('network');
      type = network.type;
    }, options);
  }

  // #seed takes over the room as the login found it. Events that were faster have been here already: what they made stays.
  #seed(info) {
    this.#room = info.room;
    this.#adapts = Boolean(info.adapts);
    this.#roster ??= {count: info.count, thin: Boolean(info.thin)};
    for (const p of info.participants) {
      if (!this.#participants.has(p.id)) this.#participants.set(p.id, new Participant(p));
    }
    this.#self = this.#participants.get(info.self);
    for (const s of info.streams) {
      if (!this.#streams.has(s.id)) this.#streams.set(s.id, remoteStream(s));
    }
  }

  // #reset goes back to the beginning: everything that was there has ended. With an error it was not the page's doing.
  #reset(error) {
    const joined = this.#state === State.CONNECTED;
    this.#registration?.close();
    this.#registration = undefined;
    this.#watching?.abort();
    this.#watching = this.#signaling = this.#refreshToken = undefined;
    this.#closeData();
    this.#state = State.READY;
    this.#room = this.#self = this.#roster = undefined;
    this.#peerConnection = null;
    const sessions = [...this.#publications.values(), ...this.#subscriptions.values()];
    for (const map of [this.#participants, this.#streams, this.#publications, this.#subscriptions]) map.clear();
    for (const s of sessions) s._end();
    if (joined && error) this.dispatchEvent(new DisconnectedEvent('serverdisconnected', {error}));
  }

  #onEvent(name, data, object) {
    switch (name) {
      case 'participantjoined': return this.#participantJoined(data);
      case 'participantleft': return this.#participantLeft(data);
      case 'rosterchanged': return this.#rosterChanged(data);
      case 'streamadded': return this.#streamAdded(data);
      case 'streamremoved': return this.#streamRemoved(data);
      case 'streamupdated': return this.#streamUpdated(data.stream, data.field, data.value);
      case 'message': return this.dispatchEvent(new MessageEvent('messagereceived', data));
      case 'dataopened': return (this.#openings.get(data.key) ?? ((id) => this.#beginData(id)))(data.id);
      case 'datamoved': return this.#dataMoved();
      case 'sessionended': return this.#sessionEnded(data);
      case 'sessionrestored': return this.#sessionRestored(data, object);
      case 'peerconnection': this.#peerConnection = object; return;
      case 'connectionstate': return this.#connectionState(data);
      case 'tokenneeded': return this.#tokenNeeded();
      case 'disconnected': return this.#reset(new ConferenceError(data.message, data.code));
      default: // a newer program may say more
    }
  }

  #participantJoined(info) {
    if (this.#participants.has(info.id)) return;
    const participant = new Participant(info);
    this.#participants.set(info.id, participant);
    this.dispatchEvent(new ParticipantEvent('participantjoined', {participant}));
  }

  #participantLeft({id}) {
    const participant = this.#participants.get(id);
    this.#participants.delete(id);
    participant?.dispatchEvent(new Event('left'));
  }

  #rosterChanged(data) {
    this.#roster = data;
    this.dispatchEvent(new RosterChangeEvent('rosterchange', this.#crowd()));
  }

  #streamAdded(info) {
    if (this.#streams.has(info.id)) return this.#streamUpdated(info, '.');
    const stream = remoteStream(info);
    this.#streams.set(info.id, stream);
    this.dispatchEvent(new StreamEvent('streamadded', {stream}));
  }

  #streamRemoved({id}) {
    const stream = this.#streams.get(id);
    this.#streams.delete(id);
    stream?.dispatchEvent(new Event('ended'));
  }

  #connectionState({signaling, self}) {
    const before = this.#signaling;
    this.#signaling = signaling;
    if (before !== 'reconnecting' && signaling === 'reconnecting') this.dispatchEvent(new Event('reconnecting'));
    if (before === 'reconnecting' && signaling === 'joined') this.#reconnected(self);
    this.dispatchEvent(new Event('connectionstatechange'));
  }

  // #reconnected: as the same participant, or as another one, whose room follows as changes of the old one.
  #reconnected(self) {
    const same = self.id === this.#self.id;
    if (!same) {
      this.#closeData();
      this.#self = new Participant(self);
      this.#participants.set(self.id, this.#self);
    }
    this.dispatchEvent(new ReconnectedEvent('reconnected', {participantId: self.id, same}));
  }

  async #tokenNeeded() {
    let answer;
    try {
      answer = {token: String(await this.#refreshToken())};
    } catch (error) {
      answer = {error: String(error?.message ?? error)};
    }
    await this.#request('token', answer).catch(() => {}); // it ended meanwhile
  }

  // #streamUpdated takes over a change. field says which, in the protocol's words; "." is anything.
  #streamUpdated(info, field, value) {
    const stream = this.#streams.get(info.id);
    if (!stream) return;
    const changed = stream._update(info);
    switch (field) {
      case 'activeInput':
        if ('activeInput' in stream) stream.activeInput = info.info.activeInput;
        stream.dispatchEvent(new ActiveAudioInputChangeEvent('activeaudioinputchange', {activeAudioInputStreamId: info.info.activeInput ?? value}));
        return;
      case 'video.layout':
        stream.layout = value;
        stream.dispatchEvent(new LayoutChangeEvent('layoutchange', {layout: value}));
        return;
      case 'audio.status': return this.#muted(stream, ['audio']);
      case 'video.status': return this.#muted(stream, ['video']);
      default: this.#muted(stream, changed);
    }
  }

  // #muted tells of a change of a stream that may be a pause of some kinds of its media.
  #muted(stream, kinds) {
    stream.dispatchEvent(new Event('updated'));
    const sessions = [this.#publications.get(stream.id), ...[...this.#subscriptions.values()].filter((s) => s.remoteStream === stream)];
    for (const kind of kinds) {
      for (const s of sessions) s?.dispatchEvent(new MuteEvent(stream.muted[kind] ? 'mute' : 'unmute', {kind}));
    }
  }

  #sessionRestored({old, id}, tracks) {
    for (const map of [this.#publications, this.#subscriptions]) {
      const session = map.get(old);
      if (!session) continue;
      map.delete(old);
      map.set(id, session);
      if (session._isData) this.#settleData(session, session._move(this.#openData(), id));
      else session._restore(id, tracks);
    }
  }

  #sessionEnded({id, reason}) {
    const session = this.#publications.get(id) ?? this.#subscriptions.get(id);
    this.#settleData(session);
    session?._end(reason ? new ConferenceError(reason, 'session-ended') : undefined);
  }
}

function remoteStream(info) {
  return info.type === 'mixed' ? new RemoteMixedStream(info) : new RemoteStream(info);
}
