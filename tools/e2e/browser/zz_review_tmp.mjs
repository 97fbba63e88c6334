import {launch, openPage, repository} from './lib/browser.mjs';
import {enter, PATIENCE} from './lib/demo.mjs';
import {paint} from './lib/painted.mjs';
import {startPortico} from './lib/portico.mjs';
const out = '/tmp/review-pics/';
const portico = await startPortico();
const browser = await launch();
try {
  const open = async (name, colour, options = {}) => {
    const page = await openPage(browser, `${portico.address}/?room=rev`, {prepare: paint(colour, 440), ...options});
    await enter(page, name);
    return page;
  };
  await open('Annemarie Fürstenberger-Longname', 'rgb(200,40,40)');
  await open('Bob', 'rgb(40,180,60)');
  await open('Cid', 'rgb(50,70,210)');
  const sizes = {'320': {viewport: {width: 320, height: 568}}, '390': {viewport: {width: 390, height: 844}, colorScheme: 'dark'}, 'land': {viewport: {width: 740, height: 360}}, 'desk': {colorScheme: 'dark'}};
  for (const [name, options] of Object.entries(sizes)) {
    const page = await open('Dora', 'rgb(200,190,40)', options);
    await page.waitForSelector('#view:not([hidden])', {timeout: PATIENCE});
    await page.screenshot({path: out + name + '-gallery.png'});
    await page.focus('#view');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelector('.mix video')?.videoWidth > 0, null, {timeout: 30000}).catch((e) => console.log(name, String(e)));
    await page.waitForTimeout(1200);
    console.log(name, 'focus', await page.evaluate(() => document.activeElement.id || document.activeElement.className));
    await page.screenshot({path: out + name + '-mixed.png'});
    // keyboard to nameplates
    await page.focus('.mix .nameplate:not(:disabled)');
    await page.keyboard.press('Tab');
    await page.screenshot({path: out + name + '-focus.png'});
    console.log(name, await page.evaluate(() => JSON.stringify({active: document.activeElement.outerHTML, scroll: [document.documentElement.scrollWidth, innerWidth],
      controls: [...document.querySelectorAll('.control')].filter((c) => !c.hidden).map((c) => [c.id, Math.round(c.getBoundingClientRect().left), Math.round(c.getBoundingClientRect().right), Math.round(c.getBoundingClientRect().height)]),
      plates: [...document.querySelectorAll('.mix .nameplate')].map((b) => [b.textContent, b.getAttribute('aria-label'), Math.round(b.getBoundingClientRect().width), Math.round(b.getBoundingClientRect().height)])})));
    console.log(await page.locator('#call').ariaSnapshot().catch(String));
    // quick toggling
    await page.evaluate(() => { const b = document.querySelector('#view'); b.click(); b.click(); b.click(); });
    await page.waitForTimeout(3000);
    console.log(name, 'after 3 toggles', await page.evaluate(() => JSON.stringify({mix: !!document.querySelector('.mix'), pressed: document.querySelector('#view').getAttribute('aria-pressed'), live: [...document.querySelectorAll('.tile video')].map((v) => [v.videoWidth, !!v.srcObject])})));
    console.log(name, 'faults', JSON.stringify(page.faults));
    await page.context().close();
  }
} finally {
  await browser.close();
  await portico.stop();
}
