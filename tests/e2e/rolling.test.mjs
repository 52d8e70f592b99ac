// Everything is restarted in turn under load: two servers behind nginx, two workers, Redis, and nginx's
// own workers, with PostgreSQL beside them. No request is lost, no job is lost or done twice.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';
import { addKey, ask, setUp } from './lib/accounts.mjs';
import { start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutNginx, startNginx } from './lib/nginx.mjs';
import { freePort } from './lib/ports.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { skipWithoutRedis, startRedis } from './lib/redis.mjs';
import { eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared() || skipWithoutPostgres() || skipWithoutRedis() || skipWithoutNginx();
const CLIENTS = 3;
const DRAIN_MS = 30_000; // what a server, or a worker, has to end in
const PATIENCE_MS = 120_000;
const LONG_MS = 300_000;
const JOBS = 6;
const PACE_MS = 25; // between small requests of a client: asked without a pause they take a core, and all else waits

const pause = () => new Promise((resolve) => { setTimeout(resolve, PACE_MS); });

describe('a rolling restart under load', { skip }, () => {
  let data;
  let postgres;
  let redis;
  let front;
  let key;
  let env;
  const servers = [];
  const workers = [];
  const pictures = skip ? [] : ['bus.jpg', 'zidane.jpg'].map((name) => readFileSync(sharedPath(`images/${name}`)));

  const serve = (port) => startServer({ args: ['--data-dir', data.path, '--port', String(port)], env });
  const work = () => {
    const worker = start(['worker', '--data-dir', data.path], { env, milliseconds: LONG_MS });
    worker.ready = new Promise((resolve) => { worker.child.stderr.once('data', resolve); });
    return worker;
  };

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
    env = {
      DATABASE_URL: postgres.url, REDIS_URL: redis.url, OBJECTS_URL: '', TRUSTED_PROXIES: '127.0.0.1',
      RUN_JOBS: 'false', DB_POOL_SIZE: '10', CONCURRENCY: '1', PREFETCH_MULTIPLIER: '2', DRAIN_DELAY: '1',
    };
    const ports = [await freePort(), await freePort()];
    servers.push(await serve(ports[0]));
    const admin = await setUp(servers[0]);
    servers.push(await serve(ports[1]));
    front = await startNginx(ports);
    key = await addKey(servers[0], admin, ['read', 'infer', 'videos', 'metrics']);
    workers.push(work(), work());
  });
  after(async () => {
    await front?.stop();
    await Promise.all(servers.map((server) => server.stop()));
    for (const { child, ended } of workers) {
      child.kill('SIGKILL');
      await ended;
    }
    await Promise.all([postgres?.remove(), redis?.remove()]);
    data?.remove();
  });

  /** By a connection of its own: nginx closes idle ones when it is reloaded, maybe as one is used. */
  async function send(path, { method = 'GET', headers = {}, body } = {}) {
    const length = body === undefined ? {} : { 'Content-Length': Buffer.byteLength(body) };
    const request = http.request(front.url + path,
      { method, headers: { ...key.headers, ...length, ...headers }, agent: false });
    request.end(body);
    const [response] = await once(request, 'response');
    const text = Buffer.concat(await response.toArray()).toString();
    const json = /[/+]json$/.test(response.headers['content-type']);
    return { status: response.statusCode, value: json ? JSON.parse(text) : text };
  }
  const detect = (picture) => send('/api/v1/inference/image',
    { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: picture });

  /** Clients that ask on and on until stop(); what came of it by kind, and what was wrong. */
  function load(expected, video) {
    const counts = { pictures: 0, lists: 0, jobs: 0 };
    const wrong = [];
    const jobs = new Map();
    let stopped = false;
    const loop = async (kind, once, paced = true) => {
      for (let i = 0; !stopped; i++) {
        const at = new Date().toISOString();
        const problem = await once(i).catch((error) => `${error.message} ${error.cause ?? ''}`);
        counts[kind]++;
        if (problem !== undefined) {
          wrong.push(`${at} ${kind}: ${problem}`);
        }
        if (paced) {
          await pause();
        }
      }
    };
    const problemOf = ({ status, value }, wanted) =>
      status === wanted ? undefined : `${status} ${JSON.stringify(value)}`;
    const all = Array.from({ length: CLIENTS }, (_, client) => loop('pictures', async (i) => {
      const which = (client + i) % pictures.length;
      const answer = await detect(pictures[which]);
      const problem = problemOf(answer, 200);
      return problem ??
        (JSON.stringify(answer.value.detections) === expected[which] ? undefined : 'another answer');
    }, false));
    all.push(loop('lists', async () => problemOf(await send('/api/v1/jobs?limit=5'), 200)));
    all.push(loop('jobs', async (i) => {
      const answer = await send('/api/v1/videos/process', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', 'Idempotency-Key': `rolling-${i % JOBS}` },
        body: JSON.stringify({ video_id: video, stride: 40, outputs: ['csv'] }),
      });
      const known = jobs.get(i % JOBS);
      jobs.set(i % JOBS, answer.value.id);
      return problemOf(answer, known === undefined ? 202 : answer.status === 200 ? 200 : 202) ??
        (known === undefined || known === answer.value.id ? undefined : `job ${known} became ${answer.value.id}`);
    }));
    return {
      counts, wrong, jobs,
      async stop() {
        stopped = true;
        await Promise.all(all);
      },
    };
  }

  /** What /health/ready says over one connection that was there before, and over new ones: the words. */
  function watchReady(server) {
    const seen = new Set();
    let over = false;
    const look = async () => {
      while (!over) {
        const status = await new Promise((resolve) => {
          const request = http.get(`${server.url}/health/ready`, (response) => {
            let text = '';
            response.on('data', (chunk) => { text += chunk; });
            response.on('end', () => resolve(`${response.statusCode} ${JSON.parse(text).status}`));
            response.on('error', () => resolve('gone'));
          });
          request.on('error', () => resolve('gone'));
        });
        seen.add(status);
        await pause();
      }
    };
    const done = look();
    return async () => {
      over = true;
      await done;
      return seen;
    };
  }

  /** Pictures that a server has answered since its start. */
  async function answered(server) {
    const { value } = await ask(server, '/metrics', { headers: key.headers });
    const counts = [...value.matchAll(/^http_requests_total\{[^}]*inference\/image[^}]*\} (\d+)$/gm)];
    return counts.reduce((sum, [, count]) => sum + Number(count), 0);
  }

  it('loses no request and no job, and answers all of them rightly', async (t) => {
    const expected = [];
    for (const picture of pictures) {
      expected.push(JSON.stringify((await detect(picture)).value.detections));
    }
    const upload = await send('/api/v1/videos?name=cars.mp4', {
      method: 'POST',
      headers: { 'Content-Type': 'video/mp4' },
      body: readFileSync(sharedPath('videos/car-detection.mp4')),
    });
    assert.equal(upload.status, 201, JSON.stringify(upload.value));
    const under = load(expected, upload.value.id);
    const running = () => Number(postgres.query("SELECT count(*) FROM jobs WHERE state = 'running'"));
    try {
      await eventually(() => under.counts.pictures > 10 && running() > 0, 'there is load', PATIENCE_MS);
      for (let i = 0; i < servers.length; i++) {
        const old = servers[i];
        const ready = watchReady(old);
        const from = Date.now();
        assert.equal(await old.stop(), 0, old.logs());
        assert.ok(Date.now() - from < DRAIN_MS, 'it ends in time');
        assert.deepEqual((await ready()).has('503 draining'), true, 'it said that it drains');
        servers[i] = await serve(old.port);
        // on with the next when nginx sends requests here again
        await eventually(async () => (await answered(servers[i])) > 0, 'it gets requests', PATIENCE_MS);
      }
      for (let i = 0; i < workers.length; i++) {
        const from = Date.now();
        workers[i].child.kill('SIGTERM');
        const { code, stderr } = await workers[i].ended;
        assert.equal(code, 0, stderr);
        assert.ok(Date.now() - from < DRAIN_MS, 'it ends in time');
        workers[i] = work();
        await workers[i].ready;
      }
      await redis.kill();
      await redis.start();
      front.reload();
      const before = under.counts.pictures;
      await eventually(() => under.counts.pictures > before + 10, 'all goes on', PATIENCE_MS);
    } finally {
      await under.stop();
    }
    t.diagnostic(JSON.stringify(under.counts));
    assert.deepEqual(under.wrong, []);
    const jobs = [...under.jobs.values()];
    assert.equal(new Set(jobs).size, JOBS);
    const rows = () => postgres.query('SELECT state, count(*) FROM jobs GROUP BY state ORDER BY state');
    await eventually(() => rows() === `succeeded|${JOBS}`, 'every job is done, and none is twice', PATIENCE_MS)
      .catch((error) => assert.fail(`${error.message}\n${rows()}`));
    const results = await Promise.all(jobs.map(async (id) => {
      const { status, value } = await send(`/api/v1/jobs/${id}/results/frames.ndjson`);
      assert.equal(status, 200);
      return JSON.stringify(value);
    }));
    assert.equal(new Set(results).size, 1, 'all results are the same');
  });
});
