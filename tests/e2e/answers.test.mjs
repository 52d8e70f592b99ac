// Answers to GETs that are kept, on two servers of one database: none of them ever tells what was
// changed before it was asked, through whichever server. On SQLite each has a cache of its own; on
// PostgreSQL they share one in a Redis besides.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { addVideo, submitJob } from './lib/jobs.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { skipWithoutRedis, startRedis } from './lib/redis.mjs';
import { eventually, metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const FILE = 'videos/traffic-1080p.mp4';
const looks = async (server, cache, result) =>
  (await metric(server.url, `cache_requests_total{cache="${cache}",result="${result}"}`)) ?? 0;

function keepsAnswers(place, skip, begin) {
  describe(`answers that are kept, ${place}`, { skip }, () => {
    let data;
    let db;
    let env;
    let first;
    let second;
    let video;
    let job;

    before(async () => {
      data = makeDataDir();
      writeTinyModel(`${data.path}/models/yolov8n.onnx`);
      db = await begin();
      env = { OBJECTS_URL: '', RUN_JOBS: 'false', ...db.env };
      const args = ['--data-dir', data.path];
      first = await startServer({ args, env });
      second = await startServer({ args, env });
      video = await addVideo(first, FILE);
      job = await ended({ stride: 30, outputs: ['csv'] }, 'succeeded');
    });
    after(async () => {
      await Promise.all([first?.stop(), second?.stop()]);
      await db?.remove();
      data?.remove();
    });

    /** One answer; { status, from (X-Cache), etag, headers, text, json() } */
    async function get(server, path, headers = {}) {
      const answer = await fetch(`${server.url}/api/v1/${path}`, { headers });
      const text = await answer.text();
      return {
        status: answer.status,
        from: answer.headers.get('x-cache'),
        etag: answer.headers.get('etag'),
        headers: answer.headers,
        text,
        json: () => JSON.parse(text),
      };
    }
    const send = async (server, method, path) => {
      const answer = await fetch(`${server.url}/api/v1/${path}`, { method });
      await answer.arrayBuffer();
      return answer.status;
    };
    /** Asks both until both have it, and says what they said. */
    const warm = async (path) => {
      const told = [];
      for (const server of [first, second]) {
        await get(server, path);
        told.push((await get(server, path)).text);
      }
      return told;
    };

    /** A job that a worker, which is there for it alone, has brought to its end. */
    async function ended(options, state) {
      const worker = start(['worker', '--data-dir', data.path], { env });
      const { id } = await submitJob(first, { video_id: video, ...options });
      await eventually(async () => (await get(first, `jobs/${id}`)).json().state === state, state, 60_000);
      worker.child.kill('SIGTERM');
      await worker.ended;
      return id;
    }

    it('are those that were made, once a job has ended', async () => {
      const path = `jobs/${job}`;
      const plain = await get(first, path, { 'Cache-Control': 'no-store' });
      assert.equal(plain.from, null);
      await get(first, path);
      const hit = await get(first, path);
      assert.equal(hit.from, 'hit');
      assert.equal(hit.text, plain.text);
      assert.equal(hit.headers.get('cache-control'), 'no-store');
      assert.equal((await get(first, path, { 'Cache-Control': 'no-cache' })).from, 'miss');
      assert.equal((await get(first, `${path}?x=1`)).status, 422);
      if (db.redis !== undefined) {
        await eventually(() => db.redis.cli('KEYS', 'nexus:responses:?*').length > 0, 'it is in Redis');
        const { from } = await get(second, path);
        assert.ok(from === 'hit' || await looks(second, 'responses', 'error') > 0,
          'what the other has made, unless Redis is too slow on a busy machine');
      } else {
        assert.equal((await get(second, path)).from, 'miss', 'its own memory');
      }
      const other = await get(second, path);
      assert.deepEqual([other.from, other.text], ['hit', plain.text]);
    });

    it('are files of results, with ranges and entity tags', async () => {
      for (const { name, type, size_bytes: size } of (await get(first, `jobs/${job}`)).json().results) {
        const path = `jobs/${job}/results/${name}`;
        const made = await get(first, path);
        const kept = await get(first, path);
        assert.deepEqual([made.status, made.from, kept.from], [200, 'miss', 'hit'], name);
        assert.ok(made.text === kept.text, name);
        for (const header of ['content-type', 'content-length', 'etag', 'accept-ranges', 'x-nexus-complete']) {
          assert.equal(kept.headers.get(header), made.headers.get(header), `${name} ${header}`);
        }
        assert.equal(kept.headers.get('content-type'), type);
        assert.equal(kept.headers.get('content-length'), `${size}`);
        const part = await get(first, path, { Range: 'bytes=2-5' });
        assert.deepEqual([part.status, part.from], [206, 'hit']);
        assert.equal(part.headers.get('content-range'), `bytes 2-5/${size}`);
        assert.equal((await get(first, path, { Range: `bytes=${size}-` })).status, 416);
        assert.equal((await get(first, path, { 'If-None-Match': kept.etag })).status, 304);
      }
    });

    it('are the record of the frames in the form that was asked for', async () => {
      const path = `jobs/${job}/results/frames.ndjson`;
      const lines = await get(first, path, { 'Accept-Encoding': 'identity' });
      const packed = await get(first, path, { 'Accept-Encoding': 'zstd' });
      assert.deepEqual([lines.from, packed.from], ['miss', 'miss']);
      assert.notEqual(lines.etag, packed.etag);
      for (const [made, coding] of [[lines, 'identity'], [packed, 'zstd']]) {
        const kept = await get(first, path, { 'Accept-Encoding': coding });
        assert.equal(kept.from, 'hit');
        assert.ok(kept.text === made.text);
        for (const header of ['content-encoding', 'content-type', 'etag', 'vary', 'x-nexus-complete']) {
          assert.equal(kept.headers.get(header), made.headers.get(header), header);
        }
      }
      assert.equal(lines.text.trim().split('\n').map(JSON.parse).length > 0, true);
      assert.equal(packed.headers.get('content-encoding'), 'zstd');
    });

    it('are none of a job that has not ended, and none that another server has changed', async () => {
      const { id } = await submitJob(first, { video_id: video });
      const path = `jobs/${id}`;
      for (const server of [first, second, first, second]) {
        const { from, json } = await get(server, path);
        assert.deepEqual([from, json().state], [null, 'queued']);
      }
      for (let round = 0; round < 3; round++) {
        const [one, other] = round % 2 === 0 ? [first, second] : [second, first];
        assert.equal(await send(one, 'DELETE', path), 200);
        assert.equal((await get(other, path)).json().state, 'cancelled', 'at once');
        for (const text of await warm(path)) {
          assert.equal(JSON.parse(text).state, 'cancelled');
        }
        assert.equal((await get(other, path)).from, 'hit');
        assert.equal(await send(one, 'POST', `${path}/retry`), 202);
        assert.equal((await get(other, path)).json().state, 'queued', 'at once');
      }
      assert.equal(await send(first, 'DELETE', path), 200);
    });

    it('are the metadata of videos, until one is removed on any server', async () => {
      const answer = await fetch(`${first.url}/api/v1/videos?name=gone.mp4`, {
        method: 'POST',
        headers: { 'Content-Type': 'video/mp4' },
        body: readFileSync(sharedPath('videos/car-detection.mp4')),
      });
      assert.equal(answer.status, 201);
      const { id } = await answer.json();
      const path = `videos/${id}`;
      const listed = async (server) => (await get(server, 'videos')).json().items.map((item) => item.id);
      assert.deepEqual(await listed(second), [id, video], 'at once');
      const plain = await get(second, path, { 'Cache-Control': 'no-store' });
      const before = await looks(second, 'videos', 'hit');
      for (const text of await warm(path)) {
        assert.equal(text, plain.text);
      }
      assert.ok(await looks(second, 'videos', 'hit') > before);
      assert.equal((await get(second, `${path}?x=1`)).status, 422);
      const content = await fetch(`${second.url}/api/v1/${path}/content`, { headers: { Range: 'bytes=0-9' } });
      assert.equal(content.status, 206);
      assert.equal(content.headers.get('content-type'), 'video/mp4');
      await content.arrayBuffer();
      assert.deepEqual(await listed(first), [id, video]);
      await warm('videos');
      assert.equal((await get(second, 'videos')).from, 'hit');
      assert.equal((await get(second, 'videos?limit=1')).json().items.length, 1);

      assert.equal(await send(first, 'DELETE', path), 204);
      assert.equal((await get(second, path)).status, 404, 'at once');
      assert.equal((await get(second, `${path}/content`)).status, 404);
      assert.deepEqual(await listed(second), [video], 'at once');
      assert.equal((await get(first, path)).status, 404);
    });

    it('tell at once that the video of a job was removed', async () => {
      const path = `jobs/${job}`;
      for (const text of await warm(path)) {
        assert.equal(JSON.parse(text).video_id, video);
      }
      assert.equal(await send(first, 'DELETE', `videos/${video}`), 204);
      assert.equal((await get(second, path)).json().video_id, null);
      assert.equal((await get(first, path)).json().video_id, null);
    });

    it('are gone with the row, whoever takes it out', async (t) => {
      if (db.query === undefined) {
        t.skip('no other program at the database here');
        return;
      }
      const paths = [`jobs/${job}`, `jobs/${job}/results/summary.json`];
      for (const path of paths) {
        await warm(path);
        assert.equal((await get(second, path)).from, 'hit');
      }
      db.query(`DELETE FROM jobs WHERE id = '${job}'`);
      for (const path of paths) {
        assert.equal((await get(second, path)).status, 404);
      }
    });

    it('are none without a lifetime', async () => {
      const server = await startServer({
        args: ['--data-dir', data.path],
        env: { ...env, CACHE_TTL_RESPONSES: '0', CACHE_TTL_VIDEOS: '0' },
      });
      for (let i = 0; i < 2; i++) {
        assert.deepEqual([(await get(server, 'videos')).from], [null]);
      }
      assert.equal(await looks(server, 'responses', 'miss'), 0);
      await server.stop();
    });
  });
}

keepsAnswers('each by itself', skipWithoutShared(), async () => ({
  env: { DATABASE_URL: '' },
  remove: () => {},
}));

keepsAnswers('with a Redis that they share', skipWithoutShared() || skipWithoutPostgres() || skipWithoutRedis(),
  async () => {
    const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
    return {
      env: { DATABASE_URL: postgres.url, REDIS_URL: redis.url },
      redis,
      query: postgres.query,
      remove: () => Promise.all([postgres.remove(), redis.remove()]),
    };
  });

describe('answers that are kept, while nothing more can wait', { skip: skipWithoutShared() || skipWithoutPostgres() }, () => {
  it('are made as ever afterwards', async (t) => {
    const data = makeDataDir();
    writeTinyModel(`${data.path}/models/yolov8n.onnx`);
    const postgres = await startPostgres();
    const server = await startServer({
      args: ['--data-dir', data.path],
      env: { DATABASE_URL: postgres.url, OBJECTS_URL: '', RUN_JOBS: 'false', LIMIT_CONCURRENCY: '1' },
    });
    t.after(async () => {
      await server.stop();
      await postgres.remove();
      data.remove();
    });
    const ask = async (path) => {
      const answer = await fetch(server.url + path);
      return { status: answer.status, text: await answer.text() };
    };
    const held = () => Number(postgres.query("SELECT count(*) FROM pg_locks WHERE granted AND " +
      "mode = 'AccessExclusiveLock' AND relation = 'nx_migrations'::regclass"));

    // Readiness asks the database and is not limited: with it held up, the line of what waits fills.
    // A list that is asked for then finds no place, unless it was refused at the gate before.
    await eventually(async () => {
      assert.equal((await ask('/api/v1/videos')).status, 200);
      const session = postgres.session();
      session.stdin.write('BEGIN; LOCK TABLE nx_migrations IN ACCESS EXCLUSIVE MODE;\n');
      await eventually(() => held() === 1, 'the table is locked');
      const waiting = Array.from({ length: 300 }, () => ask('/health/ready'));
      await eventually(async () => (await metric(server.url, 'db_pool_connections{state="waiting"}')) >= 257,
        'the line is full', 30_000);
      const refused = await ask('/api/v1/videos');
      session.stdin.end('ROLLBACK;\n');
      await Promise.all(waiting);
      assert.equal(refused.status, 503, refused.text);
      return !/told who asks/.test(refused.text);
    }, 'a list finds no place', 60_000);
    for (let i = 0; i < 3; i++) {
      assert.equal((await ask('/api/v1/videos')).status, 200);
    }
  });
});
