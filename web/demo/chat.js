// The chat: what everyone in the room wrote since this participant joined.

import {byId, make} from './dom.js';
import {notify} from './notices.js';
import {MESSAGES_KEPT, Phase} from './state.js';

const TIME = new Intl.DateTimeFormat(undefined, {hour: '2-digit', minute: '2-digit'});
const TOGETHER = 3 * 60 * 1000; // ms within which messages of one sender stand under one name

export class Chat {
  #store;
  #call;
  #last = null;
  #log = byId('messages');
  #empty = this.#log.querySelector('.empty');
  #input = byId('chat-text');

  constructor(store, call) {
    this.#store = store;
    this.#call = call;
    byId('chat-toggle').addEventListener('click', () => this.toggle());
    byId('chat-close').addEventListener('click', () => this.toggle(false));
    byId('chat-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#input.addEventListener('keydown', (event) => {
      // Return during composition picks a candidate of the input method.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#send();
    });
    this.#input.addEventListener('input', () => this.#grow());
    store.watch((state) => this.#render(state));
  }

  toggle(open = !this.#store.state.chatOpen) {
    this.#store.set(open ? {chatOpen: true, unread: 0} : {chatOpen: false});
    if (open) this.#input.focus();
    else byId('chat-toggle').focus();
  }

  async #send() {
    const text = this.#input.value.trim();
    if (!text) return;
    this.#input.value = '';
    this.#grow();
    try {
      await this.#call.send(text);
    } catch (error) {
      // The text comes back unless something new was begun.
      this.#input.value ||= text;
      this.#grow();
      notify({title: 'The message was not sent.', text: error.message, danger: true});
    }
  }

  #grow() {
    this.#input.style.height = 'auto';
    this.#input.style.height = `${this.#input.scrollHeight}px`;
  }

  #render(state) {
    const panel = byId('chat');
    panel.hidden = !state.chatOpen;
    byId('call').classList.toggle('chatting', state.chatOpen);
    const toggle = byId('chat-toggle');
    toggle.setAttribute('aria-expanded', String(state.chatOpen));
    toggle.setAttribute('aria-label', state.unread ? `Chat, ${state.unread} new` : 'Chat');
    const badge = toggle.querySelector('.badge');
    badge.hidden = state.unread === 0;
    badge.textContent = state.unread > 99 ? '99+' : String(state.unread);
    if (state.phase !== Phase.CALL) this.#clear();
    for (const message of state.messages) {
      if (message.id > (this.#last?.id ?? 0)) this.#append(message);
    }
  }

  #clear() {
    this.#log.replaceChildren(this.#empty);
    this.#last = null;
  }

  #append(message) {
    const atEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 60;
    this.#empty.remove();
    const item = make('article', message.own ? 'message own' : 'message');
    const follows = this.#last && this.#last.from === message.from && message.time - this.#last.time < TOGETHER;
    if (!follows) {
      const head = make('header');
      head.append(make('strong', '', message.own ? 'You' : message.name));
      const time = make('time', '', TIME.format(message.time));
      time.dateTime = new Date(message.time).toISOString();
      head.append(time);
      item.append(head);
    }
    const text = make('p');
    for (const part of linkify(message.text)) text.append(part.link ? link(part.text) : part.text);
    item.append(text);
    this.#log.append(item);
    while (this.#log.childElementCount > MESSAGES_KEPT) this.#log.firstElementChild.remove();
    this.#last = message;
    if (atEnd || message.own) this.#log.scrollTop = this.#log.scrollHeight;
  }
}

// linkify cuts a text into {text, link} parts; only http and https addresses become links.
export function linkify(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(/https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}]/gi)) {
    if (match.index > end) parts.push({text: text.slice(end, match.index), link: false});
    parts.push({text: match[0], link: true});
    end = match.index + match[0].length;
  }
  if (end < text.length) parts.push({text: text.slice(end), link: false});
  return parts;
}

function link(address) {
  const anchor = make('a', '', address);
  anchor.href = address;
  anchor.target = '_blank';
  anchor.rel = 'noopener noreferrer';
  return anchor;
}
