// A live stream, looked at through a process that does not run it: the other of two workers of a
// server, a server beside `nexus worker`, another host; and what is seen when its runner is killed.

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { skipWithoutFfmpeg } from './lib/cameras.mjs';
import { start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { eventually, startServer } from './lib/server.mjs';
import { PATIENCE_MS, startStreams } from './lib/streams.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const skip = skipWithoutFfmpeg();
const LONG_MS = 300_000;
const VIEWERS = 20;
const paths = ['frame.jpeg', 'events', 'live.mjpeg', 'live.mp4'];

/** A data folder with a model and a video. */
function makeData() {
  const data = makeDataDir();
  writeTinyModel(join(data.path, 'models/base.onnx'));
  const { status, stderr } = spawnSync('ffmpeg', ['-nostdin', '-v', 'error', '-f', 'lavfi', '-i', 'testsrc2=s=320x240:r=10:d=4',
    '-c:v', 'libx264', '-preset', 'veryfast', '-pix_fmt', 'yuv420p', '-g', '10', '-threads', '1', join(data.path, 'loop.mp4')]);
  assert.equal(status, 0, String(stderr));
  return data;
}

/** Asks on a connection of its own. The answer's status, headers, and what has come of it so far. */
function look(url) {
  return new Promise((resolve, reject) => {
    const agent = new http.Agent({ keepAlive: false });
    const request = http.get(url, { agent }, (response) => {
      const answer = { status: response.statusCode, headers: response.headers, text: '', ended: false };
      answer.close = () => request.destroy();
      response.setEncoding('latin1').on('data', (chunk) => (answer.text += chunk));
      response.on('end', () => (answer.ended = true)).on('error', () => (answer.ended = true));
      resolve(answer);
    });
    request.once('error', reject);
  });
}

/** The JPEGs of a live.mjpeg that have come whole. */
const picturesOf = ({ text }) => text.split('--nexus\r\n').slice(1, -1).map((part) => part.slice(part.indexOf('\r\n\r\n') + 4, -2));
const idsOf = ({ text }) => [...text.matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
const isJpeg = (bytes) => bytes.startsWith('\xff\xd8') && bytes.endsWith('\xff\xd9');

/** Looks at all there is of a stream; false: somebody has no 200 yet. */
async function seesAll(url) {
  const answers = await Promise.all(paths.map((path) => look(`${url}/${path}`)));
  try {
    if (answers.some(({ status }) => status !== 200)) {
      return false;
    }
    const [frame, events, pictures, video] = answers;
    await eventually(() => frame.ended && isJpeg(frame.text), 'a picture', PATIENCE_MS);
    await eventually(() => idsOf(events).length > 2 && events.text.includes('event: frame'), 'events', PATIENCE_MS);
    await eventually(() => picturesOf(pictures).length > 2, 'pictures', PATIENCE_MS);
    await eventually(() => video.text.split('moof').length > 12, 'video', PATIENCE_MS);
    assert.match(video.headers['content-type'], /^video\/mp4; codecs="avc1/);
    assert.ok(picturesOf(pictures).every(isJpeg));
    return true;
  } finally {
    answers.forEach((answer) => answer.close());
  }
}

/** Connections that a process has to look at streams of another one of this host. */
const connectionsTo = (pid) => readFileSync('/proc/net/unix', 'utf8').split('\n')
  .filter((line) => line.includes(`@nexus-relay-${pid}-`) && / 03 \d+ @/.test(line)).length;

const pidOf = ({ host }) => Number(host?.split(':').at(-1)); // NaN: nobody runs it

describe('workers of a server', { skip }, () => {
  let data;
  let streams;
  let url;
  let runner;

  before(async () => {
    data = makeData();
    streams = await startStreams(data, { NEXUS_MODEL: 'base', WORKERS: '2', REDIS_URL: '' });
    const lines = [{ name: 'middle', from: [0.5, 0], to: [0.5, 1] }];
    const id = await streams.add('loop', 'file:loop.mp4', { fps: 5, lines });
    await streams.becomes(id, 'live');
    runner = pidOf(await streams.get(id));
    url = `${streams.server.url}/api/v1/streams/${id}`;
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    data?.remove();
  });

  /** Until both workers have answered. */
  async function askBoth(ask) {
    const seen = new Set();
    await eventually(async () => {
      await ask();
      const { here } = JSON.parse((await (await fetch(url, { headers: { Connection: 'close' } })).text()));
      return seen.add(here).size === 2;
    }, 'both have answered', PATIENCE_MS);
  }

  it('show it whichever is asked', async () => {
    for (let i = 0; i < 3; i += 1) { // each on connections of its own, which the kernel gives to either
      await eventually(() => seesAll(url), 'everything', PATIENCE_MS);
    }
    await askBoth(() => look(`${url}/frame.jpeg`).then((answer) => assert.equal(answer.status, 200)));
    assert.equal(connectionsTo(runner), 1);
  });

  it('tell what it has counted whichever is asked', async () => {
    const told = new Set();
    await eventually(async () => {
      const { here, counts } = await (await fetch(url, { headers: { Connection: 'close' } })).json();
      return (counts?.lines[0]?.name === 'middle' ? told.add(here) : told).size === 2;
    }, 'both have told', PATIENCE_MS);
  });

  it('fetch it once for all who look', async () => {
    const viewers = await Promise.all(Array.from({ length: VIEWERS }, () => look(`${url}/live.mjpeg`)));
    assert.ok(viewers.every(({ status }) => status === 200));
    await eventually(() => viewers.every((viewer) => picturesOf(viewer).length > 5), 'pictures for all', PATIENCE_MS);
    assert.equal(connectionsTo(runner), 1);
    viewers.forEach((viewer) => viewer.close());
    const all = viewers.flatMap((viewer) => picturesOf(viewer));
    assert.ok(all.every(isJpeg));
    assert.ok(new Set(all).size < all.length / 4, `${new Set(all).size} of ${all.length} are different ones`);
  });

  it('let go of it when nobody looks', () =>
    eventually(() => connectionsTo(runner) === 0, 'no connection', PATIENCE_MS));
});

describe('a server beside workers', { skip }, () => {
  let data;
  let streams;
  const workers = [];

  before(async () => {
    data = makeData();
    streams = await startStreams(data, { NEXUS_MODEL: 'base', STREAMS_AT_ONCE: '0' });
  });
  after(async () => {
    assert.equal(await streams?.stop(), 0);
    workers.forEach(({ child }) => child.kill('SIGKILL'));
    await Promise.all(workers.map(({ ended }) => ended));
    data?.remove();
  });
  const work = () => workers.push(start(['worker', '--data-dir', data.path, '--model', 'base', '--streams', '2'], {
    env: { DATABASE_URL: '', OBJECTS_URL: '', STREAM_FILES_DIR: data.path },
    milliseconds: LONG_MS,
  }));

  it('shows what they run, and goes on when one is killed', async () => {
    work();
    const id = await streams.add('loop', 'file:loop.mp4', { fps: 5 });
    await streams.becomes(id, 'live');
    const url = `${streams.server.url}/api/v1/streams/${id}`;
    assert.ok(await seesAll(url));
    const events = await look(`${url}/events`);
    const pictures = await look(`${url}/live.mjpeg`);
    await eventually(() => idsOf(events).length > 1 && picturesOf(pictures).length > 1, 'both', PATIENCE_MS);

    work();
    const [killed] = workers;
    killed.child.kill('SIGKILL');
    const before = { ids: idsOf(events).length, pictures: picturesOf(pictures).length };
    await killed.ended;
    await eventually(async () => pidOf(await streams.get(id)) === workers[1].child.pid, 'the other one has it', PATIENCE_MS);
    await eventually(
      () => idsOf(events).length > before.ids + 3 && picturesOf(pictures).length > before.pictures + 3,
      'both go on',
      PATIENCE_MS,
    );
    const ids = idsOf(events);
    assert.ok(ids.every((number, i) => i === 0 || number > ids[i - 1]), `${ids}`);
    assert.deepEqual([events.ended, pictures.ended], [false, false]);
    events.close();
    pictures.close();
    assert.ok(await seesAll(url));
  });
});

describe('two hosts', { skip }, () => {
  let data;
  let streams;
  let other;

  before(() => {
    data = makeData();
  });
  after(async () => {
    await streams?.stop(); // once more, where a test has failed
    assert.equal(await other?.stop(), 0);
    data?.remove();
  });

  /** What would be so where the two had no system in common. */
  function takeApart() {
    const script = `import sqlite3; db = sqlite3.connect(${JSON.stringify(join(data.path, 'nexus.db'))}, timeout=30)
db.execute("UPDATE streams SET relay_path = 'of another host', lease_owner = 'elsewhere:1'"); db.commit()`;
    const { status, stderr } = spawnSync('/usr/bin/python3', ['-c', script]);
    assert.equal(status, 0, String(stderr));
  }
  async function startBoth(more) {
    streams = await startStreams(data, { NEXUS_MODEL: 'base', ...more });
    other ??= await startServer({
      args: ['--data-dir', data.path, '--model', 'base'],
      env: { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false', STREAMS_AT_ONCE: '0' },
    });
  }

  it('need STREAM_RELAY, and say so', async () => {
    await startBoth({});
    const id = await streams.add('loop', 'file:loop.mp4', { fps: 5 });
    await streams.becomes(id, 'live');
    takeApart();
    for (const path of paths) {
      const response = await fetch(`${other.url}/api/v1/streams/${id}/${path}`);
      assert.equal(response.status, 503);
      assert.ok(Number(response.headers.get('retry-after')) > 0);
      assert.match((await response.json()).detail, /run by elsewhere:1, on another host.*STREAM_RELAY is to be set there/);
    }
    assert.equal(await streams.stop(), 0);
  });

  it('reach each other by it', async () => {
    await startBoth({ STREAM_RELAY: '127.0.0.1:0' });
    const { value } = await streams.ask('');
    const [{ id }] = value.items;
    await streams.becomes(id, 'live');
    takeApart();
    await eventually(() => seesAll(`${other.url}/api/v1/streams/${id}`), 'everything', PATIENCE_MS);
    assert.match(streams.server.logs(), /other hosts reach the streams of this one at 127\.0\.0\.1:\d+/);
    assert.equal(await streams.stop(), 0);
  });
});
