// Cameras over TLS: https:// and rtsps://, checked by the name in their URL; and certificates that are
// somebody else's.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import {
  makeAuthority, makeClip, makeCrowd, skipWithoutRtsp, startHls, startMjpeg, startRtsp, startTls,
} from './lib/cameras.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { sharedPath, skipWithoutShared } from './lib/server.mjs';
import { startStreams } from './lib/streams.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const skip = skipWithoutShared() || skipWithoutRtsp();

describe('streams over TLS', { skip }, () => {
  let data;
  let authority;
  let streams;
  let mjpeg;
  let rtsp;
  const cameras = [];

  before(async () => {
    data = makeDataDir();
    writeTinyModel(`${data.path}/models/base.onnx`);
    authority = makeAuthority(data.path);
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/camera.mp4`, { seconds: 5, times: 24 });
    mjpeg = await startMjpeg(makeCrowd(64));
    rtsp = await startRtsp(`${data.path}/camera.mp4`);
    streams = await startStreams(data, { NEXUS_MODEL: 'base', STREAM_CA_FILE: authority.ca });
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    await rtsp?.kill();
    [mjpeg, ...cameras].forEach((camera) => camera?.close());
    data?.remove();
  });

  async function tls(port, name) {
    const camera = await startTls(port, authority.of(name));
    cameras.push(camera);
    return camera;
  }
  const portOf = ({ url }) => new URL(url).port;

  it('come from those whose certificate is for the name that was asked for', async () => {
    const https = await tls(portOf(mjpeg), 'localhost');
    const rtsps = await tls(rtsp.port, 'localhost');
    const one = await streams.add('https', `https://me:secret@localhost:${https.port}/video`);
    const two = await streams.add('rtsps', `rtsps://me:secret@localhost:${rtsps.port}/cam?token=secret`);
    await streams.becomes(one, 'live');
    await streams.becomes(two, 'live');
    assert.ok([...https.names, ...rtsps.names].every((name) => name === 'localhost'));
    assert.match((await streams.get(two)).url, /^rtsps:\/\/\*\*\*@localhost:\d+\/cam\?\*\*\*$/);
    await Promise.all([one, two].map((id) => streams.ask(`/${id}`, 'DELETE')));
  });

  it('take the pieces of HLS the same way', async () => {
    mkdirSync(`${data.path}/hls`);
    const hls = await startHls(`${data.path}/camera.mp4`, `${data.path}/hls`);
    cameras.push(hls);
    const https = await tls(portOf(hls), 'localhost');
    const id = await streams.add('hls', `https://me:secret@localhost:${https.port}/cam.m3u8`);
    await streams.becomes(id, 'live');
    await streams.ask(`/${id}`, 'DELETE');
  });

  it('do not come from anybody else', async () => {
    const other = await tls(portOf(mjpeg), 'camera.example');
    const named = await streams.add('other', `https://me:secret@localhost:${other.port}/video`);
    const address = await streams.add('address', `https://me:secret@127.0.0.1:${other.port}/video`);
    const plain = await streams.add('plain', `https://me:secret@localhost:${portOf(mjpeg)}/video`);
    await streams.becomes(named, 'reconnecting', /other: the camera's certificate is not good: /);
    await streams.becomes(address, 'reconnecting', /address: the camera's certificate is not good: /);
    await streams.becomes(plain, 'reconnecting', /plain: the camera cannot be connected to: /);
    await Promise.all([named, address, plain].map((id) => streams.ask(`/${id}`, 'DELETE')));
    assert.doesNotMatch(streams.server.logs(), /secret/);
  });
});
