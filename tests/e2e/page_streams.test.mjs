// Cameras on the page: added with what the server refuses said at its field, watched live with boxes
// over the picture. The camera is a file that is shown over and over.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { addUser, setUp, signIn } from './lib/accounts.mjs';
import { launchBrowser } from './lib/browser.mjs';
import { makeClip, skipWithoutFfmpeg, skipWithoutRtsp, startRtsp } from './lib/cameras.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import * as lib from './lib/page.mjs';
import { eventually, sharedPath, skipWithoutShared } from './lib/server.mjs';
import { PATIENCE_MS, startStreams } from './lib/streams.mjs';

const { desktop, heading, look } = lib;

describe('page streams', { skip: skipWithoutShared() || skipWithoutFfmpeg() }, () => {
  let data;
  let streams;
  let server;
  let browser;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/loop.mp4`, { seconds: 3 });
    streams = await startStreams(data);
    server = streams.server;
    browser = await launchBrowser();
  });
  after(async () => {
    await browser?.close();
    assert.equal(await streams?.stop(), 0);
    data?.remove();
  });

  // A stream that begins anew has no picture for a moment, and says 503; one that stops says 409.
  const onPage = (path, options, body) =>
    lib.onPage(browser, server.url + path, { ...desktop, away: true, ...options }, body);
  const gate = async () => (await streams.ask('')).value.items.find(({ name }) => name === 'gate');
  const card = (page) => page.locator('.stream-card', { hasText: 'gate' });

  it('adds a camera, and says at its field what is wrong', async () => {
    await onPage('/streams', { refused: 2 }, async (page) => {
      await page.getByText('No cameras yet').waitFor();
      await look(page, 'streams-empty', { toned: false });
      await page.getByRole('button', { name: 'Add a camera' }).click();
      await page.getByLabel('Name').fill('gate');
      await page.getByLabel('URL').fill('ftp://10.0.0.9/x');
      await page.getByRole('button', { name: 'Add', exact: true }).click();
      const url = page.getByLabel('URL');
      await page.locator('[aria-invalid=true]').waitFor();
      assert.equal(await url.getAttribute('aria-invalid'), 'true');
      assert.ok(await url.evaluate((element) => element === document.activeElement), 'it has the focus');
      await page.locator('.field', { has: url }).getByText(/begins with rtsp:\/\//).last().waitFor();
      await page.getByRole('button', { name: 'Add a time' }).click();
      await look(page, 'stream-add');
      await page.getByRole('button', { name: 'Remove time 1' }).click();

      await url.fill('file:loop.mp4');
      await page.getByLabel('Model', { exact: true }).selectOption('yolov8n');
      await page.getByLabel('Classes').selectOption('zebra');
      await page.getByLabel('At most so many frames a second').fill('2000');
      await page.locator('form.stream-form').evaluate((form) => form.setAttribute('novalidate', ''));
      await page.getByRole('button', { name: 'Add', exact: true }).click();
      await page.locator('.field', { has: page.getByLabel('At most so many') }).locator('.problem-line').waitFor();
      await page.getByLabel('At most so many frames a second').fill('3');
      await page.getByRole('button', { name: 'Without zebra' }).click();
      await page.getByRole('button', { name: 'Add', exact: true }).click();
      await page.locator('dialog').waitFor({ state: 'detached' });
      const { options, url: shown } = await gate();
      assert.deepEqual([options.model, options.fps, options.classes, shown], ['yolov8n', 3, undefined, 'file:loop.mp4']);

      await card(page).locator('.badge', { hasText: 'live' }).waitFor();
      await page.waitForFunction(() => document.querySelector('.stream-picture img')?.naturalWidth > 0);
      await card(page).getByText(/\d fps · /).waitFor();
      await look(page, 'streams');
    });
  });

  it('leaves the URL as it is when something else is changed', async () => {
    await onPage('/streams', {}, async (page) => {
      await card(page).getByRole('button', { name: 'Change gate' }).click();
      assert.equal(await page.getByLabel('URL').inputValue(), '');
      await page.getByLabel('When frames come too fast').selectOption('drop_oldest');
      const sent = page.waitForRequest((request) => request.method() === 'PATCH');
      await page.getByRole('button', { name: 'Change', exact: true }).click();
      assert.deepEqual((await sent).postDataJSON(), { drop: 'drop_oldest' });
      await page.locator('dialog').waitFor({ state: 'detached' });
      await streams.becomes((await gate()).id, 'live');
    });
  });

  it('shows it live, with boxes, counts and how many there were', async () => {
    const { id } = await gate();
    const zones = [{ name: 'all', polygon: [[0, 0], [1, 0], [1, 1], [0, 1]] }];
    const lines = [{ name: 'road', from: [0, 0.5], to: [1, 0.5] }];
    await streams.ask(`/${id}`, 'PATCH', { zones, lines });
    await streams.becomes(id, 'live');
    await onPage('/streams', {}, async (page) => {
      const open = new Set();
      const watches = (request) => /live\.(mp4|mjpeg)$|\/streams\/[^/]+\/events$/.test(request.url());
      page.on('request', (request) => watches(request) && open.add(request));
      ['requestfinished', 'requestfailed'].forEach((end) => page.on(end, (request) => open.delete(request)));
      await card(page).getByRole('link', { name: 'gate', exact: true }).click();
      await heading(page, 'gate');
      await page.waitForFunction(() => Number(document.querySelector('.video-overlay')?.dataset.objects) > 0);
      const painted = await page.evaluate(() => {
        const canvas = document.querySelector('.video-overlay');
        return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0);
      });
      assert.ok(painted, 'boxes are drawn');
      // The camera's own video, close to its edge; what its boxes are late by is waited for.
      await page.waitForFunction(() => document.querySelector('.live-frame[data-mode=video] video')?.readyState >= 2);
      const from = await page.evaluate(() => document.querySelector('video').currentTime);
      await page.waitForFunction((time) => document.querySelector('video').currentTime > time + 1, from);
      await page.waitForFunction(() => Number(document.querySelector('video').dataset.behind) < 3.6);
      await page.getByRole('img', { name: /How many there were at once/ }).waitFor();
      await page.getByRole('region', { name: 'Zones entered' }).getByRole('row', { name: /all/ }).waitFor();
      await page.getByRole('region', { name: 'Lines crossed' }).getByRole('row', { name: /road/ }).waitFor();
      await page.locator('#seen-now', { hasText: /\d person/ }).waitFor();
      await look(page, 'stream');

      await page.getByRole('button', { name: 'Switch off' }).click();
      await page.getByText(/No picture: it is switched off/).waitFor();
      await look(page, 'stream-off', { toned: false, small: false });
      await page.getByRole('button', { name: 'Switch on' }).click();
      await page.locator('.badge', { hasText: 'live' }).waitFor();
      await page.waitForFunction(() => document.querySelector('video')?.readyState >= 2); // another connection
      await page.getByRole('link', { name: 'Streams', exact: true }).first().click();
      await heading(page, 'Streams');
      await eventually(() => open.size === 0, 'nothing is watched any more');
    });
  });

  it('shows pictures where the browser does not play the video', async () => {
    await onPage('/streams', {}, async (page) => {
      await page.addInitScript(() => {
        MediaSource.isTypeSupported = () => false;
      });
      await page.goto(`${server.url}/streams/${(await gate()).id}`);
      await page.waitForFunction(() => document.querySelector('.live-frame[data-mode=pictures] img')?.naturalWidth > 0);
      await page.waitForFunction(() => Number(document.querySelector('.video-overlay')?.dataset.objects) > 0);
    });
  });

  it('draws a zone on a picture of it, and rules by what there is', async () => {
    const { id } = await gate();
    await onPage(`/streams/${id}`, { refused: 1 }, async (page) => {
      await page.getByRole('link', { name: 'Zones and rules' }).click();
      assert.equal(new URL(page.url()).search, '?edit');
      await page.waitForFunction(() => document.querySelector('img.editing-picture')?.naturalWidth > 0);
      const canvas = page.locator('.zone-canvas');
      const { width, height } = await canvas.boundingBox();
      for (const [x, y] of [[0.05, 0.1], [0.95, 0.1], [0.95, 0.95], [0.05, 0.95], [0.05, 0.1]]) {
        await canvas.click({ position: { x: x * width, y: y * height } });
      }
      await page.getByLabel('Name of zone 2').fill('lawn');

      await page.getByRole('button', { name: 'Add a rule' }).click();
      const rule = (number) => page.getByRole('group', { name: `Rule ${number}` });
      assert.equal(await rule(1).getByLabel('Line').inputValue(), 'road');
      await rule(1).getByLabel('Name').fill('came');
      await rule(1).getByLabel('When').selectOption('zone_entered');
      await rule(1).getByLabel('Zone').selectOption('lawn');
      await rule(1).getByLabel('Classes').selectOption('person');
      await page.getByRole('button', { name: 'Add a rule' }).click();
      await rule(2).getByLabel('Name').fill('seen');
      await rule(2).getByLabel('When').selectOption('object_appeared');
      await rule(2).getByLabel('Then silent for').fill('0');
      // A zone that gets another name takes its rules with it; the server says what it does not like.
      await page.getByLabel('Name of zone 2').fill('grass');
      await page.getByRole('button', { name: 'Add a rule' }).click();
      await rule(3).getByLabel('When').selectOption('count_over');
      await rule(3).getByLabel('More than').fill('3');
      await rule(3).getByLabel('Over again at').fill('5');
      await look(page, 'stream-edit');
      await page.getByRole('button', { name: 'Save' }).click();
      await page.getByText('Not saved: see rule 3.').waitFor();
      await rule(3).locator('.problem-line').waitFor();
      assert.equal(await rule(2).locator('.problem-line').count(), 0);
      await page.getByRole('button', { name: 'Remove rule Rule 3' }).click();
      const sent = page.waitForRequest((request) => request.method() === 'PATCH');
      await page.getByRole('button', { name: 'Save' }).click();
      const { zones, lines, rules } = (await sent).postDataJSON();
      assert.deepEqual([zones.map(({ name }) => name), lines.map(({ name }) => name)], [['all', 'grass'], ['road']]);
      assert.deepEqual(rules, [
        { name: 'came', kind: 'zone_entered', zone: 'grass', classes: ['person'] },
        { name: 'seen', kind: 'object_appeared', cooldown: 0 },
      ]);
      await page.getByText('Zones, lines and rules of gate are saved.').waitFor();
      assert.deepEqual((await gate()).options.rules, rules);
      await page.getByRole('link', { name: 'Look at it' }).click();
      await page.waitForFunction(() => Number(document.querySelector('.video-overlay')?.dataset.objects) > 0);
    });
  });

  it('lists events as they happen, and finds them again by their address', async () => {
    await onPage('/events', {}, async (page) => {
      const rows = page.locator('.event-list li');
      await rows.filter({ hasText: 'came' }).first().waitFor();
      await rows.filter({ hasText: 'seen' }).first().waitFor();
      await page.waitForFunction(() => document.querySelector('.event-picture img')?.naturalWidth > 0);
      await look(page, 'events');
      await page.getByLabel('Kind').selectOption('zone_entered');
      await page.waitForURL(/kind=zone_entered/);
      await page.waitForFunction(() => ![...document.querySelectorAll('.event-list li')].some((row) => row.textContent.includes('seen')));
      await page.getByLabel('Zone or line').fill('grass');
      await page.getByLabel('Zone or line').press('Enter');
      await page.waitForURL(/place=grass/);
      await rows.first().waitFor();
      await page.getByLabel('Class').fill('zebra');
      await page.getByLabel('Class').press('Enter');
      await page.getByText('No such event').waitFor();
      await look(page, 'events-none', { toned: false });
      await page.goBack();
      await rows.first().waitFor();
      assert.equal(await page.getByLabel('Class').inputValue(), '');
      await page.getByLabel('When').selectOption('between');
      await page.getByLabel('Until').fill('2020-01-01T00:00');
      await page.getByLabel('Until').press('Tab');
      await page.getByText('No such event').waitFor();
      await page.reload();
      await page.getByText('No such event').waitFor();
      assert.equal(await page.getByLabel('Until').inputValue(), '2020-01-01T00:00');
      await page.getByRole('link', { name: 'Show all' }).click();
      await rows.first().waitFor();
    });
  });

  it('shows one event with its picture, and who was told', async () => {
    await onPage('/events?kind=zone_entered', {}, async (page) => {
      await page.locator('.event-row').first().click();
      await heading(page, 'person, zone entered at grass');
      await page.waitForFunction(() => document.querySelector('.event-snapshot')?.naturalWidth > 0);
      await page.getByText('Nobody was to be told of it.').waitFor();
      await look(page, 'event');
      await page.getByRole('button', { name: 'Remove' }).click();
      await page.locator('dialog').getByRole('button', { name: 'Remove' }).click();
      await heading(page, 'Events');
    });
  });

  it('plays the clip of an event, from its start', async () => {
    let event;
    await eventually(
      async () => {
        const answer = await fetch(`${server.url}/api/v1/events?limit=200`);
        event = (await answer.json()).items.find(({ clip }) => clip !== null);
        return event !== undefined;
      },
      'an event has a clip',
      PATIENCE_MS,
    );
    await onPage(`/events/${event.id}`, {}, async (page) => {
      await page.locator('video').evaluate((video) => {
        video.muted = true;
        return video.play();
      });
      await page.waitForFunction(() => document.querySelector('video').currentTime > 1);
      const { duration, width } = await page.locator('video').evaluate((video) => ({ duration: video.duration, width: video.videoWidth }));
      assert.ok(duration > event.clip_offset && duration < 16, `${duration} s, the event at ${event.clip_offset} s`);
      assert.equal(width, 640);
      await look(page, 'event-clip');
    });
  });

  it('tells the overview of cameras and events', async () => {
    await onPage('/', {}, async (page) => {
      const cameras = page.getByRole('region', { name: /^Streams/ });
      await cameras.getByText(/\d\.\d fps/).waitFor();
      await cameras.getByText('1 of 1 live').waitFor();
      await page.getByRole('region', { name: 'Recent events' }).getByRole('link', { name: /person/ }).first().waitFor();
      await look(page, 'overview-streams');
    });
  });

  it('removes it, asking first', async () => {
    await onPage('/streams', {}, async (page) => {
      await card(page).getByRole('button', { name: 'Remove gate' }).click();
      await page.getByRole('button', { name: 'Remove', exact: true }).click();
      await page.getByText('No cameras yet').waitFor();
      assert.equal((await streams.ask('')).value.items.length, 0);
    });
  });

  it('adds a camera over RTSP, with a webhook of its own, and shows it live', { skip: skipWithoutRtsp() }, async (t) => {
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/camera.mp4`, { seconds: 3, times: 40 });
    const camera = await startRtsp(`${data.path}/camera.mp4`);
    t.after(camera.kill);
    const webhook = 'https://hooks.example.org/services/key';
    await onPage('/streams', { refused: 1 }, async (page) => {
      await page.getByRole('button', { name: 'Add a camera' }).click();
      await page.getByLabel('Name').fill('porch');
      await page.getByLabel('URL').fill(camera.url);
      await page.getByLabel('Model', { exact: true }).selectOption('yolov8n');
      await page.getByLabel('At most so many frames a second').fill('2');
      await page.getByLabel('Webhook', { exact: true }).fill('ftp://example.org/');
      await page.getByLabel('Secret of the webhook').fill('a key');
      await page.getByRole('button', { name: 'Add', exact: true }).click();
      await page.locator('.field', { has: page.getByLabel('Webhook', { exact: true }) }).locator('.problem-line').waitFor();
      await page.getByLabel('Webhook', { exact: true }).fill(webhook);
      await page.getByRole('button', { name: 'Add', exact: true }).click();
      await page.locator('dialog').waitFor({ state: 'detached' });
      const porch = page.locator('.stream-card', { hasText: 'porch' });
      await porch.locator('.badge', { hasText: 'live' }).waitFor();
      const stream = (await streams.ask('')).value.items.find(({ name }) => name === 'porch');
      assert.match(stream.url, /^rtsp:\/\/\*\*\*@127\.0\.0\.1:\d+\/cam\?\*\*\*$/);
      assert.deepEqual([stream.webhook_url, stream.webhook_signed], [webhook, true]);
      await porch.getByRole('link', { name: 'porch', exact: true }).click();
      await heading(page, 'porch');
      await page.waitForFunction(() => document.querySelector('.live-frame[data-mode=video] video')?.readyState >= 2);
      await page.waitForFunction(() => Number(document.querySelector('.video-overlay')?.dataset.objects) > 0);
      assert.doesNotMatch(await page.locator('main').innerText(), /secret/);
      await lib.screenshot(page, 'stream-rtsp');
    });
    const [{ id }] = (await streams.ask('')).value.items;
    await streams.ask(`/${id}`, 'DELETE');
  });

  it('offers a viewer nothing that would be refused', async () => {
    await streams.add('yard', 'file:loop.mp4', { enabled: false });
    await addUser(server, await setUp(server), 'vera', 'viewer');
    const session = await signIn(server, 'vera');
    await onPage('/streams', { session }, async (page) => {
      await page.locator('.stream-card', { hasText: 'yard' }).getByRole('link', { name: 'yard', exact: true }).waitFor();
      const buttons = page.locator('main').getByRole('button');
      assert.deepEqual(await buttons.allTextContents(), []);
      await page.getByRole('link', { name: 'yard', exact: true }).click();
      await heading(page, 'yard');
      await page.getByText(/No picture: it is switched off/).waitFor();
      assert.deepEqual(await buttons.allTextContents(), []);
      assert.equal(await page.getByRole('link', { name: 'Zones and rules' }).count(), 0);
    });
  });
});
