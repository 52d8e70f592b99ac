// Three servers with disks of their own, one PostgreSQL, one Redis and one S3 between them, behind
// nginx with deploy's configuration: whoever asks can't tell that they are three.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { addKey, ask, json, setUp, signIn } from './lib/accounts.mjs';
import { nexus } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutNginx, startNginx } from './lib/nginx.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { skipWithoutRedis, startRedis } from './lib/redis.mjs';
import { skipWithoutS3, startS3 } from './lib/s3.mjs';
import { eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { tinyModel } from './lib/tiny_model.mjs';

const HOSTS = 3;
const JOBS = 6;
const TRIES = 12; // to sign in, an hour
const WAIT_MS = 60_000;
const skip = skipWithoutShared() || skipWithoutPostgres() || skipWithoutRedis() || skipWithoutS3() ||
  skipWithoutNginx();

describe('three servers behind nginx', { skip }, () => {
  const folders = [];
  let postgres;
  let redis;
  let s3;
  let hosts = [];
  let front;
  let admin;
  let key;

  before(async () => {
    [postgres, redis, s3] = await Promise.all([startPostgres(), startRedis(), startS3()]);
    for (let i = 0; i < HOSTS; i++) {
      const data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
      folders.push(data);
      hosts.push(await startServer({
        args: ['--data-dir', data.path],
        env: {
          ...s3.env, DATABASE_URL: postgres.url, REDIS_URL: redis.url, TRUSTED_PROXIES: '127.0.0.1',
          CACHE_TTL_PREDICTIONS: '300', CONCURRENCY: '1', PREFETCH_MULTIPLIER: '1', RATE_LIMIT_AUTH: `${TRIES}/h`,
        },
      }));
    }
    front = await startNginx(hosts.map(({ port }) => port));
    admin = await setUp(hosts[0], 'ann');
    // the others have not heard of her yet, and ask when a session is shown to them
    await Promise.all(hosts.map((host) => addKey(host, admin, ['read'])));
    key = await addKey(front, admin, ['read', 'infer', 'videos', 'models']);
  });

  after(async () => {
    await front?.stop();
    for (const host of hosts) {
      await host.stop();
    }
    await Promise.all([postgres?.remove(), redis?.remove()]);
    s3?.remove();
    folders.forEach(({ remove }) => remove());
  });

  const detect = (host, query = '') =>
    ask(host, `/api/v1/inference/image${query}`, {
      method: 'POST',
      headers: { 'Content-Type': 'image/jpeg', ...key.headers },
      body: readFileSync(sharedPath('images/bus.jpg')),
    });
  const everywhere = async (path, headers) =>
    Promise.all([front, ...hosts].map(async (one) => (await ask(one, path, { headers })).status));

  it('know everybody who signed in at one of them, until they sign out at another', async () => {
    const session = await signIn(front, 'ann');
    assert.deepEqual(await everywhere('/api/v1/jobs', session.headers), [200, 200, 200, 200]);
    const out = await ask(hosts[1], '/api/v1/auth/logout', { method: 'POST', headers: session.headers });
    assert.ok(out.status < 300, String(out.status));
    await eventually(async () =>
      (await everywhere('/api/v1/jobs', session.headers)).every((status) => status === 401), 'it is over everywhere');
    assert.deepEqual(await everywhere('/api/v1/jobs', key.headers), [200, 200, 200, 200]);
  });

  it('count the tries of one address together', async () => {
    const { headers } = await addKey(front, admin, ['metrics']);
    // how often a host has counted by itself, since Redis was too slow for this machine
    const alone = async () => (await Promise.all(hosts.map(async (host) =>
      /^rate_limit_shared_total{outcome="alone"} (\d+)$/m.exec((await ask(host, '/metrics', { headers })).value)?.[1])))
      .join();
    let address = 0;
    await eventually(async () => {
      const before = await alone();
      address++;
      let passed = 0;
      // forms that nobody could sign in with, so that no account is locked; nothing comes back meanwhile
      for (let i = 0; i < 2 * TRIES; i++) {
        const { status } = await ask(front, '/api/v1/auth/login',
          json('POST', {}, { 'X-Forwarded-For': `198.51.100.${address}` }));
        passed += status !== 429;
      }
      if (before !== await alone()) {
        return false;
      }
      // each host may be one ahead of what Redis has been told
      assert.ok(passed >= TRIES && passed <= TRIES + HOSTS, `${passed} passed`);
      return true;
    }, 'they count together', WAIT_MS);
  });

  it('answer from what another of them has worked out', async () => {
    const found = async (host) => {
      const answer = await detect(host);
      assert.equal(answer.status, 200, JSON.stringify(answer.value));
      return { cache: answer.headers.get('x-cache'), found: answer.value.detections };
    };
    const first = await found(hosts[0]);
    assert.equal(first.cache, 'miss');
    assert.ok(first.found.length > 0);
    for (const host of [hosts[1], hosts[2], front]) {
      await eventually(async () => {
        const again = await found(host);
        assert.deepEqual(again.found, first.found);
        return again.cache === 'hit';
      }, 'it is in Redis');
    }
  });

  it('serve the version of a model that one of them was given, and go back together', async () => {
    const doors = '?model=doors';
    const classesOf = async (host) => {
      await detect(host, doors); // a model is loaded where somebody asks for it
      return (await ask(host, '/api/v1/models/doors', { headers: key.headers })).value.classes?.join();
    };
    const upload = async (classes) => {
      const answer = await ask(front, '/api/v1/models?name=doors', {
        method: 'POST',
        headers: { 'Content-Type': 'application/octet-stream', ...key.headers },
        body: tinyModel(classes),
      });
      assert.equal(answer.status, 201, JSON.stringify(answer.value));
    };
    const all = (wanted) => eventually(async () => {
      const seen = await Promise.all(hosts.map(classesOf));
      return seen.every((classes) => classes === wanted);
    }, `all serve ${wanted}`, WAIT_MS);
    await upload(['a', 'b']);
    await all('a,b');
    await upload(['c', 'd']);
    await all('c,d');
    const back = await ask(front, '/api/v1/models/doors/rollback', { method: 'POST', headers: key.headers });
    assert.equal(back.status, 200, JSON.stringify(back.value));
    await all('a,b');
  });

  it('take an upload in pieces, and do each job once, told by events through nginx', async () => {
    const bytes = readFileSync(sharedPath('videos/car-detection.mp4'));
    const tus = { 'Tus-Resumable': '1.0.0', ...key.headers };
    const begun = await ask(front, '/api/v1/uploads', {
      method: 'POST', headers: { ...tus, 'Upload-Length': String(bytes.length) },
    });
    assert.equal(begun.status, 201, JSON.stringify(begun.value));
    const place = begun.headers.get('location');
    for (let at = 0; at < bytes.length;) {
      const piece = bytes.subarray(at, at + Math.ceil(bytes.length / 3));
      const answer = await ask(front, place, {
        method: 'PATCH',
        headers: { ...tus, 'Upload-Offset': String(at), 'Content-Type': 'application/offset+octet-stream' },
        body: piece,
      });
      assert.equal(answer.status, 204, JSON.stringify(answer.value));
      at += piece.length;
    }
    const { value: upload } = await ask(front, place, { headers: key.headers });
    const id = upload.video.split('/').at(-1);
    const submitted = await Promise.all(Array.from({ length: JOBS }, async (_, i) => {
      const answer = await ask(front, '/api/v1/videos/process',
        json('POST', { video_id: id, stride: 60 }, { ...key.headers, 'Idempotency-Key': `cluster-${i}` }));
      assert.equal(answer.status, 202, JSON.stringify(answer.value));
      return answer.value.id;
    }));
    assert.equal(new Set(submitted).size, JOBS);
    const again = await ask(hosts[2], '/api/v1/videos/process',
      json('POST', { video_id: id, stride: 60 }, { ...key.headers, 'Idempotency-Key': 'cluster-0' }));
    assert.equal(again.value.id, submitted[0]);
    for (const job of submitted) { // a stream of events ends with its job
      const events = await ask(front, `/api/v1/jobs/${job}/events`, { headers: key.headers });
      assert.equal(events.status, 200);
      assert.match(events.value, /"state":\s*"succeeded"/);
    }
    const jobs = await Promise.all(submitted.map(async (job) =>
      (await ask(front, `/api/v1/jobs/${job}`, { headers: key.headers })).value));
    assert.deepEqual(jobs.map(({ state, attempts }) => [state, attempts]), jobs.map(() => ['succeeded', 1]));
    const summaries = await Promise.all(submitted.map(async (job, i) =>
      (await ask(hosts[i % HOSTS], `/api/v1/jobs/${job}/results/frames.ndjson`, { headers: key.headers })).value));
    assert.ok(summaries[0].length > 0);
    assert.equal(new Set(summaries.map((one) => JSON.stringify(one))).size, 1, 'all hosts see the same');
  });

  it('go on when one of them is killed, with one log of who did what', async () => {
    await hosts[1].stop('SIGKILL');
    for (let i = 0; i < 20; i++) {
      assert.equal((await ask(front, '/api/v1/jobs', { headers: key.headers })).status, 200);
    }
    const { code, stdout, stderr } = await nexus(['audit', 'verify', '--data-dir', folders[0].path],
      { env: { ...process.env, DATABASE_URL: postgres.url } });
    assert.equal(code, 0, stdout + stderr);
  });
});
