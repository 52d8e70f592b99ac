// The page where answers come late, in part or not at all, and where the session ends meanwhile.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { PASSWORD, addUser, ask, json, session, setUp } from './lib/accounts.mjs';
import { launchBrowser } from './lib/browser.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import * as lib from './lib/page.mjs';
import { eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { tinyModel } from './lib/tiny_model.mjs';

const { desktop, seen } = lib;
const cars = sharedPath('videos/car-detection.mp4');
const half = (text) => text.slice(0, text.length / 2);

describe('page, broken', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  let browser;
  let admin;
  let job;

  before(async () => {
    data = makeDataDir({});
    writeFileSync(`${data.path}/models/tiny.onnx`, tinyModel(['red', 'blue'], 5));
    server = await startServer({
      args: ['--data-dir', data.path, '--model', 'tiny'],
      env: { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false', CACHE_TTL_PREDICTIONS: '300' },
    });
    browser = await launchBrowser();
    admin = await setUp(server);
    await addUser(server, admin, 'bob', 'admin');
    const added = await ask(server, '/api/v1/videos?name=cars.mp4', {
      method: 'POST', headers: { ...admin.headers, 'Content-Type': 'video/mp4' }, body: readFileSync(cars),
    });
    const submitted = await ask(server, '/api/v1/videos/process',
      json('POST', { video_id: added.value.id }, admin.headers));
    assert.equal(submitted.status, 202, JSON.stringify(submitted.value));
    job = submitted.value.id;
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    data?.remove();
  });

  async function logIn(name) {
    return session(await ask(server, '/api/v1/auth/login', json('POST', { name, password: PASSWORD })));
  }

  /** On a page of a session of its own, which body may end. */
  async function onPage(path, options, body) {
    const own = await logIn('ann');
    await lib.onPage(browser, server.url + path, { session: own, ...desktop, ...options }, (page) => body(page, own));
  }
  const end = async ({ headers }) =>
    assert.equal((await ask(server, '/api/v1/auth/logout', { method: 'POST', headers })).status, 204);

  async function signIn(page, name) {
    await page.locator('#door-name').fill(name);
    await page.locator('#door-password').fill(PASSWORD);
    await page.locator('#door-submit').click();
  }
  const keptUploads = (page) => page.evaluate(() => localStorage.getItem('nexus-uploads'));

  it('takes from the cache what was found before', async () => {
    await onPage('/analyze', {}, async (page) => {
      const answered = () => page.waitForResponse((answer) => answer.url().includes('/inference/image'));
      const origins = [];
      for (let i = 0; i < 2; i++) {
        const answer = answered();
        await page.locator('#choose').setInputFiles(sharedPath('images/bus.jpg'));
        origins.push((await answer).headers()['x-cache']);
        await page.locator('#detections tbody tr').first().waitFor();
        await page.reload();
        await seen(page, '#stage');
      }
      assert.deepEqual(origins, ['miss', 'hit']);
    });
  });

  it('goes on with an upload when its user has signed in again', async () => {
    await onPage('/videos', { refused: 1 }, async (page, own) => {
      const pieces = [];
      await page.route('**/api/v1/uploads/*', async (route) => {
        const request = route.request();
        if (request.method() === 'PATCH') {
          pieces.push({ url: request.url(), offset: Number(request.headers()['upload-offset']) });
          if (pieces.length === 2) {
            await end(own);
          }
        }
        await route.continue();
      });
      await page.locator('#choose-videos').setInputFiles(cars);
      await page.locator('#door-text', { hasText: 'Your session is over' }).waitFor();
      assert.match(await keptUploads(page), /car-detection/);
      await signIn(page, 'ann');
      await page.locator('.upload[data-state=done]').waitFor();
      assert.equal(new Set(pieces.map(({ url }) => url)).size, 1, 'it is one upload');
      assert.ok(pieces[2].offset > 0, `it went on at ${pieces[2].offset}`);
      assert.equal(await keptUploads(page), null);
    });
  });

  it('keeps the names of uploads from whoever comes after, and after signing out', async () => {
    await onPage('/videos', { refused: 1 }, async (page, own) => {
      let held = true;
      await page.route('**/api/v1/uploads/*', (route) =>
        held && route.request().method() === 'PATCH' ? undefined : route.continue());
      await page.locator('#choose-videos').setInputFiles(cars);
      await page.locator('.upload[data-state=sending]').waitFor();
      await page.waitForFunction(() => localStorage.getItem('nexus-uploads') !== null);
      await page.reload();
      await page.locator('.upload[data-state=lost]').waitFor();
      await end(own);
      held = false;
      await page.locator('#nav a[href="/models"]').click();
      await seen(page, '#door');
      await signIn(page, 'bob');
      await page.locator('#who-name', { hasText: 'bob' }).waitFor();
      await page.waitForFunction(() => localStorage.getItem('nexus-uploads') === null);

      held = true;
      await page.locator('#nav a[href="/videos"]').click();
      await page.locator('#choose-videos').setInputFiles(cars);
      await page.waitForFunction(() => localStorage.getItem('nexus-uploads') !== null);
      await page.locator('#sign-out').click();
      await seen(page, '#door');
      assert.equal(await keptUploads(page), null);
    });
  });

  it('asks again for the events of a job after a refusal', async () => {
    await onPage('/jobs', { refused: 2 }, async (page) => {
      let asked = 0;
      await page.route('**/api/v1/jobs/*/events', async (route) => {
        asked += 1;
        if (asked <= 2) {
          await route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{}' });
        } else {
          await route.continue();
        }
      });
      await page.getByRole('link', { name: job.slice(-12) }).click();
      const events = await page.waitForResponse((answer) => answer.url().endsWith('/events') && answer.ok());
      assert.equal(events.headers()['content-type'], 'text/event-stream');
      await page.locator('.badge', { hasText: 'queued' }).waitFor();
      await ask(server, `/api/v1/jobs/${job}`, { method: 'DELETE', headers: admin.headers });
      await page.locator('.badge', { hasText: 'cancelled' }).waitFor();
    });
    const { status } = await ask(server, `/api/v1/jobs/${job}/retry`, { method: 'POST', headers: admin.headers });
    assert.equal(status, 202);
  });

  it('asks for nothing behind the door', async () => {
    for (const [path, show] of [
      [`/jobs/${job}`, (page) => page.locator('.badge', { hasText: 'queued' })],
      ['/jobs', (page) => page.getByRole('link', { name: job.slice(-12) })],
    ]) {
      await onPage(path, { refused: 1 }, async (page, own) => {
        await page.clock.install();
        await page.route('**/content', (route) => route.fulfill({ path: cars })); // which may come after the end
        await page.route('**/api/v1/jobs/*/events', (route) => route.fulfill({ status: 204 })); // nothing to tell
        await page.reload();
        await show(page).waitFor();
        await end(own);
        await page.clock.runFor(20_000);
        await seen(page, '#door');
        const asked = [];
        page.on('request', (request) => asked.push(new URL(request.url()).pathname));
        await page.clock.runFor(120_000);
        assert.deepEqual(asked.filter((to) => to.startsWith('/api/')), [], path);
        await signIn(page, 'ann');
        await show(page).waitFor();
        await page.unrouteAll({ behavior: 'ignoreErrors' });
      });
    }
  });

  it('waits for a slow list instead of asking anew', async () => {
    await onPage('/models', {}, async (page) => {
      await page.clock.install();
      const held = [];
      let hold;
      const isHeld = new Promise((resolve) => {
        hold = resolve;
      });
      await page.route('**/api/v1/jobs?*', (route) => {
        held.push(route);
        hold();
      });
      await page.locator('#nav a[href="/jobs"]').click();
      await isHeld;
      await page.clock.runFor(30_000);
      assert.equal(held.length, 1);
      await held[0].continue();
      await page.getByRole('link', { name: job.slice(-12) }).waitFor();
      await page.clock.runFor(10_000);
      await eventually(() => held.length === 2, 'the timer asks again');
      await page.unrouteAll({ behavior: 'ignoreErrors' });
    });
  });

  it('says so when an answer breaks off, and can be asked again', async () => {
    await onPage('/users', { refused: 1 }, async (page) => {
      await page.route('**/api/v1/users', async (route) => {
        const response = await route.fetch();
        await route.fulfill({ response, body: half(await response.text()) });
      }, { times: 1 });
      await page.getByRole('button', { name: 'Add a user' }).click();
      await page.getByLabel('Name').fill('carl');
      await page.getByLabel('Password').fill(PASSWORD);
      await page.getByRole('button', { name: 'Add', exact: true }).click();
      const line = page.locator('dialog .problem-line');
      await line.filter({ hasText: 'broke in the middle of the answer' }).waitFor();
      await page.getByRole('button', { name: 'Add', exact: true }).click();
      await line.filter({ hasText: /carl/ }).waitFor(); // who is there: it was done
      await page.keyboard.press('Escape');

      await page.locator('#nav a[href="/models"]').click();
      await page.route('**/api/v1/models', (route) => // which gets no files to send on
        route.fulfill({ status: 201, contentType: 'application/json', body: '{"name":"cu' }), { times: 1 });
      await page.getByRole('button', { name: 'Upload a model' }).click();
      await page.getByLabel('ONNX file').setInputFiles(`${data.path}/models/tiny.onnx`);
      await page.getByLabel('Name').fill('cut');
      await page.getByRole('button', { name: 'Upload and try it' }).click();
      await line.filter({ hasText: 'broke in the middle of the answer' }).waitFor();
      await page.getByRole('button', { name: 'Upload and try it' }).click();
      await page.locator('dialog').waitFor({ state: 'detached' });
    });
  });

  it('asks again how far an upload came when that answer breaks off', async () => {
    await onPage('/videos', { refused: 1 }, async (page) => {
      let cut = 0;
      await page.route('**/api/v1/uploads/*', async (route) => {
        const request = route.request();
        if (request.method() === 'PATCH' && cut === 0) {
          await route.fulfill({ status: 503, body: '' }); // so that it has to ask
          return;
        }
        if (request.method() === 'GET' && cut++ === 0) {
          const response = await route.fetch();
          await route.fulfill({ response, body: half(await response.text()) });
          return;
        }
        await route.continue();
      });
      await page.locator('#choose-videos').setInputFiles(cars);
      await page.locator('.upload[data-state=done]').waitFor();
      assert.ok(cut >= 2);
    });
  });

  it('reads no more of what a job saw than a browser should hold', async () => {
    const line = `${JSON.stringify({ frame: 1, time: 0, objects: [] })}${' '.repeat(1 << 20)}\n`;
    let gone;
    const isGone = new Promise((resolve) => {
      gone = resolve;
    });
    const endless = createServer((request, response) => {
      response.writeHead(200, { 'Content-Type': 'application/x-ndjson' });
      response.on('close', gone);
      const write = () => {
        while (!response.destroyed && response.write(line));
      };
      response.on('drain', write);
      write();
    });
    await new Promise((resolve) => endless.listen(0, '127.0.0.1', resolve));
    try {
      await onPage('/jobs', {}, async (page) => {
        await page.route(`**/api/v1/jobs/${job}`, async (route) => {
          const response = await route.fetch();
          await route.fulfill({ response, json: { ...(await response.json()), frames: '/endless' } });
        });
        await page.route('**/endless', (route) => route.continue({ url: `http://127.0.0.1:${endless.address().port}/` }));
        await page.getByRole('link', { name: job.slice(-12) }).click();
        let followed = 0;
        page.on('request', (request) => {
          followed += request.url().endsWith('/events') ? 1 : 0;
        });
        await isGone; // the page has closed the connection
        await page.getByText('Nothing was seen.').waitFor();
        assert.ok(followed <= 1, 'that it ended once, before another try, is no end');
      });
    } finally {
      endless.closeAllConnections();
      endless.close();
    }
  });
});
