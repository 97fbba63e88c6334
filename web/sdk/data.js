// Data streams over WebTransport, as the edge speaks them: every stream begins with an id of 16 bytes, written as 32 hexadecimal
// digits elsewhere. The first stream of a connection carries the token; those of a publication are opened here, those of a
// subscription by the edge.

const ID = 16; // bytes

// DataConnection is a participant's connection for data.
//
//   url                where: webTransportUrl of the join token
//   token              webTransportToken of the login, good once
//   certificateHashes  webTransportCertificateHashes of the login, if it has any
//
// It does not come back by itself: another one needs another token, and so does one to another server. Where there is no WebTransport, making one throws.
export class DataConnection {
  #connection;
  #id;
  #subscriptions = new Map(); // id: {arrived: streams nobody has taken, wanted: those who wait for one}, null when it has ended
  #over = false;

  constructor({url, token, certificateHashes = []}) {
    this.#id = JSON.parse(atob(token)).transportId;
    this.#connection = new WebTransport(url, certificateHashes.length === 0 ? {} : {
      serverCertificateHashes: certificateHashes.map(({algorithm, value}) => ({algorithm, value: Uint8Array.from(atob(value), (c) => c.charCodeAt(0))})),
    });
    // ready is fulfilled when the edge has taken the token.
    this.ready = this.#open(token);
    // closed is fulfilled when the connection has ended, in whatever way, with a text that says more or less why.
    this.closed = this.#connection.closed.then(({reason}) => reason, (error) => error.message).finally(() => this.#end());
    this.ready.catch(() => {}); // who does not wait for it learns by closed
  }

  // id is what publish and subscribe requests name as their transport.
  get id() { return this.#id; }

  // send opens a stream of a publication and gives its WritableStream. Closing or aborting that ends the stream for the subscribers.
  async send(publication) {
    await this.ready;
    const {readable, writable} = await this.#connection.createBidirectionalStream();
    const writer = writable.getWriter();
    await writer.write(bytesOf(publication));
    writer.releaseLock();
    const [answer] = await beginning(readable);
    if (answer !== this.#id) throw new Error(`The edge answered a data stream with ${answer}.`);
    return writable;
  }

  // receive gives the next stream of a subscription, a ReadableStream, or null when the subscription or the connection has ended. There
  // is one soon after subscribing, and one for each that the publisher opens.
  receive(subscription) {
    const entry = this.#of(subscription);
    if (!entry) return Promise.resolve(null);
    const {arrived, wanted} = entry;
    if (arrived.length > 0) return Promise.resolve(arrived.shift());
    if (this.#over) return Promise.resolve(null);
    return new Promise((resolve) => wanted.push(resolve));
  }

  // forget ends the waiting for streams of a subscription that has ended.
  forget(subscription) {
    const entry = this.#of(subscription);
    this.#subscriptions.set(subscription, null);
    for (const stream of entry?.arrived ?? []) stream.cancel().catch(() => {});
    for (const resolve of entry?.wanted ?? []) resolve(null);
  }

  close() { this.#connection.close(); }

  async #open(token) {
    await this.#connection.ready;
    this.#accept();
    const {readable, writable} = await this.#connection.createBidirectionalStream();
    const writer = writable.getWriter();
    const text = new TextEncoder().encode(token);
    const frame = new Uint8Array(ID + 4 + text.length); // the id of the token's stream is zero
    new DataView(frame.buffer).setUint32(ID, text.length, true);
    frame.set(text, ID + 4);
    await writer.write(frame);
    await beginning(readable);
  }

  async #accept() {
    const reader = this.#connection.incomingBidirectionalStreams.getReader();
    try {
      for (;;) {
        const {value, done} = await reader.read();
        if (done) return;
        this.#take(value.readable);
      }
    } catch {
      // The connection has ended: closed tells how.
    }
  }

  async #take(readable) {
    try {
      const [subscription, stream] = await beginning(readable);
      const entry = this.#of(subscription);
      if (!entry) await stream.cancel();
      else if (entry.wanted.length > 0) entry.wanted.shift()(stream);
      else entry.arrived.push(stream);
    } catch {
      // It was reset before it had begun: there is nothing to give to anybody.
    }
  }

  #of(subscription) {
    let entry = this.#subscriptions.get(subscription);
    if (entry === undefined) this.#subscriptions.set(subscription, entry = {arrived: [], wanted: []});
    return entry;
  }

  #end() {
    this.#over = true;
    for (const entry of this.#subscriptions.values()) {
      for (const resolve of entry?.wanted.splice(0) ?? []) resolve(null);
    }
  }
}

// SendStream is a stream of data to be published. What is written before it is, waits.
export class SendStream {
  #controller;
  #connected; // a Promise of #writer
  #settle; // its {resolve, reject}
  #writer; // of the stream to the edge
  #taken = false;
  #closed = false;

  constructor() {
    this.#connected = new Promise((resolve, reject) => { this.#settle = {resolve, reject}; });
    this.#connected.catch(() => {}); // writable tells
    const writable = new WritableStream({
      start: (controller) => {
        this.#controller = controller;
        controller.signal?.addEventListener('abort', () => this.#settle.reject(controller.signal.reason)); // a write may be waiting
      },
      write: async (chunk) => {
        const writer = await this.#connected;
        await writer.ready;
        writer.write(chunk).catch(() => {}); // closed tells
      },
      close: async () => {
        this.#closed = true;
        await (await this.#connected).close();
      },
      abort: (reason) => this.#writer?.abort(reason),
    });
    Object.defineProperty(this, 'writable', {enumerable: true, value: writable});
  }

  // _take makes it the stream of a publication, which it can be once.
  _take() {
    if (this.#taken) return false;
    return this.#taken = true;
  }

  // _connect lets flow what is written, into the stream that the Promise gives.
  async _connect(opening) {
    try {
      this.#writer = (await opening).getWriter();
    } catch (error) {
      this._fail(error);
      throw error;
    }
    this.#settle.resolve(this.#writer);
    this.#connected.catch((reason) => this.#writer.abort(reason)); // aborted already
    this.#writer.closed.catch((error) => this.#controller.error(error));
  }

  // _retire ends it for the page as _fail does, but in order for the subscribers: they get what has been written. It resolves then.
  async _retire(error) {
    if (this.#closed || !this.#writer) return this._fail(error);
    this.#closed = true;
    this.#controller.error(error);
    await this.#writer.close().catch(() => {}); // the connection is lost
  }

  // _fail ends it, unless the page has closed it.
  _fail(error) {
    if (this.#closed && this.#writer) return;
    this.#settle.reject(error);
    this.#controller.error(error);
    this.#writer?.abort(error).catch(() => {});
  }
}

// beginning reads the id that a stream begins with, and gives it with a stream of what follows: a new one, since one that has been
// read from is not taken by Response and others.
async function beginning(readable) {
  const reader = readable.getReader();
  let id = '', rest;
  while (id.length < 2 * ID) {
    const {value, done} = await reader.read();
    if (done) throw new Error('A data stream ended before it had begun.');
    const missing = ID - id.length / 2;
    id += hexOf(value.subarray(0, missing));
    rest = value.subarray(missing);
  }
  return [id, new ReadableStream({
    start(controller) {
      if (rest.length > 0) controller.enqueue(rest);
      reader.closed.catch((error) => controller.error(error)); // also while nobody reads
    },
    async pull(controller) {
      const {value, done} = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  }, {highWaterMark: 0})];
}

const bytesOf = (hex) => Uint8Array.from(hex.match(/../g), (pair) => parseInt(pair, 16));
const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
