// What has to hold all along, and what has to hold at the end.
import { eventually } from '../../tests/e2e/lib/server.mjs';
import { sleep } from '../lib.mjs';
import { scrape } from '../load/metrics.mjs';
import { askHost } from './ask.mjs';
import { FINAL } from './jobs.mjs';

const RECOVERY_MS = 120_000;
const DRAIN_MS = 600_000; // a webhook that was refused often waits for minutes
const RULE = FINAL.map((state) => `'${state}'`).join(', ');

const dropped = (counts) => Object.values(counts).reduce((sum, value) => sum + value, 0);

/** Each stream's frames, and those of each host together: what came was looked at, or dropped for a reason. */
export async function lookAtFrames(world, journal, tally) {
  for (const host of world.hosts) {
    try {
      const now = await scrape(host.url, world.headers);
      const lost = [...now].filter(([name]) => name.startsWith('frames_dropped_total')).reduce((sum, [, value]) => sum + value, 0);
      const [received, processed] = ['received', 'processed'].map((what) => now.get(`frames_${what}_total`));
      tally.frames++;
      if (received !== processed + lost) {
        journal.broken(`${host.name} received ${received} frames, looked at ${processed} and dropped ${lost}`);
      }
      for (const name of ['events_lost_total', 'audit_rows_total{outcome="lost"}']) {
        if (now.get(name) > 0) (tally.lost[`${host.name} ${host.pid} ${name}`] = now.get(name));
      }
    } catch {
      continue; // it is away, which others tell of
    }
    const answer = await askHost(world, host, '/api/v1/streams');
    for (const { name, here, status } of answer.status === 200 ? answer.value().items : []) {
      if (!here || !status) continue;
      const { frames_received: received, frames_processed: processed, frames_dropped: lost } = status;
      tally.most[name] = Math.max(tally.most[name] ?? 0, received);
      if (received !== processed + dropped(lost)) journal.broken(`stream ${name}: ${JSON.stringify(status)}`);
    }
  }
}

/** Waits until all is well again; the seconds that it took. */
export async function recovered(world, journal, name) {
  const from = Date.now();
  let last;
  const ready = async () => {
    for (const host of world.hosts) {
      const answer = await askHost(world, host, '/health/ready');
      last = `${host.name}: ${answer.error ?? answer.body}`;
      if (answer.status !== 200 || /"ready": ?false/.test(answer.body)) return false;
    }
    const answer = await askHost(world, world.hosts[0], '/api/v1/streams');
    last = answer.error ?? String(answer.body);
    if (answer.status !== 200) return false;
    const streams = answer.value().items;
    return streams.length === world.streams.length && streams.every(({ state }) => state === 'live');
  };
  try {
    await eventually(async () => (await ready()) || (await sleep(250), false), 'all is well again', RECOVERY_MS);
  } catch {
    journal.broken(`not well again ${RECOVERY_MS / 1000} s after '${name}': ${last}`);
  }
  return (Date.now() - from) / 1000;
}

/** The chain of the audit log; how many rows it has. */
export async function verifyAudit(world, journal, tally) {
  const { code, stdout, stderr } = await world.verifyAudit();
  tally.audits++;
  if (code !== 0) journal.broken(`nexus audit verify ends with ${code}: ${stdout}${stderr}`);
  return stdout.trim();
}

const rows = (world, sql) => world.postgres.query(sql).split('\n').filter(Boolean).map((line) => line.split('|'));

/** Waits until everybody has been told of everything. */
export async function drained(world, journal) {
  const waiting = () => Number(rows(world, `SELECT (SELECT count(*) FROM webhooks WHERE state = 'pending')
    + (SELECT count(*) FROM event_deliveries WHERE state = 'pending')`)[0][0]);
  try {
    await eventually(async () => waiting() === 0 || (await sleep(1000), false), 'everybody is told', DRAIN_MS);
  } catch {
    journal.broken(`${waiting()} deliveries still wait ${DRAIN_MS / 1000} s after the last fault`);
  }
}

/** Each accepted job is there once, has ended as often as it was to, and each end was told under one id. */
function judgeJobs(world, journal, jobs) {
  const states = new Map(rows(world, 'SELECT id, state FROM jobs'));
  const ends = new Map(rows(world, `SELECT job_id, count(*) FROM job_events
    WHERE kind = 'state' AND state IN (${RULE}) GROUP BY job_id`).map(([id, count]) => [id, Number(count)]));
  for (const [id, { ends: due, key }] of jobs.all) {
    if (!states.has(id)) journal.broken(`job ${id} (${key}) is lost`);
    else if (!FINAL.includes(states.get(id))) journal.broken(`job ${id} is still ${states.get(id)}`);
    if (ends.get(id) !== due) journal.broken(`job ${id} ended ${ends.get(id) ?? 0} times, not ${due}`);
  }
  for (const id of states.keys()) {
    if (!jobs.all.has(id)) journal.broken(`job ${id} was entered and never accepted`);
  }
}

/** What the outbox has is what the receiver was told, by the same ids. */
function judgeTold(world, journal) {
  const { deliveries } = world.receiver;
  const due = new Map([
    ...rows(world, 'SELECT id, state, job_id FROM webhooks'),
    ...rows(world, 'SELECT id, state, event_id FROM event_deliveries'),
  ].map(([id, state, about]) => [id, { state, about }]));
  for (const [id, { state, about }] of due) {
    const told = deliveries.get(id);
    if (state !== 'delivered') journal.broken(`delivery ${id} is ${state}`);
    else if (told === undefined) journal.broken(`delivery ${id} is said to be delivered, and nobody was told`);
    else if ((told.job ?? told.event) !== about) journal.broken(`delivery ${id} told of another`);
  }
  for (const id of deliveries.keys()) {
    if (!due.has(id)) journal.broken(`delivery ${id} was told and is in no outbox`);
  }
  const ended = rows(world, `SELECT job_id, count(*) FROM job_events e WHERE kind = 'state' AND state IN (${RULE})
    AND NOT EXISTS (SELECT 1 FROM webhooks w WHERE w.id = e.job_id || ':' || e.seq) GROUP BY job_id`);
  for (const [id, count] of ended) journal.broken(`${count} ends of job ${id} are in no outbox`);
  const untold = rows(world, `SELECT id FROM events e WHERE NOT EXISTS (SELECT 1 FROM event_deliveries d WHERE d.event_id = e.id)`);
  for (const [id] of untold) journal.broken(`event ${id} is in no outbox`);
  return { due: due.size, posts: [...deliveries.values()].reduce((sum, { posts }) => sum + posts, 0) };
}

export function judgeEnd(world, journal, jobs) {
  judgeJobs(world, journal, jobs);
  const told = judgeTold(world, journal);
  const events = Number(rows(world, 'SELECT count(*) FROM events')[0][0]);
  return { ...told, events };
}
