// Video jobs as part of a load: each uploaded, run, its results fetched and held against those of the
// same clip when it was alone.
import { createHash, randomBytes } from 'node:crypto';
import { ended, request, submit, upload } from '../jobs.mjs';
import { count } from './tally.mjs';

const RESULTS = ['frames.ndjson', 'summary.json'];

/** The clip with a box of nothing behind its end (ISO/IEC 14496-12, "free"), which makes it another one. */
export function another(clip) {
  const box = Buffer.alloc(24);
  box.writeUInt32BE(box.length, 0);
  box.write('free', 4, 'latin1');
  randomBytes(16).copy(box, 8);
  return Buffer.concat([clip, box]);
}

/** The frames of a job that has succeeded, by their hash; its other results must be there. */
async function outcome(server, job) {
  const bodies = [];
  for (const name of RESULTS) {
    const answer = await request(server, `jobs/${job.id}/results/${name}`);
    bodies.push(Buffer.from(await answer.arrayBuffer()));
  }
  return createHash('sha256').update(bodies[0]).digest('hex');
}

/** A clip with what is in it, from a job of its own while nothing else runs: { bytes, options, truth }. */
export async function learnClip(server, bytes, options) {
  const job = await submit(server, await upload(server, bytes), options);
  const [done] = await ended(server, [job]);
  if (done.state !== 'succeeded') throw new Error(`the clip alone: ${done.state}: ${done.error}`);
  return { bytes, options, truth: await outcome(server, done) };
}

/**
 * So many jobs of a clip of learnClip() at once. { states, errors, mistakes, succeeded, seconds: [of each, from its start],
 * waits: [of each, from its submission to its end], perHour }.
 */
export async function runJobs(server, clip, videos) {
  const errors = {};
  const jobs = [];
  const add = async () => {
    try {
      jobs.push(await submit(server, await upload(server, another(clip.bytes)), clip.options));
    } catch (error) {
      count(errors, error.status ?? error.message);
    }
  };
  await Promise.all(Array.from({ length: videos }, add));
  const done = await ended(server, jobs);
  const states = {};
  const mistakes = [];
  const good = done.filter((job) => job.state === 'succeeded');
  for (const job of done) count(states, job.state);
  for (const job of good) {
    if ((await outcome(server, job)) !== clip.truth) mistakes.push(`job ${job.id} found other things than the same clip alone`);
  }
  const between = (from, to) => (Date.parse(to) - Date.parse(from)) / 1000;
  const first = Math.min(...good.map((job) => Date.parse(job.started_at)));
  const last = Math.max(...good.map((job) => Date.parse(job.finished_at)));
  return {
    states,
    errors,
    mistakes,
    succeeded: good.length,
    seconds: good.map((job) => between(job.started_at, job.finished_at)),
    waits: good.map((job) => between(job.created_at, job.finished_at)),
    perHour: good.length > 0 ? (3600e3 * good.length) / (last - first) : 0,
  };
}
