// Two servers and the Redis that they share, in the middle of requests: killed, stopped, full and
// back again. Whatever it does, each request is answered, and as without it; and no model's
// predictions are ever another's.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutRedis, startRedis } from './lib/redis.mjs';
import { eventually, metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { tinyModel, writeTinyModel } from './lib/tiny_model.mjs';

const PATIENCE_MS = 60_000; // it takes a second; a machine that is busy may take its time
const skip = skipWithoutRedis() || skipWithoutShared();

describe('two servers with one Redis', { skip }, () => {
  const bus = skip ? null : readFileSync(sharedPath('images/bus.jpg'));
  let data;
  let redis;
  let first;
  let second;
  let count = 0;

  before(async () => {
    data = makeDataDir();
    writeTinyModel(`${data.path}/models/yolov8n.onnx`);
    redis = await startRedis();
    const options = {
      args: ['--data-dir', data.path],
      env: {
        REDIS_URL: redis.url, DATABASE_URL: '', RUN_JOBS: 'false', RATE_LIMIT: 'false', CACHE_TTL_PREDICTIONS: '300',
      },
    };
    first = await startServer(options);
    second = await startServer(options);
  });
  after(async () => {
    await Promise.all([first?.stop(), second?.stop()]);
    await redis?.remove();
    data?.remove();
  });

  /** A picture that nobody has asked for yet. */
  const fresh = () => Buffer.concat([bus, Buffer.from(`fresh ${count++}`)]);
  async function detect(server, bytes, headers = {}) {
    const answer = await fetch(`${server.url}/api/v1/inference/image?confidence=0.01`, {
      method: 'POST',
      headers: { 'Content-Type': 'image/jpeg', ...headers },
      body: bytes,
    });
    const { detections, detail } = await answer.json();
    assert.equal(answer.status, 200, detail);
    return { from: answer.headers.get('x-cache'), found: JSON.stringify(detections) };
  }
  const plainly = async (server) => (await detect(server, bus, { 'Cache-Control': 'no-store' })).found;
  const ready = async (server) => {
    const answer = await fetch(`${server.url}/health/ready`);
    assert.equal(answer.status, 200);
    return (await answer.json()).cache.ready;
  };
  const everybody = (what, condition) =>
    eventually(async () => (await condition(first)) && condition(second), what, PATIENCE_MS);
  /** Both hear of a picture that one of them finds. A lost moment of Redis is a miss, so not at once. */
  const share = () => eventually(async () => {
    const bytes = fresh();
    await detect(first, bytes);
    const { from } = await detect(second, bytes);
    return from === 'hit';
  }, 'what one has found the other finds in Redis', PATIENCE_MS);

  /** Asks both for the same pictures and for lists, on and on until the work is done; all of it must be right. */
  async function underLoad(work) {
    const pictures = [fresh(), fresh(), fresh()];
    const expected = await plainly(first);
    let over = false;
    const client = async (server) => {
      for (let i = 0; !over; i++) {
        const bytes = i % 5 === 0 ? fresh() : pictures[i % 3];
        assert.equal((await detect(server, bytes)).found, expected);
        const list = await fetch(`${server.url}/api/v1/videos`);
        assert.equal(list.status, 200);
        await list.arrayBuffer();
      }
    };
    const clients = [first, second, first, second].map(client);
    try {
      await work();
    } finally {
      over = true;
    }
    await Promise.all(clients);
  }

  it('agree on what a prediction is found by', share);

  it('go on while it is killed, and use it again', async () => {
    await underLoad(async () => {
      await redis.kill();
      await everybody('it is missed', async (server) => !(await ready(server)));
      await everybody('it is counted', async ({ url }) =>
        await metric(url, 'redis_breaker_openings_total') >= 1
          && await metric(url, 'cache_requests_total{cache="predictions",result="error"}') >= 1);
      await redis.start();
      await everybody('it is found again', ready);
    });
    await share();
  });

  it('go on while it does not answer, and use it again', async () => {
    await underLoad(async () => {
      redis.stop();
      await everybody('it is missed', async (server) => !(await ready(server)));
      redis.goOn();
      await everybody('it is found again', ready);
    });
    await share();
  });

  it('go on while it is full', async () => {
    const failed = (server) => metric(server.url, 'redis_calls_total{result="failed"}');
    const before = await failed(first) + await failed(second);
    await underLoad(async () => {
      redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
      redis.cli('CONFIG', 'SET', 'maxmemory', '1');
      await eventually(async () => await failed(first) + await failed(second) > before, 'it refuses', PATIENCE_MS);
      redis.cli('CONFIG', 'SET', 'maxmemory', '64mb');
      redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
      await everybody('it is found again', ready);
    });
    await share();
  });

  it('go on while it forgets all the time', async () => {
    const evicted = () => Number(/evicted_keys:(\d+)/.exec(redis.cli('INFO', 'stats'))[1]);
    const used = () => /used_memory:(\d+)/.exec(redis.cli('INFO', 'memory'))[1];
    const before = evicted();
    await underLoad(async () => {
      await eventually(() => {
        redis.cli('CONFIG', 'SET', 'maxmemory', used()); // no room for what comes next
        return evicted() > before;
      }, 'it gives up entries', PATIENCE_MS);
      redis.cli('FLUSHALL');
      redis.cli('CONFIG', 'SET', 'maxmemory', '64mb');
    });
    await everybody('it is there', ready);
    await share();
  });

  it('never give the predictions of a model that was swapped on the other', async () => {
    const models = async (server, path, init) => {
      const answer = await fetch(`${server.url}/api/v1/models${path}`, init);
      const body = await answer.json();
      assert.ok(answer.ok, body.detail);
      return body;
    };
    const serving = async (server) => (await models(server, '/yolov8n')).serving_version;
    const found = new Map([[await serving(first), await plainly(first)]]);
    const added = await models(first, '?name=yolov8n', {
      method: 'POST',
      headers: { 'Content-Type': 'application/octet-stream' },
      body: tinyModel(['red', 'blue'], 0.8),
    });
    found.set(added.serving_version, await plainly(first));
    assert.equal(new Set(found.values()).size, 2);
    let over = false;
    let seen = 0;
    const client = async (server) => {
      while (!over) {
        const version = await serving(server);
        const answer = await detect(server, bus);
        if (version === await serving(server)) { // all the while, or there and back again
          seen++;
          assert.ok([...found.values()].includes(answer.found));
        }
      }
    };
    const clients = [first, second].map(client);
    try {
      for (const version of [...found.keys(), ...found.keys()]) {
        await models(first, `/yolov8n/load?version=${version}`, { method: 'POST' });
        await everybody('both serve it', async (server) => await serving(server) === version);
        for (const server of [first, second]) {
          for (let i = 0; i < 3; i++) {
            assert.equal((await detect(server, bus)).found, found.get(version), `version ${version}`);
          }
        }
      }
    } finally {
      over = true;
    }
    await Promise.all(clients);
    assert.ok(seen > 0);
  });
});
