// Answers to GETs that the cache keeps, against the same server without: on SQLite, on a PostgreSQL
// and with a Redis beside it, all of their own. What is compared is processor time, of the server, the
// database and Redis together, for others keep the machine busy; rates are told besides, with the
// load's own cost on the same cores. Needs wrk. Usage: node bench/answers.mjs
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeDataDir } from '../tests/e2e/lib/data_dir.mjs';
import { addVideo, submitJob } from '../tests/e2e/lib/jobs.mjs';
import { skipWithoutPostgres, startPostgres } from '../tests/e2e/lib/postgres.mjs';
import { skipWithoutRedis, startRedis } from '../tests/e2e/lib/redis.mjs';
import { eventually, startServer } from '../tests/e2e/lib/server.mjs';
import { cores, fixed, median, table, treeCpuMs } from './lib.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const CONNECTIONS = [1, 32];
const OFF = { CACHE_TTL_VIDEOS: '0', CACHE_TTL_RESPONSES: '0' };

/** A load of one path: { rate, us }, microseconds of the pids' processor time for each answer. */
async function load(server, pids, path, connections) {
  const args = ['-t1', `-c${connections}`, '-d2s', `${server.url}${path}`];
  const spent = () => pids.reduce((sum, pid) => sum + treeCpuMs(pid), 0);
  const before = spent();
  const { stdout } = await promisify(execFile)('wrk', args);
  const used = spent() - before;
  if (/Non-2xx/.test(stdout)) throw new Error(`${path} is refused\n${stdout}`);
  return {
    rate: Number(stdout.match(/Requests\/sec:\s+([\d.]+)/)[1]),
    us: (1000 * used) / Number(stdout.match(/(\d+) requests in/)[1]),
  };
}

/** A video and a job that has ended. */
async function fill(server) {
  const video = await addVideo(server);
  const job = await submitJob(server, { video_id: video, stride: 3, outputs: ['csv'] });
  const shown = async () => (await fetch(`${server.url}/api/v1/jobs/${job.id}`)).json();
  await eventually(async () => (await shown()).state === 'succeeded', 'the job ends', 600_000);
  return { video, job: job.id };
}

async function measure(place, env, helpers = []) {
  const data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
  const start = (more) => startServer({
    args: ['--data-dir', data.path],
    env: { ...env, LOG_LEVEL: 'info', RATE_LIMIT: 'false', ...more },
  });
  const kept = await start({});
  const plain = await start({ ...OFF, RUN_JOBS: 'false' });
  try {
    const { video, job } = await fill(kept);
    const paths = {
      'a video': `/api/v1/videos/${video}`,
      'the list of videos': '/api/v1/videos',
      'a job that has ended': `/api/v1/jobs/${job}`,
      'its summary.json': `/api/v1/jobs/${job}/results/summary.json`,
      'its frames.ndjson': `/api/v1/jobs/${job}/results/frames.ndjson`,
    };
    for (const [what, path] of Object.entries(paths)) {
      const cells = [];
      for (const connections of CONNECTIONS) {
        const pairs = [];
        for (let round = 0; round < ROUNDS; round++) {
          const of = (server) => load(server, [server.pid, ...helpers], path, connections);
          pairs.push([await of(kept), await of(plain)]);
        }
        const us = (at) => fixed(median(pairs.map((pair) => pair[at].us)), 0);
        const rate = (at) => fixed(median(pairs.map((pair) => pair[at].rate)), 0);
        const times = fixed(median(pairs.map(([with_, without]) => without.us / with_.us)), 2);
        cells.push(`${us(0)} µs (${rate(0)}/s); without ${us(1)} µs (${rate(1)}/s): ${times}x`);
      }
      rows.push([`${what}, ${place}`, cells[0], cells[1]]);
    }
  } finally {
    await kept.stop();
    await plain.stop();
    data.remove();
  }
}

const rows = [];
await measure('SQLite', { DATABASE_URL: '' });
if (!skipWithoutPostgres()) {
  const postgres = await startPostgres();
  await measure('PostgreSQL', { DATABASE_URL: postgres.url }, [postgres.pid()]);
  if (!skipWithoutRedis()) {
    const redis = await startRedis();
    postgres.query('SET client_min_messages = error; DROP SCHEMA public CASCADE; CREATE SCHEMA public');
    await measure('PostgreSQL and Redis', { DATABASE_URL: postgres.url, REDIS_URL: redis.url },
      [postgres.pid(), redis.pid()]);
    await redis.remove();
  }
  await postgres.remove();
}
table(`Answers from the cache, ${cores} cores; with ${CONNECTIONS.join(' and ')} connections`, rows);
