// Videos and jobs over HTTP, as several test files need them.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { sharedPath } from './server.mjs';

/** Uploads a video of the shared data; its id. */
export async function addVideo(server, file = 'videos/car-detection.mp4') {
  const answer = await fetch(`${server.url}/api/v1/videos?name=cars.mp4`, {
    method: 'POST',
    headers: { 'Content-Type': 'video/mp4' },
    body: readFileSync(sharedPath(file)),
  });
  assert.equal(answer.status, 201);
  return (await answer.json()).id;
}

/** Puts a job into the queue, as it then is. */
export async function submitJob(server, options) {
  const answer = await fetch(`${server.url}/api/v1/videos/process`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(options),
  });
  const job = await answer.json();
  assert.equal(answer.status, 202, job.detail);
  return job;
}
