// Accounts over HTTP on the real binary: open use and its end, signing in, sessions, keys, forgery.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { PASSWORD, addKey, addUser, ask, cookieOf, json, session, setUp, setUpToken, signIn } from './lib/accounts.mjs';
import { assertRefused, nexus } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const MODELS = { 'yolov8n.onnx': 'models/yolov8n.onnx' };

async function start(data, env = {}) {
  return startServer({ args: ['--data-dir', data.path], env: { RUN_JOBS: 'false', ...env } });
}

/** As fetch, which does not let a Host be chosen. Resolves to {status, value}. */
function askAs(server, path, headers, method = 'GET') {
  return new Promise((resolve, reject) => {
    const asked = httpRequest(server.url + path, { method, headers }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      answer.on('end', () => resolve({ status: answer.statusCode, value: JSON.parse(text) }));
    });
    asked.once('error', reject);
    asked.end();
  });
}

/** Says it byte for byte, and everything that comes back until the server closes. */
function exchange(server, text) {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1', () => socket.write(text));
    let heard = '';
    socket.setEncoding('latin1').on('data', (chunk) => {
      heard += chunk;
    });
    socket.once('error', reject);
    socket.once('close', () => resolve(heard));
  });
}

describe('open use', { skip }, () => {
  let data;
  let server;

  before(async () => {
    data = makeDataDir(MODELS);
    server = await start(data);
  });
  after(async () => {
    await server?.stop();
    data?.remove();
  });

  it('lets this machine do everything, and says so', async () => {
    const me = await ask(server, '/api/v1/auth/me');
    assert.equal(me.status, 200);
    assert.deepEqual([me.value.kind, me.value.open_use, me.value.role], ['local', true, 'admin']);
    assert.deepEqual((await ask(server, '/api/v1/auth/setup')).value, { needed: true });
    assert.equal((await ask(server, '/api/v1/models')).status, 200);
    assert.ok((await ask(server, '/health/ready')).value.model, 'with all details');
    await eventually(() => /open use/.test(server.logs()), 'the log says so');
    await setUpToken(server);
    const page = await ask(server, '/setup');
    assert.match(page.value, /<title>Nexus<\/title>/);
  });

  it('is for localhost alone: a name that was made to mean it is refused (DNS rebinding)', async () => {
    for (const host of ['evil.example', 'evil.example:8000', '192.0.2.1', '127.0.0.1.evil.example', 'localhost.evil.example']) {
      const { status, value } = await askAs(server, '/api/v1/models', { Host: host });
      assert.equal(status, 403, host);
      assert.match(value.detail, /answers to localhost/);
      assert.match(value.advice, /nexus users add/);
      assert.equal((await askAs(server, '/metrics', { Host: host })).status, 403, host);
    }
    for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.1:8000', '127.9.9.9', '[::1]:8000', `127.0.0.1:${server.port}`]) {
      assert.equal((await askAs(server, '/api/v1/models', { Host: host })).status, 200, host);
    }
  });

  it('takes nothing from pages of other sites, nor through proxies', async () => {
    for (const headers of [
      { Origin: 'https://evil.example' },
      { Origin: 'null' },
      { Origin: 'http://localhost.evil.example' },
      { 'X-Forwarded-For': '192.0.2.1' },
      { Forwarded: 'for=192.0.2.1' },
    ]) {
      for (const method of ['GET', 'POST']) {
        const { status } = await ask(server, '/api/v1/models', { method, headers });
        assert.equal(status, 403, JSON.stringify(headers));
      }
      const me = await ask(server, '/api/v1/auth/me', { headers });
      assert.equal(me.value.kind, 'anonymous', JSON.stringify(headers));
    }
    assert.equal((await ask(server, '/api/v1/models', { headers: { Origin: 'http://localhost:3000' } })).status, 200);
  });

  it('refuses to start where others can reach it', async () => {
    for (const host of ['0.0.0.0', '::', '']) {
      const args = ['serve', '--port', '0', '--data-dir', data.path, '--host', host];
      assertRefused(await nexus(args), 3, /others can reach '.*', and there are no users yet: make an admin with 'nexus users add/);
    }
  });

  it('keeps nobody who has no token from being the first admin', async () => {
    const good = { name: 'ann', password: PASSWORD };
    const post = (value) => ask(server, '/api/v1/auth/setup', json('POST', value));
    assert.equal((await post({ ...good, token: 'nxi_wrong' })).status, 403);
    assert.equal((await post({ ...good, token: '' })).status, 403);
    assert.equal((await post(good)).status, 422);
    const token = await setUpToken(server);
    assert.equal((await post({ token, name: 'ann', password: 'short' })).status, 422);
    assert.equal((await post({ token, name: 'no\r\nSet-Cookie: x=y', password: PASSWORD })).status, 422);
    assert.equal((await ask(server, '/api/v1/auth/me')).value.kind, 'local', 'still');
  });

  it('ends with the first user, whose set-up link works once', async () => {
    const token = await setUpToken(server);
    const admin = await setUp(server);
    assert.deepEqual([admin.me.name, admin.me.role, admin.me.open_use], ['ann', 'admin', false]);
    assert.equal((await ask(server, '/api/v1/models')).status, 401);
    assert.equal((await ask(server, '/api/v1/models', { headers: admin.cookie })).status, 200);
    assert.deepEqual((await ask(server, '/api/v1/auth/setup')).value, { needed: false });
    const again = await ask(server, '/api/v1/auth/setup', json('POST', { token, name: 'eve', password: PASSWORD }));
    assert.equal(again.status, 403);
    assert.equal((await ask(server, '/api/v1/users', { headers: admin.cookie })).value.items.length, 1);
  });

  it('needs no link any more, and may be reached by others, once there are users', async () => {
    assert.equal(await server.stop(), 0);
    server = await startServer({ args: ['--data-dir', data.path, '--host', '0.0.0.0'], env: { RUN_JOBS: 'false' } });
    assert.equal((await ask(server, '/api/v1/models')).status, 401);
    assert.equal((await ask(server, '/metrics')).status, 200, 'programs on this machine read metrics');
    const far = { 'X-Forwarded-For': '192.0.2.1' };
    assert.equal((await ask(server, '/metrics', { headers: far })).status, 401, 'others do not');
    const { cookie } = await signIn(server, 'ann');
    const named = await askAs(server, '/api/v1/models', { ...cookie, Host: 'nexus.example' });
    assert.equal(named.status, 200);
    await server.stop();
    assert.doesNotMatch(server.logs(), /setup#/);
    server = undefined;
  });
});

describe('accounts', { skip }, () => {
  let data;
  let server;
  let admin;

  before(async () => {
    data = makeDataDir(MODELS);
    // the tests come from addresses that they choose, so that locked ones do not get in their way
    server = await start(data, { TRUSTED_PROXIES: '127.0.0.1' });
    admin = await setUp(server);
    await addUser(server, admin, 'vic', 'viewer');
    await addUser(server, admin, 'olga', 'operator');
  });
  after(async () => {
    await server?.stop();
    data?.remove();
  });

  const me = async (headers) => (await ask(server, '/api/v1/auth/me', { headers })).value;
  const get = (path, who) => ask(server, path, { headers: who?.headers ?? {} });
  const login = (name, password, headers) =>
    ask(server, '/api/v1/auth/login', json('POST', { name, password }, headers));

  it('signs in with a cookie that scripts and other sites do not get', async () => {
    const secure = cookieOf(await login('vic', PASSWORD, { 'X-Forwarded-Proto': 'https' }));
    assert.equal(secure.Secure, true, 'behind TLS');
    const answer = await login('vic', PASSWORD);
    const cookie = cookieOf(answer);
    assert.match(cookie.value, /^nxs_[\w-]{43}$/);
    assert.deepEqual([cookie.HttpOnly, cookie.SameSite, cookie.Path, cookie.Secure], [true, 'Strict', '/', undefined]);
    assert.ok(Number(cookie['Max-Age']) > 3600);
    assert.deepEqual([answer.value.kind, answer.value.name, answer.value.role], ['session', 'vic', 'viewer']);
    assert.deepEqual(answer.value.scopes, ['read', 'metrics']);
    assert.equal(answer.headers.get('cache-control'), 'no-store');
    const { cookie: headers } = session(answer);
    assert.equal((await me(headers)).name, 'vic');
    assert.equal((await me({ Cookie: `xnexus_session=${cookie.value}` })).kind, 'anonymous');
    assert.equal((await me({ Cookie: `a=b; nexus_session=${cookie.value}; c=d` })).name, 'vic');
  });

  it('does not tell a wrong name from a wrong password', async () => {
    const answers = [await login('vic', 'not the password'), await login('nobody-here', PASSWORD)];
    for (const { status, headers, value } of answers) {
      assert.equal(status, 401);
      assert.equal(headers.getSetCookie().length, 0);
      assert.match(headers.get('www-authenticate'), /^Bearer/);
      const { request_id: _, trace_id: __, ...rest } = value;
      assert.deepEqual(rest, {
        type: 'about:blank',
        title: 'Unauthorized',
        status: 401,
        detail: 'name or password is wrong',
        advice: 'Check both, and try again.',
        instance: '/api/v1/auth/login',
      });
    }
  });

  it('never adopts a session that a client brings (fixation)', async () => {
    const planted = `nxs_${'A'.repeat(43)}`;
    const answer = await login('vic', PASSWORD, { Cookie: `nexus_session=${planted}` });
    assert.notEqual(cookieOf(answer).value, planted);
    assert.equal((await me({ Cookie: `nexus_session=${planted}` })).kind, 'anonymous');
    const before = await signIn(server, 'vic');
    const again = await login('vic', PASSWORD, before.headers);
    assert.notEqual(cookieOf(again).value, before.token, 'a new one each time');
    const both = `nexus_session=${planted}; nexus_session=${before.token}`;
    assert.equal((await me({ Cookie: both })).kind, 'anonymous', 'two of them are not believed');
  });

  it('ends a session at sign-out, and takes the cookie back', async () => {
    const vic = await signIn(server, 'vic');
    const out = await ask(server, '/api/v1/auth/logout', { method: 'POST', headers: vic.headers });
    assert.equal(out.status, 204);
    assert.deepEqual([cookieOf(out).value, cookieOf(out)['Max-Age']], ['', '0']);
    const refused = await get('/api/v1/models', vic);
    assert.equal(refused.status, 401);
    assert.match(refused.headers.get('www-authenticate'), /error="invalid_token"/);
    assert.equal(cookieOf(await get('/api/v1/auth/me', vic)).value, '', 'a browser forgets it');
    assert.equal((await ask(server, '/api/v1/auth/logout', { method: 'POST' })).status, 204, 'without one');
  });

  it('refuses forged tokens of every kind', async () => {
    const { token } = await signIn(server, 'vic');
    const { key } = await addKey(server, admin, ['read']);
    const flip = (text) => text.slice(0, -1) + (text.endsWith('A') ? 'B' : 'A');
    const forged = [
      { Cookie: `nexus_session=${flip(token)}` },
      { Cookie: `nexus_session=${token}x` },
      { Cookie: 'nexus_session=' },
      { Cookie: `nexus_session=${key}` },
      { Cookie: `nexus_session=${'x'.repeat(4000)}` },
      { Cookie: `nexus_session=${token.slice(0, -2)}'--` },
      { Authorization: `Bearer ${flip(key)}` },
      { Authorization: `Bearer ${token}` },
      { Authorization: 'Bearer ' },
      { 'X-API-Key': `${key}x` },
      { 'X-API-Key': token },
      { 'X-API-Key': `nxk_' OR 1=1 --` },
    ];
    for (const headers of forged) {
      const { status } = await ask(server, '/api/v1/models', { headers });
      assert.equal(status, 401, JSON.stringify(headers));
    }
    for (const headers of [{ Authorization: `bearer ${key}` }, { 'X-API-Key': key }]) {
      assert.equal((await me(headers)).kind, 'key');
    }
    // a proxy's own password is none of ours
    const basic = { Authorization: 'Basic dXNlcjpwYXNz', Cookie: `nexus_session=${token}` };
    assert.equal((await me(basic)).name, 'vic');
  });

  it('lets a password be changed by who knows the old one, which ends the other sessions', async () => {
    await addUser(server, admin, 'pat', 'viewer');
    const here = await signIn(server, 'pat');
    const there = await signIn(server, 'pat');
    const key = await addKey(server, here, ['read']);
    const change = (value) => ask(server, '/api/v1/auth/password', json('POST', value, here.headers));
    assert.equal((await change({ old_password: 'wrong', new_password: 'another long one' })).status, 401);
    assert.equal((await change({ old_password: PASSWORD, new_password: 'short' })).status, 422);
    assert.equal((await change({ old_password: PASSWORD })).status, 422);
    assert.equal((await change({ old_password: PASSWORD, new_password: 'another long one' })).status, 204);
    assert.equal((await get('/api/v1/models', here)).status, 200);
    assert.equal((await get('/api/v1/models', key)).status, 200);
    assert.equal((await get('/api/v1/models', there)).status, 401);
    assert.equal((await login('pat', PASSWORD)).status, 401);
    await signIn(server, 'pat', 'another long one');
    const by = json('POST', { old_password: PASSWORD, new_password: PASSWORD }, key.headers);
    assert.equal((await ask(server, '/api/v1/auth/password', by)).status, 403, 'not with a key');
  });

  it('locks a name after five failures, right password or not, and says when to come back', async () => {
    await addUser(server, admin, 'lou', 'viewer');
    const from = (address) => ({ 'X-Forwarded-For': address });
    for (let i = 0; i < 5; i += 1) {
      assert.equal((await login('lou', 'wrong password', from('192.0.2.7'))).status, 401);
    }
    for (const [name, address] of [['lou', '192.0.2.8'], ['olga', '192.0.2.7']]) {
      const locked = await login(name, PASSWORD, from(address));
      assert.equal(locked.status, 429, `${name} from ${address}`);
      assert.ok(Number(locked.headers.get('retry-after')) > 0);
    }
    assert.equal((await login('olga', PASSWORD, from('192.0.2.8'))).status, 200);
    const reset = json('PATCH', { password: 'another long one' }, admin.headers);
    assert.equal((await ask(server, '/api/v1/users/lou', reset)).status, 200);
    assert.equal((await login('lou', 'another long one', from('192.0.2.8'))).status, 200);
  });

  it('takes changes with a cookie from its own page alone (CSRF)', async () => {
    const key = await addKey(server, admin, ['admin', 'read']);
    const change = (headers) => ask(server, '/api/v1/keys/none', { method: 'DELETE', headers });
    const host = new URL(server.url).host;
    const refused = [
      {},
      { 'X-CSRF-Token': 'wrong' },
      { Origin: 'https://evil.example' },
      { Origin: 'null' },
      { Origin: `http://${host}.evil.example` },
      { 'Sec-Fetch-Site': 'cross-site', Origin: server.url },
      { 'Sec-Fetch-Site': 'same-site' },
    ];
    for (const headers of refused) {
      const { status, value } = await change({ ...admin.cookie, ...headers });
      assert.equal(status, 403, JSON.stringify(headers));
      assert.match(value.advice, /X-CSRF-Token/);
    }
    const csrf = { 'X-CSRF-Token': admin.me.csrf_token };
    for (const headers of [csrf, { Origin: server.url }, { 'Sec-Fetch-Site': 'same-origin' }]) {
      assert.equal((await change({ ...admin.cookie, ...headers })).status, 404, JSON.stringify(headers));
    }
    const other = await signIn(server, 'olga');
    const swapped = { ...admin.cookie, 'X-CSRF-Token': other.me.csrf_token };
    assert.equal((await change(swapped)).status, 403, "another session's");
    assert.equal((await change({ ...key.headers, Origin: 'https://evil.example' })).status, 404, 'keys are exempt');
    const planted = json('POST', { name: 'vic', password: PASSWORD }, { Origin: 'https://evil.example' });
    assert.equal((await ask(server, '/api/v1/auth/login', planted)).status, 403, 'nor signs anybody in');
    const look = { headers: { ...admin.cookie, Origin: 'https://evil.example' } };
    assert.equal((await get('/api/v1/models', look)).status, 200, 'looking is no change');
  });

  it('keeps keys within their scopes, their time and their user', async () => {
    const read = await addKey(server, admin, ['read'], { expires_in_s: 3600 });
    assert.equal(new Date(read.expires_at) - new Date(read.created_at), 3_600_000);
    assert.equal((await get('/api/v1/models', read)).status, 200);
    const denied = await ask(server, '/api/v1/models/yolov8n/load', { method: 'POST', headers: read.headers });
    assert.equal(denied.status, 403);
    assert.match(denied.value.detail, /needs the scope models/);
    assert.match(denied.headers.get('www-authenticate'), /error="insufficient_scope", scope="models"/);
    assert.equal((await get('/api/v1/keys', read)).status, 403, 'only with the scope admin');

    const brief = await addKey(server, admin, ['read'], { expires_in_s: 1 });
    await eventually(async () => (await get('/api/v1/models', brief)).status === 401, 'it is over');

    const listed = (await get('/api/v1/keys', admin)).value.items.find(({ id }) => id === read.id);
    assert.equal(listed.key, undefined, 'the secret is shown once');
    const revoke = await ask(server, `/api/v1/keys/${read.id}`, { method: 'DELETE', headers: admin.headers });
    assert.equal(revoke.status, 204);
    assert.equal((await get('/api/v1/models', read)).status, 401);
    const wrongs = [
      { scopes: [] },
      { scopes: ['root'] },
      { scopes: 'read' },
      { scopes: ['read'], expires_in_s: 0 },
      { scopes: ['read'], name: '' },
      { scopes: ['read'], name: 'a\nb' },
      { scopes: ['read'], admin: true },
    ];
    for (const wrong of wrongs) {
      const { status } = await ask(server, '/api/v1/keys', json('POST', { name: 'k', ...wrong }, admin.headers));
      assert.equal(status, 422, JSON.stringify(wrong));
    }
  });

  it('lets nobody but admins reach for the keys of others', async () => {
    const key = await addKey(server, admin, ['read'], { user: 'vic' });
    assert.equal(key.user, 'vic');
    assert.equal((await me(key.headers)).name, 'vic');
    const others = await ask(server, '/api/v1/keys', json('POST', { name: 'k', scopes: ['infer'], user: 'vic' }, admin.headers));
    assert.equal(others.status, 422, 'more than the role of vic');
    assert.equal((await get('/api/v1/keys?user=vic', admin)).value.items.length, 1);
    assert.ok((await get('/api/v1/keys?user=*', admin)).value.items.length > 1);
    assert.equal((await get('/api/v1/keys?user=nobody-here', admin)).status, 404);
  });

  it('changes users at once, and leaves an admin', async () => {
    const kim = await addUser(server, admin, 'Kim', 'operator');
    const key = await addKey(server, admin, ['read', 'models'], { user: 'kim' });
    const patch = (who, value) => ask(server, `/api/v1/users/${who}`, json('PATCH', value, admin.headers));
    const load = () => ask(server, '/api/v1/models/none/load', { method: 'POST', headers: key.headers });
    assert.equal((await load()).status, 404);
    assert.equal((await patch(kim.id, { role: 'viewer' })).value.role, 'viewer');
    assert.equal((await load()).status, 403);
    assert.equal((await patch('KIM', { disabled: true })).value.disabled, true);
    assert.equal((await load()).status, 401);
    assert.equal((await patch('kim', {})).status, 422);
    assert.equal((await patch('kim', { role: 'root' })).status, 422);
    assert.equal((await patch('nobody-here', { role: 'viewer' })).status, 404);
    assert.equal((await patch('ann', { role: 'viewer' })).status, 409);
    assert.equal((await patch('ann', { disabled: true })).status, 409);
    const remove = (who) => ask(server, `/api/v1/users/${who}`, { method: 'DELETE', headers: admin.headers });
    assert.equal((await remove('ann')).status, 409);
    assert.equal((await remove('kim')).status, 204);
    assert.equal((await remove('kim')).status, 404);
    const twice = json('POST', { name: 'VIC', password: PASSWORD, role: 'viewer' }, admin.headers);
    assert.equal((await ask(server, '/api/v1/users', twice)).status, 409);
    const { value: page } = await get('/api/v1/users?limit=1', admin);
    assert.equal(page.items.length, 1);
    const { value: next } = await get(`/api/v1/users?cursor=${page.next_cursor}`, admin);
    assert.ok(next.items.every(({ name }) => name !== page.items[0].name));
  });

  it('holds against names and bodies that try for more', async () => {
    const post = (body, type = 'application/json') =>
      ask(server, '/api/v1/users', { method: 'POST', headers: { ...admin.headers, 'Content-Type': type }, body });
    const user = (name) => JSON.stringify({ name, password: PASSWORD, role: 'viewer' });
    for (const name of ['a\r\nSet-Cookie: x=y', 'a b', '', 'x'.repeat(65), "'; DROP TABLE users; --", '../../etc/passwd', 'a\u0000b', '<script>']) {
      const { status, headers } = await post(user(name));
      assert.ok([400, 422].includes(status), name);
      assert.equal(headers.getSetCookie().length, 0);
    }
    assert.equal((await post('[]')).status, 400);
    assert.equal((await post('{"name": ')).status, 400);
    assert.equal((await post('['.repeat(5000))).status, 400);
    assert.equal((await post('{"name":"a","name":"b"}')).status, 400);
    assert.equal((await post(JSON.stringify({ name: 'x'.repeat(9000) }))).status, 413);
    assert.equal((await post(user('fine'), 'text/plain')).status, 415);
    assert.equal((await post('{"name":"a","password":"b","role":"viewer","id":1}')).status, 422);
    assert.ok((await get('/api/v1/users', admin)).value.items.length >= 3, 'the table is there');
  });

  it('refuses a stranger before the body, and reads nothing behind it', async () => {
    const text =
      'POST /api/v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n' +
      'Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n';
    const heard = await exchange(server, text);
    assert.match(heard, /^HTTP\/1\.1 401 /);
    assert.doesNotMatch(heard, /100 Continue/);
    const smuggled = await exchange(
      server,
      `POST /api/v1/users HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer nxk_aaaaaaaaaa_${'b'.repeat(43)}\r\n` +
        'Content-Length: 200\r\n\r\nGET /health HTTP/1.1\r\nHost: localhost\r\n\r\n',
    );
    assert.match(smuggled, /^HTTP\/1\.1 401 /);
    assert.equal(smuggled.match(/HTTP\/1\.1 /g).length, 1);
  });

  it('shows strangers that it is alive and ready, and no more', async () => {
    assert.equal((await ask(server, '/health')).status, 200);
    assert.deepEqual(Object.keys((await ask(server, '/health/ready')).value), ['status', 'version']);
    assert.ok((await get('/health/ready', admin)).value.model);
    assert.equal((await ask(server, '/metrics')).status, 401, 'it comes through a proxy');
    const metrics = await addKey(server, admin, ['metrics']);
    assert.equal((await get('/metrics', metrics)).status, 200);
    for (const path of ['/', '/docs', '/openapi.json', '/setup', '/v2/health/live']) {
      assert.equal((await ask(server, path)).status, 200, path);
    }
    const kserve = await ask(server, '/v2/models/yolov8n');
    assert.equal(kserve.status, 401);
    assert.deepEqual(Object.keys(kserve.value), ['error']);
  });

  it("makes videos and jobs their maker's, each with Idempotency-Keys of its own", async () => {
    const body = readFileSync(sharedPath('videos/car-detection.mp4'));
    const ids = [];
    for (const name of ['olga', 'ann']) {
      const { headers } = await addKey(server, admin, ['read', 'infer', 'videos'], { user: name });
      const video = await ask(server, '/api/v1/videos', { method: 'POST', headers: { ...headers, 'Content-Type': 'video/mp4' }, body });
      assert.equal(video.status, 201, JSON.stringify(video.value));
      const order = json('POST', { video_id: video.value.id }, { ...headers, 'Idempotency-Key': 'one' });
      const job = await ask(server, '/api/v1/videos/process', order);
      assert.equal(job.status, 202, JSON.stringify(job.value));
      assert.equal((await ask(server, '/api/v1/videos/process', order)).value.id, job.value.id);
      ids.push(job.value.id);
    }
    assert.notEqual(ids[0], ids[1]);
  });
});
