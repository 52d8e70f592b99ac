// The kernel kills a worker for memory: for real, in a control group whose memory runs out. Another worker goes on with
// its job from the last checkpoint, to the bytes of a run that nobody disturbed.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { skipWithout, start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { sha256 } from './lib/hash.mjs';
import { submitJob } from './lib/jobs.mjs';
import { binary, children, eventually, skipWithoutShared, startServer } from './lib/server.mjs';
import { drawSquares } from './lib/squares.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const PATIENCE_MS = 60_000;
const ROOM = 16 << 20; /* between what the worker has and the limit */
const HOG = 256 << 20; /* bytes that somebody beside it wants */
const CHECKPOINT = 100; /* frames */
const SECONDS = 100; /* of video */

/** A control group of memory, of version 1 or 2; undefined: none can be made here. */
function makeGroup() {
  const kinds = [
    { home: '/sys/fs/cgroup/memory', limit: 'memory.limit_in_bytes', usage: 'memory.usage_in_bytes', kills: 'memory.oom_control' },
    { home: '/sys/fs/cgroup', limit: 'memory.max', usage: 'memory.current', kills: 'memory.events' },
  ];
  for (const { home, limit, usage, kills } of kinds) {
    const folder = join(home, `nexus-test-${process.pid}`);
    try {
      mkdirSync(folder);
    } catch {
      continue; // there is none of this version, or it is not ours
    }
    if (existsSync(join(folder, limit))) {
      return {
        procs: join(folder, 'cgroup.procs'),
        setLimit: (bytes) => writeFileSync(join(folder, limit), String(bytes)),
        usage: () => Number(readFileSync(join(folder, usage), 'utf8')),
        kills: () => Number(/^oom_kill (\d+)/m.exec(readFileSync(join(folder, kills), 'utf8'))[1]),
        remove: () => rmdirSync(folder),
      };
    }
    rmdirSync(folder);
  }
  return undefined;
}

function skipWithoutGroup() {
  const group = makeGroup();
  if (group !== undefined) {
    group.remove();
    return false;
  }
  console.error('SKIPPED: no control group of memory can be made here');
  return 'no control group of memory can be made here';
}

const skip = skipWithoutShared() || skipWithout('ffmpeg') || skipWithoutGroup();

describe('a worker that the kernel kills for memory', { skip }, () => {
  let group;
  let data;
  let server;
  const workers = [];
  const env = { NEXUS_MODEL: 'tiny', DATABASE_URL: '', OBJECTS_URL: '', JOB_LEASE: '2', CONCURRENCY: '1' };

  before(async () => {
    group = makeGroup();
    data = makeDataDir();
    writeTinyModel(`${data.path}/models/tiny.onnx`);
    drawSquares(`${data.path}/a.mp4`, SECONDS, [{ colour: 'red', size: '60x50', x: '130+130*sin(t/2)', y: '90' }]);
    server = await startServer({ args: ['--data-dir', data.path], env: { ...env, RUN_JOBS: 'false' } });
  });
  after(async () => {
    for (const { child, ended } of workers) {
      child.kill('SIGTERM');
      await ended;
    }
    await server?.stop();
    data?.remove();
    group?.remove();
  });

  const ask = (path, init) => fetch(`${server.url}/api/v1/${path}`, init);
  const job = async (id) => (await ask(`jobs/${id}`)).json();
  const worker = (before = '') => {
    const line = `${before} exec "$0" worker --data-dir "$1"`;
    workers.push(start(['-c', line, binary, data.path], { program: 'sh', env, milliseconds: 4 * PATIENCE_MS }));
    return workers.at(-1);
  };
  async function results(id) {
    await eventually(async () => (await job(id)).state === 'succeeded', 'the job ends', PATIENCE_MS);
    const found = {};
    for (const { name } of (await job(id)).results) {
      found[name] = sha256(Buffer.from(await (await ask(`jobs/${id}/results/${name}`)).arrayBuffer()));
    }
    return found;
  }

  it('is replaced by another, which goes on', async () => {
    const added = await ask('videos?name=a.mp4',
      { method: 'POST', headers: { 'Content-Type': 'video/mp4' }, body: readFileSync(`${data.path}/a.mp4`) });
    const { id: video } = await added.json();
    const victim = worker(`echo $$ > ${group.procs};`);
    const calm = await submitJob(server, { video_id: video });
    const expected = await results(calm.id);

    const { id } = await submitJob(server, { video_id: video });
    await eventually(async () => (await job(id)).progress?.frames_done > 2 * CHECKPOINT, 'checkpoints', PATIENCE_MS);
    writeFileSync(`/proc/${victim.child.pid}/oom_score_adj`, '1000');
    children(victim.child.pid).forEach((pid) => writeFileSync(`/proc/${pid}/oom_score_adj`, '0'));
    group.setLimit(group.usage() + ROOM);
    // somebody else in the group, whom the kernel must not choose, wants more than there is
    const hog = start(['-c', `echo -1000 > /proc/self/oom_score_adj; echo $$ > ${group.procs}; head -c ${HOG} /dev/zero | tail > /dev/null`],
      { program: 'sh', milliseconds: PATIENCE_MS });
    const { code, signal, stderr } = await victim.ended;
    assert.deepEqual([code, signal], [null, 'SIGKILL'], stderr);
    assert.ok(group.kills() >= 1, 'it was the kernel');
    group.setLimit(1 << 30);
    await hog.ended;

    worker();
    assert.deepEqual(await results(id), expected);
    const { attempts, progress } = await job(id);
    assert.equal(attempts, 2);
    assert.equal(progress.frames_done, SECONDS * 25);
    const told = (await (await ask(`jobs/${id}/events`)).text()).split('\n\n');
    const states = told.map((one) => /"state":"(\w+)"/.exec(/^id: \d+\nevent: state\ndata: (.*)$/.exec(one)?.[1] ?? '')?.[1])
      .filter((state) => state !== undefined);
    assert.deepEqual(states, ['queued', 'running', 'queued', 'running', 'succeeded']);
  });
});
