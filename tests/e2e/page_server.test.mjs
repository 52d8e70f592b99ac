// Users, keys, one's own password, the audit log and the settings, on the page.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { PASSWORD, addKey, ask, json, setUp, signIn } from './lib/accounts.mjs';
import { launchBrowser } from './lib/browser.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import * as lib from './lib/page.mjs';
import { skipWithoutShared, startServer } from './lib/server.mjs';

const { desktop, heading, look, seen } = lib;

describe('page server', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  let browser;
  let admin;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({
      args: ['--data-dir', data.path],
      env: { DATABASE_URL: '', RUN_JOBS: 'false', WEBHOOK_SECRET: 'a secret that nobody may see' },
    });
    browser = await launchBrowser();
    admin = await setUp(server);
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    data?.remove();
  });

  const onPage = (path, options, body) =>
    lib.onPage(browser, server.url + path, { session: admin, ...desktop, ...options }, body);
  const row = (page, name) => page.locator('tbody tr', { has: page.locator('th', { hasText: name }) });
  const closed = (page) => page.locator('dialog').waitFor({ state: 'detached' });

  it('adds a user, changes and disables it, and removes it', async () => {
    await onPage('/users', { refused: 1 }, async (page) => {
      await row(page, 'ann').waitFor();
      await page.getByRole('button', { name: 'Add a user' }).click();
      await page.getByLabel('Name').fill('ann');
      await page.getByLabel('Password').fill(PASSWORD);
      await page.getByLabel('Role').selectOption('viewer');
      await page.getByRole('button', { name: 'Add', exact: true }).click();
      await page.locator('dialog .problem-line:not(:empty)').waitFor(); // there is an ann
      await look(page, 'users-add');
      await page.getByLabel('Name').fill('bob');
      await page.keyboard.press('Enter');
      await closed(page);
      await row(page, 'bob').waitFor();
      await look(page, 'users');

      await page.getByRole('button', { name: 'Change bob' }).click();
      await page.getByLabel('Role').selectOption('operator');
      await page.getByLabel(/^Disabled/).check();
      await page.getByRole('button', { name: 'Change', exact: true }).click();
      await closed(page);
      await row(page, 'bob').getByText('disabled').waitFor();
      const { value } = await ask(server, '/api/v1/users/bob', { headers: admin.headers });
      assert.deepEqual([value.role, value.disabled], ['operator', true]);

      await page.getByRole('button', { name: 'Remove bob' }).click();
      await page.getByRole('button', { name: 'Remove', exact: true }).click();
      await closed(page);
      await row(page, 'bob').waitFor({ state: 'detached' });
      assert.ok(await page.evaluate(() => document.activeElement !== null));
    });
    await onPage('/users', { refused: 1 }, async (page) => {
      await page.getByRole('button', { name: 'Remove ann' }).click();
      await page.getByRole('button', { name: 'Remove', exact: true }).click();
      await page.locator('dialog .problem-line', { hasText: /admin/ }).waitFor(); // the last one stays
      await page.keyboard.press('Escape');
      await closed(page);
      assert.ok(await page.evaluate(() => document.activeElement.getAttribute('aria-label') === 'Remove ann'),
        'the focus is where it was');
    });
  });

  it('makes a key, shows it once, and revokes it', async () => {
    await onPage('/keys', {}, async (page) => {
      await page.getByText('No keys yet').waitFor();
      await page.getByRole('button', { name: 'Make a key' }).click();
      await page.getByLabel('Name').fill('camera at the door');
      await page.getByLabel(/^infer/).check();
      await look(page, 'keys-add', { toned: false });
      await page.getByRole('button', { name: 'Make it' }).click();
      const secret = await page.getByLabel('Key', { exact: true }).inputValue();
      assert.match(secret, /^nxk_/);
      await look(page, 'keys-new', { small: false });
      const me = await ask(server, '/api/v1/auth/me', { headers: { Authorization: `Bearer ${secret}` } });
      assert.deepEqual(me.value.scopes, ['read', 'infer']);
      await page.getByRole('button', { name: 'I have it' }).click();
      await row(page, 'camera at the door').getByText('active').waitFor();
      assert.ok(!(await page.content()).includes(secret), 'it is gone');
      await look(page, 'keys');
      await page.getByRole('button', { name: 'Revoke camera at the door' }).click();
      await page.getByRole('button', { name: 'Revoke it' }).click();
      await row(page, 'camera at the door').getByText('revoked').waitFor();
      await page.getByText('Everybody’s').click();
      await row(page, 'camera at the door').waitFor();
      assert.equal(new URL(page.url()).search, '?all');
    });
  });

  it('changes the own password', async () => {
    await ask(server, '/api/v1/users', json('POST', { name: 'eve', password: PASSWORD, role: 'viewer' }, admin.headers));
    const eve = await signIn(server, 'eve');
    const after = `${PASSWORD} two`;
    await onPage('/', { session: eve, refused: 1 }, async (page) => {
      await page.locator('#who-name').click();
      await heading(page, 'Your account');
      const [before, fresh, again] = ['Password so far', 'New password', 'New password again'].map((label) =>
        page.getByLabel(label, { exact: true }));
      await before.fill('not the password');
      await fresh.fill(after);
      await again.fill(PASSWORD);
      await page.getByText('The two are not the same.').waitFor();
      await again.fill(after);
      await page.getByRole('button', { name: 'Change it' }).click();
      await page.locator('.problem-line:not(:empty)').waitFor();
      await look(page, 'account', { toned: false });
      await before.fill(PASSWORD);
      await page.getByRole('button', { name: 'Change it' }).click();
      await page.locator('.toast', { hasText: 'Your password is changed' }).waitFor();
      assert.equal(await before.inputValue(), '');
    });
    await signIn(server, 'eve', after);
  });

  it('shows the audit log, filtered, and gives it as a file', async () => {
    await addKey(server, admin, ['read'], { name: '=1+1' });
    await onPage('/audit', {}, async (page) => {
      const rows = page.getByRole('region', { name: 'Audit log' }).locator('tbody tr');
      await rows.first().waitFor();
      const all = await rows.count();
      await look(page, 'audit');
      await page.getByLabel('Action').selectOption('user.');
      await page.waitForFunction((n) => { // none at all while they load
        const { length } = document.querySelectorAll('tbody tr');
        return length > 0 && length < n;
      }, all);
      const actions = await rows.locator('th').allTextContents();
      assert.ok(actions.length > 0 && actions.every((action) => action.startsWith('user.')), actions.join());
      await page.getByLabel('User', { exact: true }).fill('nobody');
      await page.keyboard.press('Enter');
      await page.getByText('Nothing of this kind was done').waitFor();
      assert.equal(new URL(page.url()).search, '?action=user.&actor=nobody');
      await page.getByLabel('User', { exact: true }).fill('ann');
      await page.keyboard.press('Enter');
      await page.getByLabel('Since').selectOption('24h');
      await rows.first().waitFor();
      const download = page.waitForEvent('download');
      await page.getByRole('link', { name: 'CSV', exact: true }).click();
      const lines = readFileSync(await (await download).path(), 'utf8').trim().split('\n');
      assert.ok(lines.length > 1 && lines.slice(1).every((line) => /user\./.test(line)), lines[1]);
    });
  });

  it('shows the settings with their origins, and no secret', async () => {
    const { value } = await ask(server, '/api/v1/settings', { headers: admin.headers });
    await onPage('/settings', {}, async (page) => {
      const rows = page.getByRole('region', { name: 'Settings' }).locator('tbody tr');
      await rows.first().waitFor();
      assert.equal(await rows.count(), value.items.length);
      await page.getByLabel('Find').fill('webhook_secret');
      await page.waitForFunction(() => document.querySelectorAll('tbody tr').length === 1);
      const text = await rows.first().textContent();
      assert.match(text, /environment/);
      assert.match(text, /\*\*\*/);
      assert.ok(!(await page.content()).includes('nobody may see'));
      await page.getByLabel('Find').fill('');
      await page.getByLabel(/only those/).check();
      await page.waitForFunction((n) => document.querySelectorAll('tbody tr').length === n,
        value.items.filter(({ source }) => source !== 'default').length);
      await look(page, 'settings');
      await page.getByLabel('Find').fill('no such setting at all');
      await page.getByText('No such setting').waitFor();
    });
  });

  it('keeps the pages for admins from others', async () => {
    const eve = await signIn(server, 'eve', `${PASSWORD} two`);
    await onPage('/users', { session: eve }, async (page) => {
      await heading(page, 'Not for you');
      assert.equal(await page.locator('#nav a[href="/users"]').count(), 0);
      await page.locator('#nav a[href="/keys"]').click();
      await heading(page, 'Keys');
      assert.equal(await page.getByText('Everybody’s').count(), 0);
      await seen(page, '.blank');
    });
  });
});
