// The mixed picture, with the names of those in it over their places.

import {fromTemplate, make} from './dom.js';

export class MixTile {
  #onMove;
  #onBlocked;
  #video;
  #places;
  #shown = null;

  // onMove(region) is called for who wants to be shown there, onBlocked when the browser plays no sound before a click, onWhy(subject) as
  // by Tile.
  constructor(onMove, onBlocked, onWhy) {
    this.#onMove = onMove;
    this.#onBlocked = onBlocked;
    this.element = fromTemplate('mix').firstElementChild;
    this.#video = this.element.querySelector('video');
    this.#places = this.element.querySelector('.places');
    this.#video.addEventListener('resize', () => {
      this.element.style.setProperty('--aspect', `${this.#video.videoWidth / this.#video.videoHeight || 4 / 3}`);
    });
    const expand = this.element.querySelector('.expand');
    if (this.element.requestFullscreen) expand.addEventListener('click', () => this.#toggleFullscreen());
    else expand.remove();
    this.element.querySelector('.why').addEventListener('click', () => {
      onWhy({label: 'Everybody in one picture', name: 'The mixed picture', own: false, stream: this.#shown.id, element: this.element});
    });
  }

  // show takes the mix of the state and the names by stream.
  show(mix, names) {
    this.element.dataset.stream = mix.id;
    this.element.dataset.video = mix.media ? 'on' : 'off';
    if (this.#shown?.media !== mix.media) {
      this.#video.srcObject = mix.media;
      if (mix.media) this.#play();
    }
    const taken = mix.regions.filter(({stream}) => stream);
    while (this.#places.childElementCount > taken.length) this.#places.lastElementChild.remove();
    for (const [index, region] of taken.entries()) {
      this.#place(this.#places.children[index] ?? this.#newPlace(), region, mix, names.get(region.stream) ?? 'Somebody');
    }
    this.#shown = mix;
  }

  unmute() {
    this.#video.muted = false;
    this.#play();
  }

  remove() {
    this.#video.srcObject = null;
    this.element.remove();
  }

  #newPlace() {
    const place = make('li', 'place');
    const button = make('button', 'nameplate');
    button.type = 'button';
    button.addEventListener('click', () => this.#onMove(place.dataset.region));
    place.append(button);
    this.#places.append(place);
    return place;
  }

  #place(place, {id, stream, left, top, width, height}, {active, own}, name) {
    place.dataset.region = id;
    place.dataset.stream = stream;
    for (const [property, value] of Object.entries({left, top, width, height})) place.style[property] = `${value * 100}%`;
    place.classList.toggle('speaking', stream === active);
    const button = place.firstElementChild;
    const label = stream === own ? `${name} (you)` : name;
    if (button.textContent !== label) button.textContent = label;
    button.disabled = !own || stream === own;
    button.title = button.disabled ? '' : `Change places with ${name}`;
    if (button.title) button.setAttribute('aria-label', `${label}: change places`);
    else button.removeAttribute('aria-label');
  }

  #play() {
    this.#video.play().catch((error) => {
      if (error.name !== 'NotAllowedError' || this.#video.muted) return;
      this.#video.muted = true;
      this.#video.play().catch(() => {});
      this.#onBlocked();
    });
  }

  #toggleFullscreen() {
    if (document.fullscreenElement === this.element) document.exitFullscreen();
    else this.element.requestFullscreen().catch(() => {}); // refused when the page is embedded without the right to it
  }
}
