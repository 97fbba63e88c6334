// The panel that answers why a picture looks as it does.

import {byId, make} from './dom.js';
import {eventRows, receivedRows, receivedSentence, sentRows, sentSentence} from './reasons.js';
import {receivedPicture, sentPictures} from './stats.js';

const AGAIN = 1000; // ms between two looks

export class Why {
  #call;
  #dialog = byId('why');
  #subject = null; // {label, name, own, stream, element}
  #before = null; // what the browser knew when it was looked at last
  #look = 0; // counts up: what comes of an earlier look is dropped

  // call has inspect(stream), with null for this page's own camera.
  constructor(call) {
    this.#call = call;
    this.#dialog.addEventListener('close', () => {
      this.#subject = null;
      this.#look++;
    });
  }

  // open shows the panel for a tile.
  open(subject) {
    this.#subject = subject;
    this.#before = null;
    byId('why-subject').textContent = subject.label;
    this.#write('why-sentence', '');
    for (const id of ['why-facts', 'why-events']) byId(id).replaceChildren();
    byId('why-history').hidden = true;
    if (!this.#dialog.open) this.#dialog.showModal();
    this.#run(++this.#look);
  }

  async #run(look) {
    const found = await this.#call.inspect(this.#subject.own ? null : this.#subject.stream).catch(() => null);
    if (look !== this.#look) return;
    if (!found || !this.#subject.element.isConnected) {
      this.#dialog.close();
      return;
    }
    this.#show(found);
    setTimeout(() => {
      if (look === this.#look) this.#run(look);
    }, AGAIN);
  }

  #show({report, track, told}) {
    const {own, name, element} = this.#subject;
    const read = own ? sentPictures : receivedPicture;
    const facts = track && report ? read(report, track, this.#before) : null;
    this.#before = facts;
    if (own) {
      this.#write('why-sentence', sentSentence(facts));
      this.#list(sentRows(facts));
      return;
    }
    const scale = globalThis.devicePixelRatio || 1;
    const shown = {width: Math.round(element.clientWidth * scale), height: Math.round(element.clientHeight * scale)};
    this.#write('why-sentence', receivedSentence(name, told));
    this.#list(receivedRows(facts, told, shown));
    const events = eventRows(told);
    byId('why-history').hidden = events.length === 0;
    byId('why-events').replaceChildren(...events.map(({at, text}) => {
      const item = make('li');
      item.append(make('time', '', at.toLocaleTimeString()), ` ${text}`);
      return item;
    }));
  }

  // #list writes the facts in place, so that what somebody is reading stays where it is.
  #list(rows) {
    const list = byId('why-facts');
    while (list.childElementCount > rows.length) list.lastElementChild.remove();
    for (const [index, [label, value]] of rows.entries()) {
      let row = list.children[index];
      if (!row) {
        row = make('div');
        row.append(make('dt'), make('dd'));
        list.append(row);
      }
      if (row.firstChild.textContent !== label) row.firstChild.textContent = label;
      if (row.lastChild.textContent !== value) row.lastChild.textContent = value;
    }
  }

  // #write changes a text only when it differs: screen readers read every change.
  #write(id, text) {
    const element = byId(id);
    if (element.textContent !== text) element.textContent = text;
  }
}
