// Video jobs over HTTP, as the benchmarks need them: a long clip, uploads, jobs and their ends.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { shared, sleep } from './lib.mjs';

export const traffic = join(shared, 'videos/traffic-1080p.mp4');

/** Runs ffmpeg; without it there is nothing to measure. */
export function ffmpeg(...args) {
  try {
    execFileSync('ffmpeg', ['-v', 'error', ...args.map(String)]);
  } catch (error) {
    console.error(`Pictures and clips need ffmpeg, from Debian's package of that name: ${error.message}`);
    process.exit(3);
  }
}

/** traffic-1080p.mp4 again and again, without encoding anything anew; where it then is. */
export function makeClip(folder, frames) {
  const clip = join(folder, 'clip.mp4');
  const loops = Math.ceil(frames / 312) - 1; // so many frames are in it
  ffmpeg('-y', '-stream_loop', loops, '-i', traffic, '-frames:v', frames, '-c', 'copy', clip);
  return clip;
}

/** The answer to a request below /api/v1; what is no success is an Error that says why. */
export async function request(server, path, init = {}) {
  const headers = { ...server.headers, ...init.headers };
  const answer = await fetch(`${server.url}/api/v1/${path}`, { ...init, headers });
  if (!answer.ok) {
    const text = await answer.text();
    throw Object.assign(new Error(`${path}: ${answer.status} ${text}`), { status: answer.status });
  }
  return answer;
}

export const ask = async (server, path, init) => (await request(server, path, init)).json();

export const upload = async (server, bytes) =>
  (await ask(server, 'videos', { method: 'POST', headers: { 'Content-Type': 'video/mp4' }, body: bytes })).id;

export const submit = (server, video, options) =>
  ask(server, 'videos/process', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ video_id: video, ...options }),
  });

/** Waits for the end of jobs, by asking twice a second; look is called each time. */
export async function ended(server, jobs, look = () => {}) {
  const open = new Map(jobs.map((job) => [job.id, job]));
  const done = [];
  while (open.size > 0) {
    await sleep(500);
    look();
    for (const id of open.keys()) {
      const job = await ask(server, `jobs/${id}`);
      if (!['queued', 'running'].includes(job.state)) {
        open.delete(id);
        done.push(job);
      } else if (job.state === 'queued') {
        break; // those behind it are as well
      }
    }
  }
  return done;
}
