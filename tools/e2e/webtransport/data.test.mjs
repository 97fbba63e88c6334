// Data from one page to another through the edge, in two browsers of their own.

import assert from 'node:assert/strict';
import {readFile} from 'node:fs/promises';
import http from 'node:http';
import {createRequire} from 'node:module';
import path from 'node:path';
import {test} from 'node:test';

const {PORTICO_URL: address, PORTICO_E2E_BUILD: build, CHROMIUM: executablePath} = process.env;
const {chromium} = createRequire(path.join(build, 'package.json'))('playwright-core');

async function token(user) {
  const response = await fetch(`${address}/demo/token`, {
    method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({room: 'data', user, role: 'presenter'}),
  });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()).token;
}

// open gives a page of the edge with page.js in it, in a browser of its own; me is its participant.
async function open(t, user, at = `${address}/livez`) {
  const browser = await chromium.launch({
    executablePath, args: ['--no-first-run', '--disable-background-networking', ...(process.getuid?.() === 0 ? ['--no-sandbox'] : [])],
  });
  t.after(() => browser.close());
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

// The SDK's own data streams, for which the client has to be told of the ids only.
test('web/sdk/data.js', {timeout: 60_000}, async (t) => {
  const pages = await Promise.all([open(t, 'dave'), open(t, 'erin')]);
  const source = await readFile(new URL('../../../web/sdk/data.js', import.meta.url), 'utf8');
  for (const page of pages) {
    await page.evaluate(async (source) => {
      const {DataConnection} = await import(URL.createObjectURL(new Blob([source], {type: 'text/javascript'})));
      globalThis.data = new DataConnection({
        url: me.webTransportUrl, token: me.login.webTransportToken, certificateHashes: me.login.webTransportCertificateHashes,
      });
      await data.ready;
    }, source);
  }
  const [dave, erin] = pages;
  const stream = await dave.evaluate(async () => {
    const {id} = await me.ask('publish', {media: null, data: true, transport: {type: 'quic', id: data.id}});
    globalThis.writer = (await data.send(id)).getWriter();
    // Almost without a pause, so that ids and contents come in one piece, until the other has subscribed.
    (async () => {
      let i = 0;
      for (; !globalThis.enough; i++) {
        await writer.write(new TextEncoder().encode(`${i},`));
        if (i % 100 === 99) await new Promise((resolve) => setTimeout(resolve));
      }
      await writer.close();
      globalThis.count = i;
    })();
    return id;
  });
  await erin.evaluate(async (from) => {
    await me.told('stream', {id: from, status: 'add'});
    const {id} = await me.ask('subscribe', {media: null, data: {from}, transport: {type: 'quic', id: data.id}});
    globalThis.subscription = id;
    globalThis.numbers = new Response(await data.receive(id)).text();
  }, stream);
  await dave.evaluate(() => { globalThis.enough = true; });
  // They begin wherever the publisher was, perhaps within one, and none is missing from there on.
  const list = (await erin.evaluate(() => numbers)).split(',').slice(1, -1).map(Number);
  const count = await dave.evaluate(() => count);
  assert.ok(list.length > 0);
  assert.deepEqual(list, Array.from({length: list.length}, (_, i) => count - list.length + i));

  const next = erin.evaluate(async () => new Response(await data.receive(subscription)).text());
  await dave.evaluate(async (id) => {
    const writable = await data.send(id);
    const writer = writable.getWriter();
    await writer.write(new TextEncoder().encode('second'));
    await writer.close();
  }, stream);
  assert.equal(await next, 'second');
  const waiting = erin.evaluate(() => data.receive(subscription));
  await erin.evaluate(() => data.forget(subscription));
  assert.equal(await waiting, null);
  const last = erin.evaluate(async () => [await data.receive(subscription), await data.closed]);
  await erin.evaluate(() => me.ask('logout'));
  const [none, reason] = await last;
  assert.deepEqual([none, typeof reason], [null, 'string']);
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
