// Several processes of `nexus serve` on one port (WORKERS).
import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { children, eventually, metric, skipWithoutShared, startServer } from './lib/server.mjs';
import { makeDataDir } from './lib/data_dir.mjs';

const skip = skipWithoutShared();

/** GET on a connection of its own. */
async function getAlone(url) {
  const request = http.get(url, { agent: false, headers: { Connection: 'close' } });
  const [response] = await once(request, 'response');
  let body = '';
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, body };
}

const workerOf = async (server) => JSON.parse((await getAlone(`${server.url}/health`)).body).worker;
const alive = (pid) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

let server;
let dir;
let env;
before(async () => {
  if (skip) return;
  dir = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
  env = { NEXUS_DATA_DIR: dir.path, WORKERS: '2' };
  server = await startServer({ env: { ...env, CONCURRENCY: '1' } });
});
after(async () => {
  await server?.stop();
  dir?.remove();
});

test('all workers are ready before anybody is told, and their log lines carry a number', { skip }, () => {
  const lines = server.logs().split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line));
  const told = lines.findIndex((line) => /2 workers listening/.test(line.message));
  const ready = lines.slice(0, told).filter((line) => /worker \d of 2 is ready/.test(line.message));
  assert.deepEqual(ready.map((line) => line.worker).sort(), [1, 2]);
  assert.equal(lines[told].worker, undefined);
  assert.equal(children(server.pid).length, 2);
});

test('the cores and the jobs are divided', { skip }, () => {
  assert.match(server.logs(), /jobs: 1 videos at once/);
  assert.match(server.logs(), /no jobs here/);
});

test('connections are spread over the workers', { skip }, async () => {
  const counts = new Map();
  for (let i = 0; i < 60; i++) {
    const worker = await workerOf(server);
    counts.set(worker, (counts.get(worker) ?? 0) + 1);
  }
  assert.deepEqual([...counts.keys()].sort(), [1, 2]);
});

test('metrics are the sum over all, whoever is asked', { skip }, async () => {
  const series = 'http_requests_total{method="GET",route="/api/v1/models",status="200"}';
  for (let i = 0; i < 40; i++) {
    assert.equal((await getAlone(`${server.url}/api/v1/models`)).status, 200);
  }
  // a request counts when its answer is out, which its client may see a moment earlier
  await eventually(async () => (await metric(server.url, series)) === 40, '40 requests are counted');
  for (let i = 0; i < 10; i++) {
    const { body } = await getAlone(`${server.url}/metrics`);
    assert.ok(body.includes(`\n${series} 40\n`));
    assert.equal(body.match(/^execution_provider_info\{.*\} 1$/gm).length, 1);
  }
});

test('a worker that is killed is started again; the others serve on, and nothing counted is lost', { skip }, async () => {
  const series = 'http_requests_total{method="GET",route="/docs",status="200"}';
  for (let i = 0; i < 20; i++) {
    assert.equal((await getAlone(`${server.url}/docs`)).status, 200);
  }
  await eventually(async () => (await metric(server.url, series)) === 20, '20 requests are counted');
  const [victim] = children(server.pid);
  process.kill(victim, 'SIGKILL');
  await eventually(() => {
    const now = children(server.pid);
    return now.length === 2 && !now.includes(victim);
  }, 'another worker in its place', 30_000);
  for (let i = 0; i < 20; i++) {
    assert.equal((await getAlone(`${server.url}/health/ready`)).status, 200); // never one that is not
  }
  assert.match(server.logs(), /was killed by signal 9; starting it again/);
  await eventually(() => (server.logs().match(/of 2 is ready/g) ?? []).length === 3, 'the new one is ready', 60_000);
  const seen = new Set();
  await eventually(async () => seen.add(await workerOf(server)).size === 2, 'both answer again');
  await eventually(async () => (await metric(server.url, series)) === 20, 'the counter is what it was');
});

test('SIGTERM finishes what is in flight, everywhere, and ends with 0', { skip }, async () => {
  const own = await startServer({ env });
  const pids = children(own.pid);
  const socket = net.connect(own.port, '127.0.0.1');
  await once(socket, 'connect');
  assert.equal(await own.stop('SIGTERM'), 0);
  assert.ok(!pids.some(alive));
  socket.destroy();
  await assert.rejects(getAlone(`${own.url}/health`), { code: 'ECONNREFUSED' });
});

test('SIGINT from a terminal, which all get, does the same', { skip }, async () => {
  const own = await startServer({ env });
  for (const pid of children(own.pid)) process.kill(pid, 'SIGINT');
  assert.equal(await own.stop('SIGINT'), 0);
});

test('workers end when the supervisor is killed', { skip }, async () => {
  const own = await startServer({ env });
  const pids = children(own.pid);
  await own.stop('SIGKILL');
  await eventually(() => !pids.some(alive), 'no orphans', 30_000);
});

test('what fails at the start fails once, with its message and code', { skip }, async () => {
  await assert.rejects(
    startServer({ args: ['--model', 'no-such-model'], env }),
    /ended with 3[^]*no-such-model/,
  );
  await assert.rejects(
    startServer({ args: ['--port', String(server.port)], env }),
    /in use by another program/,
  );
});

test('a worker that dies again and again is given up', { skip }, async () => {
  const own = await startServer({ env });
  // whichever is there is killed as soon as it is seen: each dies right after its start, or before
  const killing = setInterval(() => children(own.pid).forEach((pid) => alive(pid) && process.kill(pid, 'SIGKILL')), 20);
  const code = await own.exited;
  clearInterval(killing);
  assert.notEqual(code, 0);
  assert.match(own.logs(), /right after its start: giving up/);
});
