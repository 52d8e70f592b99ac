// A video from the upload to its results, over HTTP and through a worker of its own process: what
// events tell, the files with types, ranges and entity tags, and a job that is cancelled while it
// runs.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { sha256 } from './lib/hash.mjs';
import { addVideo, submitJob } from './lib/jobs.mjs';
import { children, eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const env = { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false' };

describe('results', { skip }, () => {
  let server;
  let worker;
  let data;
  let video;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({ args: ['--data-dir', data.path], env });
    worker = start(['worker', '--data-dir', data.path], { env });
    video = await addVideo(server, 'videos/traffic-1080p.mp4');
  });
  after(async () => {
    worker?.child.kill('SIGTERM');
    await worker?.ended;
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  const ask = (path, init) => fetch(`${server.url}/api/v1/${path}`, init);
  const submit = (options) => submitJob(server, { video_id: video, ...options });
  const shown = async ({ id }) => (await ask(`jobs/${id}`)).json();

  it('come of a job, told by its events, as files with ranges', async () => {
    const job = await submit({ stride: 6, classes: ['car', 'person'], outputs: ['csv', 'mot', 'heatmap'] });
    const told = await (await ask(`jobs/${job.id}/events`)).text(); // until the job has ended
    const states = [...told.matchAll(/^event: state\ndata: (.*)$/gm)].map(([, json]) => JSON.parse(json).state);
    assert.deepEqual(states, ['queued', 'running', 'succeeded']);
    const done = await shown(job);
    assert.equal(done.state, 'succeeded', done.error);
    assert.equal(done.attempts, 1);
    const types = Object.fromEntries(done.results.map(({ name, type }) => [name, type.split(';')[0]]));
    assert.deepEqual(types, {
      'frames.ndjson.zst': 'application/zstd',
      'summary.json': 'application/json',
      'objects.csv': 'text/csv',
      'mot.txt': 'text/plain',
      'heatmap.png': 'image/png',
    });
    for (const { name, type, size_bytes: size, url } of done.results) {
      const answer = await fetch(server.url + url);
      const bytes = Buffer.from(await answer.arrayBuffer());
      assert.equal(answer.status, 200, name);
      assert.equal(answer.headers.get('content-type'), type);
      assert.equal(bytes.length, size, name);
      assert.ok(size > 0, name);
      assert.equal(answer.headers.get('etag'), `"${sha256(bytes)}"`);
      const part = await fetch(server.url + url, { headers: { Range: 'bytes=-5' } });
      assert.equal(part.status, 206);
      assert.ok(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(-5)), name);
    }
    const { url } = done.results.find(({ name }) => name === 'summary.json');
    const summary = await (await fetch(server.url + url)).json();
    assert.equal(summary.source, 'cars.mp4');
    assert.equal(done.progress.frames_done, summary.frames, 'the last progress is of the whole video');
    assert.equal((await ask(`videos/${video}`, { method: 'DELETE' })).status, 204);
    assert.equal((await fetch(server.url + url)).status, 200, 'results outlive the video');
  });

  it('do not come of a job that is cancelled while it runs', async () => {
    const answer = await fetch(`${server.url}/api/v1/videos`, {
      method: 'POST',
      headers: { 'Content-Type': 'video/mp4' },
      body: readFileSync(sharedPath('videos/pets09-s2l1.mp4')),
    });
    video = (await answer.json()).id;
    const job = await submit({});
    await eventually(() => children(worker.child.pid).length === 1, 'it is decoded', 30_000);
    const cancelled = await ask(`jobs/${job.id}`, { method: 'DELETE' });
    assert.ok([200, 202].includes(cancelled.status));
    await eventually(async () => (await shown(job)).state === 'cancelled', 'it ends', 30_000);
    assert.deepEqual((await shown(job)).results, []);
    await eventually(() => children(worker.child.pid).length === 0, 'its decoder ends', 30_000);
  });
});
