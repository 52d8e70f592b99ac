// Nexus against the servers in bench/peers: the same pictures, the same client, the same weights,
// in turns of a few seconds.
//
// Usage: node bench/peers.mjs [--tune] [--all] [--only TEXT] [MODEL.onnx]...
// The models are what Nexus is measured with besides yolov8n.onnx and yolov8n-dynamic.onnx.
// BENCH_ROUNDS (4) sets how often. --tune compares the variants of each peer at 8 connections, --all
// takes the slow peers in, --only those whose name has the text.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import {
  cores, fixed, grid, load, median, nexus, percentile, pictures, post, rawRuns, root, shared,
  treeCpuMs, treeMb,
} from './lib.mjs';
import { freePort } from '../tests/e2e/lib/ports.mjs';
import { differences } from './peers/agreement.mjs';
import { peers } from './peers/peers.mjs';
import { launchServer } from './peers/process.mjs';

const ALL_LOADS = [
  { connections: 1, seconds: 2.5, settle: 0.5 },
  { connections: 8, seconds: 5, settle: 1 },
  { connections: 64, seconds: 8, settle: 3 },
];
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 4);
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { tune: { type: 'boolean' }, all: { type: 'boolean' }, only: { type: 'string', default: '' } },
});

const LOADS = options.tune ? ALL_LOADS.filter((one) => one.connections === 8) : ALL_LOADS;
const files = pictures();
const checked = [join(shared, 'images/bus.jpg'), ...files];
const weights = join(shared, 'models/yolov8n.onnx');
const models = [weights, join(shared, 'models/yolov8n-dynamic.onnx'), ...positionals];
const sum = (values) => values.reduce((a, b) => a + b, 0);

const nexusRows = models.map((model) => ({
  name: `nexus, ${basename(model)}`,
  model,
  path: '/api/v1/inference/image',
  health: '/health/ready',
  command: (port) => ({
    command: nexus,
    args: ['serve', '--port', `${port}`, '--model', model],
    env: { LOG_LEVEL: 'error', CACHE_TTL_PREDICTIONS: '0' },
  }),
}));

const peerRows = peers
  .filter((peer) => options.all || options.only || !peer.optional)
  .flatMap((peer) =>
    (options.tune ? peer.variants : peer.variants.slice(0, 1)).map((variant) => {
      const { name: setting, ...settings } = variant;
      return {
        ...peer,
        setting,
        health: '/health',
        command: (port) => peer.start(weights, port, settings),
      };
    }),
  );

/** Starts a row's server and waits until it is ready; what launchServer() gives, with its url. */
async function start(row) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  return { url, ...(await launchServer(row.command(port), url + row.health, row.name)) };
}

/** What a server finds in each of the pictures. */
async function findings(row) {
  const server = await start(row);
  try {
    const found = [];
    for (const file of checked) {
      const answer = await post(server.url, readFileSync(file), undefined, row.path);
      if (answer.status !== 200) {
        throw new Error(`${row.name} answers ${answer.status ?? answer.error}: ${answer.body}`);
      }
      found.push(JSON.parse(answer.body).detections);
    }
    return found;
  } finally {
    await server.stop();
  }
}

/** Why a peer can't be timed, or nothing: it is not to be had, does not start, or finds other boxes. */
async function obstacle(row, expected) {
  try {
    if (row.install) await promisify(execFile)(join(root, 'bench/peers/install'), [row.install]);
    const found = await findings(row);
    const wrong = found.flatMap((boxes, i) =>
      differences(expected[i], boxes).map((text) => `${basename(checked[i])}: ${text}`),
    );
    if (wrong.length === 0) return undefined;
    if (row.install) return `finds other boxes than ${reference.name}: ${wrong.join('; ')}`;
    console.error(`${row.name} differs from ${reference.name}: ${wrong.join('; ')}`);
    return undefined; // other weights or another size: told, and no reason not to time it
  } catch (error) {
    return `${error.stderr || error.message}`.trim();
  }
}

/** One server under one load; adds to row.results and row.memory. */
async function measure(row, one) {
  const { url, pid } = row.server;
  let peak = treeMb(pid);
  const sampling = setInterval(() => (peak = Math.max(peak, treeMb(pid))), 1000);
  try {
    const before = treeCpuMs(pid);
    const result = await load(url, files, { ...one, path: row.path });
    const cpu = (treeCpuMs(pid) - before) / result.latencies.length;
    const { 200: _served, ...refused } = result.statuses;
    const failed = [...Object.values(result.errors), ...Object.values(refused)];
    row.results[one.connections].push({ ...result, cpu, errors: sum(failed) });
  } finally {
    clearInterval(sampling);
  }
  row.memory = Math.max(row.memory, peak);
}

/** Starts a row's server and shows it every picture on every thread. */
async function warm(row) {
  row.server = await start(row);
  await load(row.server.url, files, { connections: 2 * cores, seconds: 2, settle: 0, path: row.path });
}

const lines = (sources) => {
  const all = sources.flatMap((file) => readFileSync(file, 'utf8').split('\n'));
  return all.filter((line) => line.trim() !== '').length;
};
const rates = (row, connections) => row.results[connections].map(({ rate }) => rate);
const latency = (row, connections, share) => {
  const all = row.results[connections].flatMap((one) => one.latencies);
  return percentile(all, share);
};
/** Median over the rounds of how many times faster a is than b. */
const ratio = (a, b, connections) =>
  median(rates(a, connections).map((rate, i) => rate / rates(b, connections)[i]));

const list = (values) => values.map((value) => fixed(value)).join(', ');

function loadTable(rows, reference, connections) {
  const columns = ['server', 'req/s', 'rounds', 'p50 ms', 'p95 ms', 'p99 ms', 'CPU ms', 'errors', 'against nexus'];
  const cells = rows.map((row) => [
    row.label,
    fixed(median(rates(row, connections))),
    list(rates(row, connections)),
    ...[0.5, 0.95, 0.99].map((share) => fixed(latency(row, connections, share), 0)),
    fixed(median(row.results[connections].map((one) => one.cpu))),
    sum(row.results[connections].map((one) => one.errors)),
    fixed(ratio(row, reference, connections), 2),
  ]);
  grid(connections === 1 ? '1 connection' : `${connections} connections`, columns, cells);
}

function costTable(rows) {
  const cells = rows.map((row) => [
    row.label,
    fixed(row.memory, 0),
    fixed(row.server.startMs, 0),
    row.sources ? lines(row.sources) : 'none',
  ]);
  grid('What they cost', ['server', 'most memory (PSS), MB', 'start, ms', 'lines of its own code'], cells);
}

function rawTable(raw) {
  const cells = Object.entries(raw).map(([model, values]) => [model, fixed(median(values)), list(values)]);
  grid('Bare parallel Runs in the same rounds', ['model', 'Runs/s', 'rounds'], cells);
}

/** The best peer at 8 connections need not be the best at 64. */
function targetTable(ours, theirs) {
  const busy = LOADS.map((one) => one.connections).filter((connections) => connections > 1);
  const cells = busy.flatMap((connections) => {
    const best = theirs.reduce((a, b) =>
      median(rates(b, connections)) > median(rates(a, connections)) ? b : a,
    );
    return ours.map((row) => [
      row.label,
      connections,
      best.label,
      fixed(ratio(row, best, connections), 2),
      fixed(latency(row, connections, 0.95) / latency(best, connections, 0.5), 2),
      fixed(row.memory / best.memory, 2),
    ]);
  });
  const columns = ['nexus', 'connections', 'best peer', 'req/s', 'p95 / its median', 'memory'];
  grid('As multiples of the best peer', columns, cells);
}

const noResults = () => Object.fromEntries(LOADS.map(({ connections }) => [connections, []]));
const reference = nexusRows[0];
const rows = [];
const expected = await findings(reference);
for (const row of [...peerRows, ...nexusRows]) {
  const label = row.setting ? `${row.name} (${row.setting})` : row.name;
  if (!label.includes(options.only) && row !== reference) continue;
  const why = await obstacle(row, expected);
  if (why) console.error(`${label}: not measured: ${why}`);
  else rows.push({ ...row, label, memory: 0, results: noResults() });
}

// All run all the time, since an idle one costs nothing: so their turns lie close together, and a
// machine that slows down slows all of them.
for (const row of rows) await warm(row);
const raw = {};
for (let round = 0; round < ROUNDS; round++) {
  for (const model of models) {
    const { run } = await rawRuns({ seconds: 2, model, image: files[0] });
    (raw[basename(model)] ??= []).push(run.images_per_second);
  }
  for (const one of LOADS) for (const row of rows) await measure(row, one);
  console.error(`round ${round + 1} of ${ROUNDS} done`);
}
for (const row of rows) await row.server.stop();

const ours = rows.filter((row) => !row.install);
const theirs = rows.filter((row) => row.install);
console.log(`## Against peers: JPEGs of 1080p, ${cores} cores, medians of ${ROUNDS} rounds`);
for (const { connections } of LOADS) loadTable(rows, ours[0], connections);
costTable(rows);
rawTable(raw);
if (theirs.length > 0) targetTable(ours, theirs);
