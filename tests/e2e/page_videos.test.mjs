// Videos and jobs on the page: uploads that break and go on, zones drawn, a job followed to its results.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { ask } from './lib/accounts.mjs';
import { launchBrowser } from './lib/browser.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { addVideo, submitJob } from './lib/jobs.mjs';
import * as lib from './lib/page.mjs';
import { sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { tinyModel } from './lib/tiny_model.mjs';

const { desktop, heading, look, seen } = lib;
const cars = sharedPath('videos/car-detection.mp4');

describe('page videos', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  let browser;

  before(async () => {
    data = makeDataDir({});
    writeFileSync(`${data.path}/models/tiny.onnx`, tinyModel(['red', 'blue'], 5));
    server = await startServer({ args: ['--data-dir', data.path, '--model', 'tiny'], env: { DATABASE_URL: '', OBJECTS_URL: '' } });
    browser = await launchBrowser();
  });
  after(async () => {
    await browser?.close();
    await server?.stop();
    data?.remove();
  });

  const onPage = (path, options, body) => lib.onPage(browser, server.url + path, { ...desktop, ...options }, body);
  const rows = (page) => page.getByRole('region', { name: 'Videos' }).locator('tbody tr');
  const choose = (page) => page.locator('#choose-videos').setInputFiles(cars);

  it('uploads a video although the connection breaks, and after a reload', async () => {
    await onPage('/videos', { refused: 0 }, async (page) => {
      await page.getByText('No videos yet').waitFor();
      await look(page, 'videos-empty', { toned: false });
      const offsets = [];
      let mode = 'break once';
      let held;
      const isHeld = new Promise((resolve) => {
        held = resolve;
      });
      await page.route('**/api/v1/uploads/*', async (route) => {
        const request = route.request();
        if (request.method() !== 'PATCH') {
          await route.continue();
          return;
        }
        offsets.push(Number(request.headers()['upload-offset']));
        if (mode === 'break once' && offsets.length === 2) {
          mode = 'hold';
          // As a server that can't be reached: no answer, and nothing on the console.
          await route.fulfill({ status: 204, headers: { 'Upload-Offset': '1048576' } });
        } else if (mode === 'hold') {
          held();
        } else {
          await route.continue();
        }
      });
      await choose(page);
      await isHeld; // the third piece has no answer
      assert.equal(offsets[0], 0);
      assert.ok(offsets[1] > 0);
      await page.locator('.upload[data-state=sending]').waitFor();
      assert.ok(Number(await page.getByRole('progressbar').getAttribute('aria-valuenow')) > 0);
      mode = 'on';
      await page.reload();
      await page.locator('.upload[data-state=lost]').waitFor();
      await look(page, 'videos-lost-upload', { small: false, toned: false });
      const before = offsets.length;
      await choose(page);
      await rows(page).first().waitFor();
      assert.ok(offsets[before] > 0, `it went on at ${offsets[before]}`);
      await page.locator('.upload[data-state=done]').waitFor();
      assert.match(await rows(page).first().textContent(), /car-detection\.mp4.*0:30.*768×432.*h264.*2\.8 MB/);
      await look(page, 'videos');
    });
  });

  it('goes on by itself when nobody answered', async () => {
    await onPage('/videos', { refused: 1 }, async (page) => {
      await rows(page).first().waitFor();
      let calls = 0;
      await page.route('**/api/v1/uploads', async (route) => {
        calls += 1;
        if (calls === 1) {
          await route.fulfill({ status: 503, contentType: 'application/problem+json',
            body: JSON.stringify({ title: 'Service Unavailable', status: 503, detail: 'the disk is away' }) });
        } else {
          await route.continue();
        }
      });
      await choose(page);
      await page.locator('.upload', { hasText: 'the disk is away' }).waitFor();
      await page.locator('.upload[data-state=done]').waitFor();
      assert.equal(calls, 2);
      assert.equal(await rows(page).count(), 1, 'the same bytes are one video');
      await page.getByRole('button', { name: /^Hide/ }).click();
      assert.equal(await page.locator('.upload').count(), 0);
    });
  });

  it('says what is wrong with a file that is no video', async () => {
    await onPage('/videos', { refused: 1 }, async (page) => {
      await rows(page).first().waitFor();
      await page.locator('#choose-videos').setInputFiles(sharedPath('images/bus.jpg'));
      await page.locator('.upload[data-state=failed]').waitFor();
      assert.match(await page.locator('.upload-state').textContent(), /video/);
    });
  });

  it('draws zones and lines, submits a job, follows it, and shows what it found', async () => {
    await onPage('/videos', {}, async (page) => {
      await rows(page).first().getByRole('link', { name: 'car-detection.mp4' }).click();
      await heading(page, 'car-detection.mp4');
      await page.waitForFunction(() => document.querySelector('video').readyState >= 2);
      await look(page, 'video', { small: false, toned: false });
      await page.getByRole('button', { name: 'Analyse' }).click();

      const canvas = page.locator('.zone-canvas');
      await canvas.waitFor();
      await page.waitForFunction(() => document.querySelector('.editing video').readyState >= 2);
      const { width, height } = await canvas.boundingBox();
      for (const [x, y] of [[0.1, 0.2], [0.6, 0.2], [0.6, 0.9], [0.1, 0.2]]) {
        await canvas.click({ position: { x: x * width, y: y * height } });
      }
      const shapes = page.locator('.shapes li');
      assert.equal(await shapes.count(), 1);
      await page.getByLabel('Name of zone 1').fill('road');
      await page.getByText('Line', { exact: true }).first().click();
      // With the keyboard: the cross begins in the middle.
      await canvas.focus();
      await page.keyboard.press('Shift+ArrowRight');
      await page.keyboard.press('Enter');
      for (let i = 0; i < 4; i++) {
        await page.keyboard.press('Shift+ArrowDown');
      }
      await page.keyboard.press('Enter');
      assert.equal(await shapes.count(), 2);
      await page.getByText('As JSON').click();
      const drawn = JSON.parse(await page.getByLabel('Zones and lines as JSON').inputValue());
      assert.equal(drawn.zones[0].name, 'road');
      assert.equal(drawn.zones[0].polygon.length, 3);
      drawn.zones[0].polygon.flat().forEach((value, i) =>
        assert.ok(Math.abs(value - [0.1, 0.2, 0.6, 0.2, 0.6, 0.9][i]) < 0.01, String(value)));
      assert.deepEqual(drawn.lines, [{ name: 'Line 1', from: [0.6, 0.5], to: [0.6, 0.9] }]);
      await page.getByText('As JSON').click();
      await page.getByLabel('Look at').selectOption('stride');
      await page.getByLabel('N', { exact: true }).fill('3');
      await page.getByLabel('Count in steps of, in seconds').fill('5');
      await look(page, 'video-analyse');

      const submitted = page.waitForResponse((response) => response.url().endsWith('/videos/process'));
      await page.locator('form.process').getByRole('button', { name: 'Analyse' }).click();
      const job = await (await submitted).json();
      assert.equal(job.options.stride, 3);
      assert.deepEqual([job.options.zones, job.options.lines], [drawn.zones, drawn.lines]);
      await heading(page, `Job ${job.id.slice(-12)}`);
      assert.equal(new URL(page.url()).pathname, `/jobs/${job.id}`);
      await page.locator('.badge', { hasText: 'succeeded' }).waitFor();
      await page.getByRole('link', { name: 'summary.json' }).waitFor();

      // What the page shows is what the files say.
      const { value: summary } = await ask(server, `/api/v1/jobs/${job.id}/results/summary.json`);
      const seenClasses = page.getByRole('region', { name: 'What was seen' }).locator('tbody tr');
      await seenClasses.first().waitFor();
      assert.deepEqual(await seenClasses.locator('th').allTextContents(), summary.classes.map((c) => c.class_name));
      const chart = page.getByRole('img', { name: /How many there were over time/ });
      await chart.waitFor();
      for (const { class_name: name, most_at_once: most } of summary.classes) {
        assert.match(await chart.getAttribute('aria-label'), new RegExp(`${name} ${most}\\b`));
      }
      const frames = (await ask(server, `/api/v1/jobs/${job.id}/results/frames.ndjson`)).value.trim().split('\n').map(JSON.parse);
      const full = frames.reduce((best, frame) => (frame.objects.length > best.objects.length ? frame : best));
      await page.evaluate((to) => {
        document.querySelector('video').currentTime = to;
      }, full.time + 0.01);
      await page.waitForFunction((n) => document.querySelector('.video-overlay').dataset.objects === String(n), full.objects.length);
      const painted = await page.evaluate(() => {
        const canvas = document.querySelector('.video-overlay');
        return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0);
      });
      assert.ok(painted, 'boxes are drawn over the video');

      // A click on the timeline goes there.
      const over = page.locator('.u-over');
      const box = await over.boundingBox();
      await over.click({ position: { x: box.width / 2, y: 20 } });
      await page.waitForFunction(() => Math.abs(document.querySelector('video').currentTime - 15) < 1.5);
      await look(page, 'job');

      const download = page.waitForEvent('download');
      await page.getByRole('link', { name: 'counts.csv' }).click();
      assert.equal((await download).suggestedFilename(), 'counts.csv');
    });
  });

  it('lists jobs by state, cancels one and tries it again', async () => {
    // Where nobody works off the queue, so that a job stays where it is put.
    const home = makeDataDir({});
    writeFileSync(`${home.path}/models/tiny.onnx`, tinyModel());
    const idle = await startServer({
      args: ['--data-dir', home.path, '--model', 'tiny'],
      env: { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false', WEBHOOK_ALLOW_PRIVATE: 'true' },
    });
    const told = createServer((request, response) => response.writeHead(204).end());
    await new Promise((resolve) => told.listen(0, '127.0.0.1', resolve));
    const hook = `http://127.0.0.1:${told.address().port}/hook`;
    try {
      const { id } = await submitJob(idle, { video_id: await addVideo(idle), webhook_url: hook });
      await lib.onPage(browser, `${idle.url}/jobs`, desktop, async (page) => {
        await page.getByRole('link', { name: id.slice(-12) }).click();
        await page.getByText('Waits for its turn.').waitFor();
        await page.getByRole('button', { name: 'Cancel' }).click();
        await page.locator('.badge', { hasText: 'cancelled' }).waitFor();
        await page.locator('.badge', { hasText: 'delivered' }).waitFor();
        assert.match(await page.getByRole('region', { name: 'Attempts of' }).locator('tbody tr').textContent(), /^1204/);
        await look(page, 'job-cancelled', { toned: false });
        await page.getByRole('link', { name: 'Jobs', exact: true }).first().click();
        await page.locator('#job-state').selectOption('failed');
        await page.getByText('No job is failed').waitFor();
        await page.locator('#job-state').selectOption('cancelled');
        await page.getByRole('link', { name: id.slice(-12) }).click();
        await page.getByRole('button', { name: 'Try again' }).click();
        await page.locator('.badge', { hasText: 'queued' }).waitFor();
        assert.equal((await ask(idle, `/api/v1/jobs/${id}`)).value.state, 'queued');
        await page.getByRole('link', { name: 'Jobs', exact: true }).first().click();
        await page.locator('tbody .badge', { hasText: 'queued' }).waitFor();
        await look(page, 'jobs');
      });
      await lib.onPage(browser, `${idle.url}/jobs/01890000-0000-7000-8000-000000000000`, { refused: 1 }, (page) =>
        page.locator('.problem', { hasText: '404' }).waitFor());
    } finally {
      await idle.stop();
      told.close();
      home.remove();
    }
  });

  it('removes a video, asking first', async () => {
    await onPage('/videos', {}, async (page) => {
      await rows(page).first().waitFor();
      await page.getByRole('button', { name: /^Remove/ }).first().click();
      await seen(page, 'dialog');
      await look(page, 'video-remove', { small: false, toned: false });
      await page.keyboard.press('Escape');
      await page.locator('dialog').waitFor({ state: 'detached' });
      assert.equal(await rows(page).count(), 1);
      await page.getByRole('button', { name: /^Remove/ }).first().click();
      await page.getByRole('button', { name: 'Remove it' }).click();
      await page.getByText('No videos yet').waitFor();
    });
  });
});
