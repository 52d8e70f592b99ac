// Jobs through `nexus serve`. Videos an hour for a 30 s clip of 900 frames in 1080p, every frame
// inferred, against bare parallel Runs of the same model, in turns; and many jobs at once: memory,
// who waits how long, and what a request for one picture feels of it.
// Usage: node bench/videos.mjs [hours|crowd] [MODEL.onnx]...
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { startServer } from '../tests/e2e/lib/server.mjs';
import { ended, makeClip, submit, traffic, upload } from './jobs.mjs';
import { cores, fixed, median, ortLibrary, percentile, pictures, post, rawRuns, sleep, table, treeMb } from './lib.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const CROWD = Number(process.env.BENCH_JOBS ?? 50);
const AT_ONCE = 4; // jobs of a measurement of videos an hour; CONCURRENCY's default
const FRAMES = 900;
const parts = process.argv.slice(2).filter((word) => !word.endsWith('.onnx'));
const models = process.argv.slice(2).filter((word) => word.endsWith('.onnx'));
const files = pictures();
const folder = mkdtempSync(join(tmpdir(), 'nexus-bench-'));

/** A server with an empty database and a data folder of its own. */
async function start(model, env = {}) {
  const data = mkdtempSync(join(folder, 'data-'));
  const args = ['--data-dir', data, '--model', model];
  return startServer({
    args,
    env: { NEXUS_ORT_LIBRARY: ortLibrary, DATABASE_URL: '', OBJECTS_URL: '', ...env },
  });
}

/** Seconds from the first start to the last end of some equal jobs. */
async function timeJobs(server, video, options) {
  const jobs = [];
  for (let i = 0; i < AT_ONCE; i++) jobs.push(await submit(server, video, options));
  const done = await ended(server, jobs);
  const bad = done.filter((job) => job.state !== 'succeeded');
  if (bad.length > 0) throw new Error(`${bad[0].state}: ${bad[0].error}`);
  const starts = done.map((job) => Date.parse(job.started_at));
  const ends = done.map((job) => Date.parse(job.finished_at));
  return (Math.max(...ends) - Math.min(...starts)) / 1000;
}

async function hours(model, clip) {
  const server = await start(model);
  const rows = [];
  try {
    const video = await upload(server, readFileSync(clip));
    const raw = async () => (await rawRuns({ seconds: 5, model, image: files[0] })).run.images_per_second;
    for (const [name, options] of [['every frame', {}], ['motion gate', { motion_gate: true }]]) {
      const rates = [];
      const ratios = [];
      for (let round = 0; round < ROUNDS; round++) {
        const before = await raw();
        const rate = (AT_ONCE * FRAMES) / (await timeJobs(server, video, options));
        rates.push(rate);
        ratios.push(rate / ((before + (await raw())) / 2));
      }
      rows.push(
        [`${name}: frames/s`, fixed(median(rates))],
        [`${name}: videos of ${FRAMES} frames an hour`, fixed((3600 * median(rates)) / FRAMES, 0), '300'],
        [`${name}: share of bare Runs`, `${fixed(100 * median(ratios))} % (${ratios.map((r) => fixed(100 * r)).join(', ')})`, '75 %'],
      );
    }
  } finally {
    await server.stop();
  }
  table(`${basename(model)}: ${AT_ONCE} videos at once, ${cores} cores`, rows);
}

/** One request after the other until `until` resolves; latencies in ms. */
async function requests(server, until) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const body = readFileSync(files[0]);
  const latencies = [];
  const other = {};
  let over = false;
  until.then(() => (over = true));
  while (!over) {
    const answer = await post(server.url, body, agent);
    if (answer.status === 200) latencies.push(answer.ms);
    else other[answer.status ?? answer.error] = (other[answer.status ?? answer.error] ?? 0) + 1;
    await sleep(20);
  }
  agent.destroy();
  return { latencies, other };
}

async function crowd(model) {
  const server = await start(model);
  const rows = [];
  try {
    const video = await upload(server, readFileSync(traffic));
    await requests(server, sleep(2000));
    const calm = await requests(server, sleep(10_000));
    const jobs = [];
    for (let i = 0; i < CROWD; i++) jobs.push(await submit(server, video, {}));
    let memory = 0;
    const all = ended(server, jobs, () => (memory = Math.max(memory, treeMb(server.pid))));
    const busy = await requests(server, all);
    const done = await all;
    const good = done.filter((job) => job.state === 'succeeded');
    const place = new Map(jobs.map((job, i) => [job.id, i]));
    const order = [...done].sort((a, b) => Date.parse(a.finished_at) - Date.parse(b.finished_at));
    const overtaken = Math.max(...order.map((job, i) => i - place.get(job.id)));
    const first = Math.min(...jobs.map((job) => Date.parse(job.created_at)));
    const ends = order.map((job) => (Date.parse(job.finished_at) - first) / 1000);
    const gaps = ends.slice(AT_ONCE).map((end, i) => end - ends[i]);
    const p95 = [calm, busy].map((run) => percentile(run.latencies, 0.95));
    const p50 = [calm, busy].map((run) => percentile(run.latencies, 0.5));
    rows.push(
      ['jobs that succeeded', `${good.length} of ${CROWD}`, 'all'],
      ['memory of all processes, at most', `${fixed(memory, 0)} MB`, 'under 1536 MB'],
      ['the first, the middle and the last one ended after', `${fixed(ends[0])}, ${fixed(median(ends))}, ${fixed(ends.at(-1))} s`],
      ['jobs submitted later that ended before another, at most', `${overtaken}`, `under ${AT_ONCE}, for so many run at once`],
      [`${AT_ONCE} jobs end each: least, most`, `${fixed(Math.min(...gaps))}, ${fixed(Math.max(...gaps))} s`, 'evenly'],
      ['a picture meanwhile: p50', `${fixed(p50[1])} ms, without jobs ${fixed(p50[0])}`],
      ['a picture meanwhile: p95', `${fixed(p95[1])} ms, without jobs ${fixed(p95[0])}: ${fixed(p95[1] / p95[0], 2)}`, 'at most 2'],
      ['pictures that were refused', JSON.stringify(busy.other), 'none'],
    );
  } finally {
    await server.stop();
  }
  table(`${CROWD} jobs of ${basename(traffic)} at once, ${basename(model)}, ${cores} cores`, rows);
}

if (models.length === 0 || !existsSync(traffic)) {
  console.error(models.length === 0 ? 'Name one or more models, as .onnx files.' : `There is no ${traffic}; set NEXUS_SHARED.`);
  process.exit(2);
}
try {
  if (parts.length === 0 || parts.includes('hours')) {
    const clip = makeClip(folder, FRAMES);
    for (const model of models) await hours(model, clip);
  }
  if (parts.length === 0 || parts.includes('crowd')) await crowd(models.at(-1));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
