// All that a site is: PostgreSQL, Redis, two servers and two workers on a disk of a limited size (and S3, if it is
// wanted), a camera, a receiver of webhooks, and between each process and what it needs a network of its own.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addKey, ask, json, setUp } from '../../tests/e2e/lib/accounts.mjs';
import { makeClip, startRtsp } from '../../tests/e2e/lib/cameras.mjs';
import { nexus } from '../../tests/e2e/lib/cli.mjs';
import { makeDataDir } from '../../tests/e2e/lib/data_dir.mjs';
import { startPostgres } from '../../tests/e2e/lib/postgres.mjs';
import { startRedis } from '../../tests/e2e/lib/redis.mjs';
import { startS3 } from '../../tests/e2e/lib/s3.mjs';
import { sharedPath } from '../../tests/e2e/lib/server.mjs';
import { makeSmallDisk } from '../../tests/e2e/lib/small_disk.mjs';
import { startNetwork } from './network.mjs';
import { Process } from './process.mjs';
import { SECRET, startReceiver } from './receiver.mjs';

const MiB = 1 << 20;
const NAMES = [['host-1', 'serve'], ['host-2', 'serve'], ['worker-1', 'worker'], ['worker-2', 'worker']];
const SETTINGS = {
  WEBHOOK_SECRET: SECRET,
  WEBHOOK_ALLOW_PRIVATE: 'true',
  STREAM_ALLOW_LOOPBACK: 'true',
  EVENT_CLIP_SECONDS: '1',
  CACHE_TTL_PREDICTIONS: '300',
  CACHE_BYTES: '16m', // full long before the end, so that what grows then is something else
  JOB_LEASE: '5',
  CONCURRENCY: '1',
  PREFETCH_MULTIPLIER: '1',
  MAX_TASKS_PER_CHILD: '0', // a worker that began anew would show no leak
  DB_POOL_SIZE: '8',
  DB_MAX_OVERFLOW: '4',
  DB_POOL_TIMEOUT: '3',
  LOG_LEVEL: 'info',
};
const EVERYWHERE = [[0, 0], [1, 0], [1, 1], [0, 1]];
const RULES = [
  { name: 'somebody', kind: 'object_appeared', classes: ['person'], cooldown: 5 },
  { name: 'came', kind: 'zone_entered', zone: 'all', classes: ['person'], cooldown: 5 },
  { name: 'camera', kind: 'camera_lost', seconds: 5 },
];

/** Closes everything that was opened, the last first. */
class Things {
  #closers = [];

  add(thing, close) {
    this.#closers.unshift(() => close(thing));
    return thing;
  }

  async close() {
    for (const close of this.#closers.splice(0)) {
      try {
        await close();
      } catch (error) {
        console.error(`soak: ${error.stack}`); // and on, or processes would be left behind
      }
    }
  }
}

async function addStreams(host, admin, urls) {
  const ids = [];
  for (const [name, url] of Object.entries(urls)) {
    const stream = { name, url, fps: 2, zones: [{ name: 'all', polygon: EVERYWHERE }], rules: RULES };
    if (url.startsWith('rtsp:')) stream.transport = 'tcp';
    const answer = await ask(host, '/api/v1/streams', json('POST', stream, admin.headers));
    if (answer.status !== 201) throw new Error(`${name}: ${answer.status} ${JSON.stringify(answer.value)}`);
    ids.push(answer.value.id);
  }
  return ids;
}

/** objects: disk or s3. broken(sentence) is called for what must not be. */
export async function startWorld({ model, objects, minutes, broken }) {
  const things = new Things();
  try {
    return await build(things, { model, objects, minutes, broken });
  } catch (error) {
    await things.close();
    throw error;
  }
}

async function build(things, { model, objects, minutes, broken }) {
  const folder = things.add(mkdtempSync(join(tmpdir(), 'nexus-soak-')), (path) => rmSync(path, { recursive: true, force: true }));
  const disk = things.add(await makeSmallDisk((256 + 8 * Math.ceil(minutes)) * MiB), (it) => it.remove());
  makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' }, disk.seen);
  const postgres = things.add(await startPostgres(), (it) => it.remove());
  const redis = things.add(await startRedis(), (it) => it.remove());
  const s3 = objects === 's3' ? things.add(await startS3(), (it) => it.remove()) : undefined;
  const receiver = things.add(await startReceiver(broken), (it) => it.close());
  makeClip(sharedPath('videos/pets09-s2l1.mp4'), join(folder, 'camera.mp4'), { seconds: 5, times: 120 });
  makeClip(sharedPath('videos/pets09-s2l1.mp4'), join(disk.seen, 'yard.mp4'), { seconds: 5 });
  const network = async (target) => things.add(await startNetwork(target), (it) => it.close());

  let rtsp = await startRtsp(join(folder, 'camera.mp4'));
  things.add(undefined, () => rtsp.kill());
  const { port } = rtsp;
  const camera = {
    network: await network({ port, host: '127.0.0.1' }),
    kill: () => rtsp.kill(),
    start: async () => (rtsp = await startRtsp(join(folder, 'camera.mp4'), port)),
    signal: (name) => rtsp.signal(name),
  };

  const bucket = s3 && await network({ port: Number(new URL(s3.env.S3_ENDPOINT).port), host: '127.0.0.1' });
  const storage = s3 ? { ...s3.env, S3_ENDPOINT: `http://127.0.0.1:${bucket.port}` } : { OBJECTS_URL: '' };
  const database = new URL(postgres.url.replace('@/', '@local/')).searchParams.get('host');
  const networks = {};
  const processes = [];
  for (const [name, kind] of NAMES) {
    const ways = {
      postgres: await network({ path: join(database, '.s.PGSQL.5432') }),
      redis: await network({ path: redis.socket }),
    };
    networks[name] = ways;
    const env = {
      ...SETTINGS,
      ...storage,
      DATABASE_URL: `postgres://nexus@127.0.0.1:${ways.postgres.port}/postgres`,
      REDIS_URL: `redis://127.0.0.1:${ways.redis.port}`,
      EVENT_WEBHOOK_URL: receiver.url,
      STREAM_FILES_DIR: disk.path,
      STREAMS_AT_ONCE: kind === 'serve' ? '2' : '0',
    };
    const args = ['--data-dir', disk.path, ...(model ? ['--model', model] : [])];
    const one = new Process(name, kind, { inside: disk.inside(), args, env }, broken);
    await one.start();
    processes.push(things.add(one, (it) => it.end('SIGKILL')));
  }
  const hosts = processes.filter(({ kind }) => kind === 'serve');
  // the first has printed the link
  const admin = await setUp({ url: hosts[0].url, logs: hosts[0].running.logs });
  const key = await addKey(hosts[0], admin, ['read', 'infer', 'videos', 'metrics']);
  const streams = await addStreams(hosts[0], admin, {
    gate: `rtsp://me:secret@127.0.0.1:${camera.network.port}/cam`,
    yard: 'file:yard.mp4',
  });
  return {
    folder, disk, postgres, redis, receiver, camera, bucket, networks, processes, hosts, streams,
    workers: processes.filter(({ kind }) => kind === 'worker'),
    headers: key.headers,
    /** The command that needs the database, told of it directly. */
    verifyAudit: () => nexus(['audit', 'verify', '--data-dir', folder], { env: { DATABASE_URL: postgres.url } }),
    close: () => things.close(),
  };
}
