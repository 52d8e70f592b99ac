// nexus sweep: takes away what killed processes have left, beside a server whose uploads and videos
// stay.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { nexus } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const env = { DATABASE_URL: '', OBJECTS_URL: '' };
const NONE = '01890000-0000-7000-8000-000000000000';
const TUS = { 'Tus-Resumable': '1.0.0' };

describe('nexus sweep', { skip }, () => {
  let server;
  let data;
  const cars = readFileSync(sharedPath('videos/car-detection.mp4'));

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({ args: ['--data-dir', data.path], env: { ...env, RUN_JOBS: 'false' } });
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  const sweep = (more = {}) => nexus(['sweep', '--data-dir', data.path], { env: { ...env, ...more } });
  const objects = () =>
    readdirSync(`${data.path}/objects`, { recursive: true }).filter((name) => /[0-9a-f]{64}$/.test(name));
  function makeOld(name) {
    const old = new Date(Date.now() - 2 * 86400_000);
    writeFileSync(`${data.path}/${name}`, 'x');
    utimesSync(`${data.path}/${name}`, old, old);
  }

  it('takes away what nothing needs, and leaves an upload, a video and what is young', async () => {
    const video = await fetch(`${server.url}/api/v1/videos`, {
      method: 'POST',
      headers: { 'Content-Type': 'video/mp4' },
      body: cars,
    });
    assert.equal(video.status, 201);
    const made = await fetch(`${server.url}/api/v1/uploads`, {
      method: 'POST',
      headers: { ...TUS, 'Upload-Length': '1000' },
    });
    const at = server.url + made.headers.get('location');
    const mine = `uploads/${at.split('/').pop()}.part`;
    mkdirSync(`${data.path}/jobs/${NONE}/7`, { recursive: true });
    makeOld(`jobs/${NONE}/7/frames.ndjson.zst`);
    utimesSync(`${data.path}/jobs/${NONE}/7`, new Date(0), new Date(0));
    makeOld(`uploads/${NONE}.part`);
    writeFileSync(`${data.path}/uploads/.upload.young`, 'x');
    makeOld(mine);
    writeFileSync(`${data.path}/${mine}`, '');
    const run = await sweep();
    assert.equal(run.code, 0, run.stderr);
    assert.deepEqual(run.stdout.match(/\d+$/gm).map(Number), [0, 1, 1, 0, 0, 0], run.stdout);
    assert.deepEqual(readdirSync(`${data.path}/jobs`), []);
    assert.deepEqual(readdirSync(`${data.path}/uploads`).sort(), [mine.split('/').pop(), '.upload.young'].sort());
    assert.equal(objects().length, 1);
    const rest = await fetch(at, {
      method: 'PATCH',
      headers: { ...TUS, 'Upload-Offset': '0', 'Content-Type': 'application/offset+octet-stream' },
      body: Buffer.alloc(10),
    });
    assert.equal(rest.status, 204);
    const again = await sweep();
    assert.deepEqual(again.stdout.match(/\d+$/gm).map(Number), [0, 0, 0, 0, 0, 0], again.stdout);
  });

  it('says what it cannot do', async () => {
    const url = await sweep({ DATABASE_URL: 'mysql://x' });
    assert.equal(url.code, 2);
    assert.match(url.stderr, /nexus sweep: .*DATABASE_URL/);
    const gone = await sweep({ DATABASE_URL: 'postgres://nobody@127.0.0.1:1/none', DB_POOL_TIMEOUT: '1' });
    assert.equal(gone.code, 3);
    assert.equal(gone.stdout, '');
    assert.ok(existsSync(`${data.path}/nexus.db`));
  });
});
