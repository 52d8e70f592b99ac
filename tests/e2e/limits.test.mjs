// How often somebody may ask: RateLimit-* in answers, 429 with Retry-After, each user, key and
// address for itself, also behind a real nginx.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { addKey, addUser, ask, json, setUp, signIn } from './lib/accounts.mjs';
import { scratch } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { freePort } from './lib/ports.mjs';
import { eventually, metric, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const nginx = ['/usr/sbin/nginx', '/usr/bin/nginx'].find((path) => existsSync(path));
if (nginx === undefined) {
  console.error('SKIPPED: there is no nginx (scripts/bootstrap test)');
}

/** Rates so low that nothing comes back while a test runs. */
const SLOW = { RATE_LIMIT_READ: '5/h', RATE_LIMIT_WRITE: '4/h', RATE_LIMIT_INFER: '3/h', RATE_LIMIT_AUTH: '3/h' };
const READ = '/api/v1/jobs';

function limits({ headers }) {
  const number = (name) => (headers.has(name) ? Number(headers.get(name)) : undefined);
  return { limit: number('ratelimit-limit'), remaining: number('ratelimit-remaining'), reset: number('ratelimit-reset') };
}

describe('limits on how often', { skip }, () => {
  let data;
  let server;
  let admin;
  let bob;
  let key;
  let ofBob;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    // users are made first, by a server without limits
    const args = ['--data-dir', data.path];
    const first = await startServer({ args, env: { RUN_JOBS: 'false', RATE_LIMIT: 'false' } });
    admin = await setUp(first, 'admin');
    await addUser(first, admin, 'bob', 'operator');
    bob = await signIn(first, 'bob');
    key = await addKey(first, admin, ['read', 'infer']);
    ofBob = await addKey(first, bob, ['read']);
    const without = await ask(first, READ, { headers: admin.headers });
    assert.deepEqual(limits(without), { limit: undefined, remaining: undefined, reset: undefined });
    assert.equal(await first.stop(), 0);
    server = await startServer({ args, env: { RUN_JOBS: 'false', TRUSTED_PROXIES: '127.0.0.1', ...SLOW } });
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  it('are counted down in headers, and refused with 429', async () => {
    for (let left = 4; left >= 0; left--) {
      const answer = await ask(server, READ, { headers: bob.headers });
      assert.equal(answer.status, 200);
      const { limit, remaining, reset } = limits(answer);
      assert.deepEqual([limit, remaining], [5, left]);
      assert.ok(reset > 720 * (4 - left) && reset <= 720 * (5 - left), `${reset}`);
    }
    const refused = await ask(server, READ, { headers: bob.headers });
    assert.equal(refused.status, 429);
    assert.equal(refused.headers.get('content-type'), 'application/problem+json');
    assert.equal(limits(refused).remaining, 0);
    const wait = Number(refused.headers.get('retry-after'));
    assert.ok(wait > 600 && wait <= 720, `${wait}`);
    assert.match(refused.value.detail, /of the kind 'read' came from this user/);
    assert.equal(await metric(server.url, 'rate_limited_total{class="read"}'), undefined); // it is for those who may
    const text = (await ask(server, '/metrics', { headers: admin.headers })).value;
    assert.match(text, /rate_limited_total\{class="read"\} 1\n/);
  });

  it('are of each user, each key and each kind of request', async () => {
    const mine = await ask(server, READ, { headers: admin.headers });
    assert.equal(mine.status, 200);
    const byKey = await ask(server, READ, { headers: key.headers });
    assert.deepEqual([byKey.status, limits(byKey).remaining], [200, 4]);
    // bob has nothing left to read, but may write: this id is none
    const write = await ask(server, '/api/v1/jobs/none/retry', { method: 'POST', headers: bob.headers });
    assert.equal(write.status, 404);
    assert.deepEqual([limits(write).limit, limits(write).remaining], [4, 3]);
    const infer = await ask(server, '/api/v1/inference/image', json('POST', {}, key.headers));
    assert.deepEqual([limits(infer).limit, limits(infer).remaining], [3, 2]);
    const open = await ask(server, '/health');
    assert.equal(limits(open).limit, undefined);
  });

  it('are of an address where nobody is known, whatever it says of itself', async () => {
    const from = (address) => ask(server, READ, { headers: { 'X-Forwarded-For': address } });
    for (let i = 0; i < 5; i++) {
      assert.equal((await from(`10.0.0.${i}, 192.0.2.7`)).status, 401);
    }
    assert.equal((await from('10.9.9.9, 192.0.2.7')).status, 429);
    assert.equal((await from('192.0.2.8')).status, 401);
    // of IPv6 by the network
    for (let i = 0; i < 5; i++) {
      assert.equal((await from(`2001:db8::${i}`)).status, 401);
    }
    const last = await from('2001:db8::99');
    assert.equal(last.status, 429);
    assert.match(last.value.detail, /from this address/);
    assert.equal((await from('2001:db8:0:1::1')).status, 401);
  });

  it('of signing in are by address, before any password is looked at', async () => {
    const login = (address) =>
      ask(server, '/api/v1/auth/login', json('POST', { name: 'bob', password: 'wrong horse' }, { 'X-Forwarded-For': address }));
    for (let i = 0; i < 3; i++) {
      assert.equal((await login('192.0.2.50')).status, 401);
    }
    assert.equal((await login('192.0.2.50')).status, 429);
    assert.equal((await login('192.0.2.51')).status, 401);
  });

  it('keep whoever tries out keys from the database', async () => {
    const guess = () => `nxk_${randomBytes(5).toString('hex')}_${randomBytes(32).toString('base64url')}`;
    const from = (headers) => ask(server, READ, { headers: { 'X-Forwarded-For': '192.0.2.60', ...headers } });
    const looks = async () => {
      const text = (await ask(server, '/metrics', { headers: metrics.headers })).value;
      return ['auth_looks_total{by="database"}', 'auth_refused_total']
        .map((name) => Number(text.split(`\n${name} `)[1].split('\n')[0]));
    };
    const [metrics, key] = [await addKey(server, admin, ['metrics']), await addKey(server, admin, ['read'])];
    assert.equal((await ask(server, READ, { headers: ofBob.headers })).status, 200);
    const [, before] = await looks();
    for (let left = 4; left >= 0; left--) {
      const answer = await from({ Authorization: `Bearer ${guess()}` });
      assert.deepEqual([answer.status, limits(answer).remaining], [401, left]);
    }
    assert.equal((await looks())[1], before + 5);
    // strangers who show no key have their own, and keep nobody from being looked up
    for (let i = 0; i < 6; i++) {
      await ask(server, READ, { headers: { 'X-Forwarded-For': '192.0.2.61' } });
    }
    assert.equal((await ask(server, READ, { headers: { ...key.headers, 'X-Forwarded-For': '192.0.2.61' } })).status, 200);
    for (let i = 0; i < 20; i++) { // whatever kind of token it is
      const shown = i % 2 === 0 ? { 'X-API-Key': guess() } : { Cookie: `nexus_session=nxs_${randomBytes(32).toString('base64url')}` };
      const answer = await from(shown);
      assert.equal(answer.status, 429);
      assert.match(answer.value.detail, /from this address/);
      assert.ok(Number(answer.headers.get('retry-after')) > 600);
    }
    // nor through a route that everybody may ask
    for (let i = 0; i < 5; i++) {
      assert.equal((await ask(server, '/health/ready', { headers: { 'X-Forwarded-For': '192.0.2.60', 'X-API-Key': guess() } })).status, 200);
    }
    assert.equal((await looks())[1], before + 5);
    // who was good here a moment ago is not kept out by a neighbour who guesses, nor pays for it
    for (let i = 0; i < 3; i++) {
      const answer = await from(ofBob.headers);
      assert.deepEqual([answer.status, limits(answer).remaining], [200, 3 - i]);
    }
  });

  it('are over after Retry-After', async () => {
    const quick = await startServer({
      args: ['--data-dir', data.path],
      env: { RUN_JOBS: 'false', RATE_LIMIT_READ: '1/s' },
    });
    let answer = { status: 200 };
    for (let i = 0; i < 1000 && answer.status === 200; i++) {
      answer = await ask(quick, READ, { headers: bob.headers });
    }
    assert.equal(answer.status, 429);
    assert.equal(answer.headers.get('retry-after'), '1');
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(answer.headers.get('retry-after'))));
    assert.equal((await ask(quick, READ, { headers: bob.headers })).status, 200);
    assert.equal(await quick.stop(), 0);
  });

  it('are taken anew on SIGHUP', async (t) => {
    const path = join(scratch(t), 'nexus.yaml');
    writeFileSync(path, 'rate_limit_read: 1/h\n');
    const told = await startServer({ args: ['--data-dir', data.path, '--config', path], env: { RUN_JOBS: 'false', LOG_FORMAT: '' } });
    const read = async () => {
      const answer = await ask(told, READ, { headers: bob.headers });
      return [answer.status, limits(answer).limit];
    };
    assert.deepEqual(await read(), [200, 1]);
    assert.deepEqual(await read(), [429, 1]);
    for (const [text, expected] of [['rate_limit_read: 2/h\n', [200, 2]], ['rate_limit: false\n', [200, undefined]]]) {
      const from = told.logs().length;
      writeFileSync(path, text);
      process.kill(told.pid, 'SIGHUP');
      await eventually(() => /SIGHUP: the configuration was read again/.test(told.logs().slice(from)), 'it is read again');
      assert.deepEqual(await read(), expected);
    }
    assert.equal(await told.stop(), 0);
  });

  it('hold behind nginx, where a client forges X-Forwarded-For', { skip: nginx === undefined && 'there is no nginx' }, async () => {
    // nginx speaks from an address of its own, so that its clients can be told from it
    const env = { RUN_JOBS: 'false', TRUSTED_PROXIES: '127.0.0.2', ...SLOW };
    const behind = await startServer({ args: ['--data-dir', data.path], env });
    const folder = mkdtempSync(join(tmpdir(), 'nexus-nginx-'));
    const port = await freePort();
    mkdirSync(join(folder, 'tmp'));
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/tmp/${kind};`);
    writeFileSync(join(folder, 'nginx.conf'), `
      daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr;
      events { worker_connections 64; }
      http {
        access_log off; ${paths.join(' ')}
        server {
          listen 127.0.0.1:${port};
          location / {
            proxy_pass http://127.0.0.1:${behind.port};
            proxy_bind 127.0.0.2;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
          }
        }
      }`);
    const proxy = spawn(nginx, ['-c', join(folder, 'nginx.conf'), '-p', folder], { stdio: 'ignore' });
    const gone = new Promise((resolve) => proxy.once('exit', resolve));
    try {
      const through = { url: `http://127.0.0.1:${port}` };
      await eventually(async () => (await ask(through, '/health').catch(() => ({}))).status === 200, 'nginx serves');
      const statuses = [];
      for (let i = 0; i < 6; i++) {
        const { status } = await ask(through, READ, { headers: { 'X-Forwarded-For': `127.0.0.2, 192.0.2.${i}` } });
        statuses.push(status);
      }
      assert.deepEqual(statuses, [401, 401, 401, 401, 401, 429]);
      // straight to the server it is the same client, whose word is not believed there either
      const straight = { headers: { 'X-Forwarded-For': '192.0.2.99' } };
      assert.equal((await ask(behind, READ, straight)).status, 429);
      assert.equal((await ask(through, READ, { headers: bob.headers })).status, 200);
    } finally {
      proxy.kill('SIGTERM');
      await gone;
      rmSync(folder, { recursive: true });
      assert.equal(await behind.stop(), 0);
    }
  });
});
