// The row of buttons under the call.

import {byId} from './dom.js';
import {Phase, View} from './state.js';
import {peopleCount} from './words.js';

export class Controls {
  #labels = {
    mic: ['Unmute', 'Mute'],
    camera: ['Start video', 'Stop video'],
    share: ['Share screen', 'Stop sharing'],
    view: ['One picture', 'Gallery'],
  };

  // actions are the functions mic, camera, share, view and leave.
  constructor(store, actions) {
    for (const [id, run] of Object.entries(actions)) byId(id).addEventListener('click', run);
    if (!navigator.mediaDevices?.getDisplayMedia) byId('share').hidden = true;
    store.watch((state) => this.#render(state));
  }

  #render(state) {
    this.#toggle('mic', state.mic.on, state.mic.problem);
    this.#toggle('camera', state.camera.on, state.camera.problem);
    this.#toggle('share', Boolean(state.screen), null);
    this.#toggle('view', state.view === View.MIXED, null);
    byId('view').hidden = state.mix === null;
    if (state.phase !== Phase.CALL) return;
    byId('call-title').textContent = state.room || 'Call';
    byId('count').textContent = peopleCount(state.crowd || state.people.length + 1);
    byId('connection').textContent = state.reconnecting ? 'Connection lost. Coming back …' : '';
    byId('invite-button').hidden = !state.room;
    byId('alone').querySelector('button').hidden = !state.room;
  }

  #toggle(id, on, problem) {
    const button = byId(id);
    const label = this.#labels[id][Number(on)];
    button.dataset.on = String(on); // not aria-pressed: the name says what pressing does, and “Mute, pressed” would say the opposite
    button.classList.toggle('problem', Boolean(problem));
    button.title = problem ? `${label} (${problem.title})` : label;
    button.setAttribute('aria-label', button.title);
    button.querySelector('.label').textContent = label;
  }
}
