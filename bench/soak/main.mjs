// Everything at once, and faults all along: a site with PostgreSQL, Redis, two servers, two workers, a camera and
// webhooks is asked for pictures and video jobs while its parts are killed, stopped, cut off and filled up. What has to
// hold is looked at all along and at the end; the exit status is 1 when it did not.
//
// Usage: node bench/soak/main.mjs [--minutes 60] [--seed N] [--objects disk|s3] [--faults NAME,NAME] [MODEL.onnx]
// --objects s3: in an S3, which then is slow, silent and cut off as well. --faults: those alone, by the names of faults.mjs.
// Needs what scripts/bootstrap test installs, and to be root, for the small disk.
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { makeClip, skipWithoutRtsp } from '../../tests/e2e/lib/cameras.mjs';
import { skipWithoutPostgres } from '../../tests/e2e/lib/postgres.mjs';
import { skipWithoutRedis } from '../../tests/e2e/lib/redis.mjs';
import { skipWithoutS3 } from '../../tests/e2e/lib/s3.mjs';
import { sharedPath } from '../../tests/e2e/lib/server.mjs';
import { canBeOthers, skipWithoutSmallDisk } from '../../tests/e2e/lib/small_disk.mjs';
import { cores, NEXUS_PATH, sleep } from '../lib.mjs';
import { coco, learn } from '../load/pictures.mjs';
import { openAgent } from '../load/run.mjs';
import { askLists, askPictures, askUploads } from './clients.mjs';
import { FAULTS, haveFaults, S3_FAULTS } from './faults.mjs';
import { drained, judgeEnd, lookAtFrames, recovered, verifyAudit } from './invariants.mjs';
import { Jobs } from './jobs.mjs';
import { Journal } from './journal.mjs';
import { grown, watchMemory } from './memory.mjs';
import { report } from './report.mjs';
import { Weather } from './weather.mjs';
import { startWorld } from './world.mjs';

const PICTURES = 6;
const CLIP = { seconds: 4, fps: 10 };
const JOB = { stride: 2 };
const LOOK_MS = 2000;
const MISUSE = 2;
const MISSING = 3;

function readOptions() {
  const text = (fallback) => ({ type: 'string', default: fallback });
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { minutes: text('60'), seed: text(String(randomInt(2 ** 31))), objects: text('disk'), faults: text(undefined) },
  });
  const [minutes, seed] = [Number(values.minutes), Number(values.seed)];
  const names = values.faults?.split(',');
  const known = [...Object.keys(FAULTS), ...(values.objects === 's3' ? Object.keys(S3_FAULTS) : [])];
  const strange = names?.find((name) => !known.includes(name));
  const wrong = (!(minutes > 0) && '--minutes takes a number') || (!Number.isInteger(seed) && '--seed takes a number')
    || (!['disk', 's3'].includes(values.objects) && '--objects takes disk or s3')
    || (strange !== undefined && `there is no fault '${strange}': ${known.join(', ')}`);
  if (wrong) {
    console.error(`soak: ${wrong}`);
    process.exit(MISUSE);
  }
  return { minutes, seed, objects: values.objects, names, model: positionals[0] };
}

function demandAll({ objects }) {
  const missing = skipWithoutPostgres() || skipWithoutRedis() || skipWithoutRtsp() || skipWithoutSmallDisk()
    || (objects === 's3' && skipWithoutS3()) || (!canBeOthers && 'not root, which the small disk takes');
  if (missing) {
    console.error(`soak: ${missing}`);
    process.exit(MISSING);
  }
}

/** Asks again and again, one look at a time; stop() waits for the last. */
function every(ms, look) {
  let going = true;
  const done = (async () => {
    while (going) {
      await look();
      await sleep(ms);
    }
  })();
  return { stop: () => ((going = false), done) };
}

async function soak(world, journal, { minutes, seed, names }) {
  const until = Date.now() + 60_000 * minutes;
  const state = { over: false, told: false };
  const end = () => (state.told = true); // early, but as ever: whoever just left would leave processes behind
  process.once('SIGINT', end).once('SIGTERM', end);
  const over = () => state.over;
  const tally = { frames: 0, audits: 0, most: {}, lost: {} };

  const agent = openAgent(1);
  const known = await learn(world.hosts[0].url, coco(PICTURES), { agent, path: NEXUS_PATH, headers: world.headers });
  agent.destroy();
  makeClip(sharedPath('videos/car-detection.mp4'), join(world.folder, 'job.mp4'), CLIP);
  const clip = readFileSync(join(world.folder, 'job.mp4'));
  const jobs = new Jobs({ world, journal, clip, options: JOB, seed: seed + 1, over });
  await jobs.learn();
  await recovered(world, journal, 'the start');

  const memory = watchMemory(world);
  const frames = every(LOOK_MS, () => lookAtFrames(world, journal, tally));
  const clients = [
    askPictures({ world, journal, known, seed: seed + 2, over }),
    askPictures({ world, journal, known, seed: seed + 3, over }),
    askLists({ world, journal, seed: seed + 4, over }),
    askUploads({ world, journal, clip, seed: seed + 5, over }),
    jobs.run(),
  ].map((client) => client.catch((error) => journal.broken(`a client of the soak itself: ${error.stack}`)));
  const had = await haveFaults({
    world, names, seed,
    over: () => state.told || Date.now() > until,
    recovered: (name) => recovered(world, journal, name),
    quiet: () => verifyAudit(world, journal, tally),
  });
  state.over = true;
  await Promise.all(clients);
  const lives = memory.stop();
  await frames.stop();
  await drained(world, journal);
  const outcome = judgeEnd(world, journal, jobs);
  for (const sentence of grown(lives)) journal.broken(sentence);
  const codes = {};
  for (const one of world.processes) {
    codes[one.name] = await one.end('SIGTERM');
    if (codes[one.name] !== 0) journal.broken(`${one.name} ended with ${codes[one.name]} when it was told to`);
  }
  const audit = await verifyAudit(world, journal, tally);
  report({ had, journal, jobs, end: outcome, tally, lives, audit, codes });
}

async function main(options) {
  demandAll(options);
  const again = `bench/run soak --minutes=${options.minutes} --seed=${options.seed} --objects=${options.objects}`;
  console.log(`## Soak with faults: ${options.minutes} minutes, seed ${options.seed}, objects on ${options.objects}, ${cores} cores\n\n    ${again}\n`);
  const weather = new Weather();
  const journal = new Journal(weather);
  const world = await startWorld({ ...options, broken: journal.broken });
  Object.assign(world, { weather, broken: journal.broken });
  try {
    await soak(world, journal, options);
  } finally {
    await world.close();
  }
  if (journal.brokenCount > 0) console.error(`soak: ${journal.brokenCount} broken invariants with seed ${options.seed}: ${again}`);
  return journal.brokenCount > 0 ? 1 : 0;
}

process.exitCode = await main(readOptions());
