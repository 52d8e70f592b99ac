// One scenario against one server: pictures and video jobs at once, what came of them, and whether the
// server says the same.
import http from 'node:http';
import { post, sleep } from '../lib.mjs';
import { compare, compareJobs, JOBS_DONE } from './agreement.mjs';
import { growthBy, scrape } from './metrics.mjs';
import { mark, mistake } from './pictures.mjs';
import { byCount, byRate, drive, usersAt } from './schedule.mjs';
import { Tally } from './tally.mjs';
import { runJobs } from './videos.mjs';
import { watch } from './watch.mjs';
import { measureWay } from './way.mjs';

const PATIENCE_MS = 60_000; // for a free connection, and for an answer
const COUNTED_MS = 15_000; // until the server has counted what it has just sent, and its jobs
const LOOK_MS = 100;

/** Connections that are kept, but not as long as the server does: nobody writes to one that it closes. */
export const openAgent = (users) => new http.Agent({ keepAlive: true, maxSockets: users, timeout: PATIENCE_MS });

/** Why an answer is not the one that was asked for, or nothing. */
function whyWrong(server, known, picture, answer, id) {
  const named = answer.headers['x-request-id'];
  if (server.counts && named !== id) return `${picture.name} was answered with the answer to ${named}`;
  return mistake(known, picture, answer.body);
}

/** Asks for pictures as the scenario has it, and enters what comes of it. */
async function askAll(server, known, scenario, tally) {
  const agent = openAgent(scenario.users);
  const timed = scenario.rate > 0; // else each is due when somebody is free to ask for it
  const steadyFrom = timed ? 1000 * scenario.ramp : 0;
  const steadyTo = timed ? 1000 * (scenario.ramp + scenario.hold) : Infinity;
  let number = 0;

  async function one(wanted, begin) {
    const waited = timed ? performance.now() - begin - wanted.due : 0;
    if (waited > PATIENCE_MS) {
      tally.unsent('no free connection within a minute');
      return;
    }
    const picture = known.list[wanted.picture];
    const tail = wanted.fresh ? mark() : undefined;
    const id = `load-${number++}`;
    const headers = { ...server.headers, 'x-request-id': id };
    const answer = await post(server.url, picture.bytes, agent, server.path, { headers, tail });
    const at = performance.now() - begin;
    tally.answered(answer, waited, at >= steadyFrom && at <= steadyTo);
    const why = answer.status === 200 && whyWrong(server, known, picture, answer, id);
    if (why) tally.mistaken(`${id}${tail ? `, marked ${tail.toString('hex')}` : ''}: ${why}`);
  }

  const requests = (timed ? byRate : byCount)(scenario, known.list.length);
  await drive(requests, (ms) => usersAt(scenario, ms), one);
  agent.destroy();
}

/** What the server says once it has counted all that was answered before, and its jobs. */
async function settled(server) {
  for (let last; ; await sleep(LOOK_MS)) {
    const now = await scrape(server.url, server.headers);
    const counts = growthBy(new Map(), now, 'http_requests_total', 'status', { route: server.path });
    const text = JSON.stringify([counts, now.get(JOBS_DONE)]);
    if (text === last && !Number.isNaN(now.get(JOBS_DONE))) return now;
    last = text;
  }
}

/** Compares until the server has counted everything, or does not come to. */
async function agreement(server, before, { tally, jobs, way }) {
  for (const until = performance.now() + COUNTED_MS; ; await sleep(LOOK_MS)) {
    const after = await scrape(server.url, server.headers);
    const rows = compare(tally, before, after, server.path, way);
    if (jobs) rows.push(compareJobs(jobs.succeeded, before, after));
    if (rows.every(({ agrees, exact }) => agrees || !exact) || performance.now() > until) return rows;
  }
}

/** Has work done and looks meanwhile at what it takes: { done, usage, way }. */
async function watched(server, work) {
  const watching = watch(server);
  const going = measureWay(server.url);
  const stop = async () => ({ usage: await watching.stop(), way: await going.stop() });
  try {
    const done = await work();
    return { done, ...(await stop()) };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * Runs a scenario of ./scenarios.mjs. server: { url, path, headers?, pids, counts: whether it has
 * /metrics }; known: of learn(); clip: { bytes, truth, options } where there are videos.
 * { scenario, seconds, tally, rate, jobs, usage, way, rows }: rate is good answers a second once all
 * users are there, rows is what the server says of it.
 */
export async function run(server, known, scenario, clip) {
  const tally = new Tally();
  const before = server.counts ? await settled(server) : undefined;
  const pictures = async () => {
    const begin = performance.now();
    await askAll(server, known, scenario, tally);
    return (performance.now() - begin) / 1000;
  };
  const videos = () => (scenario.videos > 0 ? runJobs(server, clip, scenario.videos) : undefined);
  const { done, usage, way } = await watched(server, () => Promise.all([pictures(), videos()]));
  const [seconds, jobs] = done;
  const rows = server.counts ? await agreement(server, before, { tally, jobs, way }) : [];
  const rate = tally.steady / (scenario.rate > 0 ? scenario.hold : seconds);
  return { scenario, seconds, tally, rate, jobs, usage, way, rows };
}

/** Sentences on what is wrong with an outcome; none: all is well. */
export function faults({ tally, jobs, rows, scenario }) {
  const found = [...tally.mistakes];
  if (tally.wrong > tally.mistakes.length) found.push(`${tally.wrong} wrong answers in all`);
  if (tally.failures > 0) {
    found.push(`${tally.failures} requests failed: ${JSON.stringify({ ...tally.statuses, ...tally.errors })}`);
  }
  if (jobs) found.push(...jobs.mistakes);
  if (jobs && jobs.succeeded < scenario.videos) {
    found.push(`${jobs.succeeded} of ${scenario.videos} jobs succeeded: ${JSON.stringify({ ...jobs.states, ...jobs.errors })}`);
  }
  for (const { what, ours, theirs, agrees } of rows) {
    if (agrees === false) found.push(`${what}: the load has ${ours}, /metrics says ${theirs}`);
  }
  return found;
}
