// A disk that is full, for real: a small file system that is filled while somebody uploads, a job writes, and
// PostgreSQL or SQLite want to grow. What is refused is refused with the reason, what was confirmed is
// there, pictures are still looked at, and everything goes on when there is space again.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { skipWithout, skipWithoutFull, start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { sha256 } from './lib/hash.mjs';
import { freePort } from './lib/ports.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { binary, eventually, metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { canBeOthers, makeSmallDisk, skipWithoutSmallDisk } from './lib/small_disk.mjs';
import { drawSquares } from './lib/squares.mjs';
import { tinyModel, writeTinyModel } from './lib/tiny_model.mjs';

const MiB = 1 << 20;
const PATIENCE_MS = 60_000; // a machine that is busy may take its time
const TUS = { 'Tus-Resumable': '1.0.0' };
const skip = skipWithoutShared() || skipWithout('ffmpeg') || skipWithoutSmallDisk();

/** Noise, which no encoder makes small, and on it a red square that goes to and fro. */
function makeVideo(path) {
  drawSquares(path, 8, [{ colour: 'red', size: '80x80', x: '120+100*sin(t)', y: '80' }],
    { fps: 10, background: (size, fps) => `nullsrc=s=${size}:r=${fps},geq=lum=128+40*(random(0)-0.5):cb=128:cr=128` });
}

/** What is asked of a server here. */
function client(server) {
  const ask = (path, init) => fetch(`${server.url}/api/v1/${path}`, init);
  const json = (path, value, method = 'POST') =>
    ask(path, { method, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(value) });
  return {
    ask,
    json,
    get: async (path) => (await ask(path)).json(),
    addVideo: (bytes) => ask('videos?name=a.mp4', { method: 'POST', headers: { 'Content-Type': 'video/mp4' }, body: bytes }),
    addModel: (bytes) => ask('models?name=more', { method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: bytes }),
    submit: (video, more = {}) => json('videos/process', { video_id: video, ...more }),
    detect: () => ask('inference/image', {
      method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: readFileSync(sharedPath('images/bus.jpg')),
    }),
    ready: async () => (await fetch(`${server.url}/health/ready`)).json(),
  };
}

async function assertFull(answer) {
  const problem = await answer.json();
  assert.equal(answer.status, 507, JSON.stringify(problem));
  assert.match(problem.detail, /full|No space left/);
  assert.match(problem.advice, /[Ff]ree some space/);
}

describe('a full disk under DATA_DIR', { skip }, () => {
  let disk;
  let server;
  let nx;
  let bytes;
  let video;

  before(async () => {
    disk = await makeSmallDisk(32 * MiB);
    makeDataDir({}, disk.seen);
    writeTinyModel(`${disk.seen}/models/tiny.onnx`);
    makeVideo(`${disk.seen}/loop.mp4`);
    bytes = readFileSync(`${disk.seen}/loop.mp4`);
    server = await startServer({
      inside: disk.inside(),
      args: ['--data-dir', disk.path],
      env: {
        NEXUS_MODEL: 'tiny', DATABASE_URL: '', OBJECTS_URL: '', JOB_LEASE: '5',
      },
    });
    nx = client(server);
    const answer = await nx.addVideo(bytes);
    assert.equal(answer.status, 201);
    video = (await answer.json()).id;
  });
  after(async () => {
    assert.equal(await server?.stop(), 0, server?.logs());
    await disk?.remove();
  });
  const files = (folder) => readdirSync(`${disk.seen}/${folder}`, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile()).map(({ name }) => name);
  const other = () => Buffer.concat([bytes, Buffer.from(String(Math.random()))]); // bytes that nobody has yet

  it('refuses uploads, keeps what was confirmed of them, and goes on', async () => {
    const mine = other();
    const begun = await nx.ask('uploads', { method: 'POST', headers: { ...TUS, 'Upload-Length': String(mine.length) } });
    const at = begun.headers.get('location');
    const patch = (offset, body) => fetch(server.url + at, {
      method: 'PATCH',
      headers: { ...TUS, 'Upload-Offset': String(offset), 'Content-Type': 'application/offset+octet-stream' },
      body,
    });
    const offset = async () =>
      Number((await fetch(server.url + at, { method: 'HEAD', headers: TUS })).headers.get('upload-offset'));
    const half = mine.length >> 1;
    assert.equal((await patch(0, mine.subarray(0, half))).status, 204);
    const before = files('.');
    const objects = files('objects');
    disk.fill();
    await assertFull(await nx.addVideo(other()));
    await assertFull(await nx.addModel(tinyModel(undefined, 0.9)));
    await assertFull(await patch(half, mine.subarray(half)));
    assert.ok((await offset()) >= half);
    assert.deepEqual(files('.').filter((name) => name !== 'filler').sort(), before.sort(), 'nothing half is left');
    assert.deepEqual(files('objects'), objects);
    // the rest is as ever
    assert.equal((await nx.detect()).status, 200);
    assert.equal((await fetch(`${server.url}/health`)).status, 200);
    assert.equal((await nx.get('videos')).items.length, 1);
    const { status, disk: shown } = await nx.ready();
    assert.equal(status, 'ready');
    assert.equal(shown.ready, false);
    assert.match(shown.reason, /full/);
    assert.ok(shown.free_bytes < MiB);
    assert.ok(await metric(server.url, 'data_disk_free_bytes') < MiB);

    disk.free();
    const from = await offset();
    const done = await patch(from, mine.subarray(from));
    assert.equal(done.status, 204, await done.text());
    const kept = (await nx.get('videos')).items.find(({ id }) => id !== video);
    const content = await nx.ask(`videos/${kept.id}/content`);
    assert.equal(sha256(Buffer.from(await content.arrayBuffer())), sha256(mine));
    assert.equal((await nx.addModel(tinyModel(undefined, 0.9))).status, 201);
    assert.equal((await nx.ready()).disk.ready, true);
  });

  it('lets a job that fills it say why, and tried again it ends as one that nobody disturbed', async () => {
    const ended = (id) => eventually(async () => ['succeeded', 'failed', 'dead'].includes((await nx.get(`jobs/${id}`)).state),
      'the job ends', PATIENCE_MS);
    const run = async () => {
      const job = await (await nx.submit(video, { outputs: ['video', 'csv'] })).json();
      await ended(job.id);
      return nx.get(`jobs/${job.id}`);
    };
    const hashes = async ({ id, results }) => Object.fromEntries(await Promise.all(results.map(async ({ name }) =>
      [name, sha256(Buffer.from(await (await nx.ask(`jobs/${id}/results/${name}`)).arrayBuffer()))])));
    const calm = await run();
    assert.equal(calm.state, 'succeeded', calm.error);
    const size = calm.results.find(({ name }) => name === 'annotated.mp4').size_bytes;
    assert.ok(size > 300_000, `${size}`);

    disk.fill(size >> 1);
    const { id } = await (await nx.submit(video, { outputs: ['video', 'csv'] })).json();
    const told = async () => /No space left|disk is full/.test((await nx.get(`jobs/${id}`)).error);
    await eventually(told, 'the job says why it does not get on', PATIENCE_MS);
    assert.equal((await nx.detect()).status, 200);
    disk.free();
    await ended(id); // it is tried again some times, and given up for good then
    if ((await nx.get(`jobs/${id}`)).state === 'dead') {
      assert.equal((await nx.ask(`jobs/${id}/retry`, { method: 'POST' })).status, 202);
      await ended(id);
    }
    const again = await nx.get(`jobs/${id}`);
    assert.equal(again.state, 'succeeded', again.error);
    assert.deepEqual(await hashes(again), await hashes(calm));
    assert.deepEqual(files('jobs'), []);
  });

  it('leaves a backup that does not fit out of the list, and the next one is made', async () => {
    const [program, ...inside] = disk.inside();
    const folder = join(disk.path, 'backups');
    const backup = (...args) => start([...inside, binary, 'backup', ...args, folder, '--data-dir', disk.path],
      { program, env: { DATABASE_URL: '', OBJECTS_URL: '' } }).ended;
    disk.fill(64 << 10);
    const failed = await backup();
    assert.notEqual(failed.code, 0);
    assert.match(failed.stderr, /No space left|disk is full/);
    disk.free();
    assert.doesNotMatch((await backup('--list')).stdout, /\d{4}-\d\d-\d\d/);
    const made = await backup();
    assert.equal(made.code, 0, made.stderr);
    assert.equal((await backup('--verify')).code, 0);
    assert.equal((await backup('--list')).stdout.match(/\d{4}-?\d\d-?\d\d/g).length > 0, true);
  });
});

describe('a full disk under the log', { skip: skip || skipWithoutFull }, () => {
  it('costs lines of the log, and nothing else', async () => {
    const data = makeDataDir();
    writeTinyModel(`${data.path}/models/tiny.onnx`);
    const port = await freePort();
    const full = openSync('/dev/full', 'w');
    const child = spawn(binary, ['serve', '--port', String(port), '--data-dir', data.path],
      { env: { ...process.env, NEXUS_MODEL: 'tiny', DATABASE_URL: '', OBJECTS_URL: '' }, stdio: ['ignore', full, full] });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    const nx = client({ url: `http://127.0.0.1:${port}` });
    await eventually(async () => {
      try {
        return (await nx.ready()).status === 'ready';
      } catch {
        assert.equal(child.exitCode, null);
        return false; // it does not listen yet
      }
    }, 'it is ready', PATIENCE_MS);
    assert.equal((await nx.detect()).status, 200);
    child.kill('SIGTERM');
    assert.equal(await exited, 0);
    data.remove();
  });
});

/** A database whose disk is full refuses what it has no room for, tells what is there, and takes everything again. */
function fullDatabase(name, { skip: why, bytes, open }) {
  describe(`a full disk under ${name}`, { skip: why }, () => {
    let disk;
    let data;
    let database;
    let server;
    let nx;
    let video;

    before(async () => {
      disk = await makeSmallDisk(bytes);
      data = makeDataDir();
      writeTinyModel(`${data.path}/models/tiny.onnx`);
      database = await open(disk);
      server = await startServer({
        inside: disk.inside(),
        args: ['--data-dir', data.path],
        env: { NEXUS_MODEL: 'tiny', DATABASE_URL: database.url, OBJECTS_URL: '', RUN_JOBS: 'false' },
      });
      nx = client(server);
      makeVideo(join(data.path, 'a.mp4'));
      const answer = await nx.addVideo(readFileSync(join(data.path, 'a.mp4')));
      assert.equal(answer.status, 201);
      video = (await answer.json()).id;
    });
    after(async () => {
      assert.equal(await server?.stop(), 0, server?.logs());
      await database?.remove?.();
      await disk?.remove();
      data?.remove();
    });

    it('is told, and over when there is space', { timeout: 2 * PATIENCE_MS }, async () => {
      const taken = [];
      const zone = Array.from({ length: 60 }, (_, i) => [0.5 + 0.4 * Math.cos(i / 10), 0.5 + 0.4 * Math.sin(i / 10)]);
      const zones = Array.from({ length: 10 }, (_, i) => ({ name: `zone ${i}`, polygon: zone })); // a row that is not small
      disk.fill();
      let refused;
      while (refused === undefined) {
        const answer = await nx.submit(video, { zones });
        if (answer.status === 202) {
          taken.push((await answer.json()).id);
          disk.fill();
        } else {
          refused = answer;
        }
      }
      await assertFull(refused);
      for (const id of taken) {
        assert.equal((await nx.get(`jobs/${id}`)).state, 'queued');
      }
      assert.equal((await nx.detect()).status, 200);
      assert.equal((await nx.ready()).status, 'ready');
      disk.free();
      await eventually(async () => {
        const answer = await nx.submit(video);
        taken.push((await answer.json()).id);
        return answer.status === 202;
      }, 'a job is taken', PATIENCE_MS);
      const { items } = await nx.get('jobs?limit=200');
      assert.deepEqual(items.map(({ id }) => id).sort(), taken.filter((id) => id !== undefined).sort());
    });
  });
}

fullDatabase('SQLite', {
  skip,
  bytes: 4 * MiB,
  open(disk) {
    mkdirSync(join(disk.seen, 'db'));
    return { url: `sqlite:${join(disk.path, 'db/nexus.db')}` };
  },
});
fullDatabase('PostgreSQL', {
  skip: skip || skipWithoutPostgres() || (canBeOthers ? false : 'only root can start a PostgreSQL in there'),
  bytes: 160 * MiB,
  open: (disk) => startPostgres({ disk }),
});
