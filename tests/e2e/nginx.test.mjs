// nginx with TLS in front of a server, with the files of deploy/nginx and a certificate made here: what
// is encrypted and how, HTTP/2, who the client is, bodies and events that are not held up, limits, and
// certificates that have ended or are replaced.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import tls from 'node:tls';
import { addKey, ask, json, setUp } from './lib/accounts.mjs';
import { makeClip, skipWithoutFfmpeg } from './lib/cameras.mjs';
import { nexus } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { makeCertificate, skipWithoutNginx, startNginx } from './lib/nginx.mjs';
import { eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared() || skipWithoutNginx() || skipWithoutFfmpeg();
const CLIENT = '127.0.0.9';
const PROXY = '127.0.0.8';
const DAY = 24 * 3600;
const env = { DATABASE_URL: '', OBJECTS_URL: '' };

describe('nginx with TLS', { skip }, () => {
  let data;
  let server;
  let front;
  let key;
  const bus = skip ? null : readFileSync(sharedPath('images/bus.jpg'));
  const cars = skip ? null : readFileSync(sharedPath('videos/car-detection.mp4'));

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/loop.mp4`, { seconds: 1 });
    server = await startServer({
      args: ['--data-dir', data.path],
      // what is at the proxy's address is the proxy; the test speaks to the server from another one
      env: { ...env, TRUSTED_PROXIES: PROXY, STREAM_FILES_DIR: data.path, PREFETCH_MULTIPLIER: '1' },
    });
    const admin = await setUp(server);
    key = await addKey(server, admin, ['read', 'infer', 'videos', 'models']);
    key.admin = admin;
    front = await startNginx([server.port], { tls: true, from: PROXY });
  });
  after(async () => {
    await front?.stop();
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  /** Over https with HTTP/1.1: { status, headers, body }. */
  async function get(path, { method = 'GET', headers = {}, body, ...more } = {}) {
    const request = https.request(front.url + path,
      { ca: front.ca, method, headers: { ...key.headers, ...headers }, agent: false, ...more });
    request.end(body);
    const [response] = await once(request, 'response');
    const chunks = await response.toArray();
    return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) };
  }
  /** One HTTP/2 connection; send() gives { status, headers, body }. */
  function connect() {
    const session = http2.connect(front.url, { ca: front.ca });
    async function send(path, { method = 'GET', headers = {}, body } = {}) {
      const stream = session.request({ ':path': path, ':method': method, ...lower(key.headers), ...headers });
      stream.end(body);
      const [answer] = await once(stream, 'response');
      return { status: answer[':status'], headers: answer, body: Buffer.concat(await stream.toArray()) };
    }
    return { session, send, close: () => session.close() };
  }
  const lower = (headers) =>
    Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  const picture = { method: 'POST', headers: { 'content-type': 'image/jpeg' }, body: bus };

  it('sends who comes by http to https, and answers whoever proves the name', async () => {
    const plain = await fetch(`${front.plainUrl}/api/v1/jobs?limit=1`, { method: 'POST', redirect: 'manual' });
    assert.deepEqual([plain.status, plain.headers.get('location')],
      [308, 'https://127.0.0.1/api/v1/jobs?limit=1']);
    const place = join(front.folder, 'acme/.well-known/acme-challenge');
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, 'token'), 'token.thumbprint');
    const proof = await fetch(`${front.plainUrl}/.well-known/acme-challenge/token`);
    assert.deepEqual([proof.status, await proof.text()], [200, 'token.thumbprint']);
  });

  it('speaks TLS 1.2 and 1.3 with forward secrecy, and nothing older', async () => {
    const shake = async (options) => {
      const socket = tls.connect({ port: front.port, host: '127.0.0.1', ca: front.ca, ALPNProtocols: ['h2', 'http/1.1'], ...options });
      await once(socket, 'secureConnect');
      const seen = [socket.getProtocol(), socket.authorized, socket.alpnProtocol, socket.getCipher().name];
      socket.destroy();
      return seen;
    };
    const [version, authorized, protocol] = await shake({});
    assert.deepEqual([version, authorized, protocol], ['TLSv1.3', true, 'h2']);
    const older = await shake({ maxVersion: 'TLSv1.2' });
    assert.deepEqual(older.slice(0, 3), ['TLSv1.2', true, 'h2']);
    assert.match(older[3], /^ECDHE-.*(GCM|CHACHA20)/);
    const ancient = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT:@SECLEVEL=0' };
    await assert.rejects(shake(ancient), /alert|protocol|version|unsupported/i);
    await assert.rejects(shake({ maxVersion: 'TLSv1.2', ciphers: 'AES128-SHA:@SECLEVEL=0' }), /alert|handshake/i);
  });

  it('passes everything on by HTTP/2, with the headers that protect it', async () => {
    const direct = await ask(server, '/api/v1/inference/image',
      { ...picture, headers: { ...picture.headers, ...key.headers } });
    const { send, close } = connect();
    const found = await send('/api/v1/inference/image', picture);
    assert.equal(found.status, 200);
    assert.deepEqual(JSON.parse(found.body).detections, direct.value.detections);
    const answers = await Promise.all(['/', '/docs', '/api/v1/jobs', '/nothing'].map((path) => send(path)));
    assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200, 404]);
    for (const { headers } of [found, ...answers]) {
      assert.equal(headers['strict-transport-security'], 'max-age=31536000');
      assert.equal(headers['x-content-type-options'], 'nosniff');
      assert.match(headers['content-security-policy'], /^default-src 'none'/);
      assert.ok(!/unsafe/.test(headers['content-security-policy']), headers['content-security-policy']);
      assert.equal(headers['referrer-policy'], 'no-referrer');
      assert.equal(headers.server, 'nginx');
      assert.match(headers['x-request-id'], /^[0-9a-f]{32}$/);
    }
    close();
  });

  it('says who the client is, whatever it claims itself, and that it came by https', async () => {
    const upload = await get('/api/v1/videos?name=cars.mp4',
      { method: 'POST', headers: { 'Content-Type': 'video/mp4' }, body: cars });
    assert.equal(upload.status, 201, upload.body.toString());
    const { id } = JSON.parse(upload.body);
    const gone = await get(`/api/v1/videos/${id}`,
      { method: 'DELETE', headers: { 'X-Forwarded-For': '198.51.100.7' }, localAddress: CLIENT });
    assert.equal(gone.status, 204);
    const { stdout } = await nexus(['audit', 'list', '--format', 'json', '--action', 'video.remove',
      '--data-dir', data.path, '--log-level', 'error'], { env });
    assert.equal(JSON.parse(stdout.trim().split('\n').at(-1)).address, CLIENT);
    const form = JSON.stringify({ name: 'ann', password: 'correct horse battery staple' });
    const signedIn = await get('/api/v1/auth/login',
      { method: 'POST', headers: { 'Content-Type': 'application/json', Authorization: '' }, body: form });
    assert.equal(signedIn.status, 200, signedIn.body.toString());
    assert.match(signedIn.headers['set-cookie'][0], /; Secure/);
    const metrics = await get('/metrics', { localAddress: CLIENT });
    assert.equal(metrics.status, 403);
  });

  it('passes the bytes of an upload on as they come, by HTTP/2 as well', async () => {
    const { session, send, close } = connect();
    const resumable = { 'tus-resumable': '1.0.0' };
    const begun = await send('/api/v1/uploads',
      { method: 'POST', headers: { ...resumable, 'upload-length': String(cars.length) } });
    assert.equal(begun.status, 201, begun.body.toString());
    const place = new URL(begun.headers.location, front.url).pathname;
    const half = Math.floor(cars.length / 2);
    const stream = session.request({ ':path': place, ':method': 'PATCH', ...lower(key.headers), ...resumable,
      'upload-offset': '0', 'content-type': 'application/offset+octet-stream', 'content-length': String(cars.length) });
    stream.write(cars.subarray(0, half));
    // the server has what was sent, although the request has not ended
    const sizes = () => readdirSync(`${data.path}/uploads`)
      .map((name) => readFileSync(`${data.path}/uploads/${name}`).length);
    await eventually(() => Math.max(...sizes()) >= half - 65536, 'the first half arrives', 60_000);
    assert.deepEqual(readdirSync(join(front.folder, 'tmp/client_body')), []);
    stream.end(cars.subarray(half));
    const [answer] = await once(stream, 'response');
    assert.equal(answer[':status'], 204);
    stream.resume();
    close();
  });

  it('tells events and shows live pictures as they come', async () => {
    const headers = { ...key.admin.headers };
    const made = await ask(server, '/api/v1/streams',
      json('POST', { name: 'loop', url: 'file:loop.mp4', fps: 2 }, headers));
    assert.equal(made.status, 201, JSON.stringify(made.value));
    const reads = async (path, pattern) => {
      const request = https.request(front.url + path, { ca: front.ca, headers, agent: false });
      request.end();
      const [response] = await once(request, 'response');
      assert.equal(response.statusCode, 200, path);
      let text = '';
      for await (const chunk of response) {
        text += chunk.toString('latin1');
        if (pattern.test(text)) {
          break;
        }
      }
      request.destroy();
      assert.match(text, pattern);
      return text.length;
    };
    await eventually(async () =>
      (await ask(server, `/api/v1/streams/${made.value.id}`, { headers })).value.state === 'live', 'it is live', 60_000);
    // two events are a few hundred bytes: what buffers waits for kilobytes
    await reads(`/api/v1/streams/${made.value.id}/events`, /event: frame[\s\S]*event: frame/);
    await reads(`/api/v1/streams/${made.value.id}/live.mjpeg`, /image\/jpeg[\s\S]*image\/jpeg/);
    await ask(server, `/api/v1/streams/${made.value.id}`, { method: 'DELETE', headers });
  });

  it('refuses floods of sign-ins with problems that say when to come back', async () => {
    const { send, close } = connect();
    const login = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' };
    const answers = await Promise.all(Array.from({ length: 60 }, () => send('/api/v1/auth/login', login)));
    const refused = answers.filter(({ status, headers }) => status === 429 && headers['content-type'] !== undefined &&
      headers['ratelimit-limit'] === undefined);
    assert.ok(refused.length >= 10, `${refused.length} refused by nginx`);
    const { headers, body } = refused[0];
    assert.equal(headers['content-type'], 'application/problem+json');
    assert.equal(headers['retry-after'], '1');
    assert.equal(headers['strict-transport-security'], 'max-age=31536000');
    assert.equal(JSON.parse(body).status, 429);
    close();
  });

  it('refuses bodies beyond the largest video before they are sent', async () => {
    const request = https.request(`${front.url}/api/v1/videos`, { ca: front.ca, method: 'POST', agent: false,
      headers: { ...key.headers, 'Content-Type': 'video/mp4', 'Content-Length': String(11 * 1024 ** 3) } });
    request.on('error', () => {}); // nginx closes what would go on
    request.flushHeaders();
    const [response] = await once(request, 'response');
    assert.equal(response.statusCode, 413);
    assert.match(response.headers['content-type'], /problem\+json/);
    request.destroy();
  });

  it('a certificate that has ended is seen by clients, and a new one is taken without a restart', async () => {
    const folder = join(front.folder, 'tls');
    const ends = async (ca) => {
      const socket = tls.connect({ port: front.port, host: '127.0.0.1', ca, rejectUnauthorized: false });
      await once(socket, 'secureConnect');
      const seconds = (Date.parse(socket.getPeerCertificate().valid_to) - Date.now()) / 1000;
      const why = socket.authorizationError;
      socket.destroy();
      return { seconds, why };
    };
    const old = makeCertificate(folder, -1);
    front.reload();
    // for a moment workers of before the reload still take connections
    await eventually(async () => (await ends(old)).why === 'CERT_HAS_EXPIRED', 'the old one is shown');
    front.ca = old;
    await eventually(async () => (await get('/health').catch(({ code }) => code)) === 'CERT_HAS_EXPIRED',
      'who checks it refuses');
    front.ca = makeCertificate(folder, 90);
    front.reload();
    await eventually(async () => (await ends(front.ca)).seconds > 89 * DAY, 'the new one is shown');
    await eventually(async () => (await get('/health').catch(() => ({}))).status === 200, 'all is well again');
  });

  it('says so when no server answers', async () => {
    await server.stop();
    const { status, headers, body } = await get('/api/v1/jobs');
    assert.equal(status, 502);
    assert.equal(headers['content-type'], 'application/problem+json');
    assert.equal(headers['retry-after'], '2');
    assert.equal(JSON.parse(body).title, 'Bad Gateway');
  });
});
