// An outcome as a table, and as JSON for tables of many.
import { fixed, percentile } from '../lib.mjs';
import { SHARES } from './agreement.mjs';

const sum = (counts) => Object.values(counts).reduce((all, value) => all + value, 0);
const told = (counts) => Object.entries(counts).map(([name, value]) => `${name}: ${value}`).join(', ') || 'none';
const mean = (values) => values.reduce((all, value) => all + value, 0) / values.length;
const each = (values, digits, unit) =>
  Object.entries(values).map(([name, value]) => `${name} ${fixed(value, digits)} ${unit}`).join(', ');

/** The figures of an outcome of run(). */
export function figures({ scenario, seconds, tally, rate, jobs, usage, way, rows }) {
  const { 200: good = 0, ...refused } = tally.statuses;
  const { hit = 0 } = tally.caches;
  return {
    scenario,
    seconds,
    requests: tally.requests,
    succeeded: good,
    rate,
    latency_ms: Object.fromEntries(SHARES.map((share) => [`p${100 * share}`, percentile(tally.latencies, share)])),
    refused,
    errors: tally.errors,
    wrong: tally.wrong,
    hit_rate: sum(tally.caches) > 0 ? hit / sum(tally.caches) : null,
    cpu_percent: usage.cpu,
    memory_mb: usage.memory,
    queue_depth: usage.queue.length > 0 ? { mean: mean(usage.queue), most: Math.max(...usage.queue) } : null,
    jobs: jobs && {
      of: scenario.videos,
      succeeded: jobs.succeeded,
      states: jobs.states,
      errors: jobs.errors,
      per_hour: jobs.perHour,
      seconds: { mean: mean(jobs.seconds), p95: percentile(jobs.seconds, 0.95) },
      waits: { mean: mean(jobs.waits), p95: percentile(jobs.waits, 0.95) },
    },
    way_ms: way,
    agreement: rows,
  };
}

const picturesOf = (it) => [
  ['requests, of them answered with 200', `${it.requests}, ${it.succeeded} (${fixed((100 * it.succeeded) / it.requests, 2)} %)`],
  ['answers a second once all users are there', fixed(it.rate)],
  [`p50, p95, p99${it.scenario.rate > 0 ? ' from when a request was due' : ''}`, `${Object.values(it.latency_ms).map((ms) => fixed(ms)).join(', ')} ms`],
  ['refused, by status', told(it.refused)],
  ['errors', told(it.errors)],
  ['wrong answers', it.wrong],
  ['found in the cache', it.hit_rate === null ? 'nothing is kept' : `${fixed(100 * it.hit_rate)} %`],
];

const jobsOf = (it) => [
  ['video jobs, of them succeeded', `${it.of}, ${it.succeeded}`],
  ['videos an hour', fixed(it.per_hour, 0)],
  ['a video from its start to its end: mean, p95', `${fixed(it.seconds.mean)}, ${fixed(it.seconds.p95)} s`],
  ['from its submission: mean, p95', `${fixed(it.waits.mean)}, ${fixed(it.waits.p95)} s`],
];

/** Rows [what, value, what /metrics says] of figures(). */
export function rows(it) {
  const lines = [
    ...(it.requests > 0 ? picturesOf(it) : []),
    ...(it.jobs ? jobsOf(it.jobs) : []),
    ['processor (100 %: one core)', each(it.cpu_percent, 0, '%')],
    ['most memory (PSS)', each(it.memory_mb, 0, 'MB')],
    ...(it.queue_depth ? [['pictures that wait: mean, most', `${fixed(it.queue_depth.mean)}, ${it.queue_depth.most}`]] : []),
    ['the way to the server and back (GET /health, p99)', `${fixed(it.way_ms)} ms`],
  ];
  const verdict = (agrees) => (agrees === undefined ? 'not judged, the way is too long' : agrees ? 'agrees' : '**differs**');
  const agreed = it.agreement.map(({ what, ours, theirs, agrees }) => [what, ours, `${theirs}: ${verdict(agrees)}`]);
  return [...lines.map(([what, value]) => [what, value, '']), ...agreed];
}
