// A thousand connections that ask for what is in the database, against a pool of 50 to PostgreSQL.
// Usage: node bench/connections.mjs   (BENCH_SECONDS, BENCH_CLIENTS)
import http from 'node:http';
import { makeDataDir } from '../tests/e2e/lib/data_dir.mjs';
import { startPostgres } from '../tests/e2e/lib/postgres.mjs';
import { metric, startServer } from '../tests/e2e/lib/server.mjs';
import { fixed, percentile, table } from './lib.mjs';

const seconds = Number(process.env.BENCH_SECONDS ?? 10);
const clients = Number(process.env.BENCH_CLIENTS ?? 1000);
const data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
const postgres = await startPostgres();
const server = await startServer({
  args: ['--data-dir', data.path],
  env: { DATABASE_URL: postgres.url, DB_POOL_SIZE: '50', DB_MAX_OVERFLOW: '25', RUN_JOBS: 'false' },
});

const latencies = [];
const statuses = {};
let most = 0;
const end = performance.now() + 1000 * seconds;

function get(agent, path) {
  return new Promise((done) => {
    const start = performance.now();
    http
      .get(`${server.url}${path}`, { agent }, (response) => {
        response.resume().on('end', () => done([response.statusCode, performance.now() - start]));
      })
      .on('error', (error) => done([error.code, performance.now() - start]));
  });
}

async function client() {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  while (performance.now() < end) {
    const [status, ms] = await get(agent, '/api/v1/jobs');
    statuses[status] = (statuses[status] ?? 0) + 1;
    latencies.push(ms);
  }
  agent.destroy();
}

async function look() {
  while (performance.now() < end) {
    most = Math.max(most, await metric(server.url, 'db_pool_connections{state="waiting"}'));
  }
}

try {
  await Promise.all([look(), ...Array.from({ length: clients }, client)]);
  const waits = await metric(server.url, 'work_wait_seconds_count{work="quick"}');
  const sum = await metric(server.url, 'work_wait_seconds_sum{work="quick"}');
  table(`${clients} connections, a pool of 50 to PostgreSQL`, [
    ['answers', JSON.stringify(statuses), 'only 200'],
    ['rate', `${fixed(latencies.length / seconds, 0)}/s`, ''],
    ['p50, p99, longest', [0.5, 0.99, 1].map((p) => `${fixed(percentile(latencies, p), 0)} ms`).join(', '), 'bounded'],
    ['mean wait for a turn (work_wait_seconds)', `${fixed((1000 * sum) / waits, 0)} ms`, ''],
    ['most waiting at once (db_pool_connections)', `${most}`, `at most ${clients}`],
  ]);
} finally {
  await server.stop();
  await postgres.remove();
  data.remove();
}
