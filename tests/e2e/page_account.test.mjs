// The page's door in a real browser: the set-up link, signing in and out, a session that ends.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { PASSWORD, ask, setUpToken } from './lib/accounts.mjs';
import { launchBrowser, openPage } from './lib/browser.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { expectAccessible, screenshot } from './lib/page.mjs';
import { sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const phone = { viewport: { width: 390, height: 844 } };

describe('page account', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  let browser;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({ args: ['--data-dir', data.path], env: { RUN_JOBS: 'false' } });
    browser = await launchBrowser();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    data?.remove();
  });

  // Runs body on a fresh page, which must not do what it may not; refused: answers of 400 and more.
  async function onPage(path, { refused = 0, ...options }, body) {
    const { page, record, close } = await openPage(browser, server.url + path, options);
    page.setDefaultTimeout(60_000);
    try {
      await body(page);
      assert.deepEqual([record.foreign, record.violations], [[], []]);
      const noted = record.errors.filter((text) => /the server responded with a status/.test(text));
      assert.deepEqual(record.errors.filter((text) => !noted.includes(text)), []);
      assert.equal(noted.length, refused, noted.join('\n'));
    } finally {
      await close();
    }
  }

  const seen = (page, selector) => page.locator(selector).waitFor({ state: 'visible' });
  const unseen = (page, selector) => page.locator(selector).waitFor({ state: 'hidden' });

  /** With the keyboard alone, as the focus is on the name. */
  async function type(page, name, password) {
    await page.keyboard.type(name);
    await page.keyboard.press('Tab');
    await page.keyboard.type(password);
    await page.keyboard.press('Enter');
  }

  it('says that a server without users is open to this machine', async () => {
    await onPage('/analyze', {}, async (page) => {
      await seen(page, '#who');
      assert.equal(await page.locator('#who-name').textContent(), 'Open to this machine');
      assert.equal(await page.locator('#sign-out').isVisible(), false);
      await seen(page, '#stage');
      await expectAccessible(page, 'open use');
    });
  });

  it('makes the first admin by the set-up link, with the keyboard', async () => {
    const token = await setUpToken(server);
    await onPage(`/setup#${token}`, { ...phone, refused: 1 }, async (page) => {
      await seen(page, '#door');
      assert.equal(await page.locator('#door-title').textContent(), 'Make the first admin');
      await page.waitForFunction(() => document.activeElement.id === 'door-name');
      await expectAccessible(page, 'set-up');
      await screenshot(page, 'page-setup-phone');
      await type(page, 'ann', 'short');
      await page.locator('#door-problem:not(:empty)').waitFor();
      await page.waitForFunction(() => document.activeElement.id === 'door-password');
      await page.keyboard.type(PASSWORD); // over the one that is selected
      await page.keyboard.press('Enter');
      await unseen(page, '#door');
      assert.equal(await page.locator('#who-name').textContent(), 'ann · admin');
      assert.equal(page.url(), `${server.url}/`, 'the token is gone from the address');
      await page.getByRole('heading', { level: 1, name: 'Overview' }).waitFor();
      await page.locator('#health[data-state=ready]', { hasText: 'yolov8n' }).waitFor();
      assert.equal(await page.evaluate(() => document.cookie), '', 'scripts do not see the session');
    });
    await onPage(`/setup#${token}`, {}, async (page) => {
      await page.locator('#door-text', { hasText: 'this link has done its work' }).waitFor();
    });
  });

  for (const colorScheme of ['light', 'dark']) {
    it(`asks who is there, in ${colorScheme} colours`, async () => {
      await onPage('/analyze', { colorScheme, refused: 1 }, async (page) => {
        await seen(page, '#door');
        for (const hidden of ['#stage', '#thresholds-title', '#who']) {
          assert.equal(await page.locator(hidden).isVisible(), false, hidden);
        }
        await page.waitForFunction(() => document.activeElement.id === 'door-name');
        await expectAccessible(page, 'the door');
        await screenshot(page, `page-sign-in-${colorScheme}`);
        await type(page, 'ann', 'not the password');
        await page.locator('#door-problem', { hasText: 'name or password is wrong' }).waitFor();
        await expectAccessible(page, 'the door, shut');
        await page.keyboard.type(PASSWORD);
        await page.keyboard.press('Enter');
        await seen(page, '#sign-out');
        await page.locator('#choose').setInputFiles(sharedPath('images/bus.jpg'));
        await page.locator('#detections tbody tr').first().waitFor();
        await expectAccessible(page, 'signed in');
        await page.reload();
        await seen(page, '#sign-out');
        await page.locator('#sign-out').click();
        await seen(page, '#door');
      });
    });
  }

  it('asks again when the session has ended, and goes on where it was', async () => {
    await onPage('/analyze', { ...phone, refused: 1 }, async (page) => {
      await seen(page, '#door');
      await type(page, 'ann', PASSWORD);
      await seen(page, '#sign-out');
      await page.locator('#choose').setInputFiles(sharedPath('images/bus.jpg'));
      await page.locator('#detections tbody tr').first().waitFor();
      const [{ value: token }] = await page.context().cookies();
      const { value: me } = await ask(server, '/api/v1/auth/me', { headers: { Cookie: `nexus_session=${token}` } });
      const headers = { Cookie: `nexus_session=${token}`, 'X-CSRF-Token': me.csrf_token };
      assert.equal((await ask(server, '/api/v1/auth/logout', { method: 'POST', headers })).status, 204);
      await page.locator('#confidence').fill('0.5');
      await page.locator('#door-text', { hasText: 'Your session is over' }).waitFor();
      assert.equal(await page.locator('#stage').isVisible(), false);
      await page.waitForFunction(() => document.activeElement.id === 'door-name');
      await page.locator('#door-name').fill('');
      await type(page, 'ann', PASSWORD);
      await seen(page, '#stage');
      await page.locator('#detections tbody tr').first().waitFor();
    });
  });
});
