// nexus backup and nexus restore: a real server with users, keys, models, videos, jobs with results,
// streams with events, from SQLite to PostgreSQL and S3 and back; beside running jobs; killed.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { addKey, addUser, ask, json, setUp, signIn } from './lib/accounts.mjs';
import { makeClip, skipWithoutFfmpeg } from './lib/cameras.mjs';
import { nexus, scratch, start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { skipWithoutS3, startS3 } from './lib/s3.mjs';
import { eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared() || skipWithoutFfmpeg() || skipWithoutPostgres() || skipWithoutS3();
const WAIT_MS = 90_000;
const PLAIN = { DATABASE_URL: '', OBJECTS_URL: '', LOG_LEVEL: 'error' };
const SCOPES = ['read', 'infer', 'videos', 'models', 'metrics', 'admin', 'streams'];
const sha = (bytes) => createHash('sha256').update(bytes).digest('hex');

/** What changes with the time and the server that tells it, and is no part of a backup. */
const VOLATILE = ['login_at', 'used_at', 'last_login_at', 'last_used_at', 'status', 'lease', 'loaded', 'device', 'state_at', 'updated_at',
  'memory_bytes', 'loaded_at', 'inferences', 'added_at', 'counts', 'here', 'host', 'reason'];
const steady = (value) => {
  if (Array.isArray(value)) {
    return value.map(steady);
  }
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(
      Object.entries(value).filter(([name]) => !VOLATILE.includes(name)).map(([name, one]) => [name, steady(one)]),
    );
  }
  return value;
};

/** All that a client can see of the data. */
async function look(server, { headers }) {
  const get = async (path) => {
    const { status, value } = await ask(server, path, { headers });
    assert.equal(status, 200, `${path}: ${JSON.stringify(value)}`);
    return value;
  };
  const hash = async (path) => {
    const answer = await fetch(server.url + path, { headers });
    assert.equal(answer.status, 200, path);
    return sha(Buffer.from(await answer.arrayBuffer()));
  };
  const seen = {};
  for (const name of ['users', 'keys', 'videos', 'jobs', 'streams', 'events', 'models']) {
    seen[name] = (await get(`/api/v1/${name}`)).items ?? (await get(`/api/v1/${name}`));
  }
  const hashes = {};
  for (const { id } of seen.videos) {
    hashes[id] = await hash(`/api/v1/videos/${id}/content`);
  }
  for (const job of seen.jobs) {
    for (const name of job.state === 'succeeded' ? ['frames.ndjson', 'summary.json'] : []) {
      hashes[`${job.id} ${name}`] = await hash(`/api/v1/jobs/${job.id}/results/${name}`);
    }
  }
  for (const { id, snapshot } of seen.events) {
    if (snapshot) {
      hashes[id] = await hash(`/api/v1/events/${id}/snapshot`);
    }
  }
  return { ...steady(seen), hashes };
}

describe('nexus backup and nexus restore', { skip }, () => {
  let data;
  let server;
  let admin;
  let key;
  let seen;
  let folder;
  let postgres;
  let s3;
  const others = [];

  const run = (command, place, args = [], env = {}) =>
    nexus([command, ...args, '--data-dir', place.path, folder], { env: { ...PLAIN, ...env }, milliseconds: WAIT_MS });
  const serve = (place, env = {}) =>
    startServer({
      args: ['--data-dir', place.path],
      env: { ...PLAIN, LOG_LEVEL: 'info', STREAM_FILES_DIR: place.path, CONCURRENCY: '1', ...env },
    });
  const otherPlace = () => {
    others.push(makeDataDir({}));
    return others.at(-1);
  };
  async function submit(video, more = {}) {
    const answer = await ask(server, '/api/v1/videos/process',
      json('POST', { video_id: video, stride: 10, ...more }, key.headers));
    assert.equal(answer.status, 202, JSON.stringify(answer.value));
    return answer.value.id;
  }
  const jobState = async (id) => (await ask(server, `/api/v1/jobs/${id}`, { headers: key.headers })).value.state;

  before(async () => {
    [postgres, s3] = await Promise.all([startPostgres(), startS3()]);
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    others.push(data);
    makeClip(sharedPath('videos/pets09-s2l1.mp4'), `${data.path}/loop.mp4`, { seconds: 3 });
    server = await serve(data);
    admin = await setUp(server);
    await addUser(server, admin, 'bob', 'operator');
    key = await addKey(server, admin, SCOPES.filter((scope) => scope !== 'admin' && scope !== 'streams'));
    folder = `${data.path}-backups`;
    const made = await fetch(`${server.url}/api/v1/videos?name=cars.mp4`, {
      method: 'POST',
      headers: { ...key.headers, 'Content-Type': 'video/mp4' },
      body: readFileSync(`${data.path}/loop.mp4`),
    });
    assert.equal(made.status, 201);
    const video = (await made.json()).id;
    const job = await submit(video);
    await eventually(async () => (await jobState(job)) === 'succeeded', 'the job ends', WAIT_MS);
    const everywhere = [[0, 0], [1, 0], [1, 1], [0, 1]];
    const stream = await ask(server, '/api/v1/streams', json('POST', {
      name: 'yard',
      url: 'file:loop.mp4',
      fps: 3,
      zones: [{ name: 'all', polygon: everywhere }],
      rules: [{ name: 'came', kind: 'object_appeared', classes: ['person'], cooldown: 3600 }],
    }, admin.headers));
    assert.equal(stream.status, 201, JSON.stringify(stream.value));
    await eventually(async () => {
      const { value } = await ask(server, '/api/v1/events', { headers: admin.headers });
      return value.items.length > 0 && value.items.every(({ snapshot }) => snapshot);
    }, 'an event has its picture', WAIT_MS);
    const stopped = await ask(server, `/api/v1/streams/${stream.value.id}`,
      json('PATCH', { enabled: false }, admin.headers));
    assert.equal(stopped.status, 200, JSON.stringify(stopped.value));
    await eventually(async () => {
      const { value } = await ask(server, `/api/v1/streams/${stream.value.id}`, { headers: admin.headers });
      return value.state === 'stopped';
    }, 'the stream stops', WAIT_MS);
    seen = await look(server, admin);
    assert.ok(Object.keys(seen.hashes).length >= 4, JSON.stringify(seen.hashes));
  });

  after(async () => {
    assert.equal(await server?.stop(), 0);
    await postgres?.remove();
    s3?.remove();
    others.forEach(({ remove }) => remove());
    rmSync(folder, { recursive: true, force: true });
  });

  /** A server on the place answers as the first one did. */
  async function answersTheSame(place, env = {}) {
    const audit = await nexus(['audit', 'verify', '--data-dir', place.path], { env: { ...PLAIN, ...env } });
    assert.equal(audit.code, 0, audit.stderr);
    const there = await serve(place, { ...env, RUN_JOBS: 'false' });
    try {
      assert.equal((await ask(there, '/api/v1/users', { headers: admin.headers })).status, 401); // sessions stay behind
      const again = await signIn(there, 'ann');
      assert.deepEqual(await look(there, again), seen);
      assert.equal((await ask(there, '/api/v1/videos', { headers: key.headers })).status, 200); // keys do not
    } finally {
      assert.equal(await there.stop(), 0);
    }
  }

  it('gives back what a running server has, from SQLite to PostgreSQL and S3 and back', async () => {
    const made = await run('backup', data);
    assert.equal(made.code, 0, made.stderr);
    assert.match(made.stdout, /^backup \d{8}T\d{9}Z-[0-9a-f]{4}\n {2}\d+ rows of \d+ tables\n/);
    const checked = await run('backup', data, ['--verify']);
    assert.match(checked.stdout, /is intact/);

    const first = otherPlace();
    const restored = await run('restore', first);
    assert.equal(restored.code, 0, restored.stderr);
    await answersTheSame(first);

    const far = { DATABASE_URL: postgres.url, ...s3.env };
    const second = otherPlace();
    assert.equal((await run('restore', second, [], far)).code, 0);
    await answersTheSame(second, far);
    const back = await run('backup', second, [], far);
    assert.equal(back.code, 0, back.stderr);
    assert.match(back.stdout, /, of which 0 \(0\.0 MB\) are new/); // the same objects

    const third = otherPlace();
    assert.equal((await run('restore', third)).code, 0);
    await answersTheSame(third);

    const list = await nexus(['backup', '--list', '--json', folder], { env: PLAIN });
    const backups = list.stdout.trim().split('\n').map((line) => JSON.parse(line));
    assert.deepEqual(backups.map(({ database }) => database), ['sqlite', 'postgresql']);
    assert.deepEqual(backups.map(({ missing }) => missing), [0, 0]);
  });

  it('refuses a database that is in use or not empty, and says what is there', async () => {
    const used = await run('restore', data, ['--force']);
    assert.equal(used.code, 3);
    assert.match(used.stderr, /another process has .*nexus\.db open; stop the servers/);
    const full = otherPlace();
    assert.equal((await run('restore', full)).code, 0);
    const refused = await run('restore', full);
    assert.equal(refused.code, 3);
    assert.match(refused.stderr, /not empty \(2 users, 1 API keys, 1 videos, 1 jobs.*--force/);
    assert.equal((await run('restore', full, ['--force'])).code, 0);
    const far = { DATABASE_URL: postgres.url, ...s3.env };
    const place = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    others.push(place);
    const there = await serve(place, { ...far, RUN_JOBS: 'false' });
    const busy = await run('restore', place, ['--force'], far);
    assert.equal(await there.stop(), 0);
    assert.equal(busy.code, 3);
    assert.match(busy.stderr, /other connections of Nexus/);
  });

  it('is encrypted by choice, shares objects and keeps as many as it is told', async (t) => {
    const place = scratch(t);
    writeFileSync(`${place}/key`, 'what only the operator knows\n');
    const backup = (...args) =>
      nexus(['backup', ...args, '--data-dir', data.path, `${place}/b`], { env: PLAIN, milliseconds: WAIT_MS });
    const sealed = ['--key-file', `${place}/key`];
    for (let i = 0; i < 3; i++) {
      const made = await backup(...sealed, '--keep', '2');
      assert.equal(made.code, 0, made.stderr);
      assert.match(made.stdout, i === 0 ? /of which [1-9]/ : /of which 0/);
    }
    assert.equal(readdirSync(`${place}/b/backups`).length, 2);
    assert.match((await backup(...sealed, '--verify')).stdout, /is intact/);
    const names = readdirSync(`${place}/b`, { recursive: true }).join('\n');
    for (const hash of Object.values(seen.hashes)) {
      assert.ok(!names.includes(hash));
    }
    for (const file of readdirSync(`${place}/b`, { recursive: true }).map((name) => `${place}/b/${name}`)) {
      assert.equal(statSync(file).mode & 0o077 & (file.endsWith('nexus-backup.json') ? 0 : 0o077), 0, file);
    }
    const without = await backup('--verify');
    assert.equal(without.code, 2);
    assert.match(without.stderr, /encrypted; give the key with --key-file/);
    writeFileSync(`${place}/other`, 'what somebody else guesses\n');
    const wrong = await backup('--key-file', `${place}/other`);
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /is not that of the backups/);
    // damage, somewhere in an object
    const object = readdirSync(`${place}/b/objects`, { recursive: true }).find((name) => name.endsWith('.enc'));
    const bytes = readFileSync(`${place}/b/objects/${object}`);
    bytes[Math.floor(bytes.length / 2)] ^= 1;
    writeFileSync(`${place}/b/objects/${object}`, bytes);
    const damaged = await backup(...sealed, '--verify');
    assert.equal(damaged.code, 1);
    assert.match(damaged.stderr, /is damaged/);
    const target = otherPlace();
    const refused = await nexus(['restore', ...sealed, '--data-dir', target.path, `${place}/b`], { env: PLAIN });
    assert.equal(refused.code, 3);
    assert.match(refused.stderr, /is damaged/);
    assert.equal((await nexus(['users', 'list', '--data-dir', target.path], { env: PLAIN })).stdout, '');
  });

  it('leaves nothing half when it is killed, and no job is disturbed', async (t) => {
    const place = scratch(t);
    const [video] = seen.videos;
    const job = await submit(video.id, { stride: 1 });
    const backup = (...args) => ['backup', ...args, '--data-dir', data.path, `${place}/b`];
    for (const milliseconds of [5, 20, 40, 60, 80, 120]) {
      const { child, ended } = start(backup(), { env: PLAIN });
      await new Promise((resolve) => { setTimeout(resolve, milliseconds); });
      child.kill('SIGKILL');
      await ended;
    }
    const made = await nexus(backup(), { env: PLAIN, milliseconds: WAIT_MS });
    assert.equal(made.code, 0, made.stderr);
    const list = await nexus(['backup', '--list', '--json', `${place}/b`], { env: PLAIN });
    assert.equal(list.code, 0, list.stderr);
    for (const line of list.stdout.trim().split('\n')) { // one that was whole before its kill counts
      const { id } = JSON.parse(line);
      assert.equal((await nexus(backup('--verify', '--backup', id), { env: PLAIN })).code, 0);
    }
    const halves = readdirSync(`${place}/b/backups`).filter((id) => !list.stdout.includes(id));
    assert.deepEqual(halves, []);
    await eventually(async () => (await jobState(job)) === 'succeeded', 'the job ends', WAIT_MS);
  });
});
