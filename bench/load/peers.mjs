// Nexus against the stack that the guide describes and a server in Node: the same load, pictures and
// weights, one server after the other. Each has to answer what it answers when it is asked alone, and to
// find what Nexus finds.
//
// Usage: node bench/load/peers.mjs [--only TEXT] [--rate N] [--json FILE] [MODEL.onnx]
// MODEL is what Nexus is measured with besides yolov8n.onnx, which all have. rate (8): pictures a
// second that nobody has asked for before, below what the slowest one can do.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import { makeClip } from '../jobs.mjs';
import { cores, fixed, grid, pictures, root, shared } from '../lib.mjs';
import { differences } from '../peers/agreement.mjs';
import { servers } from '../peers/servers.mjs';
import { learn } from './pictures.mjs';
import { figures } from './report.mjs';
import { faults, openAgent, run } from './run.mjs';
import { made } from './scenarios.mjs';
import { learnClip } from './videos.mjs';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string', default: '' },
    rate: { type: 'string', default: '8' },
    json: { type: 'string' },
  },
});
const rate = Number(options.rate);
const weights = join(shared, 'models/yolov8n.onnx');
const CLIP_S = 4;

const LOADS = {
  speed: made('all new, as fast as it goes', { users: 8, uncached: 150 }),
  equal: made(`all new, ${rate}/s`, { users: 64, rate, hold: 20, repeats: 0 }),
  repeats: made(`80 % repeats, ${3 * rate}/s`, { users: 64, rate: 3 * rate, hold: 20 }),
  videos: made('videos', { videos: 2 * cores, video_seconds: CLIP_S }),
};

const rows = [
  ...servers.map((server) => ({ ...server, model: weights })),
  ...positionals.map((model) => ({ ...servers[0], model, own: true })),
]
  .map((row) => ({ ...row, label: `${row.name}, ${basename(row.model)}` }))
  .filter((row) => row.label.includes(options.only));

/** Why a server does not find what was found first, or nothing; other weights may. */
function disagreement(row, known, first) {
  if (!first || row.own) return undefined;
  const found = known.list.flatMap(({ name, truth }, i) =>
    differences(JSON.parse(first.list[i].truth).detections, JSON.parse(truth).detections).map((text) => `${name}: ${text}`),
  );
  return found.length > 0 ? `finds other boxes: ${found.join('; ')}` : undefined;
}

/** The figures of each load that a server takes. */
async function measure(row, clip, first) {
  if (row.install) await promisify(execFile)(join(root, 'bench/peers/install'), [row.install]);
  const server = await row.start(row.model);
  try {
    const agent = openAgent(1);
    const known = await learn(server.url, pictures(), { ...server, agent });
    agent.destroy();
    const why = disagreement(row, known, first);
    if (why) throw new Error(why);
    const results = {};
    const wanted = ['speed', 'equal', ...(row.keeps ? ['repeats'] : []), ...(row.videos ? ['videos'] : [])];
    for (const name of wanted) {
      const film = name === 'videos' ? await learnClip(server, clip, {}) : undefined;
      const outcome = await run(server, known, LOADS[name], film);
      results[name] = { ...figures(outcome), faults: faults(outcome) };
    }
    return { known, results, startMs: server.startMs };
  } finally {
    await server.stop();
  }
}

const lines = (files) => files.flatMap((file) => readFileSync(file, 'utf8').split('\n')).filter((line) => line.trim() !== '').length;
const sum = (values) => Object.values(values).reduce((a, b) => a + b, 0);

function cells({ label, results, startMs, sources }) {
  const { speed, equal, repeats, videos } = results;
  const p95 = (one) => (one ? fixed(one.latency_ms.p95, 0) : '-');
  const memory = Math.max(...Object.values(results).map((one) => sum(one.memory_mb)));
  return [
    label,
    fixed(speed.rate),
    p95(equal),
    p95(repeats),
    repeats?.hit_rate ? `${fixed(100 * repeats.hit_rate, 0)} %` : '-',
    videos ? fixed(videos.jobs.per_hour * CLIP_S / 30, 0) : '-',
    fixed(memory, 0),
    fixed(startMs, 0),
    lines(sources) || 'none',
    sum(Object.values(results).map((one) => one.faults.length)),
  ];
}

const folder = mkdtempSync(join(tmpdir(), 'nexus-load-'));
const done = [];
try {
  const clip = readFileSync(makeClip(folder, 30 * CLIP_S));
  for (const row of rows) {
    try {
      const measured = await measure(row, clip, done[0]?.known);
      done.push({ ...row, ...measured });
    } catch (error) {
      console.error(`${row.label}: NOT MEASURED: ${`${error.stderr || error.message}`.trim()}`);
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
grid(`Whole servers, JPEGs of 1080p, ${cores} cores with the load's own cost`, [
  'server', `new pictures/s`, `p95 at ${rate}/s, ms`, `p95 at ${3 * rate}/s, 80 % repeats, ms`, 'found in the cache',
  'videos of 30 s an hour', 'most memory (PSS), MB', 'start, ms', 'lines of its own code', 'faults',
], done.map(cells));
for (const { label, results } of done) {
  for (const [name, { faults: found }] of Object.entries(results)) {
    for (const fault of found) console.error(`FAULT ${label}, ${name}: ${fault}`);
  }
}
if (options.json) {
  const kept = done.map(({ label, results, startMs }) => ({ label, startMs, results }));
  writeFileSync(options.json, `${JSON.stringify(kept, null, 2)}\n`);
}
