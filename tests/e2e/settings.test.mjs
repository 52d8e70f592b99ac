// GET /api/v1/settings: what a server runs with, for admins, before and after SIGHUP.

import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { addKey, addUser, ask, setUp, signIn } from './lib/accounts.mjs';
import { nexus } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { eventually, skipWithoutShared, startServer } from './lib/server.mjs';

describe('the settings', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  let admin;
  let path;
  const env = {
    RUN_JOBS: 'false', NEXUS_PROFILE: 'small', AWS_SECRET_ACCESS_KEY: 'geheim', DATABASE_URL: '', OBJECTS_URL: '',
    REDIS_URL: '', TRUSTED_PROXIES: '127.0.0.1',
  };

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    const folder = join(data.path, 'etc');
    mkdirSync(folder);
    path = join(folder, 'nexus.yaml');
    writeFileSync(join(folder, 'secret'), 'auch geheim\n', { mode: 0o600 });
    writeFileSync(path, 'max_detections: 7\nwebhook_secret_file: secret\n');
    server = await startServer({ args: ['--data-dir', data.path, '--config', path], env });
    admin = await setUp(server, 'ann');
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  async function settings(headers = admin.headers) {
    const { status, value, headers: answered } = await ask(server, '/api/v1/settings', { headers });
    assert.equal(status, 200, JSON.stringify(value));
    assert.equal(answered.get('cache-control'), 'no-store');
    return { list: value.items, by: Object.fromEntries(value.items.map((item) => [item.name, item])) };
  }

  it('are told with value, origin and what they may be', async () => {
    const { by } = await settings();
    assert.deepEqual(by.max_detections, {
      name: 'max_detections', environment: 'NEXUS_MAX_DETECTIONS', value: '7', is_set: true, origin: `${path}:1`,
      source: 'file', default: '300', description: 'most detections for one picture', reloadable: true, secret: false,
      type: 'integer', unit: null, minimum: 1, maximum: 10000, choices: null,
    });
    assert.deepEqual(by.port.source, 'option');
    assert.deepEqual([by.profile.value, by.profile.source], ['small', 'environment']);
    assert.deepEqual([by.db_pool_size.value, by.db_pool_size.origin, by.db_pool_size.source], ['20', 'profile small', 'profile']);
    assert.deepEqual([by.cache_bytes.unit, by.cache_bytes.type], ['bytes', 'size']);
    assert.deepEqual([by.keepalive.source, by.keepalive.unit, by.keepalive.reloadable], ['default', 'seconds', false]);
    assert.deepEqual(by.log_level.choices, ['debug', 'info', 'warning', 'error']);
    assert.deepEqual([by.rate_limit.type, by.rate_limit.choices], ['boolean', ['true', 'false']]);
    assert.deepEqual([by.db_pool_timeout.minimum, by.db_pool_timeout.maximum], [0.1, 3600]);
  });

  it('never tell a secret, only that there is one', async () => {
    const { list, by } = await settings();
    assert.deepEqual([by.webhook_secret.value, by.webhook_secret.source, by.webhook_secret.is_set], ['***', 'secret_file', true]);
    assert.deepEqual([by.s3_secret_key.value, by.s3_secret_key.source], ['***', 'environment']);
    assert.deepEqual([by.redis_url.value, by.redis_url.is_set, by.redis_url.secret], ['', false, true]);
    assert.doesNotMatch(JSON.stringify(list), /geheim/);
  });

  it('are those that nexus check tells, in its order', async () => {
    const { list } = await settings();
    const args = ['check', '--format', 'json', '--data-dir', data.path, '--config', path];
    const { configuration } = JSON.parse((await nexus(args, { env })).stdout);
    assert.deepEqual(configuration.map(({ name }) => name), list.map(({ name }) => name));
    const found = configuration.find(({ name }) => name === 'max_detections');
    assert.deepEqual(found, list.find(({ name }) => name === 'max_detections'));
  });

  it('are for admins alone', async () => {
    for (const role of ['viewer', 'operator']) {
      await addUser(server, admin, role, role);
      const { headers } = await signIn(server, role);
      assert.equal((await ask(server, '/api/v1/settings', { headers })).status, 403, role);
    }
    const scopes = ['read', 'infer', 'videos', 'models', 'metrics'];
    const narrow = await addKey(server, admin, scopes);
    assert.equal((await ask(server, '/api/v1/settings', { headers: narrow.headers })).status, 403);
    const wide = await addKey(server, admin, ['admin']);
    assert.equal((await settings(wide.headers)).by.max_detections.value, '7');
    assert.equal((await ask(server, '/api/v1/settings')).status, 401);
  });

  it('are what SIGHUP has taken', async () => {
    writeFileSync(path, '\nmax_detections: 8\nbacklog: 7\nwebhook_secret_file: secret\n');
    process.kill(server.pid, 'SIGHUP');
    await eventually(() => /SIGHUP: the configuration was read again/.test(server.logs()), 'it is read again', 60_000);
    const { by } = await settings();
    assert.deepEqual([by.max_detections.value, by.max_detections.origin], ['8', `${path}:2`]);
    assert.deepEqual([by.backlog.value, by.backlog.origin], ['2048', 'default'], 'it needs a restart');
  });
});
