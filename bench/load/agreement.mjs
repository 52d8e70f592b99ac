// Whether what the load has counted is what the server says of itself.
import { percentile } from '../lib.mjs';
import { between, growthBy, histogram } from './metrics.mjs';

/** Of latencies, beside the way to the server and back (./way.mjs). Counts have to be the same. */
const TOLERANCE = 0.02;
/** With a longer way, in ms, both sides wait for cores more than they work: times are told, not judged. */
const STARVED = 20;
/** Where the slowest hits meet the quickest misses, a few requests more or less move a percentile by a hundred times. */
const RANK = 0.005;
export const SHARES = [0.5, 0.95, 0.99];

const sorted = (counts) => JSON.stringify(Object.fromEntries(Object.entries(counts).sort()));

function sameCounts(what, ours, theirs) {
  return { what, ours: sorted(ours), theirs: sorted(theirs), agrees: sorted(ours) === sorted(theirs), exact: true };
}

/** A latency against the bounds of the bucket that the server has it in, or against its own. */
function sameTime(what, ms, { above, upTo }, way) {
  const near = ms >= above * (1 - TOLERANCE) - way && ms <= upTo * (1 + TOLERANCE) + way;
  const agrees = way > STARVED ? undefined : near;
  const theirs = above === upTo ? `${upTo.toFixed(2)} ms` : `over ${above}, up to ${upTo} ms`;
  return { what, ours: `${ms.toFixed(2)} ms`, theirs, agrees };
}

/** What of /metrics an X-Cache stands for: a Redis that does not answer in time has found nothing. */
function found({ error = 0, ...others }) {
  const miss = (others.miss ?? 0) + error;
  return miss > 0 ? { ...others, miss } : others;
}

/**
 * Rows { what, ours, theirs, agrees, exact? } on the requests of a tally and two scrapes around them; way
 * in ms. agrees is undefined where it is not judged, exact says that counts are compared.
 */
export function compare(tally, before, after, route, way) {
  const labels = { method: 'POST', route };
  const caches = growthBy(before, after, 'cache_requests_total', 'result', { cache: 'predictions' });
  const rows = [
    sameCounts('answers by status', tally.statuses, growthBy(before, after, 'http_requests_total', 'status', labels)),
    sameCounts('answers by cache', tally.caches, found(caches)),
  ];
  const seen = histogram(before, after, 'http_request_duration_seconds', labels);
  if (!seen || tally.served.length === 0) return rows;
  const mean = tally.served.reduce((sum, ms) => sum + ms, 0) / tally.served.length;
  rows.push(sameTime('mean, once sent', mean, { above: 1000 * seen.mean, upTo: 1000 * seen.mean }, way));
  for (const share of SHARES) {
    const { above } = between(seen, share - RANK);
    const { upTo } = between(seen, Math.min(1, share + RANK));
    const ms = percentile(tally.served, share);
    rows.push(sameTime(`p${100 * share}, once sent`, ms, { above: 1000 * above, upTo: 1000 * upTo }, way));
  }
  return rows;
}

export const JOBS_DONE = 'jobs{state="succeeded"}';

/** A row on the jobs: how many more have succeeded. */
export function compareJobs(succeeded, before, after) {
  return sameCounts('jobs that succeeded', { jobs: succeeded }, { jobs: after.get(JOBS_DONE) - before.get(JOBS_DONE) });
}
