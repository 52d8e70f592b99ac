// The power goes: everything is killed at once in the middle of writes (API, workers, decoders, PostgreSQL with all that
// it has forked, Redis) and started again. What was confirmed is there, nothing half is, and each job ends once. In the
// first round and the third the disk loses what nobody waited for, which a kill alone does not do (where such a disk can be
// mounted).
//
// NEXUS_TEST_SEED repeats the choices of a run; what they meet is up to the machine.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { setUp } from './lib/accounts.mjs';
import { skipWithout, start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { sha256 } from './lib/hash.mjs';
import { Ledger } from './lib/ledger.mjs';
import { makeLossyDisk, skipWithoutLossyDisk } from './lib/lossy_disk.mjs';
import { readIfThere, skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { randomFrom } from './lib/random.mjs';
import { skipWithoutRedis, startRedis } from './lib/redis.mjs';
import { binary, children, eventually, startServer } from './lib/server.mjs';
import { drawSquares } from './lib/squares.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const ROUNDS = 3;
const LEAST_MS = 300;
const MOST_MS = 1200; /* that a round's writers have */
const LIMIT_MS = 300_000;
const MiB = 1 << 20;


/** A red and a blue square that come and go. */
function makeVideo(path, seconds) {
  drawSquares(path, seconds, [
    { colour: 'red', size: '60x50', x: '50+90*sin(t*2)', y: '35+30*cos(t)' },
    { colour: 'blue', size: '60x50', x: '50-90*sin(t*1.5)', y: '35+30*sin(t)' },
  ], { size: '160x120' });
}

/** A process and all that it has started. */
const family = (pid) => [pid, ...children(pid).flatMap(family)];

function runs(pid) {
  try {
    return !/^\d+ \(.*\) Z/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** A server, two workers, and what they need; killed together, and started again. */
class Site {
  constructor({ data, disk, database, redis }) {
    Object.assign(this, { data, disk, database, redis });
    this.env = {
      DATABASE_URL: database?.url ?? '', REDIS_URL: redis?.url ?? '', OBJECTS_URL: '', NEXUS_MODEL: 'tiny',
      JOB_LEASE: '2', CONCURRENCY: '1', RUN_JOBS: 'false', RATE_LIMIT: 'false', MAX_LOADED_MODELS: '2',
      STREAM_FILES_DIR: data.path, EVENT_CLIP_SECONDS: '0',
    };
    this.inside = disk?.inside() ?? [];
  }

  async start() {
    const [program, ...args] = [...this.inside, binary];
    const worker = () => start([...args, 'worker', '--data-dir', this.data.path], { program, env: this.env, milliseconds: LIMIT_MS });
    this.server = await startServer({ inside: this.inside, args: ['--data-dir', this.data.path], env: this.env });
    this.workers = [worker(), worker()];
  }

  async killAll(random, lose) {
    const roots = [this.server.pid, ...this.workers.map(({ child }) => child.pid),
      ...[this.database, this.redis].flatMap((other) => other?.pid() ?? [])];
    const pids = roots.flatMap(family);
    for (let left = [...pids]; left.length > 0;) {
      const [pid] = left.splice(random.below(left.length), 1);
      try {
        process.kill(pid, 'SIGKILL');
      } catch (error) {
        assert.equal(error.code, 'ESRCH'); // with its parent
      }
    }
    assert.equal(await this.server.exited, 'SIGKILL', this.server.logs());
    for (const { ended } of this.workers) {
      const { signal, stderr } = await ended;
      assert.equal(signal, 'SIGKILL', stderr);
    }
    await this.database?.ended();
    await this.redis?.ended();
    await eventually(() => !pids.some(runs), 'everybody is gone', 60_000);
    if (lose) {
      await this.disk.cut();
    }
    await this.redis?.start();
    await this.database?.start();
    await this.start();
  }

  async command(...args) {
    const [program, ...all] = [...this.inside, binary, ...args, '--data-dir', this.data.path];
    const { code, stdout, stderr } = await start(all, { program, env: { DATABASE_URL: this.env.DATABASE_URL, OBJECTS_URL: '' } }).ended;
    assert.equal(code, 0, stdout + stderr);
    return stdout;
  }

  /** The database says of itself that it is whole, and what has an object's name has its bytes. */
  async checkStore() {
    const seen = this.disk?.seen ?? this.data.path;
    assert.match(await this.command('audit', 'verify'), /rows, intact/);
    if (this.database === undefined) {
      const look = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('PRAGMA integrity_check').fetchall())";
      assert.equal(execFileSync('python3', ['-c', look, join(seen, 'nexus.db')]).toString().trim(), "[('ok',)]");
    }
    for (const entry of readdirSync(join(seen, 'objects'), { recursive: true, withFileTypes: true })) {
      const bytes = entry.isFile() ? readIfThere(join(entry.parentPath ?? entry.path, entry.name)) : undefined;
      if (bytes !== undefined) { // or what a job that goes on needs no more
        assert.equal(sha256(bytes), entry.name);
      }
    }
  }

  async stop() {
    this.workers?.forEach(({ child }) => child.kill('SIGTERM'));
    const workers = await Promise.all(this.workers?.map(({ ended }) => ended) ?? []);
    const stopped = await (this.server?.stop() ?? 0);
    for (const { code, stderr } of workers) {
      assert.equal(code, 0, stderr);
    }
    assert.equal(stopped, 0, this.server?.logs());
  }
}

function loses(name, { skip, bytes, open = () => ({}) }) {
  describe(`power that goes, with ${name}${bytes === undefined ? '' : ' on a disk that loses what it holds'}`, { skip }, () => {
    const seed = Number(process.env.NEXUS_TEST_SEED ?? randomInt(2 ** 31));
    const random = randomFrom(seed);
    let disk;
    let data;
    let others;
    let site;
    let ledger;

    before(async () => {
      console.log(`NEXUS_TEST_SEED=${seed}`);
      disk = bytes === undefined ? undefined : await makeLossyDisk(bytes);
      data = makeDataDir({}, disk?.seen);
      writeTinyModel(join(data.path, 'models/tiny.onnx'));
      makeVideo(join(data.path, 'short.mp4'), 2);
      makeVideo(join(data.path, 'long.mp4'), 12);
      const [short, long] = ['short.mp4', 'long.mp4'].map((file) => readFileSync(join(data.path, file)));
      others = await open(disk);
      disk?.keep();
      site = new Site({ data: disk ?? data, disk, ...others });
      await site.start();
      const { headers } = await setUp(site.server);
      ledger = new Ledger({ random, clip: short, headers });
      ledger.server = site.server;
      for (const bytes of [short, long]) {
        const added = await ledger.ask('videos?name=a.mp4', { method: 'POST', headers: { 'Content-Type': 'video/mp4' }, body: bytes }, [201]);
        const options = { confidence: 0.3, video_id: added.json().id };
        const { id } = (await ledger.post('videos/process', options, [202])).json();
        await eventually(async () => (await ledger.ask(`jobs/${id}`)).json().state === 'succeeded', 'a job ends', LIMIT_MS);
        ledger.works.push({ options, calm: await ledger.results(id) });
      }
      const rules = [{ name: 'came', kind: 'object_appeared', cooldown: 0 }];
      await ledger.post('streams', { name: 'loop', url: 'file:short.mp4', fps: 5, confidence: 0.3, rules }, [201]);
    });
    after(async () => {
      try {
        await site?.stop();
      } finally {
        await others?.database?.remove();
        await others?.redis?.remove();
        await disk?.remove();
        data?.remove();
      }
    });

    it('takes nothing away that was confirmed, and leaves nothing half', { timeout: LIMIT_MS }, async () => {
      for (let round = 0; round < ROUNDS; round++) {
        const writers = ledger.write(site.server);
        const before = round === 0 ? ledger.hasEnded() : -1;
        const soon = eventually(() => ledger.hasEnded() > before, 'a job ends', LIMIT_MS)
          .then(() => wait(random.between(LEAST_MS, MOST_MS)));
        await Promise.race([soon, writers]);
        ledger.meet();
        const lose = disk !== undefined && round % 2 === 0; // a kill alone is another day
        await site.killAll(random, lose);
        await writers;
        if (lose || others.database !== undefined) { // PostgreSQL's own memory is lost with it
          ledger.soften();
        }
        await ledger.check(site.server);
        await site.checkStore();
      }
      await ledger.checkJobs();
      const { videos, removed, jobs, keys, models, events, interrupted, met } = ledger;
      const count = { videos, removed, jobs, keys, models, events };
      console.log(Object.entries(count).map(([what, { size }]) => `${size} ${what}`).join(', '), `${interrupted} interrupted,`,
        `of jobs ${JSON.stringify(met)}`);
      for (const [what, { size }] of Object.entries(count)) {
        assert.ok(size > 0, `there were ${what}`);
      }
      assert.ok(interrupted >= ROUNDS, 'somebody was always writing');
      assert.ok(met.running > 0 && met.ended > 0, 'jobs ran and ended');
      const rows = (await site.command('audit', 'list', '--format', 'json')).trim().split('\n').map((line) => JSON.parse(line));
      const noted = (action) => new Set(rows.filter((row) => row.action === action && row.result === 'ok').map(({ object }) => object));
      for (const [action, ids] of [['key.add', keys.keys()], ['video.remove', removed]]) {
        const found = noted(action);
        for (const id of ids) {
          assert.ok([...found].some((object) => object.endsWith(id)), `${action} of ${id} is in the audit log`);
        }
      }
    });
  });
}

const skip = skipWithout('ffmpeg');
const lossy = skipWithoutLossyDisk() === false;
loses('SQLite', { skip, bytes: lossy ? 256 * MiB : undefined });
loses('PostgreSQL', {
  skip: skip || skipWithoutPostgres() || skipWithoutRedis(),
  bytes: lossy ? 768 * MiB : undefined,
  open: async (disk) => ({ database: await startPostgres({ disk, durable: disk !== undefined }), redis: await startRedis() }),
});
