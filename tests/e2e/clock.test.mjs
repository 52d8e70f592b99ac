// The clock jumps under whole processes, the database's among them, while a job runs, somebody is signed in and a camera is
// watched: ahead and back by the better part of an hour, and ahead by hours. Whoever works goes on with what he has, nobody
// is kept out, streams go on, and sessions end when the clock says that their time is over.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { ask, json, PASSWORD, session, setUp } from './lib/accounts.mjs';
import { skipWithout, start } from './lib/cli.mjs';
import { makeClock, skipWithoutFaketime } from './lib/clock.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { eventually, startServer } from './lib/server.mjs';
import { drawSquares } from './lib/squares.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const PATIENCE_MS = 60_000;
const LIMIT_MS = 300_000;
const SOON_S = 30; /* what somebody may be told to wait, and not an hour */
const MINUTES_50 = 3000;
const HOURS_3 = 10_800;
const BURST = 3; /* sign-ins at once */
const LENGTH_S = 300; /* of the video: its job is to last longer than what is done meanwhile */

/** A red square that comes and goes, over and over. */
function makeVideo(path, seconds) {
  const part = `${path}.part.mp4`;
  drawSquares(part, 6, [{ colour: 'red', size: '80x80', x: '120+200*sin(t)', y: '80' }], { more: ['-bf', '0'] });
  execFileSync('ffmpeg', ['-v', 'error', '-stream_loop', String(seconds / 6 - 1), '-i', part, '-c', 'copy', path]);
}

/** What a stream tells, as long as it is followed. */
async function follow(server, path, headers) {
  const abort = new AbortController();
  const answer = await fetch(server.url + path, { headers, signal: abort.signal });
  assert.equal(answer.status, 200);
  const told = [];
  let over = false;
  const read = async () => {
    for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
      told.push(...text.split('\n').filter((line) => line.startsWith('data: ')));
    }
  };
  const done = read().catch(() => {}).finally(() => { over = true; });
  return {
    told,
    isOver: () => over,
    close() {
      abort.abort();
      return done;
    },
  };
}

function jumps(name, { skip, open }) {
  describe(`a clock that jumps, with ${name}`, { skip }, () => {
    let clock;
    let data;
    let database;
    let server;
    let worker;
    let me;
    let video;
    let watched;

    const get = async (path) => (await ask(server, `/api/v1/${path}`, { headers: me.headers })).value;
    const signIn = () => ask(server, '/api/v1/auth/login', json('POST', { name: 'ann', password: PASSWORD }));

    before(async () => {
      clock = makeClock();
      data = makeDataDir();
      writeTinyModel(join(data.path, 'models/tiny.onnx'));
      makeVideo(join(data.path, 'squares.mp4'), LENGTH_S);
      database = await open?.({ env: clock.env });
      const env = {
        ...clock.env, NEXUS_MODEL: 'tiny', DATABASE_URL: database?.url ?? '', OBJECTS_URL: '', JOB_LEASE: '20', CONCURRENCY: '1',
        STREAM_FILES_DIR: data.path, RATE_LIMIT_AUTH: `30/min burst ${BURST}`,
      };
      server = await startServer({ args: ['--data-dir', data.path], env });
      worker = start(['worker', '--data-dir', data.path], { env, milliseconds: 4 * LIMIT_MS });
      me = await setUp(server);
      const added = await ask(server, '/api/v1/videos?name=a.mp4', {
        method: 'POST', headers: { ...me.headers, 'Content-Type': 'video/mp4' }, body: readFileSync(join(data.path, 'squares.mp4')),
      });
      assert.equal(added.status, 201);
      video = added.value.id;
      const stream = await ask(server, '/api/v1/streams',
        json('POST', { name: 'loop', url: 'file:squares.mp4', fps: 5, confidence: 0.3 }, me.headers));
      assert.equal(stream.status, 201, JSON.stringify(stream.value));
      const followed = `streams/${stream.value.id}`;
      await eventually(async () => (await get(followed)).state === 'live', 'the camera is watched', PATIENCE_MS);
      watched = await follow(server, `/api/v1/${followed}/events`, me.headers);
    });
    after(async () => {
      try {
        await watched?.close();
        worker?.child.kill('SIGTERM');
        const ended = await worker?.ended;
        const stopped = await server?.stop();
        assert.equal(ended?.code ?? 0, 0, ended?.stderr);
        assert.equal(stopped ?? 0, 0, server?.logs());
      } finally {
        await database?.remove();
        clock?.remove();
        data?.remove();
      }
    });

    /** The clock jumps while a job runs: nobody takes it from who does it, and it ends. */
    async function jump(seconds, meanwhile) {
      const job = (await ask(server, '/api/v1/videos/process', json('POST', { video_id: video, confidence: 0.3 }, me.headers))).value;
      const path = `/api/v1/jobs/${job.id}/events`;
      const events = await follow(server, path, me.headers);
      await eventually(() => events.told.some((line) => line.includes('frames_done')), 'the job gets on', PATIENCE_MS);
      const before = Date.parse((await ask(server, '/health')).headers.get('date'));
      clock.ahead(seconds);
      await eventually(async () => Math.abs(Date.parse((await ask(server, '/health')).headers.get('date')) - before) > 2_000_000,
        'the server has that clock', PATIENCE_MS);
      const told = watched.told.length;
      assert.doesNotMatch(events.told.join(), /succeeded/, 'it runs while the clock jumps');
      await meanwhile();
      await eventually(() => watched.told.length > told + 5, 'the camera is watched on', PATIENCE_MS);
      assert.ok(!watched.isOver());
      await eventually(() => events.isOver(), 'the job ends', LIMIT_MS);
      const states = events.told.map((line) => JSON.parse(line.slice(6)).state).filter((one, i, all) => one !== all[i - 1]);
      assert.deepEqual(states, ['queued', 'running', 'succeeded']);
      const { state, attempts } = await get(`jobs/${job.id}`);
      assert.deepEqual([state, attempts], ['succeeded', 1]);
    }

    /** More at once than may; who is refused is told for how long. */
    async function reachLimit() {
      const answers = await Promise.all(Array.from({ length: BURST + 2 }, signIn));
      const refused = answers.find(({ status }) => status === 429);
      assert.ok(Number(refused.headers.get('retry-after')) <= SOON_S, refused.headers.get('retry-after'));
    }
    const isLetIn = () => eventually(async () => (await signIn()).status === 200, 'somebody is let in', PATIENCE_MS);
    const stillKnown = async () => assert.equal((await get('auth/me')).name, 'ann');

    it('ahead by fifty minutes: jobs, sessions and cameras go on', { timeout: LIMIT_MS }, async () => {
      await jump(MINUTES_50, stillKnown);
      const said = /clock has jumped ahead by (2999|30\d\d) s/;
      assert.ok(said.test(server.logs()), 'the log says so');
    });

    it('back again: they go on, and nobody waits for fifty minutes', { timeout: LIMIT_MS }, async () => {
      await reachLimit();
      await jump(0, async () => {
        await stillKnown();
        await isLetIn();
        await reachLimit();
        await isLetIn();
      });
    });

    it('ahead by hours: the job goes on, and sessions are over', { timeout: LIMIT_MS }, async () => {
      await jump(HOURS_3, async () => {
        await eventually(async () => (await get('auth/me')).kind === 'anonymous', 'the session is over', PATIENCE_MS);
        let answer;
        await eventually(async () => {
          answer = await signIn();
          return answer.status === 200;
        }, 'somebody is let in', PATIENCE_MS);
        me = session(answer);
      });
    });
  });
}

const skip = skipWithout('ffmpeg') || skipWithoutFaketime();
jumps('SQLite', { skip });
jumps('PostgreSQL', { skip: skip || skipWithoutPostgres(), open: startPostgres });
