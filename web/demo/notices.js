// Short messages above the controls; the region is announced by screen readers.

import {byId, make} from './dom.js';

const STAY = 5000; // ms
const MOST = 3; // notices at a time

// notify shows {title, text}; an action {label, run} keeps it until it is used or closed, as do problems. A notice with the
// same title is replaced: what breaks ten pictures at once is told once.
export function notify({title, text, danger = false, action = null}) {
  const region = byId('notices');
  for (const shown of region.querySelectorAll('.notice')) {
    if (shown.dataset.title === title) shown.remove();
  }
  const notice = make('div', danger ? 'notice danger' : 'notice');
  notice.dataset.title = title;
  const words = make('p', 'words');
  words.append(make('strong', '', title));
  if (text) words.append(` ${text}`);
  notice.append(words);
  if (action) {
    const button = make('button', 'plain slim', action.label);
    button.type = 'button';
    button.addEventListener('click', () => {
      notice.remove();
      action.run();
    });
    notice.append(button);
  }
  if (danger || action) {
    const close = make('button', 'quiet', '×');
    close.type = 'button';
    close.setAttribute('aria-label', 'Dismiss');
    close.addEventListener('click', () => notice.remove());
    notice.append(close);
  } else {
    setTimeout(() => notice.remove(), STAY);
  }
  region.append(notice);
  while (region.childElementCount > MOST) region.firstElementChild.remove();
}

export function clearNotices() {
  byId('notices').replaceChildren();
}
