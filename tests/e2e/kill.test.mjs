// Fifty kills at moments by chance: workers, the server (which does jobs too), decoders, and once
// PostgreSQL. No job is lost, none ends twice, each goes on from its last checkpoint, and every file
// of every job has the bytes of a run that nobody disturbed.
//
// NEXUS_TEST_SEED repeats the choices of a run; what they meet is up to the machine.

import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { skipWithout, start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { sha256 } from './lib/hash.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { children, eventually, startServer } from './lib/server.mjs';
import { randomFrom } from './lib/random.mjs';
import { drawSquares } from './lib/squares.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const KILLS = 50;
const MOST_WAIT_MS = 1000;
const UNENDED = 5; /* jobs that there are at any time */
const EVERY = 100; /* frames between two checkpoints */
const LIMIT_MS = 300_000;
const ENDED = ['succeeded', 'failed', 'cancelled', 'dead'];

const line = { name: 'middle', from: [0.5, 1], to: [0.5, 0] };
const zone = { name: 'left', polygon: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]] };
const KINDS = [
  { confidence: 0.3, zones: [zone], lines: [line] },
  { confidence: 0.3, motion_gate: true, lines: [line], counts_every: 5 },
  { confidence: 0.3, adaptive_stride: true, zones: [zone], classes: ['red'] },
];
const FILES = [
  'coco.json', 'counts.csv', 'frames.ndjson.zst', 'heatmap.png', 'mot.txt', 'objects.csv',
  'summary.json',
];

/** A red and a blue square that cross over gray and rest now and then. */
function makeVideo(path) {
  drawSquares(path, 100, [
    { colour: 'red', size: '60x50', x: '130+130*sin(min(mod(t,12),8)/2)', y: '90+80*cos(t/5)' },
    { colour: 'blue', size: '50x60', x: '130-130*sin(t/3)', y: '90+80*sin(t/2)' },
  ]);
}


/** A server and workers on one database; each may be killed, and then there is a new one. */
class Site {
  constructor(data, env) {
    this.data = data;
    this.env = { OBJECTS_URL: '', JOB_LEASE: '2', CONCURRENCY: '2', PREFETCH_MULTIPLIER: '1', DB_POOL_SIZE: '5', DB_POOL_TIMEOUT: '2', ...env };
    this.workers = [];
    this.stopped = false;
    this.server = this.serve();
  }

  serve() {
    return startServer({ args: ['--data-dir', this.data.path], env: this.env });
  }

  addWorker() {
    const worker = start(['worker', '--data-dir', this.data.path], { env: this.env, milliseconds: LIMIT_MS });
    const ready = new Promise((resolve) => {
      let said = '';
      worker.child.stderr.on('data', (text) => (said += text).includes('ready for jobs') && resolve());
    });
    this.workers.push({ ...worker, ready });
  }

  async killServer() {
    const server = await this.server;
    this.server = server.stop('SIGKILL').then((code) => {
      assert.equal(code, 'SIGKILL', `the server had ended\n${server.logs()}`);
      return this.serve();
    });
    await this.server;
  }

  async killWorker(number) {
    const [{ child, ended }] = this.workers.splice(number, 1);
    child.kill('SIGKILL');
    const { signal, stderr } = await ended;
    assert.equal(signal, 'SIGKILL', `the worker had ended\n${stderr}`);
    this.addWorker();
  }

  /** False: there is none, or it has just ended. */
  async killDecoder(choice) {
    const decoders = this.decoders(await this.server);
    try {
      return decoders.length > 0 && process.kill(decoders[Math.floor(choice * decoders.length)], 'SIGKILL');
    } catch {
      return false;
    }
  }

  /** The pids of decoders: all children that there are. */
  decoders(server) {
    return [server.pid, ...this.workers.map(({ child }) => child.pid)].flatMap(children);
  }

  /** Asks until there is an answer. */
  async ask(path, init) {
    let answer;
    await eventually(async () => {
      try {
        const { url } = await this.server;
        const response = await fetch(`${url}/api/v1/${path}`, init);
        const body = Buffer.from(await response.arrayBuffer());
        answer = { status: response.status, body, json: () => JSON.parse(body) };
        return answer.status !== 503;
      } catch {
        return false; // it was killed
      }
    }, path, 60_000);
    return answer;
  }

  async submit(video, options, key) {
    const answer = await this.ask('videos/process', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Idempotency-Key': key },
      body: JSON.stringify({ video_id: video, ...options }),
    });
    assert.ok([200, 202].includes(answer.status), answer.body.toString());
    return answer.json().id;
  }

  /** All events of a job until it has ended, through however many servers. */
  async follow(id) {
    const events = [];
    while (!this.stopped) {
      try {
        const { url } = await this.server;
        const headers = { 'Last-Event-ID': String(events.length) };
        const answer = await fetch(`${url}/api/v1/jobs/${id}/events`, { headers });
        let text = '';
        for await (const chunk of answer.status === 200 ? answer.body : []) {
          text += Buffer.from(chunk).toString('latin1');
          const told = text.split('\n\n');
          text = told.pop();
          events.push(...told.flatMap((one) => {
            const found = /^id: (\d+)\nevent: (\w+)\ndata: (.*)$/.exec(one);
            return found ? [{ seq: Number(found[1]), kind: found[2], ...JSON.parse(found[3]) }] : [];
          }));
        }
        if (ENDED.includes(events.at(-1)?.state)) {
          return events;
        }
      } catch {
        // the server was killed
      }
      await wait(20);
    }
    return events;
  }

  /** Name to hash of a job's files. */
  async results(id) {
    const job = (await this.ask(`jobs/${id}`)).json();
    assert.equal(job.state, 'succeeded', job.error);
    const found = {};
    for (const { name, size_bytes: size } of job.results) {
      const { body } = await this.ask(`jobs/${id}/results/${name}`);
      assert.equal(body.length, size);
      found[name] = sha256(body);
    }
    return found;
  }

  async stop() {
    this.stopped = true;
    for (const { child, ended } of this.workers.splice(0)) {
      child.kill('SIGTERM');
      const { code, stderr } = await ended;
      assert.equal(code, 0, stderr);
    }
    assert.equal(await (await this.server).stop(), 0);
  }
}

/**
 * What a job's events say: that it ended once, that nothing is missing or told twice, and that it
 * went back to its last checkpoint and no further. Returns { resumed, restarted }: how often it was taken again
 * behind a checkpoint, and before there was one.
 */
function judge(events) {
  const count = { resumed: 0, restarted: 0 };
  let saved = 0;
  let done = 0;
  assert.deepEqual(events.map(({ seq }) => seq), events.map((_, i) => i + 1));
  const states = events.filter(({ kind }) => kind === 'state').map(({ state }) => state);
  assert.equal(states.filter((state) => ENDED.includes(state)).length, 1, states.join());
  assert.match(states.join(), /^queued,running(,queued,running)*,succeeded$/);
  for (const { kind, state, progress } of events) {
    if (kind === 'state' && state === 'running') {
      count[saved > 0 ? 'resumed' : 'restarted'] += 1;
      done = saved;
    } else if (kind === 'progress') {
      assert.ok(progress.frames_done >= done, `${progress.frames_done} frames after ${done}`);
      done = progress.frames_done;
      saved = Math.max(saved, Math.floor((done - 1) / EVERY) * EVERY);
    }
  }
  count.restarted -= 1; // the first time
  return count;
}

function kills(name, { skip, open }) {
  describe(`${KILLS} kills on ${name}`, { skip }, () => {
    const seed = Number(process.env.NEXUS_TEST_SEED ?? randomInt(2 ** 31));
    const random = randomFrom(seed);
    const expected = [];
    let database;
    let data;
    let site;
    let video;

    before(async () => {
      console.log(`NEXUS_TEST_SEED=${seed}`);
      data = makeDataDir();
      writeTinyModel(join(data.path, 'models/tiny.onnx'));
      makeVideo(join(data.path, 'squares.mp4'));
      database = await open?.();
      site = new Site(data, { NEXUS_MODEL: 'tiny', DATABASE_URL: database?.url ?? '' });
      const added = await site.ask('videos?name=squares.mp4', {
        method: 'POST',
        headers: { 'Content-Type': 'video/mp4' },
        body: readFileSync(join(data.path, 'squares.mp4')),
      });
      assert.equal(added.status, 201, added.body.toString());
      video = added.json().id;
    });
    after(async () => {
      try {
        await site?.stop();
        await database?.remove();
      } finally {
        data?.remove();
      }
    });

    it('needs what nobody disturbs', async () => {
      site.addWorker();
      const ids = await Promise.all(KINDS.map((kind, i) => site.submit(video, kind, `calm-${i}`)));
      for (const id of ids) {
        judge(await site.follow(id));
        expected.push(await site.results(id));
        assert.deepEqual(Object.keys(expected.at(-1)).sort(), FILES);
      }
      const { body } = await site.ask(`jobs/${ids[0]}/results/summary.json`);
      const { classes } = JSON.parse(body);
      assert.deepEqual(classes.map(({ class_name: found }) => found).sort(), ['blue', 'red']);
    });

    it('loses nothing, tells nothing twice, and goes on to the same bytes', { timeout: LIMIT_MS }, async () => {
      const jobs = [];
      const killed = { worker: 0, decoder: 0, server: 0, database: 0 };
      async function submit() {
        const kind = jobs.length % KINDS.length;
        const job = { kind, ended: false };
        jobs.push(job);
        job.id = await site.submit(video, KINDS[kind], `job-${jobs.length}`);
        job.events = site.follow(job.id).finally(() => { job.ended = true; });
      }
      async function kill() {
        const choice = random.next();
        const among = random.next();
        if (choice < 0.3 && (await site.killDecoder(among))) {
          killed.decoder += 1;
        } else if (choice < 0.8) {
          await site.killWorker(Math.floor(among * site.workers.length));
          killed.worker += 1;
        } else {
          await site.killServer();
          killed.server += 1;
        }
      }
      site.addWorker();
      for (let i = 0; i < KILLS; i++) {
        const missing = UNENDED - jobs.filter(({ ended }) => !ended).length;
        await Promise.all(Array.from({ length: missing }, submit));
        await wait(random.next() * MOST_WAIT_MS);
        if (database !== undefined && i === KILLS / 2) {
          await Promise.all(site.workers.map(({ ready }) => ready)); // one without a database at its start ends
          await database.kill();
          await database.start();
          killed.database += 1;
        }
        await kill();
      }
      const total = { resumed: 0, restarted: 0 };
      for (const job of jobs) {
        const { resumed, restarted } = judge(await job.events);
        assert.deepEqual(await site.results(job.id), expected[job.kind]);
        total.resumed += resumed;
        total.restarted += restarted;
      }
      console.log(`${jobs.length} jobs, killed ${JSON.stringify(killed)}, ${JSON.stringify(total)}`);
      assert.ok(total.resumed > KILLS / 10, 'jobs go on from checkpoints');
      const listed = (await site.ask('jobs?limit=200')).json();
      assert.equal(listed.items.length, jobs.length + KINDS.length);
    });

    if (open !== undefined) {
      it('says so while the database is away', async () => {
        const { url } = await site.server;
        async function away(answer) {
          const { status, headers } = await answer;
          const problem = await (await answer).json();
          assert.equal(status, 503, problem.detail);
          assert.match(problem.detail, /PostgreSQL|database/);
          assert.ok(Number(headers.get('retry-after')) > 0);
        }
        const locked = database.session();
        locked.stdin.write("BEGIN; LOCK TABLE jobs; SELECT 'locked';\n");
        await once(locked.stdout, 'data');
        const halfway = fetch(`${url}/api/v1/jobs`);
        const waiting = 'SELECT count(*) FROM pg_locks WHERE NOT granted';
        await eventually(() => database.query(waiting) !== '0', 'a request waits for the lock');
        await database.kill();
        locked.kill();
        await Promise.all([halfway, ...['jobs', 'videos'].map((path) => fetch(`${url}/api/v1/${path}`))].map(away));
        await database.start();
        assert.equal((await site.ask('jobs')).status, 200);
        assert.equal((await fetch(`${url}/health`)).status, 200);
      });
    }
  });
}

const skipBoth = skipWithout('ffmpeg');
kills('SQLite', { skip: skipBoth, open: undefined });
kills('PostgreSQL', { skip: skipBoth || skipWithoutPostgres(), open: startPostgres });
