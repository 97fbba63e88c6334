// Data from one page to another through the edge, in two browsers of their own.

import assert from 'node:assert/strict';
import {readFile} from 'node:fs/promises';
import http from 'node:http';
import {createRequire} from 'node:module';
import path from 'node:path';
import {test} from 'node:test';

const {PORTICO_URL: address, PORTICO_E2E_BUILD: build, PORTICO_SDK: bundle, CHROMIUM: executablePath} = process.env;
const {chromium} = createRequire(path.join(build, 'package.json'))('playwright-core');

async function token(user) {
  const response = await fetch(`${address}/demo/token`, {
    method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({room: 'data', user, role: 'presenter'}),
  });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()).token;
}

async function launch(t) {
  const browser = await chromium.launch({
    executablePath, args: ['--no-first-run', '--disable-background-networking', ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
  });
  t.after(() => browser.close());
  return browser;
}

// open gives a page of the edge with page.js in it, in a browser of its own; me is its participant.
async function open(t, user, at = `${address}/livez`) {
  const browser = await launch(t);
  const page = await browser.newPage();
  await page.goto(at);
  await page.evaluate(await readFile(new URL('page.js', import.meta.url), 'utf8'));
  await page.evaluate(async ([address, token]) => { globalThis.me = await participant(address, token); }, [address, await token(user)]);
  return page;
}

test('data from one page to another', {timeout: 60_000}, async (t) => {
  const [alice, bob] = await Promise.all([open(t, 'alice'), open(t, 'bob')]);
  for (const page of [alice, bob]) {
    assert.equal(await page.evaluate(() => me.open()), '0'.repeat(32), 'the token is acknowledged by 16 zero bytes');
  }

  const stream = await alice.evaluate(async () => {
    const ack = await me.ask('publish', {media: null, data: true, transport: {type: 'quic', id: me.transportId}});
    if (ack.transportId !== me.transportId) throw new Error(`acknowledged on ${ack.transportId}`);
    globalThis.first = await me.send(ack.id);
    await me.told('progress', {id: ack.id, status: 'ready'});
    return ack.id;
  });

  const info = await bob.evaluate(async (id) => (await me.told('stream', {id, status: 'add'})).data, stream);
  assert.deepEqual({media: info.media, data: info.data, type: info.info.type}, {media: {tracks: []}, data: true, type: 'quic'});
  const subscription = await bob.evaluate(async (from) => {
    const ack = await me.ask('subscribe', {media: null, data: {from}, transport: {type: 'quic', id: me.transportId}});
    globalThis.first = await me.receive(ack.id);
    await me.told('progress', {id: ack.id, status: 'ready'});
    return ack.id;
  }, stream);

  await alice.evaluate(() => first.write(new TextEncoder().encode('hello')));
  assert.equal(await bob.evaluate(async () => new TextDecoder().decode(await first.exactly(5))), 'hello');

  // A second stream, of two megabytes, while the first one is open.
  const sent = alice.evaluate(async (id) => {
    const content = new Uint8Array(2 << 20);
    for (let at = 0; at < content.length; at += 65536) crypto.getRandomValues(content.subarray(at, at + 65536));
    const writer = await me.send(id);
    for (let at = 0; at < content.length; at += 100_000) await writer.write(content.subarray(at, at + 100_000));
    await writer.close();
    return digest(content);
  }, stream);
  const start = Date.now();
  const received = await bob.evaluate(async (id) => digest(await (await me.receive(id)).all()), subscription);
  assert.equal(received, await sent);
  t.diagnostic(`2 MB in ${Date.now() - start} ms`);

  // The end of the first stream, and of the publication, reach the subscriber.
  await alice.evaluate(async () => {
    await first.write(new TextEncoder().encode('bye'));
    await first.close();
  });
  assert.equal(await bob.evaluate(async () => new TextDecoder().decode(await first.all())), 'bye');
  await alice.evaluate((id) => me.ask('unpublish', {id}), stream);
  assert.equal(await bob.evaluate(async (id) => (await me.told('progress', {id, status: 'error'})).data, subscription), 'Source stream loss');
  await bob.evaluate((id) => me.told('stream', {id, status: 'remove'}), stream);

  await bob.evaluate(() => me.ask('logout'));
  await bob.evaluate(() => me.closed());
});

// openClient gives the demo's page, with the policy that pages of an edge have, in a browser of its own. It has joined with the SDK of the
// last build: client is the ConferenceClient, transports are the page's data connections.
async function openClient(t, user) {
  const browser = await launch(t);
  const page = await browser.newPage();
  page.on('pageerror', (error) => t.diagnostic(`${user}: ${error}`));
  await page.route('**/sdk/*', (route) => route.fulfill({path: path.join(bundle, path.basename(new URL(route.request().url()).pathname))}));
  await page.addInitScript(() => {
    globalThis.transports = [];
    globalThis.WebTransport = class extends WebTransport {
      constructor(...args) {
        super(...args);
        globalThis.transports.push(this);
      }
    };
  });
  await page.goto(`${address}/`);
  await page.evaluate(async (token) => {
    globalThis.sdk = await import('/sdk/portico.js');
    globalThis.client = new sdk.ConferenceClient();
    globalThis.streams = []; // of data, as they come
    globalThis.wanted = [];
    client.addEventListener('streamadded', ({stream}) => {
      if (!stream.source.data) return;
      streams.push(stream);
      for (const look of wanted.splice(0)) look();
    });
    // stream waits for the one with that id.
    globalThis.stream = (id) => new Promise((resolve) => {
      const look = () => {
        const found = streams.find((s) => s.id === id);
        if (found) resolve(found);
        else wanted.push(look);
      };
      look();
    });
    globalThis.publish = async () => {
      const stream = await client.createSendStream();
      const publication = await client.publish(new sdk.LocalStream(stream, new sdk.StreamSourceInfo(undefined, undefined, true), {topic: 'tests'}));
      return {stream, publication, known: streams.some(({id}) => id === publication.id)};
    };
    globalThis.ending = (session) => new Promise((resolve) => {
      let reason = '';
      session.addEventListener('error', ({error}) => { reason = error.message; });
      session.addEventListener('ended', () => resolve(reason));
    });
    globalThis.text = ({readable}) => new Response(readable).text();
    globalThis.bytes = (string) => new TextEncoder().encode(string);
    await client.join(token);
  }, await token(user));
  return page;
}

// exchange has one page publish and the other subscribe, both as globalThis.out and globalThis.in, and carries one text over. It gives
// the id.
async function exchange(from, to, text) {
  const id = await from.evaluate(async () => {
    globalThis.out = await publish();
    if (out.known) throw new Error('the stream was told of before its publication');
    return out.publication.id;
  });
  const attributes = await to.evaluate(async (id) => {
    const remote = await stream(id);
    globalThis.in = await client.subscribe(remote);
    globalThis.inEnding = ending(globalThis.in);
    globalThis.inGone = new Promise((resolve) => remote.addEventListener('ended', resolve));
    globalThis.reader = globalThis.in.stream.readable.getReader();
    return remote.attributes;
  }, id);
  assert.deepEqual(attributes, {topic: 'tests'});
  await from.evaluate((text) => {
    globalThis.writer = out.stream.writable.getWriter();
    return writer.write(bytes(text));
  }, text);
  assert.equal(await to.evaluate(async (size) => {
    let got = '';
    while (got.length < size) got += new TextDecoder().decode((await reader.read()).value);
    return got;
  }, text.length), text);
  return id;
}

test('the SDK', {timeout: 90_000}, async (t) => {
  const [dave, erin] = await Promise.all([openClient(t, 'dave'), openClient(t, 'erin')]);
  for (const page of [dave, erin]) assert.equal(await page.evaluate(() => transports.length), 0, 'a connection that nobody wanted');
  await exchange(dave, erin, 'hello');
  await exchange(erin, dave, 'hello yourself'); // over the same two connections
  for (const page of [dave, erin]) assert.equal(await page.evaluate(() => transports.length), 1);

  // A second stream of the publication, of two megabytes.
  const sent = dave.evaluate(async () => {
    const content = new Uint8Array(2 << 20).map((_, i) => i % 251);
    const writer = (await out.publication.createSendStream()).writable.getWriter();
    for (let at = 0; at < content.length; at += 100_000) await writer.write(content.subarray(at, at + 100_000));
    await writer.close();
  });
  assert.equal(await erin.evaluate(async () => {
    const {readable} = await globalThis.in.nextStream();
    const content = new Uint8Array(await new Response(readable).arrayBuffer());
    return content.length === 2 << 20 && content.every((byte, i) => byte === i % 251);
  }), true);
  await sent;

  // The end of the stream, and then of the publication.
  await dave.evaluate(async () => {
    await writer.write(bytes('bye'));
    await writer.close();
  });
  assert.equal(await erin.evaluate(async () => {
    let got = '';
    for (let item; !(item = await reader.read()).done;) got += new TextDecoder().decode(item.value);
    return got;
  }), 'bye');
  const ended = erin.evaluate(async () => {
    const next = globalThis.in.nextStream();
    const reason = await inEnding;
    await inGone;
    return [reason, await next];
  });
  await dave.evaluate(() => out.publication.stop());
  assert.deepEqual(await ended, ['Source stream loss', null]);

  // Erin still publishes to Dave, who has enough of it: the publication goes on.
  await dave.evaluate(async () => {
    await globalThis.in.stop();
    if (await inEnding !== '') throw new Error('stopped with an error');
    await reader.closed.then(() => { throw new Error('ended in order'); }, () => {}); // the edge has reset it
  });
  await erin.evaluate(() => writer.write(bytes('to nobody')));

  for (const page of [dave, erin]) {
    await page.evaluate(async () => {
      await client.leave();
      await transports[0].closed.catch(() => {});
    });
  }
});

test('the SDK loses its connection and opens another', {timeout: 90_000}, async (t) => {
  const [fred, gina] = await Promise.all([openClient(t, 'fred'), openClient(t, 'gina')]);
  await exchange(fred, gina, 'before');
  assert.equal(await fred.evaluate(async () => {
    const end = ending(out.publication);
    transports[0].close();
    return end;
  }), 'data connection lost');
  assert.equal(await gina.evaluate(() => inEnding), 'Source stream loss');
  await exchange(fred, gina, 'after');
  assert.deepEqual([await fred.evaluate(() => transports.length), await gina.evaluate(() => transports.length)], [2, 1]);
});

test('a page of another site may not connect', {timeout: 60_000}, async (t) => {
  const server = http.createServer((_, response) => response.writeHead(200, {'Content-Type': 'text/html'}).end('<p>another site'));
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const page = await open(t, 'carol'); // its token and hashes are good
  const [url, hashes] = await page.evaluate(() => [me.webTransportUrl, me.login.webTransportCertificateHashes]);
  const connect = async ([url, hashes]) => {
    const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const connection = new WebTransport(url, {serverCertificateHashes: hashes.map(({algorithm, value}) => ({algorithm, value: bytes(value)}))});
    try {
      await connection.ready;
      connection.close();
      return 'connected';
    } catch (error) {
      return error.name;
    }
  };
  assert.equal(await page.evaluate(connect, [url, hashes]), 'connected');
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  assert.equal(await page.evaluate(connect, [url, hashes]), 'WebTransportError');
});
