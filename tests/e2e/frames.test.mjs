// The frames of a job, read while it runs and when it has ended: lines and compressed bytes, each
// the beginning of what there is in the end; ranges, entity tags, and what tells that there is more.

import assert from 'node:assert/strict';
import { renameSync } from 'node:fs';
import { request } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { addVideo, submitJob } from './lib/jobs.mjs';
import { eventually, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const env = { DATABASE_URL: '', OBJECTS_URL: '' };

// Not fetch(): it decodes, and asks for encodings of its own.
const get = (url, headers = {}, method = 'GET') =>
  new Promise((resolve, reject) => {
    const asked = request(url, { headers, method }, (answer) => {
      const pieces = [];
      answer.on('data', (piece) => pieces.push(piece));
      answer.on('error', reject);
      answer.on('end', () => resolve({ ...answer, status: answer.statusCode, headers: answer.headers,
        body: Buffer.concat(pieces) }));
    });
    asked.on('error', reject);
    asked.end();
  });

describe('frames', { skip }, () => {
  let server;
  let worker;
  let data;
  let job;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({ args: ['--data-dir', data.path], env: { ...env, RUN_JOBS: 'false' } });
    job = await submitJob(server, { video_id: await addVideo(server), stride: 3, outputs: ['csv'] });
  });
  after(async () => {
    worker?.child.kill('SIGCONT');
    worker?.child.kill('SIGTERM');
    await worker?.ended;
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  const shown = async () => (await get(`${server.url}/api/v1/jobs/${job.id}`)).body.toString();
  const frames = (headers) => get(`${server.url}${job.frames}`, headers);
  const file = (headers) => get(`${server.url}${job.frames}.zst`, headers);
  const zstd = { 'Accept-Encoding': 'gzip, zstd' };
  const early = {};

  it('are none before a job begins, and there are more to come', async () => {
    assert.equal(job.frames, `/api/v1/jobs/${job.id}/results/frames.ndjson`);
    const { status, headers, body } = await frames();
    assert.equal(status, 200);
    assert.equal(body.length, 0);
    assert.equal(headers['x-nexus-complete'], 'false');
    assert.equal(headers['content-type'], 'application/x-ndjson');
    assert.equal(headers['cache-control'], 'no-cache');
    assert.equal((await frames({ Range: 'bytes=0-' })).status, 416);
    early.etag = headers.etag;
  });

  it('are read while the job runs', async () => {
    worker = start(['worker', '--data-dir', data.path], { env });
    await eventually(async () => (await frames()).body.length > 0, 'there is a checkpoint', 120_000);
    worker.child.kill('SIGSTOP'); // so that nothing changes while this looks
    assert.equal(JSON.parse(await shown()).state, 'running');
    const { status, headers, body } = await frames();
    assert.equal(status, 200);
    assert.equal(headers['x-nexus-complete'], 'false');
    assert.equal(headers['content-encoding'], undefined);
    assert.equal(headers.vary, 'Accept-Encoding');
    assert.match(headers.etag, /^"[0-9a-f]{64}-lines"$/);
    assert.notEqual(headers.etag, early.etag, 'other bytes, another tag');
    const lines = body.toString().trimEnd().split('\n').map((line) => JSON.parse(line));
    assert.ok(body.toString().endsWith('\n'));
    assert.equal(lines.length % 100, 0, 'whole checkpoints');
    assert.deepEqual(lines.map(({ frame }) => frame), lines.map((_, i) => 3 * i));
    const packed = await frames(zstd);
    assert.equal(packed.headers['content-encoding'], 'zstd');
    assert.equal(packed.headers['content-type'], 'application/x-ndjson');
    assert.match(packed.headers.etag, /^"[0-9a-f]{64}-zstd"$/);
    assert.ok(packed.body.length < body.length);
    const raw = await file();
    assert.equal(raw.headers['content-type'], 'application/zstd');
    assert.equal(raw.headers['content-encoding'], undefined);
    assert.ok(raw.body.equals(packed.body));
    Object.assign(early, { etag: headers.etag, lines: body, packed: packed.body });

    for (const [how, all, { headers: of }] of [[{}, body, { headers }], [zstd, packed.body, packed]]) {
      assert.equal((await frames({ ...how, 'If-None-Match': of.etag })).status, 304);
      const part = await frames({ ...how, Range: 'bytes=7-20' });
      assert.equal(part.status, 206);
      assert.equal(part.headers['content-range'], `bytes 7-20/${all.length}`);
      assert.ok(part.body.equals(all.subarray(7, 21)));
      const end = await frames({ ...how, Range: 'bytes=-9', 'If-Range': of.etag });
      assert.ok(end.body.equals(all.subarray(-9)));
      const none = await frames({ ...how, Range: `bytes=${all.length}-` });
      assert.equal(none.status, 416);
      assert.equal(none.headers['content-range'], `bytes */${all.length}`);
      assert.equal(none.headers['x-nexus-complete'], 'false');
    }
    renameSync(`${data.path}/objects`, `${data.path}/away`); // as when a job was cancelled and put back
    for (const lost of [await frames(), await frames(zstd), await file()]) {
      assert.deepEqual([lost.status, lost.body.length, lost.headers['x-nexus-complete']], [200, 0, 'false']);
      assert.notEqual(lost.headers.etag, headers.etag);
    }
    renameSync(`${data.path}/away`, `${data.path}/objects`);
    const head = await get(`${server.url}${job.frames}`, {}, 'HEAD');
    assert.equal(head.headers['content-length'], String(body.length));
  });

  it('go on to the whole of them', async () => {
    worker.child.kill('SIGCONT');
    let read = early.lines;
    const goOn = async () => {
      const more = await frames({ Range: `bytes=${read.length}-` });
      assert.ok([206, 416].includes(more.status), String(more.status));
      read = more.status === 206 ? Buffer.concat([read, more.body]) : read;
      return more.status === 416 && more.headers['x-nexus-complete'] === 'true';
    };
    await eventually(goOn, 'nothing follows', 240_000);
    const done = JSON.parse(await shown());
    assert.equal(done.state, 'succeeded', done.error);
    const { headers, body } = await frames();
    assert.equal(headers['x-nexus-complete'], 'true');
    assert.equal(headers['cache-control'], undefined);
    assert.notEqual(headers.etag, early.etag);
    assert.ok(body.equals(read), 'what was read piece by piece');
    assert.ok(body.length > early.lines.length);
    const packed = await frames(zstd);
    assert.ok(packed.body.subarray(0, early.packed.length).equals(early.packed), 'it begins with that');
    const raw = await file();
    assert.ok(raw.body.equals(packed.body));
    assert.equal(packed.headers.etag, raw.headers.etag.replace(/"$/, '-zstd"'));
    assert.equal(raw.body.length, done.results.find(({ name }) => name === 'frames.ndjson.zst').size_bytes);
    const csv = await get(`${server.url}/api/v1/jobs/${job.id}/results/objects.csv`);
    const objects = body.toString().trimEnd().split('\n').flatMap((line) => JSON.parse(line).objects);
    assert.equal(csv.body.toString().trimEnd().split('\n').length - 1, objects.length);
    assert.equal(done.frames, job.frames);
  });

  it('are none of a job that ended without', async () => {
    const id = '01890000-0000-7000-8000-000000000000';
    assert.equal((await get(`${server.url}/api/v1/jobs/${id}/results/frames.ndjson`)).status, 404);
    const answer = await fetch(`${server.url}/api/v1/videos/process`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ video_id: job.video_id }),
    });
    const other = await answer.json();
    await fetch(`${server.url}/api/v1/jobs/${other.id}`, { method: 'DELETE' });
    await eventually(async () => (await get(server.url + other.frames)).status === 404, 'they are gone');
    const cancelled = await (await fetch(`${server.url}/api/v1/jobs/${other.id}`)).json();
    assert.equal(cancelled.frames, null);
  });
});
