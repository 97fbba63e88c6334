// Where the token comes from: the edge hands one out in development mode; elsewhere the person brings one.

const ROLE = 'presenter';

export class TokenError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'TokenError';
    this.code = code; // as in words.js
  }
}

// requestToken asks this server for a token. The code needs-token means that it gives none.
export async function requestToken(room, user, fetcher = fetch) {
  let response;
  try {
    response = await fetcher('/demo/token', {
      method: 'POST',
      headers: {'Content-Type': 'application/json'},
      body: JSON.stringify({room, user, role: ROLE}),
    });
  } catch {
    throw new TokenError('disconnected', '');
  }
  if (response.status === 404) throw new TokenError('needs-token', '');
  if (!response.ok) throw new TokenError('refused', await errorText(response));
  const {token} = await response.json().catch(() => ({}));
  if (typeof token !== 'string') throw new TokenError('refused', 'The server answered without a token.');
  return token;
}

// checkToken throws invalid-token for what cannot be one, so that a slip in copying is told without a round trip.
export function checkToken(text) {
  const token = text.replace(/\s+/g, '');
  try {
    if (typeof JSON.parse(atob(token)).host === 'string') return token;
  } catch {
    // Not base64 or not JSON: told below.
  }
  throw new TokenError('invalid-token', '');
}

async function errorText(response) {
  const text = (await response.text().catch(() => '')).trim();
  try {
    const body = JSON.parse(text);
    const message = body.error?.message ?? body.error ?? body.message;
    if (typeof message === 'string') return message;
  } catch {
    // Plain text.
  }
  return text.slice(0, 200) || `HTTP ${response.status}`;
}
