// Single keys during a call. They rest while something is typed, while a dialog is open, and when switched off in the help.

export function bindShortcuts(isActive, actions) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || event.defaultPrevented) return;
    if (event.target.closest?.('input:not([type=checkbox]), textarea, select, [contenteditable]') || document.querySelector('dialog[open]')) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const run = actions[event.shiftKey && key !== '?' ? `Shift+${key}` : key];
    if (!run || !isActive(key)) return;
    event.preventDefault();
    run();
  });
}
