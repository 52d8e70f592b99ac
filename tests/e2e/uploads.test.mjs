// Resumable uploads as tus 1.0.0 has them: pieces, wrong offsets, lost connections, a killed server,
// what is no video, and uploads whose time is over.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { makeDataDir } from './lib/data_dir.mjs';
import { sha256 } from './lib/hash.mjs';
import { eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const NONE = '01890000-0000-7000-8000-000000000000';
const TUS = { 'Tus-Resumable': '1.0.0' };

describe('uploads', { skip }, () => {
  let server;
  let data;
  const start = (env = {}) =>
    startServer({
      args: ['--data-dir', data.path],
      env: { MAX_VIDEO_BYTES: '16m', DATABASE_URL: '', OBJECTS_URL: '', ...env },
    });

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await start();
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  const cars = skip ? null : readFileSync(sharedPath('videos/car-detection.mp4'));
  const files = () => readdirSync(`${data.path}/uploads`);
  const ask = (path, init) => fetch(server.url + path, init);
  const create = (length, headers = {}) =>
    ask('/api/v1/uploads', {
      method: 'POST',
      headers: { ...TUS, 'Upload-Length': String(length), ...headers },
    });
  const patch = (at, offset, body, headers = {}) =>
    ask(at, {
      method: 'PATCH',
      headers: {
        ...TUS,
        'Content-Type': 'application/offset+octet-stream',
        'Upload-Offset': String(offset),
        ...headers,
      },
      body,
    });
  async function begun(length, name) {
    const value = Buffer.from(name).toString('base64');
    const answer = await create(length, { 'Upload-Metadata': `filetype dmlkZW8=,filename ${value}` });
    assert.equal(answer.status, 201, await answer.text());
    return answer.headers.get('location');
  }
  async function offsetOf(at) {
    const answer = await ask(at, { method: 'HEAD', headers: TUS });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('cache-control'), 'no-store');
    return Number(answer.headers.get('upload-offset'));
  }
  async function assertProblem(response, status, detail) {
    const problem = await response.json();
    assert.equal(response.status, status, problem.detail);
    assert.match(problem.detail, detail);
    assert.ok(problem.advice);
  }

  it('says what it can do', async () => {
    const answer = await ask('/api/v1/uploads', { method: 'OPTIONS' });
    assert.equal(answer.status, 204);
    assert.equal(answer.headers.get('tus-version'), '1.0.0');
    assert.equal(answer.headers.get('tus-extension'), 'creation,expiration,termination');
    assert.equal(answer.headers.get('tus-max-size'), String(16 << 20));
  });

  it('makes a video of pieces', async () => {
    const at = await begun(cars.length, 'c\u00e4rs.mp4');
    const steps = [0, 1, 1_000_000, 2_500_000, cars.length];
    for (let i = 0; i + 1 < steps.length; i++) {
      assert.equal(await offsetOf(at), steps[i]);
      const answer = await patch(at, steps[i], cars.subarray(steps[i], steps[i + 1]));
      assert.equal(answer.status, 204, await answer.text());
      assert.equal(answer.headers.get('upload-offset'), String(steps[i + 1]));
      assert.equal(answer.headers.get('tus-resumable'), '1.0.0');
    }
    const shown = await ask(at);
    const upload = await shown.json();
    assert.deepEqual([upload.offset, upload.length], [cars.length, cars.length]);
    assert.equal(shown.headers.get('location'), upload.video);
    const video = await (await ask(upload.video)).json();
    assert.deepEqual([video.name, video.sha256], ['c\u00e4rs.mp4', sha256(cars)]);
    assert.deepEqual(files(), []);
    const empty = await patch(at, cars.length, undefined);
    assert.equal(empty.status, 204, 'again at the end is no error');
    await assertProblem(await patch(at, cars.length, Buffer.alloc(1)), 413, /passes the end/);
  });

  it('refuses what does not fit', async () => {
    const at = await begun(1000, 'x.mp4');
    assert.equal((await patch(at, 0, Buffer.alloc(400))).status, 204);
    for (const offset of [0, 399, 401, 1000]) {
      await assertProblem(await patch(at, offset, Buffer.alloc(10)), 409, /400 bytes are there/);
    }
    for (const offset of ['', '-1', 'x', '4e2']) {
      await assertProblem(await patch(at, offset, Buffer.alloc(10)), 400, /Upload-Offset/);
    }
    await assertProblem(await patch(at, 400, Buffer.alloc(601)), 413, /passes the end/);
    const text = { 'Content-Type': 'text/plain' };
    await assertProblem(await patch(at, 400, Buffer.alloc(10), text), 415, /text\/plain/);
    const old = { 'Tus-Resumable': '0.2.2' };
    const refused = await patch(at, 400, Buffer.alloc(10), old);
    assert.equal(refused.headers.get('tus-version'), '1.0.0');
    await assertProblem(refused, 412, /0\.2\.2/);
    assert.equal(await offsetOf(at), 400, 'nothing of it counts');
    for (const id of [NONE, 'x', '..%2fnexus.db', encodeURIComponent("' OR 1=1")]) {
      const none = `/api/v1/uploads/${id}`;
      assert.equal((await patch(none, 0, Buffer.alloc(1))).status, 404);
      assert.equal((await ask(none)).status, 404);
      assert.equal((await ask(none, { method: 'DELETE', headers: TUS })).status, 404);
    }
    for (const length of ['0', '-5', 'x', '', '99999999999999999999']) {
      await assertProblem(await create(length), 400, /Upload-Length/);
    }
    await assertProblem(await create(20 << 20), 413, /Upload-Length/);
    const names = [['filename !!!', 400], [`filename ${Buffer.from('a\0b').toString('base64')}`, 400],
      [`filename ${Buffer.from('x'.repeat(300)).toString('base64')}`, 422]];
    for (const [metadata, status] of names) {
      const answer = await create(10, { 'Upload-Metadata': metadata });
      await assertProblem(answer, status, /name/);
    }
    assert.equal((await ask(at, { method: 'DELETE', headers: TUS })).status, 204);
    assert.equal((await ask(at)).status, 404);
    assert.deepEqual(files(), []);
  });

  it('lets what came before a lost connection count, and one request write at a time', async () => {
    const at = await begun(cars.length, 'lost.mp4');
    const socket = net.connect(server.port, '127.0.0.1');
    socket.write(
      `PATCH ${at} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n` +
        `Content-Type: application/offset+octet-stream\r\nContent-Length: ${cars.length}\r\n\r\n`,
    );
    socket.write(cars.subarray(0, 700_000));
    const [file] = files();
    const there = () => readFileSync(`${data.path}/uploads/${file}`).length;
    await eventually(() => there() === 700_000, 'the bytes are written');
    await assertProblem(await patch(at, 0, Buffer.alloc(10)), 423, /another request/);
    const removed = await ask(at, { method: 'DELETE', headers: TUS });
    await assertProblem(removed, 423, /another request/);
    socket.destroy();
    await eventually(async () => (await offsetOf(at)) === 700_000, 'they count');
    const rest = await patch(at, 700_000, cars.subarray(700_000));
    assert.equal(rest.status, 204, await rest.text());
    const video = await (await ask(rest.headers.get('location'))).json();
    assert.equal(video.sha256, sha256(cars));
  });

  it('lets one of several processes write at a time, and the next one when that was killed', async () => {
    const other = await start();
    try {
      const at = await begun(cars.length, 'two.mp4');
      const theirs = (init) => fetch(other.url + at, { ...init, headers: { ...TUS, ...init.headers } });
      const sends = (offset, body) =>
        theirs({
          method: 'PATCH',
          headers: { 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': String(offset) },
          body,
        });
      assert.equal((await patch(at, 0, cars.subarray(0, 1000))).status, 204);
      assert.equal((await sends(1000, cars.subarray(1000, 2000))).status, 204, 'in turns they may');
      const socket = net.connect(server.port, '127.0.0.1');
      socket.on('error', () => {}); // its server is killed
      socket.write(
        `PATCH ${at} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 2000\r\n` +
          `Content-Type: application/offset+octet-stream\r\nContent-Length: ${cars.length - 2000}\r\n\r\n`,
      );
      socket.write(cars.subarray(2000, 500_000));
      const [file] = files();
      const there = () => readFileSync(`${data.path}/uploads/${file}`);
      await eventually(() => there().length === 500_000, 'the bytes are written');
      await assertProblem(await sends(2000, Buffer.alloc(10)), 423, /another request/);
      await assertProblem(await theirs({ method: 'DELETE' }), 423, /another request/);
      const shown = await theirs({ method: 'HEAD' });
      assert.equal(shown.headers.get('upload-offset'), '2000', 'what is confirmed');
      assert.ok(there().equals(cars.subarray(0, 500_000)), 'nobody else wrote, or cut off');
      await server.stop('SIGKILL');
      const rest = await sends(2000, cars.subarray(2000));
      assert.equal(rest.status, 204, await rest.text());
      const video = await (await fetch(other.url + rest.headers.get('location'))).json();
      assert.equal(video.sha256, sha256(cars));
    } finally {
      assert.equal(await other.stop(), 0);
      await server.stop();
      server = await start();
    }
  });

  it('says where the bytes are when they are on no disk of this host', async () => {
    const at = await begun(1000, 'elsewhere.mp4');
    assert.equal((await patch(at, 0, Buffer.alloc(400))).status, 204);
    rmSync(`${data.path}/uploads/${at.split('/').pop()}.part`);
    await assertProblem(await patch(at, 400, Buffer.alloc(10)), 404, /not on this host/);
    assert.equal((await ask(at, { method: 'DELETE', headers: TUS })).status, 204);
    assert.deepEqual(files(), []);
  });

  it('goes on after the server was killed', async () => {
    const at = await begun(cars.length, 'killed.mp4');
    assert.equal((await patch(at, 0, cars.subarray(0, 1_000_000))).status, 204);
    await server.stop('SIGKILL');
    server = await start();
    assert.equal(await offsetOf(at), 1_000_000);
    const rest = await patch(at, 1_000_000, cars.subarray(1_000_000));
    assert.equal(rest.status, 204, await rest.text());
    const video = await (await ask(rest.headers.get('location'))).json();
    assert.equal(video.sha256, sha256(cars));
  });

  it('forgets what is no video', async () => {
    const picture = readFileSync(sharedPath('images/bus.jpg'));
    const at = await begun(picture.length, 'bus.mp4');
    const refused = await patch(at, 0, picture);
    assert.ok([415, 422].includes(refused.status), String(refused.status));
    assert.equal((await ask(at)).status, 404);
    assert.deepEqual(files(), []);
  });

  it('clears up behind a killed server, and leaves what goes on', async () => {
    const at = await begun(1000, 'waits.mp4');
    const mine = `${at.split('/').pop()}.part`;
    assert.equal(await server.stop(), 0);
    const old = new Date(Date.now() - 2 * 86400_000);
    const names = [mine, `${NONE}.part`, `${NONE.replace('0', '1')}.part`, '.upload.abcdef', 'notes.txt'];
    for (const [i, name] of names.entries()) {
      writeFileSync(`${data.path}/uploads/${name}`, '');
      if (i !== 2) {
        utimesSync(`${data.path}/uploads/${name}`, old, old);
      }
    }
    server = await start();
    await eventually(() => files().length === 3, 'what nobody knows any more is gone');
    assert.deepEqual(files().sort(), [mine, names[2], 'notes.txt'].sort());
    assert.equal(await offsetOf(at), 0);
    assert.equal((await ask(at, { method: 'DELETE', headers: TUS })).status, 204);
    for (const name of files()) {
      rmSync(`${data.path}/uploads/${name}`);
    }
  });

  it('takes out uploads whose time is over', async () => {
    assert.equal(await server.stop(), 0);
    server = await start({ UPLOAD_LIFETIME: '1' });
    const at = await begun(1000, 'late.mp4');
    const over = [404, 410];
    await eventually(async () => over.includes((await ask(at)).status), 'its time is over');
    assert.ok(over.includes((await patch(at, 0, Buffer.alloc(10))).status));
    await eventually(async () => (await ask(at)).status === 404, 'it is forgotten');
    assert.deepEqual(files(), []);
  });
});
