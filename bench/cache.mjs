// Predictions from the cache: how long a hit takes and how many there are in a second, and a load
// with repeats against the same load without a cache, in turns. The load's own cost is on the same
// cores. Usage: node bench/cache.mjs [MODEL.onnx]
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { metric, startServer } from '../tests/e2e/lib/server.mjs';
import { cores, fixed, median, pictures, root, rssMb, table } from './lib.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const REPEATS = 80; // percent of the mixed load
const files = pictures();
const target = '/api/v1/inference/image';
const model = process.argv[2] ? ['--model', process.argv[2]] : [];

/** What bench_load says of a load of this many connections, with so many percent of new pictures. */
async function load(server, connections, seconds, fresh, from = files.slice(0, 1)) {
  const args = [server.port, target, connections, seconds, fresh, ...from].map(String);
  const { stdout } = await promisify(execFile)(join(root, 'build/release/bench_load'), args);
  const result = JSON.parse(stdout);
  if (result.failures > 0) console.error(`${result.failures} requests failed`);
  return result;
}

/** Seconds and requests that http_request_duration_seconds has counted for the route. */
async function served(server) {
  const of = (name) => metric(server.url, `http_request_duration_seconds_${name}{method="POST",route="${target}"}`);
  return { seconds: (await of('sum')) ?? 0, count: (await of('count')) ?? 0 };
}

async function hits(server, rows) {
  await load(server, 1, 1, 0); // the first one is run
  const alone = [];
  const serverMs = [];
  const rates = [];
  const under = [];
  for (let round = 0; round < ROUNDS; round++) {
    const before = await served(server);
    alone.push(await load(server, 1, 3, 0));
    const after = await served(server);
    serverMs.push((1000 * (after.seconds - before.seconds)) / (after.count - before.count));
    const many = await load(server, 4, 5, 0);
    rates.push(many.rate);
    under.push(many);
  }
  const of = (list, name) => fixed(median(list.map((one) => one[name])), 2);
  rows.push(
    ['a hit, 250 KB JPEG, alone: from header to answer', `${fixed(median(serverMs), 2)} ms`, 'under 1 ms'],
    ['the same as the client sees it: p50, p99', `${of(alone, 'p50_ms')}, ${of(alone, 'p99_ms')} ms`],
    ['hits a second, 4 connections', `${fixed(median(rates), 0)} (${rates.map((r) => fixed(r, 0)).join(', ')})`, 'over 5,000'],
    ['p50, p99 of these', `${of(under, 'p50_ms')}, ${of(under, 'p99_ms')} ms`],
  );
}

async function mixed(server, plain, rows) {
  const ratios = [];
  const rates = [];
  await load(server, 4, 2, 100 - REPEATS, files); // the repeated ones are known
  for (let round = 0; round < ROUNDS; round++) {
    const before = await load(plain, 16, 10, 100 - REPEATS, files);
    const cached = await load(server, 16, 10, 100 - REPEATS, files);
    const after = await load(plain, 16, 10, 100 - REPEATS, files);
    const without = (before.rate + after.rate) / 2;
    rates.push([cached.rate, without]);
    ratios.push(cached.rate / without);
  }
  const middle = (at) => fixed(median(rates.map((pair) => pair[at])), 1);
  rows.push(
    [`${REPEATS} % repeats, 16 connections, requests a second`, `${middle(0)}; without a cache ${middle(1)}`],
    ['as a multiple', `${fixed(median(ratios), 2)} (${ratios.map((r) => fixed(r, 2)).join(', ')})`, 'at least 4.5'],
  );
}

const start = (seconds) => startServer({ args: model, env: { CACHE_TTL_PREDICTIONS: `${seconds}`, LOG_LEVEL: 'info' } });
const server = await start(3600);
const plain = await start(0);
const rows = [];
try {
  await hits(server, rows);
  await mixed(server, plain, rows);
  rows.push(
    ['predictions kept', `${await metric(server.url, 'cache_entries')} in ${fixed((await metric(server.url, 'cache_memory_bytes')) / 1e6, 2)} MB`],
    ['memory of the two servers', `${fixed(rssMb(server.pid))}; without a cache ${fixed(rssMb(plain.pid))} MB`],
  );
  table(`Predictions from the cache, JPEGs of 1080p, ${cores} cores with the load's own cost`, rows);
} finally {
  await server.stop();
  await plain.stop();
}
