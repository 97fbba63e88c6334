// A page with peer.js in it, of the edge that the Go test runs.

import {readFile} from 'node:fs/promises';
import {launch} from '../browser/lib/browser.mjs';

const {PORTICO_URL: address, PORTICO_TOKENS: tokens} = process.env;
const unused = JSON.parse(tokens);

// token admits one participant to the room; each is good once.
export const token = () => unused.shift();

// open gives a page in a browser of its own.
export async function open(t) {
  const browser = await launch();
  t.after(() => browser.close());
  const page = await browser.newPage();
  // Any document of the edge will do: one that does not come from there could not connect to it.
  await page.goto(`${address}/nothing-here`);
  await page.evaluate(await readFile(new URL('peer.js', import.meta.url), 'utf8'));
  return page;
}
