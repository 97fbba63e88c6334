// Keeps the screen of a phone on during a call, where the browser can do that.

import {Phase} from './state.js';

export function keepAwake(store) {
  let lock = null;
  const update = async () => {
    const wanted = store.state.phase === Phase.CALL && document.visibilityState === 'visible';
    if (wanted && !lock && navigator.wakeLock) {
      // Refused when the battery is low: the screen then goes dark as it always does.
      lock = await navigator.wakeLock.request('screen').catch(() => null);
      lock?.addEventListener('release', () => {
        lock = null;
      });
    } else if (!wanted) {
      lock?.release();
    }
  };
  store.watch((state, before) => {
    if (state.phase !== before.phase) update();
  });
  // The browser takes the lock back whenever the page is hidden.
  document.addEventListener('visibilitychange', update);
}
