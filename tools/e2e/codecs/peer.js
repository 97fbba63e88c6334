// Runs in the page: a participant of a conference that speaks the Client-Portal protocol over a WebSocket of its own.

globalThis.PATIENCE = 20_000; // ms; what takes this long has failed

// deadline fails when a promise takes too long.
globalThis.deadline = (promise, what) => Promise.race([
  promise,
  new Promise((_, reject) => setTimeout(() => reject(new Error(`${what}: waited in vain`)), PATIENCE)),
]);

globalThis.Participant = class {
  #acks = new Map();
  #next = 0;
  #log = []; // every notification: [name, data]
  #waiting = new Set();

  // join connects and logs in. version is that of the protocol.
  static async join(token, version = '1.2') {
    const one = new Participant();
    one.socket = new WebSocket(`${origin.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
    const connected = new Promise((resolve, reject) => {
      one.socket.onmessage = ({data}) => one.#take(data, resolve);
      one.socket.onclose = ({code, reason}) => reject(new Error(`the socket is closed: ${code} ${reason}`));
    });
    await deadline(connected, 'connect');
    const sdk = {type: 'JavaScript', version: '5.1'};
    one.login = await one.request('login', {token, userAgent: {sdk}, protocol: version});
    return one;
  }

  #take(text, connected) {
    switch (text.slice(0, 2)) {
      case '2': this.socket.send('3'); return;
      case '40': connected(); return;
    }
    if (text[0] === '0') this.socket.send('40');
    const [, kind, id, body] = /^(4[23])(\d*)(.*)$/s.exec(text) ?? [];
    if (kind === '43') this.#acks.get(id)?.(JSON.parse(body));
    if (kind !== '42') return;
    this.#log.push(JSON.parse(body));
    for (const check of this.#waiting) check();
  }

  // request resolves with the server's result, or fails with its reason.
  async request(name, data) {
    const id = String(this.#next++);
    const answered = new Promise((resolve) => this.#acks.set(id, resolve));
    this.socket.send(`42${id}${JSON.stringify([name, data])}`);
    const [status, result] = await deadline(answered, name);
    if (status !== 'ok') throw new Error(`${name}: ${JSON.stringify(result)}`);
    return result;
  }

  // notified resolves with the data of the first notification, of those that came or will, that accept takes.
  notified(what, accept) {
    return deadline(new Promise((resolve) => {
      const check = () => {
        const found = this.#log.find(([name, data]) => accept(name, data));
        if (!found) return;
        this.#waiting.delete(check);
        resolve(found[1]);
      };
      this.#waiting.add(check);
      check();
    }), what);
  }

  // transport makes a PeerConnection. With a port of this machine, media goes there and nowhere else: the answer names it in
  // place of the edge, and the offer does not say where the page is. start is the rate, in kbit/s, that sending begins with.
  transport({port, start} = {}) {
    return {pc: new RTCPeerConnection({bundlePolicy: 'max-bundle'}), id: '', answers: 0, port, start};
  }

  // negotiate makes an offer, tells the session (declare resolves with its acknowledgement), and waits until media can flow.
  async negotiate(transport, declare) {
    const {pc} = transport;
    await pc.setLocalDescription();
    if (pc.iceGatheringState !== 'complete') {
      await deadline(new Promise((resolve) => pc.addEventListener('icegatheringstatechange', () => pc.iceGatheringState === 'complete' && resolve())), 'gathering');
    }
    const session = declare && await declare();
    transport.id ||= session.transportId ?? session.id;
    const nth = ++transport.answers;
    await this.request('soac', {id: transport.id, signaling: {type: 'offer', sdp: transport.port ? pc.localDescription.sdp.replace(/^a=candidate:.*\r\n/gm, '') : pc.localDescription.sdp}});
    let seen = 0;
    const counted = new Set();
    const {data} = await this.notified('answer', (name, p) => {
      if (name !== 'progress' || p.id !== transport.id || p.status !== 'soac' || p.data.type !== 'answer') return false;
      if (!counted.has(p)) seen++;
      counted.add(p);
      return seen === nth;
    });
    transport.answer = transport.port ? data.sdp.replace(/^(a=candidate:\S+ 1 udp \d+) \S+ \d+/gm, `$1 127.0.0.1 ${transport.port}`) : data.sdp;
    if (transport.start) transport.answer = transport.answer.replace(/^a=rtpmap:(\d+) (VP8|VP9|H264|AV1)\/.*\r\n/gm, `$&a=fmtp:$1 x-google-start-bitrate=${transport.start}\r\n`);
    await pc.setRemoteDescription({type: 'answer', sdp: transport.answer});
    if (!session) return null;
    const about = await this.notified(`ready of ${session.id}`, (name, p) => /progress$/.test(name) && (p.sessionId ?? p.id) === session.id && p.status !== 'soac');
    if (about.status !== 'ready') throw new Error(`session: ${JSON.stringify(about)}`);
    return session.id;
  }

  // publish sends the tracks, each {track, source, codec, encodings, scalabilityMode}; it resolves with the stream's id.
  async publish(tracks, transport = this.transport()) {
    const stream = new MediaStream(tracks.map(({track}) => track));
    const transceivers = tracks.map(({track, codec, encodings}) => {
      const t = transport.pc.addTransceiver(track, {direction: 'sendonly', streams: [stream], ...(encodings && {sendEncodings: encodings})});
      if (codec) t.setCodecPreferences(preferring(codec));
      return t;
    });
    const id = await this.negotiate(transport, () => this.request('publish', {
      media: {tracks: tracks.map(({track, source, scalabilityMode}, i) => ({type: track.kind, mid: transceivers[i].mid, source, scalabilityMode}))},
      data: false, attributes: {}, transport: {type: 'webrtc', ...(transport.id && {id: transport.id})},
    }));
    return {id, transport, transceivers};
  }

  // subscribe receives tracks, each {type, from}; it shows and plays what comes in a tile with the subscription's id. described
  // tells whether dependency descriptors may come.
  async subscribe(tracks, transport = this.transport(), described = true) {
    const transceivers = tracks.map(({type}) => transport.pc.addTransceiver(type, {direction: 'recvonly'}));
    if (described) transceivers.forEach(describe);
    const streams = new Set();
    transport.pc.addEventListener('track', ({streams: [stream], transceiver}) => transceivers.includes(transceiver) && streams.add(stream));
    const id = await this.negotiate(transport, () => this.request('subscribe', {
      media: {tracks: tracks.map((t, i) => ({...t, mid: transceivers[i].mid}))}, transport: {type: 'webrtc', ...(transport.id && {id: transport.id})},
    }));
    return {id, transport, transceivers, streams: show(id, transceivers, streams)};
  }

  // subscribe11 receives the video of a stream as clients of version 1.1 do.
  async subscribe11(from, simulcastRid) {
    const transport = this.transport();
    const transceivers = [transport.pc.addTransceiver('video', {direction: 'recvonly'})];
    const id = await this.negotiate(transport, () => this.request('subscribe', {media: {audio: false, video: {from, simulcastRid}}}));
    show(id, transceivers, new Set());
    return {id, transport, transceivers};
  }
};

// preferring lists all codecs with one, such as "video/VP9", first.
function preferring(codec) {
  const all = RTCRtpReceiver.getCapabilities('video').codecs;
  const first = all.filter(({mimeType}) => mimeType.toLowerCase() === codec.toLowerCase());
  if (first.length === 0) throw new Error(`the browser has no ${codec}`);
  return [...first, ...all.filter((c) => !first.includes(c))];
}

// describe asks for dependency descriptors, which Chromium does not do by itself: without them it cannot put together AV1 in spatial
// layers.
function describe(transceiver) {
  const all = transceiver.getHeaderExtensionsToNegotiate();
  transceiver.setHeaderExtensionsToNegotiate(all.map((x) => x.uri.endsWith('#dependency-descriptor-rtp-header-extension') ? {...x, direction: 'sendrecv'} : x));
}

// show puts what comes through the transceivers into a tile, as the demo page has them. It returns how many streams there are.
function show(id, transceivers, streams) {
  const tile = Object.assign(document.createElement('div'), {className: 'tile'});
  tile.dataset.stream = id;
  const video = Object.assign(document.createElement('video'), {autoplay: true, muted: true, srcObject: new MediaStream(transceivers.map(({receiver}) => receiver.track))});
  tile.append(video);
  document.body.append(tile);
  return streams.size;
}

// camera is a moving picture of that size, and a sound.
globalThis.camera = async (width, height, audio = false) => {
  const media = await navigator.mediaDevices.getUserMedia({audio, video: {width: {exact: width}, height: {exact: height}}});
  return media.getTracks();
};

// received are the counts of what a receiver gets, with the codec; sent those of what a transceiver sends, by rid.
globalThis.received = async ({receiver}) => {
  const stats = await receiver.getStats();
  const inbound = [...stats.values()].find(({type}) => type === 'inbound-rtp');
  return inbound && {...inbound, codec: stats.get(inbound.codecId)?.mimeType};
};
globalThis.sent = async ({sender}) => [...(await sender.getStats()).values()].filter(({type}) => type === 'outbound-rtp');

// until polls the browser's counts, which have no events.
globalThis.until = async (what, poll) => {
  let last;
  for (const end = performance.now() + PATIENCE; performance.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) {
    last = await poll();
    if (last.ok) return last;
  }
  throw new Error(`${what}: never happened; last ${JSON.stringify(last)}`);
};
