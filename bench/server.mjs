// The server under load against bare parallel Runs of the same model, in turns; alone; overloaded;
// idle; and its cheapest route. Usage: node bench/server.mjs [MODEL.onnx]
import { execFile } from 'node:child_process';
import http from 'node:http';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { promisify } from 'node:util';
import { startServer } from '../tests/e2e/lib/server.mjs';
import { cores, fixed, load, median, percentile, pictures, post, rawRuns, rssMb, sleep, table } from './lib.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const files = pictures();
const model = process.argv[2];
const rawRate = async () =>
  (await rawRuns({ seconds: 4, model, image: model && files[0] })).run.images_per_second;

const server = await startServer(model ? { args: ['--model', model] } : {});
const rows = [];

async function idleMemory() {
  await sleep(6000); // the engine gives memory back after 3 s without work
  return rssMb(server.pid);
}

async function underLoad() {
  const ratios = [];
  const rates = [];
  const latencies = [];
  for (let round = 0; round < ROUNDS; round++) {
    const before = await rawRate();
    const result = await load(server.url, files, { connections: 64, seconds: 14 });
    const after = await rawRate();
    if (Object.keys(result.errors).length > 0) rows.push(['errors', JSON.stringify(result.errors), 'none']);
    rates.push(result.rate);
    latencies.push(...result.latencies);
    ratios.push(result.rate / ((before + after) / 2));
  }
  rows.push(
    ['64 connections', `${fixed(median(rates))}/s, p95 ${fixed(percentile(latencies, 0.95))} ms`],
    ['share of the raw throughput', `${fixed(100 * median(ratios))} % (${ratios.map((r) => fixed(100 * r)).join(', ')})`, 'at least 90 %'],
  );
}

async function alone() {
  const agent = new http.Agent({ keepAlive: true });
  const extra = [];
  const picture = readFileSync(files[0]);
  for (let i = 0; i < 25; i++) {
    const answer = await post(server.url, picture, agent);
    const { timings_ms: t } = JSON.parse(answer.body);
    extra.push(answer.ms - t.decode - t.inference);
  }
  agent.destroy();
  rows.push(['alone: beyond its own Run and decode', `${fixed(median(extra), 2)} ms (worst ${fixed(Math.max(...extra))})`, 'within 15 ms']);
}

async function overload() {
  const result = await load(server.url, files, { connections: 500, seconds: 25 });
  const ready = await (await fetch(`${server.url}/health/ready`)).json();
  const service = 1000 / result.rate; // ms for one picture, all workers together
  const bound = (ready.queue.size + ready.workers) * service;
  rows.push(
    ['500 connections: answers', JSON.stringify(result.statuses), 'only 200, 429, 503'],
    ['500 connections: transport errors', JSON.stringify(result.errors), 'none'],
    ['500 connections: p99 of the accepted', `${fixed(percentile(result.latencies, 0.99) / 1000, 2)} s`, `under ${fixed(bound / 1000, 2)} s (queue x service time)`],
  );
}

async function health() {
  const { stdout } = await promisify(execFile)('wrk', ['-t1', '-c64', '-d5s', '--latency', `${server.url}/health`]);
  rows.push(['/health with wrk', `${stdout.match(/Requests\/sec:\s+([\d.]+)/)[1]}/s`, 'over 30,000/s on 2 cores']);
}

try {
  rows.push([`idle with ${model ? basename(model) : 'yolov8n'}`, `${fixed(await idleMemory())} MB`, 'under 120 MB']);
  await alone();
  await underLoad();
  await overload();
  rows.push(['idle after all that', `${fixed(await idleMemory())} MB`]);
  await health();
  table(`nexus serve, JPEGs of 1080p, ${cores} cores`, rows);
} finally {
  await server.stop();
}
