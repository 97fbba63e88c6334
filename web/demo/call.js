// The call itself: this page's only user of the client library. It turns the library's events into the page's state.

import {Mixing} from './mixing.js';
import {Publisher} from './publisher.js';
import {MESSAGES_KEPT, Phase, View} from './state.js';

const LIBRARY = '/sdk/portico.js';

export class Call {
  #store;
  #options;
  #events;
  #library = null;
  #session = null; // {sdk, client, publisher, mixing, screen, adapts, remote streams and subscriptions by id} while in a room

  // options is {relay}; events has lost(error), problem(error), arrived(name) and departed(name).
  constructor(store, options, events) {
    this.#store = store;
    this.#options = options;
    this.#events = events;
    store.watch((state, before) => {
      if (state.mic !== before.mic || state.camera !== before.camera) this.#session?.publisher.update(state.mic, state.camera);
    });
  }

  // preload fetches the library ahead of the join.
  preload() {
    this.#library ??= loadLibrary().catch((error) => {
      this.#library = null; // the next attempt starts afresh
      throw error;
    });
    return this.#library;
  }

  // join enters the room of the token. When it returns, the state shows who is there; media follows by itself. refreshToken, if there is
  // such a function, gives another token for coming back to a server that was restarted; without it that is the end of the call.
  async join(token, refreshToken) {
    const sdk = await this.preload();
    const client = new sdk.ConferenceClient({relayOnly: this.#options.relay});
    const session = {
      sdk, client, screen: null, adapts: false, remote: new Map(), subscriptions: new Map(), shown: new Map(), paused: new Set(),
      mixing: new Mixing(client, (mix) => this.#session === session && this.#store.set({mix}), () => this.#session === session && this.show(View.GALLERY)),
    };
    session.publisher = new Publisher(sdk, client, (error) => this.#events.problem(error), (publication) => session.mixing.enter(publication));
    // Events may come before the promise of join is settled: they belong to this session already.
    this.#session = session;
    this.#store.set({people: [], streams: [], messages: [], unread: 0});
    this.#listen(session);
    try {
      this.#enter(session, await client.join(token, {refreshToken, thin: true}));
    } catch (error) {
      if (this.#session === session) this.#session = null;
      throw error;
    }
    const {mic, camera} = this.#store.state;
    session.publisher.update(mic, camera);
  }

  // leave is quick enough for a page that is being closed.
  async leave() {
    const session = this.#end();
    await session?.client.leave();
  }

  async send(text) {
    await this.#session?.client.send(text);
  }

  // share publishes a screen; it ends with unshare or when the browser's own button stops it.
  async share(media) {
    const session = this.#session;
    const [video] = media.getVideoTracks();
    const source = new session.sdk.StreamSourceInfo(media.getAudioTracks().length ? 'screen-cast' : undefined, 'screen-cast');
    video.contentHint = 'detail';
    video.addEventListener('ended', () => this.unshare());
    this.#store.set({screen: media});
    try {
      session.screen = await session.client.publish(new session.sdk.LocalStream(media, source));
    } catch (error) {
      this.unshare();
      throw error;
    }
    // Stopped before it had begun.
    if (this.#store.state.screen !== media) await session.screen.stop();
  }

  async unshare() {
    for (const track of this.#store.state.screen?.getTracks() ?? []) track.stop();
    this.#store.set({screen: null});
    const publication = this.#session?.screen;
    if (!publication) return;
    this.#session.screen = null;
    await publication.stop().catch(this.#events.problem);
  }

  // show changes between a picture for each of the others and one picture of all, which the server mixes. Screens stay as they are.
  async show(view) {
    const session = this.#session;
    if (!session || view === this.#store.state.view) return;
    this.#store.set({view});
    if (view === View.MIXED) {
      for (const stream of session.remote.values()) {
        if (kindOf(stream) === 'camera') this.#release(session, stream);
      }
      try {
        await session.mixing.watch();
      } catch (error) {
        if (this.#session !== session) return;
        this.#events.problem(error);
        await this.show(View.GALLERY);
      }
      return;
    }
    session.mixing.unwatch();
    for (const stream of session.remote.values()) this.#receive(session, stream);
  }

  // moveTo changes this page's picture with the one in that region of the mixed picture.
  moveTo(region) {
    return this.#session?.mixing.moveTo(region);
  }

  // showAt takes the size, in device pixels, at which somebody else's picture is shown.
  showAt(stream, size) {
    this.#session?.shown.set(stream, size);
    this.#tellSize(this.#session, stream);
  }

  // pause stops a picture that nobody sees, or lets it go on.
  pause(stream, paused) {
    if (paused) this.#session?.paused.add(stream);
    else this.#session?.paused.delete(stream);
    this.#tellPause(this.#session, stream);
  }

  // inspect gives what is known of a stream's picture, {report, track, told}, or of this page's own for null; null when it has gone.
  async inspect(stream) {
    const session = this.#session;
    if (!session) return null;
    if (stream && stream === this.#store.state.mix?.id) return session.mixing.inspect();
    if (stream === null) {
      const {track} = this.#store.state.camera;
      return track && {track, report: await session.publisher.getStats(), told: null};
    }
    const subscription = session.subscriptions.get(stream);
    if (!subscription) return null;
    const [report, told] = await Promise.all([subscription.getStats(), subscription.quality().catch(() => null)]);
    return {report, told, track: subscription.stream.getVideoTracks()[0]};
  }

  // #tellSize: a room that does not adapt refuses, and has no use for other sizes either.
  #tellSize(session, stream) {
    const subscription = session?.subscriptions.get(stream);
    if (!subscription || !session.adapts) return;
    subscription.applyOptions({video: {resolution: session.shown.get(stream)}}).catch(({code}) => {
      if (code === 'refused') session.adapts = false;
    });
  }

  #tellPause(session, stream) {
    const subscription = session?.subscriptions.get(stream);
    // What ended meanwhile needs no pause, and what could not be told is told with the next change.
    (session?.paused.has(stream) ? subscription?.mute('video') : subscription?.unmute('video'))?.catch(() => {});
  }

  #listen(session) {
    const {client} = session;
    const on = (type, handle) => client.addEventListener(type, (event) => {
      if (this.#session === session) handle(event);
    });
    on('participantjoined', ({participant}) => {
      this.#addPerson(session, participant);
      if (!this.#store.state.crowd) this.#events.arrived(participant.userId);
    });
    on('rosterchange', ({participantCount, thin}) => this.#store.set({crowd: thin ? participantCount : 0}));
    on('streamadded', ({stream}) => this.#addStream(session, stream));
    on('messagereceived', ({message, origin}) => this.#addMessage(message, origin));
    on('reconnecting', () => this.#store.set({reconnecting: true}));
    on('reconnected', ({participantId}) => this.#store.set({reconnecting: false, self: {...this.#store.state.self, id: participantId}}));
    on('serverdisconnected', ({error}) => {
      this.#end();
      this.#events.lost(error);
    });
  }

  #enter(session, info) {
    session.adapts = info.adapts === true;
    session.publisher.adapts = session.adapts;
    this.#store.set({self: {id: info.self.id, name: info.self.userId}, phase: Phase.CALL, crowd: info.thin ? info.participantCount : 0});
    for (const participant of info.participants) this.#addPerson(session, participant);
    for (const stream of info.remoteStreams) this.#addStream(session, stream);
  }

  #end() {
    const session = this.#session;
    this.#session = null;
    session?.publisher.close();
    for (const track of this.#store.state.screen?.getTracks() ?? []) track.stop();
    this.#store.set({self: null, people: [], crowd: 0, streams: [], mix: null, view: View.GALLERY, screen: null, soundBlocked: false, reconnecting: false});
    return session;
  }

  #addPerson(session, participant) {
    const {self, people} = this.#store.state;
    if (participant.id === self?.id || people.some((person) => person.id === participant.id)) return;
    this.#store.set({people: [...people, {id: participant.id, name: participant.userId}]});
    participant.addEventListener('left', () => {
      if (this.#session !== session) return;
      const {people, streams} = this.#store.state;
      this.#store.set({
        people: people.filter((person) => person.id !== participant.id),
        streams: streams.filter((stream) => stream.owner !== participant.id),
      });
      if (!this.#store.state.crowd) this.#events.departed(participant.userId);
    });
  }

  // #addStream lists and subscribes what another participant sends. Mixed streams show everybody a second time, and data is nothing to
  // look at: left out.
  #addStream(session, stream) {
    const {self, streams} = this.#store.state;
    if (stream instanceof session.sdk.RemoteMixedStream) return session.mixing.found(stream);
    if (stream.source.data || stream.origin === self?.id || streams.some(({id}) => id === stream.id)) return;
    session.remote.set(stream.id, stream);
    this.#store.set({streams: [...streams, {id: stream.id, owner: stream.origin, kind: kindOf(stream), media: null, ...sending(stream)}]});
    stream.addEventListener('updated', () => {
      if (this.#session === session) this.#changeStream(stream.id, sending(stream));
    });
    stream.addEventListener('ended', () => {
      session.remote.delete(stream.id);
      if (this.#session !== session) return;
      this.#store.set({streams: this.#store.state.streams.filter(({id}) => id !== stream.id)});
    });
    this.#receive(session, stream);
  }

  // #wants tells whether a stream is to be received by itself.
  #wants(session, stream) {
    return this.#session === session && session.remote.get(stream.id) === stream &&
      (this.#store.state.view === View.GALLERY || kindOf(stream) === 'screen');
  }

  async #receive(session, stream) {
    if (session.subscriptions.has(stream.id) || !this.#wants(session, stream)) return;
    session.subscriptions.set(stream.id, null); // on its way
    const end = (subscription) => {
      if (session.subscriptions.get(stream.id) !== subscription) return;
      session.subscriptions.delete(stream.id);
      if (this.#session === session) this.#changeStream(stream.id, {media: null});
    };
    // A stream that has just ended takes its subscriptions along.
    const tell = (error) => this.#wants(session, stream) && this.#events.problem(error);
    try {
      const subscription = await session.client.subscribe(stream, {audio: Boolean(stream.source.audio), video: Boolean(stream.source.video)});
      session.subscriptions.set(stream.id, subscription);
      subscription.addEventListener('ended', () => end(subscription));
      subscription.addEventListener('error', ({error}) => tell(error));
      if (!this.#wants(session, stream)) return this.#release(session, stream);
      if (session.shown.has(stream.id)) this.#tellSize(session, stream.id);
      if (session.paused.has(stream.id)) this.#tellPause(session, stream.id);
      this.#changeStream(stream.id, {media: subscription.stream});
    } catch (error) {
      end(null);
      tell(error);
    }
  }

  // #release ends the receiving of a stream, which may begin anew at once; what is still on its way ends itself.
  #release(session, stream) {
    const subscription = session.subscriptions.get(stream.id);
    if (!subscription) return;
    session.subscriptions.delete(stream.id);
    if (this.#session === session) this.#changeStream(stream.id, {media: null});
    subscription.stop().catch(() => {}); // gone either way
  }

  #changeStream(id, patch) {
    this.#store.set({streams: this.#store.state.streams.map((stream) => (stream.id === id ? {...stream, ...patch} : stream))});
  }

  // #addMessage adds a text to the chat; other programs may send other things, which mean nothing here.
  #addMessage(text, from) {
    if (typeof text !== 'string') return;
    const {self, people, messages, chatOpen, unread} = this.#store.state;
    const own = from === self?.id;
    const name = own ? self.name : people.find((person) => person.id === from)?.name ?? 'Somebody';
    const message = {id: (messages.at(-1)?.id ?? 0) + 1, from, name, own, text, time: Date.now()};
    this.#store.set({messages: [...messages, message].slice(-MESSAGES_KEPT), unread: chatOpen || own ? unread : unread + 1});
  }
}

async function loadLibrary() {
  const sdk = await import(LIBRARY).catch((cause) => {
    throw Object.assign(new Error(cause.message), {code: 'load-failed'});
  });
  await sdk.load();
  return sdk;
}

const kindOf = (stream) => (stream.source.video === 'screen-cast' ? 'screen' : 'camera');

// sending says for sound and picture whether a stream has them and whether they are muted: "on", "off" or "none".
function sending(stream) {
  const state = (kind) => {
    if (!stream.source[kind]) return 'none';
    return stream.muted[kind] ? 'off' : 'on';
  };
  return {audio: state('audio'), video: state('video')};
}
