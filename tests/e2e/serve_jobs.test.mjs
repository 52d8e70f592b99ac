// One `nexus serve` and nothing beside it: a video goes in, its analysis runs there, results come
// out, pictures are answered meanwhile, and a server that stops loses nothing.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { makeDataDir } from './lib/data_dir.mjs';
import { addVideo, submitJob } from './lib/jobs.mjs';
import { eventually, metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const LONG_MS = 180_000;

describe('nexus serve does jobs', { skip }, () => {
  let server;
  let data;
  let video;

  const begin = () =>
    startServer({ args: ['--data-dir', data.path], env: { DATABASE_URL: '', OBJECTS_URL: '' } });
  const ask = (path, init) => fetch(`${server.url}/api/v1/${path}`, init);

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await begin();
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  const submit = (options) => submitJob(server, { video_id: video, ...options });
  const show = async ({ id }) => (await ask(`jobs/${id}`)).json();
  async function finished(job) {
    let now = job;
    await eventually(
      async () => {
        now = await show(job);
        return !['queued', 'running'].includes(now.state);
      },
      'the job ends',
      LONG_MS,
    );
    assert.equal(now.state, 'succeeded', now.error);
    return now;
  }
  /** The hash of each file of the results by its name. */
  async function hashes({ results }) {
    const entries = await Promise.all(
      results.map(async ({ name, url }) => {
        const answer = await fetch(server.url + url);
        assert.equal(answer.status, 200);
        await answer.arrayBuffer();
        return [name, answer.headers.get('etag')];
      }),
    );
    return Object.fromEntries(entries);
  }

  it('takes a video and gives its results', async () => {
    video = await addVideo(server);
    const job = await submit({ stride: 25, lines: [{ name: 'road', from: [0, 0.5], to: [1, 0.5] }] });
    const stream = await (await ask(`jobs/${job.id}/events`)).text(); // ends with the job
    const states = [...stream.matchAll(/"state":"(\w+)"/g)].map(([, state]) => state);
    assert.deepEqual([states[0], states.at(-1)], ['queued', 'succeeded']);
    assert.ok(states.includes('running'));

    const done = await show(job);
    assert.equal(done.attempts, 1);
    const file = (name) => done.results.find((one) => one.name === name);
    const summary = await (await fetch(server.url + file('summary.json').url)).json();
    assert.equal(summary.frames, 16);
    assert.ok(summary.classes.some(({ class_name: name }) => name === 'car'));
    for (const { name, url, size_bytes: size } of done.results) {
      const bytes = await (await fetch(server.url + url)).arrayBuffer();
      assert.equal(bytes.byteLength, size, name);
    }
    assert.equal(await metric(server.url, 'jobs{state="succeeded"}'), 1);
    assert.equal(await metric(server.url, 'jobs{state="running"}'), 0);
  });

  it('answers pictures while videos run, and ends a job that nobody wants any more', async () => {
    const jobs = await Promise.all([1, 2, 3, 4].map(() => submit({ stride: 1 })));
    await eventually(
      async () => (await Promise.all(jobs.map(show))).every(({ state }) => state === 'running'),
      'all run',
      LONG_MS,
    );
    assert.ok((await metric(server.url, 'jobs{state="running"}')) >= jobs.length);
    for (let i = 0; i < 5; i++) {
      const answer = await ask('inference/image', {
        method: 'POST',
        headers: { 'Content-Type': 'image/jpeg' },
        body: readFileSync(sharedPath('images/bus.jpg')),
      });
      assert.equal(answer.status, 200);
      assert.equal((await answer.json()).detections.length, 5);
    }
    for (const { id } of jobs) {
      assert.ok([200, 202].includes((await ask(`jobs/${id}`, { method: 'DELETE' })).status));
    }
    await eventually(
      async () => (await Promise.all(jobs.map(show))).every(({ state }) => state === 'cancelled'),
      'all are cancelled',
      LONG_MS,
    );
  });

  it('gives a job back when it stops, and goes on to the same bytes', async () => {
    const options = { stride: 3, outputs: ['csv', 'mot', 'counts'] };
    const expected = await hashes(await finished(await submit(options)));
    assert.equal(Object.keys(expected).length, 5);

    const job = await submit(options);
    await eventually(
      async () => ((await show(job)).progress?.frames_done ?? 0) >= 100,
      'a checkpoint is made',
      LONG_MS,
    );
    assert.equal(await server.stop(), 0);
    server = await begin();
    const done = await finished(job);
    assert.deepEqual(await hashes(done), expected);
    assert.ok(done.attempts <= 2, 'the stop was no failure');
  });
});
