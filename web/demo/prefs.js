// What the page remembers between visits. A browser that keeps nothing (private window, storage refused) forgets, and that is all.

const KEY = 'portico.demo';
const DEFAULTS = {name: '', mic: '', camera: '', quality: 'medium', shortcuts: true};

export class Prefs {
  #values;

  constructor() {
    this.#values = {...DEFAULTS, ...read()};
  }

  get name() { return this.#values.name; }
  get mic() { return this.#values.mic; }
  get camera() { return this.#values.camera; }
  get quality() { return this.#values.quality; }
  get shortcuts() { return this.#values.shortcuts; }

  save(patch) {
    Object.assign(this.#values, patch);
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#values));
    } catch {
      // Storage is refused or full: the values hold until the page is closed.
    }
  }
}

function read() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? '{}');
    // Values of another type than the default were not written by this page.
    return Object.fromEntries(Object.entries(stored).filter(([key, value]) => typeof value === typeof DEFAULTS[key]));
  } catch {
    return {};
  }
}
