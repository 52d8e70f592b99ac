// Limits that several processes have in common: of one host in memory, of several through Redis,
// which may go and come back.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';
import { nexus } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutRedis, startRedis } from './lib/redis.mjs';
import { eventually, skipWithoutShared, startServer } from './lib/server.mjs';

const LIMIT = 6;
/** Nothing comes back while a test runs; clients are told apart by what their proxy says. */
const ENV = { RUN_JOBS: 'false', TRUSTED_PROXIES: '127.0.0.1', RATE_LIMIT_INFER: `${LIMIT}/h` };

/** A data folder with a user, so that strangers are limited. */
async function folderWithUser() {
  const data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
  const { code, stderr } = await nexus(['users', 'add', 'ann', '--role', 'admin', '--data-dir', data.path],
    { input: 'correct horse battery' });
  assert.equal(code, 0, stderr);
  const key = await nexus(['keys', 'add', 'metrics', '--user', 'ann', '--scopes', 'metrics', '--data-dir', data.path]);
  assert.equal(key.code, 0, key.stderr);
  return { ...data, key: key.stdout.trim() };
}

let clients = 0;
/** An address that nobody has asked from. */
const nextClient = () => `198.51.100.${++clients}`;

/** Asks on a connection of its own: true for let through (and 401), false for 429. */
function passes({ port }, client) {
  return new Promise((resolve, reject) => {
    const request = http.request({
      port, agent: false, method: 'POST', path: '/api/v1/inference/image',
      headers: { 'X-Forwarded-For': client, 'Content-Length': 0 },
    }, (response) => {
      response.resume();
      response.on('end', () => {
        try {
          assert.ok([401, 429].includes(response.statusCode), `${response.statusCode}`);
          assert.equal(response.headers['ratelimit-limit'], `${LIMIT}`);
          assert.equal(response.headers['retry-after'] !== undefined, response.statusCode === 429);
          resolve(response.statusCode === 401);
        } catch (error) {
          reject(error);
        }
      });
    });
    request.on('error', reject);
    request.end();
  });
}

/** How many of so many requests in turns pass. */
async function count(servers, client, asks = 20) {
  let passed = 0;
  for (let i = 0; i < asks; i++) {
    passed += await passes(servers[i % servers.length], client);
  }
  return passed;
}

describe('workers of one server', { skip: skipWithoutShared() }, () => {
  it('have one limit, to the request', async () => {
    const data = await folderWithUser();
    const server = await startServer({ args: ['--data-dir', data.path], env: { ...ENV, WORKERS: '2' } });
    try {
      const asked = await Promise.all(Array.from({ length: 40 }, () => passes(server, '198.51.100.200')));
      assert.equal(asked.filter(Boolean).length, LIMIT);
    } finally {
      assert.equal(await server.stop(), 0);
      data.remove();
    }
  });
});

describe('servers with one Redis', { skip: skipWithoutShared() || skipWithoutRedis() }, () => {
  let data;
  let redis;
  let servers = [];

  before(async () => {
    data = await folderWithUser();
    redis = await startRedis();
    const options = { args: ['--data-dir', data.path], env: { ...ENV, REDIS_URL: redis.url } };
    servers = await Promise.all([startServer(options), startServer(options)]);
  });
  after(async () => {
    for (const server of servers) {
      assert.equal(await server.stop(), 0);
    }
    await redis?.remove();
    data?.remove();
  });

  const counter = (series) => Promise.all(servers.map(async ({ url }) => {
    const answer = await fetch(`${url}/metrics`, { headers: { 'X-API-Key': data.key } });
    const line = (await answer.text()).split('\n').find((text) => text.startsWith(`${series} `));
    return Number(line?.split(' ')[1] ?? 0);
  }));
  const shared = (outcome) => counter(`rate_limit_shared_total{outcome="${outcome}"}`);
  /** How many of 20 at once pass. */
  const countAtOnce = async (server, client) =>
    (await Promise.all(Array.from({ length: 20 }, () => passes(server, client)))).filter(Boolean).length;

  /**
   * A new client asks both in turns: what passes is the limit, and at most a share (here one) of
   * each more. Again when Redis was too slow for this machine, and a server counted by itself.
   */
  async function haveOneLimit() {
    await eventually(async () => {
      const alone = await shared('alone');
      const client = nextClient();
      const passed = await count(servers, client);
      if (`${await shared('alone')}` !== `${alone}`) {
        return false;
      }
      assert.ok(passed >= LIMIT && passed <= LIMIT + servers.length, `${passed} passed`);
      assert.equal(await count(servers, client, 4), 0);
      return true;
    }, 'both count together', 60_000);
  }

  it('have one limit', async () => {
    await haveOneLimit();
    for (const told of await shared('told')) {
      assert.ok(told > 0);
    }
  });

  it('let those wait who ask faster than it is told', async () => {
    await eventually(async () => {
      assert.equal(await countAtOnce(servers[0], nextClient()), LIMIT);
      return (await counter('rate_limit_waits_total'))[0] > 0;
    }, 'somebody waits', 60_000);
  });

  it('answer while it hangs', async () => {
    redis.stop();
    try {
      for (const server of servers) {
        assert.equal(await countAtOnce(server, nextClient()), LIMIT);
      }
    } finally {
      redis.goOn();
    }
    await eventually(async () => {
      const told = await shared('told');
      await count(servers, nextClient(), 2);
      return (await shared('told')).every((value, i) => value > told[i]);
    }, 'both have found it again', 60_000);
    await haveOneLimit();
  });

  it('go on by themselves without it, and together when it is back', async () => {
    await redis.kill();
    const client = nextClient();
    for (const server of servers) {
      assert.equal(await count([server], client, 10), LIMIT);
    }
    const told = await shared('told');
    await redis.start();
    await eventually(async () => {
      await count(servers, nextClient(), 2);
      return (await shared('told')).every((value, i) => value > told[i]);
    }, 'both have found it', 60_000);
    await haveOneLimit();
    // what each has counted meanwhile it has not forgotten
    assert.equal(await count(servers, client, 4), 0);
  });
});
