// What stands around the pages: addresses, the list of pages by role, the states of lists, a phone.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { addUser, setUp, signIn } from './lib/accounts.mjs';
import { launchBrowser } from './lib/browser.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import * as lib from './lib/page.mjs';
import { sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const { desktop, heading, look, phone, seen, unseen } = lib;

describe('page shell', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  let browser;
  const sessions = {};

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({ args: ['--data-dir', data.path], env: { RUN_JOBS: 'false' } });
    browser = await launchBrowser();
    sessions.admin = await setUp(server);
    for (const role of ['operator', 'viewer']) {
      await addUser(server, sessions.admin, role, role);
      sessions[role] = await signIn(server, role);
    }
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    data?.remove();
  });

  const onPage = (path, role, options, body) =>
    lib.onPage(browser, server.url + path, { session: sessions[role], ...desktop, ...options }, body);
  const nav = (page) => page.locator('#nav a[href]:not([href="/docs"], [href="/metrics"])');
  const link = (page, name) => page.locator('#nav a', { hasText: name });

  it('is one page with an address for each of its pages', async () => {
    await onPage('/', 'admin', {}, async (page) => {
      await heading(page, 'Overview');
      await look(page, 'overview-empty');
      let loads = 0;
      page.on('request', (request) => {
        loads += request.isNavigationRequest() ? 1 : 0;
      });
      await link(page, 'Analyze').click();
      await seen(page, '#stage');
      assert.equal(page.url(), `${server.url}/analyze`);
      assert.equal(await page.title(), 'Analyze · Nexus');
      assert.equal(await link(page, 'Analyze').getAttribute('aria-current'), 'page');
      assert.ok(await page.evaluate(() => document.activeElement.id === 'main'), 'the new page is read from its top');
      assert.equal(loads, 0, 'without asking the server for the page again');

      await page.locator('#choose').setInputFiles(sharedPath('images/bus.jpg'));
      await page.locator('#detections tbody tr').first().waitFor();
      await page.goBack();
      await heading(page, 'Overview');
      await unseen(page, '#stage');
      await page.goForward();
      await seen(page, '#detections tbody tr'); // the picture is still there
      assert.equal(loads, 0);
      await page.reload();
      await seen(page, '#stage');
      assert.equal(page.url(), `${server.url}/analyze`, 'a reload stays');
    });
  });

  it('lists the pages that a role may see, and says which are not for it', async () => {
    const lists = {};
    for (const role of ['admin', 'operator', 'viewer']) {
      await onPage('/', role, {}, async (page) => {
        await heading(page, 'Overview');
        assert.equal(await page.locator('#who-name').textContent(), `${role === 'admin' ? 'ann' : role} · ${role}`);
        lists[role] = await nav(page).allTextContents();
      });
    }
    assert.ok(lists.operator.includes('Analyze') && !lists.viewer.includes('Analyze'));
    assert.ok(lists.admin.length >= lists.operator.length && lists.operator.length > lists.viewer.length);
    await onPage('/analyze', 'viewer', {}, async (page) => {
      await heading(page, 'Not for you');
      await page.getByText('for the role operator and above').waitFor();
      assert.equal(await page.locator('#stage').count(), 0);
      await look(page, 'not-for-you', { small: false });
    });
  });

  it('says when there is no such page', async () => {
    await onPage('/analyze', 'admin', {}, async (page) => {
      await seen(page, '#stage');
      await page.evaluate(() => {
        history.pushState(null, '', '/nowhere');
        dispatchEvent(new PopStateEvent('popstate'));
      });
      await heading(page, 'Nothing here');
      await look(page, 'nothing-here', { small: false });
    });
  });

  it('says what went wrong, and asks again', async () => {
    await onPage('/', 'viewer', { refused: 1 }, async (page) => {
      await heading(page, 'Overview');
      const fault = { title: 'Service Unavailable', status: 503, detail: 'the database is away', request_id: 'r1' };
      await page.route('**/api/v1/jobs*', (route) =>
        route.fulfill({ status: 503, contentType: 'application/problem+json', body: JSON.stringify(fault) }), { times: 1 });
      await page.reload();
      await page.locator('.problem', { hasText: 'the database is away' }).waitFor();
      await look(page, 'overview-problem', { small: false, toned: false });
      await page.locator('.problem button').click();
      await page.getByText('No jobs yet').waitFor();
      await unseen(page, '.problem');
    });
  });

  it('says when nobody answers, and enters when somebody does', async () => {
    await onPage('/', 'viewer', {}, async (page) => {
      await heading(page, 'Overview');
      await page.route('**/api/v1/auth/me', (route) => route.fulfill({ status: 200, body: 'no' }), { times: 1 });
      await page.reload();
      await page.locator('.problem button').click();
      await heading(page, 'Overview');
    });
  });

  it('opens the list of pages on a phone', async () => {
    await onPage('/', 'admin', phone, async (page) => {
      await heading(page, 'Overview');
      const menu = page.getByRole('button', { name: 'Pages' });
      await unseen(page, '#nav');
      await menu.click();
      await seen(page, '#nav');
      assert.equal(await menu.getAttribute('aria-expanded'), 'true');
      await lib.expectAccessible(page, 'the list of pages on a phone');
      await lib.screenshot(page, 'nav-phone');
      await link(page, 'Analyze').click();
      await seen(page, '#stage');
      await unseen(page, '#nav');
    });
  });

  it('goes from page to page with the keyboard alone', async () => {
    await onPage('/', 'operator', {}, async (page) => {
      await heading(page, 'Overview');
      await link(page, 'Overview').focus();
      await page.keyboard.press('Tab');
      await page.keyboard.press('Enter');
      await seen(page, '#stage');
    });
  });

  it('looks at several pictures at once', async () => {
    await onPage('/analyze', 'operator', { refused: 1 }, async (page) => {
      await page.locator('#choose').setInputFiles(
        ['bus.jpg', 'zidane.jpg', 'odd/truncated.jpg', 'odd/exif-6.jpg', 'odd/exif-8.jpg'].map((name) => sharedPath(`images/${name}`)));
      const tray = page.locator('#tray');
      await tray.getByText('All looked at.').waitFor();
      const rows = tray.locator('li');
      assert.deepEqual(await rows.locator('.tray-name').allTextContents(),
        ['bus.jpg', 'zidane.jpg', 'truncated.jpg', 'exif-6.jpg', 'exif-8.jpg']);
      assert.match(await rows.nth(0).textContent(), /4 person, 1 bus/);
      assert.match(await rows.nth(2).textContent(), /JPEG ends early/);
      assert.equal(await page.locator('#file-name').textContent(), 'bus.jpg');
      await rows.nth(1).locator('button').click();
      await page.waitForFunction(() => document.getElementById('file-name').textContent === 'zidane.jpg');
      assert.equal(await rows.nth(1).locator('button').getAttribute('aria-current'), 'true');
      await page.locator('#detections tbody tr').first().waitFor();
      await look(page, 'analyze-several');
      const download = page.waitForEvent('download');
      await tray.getByRole('button', { name: 'Save all as JSON' }).click();
      const saved = JSON.parse(readFileSync(await (await download).path(), 'utf8'));
      assert.deepEqual(saved.map(({ status }) => status), ['ok', 'ok', 'error', 'ok', 'ok']);
      assert.equal(saved[0].detections.length, 5);
      await rows.nth(2).locator('button').click();
      await page.locator('#problem', { hasText: 'JPEG ends early' }).waitFor();
      await page.locator('#choose').setInputFiles(sharedPath('images/bus.jpg'));
      await unseen(page, '#tray');
    });
  });
});
