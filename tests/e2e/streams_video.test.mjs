// A camera's video as it encoded it: live.mp4, against a real RTSP server, played by FFmpeg.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { makeClip, skipWithoutRtsp, startMjpeg, startRtsp } from './lib/cameras.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { eventually, metric, sharedPath, skipWithoutShared } from './lib/server.mjs';
import { PATIENCE_MS, startStreams } from './lib/streams.mjs';

const skip = skipWithoutShared() || skipWithoutRtsp();

/** What ffprobe says of a file's packets: pts and dts in seconds, whether it is a key frame, a hash of its bytes. */
function packetsOf(path) {
  const args = ['-v', 'error', '-select_streams', 'v', '-show_entries', 'packet=pts_time,dts_time,flags,data_hash', '-show_data_hash', 'MD5', '-of', 'json', path];
  const { status, stdout, stderr } = spawnSync('ffprobe', args, { maxBuffer: 1 << 28 });
  assert.equal(status, 0, String(stderr));
  assert.equal(String(stderr), '');
  return JSON.parse(stdout).packets.map(({ pts_time: pts, dts_time: dts, flags, data_hash: hash }) => ({
    pts: Number(pts),
    dts: Number(dts),
    key: flags.startsWith('K'),
    hash,
  }));
}

/** Decodes all of a file; throws at the first error. */
function decodeAll(path) {
  const { status, stderr } = spawnSync('ffmpeg', ['-nostdin', '-v', 'error', '-xerror', '-i', path, '-f', 'null', '-']);
  assert.equal(status, 0, String(stderr));
  assert.equal(String(stderr), '');
}

describe('the video of streams', { skip }, () => {
  let data;
  let streams;
  let server;
  let rtsp;
  let mjpeg;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/camera.mp4`, { seconds: 5, times: 24 });
    const again = ['-stream_loop', '3', '-i', `${data.path}/camera.mp4`, '-t', '4', '-c:v', 'libx264', '-preset', 'veryfast', '-bf', '3', '-g', '10'];
    const { status, stderr } = spawnSync('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...again, '-threads', '1', `${data.path}/looped.mp4`]);
    assert.equal(status, 0, String(stderr));
    rtsp = await startRtsp(`${data.path}/camera.mp4`);
    mjpeg = await startMjpeg(readFileSync(sharedPath('images/bus.jpg')));
    streams = await startStreams(data);
    server = streams.server;
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    await rtsp?.kill();
    mjpeg?.close();
    data?.remove();
  });
  const url = (id) => `${server.url}/api/v1/streams/${id}/live.mp4`;
  const addVideo = async (name, from, more = {}) => {
    const id = await streams.add(name, from, { fps: 1, ...more });
    await eventually(async () => (await streams.get(id)).status?.source?.video, 'there is video', PATIENCE_MS);
    return id;
  };

  /** Reads an answer until it holds so many fragments or ends; returns what came. */
  async function take(response, fragments) {
    const parts = [];
    let found = 0;
    const reader = response.body.getReader();
    while (found < fragments) {
      const { done, value } = await reader.read();
      if (done) {
        break;
      }
      parts.push(Buffer.from(value));
      found = Buffer.concat(parts).toString('latin1').split('moof').length - 1;
    }
    await reader.cancel();
    const all = Buffer.concat(parts);
    const last = found >= fragments ? all.lastIndexOf('moof', undefined, 'latin1') - 4 : all.length;
    return all.subarray(0, last);
  }
  async function record(id, fragments, name) {
    const response = await fetch(url(id));
    assert.equal(response.status, 200);
    const path = `${data.path}/${name}`;
    writeFileSync(path, await take(response, fragments));
    return { path, type: response.headers.get('content-type') };
  }
  function checkTimes(packets) {
    packets.slice(1).forEach(({ dts }, i) => {
      assert.ok(dts > packets[i].dts, `${dts} after ${packets[i].dts}`);
    });
  }

  it('plays a camera as it is, at the times of its results', async () => {
    const id = await addVideo('gate', rtsp.url, { transport: 'tcp' });
    const follower = await streams.follow(id);
    const { path, type } = await record(id, 40, 'live.mp4');
    assert.match(type, /^video\/mp4; codecs="avc1\.[0-9a-f]{6}"$/);
    assert.equal((await streams.get(id)).status.source.video, type);
    const packets = packetsOf(path);
    assert.equal(packets.length, 39);
    assert.ok(packets[0].key);
    checkTimes(packets);
    decodeAll(path);

    // a copy: what was sent is what is in the file
    const source = new Set(packetsOf(`${data.path}/camera.mp4`).map(({ hash }) => hash));
    const copied = packets.filter(({ hash, key }) => !key && source.has(hash));
    assert.equal(copied.length, packets.filter(({ key }) => !key).length); // key frames have parameters besides

    // 10 frames a second are sent, one is looked at: each at the time of a picture
    const times = packets.map(({ pts }) => pts);
    await eventually(
      () => follower.events.some(({ value: { media_time: t } }) => t > times[0] && t < times.at(-1)),
      'results at that time',
      PATIENCE_MS,
    );
    follower.events.map(({ value }) => value.media_time).filter((t) => t > times[0] && t < times.at(-1)).forEach((t) => {
      assert.ok(times.some((pts) => Math.abs(pts - t) < 0.002), `${t} is the time of a picture`);
    });
    await streams.ask(`/${id}`, 'DELETE');
  });

  it('goes on in time where a file begins again, with frames that are shown in another order', async () => {
    const id = await addVideo('loop', 'file:looped.mp4', { fps: 2 });
    const { path } = await record(id, 100, 'loop.mp4');
    const packets = packetsOf(path);
    checkTimes(packets);
    decodeAll(path);
    const shown = packets.map(({ pts }) => pts).sort((a, b) => a - b);
    shown.slice(1).forEach((pts, i) => {
      assert.ok(Math.abs(pts - shown[i] - 0.1) < 0.005, `${pts} after ${shown[i]}`);
    });
    await streams.ask(`/${id}`, 'DELETE');
  });

  it('costs the stream the same for fifty as for one', async () => {
    const id = await addVideo('crowd', rtsp.url, { transport: 'tcp' });
    const made = () => metric(server.url, 'stream_video_frames_total');
    const before = await made();
    const began = Date.now();
    const all = await Promise.all(Array.from({ length: 50 }, () => fetch(url(id))));
    const bytes = await Promise.all(all.map((response) => take(response, 30)));
    const seconds = (Date.now() - began) / 1000 + 1;
    assert.ok(bytes.every((one) => one.length > 1000));
    const spent = (await made()) - before;
    assert.ok(spent >= 10 && spent <= seconds * 10 + 20, `${spent} in ${seconds} s`);
    await streams.ask(`/${id}`, 'DELETE');
  });

  it('ends with the connection, and begins again with the next', async () => {
    const id = await addVideo('lost', rtsp.url, { transport: 'tcp' });
    const first = await fetch(url(id));
    const taken = take(first, 1e6);
    await rtsp.kill();
    const all = await taken;
    writeFileSync(`${data.path}/lost.mp4`, all);
    const before = packetsOf(`${data.path}/lost.mp4`);
    decodeAll(`${data.path}/lost.mp4`);
    rtsp = await startRtsp(`${data.path}/camera.mp4`, rtsp.port);
    await eventually(async () => (await fetch(url(id), { method: 'GET' }).then((r) => (r.body.cancel(), r.status))) === 200, 'video again', PATIENCE_MS);
    const { path } = await record(id, 15, 'again.mp4');
    assert.ok(packetsOf(path)[0].pts > before.at(-1).pts, 'later on the same timeline');
    await streams.ask(`/${id}`, 'DELETE');
  });

  it('cuts clips of events, which hold the moment', async () => {
    const lines = [{ name: 'gate', from: [0.5, 1], to: [0.5, 0] }];
    const rules = [{ name: 'over', kind: 'line_crossed', line: 'gate' }];
    const id = await addVideo('clips', rtsp.url, { transport: 'tcp', fps: 5, lines, rules });
    const events = async () => (await (await fetch(`${server.url}/api/v1/events?stream=${id}&limit=200`)).json()).items;
    const follower = await streams.follow(id);
    const first = (await streams.get(id)).status.source.video;
    assert.ok(first);
    // the first seconds have no five seconds before them
    const late = async () => (await events()).find(({ clip, clip_offset: offset }) => clip && offset >= 5);
    await eventually(late, 'an event has a clip with five seconds before it', 2 * PATIENCE_MS);
    const event = await late();
    const answer = await fetch(server.url + event.clip);
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'video/mp4');
    const path = `${data.path}/clip.mp4`;
    writeFileSync(path, Buffer.from(await answer.arrayBuffer()));
    decodeAll(path);
    const packets = packetsOf(path);
    checkTimes(packets);
    assert.ok(packets[0].key && packets[0].pts === 0);
    const end = packets.at(-1).pts;
    assert.ok(end > 9 && end < 13, `${end} s`); // ten, a group of one second, and those who share it
    assert.ok(event.clip_offset >= 5 && event.clip_offset < 7.2, `${event.clip_offset} s`);
    assert.ok(end - event.clip_offset > 4.5, 'and what came after it');
    assert.ok(packets.some(({ pts }) => Math.abs(pts - event.clip_offset) < 0.002), 'a picture of the moment');
    assert.ok(follower.events.length > 0);
    await streams.ask(`/${id}`, 'DELETE');
  });

  it('says where else there are pictures of a camera that sends JPEGs', async () => {
    const id = await streams.add('porch', mjpeg.url);
    await streams.becomes(id, 'live');
    assert.equal((await streams.get(id)).status.source.video, null);
    const { status, value } = await streams.ask(`/${id}/live.mp4`);
    assert.equal(status, 409);
    assert.match(value.detail, /mjpeg/);
    assert.match(JSON.stringify(value), /live\.mjpeg/);
    await streams.ask(`/${id}`, 'DELETE');
  });

  it('asks for patience while a camera is not there yet', async () => {
    const id = await streams.add('away', 'rtsp://127.0.0.1:9/cam');
    await streams.becomes(id, 'reconnecting');
    const { status, headers } = await streams.ask(`/${id}/live.mp4`);
    assert.equal(status, 503);
    assert.ok(headers.get('retry-after'));
    await streams.ask(`/${id}`, 'DELETE');
  });
});
