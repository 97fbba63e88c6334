// Chromium through playwright-core, which lives in the build folder and not beside these files.

import {mkdir, mkdtemp, rm} from 'node:fs/promises';
import {createRequire} from 'node:module';
import os from 'node:os';
import path from 'node:path';
import {fileURLToPath} from 'node:url';

export const repository = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../..');
export const buildFolder = process.env.PORTICO_E2E_BUILD ?? path.join(repository, 'build/e2e-browser');
export const pictureFolder = path.join(repository, 'build/e2e');

const {chromium} = createRequire(path.join(buildFolder, 'package.json'))('playwright-core');

const FLAGS = [
  '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
  '--disable-gpu', '--autoplay-policy=no-user-gesture-required',
];
const FAKE_DEVICES = ['--use-fake-device-for-media-stream=fps=15', '--use-fake-ui-for-media-stream'];

const settings = (devices, flags) => ({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // Playwright's own list keeps the rest of the noise down; sound must not be switched off for these tests.
  ignoreDefaultArgs: ['--mute-audio'],
  args: [...FLAGS, ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []), ...(devices ? FAKE_DEVICES : []), ...flags],
});

// launch starts a browser of its own. devices false leaves out the fake camera and the fake permission.
export function launch({devices = true, flags = []} = {}) {
  return chromium.launch(settings(devices, flags));
}

// launchProfile starts a browser with one context, that of a new profile: some flags are preferences, which other contexts do not have.
export async function launchProfile({devices = true, flags = []} = {}) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'portico-profile-'));
  const context = await chromium.launchPersistentContext(folder, {viewport: {width: 1280, height: 800}, ...settings(devices, flags)});
  return {
    newContext: () => context,
    async close() {
      await context.close();
      await rm(folder, {recursive: true, force: true});
    },
  };
}

// openPage opens a page in a context of its own and collects what must not happen on it: exceptions, and errors in the
// console, refusals of the content security policy among them. page.faults is that list. prepare(context) comes before loading.
export async function openPage(browser, url, {quality = 'low', prepare = () => {}, ...options} = {}) {
  const owner = await browser.newContext({viewport: {width: 1280, height: 800}, ...options});
  await prepare(owner);
  const page = await owner.newPage();
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') page.faults.push(message.text());
  });
  await page.addInitScript((value) => {
    if (origin !== 'null') localStorage.setItem('portico.demo', JSON.stringify({quality: value})); // about:blank has no storage
  }, quality);
  await page.goto(url);
  return page;
}

export async function picture(page, name) {
  await mkdir(pictureFolder, {recursive: true});
  await page.screenshot({path: path.join(pictureFolder, `${name}.png`)});
}
