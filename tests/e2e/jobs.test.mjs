// Jobs over HTTP: what is taken into the queue and what is not, lists, cancelling, events. No
// worker runs here, so that every job stays where it is put.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { makeDataDir } from './lib/data_dir.mjs';
import { addVideo } from './lib/jobs.mjs';
import { metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const NONE = '01890000-0000-7000-8000-000000000000';
const SQL = "x'; DROP TABLE jobs; --";

describe('jobs', { skip }, () => {
  let server;
  let data;
  let video;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({
      args: ['--data-dir', data.path],
      env: {
        DATABASE_URL: '',
        OBJECTS_URL: '',
        RUN_JOBS: 'false',
        VIDEO_FOLDERS: `/none:${sharedPath('videos')}:/proc`,
        MAX_VIDEO_BYTES: '4m',
      },
    });
    video = await addVideo(server);
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  const ask = (path, init) => fetch(`${server.url}/api/v1/${path}`, init);
  const submit = (value, headers = {}) =>
    ask('videos/process', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: typeof value === 'string' ? value : JSON.stringify(value),
    });
  async function queued(value = {}, headers = {}) {
    const answer = await submit({ video_id: video, ...value }, headers);
    const job = await answer.json();
    assert.equal(answer.status, 202, job.detail);
    assert.equal(answer.headers.get('location'), `/api/v1/jobs/${job.id}`);
    return job;
  }
  async function assertProblem(response, status, detail) {
    const problem = await response.json();
    assert.equal(response.status, status, problem.detail);
    assert.match(problem.detail, detail);
    assert.ok(problem.advice);
  }
  const cancel = (job) => ask(`jobs/${job.id}`, { method: 'DELETE' });

  it('puts a job into the queue with all of its options', async () => {
    const zones = [{ name: 'road', polygon: [[0, 0], [1, 0], [1, 1]], classes: ['car'] }];
    const lines = [{ name: 'gate', from: [0.5, 0], to: [0.5, 1] }];
    const job = await queued({
      model: 'yolov8n',
      confidence: 0.4,
      classes: ['car', 2],
      stride: 3,
      zones,
      lines,
      outputs: ['csv'],
      priority: 7,
      webhook_url: 'https://example.org/hook?x=1',
    });
    assert.deepEqual([job.state, job.kind, job.video_id, job.priority], ['queued', 'video', video, 7]);
    assert.deepEqual([job.progress, job.error, job.results, job.attempts], [null, null, [], 0]);
    assert.equal(job.webhook_url, 'https://example.org/hook?x=1');
    const { options } = job;
    assert.deepEqual([options.model, options.stride, options.track], ['yolov8n', 3, true]);
    assert.deepEqual([options.zones, options.lines], [zones, lines]);
    assert.deepEqual(options.outputs, ['frames', 'summary', 'csv']);
    assert.deepEqual(await (await ask(`jobs/${job.id}`)).json(), job);
    assert.ok((await metric(server.url, 'jobs{state="queued"}')) >= 1);
  });

  it('takes a video and options in one form', async () => {
    const form = new FormData();
    form.append('options', JSON.stringify({ fps: 2 }));
    form.append('video', new Blob([readFileSync(sharedPath('videos/car-detection.mp4'))]), 'c.mp4');
    const answer = await ask('videos/process', { method: 'POST', body: form });
    const job = await answer.json();
    assert.equal(answer.status, 202, job.detail);
    assert.deepEqual([job.video_id, job.options.fps], [video, 2], 'the same bytes: the same video');
    const picture = new FormData();
    picture.append('video', new Blob([readFileSync(sharedPath('images/bus.jpg'))]), 'c.mp4');
    const refused = await ask('videos/process', { method: 'POST', body: picture });
    assert.ok([415, 422].includes(refused.status), String(refused.status));
  });

  it('takes a file on the disk of the server, from the folders for videos alone', async () => {
    const path = sharedPath('videos/car-detection.mp4');
    const key = { 'Idempotency-Key': randomUUID() };
    const answer = await submit({ path, stride: 9 }, key);
    const job = await answer.json();
    assert.equal(answer.status, 202, job.detail);
    assert.deepEqual([job.video_id, job.options.stride], [video, 9], 'the same bytes: the same video');
    assert.equal((await (await submit({ path, stride: 9 }, key)).json()).id, job.id);
    const wrong = (body, status, detail) =>
      submit(body).then((refused) => assertProblem(refused, status, detail));
    await wrong({ path: '/etc/passwd' }, 403, /VIDEO_FOLDERS/);
    assert.equal((await (await submit({ path: '/etc/passwd' })).json()).title, 'Forbidden');
    await wrong({ path: sharedPath('videos/../images/bus.jpg') }, 403, /leads out/);
    await wrong({ path: sharedPath('videos/none.mp4') }, 404, /no file/);
    await wrong({ path: sharedPath('videos/pets09-s2l1-gt') }, 422, /not a file/);
    await wrong({ path: 'car-detection.mp4' }, 422, /absolute/);
    await wrong({ path: '/proc/kallsyms' }, 413, /more bytes/); // it says that it has none
    await wrong({ path: 7 }, 422, /path/);
    await wrong({ path, video_id: video }, 422, /one of/);
  });

  it('does nothing twice with an Idempotency-Key', async () => {
    const key = { 'Idempotency-Key': randomUUID() };
    const first = await queued({ stride: 2, classes: 'car' }, key);
    const again = await queued({ classes: 'car', stride: 2 }, key);
    assert.equal(again.id, first.id);
    await assertProblem(await submit({ video_id: video, stride: 4 }, key), 409, /key/i);
    await assertProblem(await submit({ video_id: video }, { 'Idempotency-Key': 'a b' }), 400, /Key/);
  });

  it('refuses what can not be done, and says why', async () => {
    const wrong = (value, status, detail) =>
      submit({ video_id: video, ...value }).then((answer) => assertProblem(answer, status, detail));
    await wrong({ strid: 2 }, 422, /'strid'; did you mean 'stride'/);
    await wrong({ video_id: NONE }, 404, /no video/);
    for (const id of [7, 'x', SQL, '../nexus.db', null]) {
      await wrong({ video_id: id }, 422, /video_id/);
    }
    await assertProblem(await submit({}), 422, /video_id/);
    for (const model of ['none', 'yolov8n:9', '../yolov8n', SQL]) {
      await wrong({ model }, model === 'none' || model.endsWith(':9') ? 404 : 422, /model/);
    }
    await wrong({ classes: ['car', 'tank'] }, 422, /tank/);
    await wrong({ classes: [SQL] }, 422, /DROP/);
    await wrong({ zones: [{ name: 'a', polygon: [[0, 0], [2, 0], [1, 1]] }] }, 422, /polygon/);
    await wrong({ stride: 2, fps: 2 }, 422, /stride or fps/);
    await wrong({ priority: 101 }, 422, /priority/);
    for (const url of ['ftp://a/', 'http://', 'http://u:p@a/', 'http://a/ b', 7]) {
      await wrong({ webhook_url: url }, 422, /webhook_url/);
    }
    await assertProblem(await submit('{"video_id":'), 400, /JSON/);
    await assertProblem(await submit('[]'), 400, /JSON/);
    await assertProblem(await submit({ video_id: video, zones: 'x'.repeat(1 << 20) }), 413, /JSON/);
  });

  it('lists jobs by state, page by page', async () => {
    const { items } = await (await ask('jobs?state=queued')).json();
    assert.ok(items.length >= 3);
    const first = await (await ask('jobs?limit=2')).json();
    const rest = await (await ask(`jobs?cursor=${first.next_cursor}`)).json();
    assert.deepEqual([...first.items, ...rest.items], items);
    assert.deepEqual((await (await ask('jobs?state=running')).json()).items, []);
    await assertProblem(await ask('jobs?state=lost'), 422, /lost/);
    await assertProblem(await ask(`jobs?state=${encodeURIComponent(SQL)}`), 422, /DROP/);
  });

  it('cancels and puts back', async () => {
    const job = await queued();
    const cancelled = await cancel(job);
    assert.equal(cancelled.status, 200);
    assert.equal((await cancelled.json()).state, 'cancelled');
    assert.equal((await cancel(job)).status, 200, 'again is no error');
    const back = await ask(`jobs/${job.id}/retry`, { method: 'POST' });
    assert.equal(back.status, 202);
    assert.equal((await back.json()).state, 'queued');
    await assertProblem(await ask(`jobs/${job.id}/retry`, { method: 'POST' }), 409, /queued/);
    for (const id of [NONE, 'x', encodeURIComponent(SQL)]) {
      assert.equal((await ask(`jobs/${id}`)).status, 404);
      assert.equal((await ask(`jobs/${id}`, { method: 'DELETE' })).status, 404);
      assert.equal((await ask(`jobs/${id}/retry`, { method: 'POST' })).status, 404);
      assert.equal((await ask(`jobs/${id}/events`)).status, 404);
    }
    await assertProblem(await ask(`jobs/${job.id}/results/summary.json`), 404, /no result/);
    await assertProblem(await ask(`jobs/${job.id}/results/..%2f..%2fnexus.db`), 404, /./);
  });

  it('keeps a video that a job needs', async () => {
    await assertProblem(await ask(`videos/${video}`, { method: 'DELETE' }), 409, /needed/);
  });

  /** Reads a stream of events until it ends. */
  async function events(job, headers = {}) {
    const answer = await ask(`jobs/${job.id}/events`, { headers });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'text/event-stream');
    const list = [];
    let text = '';
    const read = (async () => {
      for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
        text += chunk;
        const blocks = text.split('\n\n');
        text = blocks.pop();
        for (const block of blocks.filter((b) => b.startsWith('id: '))) {
          const [, id, name, json] = /^id: (\d+)\nevent: (\w+)\ndata: (.*)$/.exec(block);
          list.push({ id: Number(id), name, ...JSON.parse(json) });
        }
      }
    })();
    return { list, read };
  }

  it('tells events as they happen, and goes on behind the last', async () => {
    const job = await queued();
    const streams = await Promise.all([events(job), events(job)]);
    assert.equal((await cancel(job)).status, 200);
    for (const { list, read } of streams) {
      await read; // ends by itself, with the job
      assert.deepEqual(list.map(({ state }) => state), ['queued', 'cancelled']);
      assert.deepEqual(list.map(({ id }) => id), [1, 2]);
    }
    const later = await events(job, { 'Last-Event-ID': '1' });
    await later.read;
    assert.deepEqual(later.list.map(({ state }) => state), ['cancelled']);
    const done = await ask(`jobs/${job.id}/events`, { headers: { 'Last-Event-ID': '2' } });
    assert.equal(done.status, 204);
    for (const id of ['x', '-1', '99999999999999999999']) {
      const answer = await ask(`jobs/${job.id}/events`, { headers: { 'Last-Event-ID': id } });
      await assertProblem(answer, 400, /Last-Event-ID/);
    }
  });

  it('ends open streams when it stops', async () => {
    const { read } = await events(await queued());
    assert.equal(await server.stop(), 0);
    await read;
    server = await startServer({
      args: ['--data-dir', data.path],
      env: { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false' },
    });
    assert.ok((await (await ask('jobs?state=queued')).json()).items.length > 0, 'jobs outlive it');
  });
});
