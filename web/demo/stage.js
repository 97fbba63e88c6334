// The people and screens of the call as tiles, as large as the window allows.

import {byId} from './dom.js';
import {bestGrid} from './layout.js';
import {MixTile} from './mixtile.js';
import {View} from './state.js';
import {Tile} from './tile.js';

const GAP = 10; // px between tiles; the same in call.css

export class Stage {
  #store;
  #levels;
  #display;
  #onWhy;
  #onMove;
  #mix = null; // the MixTile, while it is shown
  #tiles = new Map();
  #stage = document.querySelector('.stage');
  #lists = {camera: byId('tiles'), screen: byId('screens')};
  #own = {track: null, mic: null, media: null};

  // display is told of every tile with somebody else's picture; onWhy(subject) is called for who asks why one looks so,
  // onMove(region) for who wants to be in another place of the mixed picture.
  constructor(store, levels, display, onWhy, onMove) {
    this.#store = store;
    this.#levels = levels;
    this.#display = display;
    this.#onWhy = onWhy;
    this.#onMove = onMove;
    byId('sound').addEventListener('click', () => this.#turnOnSound());
    const observer = new ResizeObserver(() => this.#arrange());
    observer.observe(this.#stage);
    for (const list of Object.values(this.#lists)) observer.observe(list);
    store.watch((state) => this.#render(state));
  }

  #render(state) {
    byId('sound').hidden = !state.soundBlocked;
    const mixed = state.self !== null && state.view === View.MIXED && state.mix !== null;
    const wanted = state.self ? this.#describe(state).filter(({kind}) => !mixed || kind === 'screen') : [];
    const keys = new Set(wanted.map((tile) => tile.key));
    let changed = false;
    for (const [key, tile] of this.#tiles) {
      if (keys.has(key)) continue;
      this.#display.unwatch(tile.element);
      tile.remove();
      this.#tiles.delete(key);
      changed = true;
    }
    const last = {camera: null, screen: null};
    for (const description of wanted) {
      const {kind} = description;
      let tile = this.#tiles.get(description.key);
      if (!tile) {
        tile = new Tile(description.key, this.#levels, () => this.#store.set({soundBlocked: true}), this.#onWhy);
        this.#tiles.set(description.key, tile);
        changed = true;
      }
      tile.show(description);
      this.#place(tile.element, this.#lists[kind], last[kind]);
      last[kind] = tile.element;
      if (!description.own && description.stream && description.video !== 'none') this.#display.watch(tile.element, description.stream);
    }
    if (this.#renderMix(mixed, state)) changed = true;
    const alone = state.self !== null && state.people.length === 0 && !state.crowd;
    byId('alone').hidden = !alone;
    this.#stage.classList.toggle('is-alone', alone);
    this.#stage.classList.toggle('with-screen', this.#lists.screen.childElementCount > 0);
    if (changed) this.#arrange();
  }

  // #renderMix shows the mixed picture among the people's tiles, or takes it away, and tells whether that changed something.
  #renderMix(mixed, state) {
    const before = this.#mix;
    if (!mixed) {
      before?.remove();
      this.#mix = null;
      return before !== null;
    }
    this.#mix ??= new MixTile(this.#onMove, () => this.#store.set({soundBlocked: true}), this.#onWhy);
    if (!before) this.#lists.camera.append(this.#mix.element);
    const names = new Map(state.streams.map(({id, owner}) => [id, state.people.find((person) => person.id === owner)?.name]));
    if (state.mix.own) names.set(state.mix.own, state.self.name);
    this.#mix.show(state.mix, names);
    return before === null;
  }

  // #place puts a new element behind its neighbour in the list of descriptions; one that is there already is not touched,
  // because a video that moves in the document stops for a moment.
  #place(element, list, neighbour) {
    if (element.parentElement === list) return;
    list.insertBefore(element, neighbour ? neighbour.nextSibling : list.firstChild);
  }

  #describe(state) {
    const tiles = [];
    const add = (stream, name) => tiles.push({...stream, key: stream.id, name, own: false, participant: stream.owner, stream: stream.id});
    for (const person of state.people) {
      const streams = state.streams.filter((stream) => stream.owner === person.id);
      for (const stream of streams) add(stream, person.name);
      if (!streams.some((stream) => stream.kind === 'camera')) {
        tiles.push({key: `without ${person.id}`, name: person.name, own: false, kind: 'camera', media: null, audio: 'none', video: 'none', participant: person.id});
      }
    }
    // Streams that the server brought in belong to nobody in the room.
    for (const stream of state.streams) {
      if (!state.people.some((person) => person.id === stream.owner)) add(stream, 'Stream');
    }
    tiles.push(this.#describeSelf(state));
    return tiles;
  }

  #describeSelf({self, mic, camera}) {
    const own = this.#own;
    if (own.track !== camera.track || own.mic !== mic.track) {
      const tracks = [camera.track, mic.track].filter(Boolean);
      this.#own = {track: camera.track, mic: mic.track, media: tracks.length ? new MediaStream(tracks) : null};
    }
    return {
      key: 'self', name: self.name, own: true, kind: 'camera', media: this.#own.media, participant: self.id,
      audio: mic.on ? 'on' : 'off', video: camera.on && camera.track ? 'on' : 'off',
    };
  }

  #turnOnSound() {
    for (const tile of this.#tiles.values()) tile.unmute();
    this.#mix?.unmute();
    this.#levels.resume();
    this.#store.set({soundBlocked: false});
  }

  #arrange() {
    for (const list of Object.values(this.#lists)) {
      const grid = bestGrid(list.childElementCount, list.clientWidth, list.clientHeight, GAP);
      list.style.setProperty('--tile-width', `${grid.width}px`);
      list.style.setProperty('--tile-height', `${grid.height}px`);
    }
  }
}
