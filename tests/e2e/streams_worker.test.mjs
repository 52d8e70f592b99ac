// A live stream that nexus worker runs, beside a server that runs none.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { makeCrowd, skipWithoutFfmpeg, startMjpeg } from './lib/cameras.mjs';
import { start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { startStreams } from './lib/streams.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const LONG_MS = 300_000;

describe('a worker with streams', { skip: skipWithoutFfmpeg() }, () => {
  let data;
  let camera;
  let streams;

  before(async () => {
    data = makeDataDir();
    writeTinyModel(join(data.path, 'models/base.onnx'));
    camera = await startMjpeg(makeCrowd(64));
    streams = await startStreams(data, { NEXUS_MODEL: 'base', STREAMS_AT_ONCE: '0' });
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    camera?.close();
    data?.remove();
  });

  it('runs them only where it is told to, and gives them back when it stops', async () => {
    const work = (...more) => start(['worker', '--data-dir', data.path, '--model', 'base', ...more], {
      env: { DATABASE_URL: '', OBJECTS_URL: '', STREAM_ALLOW_LOOPBACK: 'true' },
      milliseconds: LONG_MS,
    });
    const id = await streams.add('porch', camera.url);
    const idle = work();
    const worker = work('--streams', '2');
    await streams.becomes(id, 'live');
    const stream = await streams.get(id);
    assert.deepEqual([stream.here, stream.host.endsWith(`:${worker.child.pid}`)], [false, true], stream.host);
    assert.ok(stream.status.frames_processed > 0);
    worker.child.kill('SIGTERM');
    const { code, stderr } = await worker.ended;
    assert.equal(code, 0, stderr);
    await streams.becomes(id, 'stopped', /the server stops/);
    idle.child.kill('SIGTERM');
    assert.equal((await idle.ended).code, 0);
  });
});
