// The screen before the call: who, where, and with which camera and microphone.

import {byId, make, paintAvatar} from './dom.js';
import {Phase} from './state.js';
import {jointProblem, wayIn} from './words.js';

export class Lobby {
  #store;
  #levels;
  #shown = {track: null, metered: null};
  #frame = document.querySelector('.preview-frame');

  // actions are join({name, room, token}), toggle(kind) and retry().
  constructor(store, levels, actions) {
    this.#store = store;
    this.#levels = levels;
    const {name, room, token} = store.state;
    byId('name').value = name;
    byId('room').value = room;
    byId('token').value = token;
    byId('name').addEventListener('input', () => this.#paint());
    byId('preview-mic').addEventListener('click', () => actions.toggle('mic'));
    byId('preview-camera').addEventListener('click', () => actions.toggle('camera'));
    byId('join-form').addEventListener('submit', (event) => {
      event.preventDefault();
      actions.join({name: byId('name').value.trim(), room: byId('room').value.trim(), token: byId('token').value.trim()});
    });
    byId('device-problem').addEventListener('click', (event) => {
      if (event.target.closest('button')) actions.retry();
    });
    store.watch((state, before) => this.#render(state, before));
  }

  #render(state, before) {
    const here = state.phase === Phase.LOBBY || state.phase === Phase.JOINING;
    byId('token-field').hidden = !state.needsToken;
    byId('room-field').hidden = state.needsToken && Boolean(state.token);
    if (state.token === '' && before.token !== '') byId('token').value = '';
    this.#renderJoin(state);
    this.#renderPreview(state, here);
    this.#meter(here ? state.mic.track : null);
    if (state.mic !== before.mic || state.camera !== before.camera || state === before) this.#renderProblems(state);
  }

  #renderJoin({phase, joinProblem}) {
    const joining = phase === Phase.JOINING;
    const button = byId('join');
    button.disabled = joining;
    button.classList.toggle('busy', joining);
    button.querySelector('.text').textContent = joining ? 'Joining…' : 'Join';
    const box = byId('join-problem');
    box.hidden = !joinProblem;
    box.replaceChildren(...(joinProblem ? [make('strong', '', joinProblem.title), ` ${joinProblem.text}`] : []));
  }

  #renderPreview({mic, camera, opening}, here) {
    const track = here ? camera.track : null;
    if (track !== this.#shown.track) {
      this.#shown.track = track;
      byId('preview').srcObject = track ? new MediaStream([track]) : null;
    }
    this.#frame.dataset.video = track ? 'on' : 'off';
    this.#paint();
    byId('preview-note').textContent = note(camera, opening);
    for (const [id, device, name] of [['preview-mic', mic, 'microphone'], ['preview-camera', camera, 'camera']]) {
      const button = byId(id);
      button.setAttribute('aria-pressed', String(device.on));
      button.setAttribute('aria-label', `Turn the ${name} ${device.on ? 'off' : 'on'}`);
      button.title = button.getAttribute('aria-label');
      button.classList.toggle('problem', Boolean(device.problem));
    }
  }

  #renderProblems({mic, camera}) {
    const joint = jointProblem(camera.problem, mic.problem, navigator.userAgent);
    const problems = joint ? [joint] : [camera.problem, mic.problem].filter(Boolean);
    const box = byId('device-problem');
    box.hidden = problems.length === 0;
    const items = problems.map(({title, text}) => {
      const item = make('p');
      item.append(make('strong', '', `${title}.`), ` ${text}`);
      return item;
    });
    const retry = make('button', 'plain slim', 'Try again');
    retry.type = 'button';
    box.replaceChildren(...items, make('p', '', wayIn(Boolean(mic.track), Boolean(camera.track))), retry);
  }

  #meter(track) {
    if (track === this.#shown.metered) return;
    this.#shown.metered = track;
    const meter = document.querySelector('.meter');
    meter.style.setProperty('--level', 0);
    if (!track) this.#levels.unwatch('preview');
    else this.#levels.watch('preview', track, (level) => meter.style.setProperty('--level', level.toFixed(2)));
  }

  #paint() {
    paintAvatar(this.#frame.querySelector('.avatar'), byId('name').value || 'Guest');
  }
}

function note(camera, opening) {
  if (camera.track) return '';
  if (opening) return 'The browser may ask whether this page can use your camera and microphone.';
  if (camera.problem) return camera.problem.title;
  return 'Your camera is off';
}
