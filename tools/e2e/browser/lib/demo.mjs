// The demo page as a person uses it and sees it.

import assert from 'node:assert/strict';

export const PATIENCE = 20_000; // ms; a wait that takes this long has failed, however slow the machine

// step names one part of a long test: the first that fails ends the test, since the rest builds on it.
export async function step(name, run) {
  try {
    await run();
  } catch (error) {
    error.message = `${name}: ${error.message}`;
    throw error;
  }
}

// enter fills in the name and presses Join; it returns when the call is on the screen.
export async function enter(page, name) {
  if (name) await page.fill('#name', name);
  await page.click('#join');
  await page.waitForSelector('#call:not([hidden])', {timeout: PATIENCE}).catch(async () => {
    assert.fail(`${name ?? 'Guest'} did not get in; the page says: ${await page.textContent('#join-problem')}; faults: ${page.faults.join('; ')}`);
  });
}

// waitForTiles waits until accept(tiles) holds, and says what was seen last when it never does. A tile is
// {name, kind, own, audio, video, participant, stream, label, speaking}.
export async function waitForTiles(page, accept, what) {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const seen = await tiles(page);
    if (accept(seen)) return seen;
    if (Date.now() > deadline) assert.fail(`${what}: never happened; the tiles are ${JSON.stringify(seen, null, 1)}; faults: ${page.faults.join('; ')}`);
    await page.evaluate(nextChange);
  }
}

// nextChange resolves with the next change of the page, or soon: not every condition is one of the document.
function nextChange() {
  return new Promise((resolve) => {
    const observer = new MutationObserver(done);
    const timer = setTimeout(done, 200);
    observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
    function done() {
      observer.disconnect();
      clearTimeout(timer);
      resolve();
    }
  });
}

export function tiles(page) {
  return page.$$eval('.tile:not(.mix)', (elements) => elements.map((element) => ({
    ...element.dataset,
    own: element.dataset.own === 'yes',
    name: element.querySelector('.name').textContent,
    label: element.getAttribute('aria-label'),
    speaking: element.classList.contains('speaking'),
  })));
}

// names of the tiles, in their order on the page.
export const namesOf = (list) => list.map(({name}) => name);

export async function waitForText(page, selector, pattern) {
  await page.waitForFunction(([chosen, source]) => {
    const element = document.querySelector(chosen);
    return element && element.getClientRects().length > 0 && new RegExp(source).test(element.textContent.trim().replace(/\s+/g, ' '));
  }, [selector, pattern.source], {timeout: PATIENCE}).catch(async () => {
    const text = await page.textContent(selector).catch(() => 'not there');
    assert.fail(`${selector} never said ${pattern}; it says: ${text}`);
  });
}

export async function say(page, text) {
  if (await page.isHidden('#chat')) await page.click('#chat-toggle');
  await page.fill('#chat-text', text);
  await page.press('#chat-text', 'Enter');
}
