// Live streams over HTTP: what is seen in one, its pictures, its counts, how it is changed, and what
// is not taken. The camera is a file that is shown over and over.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { makeClip, skipWithoutFfmpeg } from './lib/cameras.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { sharedPath, skipWithoutShared } from './lib/server.mjs';
import { hasPerson, PATIENCE_MS, sees, startStreams } from './lib/streams.mjs';

const skip = skipWithoutShared() || skipWithoutFfmpeg();

describe('streams', { skip }, () => {
  let data;
  let streams;
  let server;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/loop.mp4`, { seconds: 1 });
    streams = await startStreams(data);
    server = streams.server;
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    data?.remove();
  });
  const ask = (...all) => streams.ask(...all);
  const add = (...all) => streams.add(...all);
  const get = (id) => streams.get(id);
  const becomes = (...all) => streams.becomes(...all);
  const follow = (...all) => streams.follow(...all);

  it('shows a file over and over, and what is seen in it', async () => {
    const lines = [{ name: 'middle', from: [0.5, 0], to: [0.5, 1] }];
    const id = await add('loop', 'file:loop.mp4', { lines });
    await becomes(id, 'live');
    const follower = await follow(id);
    await sees(follower, hasPerson, 'a person');
    // the file has ten frames
    await sees(follower, ({ frame }) => frame >= 25, 'the third round');
    const { events } = follower;
    const frames = events.filter(({ kind }) => kind === 'frame').map(({ value }) => value);
    for (let i = 1; i < frames.length; i++) {
      assert.ok(frames[i].frame > frames[i - 1].frame && frames[i].time > frames[i - 1].time);
    }
    events.slice(1).forEach((event, i) => assert.equal(event.id, events[i].id + 1));
    assert.deepEqual(frames[0].image, { width: 640, height: 480 });
    assert.ok(frames.every(({ latency_ms }) => latency_ms >= 0));
    assert.ok(Math.abs(Date.parse(frames.at(-1).at) - Date.now()) < PATIENCE_MS);
    // who comes back gets what came meanwhile
    const back = await follow(id, { 'Last-Event-ID': String(events.at(-1).id - 2) });
    await sees(back, () => true, 'the events missed');
    assert.equal(back.events[0].id, events.find(({ id: number }) => number === back.events[0].id).id);
    const stream = await get(id);
    assert.equal(stream.here, true);
    const { video: _, ...source } = stream.status.source; // which comes a moment later
    assert.deepEqual(source, { format: 'mov', codec: 'h264', width: 640, height: 480 });
    assert.deepEqual(stream.counts.lines.map(({ name }) => name), ['middle']);
  });

  it('has pictures for any number of viewers', async () => {
    const { items } = (await ask('')).value;
    const { id } = items.find(({ name }) => name === 'loop');
    const frame = await fetch(`${server.url}/api/v1/streams/${id}/frame.jpeg`);
    const bytes = Buffer.from(await frame.arrayBuffer());
    assert.deepEqual([frame.status, frame.headers.get('content-type')], [200, 'image/jpeg']);
    assert.equal(bytes.readUInt16BE(0), 0xffd8);
    const viewers = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const abort = new AbortController();
        const response = await fetch(`${server.url}/api/v1/streams/${id}/live.mjpeg`, { signal: abort.signal });
        assert.match(response.headers.get('content-type'), /^multipart\/x-mixed-replace; boundary=nexus$/);
        let text = '';
        for await (const chunk of response.body) {
          text += Buffer.from(chunk).toString('latin1');
          if (text.split('--nexus\r\nContent-Type: image/jpeg\r\n').length > 3) {
            break;
          }
        }
        abort.abort();
        return text.includes('\xff\xd8');
      }),
    );
    assert.deepEqual(viewers, Array(5).fill(true));
  });

  it('counts every frame once', async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    const value = (series) => Number(new RegExp(`^${series} (\\d+)$`, 'm').exec(text)[1]);
    const dropped = [...text.matchAll(/^frames_dropped_total\{reason="\w+"\} (\d+)$/gm)];
    const lost = dropped.reduce((sum, [, count]) => sum + Number(count), 0);
    assert.equal(value('frames_received_total'), value('frames_processed_total') + lost);
    assert.ok(value('frames_processed_total') > 0);
    assert.equal(value('stream_up\\{stream="loop"\\}'), 1);
    assert.ok(value('stream_latency_seconds_count') > 0);
  });

  it('is switched off and on, changed and removed', async () => {
    const id = await add('short', 'file:loop.mp4');
    await becomes(id, 'live');
    assert.equal((await ask(`/${id}`, 'PATCH', { enabled: false })).value.version, 2);
    await becomes(id, 'stopped', /switched off/);
    assert.equal((await ask(`/${id}/frame.jpeg`)).status, 409);
    const changed = await ask(`/${id}`, 'PATCH', { enabled: true, fps: null, classes: ['person'], name: 'long' });
    assert.deepEqual([changed.value.name, changed.value.options.fps], ['long', undefined]);
    await becomes(id, 'live');
    assert.equal((await ask(`/${id}`, 'DELETE')).status, 204);
    assert.equal((await ask(`/${id}`)).status, 404);
    assert.equal((await ask(`/${id}`, 'DELETE')).status, 404);
  });

  it('sleeps outside of its schedule', async () => {
    const day = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'][(new Date().getDay() + 3) % 7];
    const id = await add('night', 'file:loop.mp4', { schedule: [{ days: [day], from: '08:00', to: '09:00' }] });
    await becomes(id, 'stopped', /not the time of its schedule/);
    await ask(`/${id}`, 'DELETE');
  });

  it('refuses what can not be', async () => {
    const wrong = async (value, status, detail) => {
      const answer = await ask('', 'POST', value);
      assert.equal(answer.status, status, JSON.stringify(answer.value));
      assert.match(answer.value.detail, detail);
    };
    const url = 'rtsp://10.0.0.9/cam';
    await wrong({ name: 'x' }, 422, /url: this is needed/);
    await wrong({ url }, 422, /name: this is needed/);
    await wrong({ name: '', url }, 422, /name: /);
    await wrong({ name: 'LOOP', url }, 409, /there is a stream 'LOOP' already/);
    await wrong({ name: 'x', url: 'ftp://host/x' }, 422, /begins with rtsp:\/\//);
    await wrong({ name: 'x', url: 'http://169.254.169.254/latest' }, 422, /link-local/);
    await wrong({ name: 'x', url: 'http://0xa9fea9fe/' }, 422, /link-local/);
    await wrong({ name: 'x', url: 'rtsp://[fe80::1]/' }, 422, /link-local/);
    await wrong({ name: 'x', url: 'rtsp://***@10.0.0.9/' }, 422, /hidden/);
    await wrong({ name: 'x', url: 'file:/etc/passwd' }, 422, /STREAM_FILES_DIR/);
    await wrong({ name: 'x', url, fps: -1 }, 422, /fps: /);
    await wrong({ name: 'x', url, drop: 'some' }, 422, /latest, drop_oldest or block/);
    await wrong({ name: 'x', url, stride: 2 }, 422, /no option 'stride'/);
    await wrong({ name: 'x', url, model: 'none' }, 404, /model/);
    await wrong({ name: 'x', url, zones: [{ name: 'a' }] }, 422, /zones\[0\]/);
    await wrong({ name: 'x', url, schedule: [{ from: '25:00' }] }, 422, /schedule\[0\]\.from/);
    // out of the folder is known when it is opened
    const id = await add('climber', 'file:../../etc/passwd');
    await becomes(id, 'reconnecting', /url: cannot read/);
    await ask(`/${id}`, 'DELETE');
    await wrong({ name: 'x', url: 'v4l2:/dev/sda' }, 422, /v4l2: comes a device such as/);
    const device = await add('desk', 'v4l2:/dev/video4242');
    await becomes(device, 'reconnecting', /url: there is no device \/dev\/video4242/);
    await ask(`/${device}`, 'DELETE');
  });

  it('is in the audit log, and no password is in any log', async () => {
    const response = await fetch(`${server.url}/api/v1/audit?limit=200`);
    const { items } = await response.json();
    const actions = new Set(items.map(({ action }) => action));
    ['stream.add', 'stream.change', 'stream.remove'].forEach((action) => assert.ok(actions.has(action), action));
    assert.doesNotMatch(JSON.stringify(items), /secret/);
    assert.doesNotMatch(server.logs(), /secret/);
  });
});
