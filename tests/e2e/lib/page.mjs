// What every test of the page asks of it: no request elsewhere, nothing that its policy forbids, no
// error on the console, no serious finding of axe, and no more width than the window has.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import axe from 'axe-core';
import { openPage } from './browser.mjs';

const artifacts = fileURLToPath(new URL('../../artifacts', import.meta.url));

export const phone = { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true };
export const desktop = { viewport: { width: 1360, height: 860 } };

/**
 * Runs body on a fresh page at url and holds it to its promises afterwards. refused: how many answers
 * of 400 and more body provokes, which Chromium notes as errors; away: those of 503 and 409 are not counted;
 * session: a cookie to be signed in by.
 */
export async function onPage(browser, url, { refused = 0, away = false, session, ...options }, body) {
  const { origin } = new URL(url);
  const storageState = session && {
    origins: [],
    cookies: [{
      name: 'nexus_session', value: session.token, domain: new URL(url).hostname, path: '/', expires: -1,
      httpOnly: true, secure: false, sameSite: 'Strict',
    }],
  };
  const { page, record, close } = await openPage(browser, url, { ...options, ...(storageState && { storageState }) });
  page.setDefaultTimeout(60_000);
  try {
    await body(page);
    assert.deepEqual([record.foreign, record.violations], [[], []], `foreign requests, violations (${origin})`);
    const noted = record.errors.filter((text) => /the server responded with a status/.test(text));
    assert.deepEqual(record.errors.filter((text) => !noted.includes(text)), [], 'errors on the console');
    const counted = noted.filter((text) => !(away && /a status of (503|409)/.test(text)));
    assert.equal(counted.length, refused, noted.join('\n'));
  } finally {
    await close();
  }
}

async function expectFit(page, where) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  assert.ok(wide <= 0, `${where} is ${wide} pixels too wide`);
}

/** Of axe's rules: nothing but the colours is another in the dark. */
export const inTheDark = ['cat.color'];

/** tags: of axe's rules; all without. */
export async function expectAccessible(page, where, tags = undefined) {
  if (!(await page.evaluate(() => 'axe' in window))) {
    await page.evaluate(axe.source); // half a megabyte, which stays until the page is loaded again
  }
  const { violations } = await page.evaluate((runOnly) => window.axe.run({ runOnly, resultTypes: ['violations'] }), tags);
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
  const words = serious.map(({ id, nodes }) => `${id}: ${nodes.map((n) => n.html).join(' | ')}`);
  assert.deepEqual(words, [], `axe on ${where}`);
  await expectFit(page, where);
}

/** Keeps a picture of the page in tests/artifacts. Those in the dark and on a phone only if NEXUS_TEST_PICTURES asks
 * for them: each costs as much as half of axe's rules. */
export async function screenshot(page, name) {
  if (/dark|phone/.test(name) && !process.env.NEXUS_TEST_PICTURES) {
    return;
  }
  mkdirSync(artifacts, { recursive: true });
  await page.screenshot({ path: `${artifacts}/${name}.png`, fullPage: true });
}

/** Accessible and kept as a picture, in both colours; and on a phone not too wide. */
export async function look(page, name, { toned = true, small = true } = {}) {
  const viewport = page.viewportSize();
  for (const colorScheme of toned ? ['light', 'dark'] : ['light']) {
    await page.emulateMedia({ colorScheme });
    await page.waitForFunction((theme) => document.documentElement.dataset.theme === theme, colorScheme);
    await expectAccessible(page, `${name}, ${colorScheme}`, colorScheme === 'dark' ? inTheDark : undefined);
    await screenshot(page, `${name}-${colorScheme}`);
  }
  await page.emulateMedia({ colorScheme: 'light' });
  if (small) {
    await page.setViewportSize(phone.viewport);
    await expectFit(page, `${name} on a phone`);
    await screenshot(page, `${name}-phone`);
    await page.setViewportSize(viewport);
  }
}

export const seen = (page, selector) => page.locator(selector).first().waitFor({ state: 'visible' });
export const unseen = (page, selector) => page.locator(selector).first().waitFor({ state: 'hidden' });
export const heading = (page, text) => page.getByRole('heading', { level: 1, name: text, exact: true }).waitFor();
