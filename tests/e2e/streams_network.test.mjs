// Live streams over HLS, and over a network that is too slow for the camera.

import assert from 'node:assert/strict';
import { mkdirSync, statSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { makeClip, skipWithoutRtsp, startHls, startRtsp, startSlowNetwork } from './lib/cameras.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { eventually, sharedPath, skipWithoutShared } from './lib/server.mjs';
import { hasPerson, PATIENCE_MS, sees, startStreams } from './lib/streams.mjs';

const skip = skipWithoutShared() || skipWithoutRtsp();

describe('streams over networks', { skip }, () => {
  let data;
  let streams;
  let rtsp;
  const cameras = [];

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/camera.mp4`, { seconds: 5, times: 24 });
    rtsp = await startRtsp(`${data.path}/camera.mp4`);
    streams = await startStreams(data);
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    await rtsp?.kill();
    cameras.forEach((camera) => camera.close());
    data?.remove();
  });

  async function hls(name, options) {
    const folder = `${data.path}/${name}`;
    mkdirSync(folder);
    const camera = await startHls(`${data.path}/camera.mp4`, folder, options);
    cameras.push(camera);
    return camera;
  }

  /** Every frame that came is one that was looked at, or one that was dropped for a reason. */
  async function balance(id) {
    const { status } = await streams.get(id);
    const dropped = Object.values(status.frames_dropped).reduce((sum, count) => sum + count, 0);
    assert.equal(status.frames_received, status.frames_processed + dropped, JSON.stringify(status));
    return status;
  }

  it('plays HLS at its own speed, notices its end, and takes it up again', async () => {
    const camera = await hls('hls');
    const id = await streams.add('gate', camera.url);
    await streams.becomes(id, 'live');
    const follower = await streams.follow(id);
    await sees(follower, hasPerson, 'a person');
    await sees(follower, ({ time }) => time > 6, 'more than the first playlist had');
    const { status } = await streams.get(id);
    const { video, ...source } = status.source;
    assert.deepEqual(source, { format: 'hls', codec: 'h264', width: 640, height: 480 });
    assert.match(video, /^video\/mp4; codecs="avc1\./);
    const frames = follower.events.filter(({ kind }) => kind === 'frame').map(({ value }) => value);
    const [first, last] = [frames[0], frames.at(-1)];
    const passed = (Date.parse(last.at) - Date.parse(first.at)) / 1000;
    assert.ok(passed > 0.5 * (last.time - first.time), `${last.time - first.time} s in ${passed} s`);
    assert.ok(new Set(camera.asked).size > 5, camera.asked.join(' '));
    camera.hang();
    await sees(follower, ({ state }) => state === 'stalled' || state === 'reconnecting', 'the end');
    camera.start();
    await streams.becomes(id, 'live');
    await balance(id);
    await streams.ask(`/${id}`, 'DELETE');
  });

  it('takes the pieces of an HLS playlist that names its own host', async () => {
    const own = await hls('own', { baseUrl: 'http://HOST/' });
    const other = await hls('other', { baseUrl: 'http://127.0.0.2/' });
    const id = await streams.add('own', own.url);
    const refused = await streams.add('other', other.url);
    await streams.becomes(id, 'live');
    await streams.becomes(refused, 'reconnecting', /other: /);
    await Promise.all([id, refused].map((one) => streams.ask(`/${one}`, 'DELETE')));
  });

  it('goes on with what a slow network lets through, and says when that is nothing', async () => {
    const network = await startSlowNetwork(rtsp.port, 1 << 20);
    cameras.push(network);
    const url = rtsp.url.replace(String(rtsp.port), String(network.port));
    const id = await streams.add('slow', url, { transport: 'tcp', fps: null });
    await streams.becomes(id, 'live');
    const before = await balance(id);
    network.setRate((0.6 * statSync(`${data.path}/camera.mp4`).size) / 120); // of two minutes
    await eventually(async () => (await balance(id)).frames_received > before.frames_received + 20, 'frames', PATIENCE_MS);
    const follower = await streams.follow(id);
    network.setRate(0);
    await sees(follower, ({ state }) => state === 'stalled', 'the stall');
    await balance(id);
    network.setRate(1 << 20);
    await streams.becomes(id, 'live');
    const after = await balance(id);
    assert.ok(after.reconnects >= 1);
    await streams.ask(`/${id}`, 'DELETE');
  });
});
