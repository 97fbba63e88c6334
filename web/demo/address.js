// The page's own address: ?room= names the room, ?relay=1 sends all media through the relay, #token= brings a token along.

export const DEFAULT_ROOM = 'lobby';

export function readAddress(href) {
  const url = new URL(href);
  const fragment = new URLSearchParams(url.hash.slice(1));
  return {
    room: (url.searchParams.get('room') ?? '').trim().slice(0, 80),
    token: (fragment.get('token') ?? '').trim(),
    relay: url.searchParams.get('relay') === '1',
  };
}

// withRoom is the address that leads into room: it keeps the query and drops the token, which works only once.
export function withRoom(href, room) {
  const url = new URL(href);
  url.hash = '';
  if (room) url.searchParams.set('room', room);
  return url.href;
}

// invitation is the address for others: nothing but the room, since ?relay= is a choice of this participant alone.
export function invitation(href, room) {
  const url = new URL(href);
  return withRoom(url.origin + url.pathname, room);
}
