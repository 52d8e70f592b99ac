// A server with Redis behind it: what it says of it, and that it serves on without.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { ask, setUp, signIn } from './lib/accounts.mjs';
import { nexus } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutRedis, startRedis } from './lib/redis.mjs';
import { eventually, metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const PASSWORD = 'geheim@:/?';

describe('Redis', { skip: skipWithoutRedis() || skipWithoutShared() }, () => {
  let data;
  let redis;
  let server;

  const serverWith = (url) =>
    startServer({ env: { REDIS_URL: url, NEXUS_DATA_DIR: data.path, RUN_JOBS: 'false' } });

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    redis = await startRedis({ password: PASSWORD });
    server = await serverWith(redis.url);
  });

  after(async () => {
    await server?.stop();
    await redis?.remove();
    data.remove();
  });

  const cacheState = async () => {
    const response = await fetch(`${server.url}/health/ready`);
    const { status, cache } = await response.json();
    assert.equal(response.status, 200);
    assert.equal(status, 'ready');
    return cache;
  };

  const detect = async () => {
    const response = await fetch(`${server.url}/api/v1/inference/image`, {
      method: 'POST',
      headers: { 'content-type': 'image/jpeg' },
      body: readFileSync(sharedPath('images/zidane.jpg')),
    });
    assert.equal(response.status, 200);
    return (await response.json()).detections;
  };

  it('shows in readiness and metrics', async () => {
    let state;
    await eventually(async () => {
      state = await cacheState();
      return state.ready && await metric(server.url, 'redis_breaker_state{state="closed"}') === 1;
    }, 'it answers', 60_000);
    assert.deepEqual(state, { kind: 'redis', ready: true, reason: null });
    assert.ok(await metric(server.url, 'redis_calls_total{result="answered"}') >= 1);
    assert.ok(Number.isFinite(await metric(server.url, 'redis_connections{state="idle"}')));
  });

  it('may be killed and come back', async () => {
    const expected = await detect();
    const openings = await metric(server.url, 'redis_breaker_openings_total');
    await redis.kill();
    await eventually(async () => {
      assert.deepEqual(await detect(), expected);
      return !(await cacheState()).ready;
    }, 'it is found to be gone', 60_000);
    const { kind, reason } = await cacheState();
    assert.equal(kind, 'redis');
    assert.ok(reason.length > 0);
    assert.ok(!reason.includes('geheim'));
    assert.ok(await metric(server.url, 'redis_breaker_openings_total') > openings);
    assert.deepEqual(await detect(), expected);
    await redis.start();
    await eventually(async () => (await cacheState()).ready, 'it is found again', 60_000);
    assert.deepEqual(await detect(), expected);
  });

  it('is checked, without its password', async () => {
    const check = async (url, env = {}) => {
      const { code, stdout } = await nexus(['check', '--format', 'json'],
        { env: { ...process.env, REDIS_URL: url, NEXUS_DATA_DIR: data.path, ...env } });
      assert.ok(!stdout.includes('geheim'));
      return { code, found: JSON.parse(stdout).checks.find(({ name }) => name === 'cache') };
    };
    let { found } = await check(redis.url);
    assert.equal(found.status, 'ok');
    assert.match(found.detail, /^Redis \d+\.\d+\S*, maxmemory 64 MB, allkeys-lru, /);
    ({ found } = await check(redis.url, { REDIS_MAXMEMORY: '32mb' }));
    assert.equal(found.status, 'warning');
    assert.match(found.detail, /set maxmemory$/);
    redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    ({ found } = await check(redis.url));
    redis.cli('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    assert.equal(found.status, 'warning');
    assert.match(found.detail, /policy noeviction.*allkeys-lru$/);
    ({ found } = await check(`unix://:geheim-not@${redis.socket}`));
    assert.equal(found.status, 'warning');
    assert.match(found.detail, /refuses the user or the password/);
    ({ found } = await check('unix:///nonexistent'));
    assert.equal(found.status, 'warning');
    const wrong = await check('redis://:geheim@h:x');
    assert.equal(wrong.found.status, 'failed');
    assert.equal(wrong.code, 3);
    ({ found } = await check(''));
    assert.equal(found.status, 'ok');
    assert.match(found.detail, /^256m of memory/);
  });

  it('keeps no server from starting, unless its URL is none', async () => {
    const alone = await serverWith('unix:///nonexistent/socket');
    const response = await fetch(`${alone.url}/health/ready`);
    const { cache } = await response.json();
    await alone.stop();
    assert.equal(response.status, 200);
    assert.equal(cache.ready, false);
    assert.match(cache.reason, /No such file/);
    const { code, stderr } = await nexus(['serve', '--port', '0'],
      { env: { ...process.env, REDIS_URL: 'rediss://:geheim@h', NEXUS_DATA_DIR: data.path } });
    assert.notEqual(code, 0);
    assert.match(stderr, /TLS/);
    assert.ok(!stderr.includes('geheim'));
  });
});

describe('sessions of two servers with one Redis', { skip: skipWithoutRedis() || skipWithoutShared() }, () => {
  let data;
  let redis;
  let servers = [];

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    redis = await startRedis();
    const env = { REDIS_URL: redis.url, NEXUS_DATA_DIR: data.path, RUN_JOBS: 'false' };
    servers = [await startServer({ env }), await startServer({ env })];
  });

  after(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await redis?.remove();
    data.remove();
  });

  it('hold on both, end on both, and outlive Redis', async () => {
    const [first, second] = servers;
    const who = async (server, { headers }) => (await ask(server, '/api/v1/videos', { headers })).status;
    const one = await setUp(first);
    await eventually(async () => !(await ask(second, '/api/v1/auth/me')).value.open_use,
      'the other hears that there are users');
    const other = await signIn(second, 'ann');
    assert.equal(await who(first, one), 200);
    await eventually(() => redis.cli('KEYS', 'nexus:sessions:?*').length > 0, 'it is in Redis');
    assert.equal(await who(second, one), 200);
    const out = await ask(second, '/api/v1/auth/logout', { method: 'POST', headers: one.headers });
    assert.ok(out.status < 300, String(out.status));
    assert.equal(await who(second, one), 401);
    await eventually(async () => await who(first, one) === 401, 'it is over on the other');
    await redis.kill();
    for (const server of servers) {
      assert.equal(await who(server, other), 200);
      assert.equal(await who(server, one), 401);
    }
    await redis.start();
    for (const server of servers) {
      assert.equal(await who(server, other), 200);
      assert.equal(await who(server, one), 401);
    }
  });
});
