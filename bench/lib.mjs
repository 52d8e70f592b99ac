// What the benchmarks share: running the binary, load over HTTP, percentiles, tables.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import http from 'node:http';
import { availableParallelism, cpus, homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

export const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
export const nexus = process.env.NEXUS_BIN ?? join(root, 'build/release/nexus');
export const shared = process.env.NEXUS_SHARED ?? join(root, '../shared');
export const cores = availableParallelism?.() ?? cpus().length;
/** ONNX Runtime as `make run` has fetched it, for servers with a data folder of their own. */
export const ortLibrary =
  process.env.NEXUS_ORT_LIBRARY ?? join(process.env.NEXUS_DATA_DIR ?? join(homedir(), '.local/share/nexus'), 'lib/libonnxruntime.so.1');

/** The 1080p pictures that every figure in docs/performance.md was measured with. */
export function pictures() {
  const files = ['00', '03', '06', '09'].map((n) => join(shared, `images/traffic-1080p-${n}.jpg`));
  if (!files.every(existsSync)) {
    console.error(`No pictures in ${shared}/images; set NEXUS_SHARED to the shared data folder.`);
    process.exit(3);
  }
  return files;
}

/** Runs the binary; { stdout, stderr }. */
export function runNexus(args, options = {}) {
  return run(nexus, args, { maxBuffer: 1 << 28, ...options });
}

/** Raw throughput of the default model: parallel Runs, nothing else. images/s and p50 in ms. */
export async function rawRuns({ seconds, concurrency = cores, model, image } = {}) {
  const args = ['bench', '-t', '1', '-n', `${concurrency}`, '-d', `${seconds}`, '-f', 'json'];
  if (model) args.push('-m', model);
  if (image) args.push('-i', image);
  const { rows } = JSON.parse((await runNexus(args)).stdout);
  return Object.fromEntries(rows.map((row) => [row.what, row]));
}

export function percentile(values, share) {
  if (values.length === 0) return NaN;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.round(share * (sorted.length - 1))];
}

/** The middle value, or the mean of the two middle ones. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  return (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
}

/** Resident memory of a process in MB. */
export function rssMb(pid) {
  const line = readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s+(\d+) kB/);
  return Number(line[1]) / 1024;
}

/** A file below /proc; empty when its process has just ended. */
function procText(path) {
  try {
    return readFileSync(`/proc/${path}`, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return '';
    throw error;
  }
}

/** A process and all below it. */
export function processTree(pid) {
  if (!existsSync(`/proc/${pid}/task`)) return [];
  const below = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
    procText(`${pid}/task/${thread}/children`).split(' ').filter(Boolean).map(Number),
  );
  return [pid, ...below.flatMap(processTree)];
}

/** Memory of a process and all below it in MB; what several share counts once (PSS). */
export function treeMb(pid) {
  const kilobytes = processTree(pid).map((one) => {
    const pss = procText(`${one}/smaps_rollup`).match(/^Pss:\s+(\d+) kB/m);
    return pss ? Number(pss[1]) : 0;
  });
  return kilobytes.reduce((sum, value) => sum + value, 0) / 1024;
}

/** Processor time that a process and all below it have used, those included that have ended, in ms. */
export function treeCpuMs(pid) {
  const ticks = processTree(pid).map((one) => {
    const fields = procText(`${one}/stat`).split(') ').at(-1).split(' ');
    // user and system, its own and that of children it has waited for, in 1/100 s
    return fields.slice(11, 15).reduce((sum, value) => sum + Number(value), 0);
  });
  return ticks.reduce((sum, value) => sum + value, 0) * 10;
}

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export const NEXUS_PATH = '/api/v1/inference/image';

/**
 * One POST of a picture, with these bytes behind its end; { status, ms, body, headers, retryAfter } or
 * { error, ms }.
 */
export function post(url, bytes, agent, path = NEXUS_PATH, { headers = {}, tail = Buffer.alloc(0) } = {}) {
  return new Promise((done) => {
    const start = performance.now();
    const failed = (error) => done({ error: error.code ?? error.message, ms: performance.now() - start });
    const length = bytes.length + tail.length;
    const request = http.request(
      `${url}${path}`,
      { method: 'POST', agent, headers: { 'content-type': 'image/jpeg', 'content-length': length, ...headers } },
      (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () =>
          done({
            status: response.statusCode,
            ms: performance.now() - start,
            body: Buffer.concat(chunks),
            headers: response.headers,
            retryAfter: Number(response.headers['retry-after'] ?? 0),
          }),
        );
        response.on('error', failed);
      },
    );
    request.on('error', failed);
    request.on('timeout', () => request.destroy(new Error('timeout'))); // where the agent has one
    request.write(bytes);
    request.end(tail);
  });
}

/**
 * `connections` clients, each with one request in flight, for `seconds`; a refused client waits as
 * Retry-After says (at most 1 s here). Throughput counts the answers of the steady part only, after
 * `settle` seconds.
 */
export async function load(url, files, { connections, seconds, settle = 2, path }) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  const bodies = files.map((file) => readFileSync(file));
  const start = performance.now();
  const until = start + seconds * 1000;
  const statuses = {};
  const errors = {};
  const served = []; // times at which accepted requests ended
  const latencies = [];
  const client = async (number) => {
    for (let i = number; performance.now() < until; i++) {
      const answer = await post(url, bodies[i % bodies.length], agent, path);
      if (answer.error) {
        errors[answer.error] = (errors[answer.error] ?? 0) + 1;
        await sleep(100);
        continue;
      }
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1;
      if (answer.status === 200) {
        served.push(performance.now());
        latencies.push(answer.ms);
      } else {
        await sleep(Math.min(answer.retryAfter || 0.1, 1) * 1000);
      }
    }
  };
  await Promise.all(Array.from({ length: connections }, (_, number) => client(number)));
  agent.destroy();
  const steady = served.filter((time) => time > start + settle * 1000 && time <= until);
  return { rate: steady.length / (seconds - settle), statuses, errors, latencies };
}

export const fixed = (value, digits = 1) => Number(value).toFixed(digits);

/** Prints a Markdown table of several columns. */
export function grid(title, columns, rows) {
  console.log(`\n### ${title}\n`);
  for (const line of [columns, columns.map(() => '---'), ...rows]) console.log(`| ${line.join(' | ')} |`);
}

/** Prints rows of [label, value, remark] as a Markdown table. */
export function table(title, rows) {
  grid(title, ['what', 'measured', 'goal'], rows.map(([what, value, goal = '']) => [what, value, goal]));
}
