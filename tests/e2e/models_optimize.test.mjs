// Optimising a model over HTTP: begun, followed, ended, compared; by admins alone.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { addUser, ask, json, setUp, signIn } from './lib/accounts.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { launchBrowser } from './lib/browser.mjs';
import { desktop, look, onPage } from './lib/page.mjs';
import { children, eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const patience = 300_000; // of work at the lowest priority

describe('models optimize', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  let admin;
  let video;

  const start = () => startServer({
    args: ['--data-dir', data.path], env: { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false' },
  });

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await start();
    admin = await setUp(server);
    const added = await ask(server, '/api/v1/videos?name=cars.mp4', {
      method: 'POST', headers: { ...admin.headers, 'Content-Type': 'video/mp4' },
      body: readFileSync(sharedPath('videos/car-detection.mp4')),
    });
    assert.equal(added.status, 201);
    video = added.value.id;
  });
  after(async () => {
    await server?.stop();
    data?.remove();
  });

  const path = '/api/v1/models/yolov8n/optimize';
  const begin = (options, who = admin, to = path) => ask(server, to, json('POST', options, who.headers));
  const get = async () => (await ask(server, path, { headers: admin.headers })).value;
  const worker = () => children(server.pid).find((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[2] === 'optimize';
    } catch {
      return false; // a decoder's, which has gone
    }
  });

  async function ended() {
    let last;
    await eventually(async () => {
      last = await get();
      return last.state !== 'running';
    }, 'it ends', patience);
    return last;
  }

  it('is for admins, and says what is wrong with a request', async () => {
    await addUser(server, admin, 'opa', 'operator');
    const operator = await signIn(server, 'opa');
    assert.equal((await begin({ precision: 'float32' }, operator)).status, 403);
    assert.equal((await ask(server, path, { headers: operator.headers })).status, 403);
    for (const [options, status, words] of [
      [{ precision: 'int4' }, 422, /int4/],
      [{ precision: 'int8' }, 422, /calibrate/],
      [{ precision: 'int8', video_id: '01890000-0000-7000-8000-000000000000' }, 422, /no video/],
      [{ precision: 'float32', version: 7 }, 404, /version 7/],
      [{ precision: 'float32', limit: 0 }, 422, /limit/],
      [{ precision: 'float32', force: 'yes' }, 422, /force/],
      [{ precision: 'float32', fast: true }, 422, /fast/],
      [{}, 422, /precision/],
    ]) {
      const { status: got, value } = await begin(options);
      assert.equal(got, status, JSON.stringify([options, value]));
      assert.match(value.detail, words);
    }
    assert.equal((await begin({ precision: 'float32' }, admin, '/api/v1/models/none/optimize')).status, 404);
    assert.deepEqual(await get(), { model: 'yolov8n', state: 'none' });
    assert.equal((await ask(server, path, { method: 'DELETE', headers: admin.headers })).status, 409);
  });

  it('makes a version that is as good, and lets it serve when it is told to', async () => {
    const begun = await begin({ precision: 'float32', video_id: video, limit: 2, rounds: 1 });
    assert.equal(begun.status, 202, JSON.stringify(begun.value));
    assert.equal(begun.headers.get('location'), path);
    assert.equal(begun.value.state, 'running');
    assert.equal((await begin({ precision: 'float32' })).status, 409, 'one at a time');
    await eventually(() => worker() !== undefined, 'it is at work', patience);
    const nice = readFileSync(`/proc/${worker()}/stat`, 'utf8').split(') ')[1].split(' ')[16];
    assert.equal(nice, '19');
    assert.ok(!readFileSync(`/proc/${worker()}/environ`, 'utf8').includes('DATABASE_URL'));
    const done = await ended();
    assert.equal(done.state, 'succeeded', JSON.stringify(done));
    assert.deepEqual([done.version, done.installed_version, done.by, done.error], [1, 2, 'ann', null]);
    const { report } = done;
    assert.deepEqual([report.dynamic, report.judged, report.calibrated, report.reference], [true, 2, 0, 'original']);
    assert.ok(report.before.ap - report.after.ap < 0.01, JSON.stringify(report));
    assert.equal(report.speed.length, 3);

    const { value: model } = await ask(server, '/api/v1/models/yolov8n', { headers: admin.headers });
    assert.equal(model.serving_version, 1);
    assert.deepEqual(model.versions.map(({ version }) => version), [1, 2]);
    const picture = readFileSync(sharedPath('images/bus.jpg'));
    const detect = async (reference) => (await ask(server, `/api/v1/inference/image?model=${reference}`, {
      method: 'POST', headers: { ...admin.headers, 'Content-Type': 'image/jpeg' }, body: picture,
    })).value.detections.map(({ class_name: name }) => name).sort();
    const load = await ask(server, '/api/v1/models/yolov8n/load?version=2', { method: 'POST', headers: admin.headers });
    assert.equal(load.value.serving_version, 2, JSON.stringify(load.value));
    const found = await detect('yolov8n:2'); // in a picture that is no square any more
    assert.deepEqual(found.slice(0, 4), ['bus', 'person', 'person', 'person']);
    assert.deepEqual(readdirSync(`${data.path}/optimize`).sort(), ['lock', 'yolov8n.json']);
    const { value: rows } = await ask(server, '/api/v1/audit?action=model.optimize', { headers: admin.headers });
    const actions = rows.items.map(({ action, result }) => `${action} ${result}`);
    assert.ok(actions.includes('model.optimize ok'), actions.join());
  });

  it('is begun, followed and compared on the page', async () => {
    const browser = await launchBrowser();
    try {
      await onPage(browser, `${server.url}/models`, { session: admin, ...desktop }, async (page) => {
        page.setDefaultTimeout(patience);
        await page.route(`**${path}`, async (route) => { // the same, and less of it
          const request = route.request();
          await route.continue(request.method() === 'POST'
            ? { postData: JSON.stringify({ ...request.postDataJSON(), limit: 2, rounds: 1 }) } : {});
        });
        await page.getByRole('button', { name: 'Optimise yolov8n' }).click();
        await page.getByText('as float32').waitFor(); // the one before
        await page.getByLabel('As', { exact: true }).selectOption('float16');
        await page.getByLabel('Pictures of the video').selectOption({ label: 'cars.mp4' });
        await page.locator('dialog').getByRole('button', { name: 'Optimise', exact: true }).click();
        await page.getByRole('button', { name: 'End it' }).waitFor();
        await page.locator('dialog [role=status]', { hasText: '…' }).waitFor();
        await page.getByText('as float16').waitFor();
        const rows = page.getByRole('region', { name: 'Both models compared' }).locator('tbody tr');
        assert.match(await rows.nth(0).textContent(), /original.*1\.0000/);
        assert.match(await rows.nth(1).textContent(), /optimised/);
        await look(page, 'models-optimize', { toned: false });
        await page.keyboard.press('Escape');
        await page.getByRole('button', { name: 'Let it serve: yolov8n 3' }).waitFor();
        await page.unrouteAll({ behavior: 'ignoreErrors' });
      });
    } finally {
      await browser.close();
    }
  });

  it('ends while frames are waited for', async () => {
    // Its decoder stands still, as with a video whose frames take long. One picture tells that it is past its opening.
    const pictures = `${data.path}/optimize/pictures`;
    const decoder = () => children(server.pid).find((pid) => {
      try {
        return readdirSync(pictures).length > 0 && readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[1] === 'decoder';
      } catch {
        return false; // there are none yet, or it has gone
      }
    });
    assert.equal((await begin({ precision: 'int8', version: 1, video_id: video, limit: 200 })).status, 202);
    let pid;
    await eventually(() => (pid = decoder()) !== undefined, 'it takes pictures', patience);
    process.kill(pid, 'SIGSTOP');
    let [taken, since] = [0, Date.now()];
    await eventually(() => { // those that were decoded ahead are taken
      const now = readdirSync(pictures).length;
      [taken, since] = now === taken ? [taken, since] : [now, Date.now()];
      return Date.now() - since > 500;
    }, 'no more pictures come');
    assert.equal((await ask(server, path, { method: 'DELETE', headers: admin.headers })).status, 202);
    const last = await ended();
    assert.deepEqual([last.state, last.error, last.installed_version], ['cancelled', 'somebody ended it', null]);
    await eventually(() => children(server.pid).length === 0, 'nobody works on it');
    assert.deepEqual(readdirSync(`${data.path}/optimize`).filter((name) => name === 'pictures'), []);
  });

  it('ends when it is told to, and keeps nothing', async () => {
    assert.equal((await begin({ precision: 'int8', version: 1, video_id: video, limit: 200 })).status, 202);
    await eventually(async () => (await get()).stage === 'Calibrating', 'it calibrates', patience);
    await eventually(async () => (await get()).done > 0, 'it tells its steps', patience);
    const asked = Date.now();
    assert.equal((await ask(server, path, { method: 'DELETE', headers: admin.headers })).status, 202);
    const last = await ended();
    assert.ok(Date.now() - asked < 20_000);
    assert.deepEqual([last.state, last.installed_version], ['cancelled', null]);
    const { value: model } = await ask(server, '/api/v1/models/yolov8n', { headers: admin.headers });
    assert.equal(model.versions.length, 3);
    await eventually(() => children(server.pid).length === 0, 'nobody works on it');
    assert.ok(!readdirSync(`${data.path}/models`).some((name) => name.startsWith('.')), 'no leftovers');
  });

  it('does not hold up the end of the server, which tells of it afterwards', async () => {
    assert.equal((await begin({ precision: 'int8', version: 1, video_id: video, limit: 200 })).status, 202);
    await eventually(() => worker() !== undefined, 'it is at work', patience);
    const pid = worker();
    const asked = Date.now();
    assert.equal(await server.stop(), 0);
    assert.ok(Date.now() - asked < 20_000);
    assert.throws(() => readFileSync(`/proc/${pid}/stat`), 'its process is gone');
    server = await start();
    admin = await signIn(server, 'ann');
    const last = await get();
    assert.deepEqual([last.state, last.error], ['cancelled', 'the server was stopped']);
  });

  it('says so when its server has died', async () => {
    assert.equal((await begin({ precision: 'int8', version: 1, video_id: video, limit: 200 })).status, 202);
    await eventually(() => worker() !== undefined, 'it is at work', patience);
    const pid = worker();
    process.kill(pid, 'SIGSTOP');
    await server.stop('SIGKILL');
    process.kill(pid, 'SIGKILL');
    server = await start();
    admin = await signIn(server, 'ann');
    await eventually(async () => (await get()).state === 'failed', 'its lock is gone');
    assert.match((await get()).error, /server ended/);
  });
});
