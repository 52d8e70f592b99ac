// Those who look at streams with more to tell than an answer holds: crowded events, large pictures;
// and a stream whose maker may not use its model any more.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { addUser, ask, json, setUp, signIn } from './lib/accounts.mjs';
import { makeClip, makeCrowd, skipWithoutFfmpeg, startMjpeg } from './lib/cameras.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { children, eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { PATIENCE_MS, sees, startStreams } from './lib/streams.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const ANSWER_HOLDS = 256 << 10;

describe('viewers of a crowd', { skip: skipWithoutFfmpeg() }, () => {
  let data;
  let camera;
  let streams;
  let id;

  before(async () => {
    data = makeDataDir();
    writeTinyModel(join(data.path, 'models/crowd.onnx'), 1024);
    camera = await startMjpeg(makeCrowd(1024), { fps: 10 });
    streams = await startStreams(data, { NEXUS_MODEL: 'crowd' });
    id = await streams.add('crowd', camera.url, { fps: null, track: false });
    await streams.becomes(id, 'live');
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    camera?.close();
    data?.remove();
  });

  it('get pictures that are larger than an answer holds', async () => {
    const abort = new AbortController();
    const response = await fetch(`${streams.server.url}/api/v1/streams/${id}/live.mjpeg`, { signal: abort.signal });
    let text = '';
    let pictures = [];
    for await (const chunk of response.body) {
      text += Buffer.from(chunk).toString('latin1');
      pictures = text.split('--nexus\r\n').slice(1, -1);
      if (pictures.length >= 3) {
        break;
      }
    }
    abort.abort();
    assert.equal(pictures.length, 3);
    for (const picture of pictures) {
      const [, size, bytes] = /^Content-Type: image\/jpeg\r\nContent-Length: (\d+)\r\n\r\n(.*)\r\n$/s.exec(picture);
      assert.equal(Number(size), bytes.length);
      assert.ok(bytes.length > ANSWER_HOLDS, `${bytes.length}`);
      assert.ok(bytes.startsWith('\xff\xd8') && bytes.endsWith('\xff\xd9'));
    }
  });

  it('get all events that are kept, though they are more than an answer holds', async () => {
    const first = await streams.follow(id);
    await sees(first, ({ objects }) => objects?.length > 100, 'the crowd');
    await eventually(() => first.events.length > 70, 'more events than are kept', PATIENCE_MS);
    await first.close();
    const last = first.events.at(-1).id;
    const late = await streams.follow(id, { 'Last-Event-ID': String(first.events[0].id) });
    await eventually(() => late.events.at(-1)?.id > last + 3, 'what is new', PATIENCE_MS);
    const { events } = late;
    events.slice(1).forEach((event, i) => assert.equal(event.id, events[i].id + 1));
    const older = events.filter((event) => event.id <= last);
    assert.ok(older.length > 40, `${older.length} of those that were missed`);
    assert.ok(JSON.stringify(older.map(({ value }) => value)).length > 2 * ANSWER_HOLDS);
  });
});

describe('fifty viewers of one stream', { skip: skipWithoutShared() || skipWithoutFfmpeg() }, () => {
  const PICTURES = 5;
  const CAMERA_FPS = 10;
  let data;
  let streams;
  let url;
  let id;

  before(async () => {
    data = makeDataDir();
    writeTinyModel(join(data.path, 'models/tiny.onnx'));
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/loop.mp4`, { seconds: 3, fps: CAMERA_FPS });
    streams = await startStreams(data, { NEXUS_MODEL: 'tiny' });
    id = await streams.add('loop', 'file:loop.mp4', { fps: 5 });
    await streams.becomes(id, 'live');
    url = `${streams.server.url}/api/v1/streams/${id}`;
    await eventually(async () => (await fetch(`${url}/frame.jpeg`)).status === 200, 'a picture', PATIENCE_MS);
    await eventually(async () => (await streams.get(id)).status.source.video, 'its video', PATIENCE_MS);
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    data?.remove();
  });

  /** The first pictures of live.mjpeg, by hash. */
  async function pictures() {
    const response = await fetch(`${url}/live.mjpeg`);
    assert.equal(response.status, 200);
    let text = '';
    for await (const chunk of response.body) { // leaving the loop ends the request
      text += Buffer.from(chunk).toString('latin1');
      const parts = text.split('--nexus\r\n').slice(1, -1);
      if (parts.length >= PICTURES) {
        return parts.slice(0, PICTURES).map((part) => createHash('sha256').update(part, 'latin1').digest('hex'));
      }
    }
    return assert.fail('it ended');
  }

  /** The first bytes of live.mp4, as many as a few pictures have. */
  async function video() {
    const response = await fetch(`${url}/live.mp4`);
    assert.equal(response.status, 200);
    let fragments = 0;
    for await (const chunk of response.body) {
      fragments += Buffer.from(chunk).toString('latin1').split('moof').length - 1;
      if (fragments >= PICTURES) {
        return;
      }
    }
    assert.fail('it ended');
  }

  /** What so many viewers see, and what the server has spent on it. */
  async function watch(viewers, players) {
    const names = ['stream_pictures_encoded_total', 'stream_video_frames_total', 'frames_received_total', 'frames_processed_total'];
    const read = async () => {
      const text = await (await fetch(`${streams.server.url}/metrics`)).text();
      return names.map((name) => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)[1]));
    };
    const from = Date.now();
    const before = await read();
    const [seen] = await Promise.all([
      Promise.all(Array.from({ length: viewers }, pictures)),
      Promise.all(Array.from({ length: players }, video)),
    ]);
    const decoders = children(streams.server.pid).length;
    const [encoded, fragments, received, processed] = (await read()).map((value, i) => value - before[i]);
    const seconds = (Date.now() - from) / 1000;
    return { seen: seen.flat(), encoded, fragments, received, processed, decoders, seconds };
  }

  it('are decoded and encoded for once, as one is', async () => {
    for (const [viewers, players] of [[1, 1], [50, 5]]) {
      const all = await watch(viewers, players);
      const { seen, encoded, fragments, received, processed, decoders, seconds } = all;
      const what = JSON.stringify({ ...all, seen: seen.length });
      assert.equal(seen.length, viewers * PICTURES);
      assert.ok(decoders <= 1, what); // none between two rounds of the file
      // a JPEG for each picture that somebody saw, and at most one for each that there was
      assert.ok(new Set(seen).size <= encoded + 1 && encoded >= PICTURES - 1, what);
      assert.ok(encoded <= processed + 2, what);
      // no more comes of the camera than it sends: in this time, and what was under way
      const most = seconds * CAMERA_FPS + 20;
      assert.ok(received <= most && fragments <= most, what);
    }
  });
});

describe('a stream whose maker loses its model', { skip: skipWithoutFfmpeg() }, () => {
  let data;
  let camera;
  let server;

  before(async () => {
    data = makeDataDir();
    writeTinyModel(join(data.path, 'models/base.onnx'));
    writeTinyModel(join(data.path, 'models/closed.onnx'));
    camera = await startMjpeg(makeCrowd(64));
    server = await startServer({
      args: ['--data-dir', data.path, '--model', 'base'],
      env: { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false', STREAM_ALLOW_LOOPBACK: 'true' },
    });
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    camera?.close();
    data?.remove();
  });

  it('ends its connection, and goes on when it is given back', async () => {
    const admin = await setUp(server);
    await addUser(server, admin, 'olga', 'operator');
    const olga = await signIn(server, 'olga');
    const webhook = 'https://hooks.example.org/services/key';
    const wanted = { name: 'porch', url: camera.url, model: 'closed', webhook_url: webhook };
    const made = await ask(server, '/api/v1/streams', json('POST', wanted, olga.headers));
    assert.equal(made.status, 201, JSON.stringify(made.value));
    assert.equal(made.value.webhook_url, 'https://hooks.example.org/***');
    const shown = await ask(server, `/api/v1/streams/${made.value.id}`, { headers: admin.headers });
    assert.equal(shown.value.webhook_url, webhook, 'an admin sees all of it');
    const inner = await ask(server, '/api/v1/streams',
      json('POST', { ...wanted, name: 'inner', webhook_url: 'http://169.254.169.254/' }, olga.headers));
    assert.match(`${inner.status} ${inner.value.detail}`, /^422 webhook_url: .*link-local/);
    for (const url of ['file:loop.mp4', 'v4l2:/dev/video0']) {
      const refused = await ask(server, '/api/v1/streams', json('POST', { ...wanted, name: 'own', url }, olga.headers));
      assert.deepEqual([refused.status, refused.value.detail],
        [403, 'url: files and devices of the server are for admins']);
    }
    const becomes = (state, reason = /(?:)/) => eventually(async () => {
      const { value } = await ask(server, `/api/v1/streams/${made.value.id}`, { headers: admin.headers });
      return value.state === state && reason.test(value.reason ?? '');
    }, `${state} ${reason}`, PATIENCE_MS);
    const level = async (value) => {
      const answer = await ask(server, '/api/v1/models/closed/access', json('PUT', { level: value }, admin.headers));
      assert.equal(answer.status, 200);
    };
    await becomes('live');
    await level('private');
    await becomes('reconnecting', /whoever made the stream may not use closed/);
    await level('authenticated');
    await becomes('live');
  });
});
