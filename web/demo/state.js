// The page's one state: a plain object, replaced part by part, that every view reads and only the controllers change.

export class Store {
  #state;
  #watchers = new Set();

  constructor(initial) {
    this.#state = Object.freeze({...initial});
  }

  get state() {
    return this.#state;
  }

  // set merges patch into the state and tells every watcher at once, with the state as it was before.
  set(patch) {
    const before = this.#state;
    this.#state = Object.freeze({...before, ...patch});
    for (const watcher of this.#watchers) watcher(this.#state, before);
  }

  // watch calls watcher now and after every change.
  watch(watcher) {
    this.#watchers.add(watcher);
    watcher(this.#state, this.#state);
  }
}

export const MESSAGES_KEPT = 500;

// Phase says which of the page's screens is shown.
export const Phase = Object.freeze({LOBBY: 'lobby', JOINING: 'joining', CALL: 'call', ENDED: 'ended'});

// View says whether the others are seen one by one, or all in one picture that the server mixes.
export const View = Object.freeze({GALLERY: 'gallery', MIXED: 'mixed'});

export function initialState(prefs, address) {
  return {
    phase: Phase.LOBBY,
    name: prefs.name,
    room: address.room,
    token: address.token,
    needsToken: Boolean(address.token),
    joinProblem: null, // {title, text} of the last failed attempt
    ended: null, // {title, text} on the last screen
    self: null, // {id, name} while in a room
    people: [], // the others: {id, name}
    crowd: 0, // how many there are in a room where not all are listed, this participant included; 0: people is everybody
    streams: [], // what the others send: see call.js
    view: View.GALLERY,
    mix: null, // the mixed picture that the server offers: see mixing.js
    mic: {on: false, track: null, problem: null},
    camera: {on: false, track: null, problem: null},
    opening: false, // the browser is being asked for camera and microphone
    screen: null, // the MediaStream being shared
    choices: {mics: [], cameras: []},
    messages: [], // the last MESSAGES_KEPT: {id, from, name, own, text, time}, ids counting up
    chatOpen: false,
    unread: 0,
    soundBlocked: false,
    reconnecting: false, // the line to the server is down; sound and picture may well go on
  };
}
