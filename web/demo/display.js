// Tells the server at which size each picture is shown, and that nobody looks at it: so it sends no more than is seen.

const SETTLE = 500; // ms that a size has to last
const CHANGED = 0.2; // part by which it has to differ from the one told

// changedMuch tells whether a size, {width, height}, differs enough from the one before, or null, to be told.
export function changedMuch(before, size) {
  if (!before) return true;
  return ['width', 'height'].some((side) => Math.abs(size[side] - before[side]) > CHANGED * before[side]);
}

export class Display {
  #call;
  #watched = new Map(); // by element: {stream, onScreen, size, told, paused, timer}
  #resized;
  #seen;

  // call has showAt(stream, size) and pause(stream, paused).
  constructor(call) {
    this.#call = call;
    this.#resized = new ResizeObserver((entries) => {
      for (const {target} of entries) this.#measure(target);
    });
    this.#seen = new IntersectionObserver((entries) => {
      for (const {target, isIntersecting} of entries) {
        const watched = this.#watched.get(target);
        if (!watched) continue;
        watched.onScreen = isIntersecting;
        this.#look(target);
      }
    });
    document.addEventListener('visibilitychange', () => {
      for (const element of this.#watched.keys()) this.#look(element);
    });
  }

  // watch begins to look after the picture of a stream, once.
  watch(element, stream) {
    if (this.#watched.has(element)) return;
    this.#watched.set(element, {stream, onScreen: true, size: null, told: null, paused: false, timer: 0});
    this.#resized.observe(element);
    this.#seen.observe(element);
    element.addEventListener('leavepictureinpicture', this.#left, {capture: true});
  }

  unwatch(element) {
    clearTimeout(this.#watched.get(element)?.timer);
    this.#watched.delete(element);
    this.#resized.unobserve(element);
    this.#seen.unobserve(element);
  }

  #left = ({currentTarget}) => this.#look(currentTarget);

  #measure(element) {
    const watched = this.#watched.get(element);
    if (!watched) return;
    const scale = globalThis.devicePixelRatio || 1;
    watched.size = {width: Math.round(element.clientWidth * scale), height: Math.round(element.clientHeight * scale)};
    this.#later(watched, watched.told ? SETTLE : 0, () => this.#tell(watched));
  }

  #tell(watched) {
    const {stream, size, told} = watched;
    if (!size.width || !size.height || !changedMuch(told, size)) return;
    watched.told = size;
    this.#call.showAt(stream, size);
  }

  // #look pauses a picture that has not been seen for a while, and lets it go on at once.
  #look(element) {
    const watched = this.#watched.get(element);
    if (!watched) return;
    const floats = document.pictureInPictureElement && element.contains(document.pictureInPictureElement);
    const visible = floats || (watched.onScreen && document.visibilityState === 'visible');
    if (visible === !watched.paused) {
      if (visible) this.#measure(element); // the pause that was to come is off
      return;
    }
    const change = () => {
      watched.paused = !visible;
      this.#call.pause(watched.stream, watched.paused);
      if (visible) this.#measure(element);
    };
    if (visible) change();
    else this.#later(watched, SETTLE, change);
  }

  // #later replaces what was to be done.
  #later(watched, delay, run) {
    clearTimeout(watched.timer);
    watched.timer = setTimeout(run, delay);
  }
}
