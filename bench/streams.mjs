// Live streams through `nexus serve`, from an RTSP camera of 1920x1080 at 30 frames/s (GStreamer's server on this very
// machine, H.264 without B-frames as cameras send it). Inferred frames/s and what is dropped for one stream and for four
// at 10; the time from the frame leaving the camera to its JSON having come here; what 50 viewers cost; and a soak.
// Usage: node bench/streams.mjs [one|four|viewers|soak]... MODEL.onnx
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import http from 'node:http';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startServer } from '../tests/e2e/lib/server.mjs';
import { cores, fixed, ortLibrary, percentile, processTree, shared, sleep, table, treeCpuMs, treeMb } from './lib.mjs';

const SECONDS = Number(process.env.BENCH_SECONDS ?? 40);
const SOAK_MINUTES = Number(process.env.BENCH_SOAK_MINUTES ?? 60);
const SETTLE = 5; // seconds at the start that do not count
const VIEWERS = 50;
const ALL = ['one', 'four', 'viewers'];
const parts = process.argv.slice(2).filter((word) => !word.endsWith('.onnx'));
const model = process.argv.slice(2).find((word) => word.endsWith('.onnx'));
const traffic = join(shared, 'videos/traffic-1080p.mp4');
const folder = mkdtempSync(join(tmpdir(), 'nexus-bench-'));

/** The traffic as a camera would send it, for so many seconds. */
function makeFilm(seconds, scale = []) {
  const once = join(folder, `once${scale.length}.mp4`);
  const film = join(folder, `film${scale.length}-${seconds}.mp4`);
  const ffmpeg = (...args) => execFileSync('ffmpeg', ['-nostdin', '-v', 'error', '-y', ...args]);
  if (!existsSync(once)) {
    const camera = ['-c:v', 'libx264', '-preset', 'veryfast', '-bf', '0', '-g', '30', '-b:v', '4M', '-maxrate', '4M', '-bufsize', '4M'];
    ffmpeg('-i', traffic, '-an', ...camera, ...scale, once);
  }
  ffmpeg('-stream_loop', String(Math.ceil(seconds / 10.4)), '-i', once, '-t', String(seconds), '-c', 'copy', film);
  return film;
}

/** RTSP cameras that show a film; sent(name) has the time at which each frame left, in ms since 1970. */
async function startCamera(film) {
  const log = join(folder, `camera-${Date.now()}.log`);
  const script = join(dirname(fileURLToPath(import.meta.url)), 'camera.py');
  const child = spawn('/usr/bin/python3', [script, film, '0', log], { stdio: ['ignore', 'pipe', 'inherit'] });
  const port = await new Promise((done, fail) => {
    child.stdout.once('data', (text) => done(Number(/port (\d+)/.exec(text)[1])));
    child.once('exit', () => fail(new Error('there is no RTSP server: scripts/bootstrap test')));
  });
  const sent = (name) =>
    readFileSync(log, 'ascii')
      .split('\n')
      .map((line) => line.split(' '))
      .filter(([camera]) => camera === name)
      .map(([, , seconds]) => Number(seconds) * 1000);
  return { url: (name) => `rtsp://127.0.0.1:${port}/${name}`, sent, pid: child.pid, stop: () => child.kill('SIGKILL') };
}

async function start() {
  const data = mkdtempSync(join(folder, 'data-'));
  const env = { NEXUS_ORT_LIBRARY: ortLibrary, DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false', STREAM_ALLOW_LOOPBACK: 'true' };
  return startServer({ args: ['--data-dir', data, '--model', model], env });
}

async function ask(server, path, method = 'GET', value = undefined) {
  const init = { method, headers: { 'Content-Type': 'application/json' }, body: value && JSON.stringify(value) };
  const answer = await fetch(`${server.url}/api/v1/${path}`, init);
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
  return text === '' ? null : JSON.parse(text);
}

/** Follows a stream's events; each result is kept with the time at which it came here. */
async function follow(server, id) {
  const url = `${server.url}/api/v1/streams/${id}/events`;
  let answer = await fetch(url);
  for (let waited = 0; answer.status === 503 && waited < 100; waited++) { // nobody runs it yet
    await sleep(100);
    answer = await fetch(url);
  }
  if (!answer.ok) throw new Error(`events: ${answer.status} ${await answer.text()}`);
  const results = [];
  const read = async () => {
    let text = '';
    for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) {
      const came = performance.timeOrigin + performance.now();
      text += chunk;
      const events = text.split('\n\n');
      text = events.pop();
      for (const event of events) {
        const match = /^id: \d+\nevent: frame\ndata: (.*)$/s.exec(event);
        if (match) results.push({ came, ...JSON.parse(match[1]) });
      }
    }
  };
  read().catch(() => {}); // the server ends
  return results;
}

/**
 * Camera to JSON in ms. The stream counts from the first frame that was left when the connection had been looked into;
 * which of the camera's that is: the latest one for which no frame came in before it was sent.
 */
function latencies(results, sent) {
  const came = results.map(({ at, frame }) => ({ frame, at: Date.parse(at) }));
  let first = 0;
  while (came.every(({ at, frame }) => sent[first + 1 + frame] !== undefined && at + 1 >= sent[first + 1 + frame])) first++;
  return results.map((result) => result.came - sent[first + result.frame]);
}

async function cameras(title, count, options, goal) {
  const server = await start();
  const camera = await startCamera(makeFilm(SECONDS + SETTLE + 15));
  const rows = [];
  try {
    const streams = [];
    for (let i = 1; i <= count; i++) {
      const stream = await ask(server, 'streams', 'POST', { name: `cam${i}`, url: camera.url(`cam${i}`), transport: 'tcp', ...options });
      streams.push({ id: stream.id, name: `cam${i}`, results: await follow(server, stream.id) });
    }
    for (let waited = 0; streams.some(({ results }) => results.length === 0); waited++) {
      if (waited > 300) throw new Error(JSON.stringify((await ask(server, 'streams')).items));
      await sleep(100);
    }
    await sleep(SETTLE * 1000);
    const states = () => Promise.all(streams.map(({ id }) => ask(server, `streams/${id}`)));
    const before = await states();
    const began = { at: performance.timeOrigin + performance.now(), cpu: treeCpuMs(server.pid), camera: treeCpuMs(camera.pid) };
    await sleep(SECONDS * 1000);
    const after = await states();
    const now = performance.timeOrigin + performance.now();
    const seconds = (now - began.at) / 1000;
    const gained = (name) => after.reduce((sum, { status }, i) => sum + status[name] - before[i].status[name], 0);
    const dropped = (reason) => after.reduce((sum, { status }, i) => sum + status.frames_dropped[reason] - before[i].status.frames_dropped[reason], 0);
    const measured = streams.flatMap(({ name, results }) => latencies(results.filter(({ came }) => came >= began.at && came <= now), camera.sent(name)));
    rows.push(
      ['frames received/s', fixed(gained('frames_received') / seconds)],
      ['frames inferred/s', fixed(gained('frames_processed') / seconds), goal],
      ['left out by fps/s', fixed(dropped('fps_limit') / seconds)],
      ['dropped for a newer frame/s', fixed(dropped('newer_frame') / seconds)],
      ['dropped otherwise', `${dropped('engine_busy') + dropped('model_failed') + dropped('stream_ended')}`, '0'],
      ['camera to JSON: p50, p95, p99', [0.5, 0.95, 0.99].map((share) => fixed(percentile(measured, share), 0)).join(', ') + ` ms (${measured.length} frames)`, 'p95 under 200 ms'],
      ['processor: nexus, the camera', `${fixed((treeCpuMs(server.pid) - began.cpu) / 10 / seconds, 0)} %, ${fixed((treeCpuMs(camera.pid) - began.camera) / 10 / seconds, 0)} % of one core`],
      ['memory of all processes', `${fixed(treeMb(server.pid), 0)} MB`],
    );
  } finally {
    camera.stop();
    await server.stop();
  }
  table(`${title}, ${basename(model)}, ${cores} cores`, rows);
}

/** A viewer that reads and forgets; bytes() tells how much. */
function view(server, path) {
  let bytes = 0;
  const request = http.get(`${server.url}/api/v1/${path}`, { agent: false }, (response) => {
    response.on('data', (chunk) => (bytes += chunk.length)).on('error', () => {});
  });
  request.on('error', () => {});
  return { bytes: () => bytes, close: () => request.destroy() };
}

async function viewers() {
  const server = await start();
  const camera = await startCamera(makeFilm(4 * SECONDS + 60));
  const rows = [];
  try {
    const { id } = await ask(server, 'streams', 'POST', { name: 'cam1', url: camera.url('cam1'), transport: 'tcp', fps: 10 });
    while ((await ask(server, `streams/${id}`)).state !== 'live') await sleep(100);
    for (const [what, path, count] of [['nobody', '', 0], ['one, live.mjpeg', 'live.mjpeg', 1], [`${VIEWERS}, live.mjpeg`, 'live.mjpeg', VIEWERS], ['one, live.mp4', 'live.mp4', 1], [`${VIEWERS}, live.mp4`, 'live.mp4', VIEWERS]]) {
      const all = Array.from({ length: count }, () => view(server, `streams/${id}/${path}`));
      await sleep(SETTLE * 1000);
      const status = async () => (await ask(server, `streams/${id}`)).status;
      const before = await status();
      const cpu = treeCpuMs(server.pid);
      const seen = all.map((one) => one.bytes());
      await sleep(SECONDS * 500);
      const seconds = SECONDS / 2;
      const rate = ((await status()).frames_processed - before.frames_processed) / seconds;
      const least = Math.min(...all.map((one, i) => one.bytes() - seen[i]));
      rows.push([what, `${fixed(rate)} frames/s inferred, ${fixed((treeCpuMs(server.pid) - cpu) / 10 / seconds, 0)} % of a core` + (count > 0 ? `, each viewer at least ${fixed(least / seconds / 1024, 0)} KB/s` : '')]);
      all.forEach((one) => one.close());
    }
  } finally {
    camera.stop();
    await server.stop();
  }
  table(`Who looks on: one stream at 10 frames/s, ${basename(model)}, ${cores} cores`, rows);
}

/**
 * Memory and descriptors of a server that watches a looped film for long, makes events and clips of it, and has viewers
 * of each kind; a line each minute. The film is small, so that what else runs here hardly matters.
 */
async function soak() {
  const server = await start();
  const film = makeFilm(300, ['-vf', 'scale=640:360,fps=10']); // the camera ends after it, and is connected to again
  const camera = await startCamera(film);
  const descriptors = () => processTree(server.pid).map((pid) => readdirSync(`/proc/${pid}/fd`).length).reduce((a, b) => a + b, 0);
  const lines = [];
  try {
    const { id } = await ask(server, 'streams', 'POST', {
      name: 'soak', url: camera.url('cam1'), transport: 'tcp', fps: Number(process.env.BENCH_SOAK_FPS ?? 2),
      lines: [{ name: 'road', from: [0.5, 0], to: [0.5, 1] }],
      rules: [{ name: 'over', kind: 'line_crossed', line: 'road', cooldown: 20 }, { name: 'camera', kind: 'camera_lost', seconds: 1 }],
    });
    let viewers = [];
    for (let minute = 1; minute <= SOAK_MINUTES; minute++) {
      viewers.forEach((one) => one.close()); // others come
      viewers = ['live.mjpeg', 'live.mp4', 'events'].map((path) => view(server, `streams/${id}/${path}`));
      await sleep(60_000);
      const { state, status } = await ask(server, `streams/${id}`);
      const lost = Object.values(status.frames_dropped).reduce((a, b) => a + b, 0);
      const line = { minute, state, received: status.frames_received, processed: status.frames_processed, open: status.frames_received - status.frames_processed - lost, reconnects: status.reconnects, mb: Math.round(10 * treeMb(server.pid)) / 10, descriptors: descriptors(), processes: processTree(server.pid).length, kb: viewers.map((one) => Math.round(one.bytes() / 1024)) };
      lines.push(line);
      console.error(JSON.stringify(line));
    }
    const { items } = await ask(server, `events?stream=${id}&limit=200`);
    console.error(`${items.length} events, ${items.filter(({ clip }) => clip).length} of them with clips`);
  } finally {
    camera.stop();
    await server.stop();
  }
  const at = (share) => lines[Math.min(lines.length - 1, Math.floor(share * lines.length))];
  table(`Soak of ${SOAK_MINUTES} minutes, ${basename(model)}`, [
    ['frames received, inferred', `${at(1).received}, ${at(1).processed}`],
    ['frames neither inferred nor dropped, at most', `${Math.max(...lines.map(({ open }) => open))}`, 'those on their way'],
    ['connections of the camera that ended', `${at(1).reconnects}`],
    ['memory after a tenth, at the end, at most', `${fixed(at(0.1).mb)}, ${fixed(at(1).mb)}, ${fixed(Math.max(...lines.map(({ mb }) => mb)))} MB`, 'flat'],
    ['descriptors after a tenth, at the end, at most', `${at(0.1).descriptors}, ${at(1).descriptors}, ${Math.max(...lines.map((line) => line.descriptors))}`, 'flat'],
  ]);
}

const known = [...ALL, 'soak'];
if (!model || !existsSync(traffic) || parts.some((part) => !known.includes(part))) {
  console.error(!existsSync(traffic) ? `There is no ${traffic}; set NEXUS_SHARED.` : `Usage: node bench/streams.mjs [${known.join('|')}]... MODEL.onnx`);
  process.exit(2);
}
const wanted = parts.length > 0 ? parts : ALL;
try {
  if (wanted.includes('one')) await cameras('One camera, 1080p at 30 frames/s, every frame', 1, {}, '30');
  if (wanted.includes('one')) await cameras('The same, drop_oldest', 1, { drop: 'drop_oldest' }, '30');
  if (wanted.includes('four')) await cameras('Four cameras, 1080p at 30 frames/s, 10 of them looked at', 4, { fps: 10 }, '40');
  if (wanted.includes('viewers')) await viewers();
  if (wanted.includes('soak')) await soak();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
