// A participant with data streams, in a page. participant(token) logs in; what it returns can
//   ask(event, data)      send a request, and give the data of its acknowledgement
//   told(event, match)    wait for a notification whose data has the members of match
//   open()                open the data connection and show the token
//   send(session)         open a stream of a publication, and give its writable side
//   receive(session)      wait for the edge's next stream of a subscription, and give a Reader
// Everything waits for a bounded time.

const PATIENCE = 20_000; // ms

function inTime(promise, what) {
  return Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error(`${what}: not in time`)), PATIENCE))]);
}

const bytesOf = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
const unbase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

// signalling is Engine.IO 4 and Socket.IO over a WebSocket, as much of it as is needed.
async function signalling(address) {
  const socket = new WebSocket(`${address.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`);
  const acks = new Map(), events = [], waiting = [];
  let count = 0;
  const connected = new Promise((resolve, reject) => {
    socket.onclose = () => reject(new Error('signalling closed'));
    socket.onmessage = ({data}) => {
      const [, type, id, json] = /^(\d\d?)(\d*)(.*)$/s.exec(data);
      if (type === '0') socket.send('40');
      else if (data === '2') socket.send('3');
      else if (type === '40') resolve();
      else if (type === '43') acks.get(id)(JSON.parse(json));
      else if (type === '42') {
        events.push(JSON.parse(json));
        for (const look of waiting.splice(0)) look();
      }
    };
  });
  await inTime(connected, 'signalling');
  return {
    async ask(event, data) {
      const id = String(count++);
      const answer = new Promise((resolve) => acks.set(id, resolve));
      socket.send(`42${id}${JSON.stringify([event, data])}`);
      const [status, result] = await inTime(answer, event);
      if (status !== 'ok') throw new Error(`${event}: ${result}`);
      return result;
    },
    told(event, match) {
      const found = () => events.find(([name, data]) => name === event && Object.keys(match).every((key) => data[key] === match[key]));
      return inTime(new Promise((resolve) => {
        const look = () => found() ? resolve(found()[1]) : waiting.push(look);
        look();
      }), `${event} ${JSON.stringify(match)}`);
    },
  };
}

// Reader reads a stream in pieces of the caller's size.
class Reader {
  #reader;
  #rest = new Uint8Array(0);

  constructor(readable) { this.#reader = readable.getReader(); }

  // some gives what there is, or null at the end.
  async some() {
    if (this.#rest.length > 0) {
      const rest = this.#rest;
      this.#rest = new Uint8Array(0);
      return rest;
    }
    const {value, done} = await inTime(this.#reader.read(), 'reading');
    return done ? null : value;
  }

  async exactly(size) {
    const all = new Uint8Array(size);
    for (let n = 0; n < size;) {
      const piece = await this.some();
      if (!piece) throw new Error(`ended after ${n} bytes of ${size}`);
      const part = piece.subarray(0, size - n);
      all.set(part, n);
      n += part.length;
      this.#rest = piece.subarray(part.length);
    }
    return all;
  }

  // all reads to the end.
  async all() {
    const pieces = [];
    for (let piece; (piece = await this.some());) pieces.push(piece);
    return new Uint8Array(await new Blob(pieces).arrayBuffer());
  }
}

async function participant(address, joinToken) {
  const signal = await signalling(address);
  const login = await signal.ask('login', {
    token: joinToken, protocol: '1.2', userAgent: {sdk: {type: 'JavaScript', version: '5.1'}},
  });
  const {webTransportUrl} = JSON.parse(atob(joinToken));
  const {transportId} = JSON.parse(atob(login.webTransportToken));
  let connection, incoming;
  return {
    ...signal, login, transportId, webTransportUrl,

    async open() {
      connection = new WebTransport(webTransportUrl, {
        serverCertificateHashes: login.webTransportCertificateHashes.map(({algorithm, value}) => ({algorithm, value: unbase64(value)})),
      });
      await inTime(connection.ready, 'data connection');
      incoming = connection.incomingBidirectionalStreams.getReader();
      const stream = await connection.createBidirectionalStream();
      const writer = stream.writable.getWriter();
      const token = new TextEncoder().encode(login.webTransportToken);
      writer.write(new Uint8Array(16));
      writer.write(new Uint8Array(Uint32Array.of(token.length).buffer));
      writer.write(token);
      return hexOf(await new Reader(stream.readable).exactly(16));
    },

    async send(session) {
      const stream = await connection.createBidirectionalStream();
      const writer = stream.writable.getWriter();
      await writer.write(bytesOf(session));
      const answer = hexOf(await new Reader(stream.readable).exactly(16));
      if (answer !== transportId) throw new Error(`answered by ${answer}`);
      return writer;
    },

    async receive(session) {
      const {value, done} = await inTime(incoming.read(), 'incoming stream');
      if (done) throw new Error('the data connection ended');
      const reader = new Reader(value.readable);
      const head = hexOf(await reader.exactly(16));
      if (head !== session) throw new Error(`stream of ${head}, not of ${session}`);
      return reader;
    },

    // closed waits for the end of the data connection.
    closed: () => inTime(connection.closed, 'end of the data connection').catch((error) => String(error)),
  };
}

// digest makes large contents comparable.
async function digest(bytes) {
  return `${bytes.length} bytes, ${hexOf(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)))}`;
}

Object.assign(globalThis, {participant, digest});
