// How cost grows: with the pixels of a picture, with what is found in it, and with the streams that are watched; beside
// it, with the rows of a record and of a database (bench/growth.c). Usage: node bench/growth.mjs [MODEL.onnx]
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { startServer } from '../tests/e2e/lib/server.mjs';
import { cores, fixed, grid, median, NEXUS_PATH, ortLibrary, pictures, post, processTree, shared, sleep, treeCpuMs, treeMb } from './lib.mjs';

const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 15);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 20);
const model = process.argv[2] ?? join(shared, 'models/yolov8n.onnx');
const folder = mkdtempSync(join(tmpdir(), 'nexus-bench-'));

function ffmpeg(...args) {
  execFileSync('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...args]);
}

function start(env = {}) {
  const data = mkdtempSync(join(folder, 'data-'));
  return startServer({
    args: ['--data-dir', data, '--model', model],
    env: { NEXUS_ORT_LIBRARY: ortLibrary, DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false', CACHE_TTL_PREDICTIONS: '0', ...env },
  });
}

/** The middle of each stage, and the answer's size, of a picture that is asked for again and again, alone. */
async function ask(server, bytes, query = '') {
  const agent = new http.Agent({ keepAlive: true });
  const all = [];
  for (let i = 0; i <= ROUNDS; i++) {
    const { status, body, ms } = await post(server.url, bytes, agent, NEXUS_PATH + query);
    if (status !== 200) throw new Error(`${body}`);
    const result = JSON.parse(body);
    if (i > 0) all.push({ ms, kb: body.length / 1024, found: result.detections.length, ...result.timings_ms }); // the first one warms up
  }
  agent.destroy();
  return (name) => median(all.map((one) => one[name]));
}

async function pixels() {
  const server = await start();
  const rows = [];
  try {
    for (const size of ['640x360', '1280x720', '1920x1080', '3840x2160', '7680x4320']) {
      const file = join(folder, `${size}.jpg`);
      ffmpeg('-i', pictures()[0], '-vf', `scale=${size.replace('x', ':')}`, '-q:v', '3', file);
      const bytes = readFileSync(file);
      const middle = await ask(server, bytes);
      const [width, height] = size.split('x').map(Number);
      rows.push([size, fixed((width * height) / 1e6), fixed(bytes.length / 1024, 0), ...['decode', 'preprocess', 'inference', 'ms'].map((name) => fixed(middle(name)))]);
    }
  } finally {
    await server.stop();
  }
  grid(`Pixels: a JPEG alone, ${basename(model)}, ms (the middle of ${ROUNDS})`, ['picture', 'megapixels', 'KB', 'decode', 'scale', 'model', 'whole'], rows);
}

async function objects() {
  const server = await start();
  const rows = [];
  try {
    const bytes = readFileSync(pictures()[0]);
    for (const [confidence, most] of [[0.25, 300], [0.02, 300], [0.005, 300], [0.001, 300]]) {
      const middle = await ask(server, bytes, `?confidence=${confidence}&max_detections=${most}`);
      rows.push([`${confidence}`, fixed(middle('found'), 0), fixed(middle('postprocess'), 2), fixed(middle('kb')), fixed(middle('ms'))]);
    }
  } finally {
    await server.stop();
  }
  grid(`Objects: the same picture with ever lower thresholds (the middle of ${ROUNDS})`, ['confidence', 'objects', 'NMS and head, ms', 'answer, KB', 'whole, ms'], rows);
}

async function streams() {
  const files = join(folder, 'films');
  mkdirSync(files);
  ffmpeg('-i', join(shared, 'videos/traffic-1080p.mp4'), '-an', '-vf', 'scale=640:360,fps=10', '-c:v', 'libx264', '-preset', 'veryfast', '-bf', '0', join(files, 'loop.mp4'));
  const server = await start({ STREAM_FILES_DIR: files });
  const rows = [];
  const api = async (path, method = 'GET', value) => {
    const answer = await fetch(`${server.url}/api/v1/${path}`, { method, headers: { 'Content-Type': 'application/json' }, body: value && JSON.stringify(value) });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.json();
  };
  try {
    const ids = [];
    for (const count of [0, 1, 2, 4, 8, 16]) {
      while (ids.length < count) {
        ids.push((await api('streams', 'POST', { name: `camera ${ids.length}`, url: 'file:loop.mp4', fps: 1 })).id);
      }
      const all = () => Promise.all(ids.map((id) => api(`streams/${id}`)));
      while ((await all()).some(({ state, status }) => state !== 'live' || status.frames_processed < 2)) await sleep(100);
      const processed = async () => (await all()).reduce((sum, { status }) => sum + status.frames_processed, 0);
      const before = { frames: await processed(), cpu: treeCpuMs(server.pid), at: performance.now() };
      await sleep(SECONDS * 1000);
      const seconds = (performance.now() - before.at) / 1000;
      const cpu = (treeCpuMs(server.pid) - before.cpu) / 10 / seconds;
      rows.push([`${count}`, fixed(((await processed()) - before.frames) / seconds), fixed(cpu, 0), fixed(treeMb(server.pid), 0), `${processTree(server.pid).length}`]);
    }
  } finally {
    await server.stop();
  }
  grid(`Streams: 640x360 at 10 frames/s, one a second looked at, ${basename(model)}, ${cores} cores`, ['streams', 'inferred/s', 'processor, % of a core', 'memory (PSS), MB', 'processes'], rows);
}

try {
  await pixels();
  await objects();
  await streams();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
