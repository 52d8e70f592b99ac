// Videos over HTTP: uploads of real files, lists, bytes and ranges, removal, and what is no video.

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { makeDataDir } from './lib/data_dir.mjs';
import { sha256 } from './lib/hash.mjs';
import { eventually, metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const video = (name) => readFileSync(sharedPath(`videos/${name}`));
const NONE = '01890000-0000-7000-8000-000000000000';
const SQL = "x'; DROP TABLE videos; --";

describe('videos', { skip }, () => {
  let server;
  let data;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({
      args: ['--data-dir', data.path],
      env: { MAX_VIDEO_BYTES: '16m', DATABASE_URL: '', OBJECTS_URL: '' },
    });
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  const ask = (path, init) => fetch(`${server.url}/api/v1/videos${path}`, init);
  const upload = (bytes, query = '', type = 'video/mp4') =>
    ask(query, { method: 'POST', headers: { 'Content-Type': type }, body: bytes });
  const uploads = () => readdirSync(`${data.path}/uploads`);
  const objects = () =>
    readdirSync(data.path, { recursive: true }).filter((name) => /[0-9a-f]{64}$/.test(name));

  async function assertProblem(response, status, detail) {
    const problem = await response.json();
    assert.equal(response.status, status, problem.detail);
    assert.match(response.headers.get('content-type'), /^application\/problem\+json/);
    assert.match(problem.detail, detail);
    assert.ok(problem.advice);
    assert.ok(!JSON.stringify(problem).includes(data.path), `a path: ${problem.detail}`);
  }

  it('takes a raw body, looks into it and keeps it once', async () => {
    const bytes = video('pets09-s2l1.mp4');
    const first = await upload(bytes, '?name=..%2F..%2Fetc%2Fpets.mp4');
    const made = await first.json();
    assert.equal(first.status, 201, made.detail);
    assert.equal(first.headers.get('location'), `/api/v1/videos/${made.id}`);
    assert.deepEqual(
      [made.name, made.size_bytes, made.sha256],
      ['pets.mp4', bytes.length, sha256(bytes)],
    );
    assert.equal(made.video.codec, 'h264');
    assert.deepEqual([made.video.width, made.video.height], [768, 576]);
    assert.ok(Math.abs(made.video.duration_s - 79.5) < 0.2 && made.video.fps === 10, JSON.stringify(made.video));
    const again = await upload(bytes, '?name=other.mp4', 'application/octet-stream');
    assert.equal(again.status, 200);
    assert.equal((await again.json()).id, made.id);
    assert.deepEqual(await (await ask(`/${made.id}`)).json(), made);
    await eventually(() => uploads().length === 0, 'uploads are gone once they are videos');
    assert.equal(objects().length, 1);
  });

  it('takes the file of a form', async () => {
    const bytes = video('traffic-1080p-vp9-aac.mp4');
    const form = new FormData();
    form.append('anything', new Blob([bytes]), 'C:\\films\\tra\u00e9ffic.mp4');
    const answer = await ask('', { method: 'POST', body: form });
    const made = await answer.json();
    assert.equal(answer.status, 201, made.detail);
    assert.deepEqual([made.name, made.sha256], ['tra\u00e9ffic.mp4', sha256(bytes)]);
    assert.deepEqual([made.video.codec, made.video.width], ['vp9', 1920]);
    await eventually(() => uploads().length === 0, 'the spooled file is gone');
  });

  it('lists the newest first, page by page', async () => {
    const all = await (await ask('')).json();
    assert.equal(all.items.length, 2);
    const first = await (await ask('?limit=1')).json();
    const second = await (await ask(`?limit=1&cursor=${first.next_cursor}`)).json();
    assert.deepEqual([...first.items, ...second.items], all.items);
    assert.equal(second.next_cursor, null);
    assert.ok(all.items[0].created_at >= all.items[1].created_at);
    for (const query of ['?limit=0', '?limit=201', '?cursor=1', `?cursor=${SQL}`, '?state=x']) {
      await assertProblem(await ask(query), 422, /option/);
    }
  });

  it('gives the bytes back, whole and in ranges', async () => {
    const bytes = video('pets09-s2l1.mp4');
    const { items } = await (await ask('')).json();
    const { content } = items.find(({ name }) => name === 'pets.mp4');
    const get = (headers) => fetch(server.url + content, { headers });
    const whole = await get({});
    assert.equal(whole.headers.get('content-type'), 'video/mp4');
    assert.equal(sha256(Buffer.from(await whole.arrayBuffer())), sha256(bytes));
    const etag = whole.headers.get('etag');
    assert.equal(etag, `"${sha256(bytes)}"`);
    const part = await get({ Range: 'bytes=1000-1999', 'If-Range': etag });
    assert.equal(part.status, 206);
    assert.equal(part.headers.get('content-range'), `bytes 1000-1999/${bytes.length}`);
    assert.ok(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(1000, 2000)));
    assert.equal((await get({ 'If-None-Match': etag })).status, 304);
    await assertProblem(await get({ Range: `bytes=${bytes.length}-` }), 416, /behind the end/);
  });

  it('refuses and forgets what is no video', async () => {
    const before = objects().length;
    const picture = readFileSync(sharedPath('images/bus.jpg'));
    await assertProblem(await upload(picture, '', 'image/jpeg'), 415, /image\/jpeg/);
    const refused = await upload(picture, '', 'application/octet-stream');
    assert.ok([415, 422].includes(refused.status), String(refused.status));
    await assertProblem(refused, refused.status, /video/);
    const cut = video('pets09-s2l1.mp4').subarray(0, 1000);
    const damaged = await upload(cut);
    assert.ok([415, 422].includes(damaged.status), String(damaged.status));
    await assertProblem(await upload(Buffer.alloc(0)), 400, /no body|empty/);
    await assertProblem(await upload(Buffer.alloc(17 << 20)), 413, /larger than/);
    const form = new FormData();
    form.append('video', new Blob([picture]), SQL);
    const shown = await ask('', { method: 'POST', body: form });
    assert.ok([415, 422].includes(shown.status), String(shown.status));
    const field = new FormData();
    field.append('name', 'x');
    await assertProblem(await ask('', { method: 'POST', body: field }), 422, /field 'name'/);
    await eventually(() => uploads().length === 0, 'nothing is left of them');
    assert.equal(objects().length, before);
  });

  it('refuses names and ids that are none', async () => {
    const bytes = video('car-detection.mp4');
    for (const query of ['?name=a&name=b', '?names=a', '?name=%ff%fe', `?name=${'x'.repeat(256)}`]) {
      const answer = await upload(bytes.subarray(0, 1000), query);
      assert.equal(answer.status, 422, query);
    }
    for (const id of [NONE, 'x', SQL, '..', '%2e%2e%2fnexus.db']) {
      const at = `/${encodeURIComponent(id)}`;
      for (const [path, method] of [[at, 'GET'], [at, 'DELETE'], [`${at}/content`, 'GET']]) {
        assert.equal((await ask(path, { method })).status, 404, `${method} ${path}`);
      }
    }
    assert.equal((await (await ask('')).json()).items.length, 2, 'the table is still there');
  });

  it('keeps a name that looks like SQL as a name', async () => {
    const answer = await upload(video('car-detection.mp4'), `?name=${encodeURIComponent(SQL)}`);
    assert.equal(answer.status, 201);
    assert.equal((await answer.json()).name, SQL);
  });

  it('forgets an upload whose client leaves', async () => {
    const socket = net.connect(server.port, '127.0.0.1');
    socket.write(
      'POST /api/v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Type: video/mp4\r\n' +
        'Content-Length: 1000000\r\n\r\n',
    );
    socket.write(Buffer.alloc(100_000));
    await eventually(() => uploads().length === 1, 'the upload comes in');
    socket.destroy();
    await eventually(() => uploads().length === 0, 'the upload is gone');
  });

  it('removes a video with its bytes', async () => {
    const before = objects().length;
    const { items } = await (await ask('')).json();
    const one = items.find(({ name }) => name === SQL);
    assert.equal((await ask(`/${one.id}`, { method: 'DELETE' })).status, 204);
    assert.equal((await ask(`/${one.id}`)).status, 404);
    assert.equal((await ask(`/${one.id}/content`)).status, 404);
    assert.equal(objects().length, before - 1);
    await assertProblem(await ask(`/${one.id}`, { method: 'DELETE' }), 404, /no video/);
  });

  it('shows the database in metrics and readiness', async () => {
    assert.equal(await metric(server.url, 'jobs{state="queued"}'), 0);
    assert.ok((await metric(server.url, 'db_pool_connections{state="idle"}')) >= 1);
    const ready = await (await fetch(`${server.url}/health/ready`)).json();
    assert.deepEqual(ready.database, { kind: 'sqlite', ready: true, reason: null });
  });
});
