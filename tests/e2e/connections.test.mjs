// As many clients at once as LIMIT_CONCURRENCY lets in, against a pool of 50 connections to PostgreSQL.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import { after, before, test } from 'node:test';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { eventually, metric, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared() || skipWithoutPostgres();
const CLIENTS = 1000;
const EACH = 3;

let postgres;
let data;
let server;
before(async () => {
  if (skip) return;
  data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
  postgres = await startPostgres();
  server = await startServer({
    args: ['--data-dir', data.path],
    env: { DATABASE_URL: postgres.url, DB_POOL_SIZE: '50', DB_MAX_OVERFLOW: '25', RUN_JOBS: 'false' },
  });
});
after(async () => {
  await server?.stop();
  await postgres?.remove();
  data?.remove();
});

/** One GET on a connection that is kept: { sent, status }, promises; the status, or what went wrong. */
function get(agent, path) {
  let sent;
  const status = new Promise((done) => {
    const request = http
      .get(`${server.url}${path}`, { agent }, (response) => {
        response.resume().on('end', () => done(response.statusCode));
      })
      .on('error', (error) => done(error.code));
    sent = new Promise((written) => request.on('finish', written).on('error', written));
  });
  return { sent, status };
}

async function metricsText() {
  const answer = await fetch(`${server.url}/metrics`);
  assert.equal(answer.status, 200);
  return answer.text();
}

/** Runs it while nobody else can read the table of jobs. */
async function whileLocked(action) {
  const session = postgres.session();
  session.stdin.write("BEGIN; LOCK TABLE jobs; SELECT 'locked';\n");
  for await (const chunk of session.stdout) {
    if (String(chunk).includes('locked')) break;
  }
  try {
    return await action();
  } finally {
    session.stdin.end('COMMIT;\n');
    await once(session, 'exit');
  }
}

test('a thousand connections all get their answers from a pool of 50', { skip }, async () => {
  const agents = Array.from({ length: CLIENTS }, () => new http.Agent({ keepAlive: true, maxSockets: 1 }));
  const counts = {};
  const note = (status) => (counts[status] = (counts[status] ?? 0) + 1);
  // all at once, while the database answers none of them
  const first = await whileLocked(async () => {
    const requests = agents.map((agent) => get(agent, '/api/v1/jobs'));
    await Promise.all(requests.map(({ sent }) => sent));
    for (let i = 0; i < 10; i++) { // the threads that read them answer these in their turn
      assert.equal((await fetch(`${server.url}/health`)).status, 200);
    }
    return requests;
  });
  (await Promise.all(first.map(({ status }) => status))).forEach(note);
  await Promise.all(agents.map(async (agent) => {
    for (let i = 1; i < EACH; i++) note(await get(agent, '/api/v1/jobs').status);
    agent.destroy();
  }));
  assert.deepEqual(counts, { 200: CLIENTS * EACH });
});

test('how long they waited can be seen, and that nobody waits any more', { skip }, async () => {
  const waited = await metric(server.url, 'work_wait_seconds_count{work="quick"}');
  assert.ok(waited >= CLIENTS * EACH, `${waited}`);
  await eventually(
    async () => (await metric(server.url, 'db_pool_connections{state="waiting"}')) === 0,
    'nobody waits',
  );
  assert.ok((await metric(server.url, 'db_pool_connections{state="idle"}')) <= 50);
});

test('metrics come while the database does not answer, and say how old its part is', { skip }, async () => {
  const failures = () => metric(server.url, 'jobs_count_failures_total');
  const before = await failures();
  assert.equal(await metric(server.url, 'jobs{state="queued"}'), 0);
  const slow = await whileLocked(async () => {
    await metricsText(); // would wait for the lock
    return metricsText();
  });
  assert.match(slow, /^jobs\{state="queued"\} 0$/m);
  assert.match(slow, /^jobs_age_seconds \d/m);
  assert.ok((await failures()) > before);
  await postgres.kill();
  const counted = await failures();
  assert.match(await metricsText(), /^jobs\{state="queued"\} 0$/m);
  await eventually(async () => (await failures()) > counted, 'it is counted');
  await postgres.start();
  let age = 0;
  await eventually(async () => {
    const before = age; // it grows until they are counted
    age = await metric(server.url, 'jobs_age_seconds');
    return age < before;
  }, 'the jobs are counted again', 60_000);
});
