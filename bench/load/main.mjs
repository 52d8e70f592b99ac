// A load on the whole server, with PostgreSQL and Redis beside it; its own figures held against /metrics,
// and each answer against what is in its picture. Exits with 1 when they differ, when an answer is wrong,
// and when a request fails other than by an honest 429 or 503.
//
// Usage: node bench/load/main.mjs [--scenario NAME] [--OPTION VALUE]... [MODEL.onnx]
// The scenarios and their options are in scenarios.mjs (--rate 200 --users 64 --video-seconds 10 ...).
// --pictures N: so many of COCO besides the four of the traffic (28); --stride N: of the videos.
// --url URL [--key KEY]: a server that runs already; --json FILE: the figures, too.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeClip } from '../jobs.mjs';
import { cores, grid, NEXUS_PATH } from '../lib.mjs';
import { learn, madeLarge } from './pictures.mjs';
import { startPlace } from './place.mjs';
import { figures, rows } from './report.mjs';
import { faults, openAgent, run } from './run.mjs';
import { choose } from './scenarios.mjs';
import { learnClip } from './videos.mjs';

const NUMBERS = ['seed', 'users', 'rate', 'ramp', 'hold', 'repeats', 'cached', 'uncached', 'videos', 'video-seconds'];
const text = (fallback) => ({ type: 'string', default: fallback });

function readOptions() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      scenario: text('short'),
      pictures: text('28'),
      stride: text('1'),
      url: text(undefined),
      key: text(undefined),
      json: text(undefined),
      ...Object.fromEntries(NUMBERS.map((name) => [name, text(undefined)])),
    },
  });
  const given = NUMBERS.filter((name) => values[name] !== undefined);
  const numbers = given.map((name) => [name.replace('-', '_'), Number(values[name])]);
  const bad = numbers.find(([, value]) => !(value >= 0));
  if (bad) throw new Error(`--${bad[0]} takes a number`);
  return { ...values, model: positionals[0], steps: choose(values.scenario, Object.fromEntries(numbers)) };
}

/** The server to be asked: one of our own, or the one that --url names. */
async function place({ url, key, model }) {
  const own = url ? { url, pids: {}, without: [], stop() {} } : await startPlace(model);
  return { ...own, path: NEXUS_PATH, counts: true, headers: key ? { authorization: `Bearer ${key}` } : {} };
}

async function runStep(step, server, known, folder, stride) {
  let clip;
  if (step.videos > 0) {
    const file = makeClip(folder, Math.round(30 * step.video_seconds));
    clip = await learnClip(server, readFileSync(file), { stride });
  }
  const outcome = await run(server, known, step, clip);
  const it = figures(outcome);
  grid(step.name, ['what', 'the load', 'by /metrics'], rows(it));
  return { ...it, faults: faults(outcome) };
}

async function main(options) {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-load-'));
  try {
    const files = madeLarge(folder, Number(options.pictures));
    const server = await place(options);
    const without = server.without.length > 0 ? `, WITHOUT ${server.without.join(' and ')}` : '';
    const outcomes = [];
    try {
      const agent = openAgent(1);
      const known = await learn(server.url, files, { ...server, agent });
      agent.destroy();
      console.log(`## Load: ${options.url ?? basename(options.model ?? 'yolov8n.onnx')}, ${files.length} JPEGs of 1080p, ${cores} cores with the load's own cost${without}`);
      for (const step of options.steps) {
        outcomes.push(await runStep(step, server, known, folder, Number(options.stride)));
      }
    } finally {
      await server.stop();
    }
    if (options.json) writeFileSync(options.json, `${JSON.stringify(outcomes, null, 2)}\n`);
    const found = outcomes.flatMap(({ scenario, faults: its }) => its.map((fault) => `${scenario.name}: ${fault}`));
    for (const fault of found) console.error(`FAULT ${fault}`);
    return found.length > 0 ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

process.exitCode = await main(readOptions());
