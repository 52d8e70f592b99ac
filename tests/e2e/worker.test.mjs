// nexus worker beside nexus serve: one that is told to stop gives its job back, another ends it and
// leaves nothing behind; and what it says when it cannot start.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { nexus, skipWithout, start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { addVideo, submitJob } from './lib/jobs.mjs';
import { binary, eventually, skipWithoutShared, startServer } from './lib/server.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const skip = skipWithoutShared();
const LONG_MS = 300_000;
const env = { DATABASE_URL: '', OBJECTS_URL: '' };

describe('nexus worker', { skip }, () => {
  let server;
  let data;
  let video;

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    const args = ['--data-dir', data.path];
    server = await startServer({ args, env: { ...env, RUN_JOBS: 'false' } });
    video = await addVideo(server);
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  const ask = (path, init) => fetch(`${server.url}/api/v1/${path}`, init);
  const submit = (options) =>
    submitJob(server, { video_id: video, outputs: ['csv'], ...options });
  const shown = async ({ id }) => (await ask(`jobs/${id}`)).json();
  const worker = () =>
    start(['worker', '--data-dir', data.path], { env, milliseconds: LONG_MS });
  async function stop({ child, ended }) {
    child.kill('SIGTERM');
    const { code, stderr } = await ended;
    assert.equal(code, 0, stderr);
  }

  it('gives a job back when it is told to stop, and another one ends it', async () => {
    const job = await submit({ stride: 6 });
    const first = worker();
    await eventually(async () => (await shown(job)).state === 'running', 'it runs', LONG_MS);
    await stop(first);
    assert.equal((await shown(job)).state, 'queued');
    const second = worker();
    await (await ask(`jobs/${job.id}/events`)).text(); // until it has ended
    await stop(second);
    const done = await shown(job);
    assert.equal(done.state, 'succeeded', done.error);
    assert.equal(done.attempts, 2);
    const folder = join(data.path, 'jobs');
    assert.deepEqual(existsSync(folder) ? readdirSync(folder) : [], []);
  });

  /** Descriptors that a process hands on to the program that it executes, unless it closes them. */
  const inherited = (pid) =>
    readdirSync(`/proc/${pid}/fdinfo`).filter((fd) => {
      const info = readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
      return Number(fd) > 2 && (parseInt(/^flags:\s*(\d+)$/m.exec(info)[1], 8) & 0o2000000) === 0;
    });

  it('begins anew after so many jobs, and loses none', async () => {
    const jobs = [];
    for (let i = 0; i < 5; i++) {
      jobs.push(await submit({ stride: 50 }));
    }
    const { child, ended } = start(['worker', '--data-dir', data.path, '--max-tasks', '2'], {
      env: { ...env, CONCURRENCY: '1' },
      milliseconds: LONG_MS,
    });
    let log = '';
    let before;
    child.stderr.on('data', (text) => {
      log += text;
      before ??= log.includes('ready for jobs') ? inherited(child.pid).length : undefined;
    });
    for (const job of jobs) {
      const told = ask(`jobs/${job.id}/events`).then((answer) => answer.text());
      await Promise.race([told, ended.then(({ stderr }) => assert.fail(stderr))]);
    }
    assert.equal(inherited(child.pid).length, before, 'descriptors gather');
    child.kill('SIGTERM');
    const { code, stderr } = await ended;
    assert.equal(code, 0, stderr);
    assert.equal(stderr.match(/2 jobs have ended: beginning anew/g)?.length, 2, stderr);
    assert.equal(stderr.match(/ready for jobs/g).length, 3, stderr);
    const done = await Promise.all(jobs.map(shown));
    assert.deepEqual(new Set(done.map(({ state }) => state)), new Set(['succeeded']));
    const sizes = done.map(({ results }) => results.map((one) => [one.name, one.size_bytes]));
    assert.deepEqual(sizes, Array(5).fill(sizes[0]));
  });

  it('ends when it is told to while it begins anew', async () => {
    const job = await submit({ stride: 100 });
    const { child, ended } = start(['worker', '--data-dir', data.path, '--max-tasks', '1'], {
      env,
      milliseconds: LONG_MS,
    });
    child.stderr.on('data', (text) => {
      if (text.includes('beginning anew')) {
        child.kill('SIGTERM');
      }
    });
    const { code, stderr } = await ended;
    assert.equal(code, 0, stderr);
    assert.match(stderr, /SIGTERM: giving jobs back/);
    assert.equal((await shown(job)).state, 'succeeded');
  });

  it('says what it lacks', async () => {
    const run = await nexus(['worker', '--data-dir', data.path, '--model', 'nobody'], { env });
    assert.equal(run.code, 3);
    assert.match(run.stderr, /nobody/);
    const bad = await nexus(['worker', '--concurrency', '0'], { env });
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /--concurrency: concurrency is 0; it must be from 1 to 256/);
  });
});

/** A disk of its own for one process needs mount namespaces. */
function skipWithoutMounts() {
  const args = ['--mount', '--map-root-user', 'mount', '-t', 'tmpfs', 'tmpfs', '/mnt'];
  if (spawnSync('unshare', args).status === 0) {
    return false;
  }
  console.error('SKIPPED: no disk can be mounted here');
  return 'no disk can be mounted here';
}

describe('a full disk', { skip: skipWithout('ffmpeg') || skipWithoutMounts() }, () => {
  it('lets its job wait with the reason, and the next one goes on', async (t) => {
    const data = makeDataDir();
    t.after(() => data.remove());
    const video = join(data.path, 'video.mp4');
    const jobs = join(data.path, 'jobs');
    mkdirSync(jobs);
    writeTinyModel(join(data.path, 'models/tiny.onnx'));
    execFileSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=s=320x240:r=25', '-t', '60',
      '-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p', video]);
    const settings = { ...env, NEXUS_MODEL: 'tiny', RUN_JOBS: 'false', CONCURRENCY: '1' };
    const server = await startServer({ args: ['--data-dir', data.path], env: settings });
    const ask = async (path, init) => (await fetch(`${server.url}/api/v1/${path}`, init)).json();
    const send = (path, type, body) =>
      ask(path, { method: 'POST', headers: { 'Content-Type': type }, body });
    const { id: video_id } = await send('videos', 'video/mp4', readFileSync(video));
    const submit = (options) =>
      send('videos/process', 'application/json', JSON.stringify({ video_id, ...options }));
    const large = await submit({ confidence: 0.01, outputs: ['csv'] });
    const small = await submit({ confidence: 0.5, stride: 500, outputs: ['mot'] });
    const mounted = `mount -t tmpfs -o size=16k tmpfs ${jobs} && exec ${binary} worker --data-dir ${data.path}`;
    const worker = start(['--mount', '--map-root-user', 'sh', '-c', mounted],
      { program: 'unshare', env: settings });
    try {
      await (await fetch(`${server.url}/api/v1/jobs/${small.id}/events`)).text(); // until its end
      const done = await ask(`jobs/${small.id}`);
      assert.equal(done.state, 'succeeded', done.error);
      let waits;
      await eventually(async () => {
        waits = await ask(`jobs/${large.id}`);
        return waits.error !== null;
      }, 'it says why', 30_000);
      assert.match(waits.error, /frames\.ndjson\.zst: No space left on device/);
      assert.equal(waits.state, 'queued');
    } finally {
      worker.child.kill('SIGTERM');
      assert.equal((await worker.ended).code, 0);
      assert.equal(await server.stop(), 0);
    }
  });
});
