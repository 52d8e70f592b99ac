// Models on the page: uploaded, swapped, rolled back, compared, given to users; and the overview, live.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { addKey, addUser, ask, setUp, signIn } from './lib/accounts.mjs';
import { launchBrowser } from './lib/browser.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import * as lib from './lib/page.mjs';
import { sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { tinyModel } from './lib/tiny_model.mjs';

const { desktop, heading, look } = lib;

describe('page models', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  let browser;
  let admin;
  let viewer;

  before(async () => {
    data = makeDataDir({});
    writeFileSync(`${data.path}/models/tiny.onnx`, tinyModel(['red', 'blue'], 5));
    writeFileSync(`${data.path}/other.onnx`, tinyModel(['rot', 'blau'], 5));
    server = await startServer({
      args: ['--data-dir', data.path, '--model', 'tiny'],
      env: { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false', CACHE_TTL_PREDICTIONS: '300' },
    });
    browser = await launchBrowser();
    admin = await setUp(server);
    await addUser(server, admin, 'eve', 'viewer');
    viewer = await signIn(server, 'eve');
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    data?.remove();
  });

  const onPage = (path, options, body) =>
    lib.onPage(browser, server.url + path, { session: admin, ...desktop, ...options }, body);
  const card = (page, name) => page.getByRole('region', { name, exact: true });
  const row = (page, name, version) => card(page, name).locator('tbody tr', { has: page.locator('th', { hasText: new RegExp(`^${version}$`) }) });
  const closed = (page) => page.locator('dialog').waitFor({ state: 'detached' });

  async function upload(page, name, file) {
    await page.getByRole('button', { name: 'Upload a model' }).click();
    await page.getByLabel('ONNX file').setInputFiles(file);
    await page.getByLabel('Name').fill(name);
    await page.getByRole('button', { name: 'Upload and try it' }).click();
  }

  it('uploads a version, rolls back, lets one serve, and removes', async () => {
    await onPage('/models', { refused: 1 }, async (page) => {
      await row(page, 'tiny', 1).getByText('serving').waitFor();
      await upload(page, 'tiny', `${data.path}/other.onnx`);
      await closed(page);
      await row(page, 'tiny', 2).getByText('serving').waitFor();
      await page.getByRole('button', { name: 'Roll back' }).click();
      await row(page, 'tiny', 1).getByText('serving').waitFor();
      await page.getByRole('button', { name: 'Let it serve: tiny 2' }).click();
      await row(page, 'tiny', 2).getByText('serving').waitFor();
      const { value } = await ask(server, '/api/v1/models/tiny', { headers: admin.headers });
      assert.equal(value.serving_version, 2);
      await look(page, 'models');

      await upload(page, 'odd', sharedPath('images/bus.jpg'));
      await page.locator('dialog .problem-line:not(:empty)').waitFor();
      await look(page, 'models-upload', { small: false, toned: false });
      await page.keyboard.press('Escape');
      await closed(page);
      await upload(page, 'second', `${data.path}/other.onnx`);
      await closed(page);
      await card(page, 'second').waitFor();
      await page.getByRole('button', { name: 'Remove second', exact: true }).click();
      await page.getByRole('button', { name: 'Remove', exact: true }).last().click();
      await closed(page);
      await card(page, 'second').waitFor({ state: 'detached' });
    });
  });

  it('compares two versions on one picture', async () => {
    await onPage('/models', {}, async (page) => {
      await row(page, 'tiny', 2).waitFor();
      await page.getByRole('button', { name: 'Compare' }).click();
      await page.getByLabel('One', { exact: true }).selectOption('tiny:1');
      await page.getByLabel('The other').selectOption('tiny:2');
      await page.getByLabel('Picture').setInputFiles(sharedPath('images/bus.jpg'));
      await page.locator('dialog').getByRole('button', { name: 'Compare' }).click();
      const sides = page.locator('.compare-side');
      await sides.nth(1).waitFor();
      const found = async (model) => {
        const { value } = await ask(server, `/api/v1/inference/image?model=${model}&confidence=0.25&iou=0.45`, {
          method: 'POST', body: readFileSync(sharedPath('images/bus.jpg')),
          headers: { ...admin.headers, 'Content-Type': 'image/jpeg' },
        });
        return value.detections.length;
      };
      const numbers = async (side) =>
        (await side.locator('canvas').getAttribute('aria-label')).match(/\d+(?= (red|blue|rot|blau))/g)?.reduce((a, b) => a + Number(b), 0) ?? 0;
      assert.equal(await numbers(sides.nth(0)), await found('tiny:1'));
      assert.equal(await numbers(sides.nth(1)), await found('tiny:2'));
      await look(page, 'models-compare', { toned: false });
    });
  });

  it('says who may use a model', async () => {
    const key = await addKey(server, admin, ['infer'], { name: 'camera' });
    await onPage('/models', {}, async (page) => {
      await page.getByRole('button', { name: 'Access to tiny' }).click();
      await page.getByLabel('Level').selectOption('private');
      await page.getByText('Admins only.').waitFor();
      await page.getByLabel('Let a user in').selectOption({ label: 'eve' });
      await page.getByRole('button', { name: 'Let the user in' }).click();
      await page.getByRole('button', { name: 'Take back' }).waitFor();
      await page.getByLabel('Let a key in').selectOption({ label: `camera of ann (${key.id}…)` });
      await page.getByRole('button', { name: 'Let the key in' }).click();
      await page.getByText(`key camera of ann (${key.id}…)`).waitFor();
      await look(page, 'models-access', { toned: false });
      const { value } = await ask(server, '/api/v1/models/tiny/access', { headers: admin.headers });
      assert.deepEqual([value.level, value.grants.length], ['private', 2]);
      assert.ok(value.grants.some(({ key_id: id }) => id === key.id));
      await page.getByRole('button', { name: 'Take back' }).first().click();
      await page.getByRole('button', { name: 'Take back' }).nth(1).waitFor({ state: 'detached' });
      await page.getByRole('button', { name: 'Take back' }).click();
      await page.getByText('Admins only.').waitFor();
      await page.getByLabel('Level').selectOption('authenticated');
      await page.getByText('Admins only.').waitFor({ state: 'detached' });
    });
  });

  it('shows viewers the models, and nothing to change them with', async () => {
    await onPage('/models', { session: viewer }, async (page) => {
      await row(page, 'tiny', 2).waitFor();
      assert.equal(await page.locator('main button').count(), 0);
    });
  });

  it('shows on the overview what the server does, live', async () => {
    await onPage('/', {}, async (page) => {
      await heading(page, 'Overview');
      const tile = (name) => page.locator('.tile', { hasText: name }).locator('dd');
      await tile('Requests a second').waitFor();
      const body = readFileSync(sharedPath('images/bus.jpg'));
      let stop = false;
      const load = (async () => {
        while (!stop) {
          await ask(server, '/api/v1/inference/image', {
            method: 'POST', body, headers: { ...admin.headers, 'Content-Type': 'image/jpeg', 'Cache-Control': 'no-cache' },
          });
          await ask(server, '/api/v1/inference/image', {
            method: 'POST', body, headers: { ...admin.headers, 'Content-Type': 'image/jpeg' },
          });
        }
      })();
      try {
        const value = (name) => tile(name).evaluate((element) => element.textContent);
        await page.waitForFunction(() => {
          const text = (name) => [...document.querySelectorAll('.tile')].find((t) => t.textContent.includes(name))?.querySelector('dd').textContent;
          return Number(text('Pictures a second')) > 0 && /ms|s$/.test(text('Latency')) && /%/.test(text('from the cache'));
        });
        assert.ok(Number(await value('Requests a second')) > 0);
        assert.notEqual(await value('Answered from the cache'), '0 %');
      } finally {
        stop = true;
        await load;
      }
      await look(page, 'overview');
    });
  });
});
