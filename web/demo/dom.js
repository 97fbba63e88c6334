// Small helpers for the document.

export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element #${id}`);
  return element;
}

export function fromTemplate(id) {
  return byId(id).content.cloneNode(true);
}

// make creates an element with a class and a text.
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// initials are one or two letters to stand for a name; whole characters, also outside the basic plane.
export function initials(name) {
  const words = name.trim().split(/\s+/u).filter(Boolean);
  if (words.length === 0) return '?';
  const picked = words.length === 1 ? [words[0]] : [words[0], words.at(-1)];
  return picked.map((word) => [...word][0]).join('').toLocaleUpperCase();
}

// hue gives a name always the same colour, in degrees.
export function hue(name) {
  let hash = 0;
  for (const character of name) hash = (hash * 31 + character.codePointAt(0)) % 3600;
  return (hash * 7) % 360;
}

// paintAvatar writes initials on the colour of the name.
export function paintAvatar(element, name) {
  element.textContent = initials(name);
  element.style.setProperty('--hue', hue(name));
}
