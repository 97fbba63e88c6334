// Invitation, device settings and help.

import {invitation} from './address.js';
import {byId, fromTemplate} from './dom.js';

export function openDialog(id) {
  const dialog = byId(id);
  if (!dialog.open) dialog.showModal();
}

export function closeDialogs() {
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
}

export function bindDialogs(store, prefs) {
  for (const button of document.querySelectorAll('[data-open]')) {
    button.addEventListener('click', () => openDialog(button.dataset.open));
  }
  for (const dialog of document.querySelectorAll('dialog')) {
    // A click on the backdrop arrives at the dialog itself.
    dialog.addEventListener('click', (event) => {
      if (event.target === dialog) dialog.close();
    });
  }
  const shortcuts = byId('shortcuts-on');
  shortcuts.checked = prefs.shortcuts;
  shortcuts.addEventListener('change', () => prefs.save({shortcuts: shortcuts.checked}));
  bindInvitation(store);
}

function bindInvitation(store) {
  const field = byId('invite-link');
  const said = byId('invite-state');
  store.watch(({room}) => {
    field.value = invitation(location.href, room);
  });
  byId('invite').addEventListener('close', () => {
    said.textContent = '';
  });
  field.addEventListener('focus', () => field.select());
  byId('invite-copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(field.value);
      said.textContent = 'Copied. Paste it into a message.';
    } catch {
      // No clipboard on insecure addresses, or it was refused.
      field.focus();
      said.textContent = 'The link is selected: copy it with the keyboard or the menu.';
    }
  });
  const share = byId('invite-share');
  share.hidden = !navigator.share;
  share.addEventListener('click', () => {
    navigator.share({title: 'Portico', text: 'Join me here', url: field.value}).catch((error) => {
      if (error.name !== 'AbortError') said.textContent = 'Sharing did not work; copy the link instead.';
    });
  });
}

// bindDeviceFields fills every place for device choices with its own copy of the fields.
export function bindDeviceFields(store, prefs, devices) {
  const selects = [];
  for (const place of document.querySelectorAll('[data-device-fields]')) {
    place.append(fromTemplate('device-fields'));
    for (const select of place.querySelectorAll('select')) {
      const kind = select.dataset.device;
      select.addEventListener('change', () => {
        if (kind === 'quality') devices.setQuality(select.value);
        else devices.choose(kind, select.value);
      });
      selects.push(select);
    }
  }
  store.watch((state) => {
    for (const select of selects) {
      if (select.dataset.device === 'quality') select.value = prefs.quality;
      else fill(select, select.dataset.device === 'mic' ? state.choices.mics : state.choices.cameras, state[select.dataset.device].track);
    }
  });
}

// fill lists the choices and selects the device in use; the list is rebuilt only when it changed, so that an open one stays open.
function fill(select, choices, track) {
  const listed = [...select.options].map((option) => option.value + option.text).join('\n');
  if (listed !== choices.map((choice) => choice.id + choice.label).join('\n') || choices.length === 0) {
    const options = choices.map((choice) => new Option(choice.label, choice.id));
    select.replaceChildren(...(options.length ? options : [new Option('None found', '')]));
  }
  select.disabled = choices.length === 0;
  const used = track?.getSettings().deviceId;
  if (used && select.value !== used) select.value = used;
}
