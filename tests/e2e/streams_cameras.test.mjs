// Live streams against real cameras: over RTSP and HTTP, killed, hung, lying, and back again.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { makeClip, skipWithoutRtsp, startLiar, startMjpeg, startRtsp } from './lib/cameras.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { eventually, metric, sharedPath, skipWithoutShared } from './lib/server.mjs';
import { hasPerson, PATIENCE_MS, sees, startStreams } from './lib/streams.mjs';

const skip = skipWithoutShared() || skipWithoutRtsp();

describe('streams from cameras', { skip }, () => {
  let data;
  let streams;
  let server;
  let rtsp;
  let mjpeg;
  let liar;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/camera.mp4`, { seconds: 5, times: 24 });
    rtsp = await startRtsp(`${data.path}/camera.mp4`);
    mjpeg = await startMjpeg(readFileSync(sharedPath('images/bus.jpg')));
    liar = await startLiar();
    streams = await startStreams(data);
    server = streams.server;
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    await rtsp?.kill();
    mjpeg?.close();
    liar?.close();
    data?.remove();
  });
  const ask = (...all) => streams.ask(...all);
  const add = (...all) => streams.add(...all);
  const get = (id) => streams.get(id);
  const becomes = (...all) => streams.becomes(...all);
  const follow = (...all) => streams.follow(...all);

  it('finds an RTSP camera again that was killed, and notices one that hangs', async () => {
    const id = await add('gate', rtsp.url, { transport: 'tcp' });
    assert.match((await get(id)).url, /^rtsp:\/\/\*\*\*@127\.0\.0\.1:\d+\/cam\?\*\*\*$/);
    await becomes(id, 'live');
    const follower = await follow(id);
    await sees(follower, hasPerson, 'a person');

    await rtsp.kill();
    await becomes(id, 'reconnecting', /gate: /);
    rtsp = await startRtsp(`${data.path}/camera.mp4`, rtsp.port);
    await becomes(id, 'live');
    assert.equal((await get(id)).status.reconnects, 1);

    rtsp.signal('SIGSTOP');
    await sees(follower, ({ state }) => state === 'stalled', 'the stall');
    const { value } = follower.events.find(({ value: { state } }) => state === 'stalled');
    assert.match(value.reason, /^gate: nothing came for [\d.]+ s behind frame \d+/);
    rtsp.signal('SIGCONT');
    await becomes(id, 'live');
    await eventually(async () => (await metric(server.url, 'stream_reconnects_total')) >= 2, 'counted', PATIENCE_MS);
    await ask(`/${id}`, 'DELETE');
  });

  it('takes RTP over UDP, and JPEGs over HTTP with a password', async () => {
    const udp = await add('udp', rtsp.url, { transport: 'udp' });
    const http = await add('porch', mjpeg.url);
    await becomes(udp, 'live');
    await becomes(http, 'live');
    const follower = await follow(http);
    await sees(follower, hasPerson, 'a person in bus.jpg');
    assert.equal((await get(http)).status.source.format, 'mpjpeg');
    await Promise.all([udp, http].map((id) => ask(`/${id}`, 'DELETE')));
  });

  it('says what is wrong with a camera that lies', async () => {
    const id = await add('liar', liar.url, { transport: 'tcp' });
    await becomes(id, 'reconnecting', /liar: /);
    const frame = await ask(`/${id}/frame.jpeg`);
    assert.equal(frame.status, 503);
    assert.ok(frame.headers.get('retry-after'));
    await ask(`/${id}`, 'DELETE');
  });

  it('keeps passwords out of its log', () => {
    assert.doesNotMatch(server.logs(), /secret/);
  });
});
