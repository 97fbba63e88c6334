// What went wrong, in words that say what to do next. Every function returns {title, text} and needs no document.

// deviceProblem explains why a device could not be opened; kind is "camera", "microphone" or both with "and" between them.
// The error stays with it, so that two problems with one cause can be told as one.
export function deviceProblem(kind, error, agent = '') {
  return {...deviceWords(kind, error, agent), kind, error};
}

function deviceWords(kind, error, agent) {
  switch (error.name) {
    case 'NotAllowedError':
      if (/system/i.test(error.message)) {
        return {
          title: `The system does not let the browser use the ${kind}`,
          text: `Allow the browser to use the ${kind} in the privacy settings of this device, then load the page again.`,
        };
      }
      return {title: `Permission for the ${kind} was refused`, text: howToAllow(kind, agent)};
    case 'NotFoundError':
      return {title: `No ${kind} found`, text: 'Connect one and try again, or join without.'};
    case 'NotReadableError':
    case 'AbortError':
      return {
        title: `Something else is using the ${kind}`,
        text: `Close the program that holds the ${kind} and try again, or choose another device.`,
      };
    case 'OverconstrainedError':
      return {title: `The chosen ${kind} is gone`, text: 'Choose another one.'};
    case 'InsecureError':
      return {
        title: 'Camera and microphone need a secure address',
        text: 'Browsers open them only on https:// addresses and on localhost. You can still join to listen and watch.',
      };
    case 'EndedError':
      return {title: `The ${kind} stopped`, text: `It was disconnected, or the system took it away. Turn the ${kind} on again or choose another one.`};
    default:
      return {title: `The ${kind} could not be opened`, text: error.message || 'The browser gave no reason.'};
  }
}

// jointProblem makes one of two problems that have the same cause; null when they have not.
export function jointProblem(first, second, agent = '') {
  if (!first || !second || first.error.name !== second.error.name) return null;
  return deviceProblem(`${first.kind} and ${second.kind}`, first.error, agent);
}

function howToAllow(kind, agent) {
  if (/Firefox\//.test(agent)) {
    return `To allow it, click the crossed-out ${kind} in the address bar, remove the block, and try again.`;
  }
  if (/iPhone|iPad/.test(agent)) {
    return `To allow it, tap the page menu beside the address, open Website Settings, allow the ${kind}, and try again.`;
  }
  if (/Safari\//.test(agent) && !/Chrom/.test(agent)) {
    return `To allow it, open Settings for This Website in the Safari menu, allow the ${kind}, and try again.`;
  }
  return `To allow it, click the symbol left of the address, allow the ${kind}, and try again.`;
}

// screenProblem explains a failed screen share; null when the person simply changed their mind.
export function screenProblem(error) {
  if (error?.name === 'NotAllowedError' && !/system/i.test(error.message ?? '')) return null;
  if (error?.name === 'NotAllowedError') {
    return {title: 'The system does not allow screen sharing', text: 'Allow the browser to record the screen in the privacy settings of this device.'};
  }
  return {title: 'The screen could not be shared', text: error?.message || 'The browser gave no reason.'};
}

// REFUSALS are the server's own words for a refused join (portal protocol 2.8), and ours.
const REFUSALS = new Map([
  ['Room is full', 'The room is full. Try again when someone has left.'],
  ['Expired', 'The token has expired. Ask for a new one.'],
  ['Invalid token', 'The token is unknown here or was used before. Each token works once: ask for a new one.'],
  ['Invalid token signature', 'The token was not made by this server, or it was changed on the way. Copy it again in full, or ask for a new one.'],
  ['Invalid role', 'The role in the token does not exist in this room.'],
  ['Joining room failed', 'The room does not exist, or the server cannot open it.'],
]);

// joinProblem explains why a join failed, by the code of the client library's errors and of token.js.
export function joinProblem({code, message}) {
  switch (code) {
    case 'disconnected':
    case 'timeout':
      return {title: 'The server cannot be reached', text: 'Check the network connection and try again.'};
    case 'needs-token':
      return {title: 'This server needs a token', text: 'Paste the token you were given, then join again.'};
    case 'invalid-token':
      return {title: 'This is not a token', text: 'A token is one long line of letters and digits. Copy it again in full.'};
    case 'load-failed':
    case 'program-stopped':
    case 'version-mismatch':
      return {title: 'The call program could not be started', text: `Load the page again. (${message})`};
    case 'refused':
      return {title: 'The server refused', text: REFUSALS.get(message) ?? (message || 'It gave no reason.')};
    default:
      return {title: 'Joining did not work', text: message || 'No reason was given. Try again.'};
  }
}

// lostCall explains why a call ended that nobody left.
export function lostCall({code, message}) {
  if (code === 'program-stopped') return {title: 'The call broke off', text: message};
  return {
    title: 'Connection lost',
    text: 'The connection to the server broke off. Check the network, then join again; the others see you as gone until then.',
  };
}

export const left = {title: 'You left the call', text: 'Come back whenever you like.'};

// unsupported is the reason why this browser cannot run the page, or an empty text.
export function unsupported(scope) {
  const missing = ['WebAssembly', 'RTCPeerConnection', 'WebSocket', 'HTMLDialogElement', 'ResizeObserver'].filter((name) => !(name in scope));
  if (missing.length === 0) return '';
  return 'This browser is too old for video calls, or they are switched off in it. Please use a current Chrome, Edge, Firefox or Safari. ' +
    `(Missing: ${missing.join(', ')})`;
}

// wayIn says how one can join with the devices that work.
export function wayIn(hasMic, hasCamera) {
  if (hasMic && hasCamera) return '';
  if (hasMic) return 'You can join with your microphone only.';
  if (hasCamera) return 'You can join with your camera only and listen.';
  return 'You can still join to see and hear the others.';
}

// peopleCount is the text beside the room's name.
export function peopleCount(count) {
  return count === 1 ? 'Only you' : `${count} people`;
}
