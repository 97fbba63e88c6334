// The demo page of Portico: enter a name and a room, see and hear the others. This file builds the parts and connects them.

import {DEFAULT_ROOM, readAddress, withRoom} from './address.js';
import {Call} from './call.js';
import {Chat} from './chat.js';
import {Controls} from './controls.js';
import {Devices} from './devices.js';
import {Display} from './display.js';
import {bindDeviceFields, bindDialogs, closeDialogs, openDialog} from './dialogs.js';
import {byId} from './dom.js';
import {Levels} from './levels.js';
import {Lobby} from './lobby.js';
import {clearNotices, notify} from './notices.js';
import {Prefs} from './prefs.js';
import {bindShortcuts} from './shortcuts.js';
import {Stage} from './stage.js';
import {initialState, Phase, Store, View} from './state.js';
import {checkToken, requestToken} from './token.js';
import {keepAwake} from './wakelock.js';
import {Why} from './why.js';
import {joinProblem, left, lostCall, screenProblem, unsupported} from './words.js';

const SCREENS = {lobby: [Phase.LOBBY, Phase.JOINING], call: [Phase.CALL], ended: [Phase.ENDED]};

function start() {
  const address = readAddress(location.href);
  // A token works once and is nobody else's business: not to be seen or bookmarked.
  if (address.token) history.replaceState(null, '', withRoom(location.href, address.room));
  const prefs = new Prefs();
  const store = new Store(initialState(prefs, {...address, room: address.room || (address.token ? '' : DEFAULT_ROOM)}));
  const levels = new Levels();
  const devices = new Devices(store, prefs);
  const call = new Call(store, {relay: address.relay}, {
    lost: (error) => store.set({phase: Phase.ENDED, ended: lostCall(error)}),
    problem: (error) => notify({title: 'Sound or picture does not get through.', text: error.message, danger: true, action: {label: 'Join again', run: rejoin}}),
    arrived: (name) => notify({title: `${name} joined`}),
    departed: (name) => notify({title: `${name} left`}),
  });

  async function join({name, room, token}) {
    const entry = {name: name || 'Guest', room: room || (token ? '' : DEFAULT_ROOM)};
    prefs.save({name});
    levels.resume();
    store.set({...entry, phase: Phase.JOINING, joinProblem: null, ended: null});
    try {
      const another = () => requestToken(entry.room, entry.name);
      await (token ? call.join(checkToken(token)) : call.join(await another(), another)); // a token that somebody brought cannot be renewed
      store.set({token: ''});
      history.replaceState(null, '', withRoom(location.href, entry.room));
    } catch (error) {
      const needsToken = store.state.needsToken || error.code === 'needs-token';
      store.set({phase: Phase.LOBBY, needsToken, joinProblem: joinProblem(error)});
      if (needsToken) byId('token').focus();
    }
  }

  function leave() {
    call.leave().catch(() => {}); // gone either way
    devices.close();
    store.set({phase: Phase.ENDED, ended: left});
  }

  // rejoin goes straight back with devices as they are. What needs a new token or a look at the camera starts at the lobby.
  async function rejoin() {
    await call.leave().catch(() => {});
    if (store.state.ended === left || store.state.needsToken) toLobby();
    else await join(store.state);
  }

  function toLobby() {
    store.set({phase: Phase.LOBBY, joinProblem: null});
    if (!store.state.mic.track && !store.state.camera.track) devices.open();
  }

  async function share() {
    if (store.state.screen) return call.unshare();
    try {
      await call.share(await navigator.mediaDevices.getDisplayMedia({video: {frameRate: {max: 30}}, audio: true}));
    } catch (error) {
      const problem = screenProblem(error);
      if (problem) notify({...problem, danger: true});
    }
  }

  const changeView = () => call.show(store.state.mix && store.state.view === View.GALLERY ? View.MIXED : View.GALLERY);
  const toggle = (kind) => devices.setOn(kind, !store.state[kind].on);
  const chat = new Chat(store, call);
  new Lobby(store, levels, {join, toggle, retry: () => devices.open()});
  const why = new Why(call);
  new Stage(store, levels, new Display(call), (subject) => why.open(subject), (region) => call.moveTo(region).catch((error) => notify({title: 'The place could not be changed.', text: error.message})));
  new Controls(store, {mic: () => toggle('mic'), camera: () => toggle('camera'), share, view: changeView, leave});
  bindDialogs(store, prefs);
  bindDeviceFields(store, prefs, devices);
  bindShortcuts(() => prefs.shortcuts && store.state.phase === Phase.CALL, {
    'm': () => toggle('mic'),
    'v': () => toggle('camera'),
    's': share,
    'g': changeView,
    'c': () => chat.toggle(),
    'i': () => openDialog('invite'),
    '?': () => openDialog('help'),
    'Shift+l': leave,
    'Escape': () => store.state.chatOpen && chat.toggle(false),
  });
  byId('rejoin').addEventListener('click', rejoin);
  byId('home').addEventListener('click', toLobby);
  // Tell the others at once; without this they would look at a frozen picture until the server misses the heartbeat.
  addEventListener('pagehide', () => call.leave().catch(() => {}));

  store.watch(showScreen);
  store.watch(tellProblems);
  keepAwake(store);
  devices.open();
  // A failure is told when somebody wants to join.
  call.preload().catch(() => {});
}

// showScreen shows the screen of the phase and takes the focus there, so that screen readers read its heading.
function showScreen(state, before) {
  const unread = state.unread ? `(${state.unread}) ` : '';
  document.title = state.phase === Phase.CALL && state.room ? `${unread}${state.room} – Portico` : `${unread}Portico`;
  for (const [id, phases] of Object.entries(SCREENS)) byId(id).hidden = !phases.includes(state.phase);
  document.body.dataset.phase = state.phase;
  if (state.ended) {
    byId('ended').querySelector('h1').textContent = state.ended.title;
    byId('ended').querySelector('p').textContent = state.ended.text;
  }
  if (state.phase === before.phase || state.phase === Phase.JOINING) return;
  closeDialogs();
  clearNotices();
  document.querySelector('main:not([hidden]) h1').focus();
}

// tellProblems reports devices that fail during the call; before it, the lobby does.
function tellProblems(state, before) {
  for (const kind of ['mic', 'camera']) {
    const {problem} = state[kind];
    if (state.phase === Phase.CALL && problem && problem !== before[kind].problem) notify({...problem, title: `${problem.title}.`, danger: true});
  }
}

const reason = unsupported(window);
if (reason) {
  byId('unsupported').textContent = reason;
  byId('unsupported').hidden = false;
} else {
  start();
}
