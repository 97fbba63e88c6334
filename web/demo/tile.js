// One picture of the call: somebody's camera, somebody without one, or a shared screen.

import {fromTemplate, paintAvatar} from './dom.js';

export class Tile {
  #levels;
  #onBlocked;
  #description = null;
  #video;
  #avatar;
  #name;
  #shown = {};
  #metered = null;

  // onBlocked is called when the browser plays no sound before a click, onWhy(subject) for who asks why it looks so: see why.js.
  constructor(key, levels, onBlocked, onWhy) {
    this.key = key;
    this.#levels = levels;
    this.#onBlocked = onBlocked;
    this.element = fromTemplate('tile').firstElementChild;
    this.#video = this.element.querySelector('video');
    this.#avatar = this.element.querySelector('.avatar');
    this.#name = this.element.querySelector('.name');
    const expand = this.element.querySelector('.expand');
    if (this.element.requestFullscreen) expand.addEventListener('click', () => this.#toggleFullscreen());
    else expand.remove();
    this.element.querySelector('.why').addEventListener('click', () => {
      const {name, own, stream} = this.#description;
      onWhy({label: this.#shown.label, name, own, stream, element: this.element});
    });
  }

  // show brings the tile in line with a description from stage.js.
  show(description) {
    const {name, own, kind, media, audio, video, participant, stream} = description;
    this.#description = description;
    Object.assign(this.element.dataset, {kind, audio, video, participant, stream: stream ?? '', own: own ? 'yes' : 'no'});
    const label = labelOf(name, own, kind);
    if (this.#shown.label !== label) {
      this.#name.textContent = label;
      paintAvatar(this.#avatar, name);
    }
    this.element.setAttribute('aria-label', describe(description, label));
    if (this.#shown.media !== media) this.#attach(media, own);
    this.#meter(media, audio);
    this.#shown = {label, media, own};
  }

  // unmute plays the sound after a click; the browser allows it from within the click's handler only.
  unmute() {
    if (this.#shown.own || !this.#video.srcObject) return;
    this.#video.muted = false;
    this.#play();
  }

  remove() {
    this.#levels.unwatch(this.key);
    this.#video.srcObject = null;
    this.element.remove();
  }

  #attach(media, own) {
    this.#video.muted = own;
    this.#video.srcObject = media;
    if (media) this.#play();
  }

  #play() {
    this.#video.play().catch((error) => {
      // Anything else (the stream went meanwhile) needs no answer.
      if (error.name !== 'NotAllowedError' || this.#video.muted) return;
      this.#video.muted = true;
      this.#video.play().catch(() => {});
      this.#onBlocked();
    });
  }

  #meter(media, audio) {
    const track = audio === 'on' ? media?.getAudioTracks()[0] ?? null : null;
    if (track === this.#metered) return;
    this.#metered = track;
    this.element.classList.remove('speaking');
    if (track) this.#levels.watch(this.key, track, (_, speaking) => this.element.classList.toggle('speaking', speaking));
    else this.#levels.unwatch(this.key);
  }

  #toggleFullscreen() {
    // Refused when the page is embedded without the right to it: the picture stays as it is.
    if (document.fullscreenElement === this.element) document.exitFullscreen();
    else this.element.requestFullscreen().catch(() => {});
  }
}

function labelOf(name, own, kind) {
  if (kind === 'screen') return `${name}’s screen`;
  return own ? `${name} (you)` : name;
}

function describe({kind, audio, video}, label) {
  if (kind === 'screen') return label;
  const facts = [label];
  if (video !== 'on') facts.push('camera off');
  if (audio !== 'on') facts.push('microphone off');
  return facts.join(', ');
}
