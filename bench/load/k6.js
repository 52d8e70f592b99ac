// The guide's load for k6: up to 500 users within 2 minutes, 10 minutes of them, 1080p pictures of which
// REPEATS percent were asked for before; and 50 video jobs of a clip of 1080p at once.
//
//     k6 run -e HOST=http://127.0.0.1:8000 -e PICTURES=../shared/images bench/load/k6.js
//     k6 run -e HOST=... -e CLIP=../shared/videos/traffic-1080p.mp4 bench/load/k6.js
//
// Besides: USERS (500), RAMP (120 s), HOLD (600 s), RATE of all users together (520 a second; the
// arrivals are k6's own schedule, and what it drops is in dropped_iterations), REPEATS (80), JOBS (50),
// API_KEY. Without PICTURES no pictures are sent, without CLIP no videos.
import { check, sleep } from 'k6';
import crypto from 'k6/crypto';
import exec from 'k6/execution';
import http from 'k6/http';
import { Trend } from 'k6/metrics';

const HOST = __ENV.HOST || 'http://127.0.0.1:8000';
const USERS = Number(__ENV.USERS || 500);
const RATE = Number(__ENV.RATE || 520);
const REPEATS = Number(__ENV.REPEATS || 80);
const JOB_LIMIT_S = 3600;
const KEY = __ENV.API_KEY ? { Authorization: `Bearer ${__ENV.API_KEY}` } : {};

const pictures = __ENV.PICTURES
  ? ['00', '03', '06', '09'].map((n) => open(`${__ENV.PICTURES}/traffic-1080p-${n}.jpg`, 'b'))
  : [];
const clip = __ENV.CLIP ? open(__ENV.CLIP, 'b') : undefined;
const jobTime = new Trend('job_time', true);

const images = {
  executor: 'ramping-arrival-rate',
  exec: 'image',
  startRate: Math.max(1, Math.round(RATE / USERS)),
  timeUnit: '1s',
  preAllocatedVUs: USERS,
  maxVUs: USERS,
  stages: [
    { target: RATE, duration: `${__ENV.RAMP || 120}s` },
    { target: RATE, duration: `${__ENV.HOLD || 600}s` },
  ],
};
const videos = {
  executor: 'per-vu-iterations',
  exec: 'video',
  vus: Number(__ENV.JOBS || 50),
  iterations: 1,
  maxDuration: `${JOB_LIMIT_S}s`,
};

export const options = {
  scenarios: Object.assign({}, pictures.length > 0 && { images }, clip && { videos }),
  thresholds: { checks: ['rate==1'] },
};

/** The bytes with these behind their end. */
function joined(bytes, tail) {
  const whole = new Uint8Array(bytes.byteLength + tail.byteLength);
  whole.set(new Uint8Array(bytes), 0);
  whole.set(new Uint8Array(tail), bytes.byteLength);
  return whole.buffer;
}

export function image() {
  const picture = pictures[exec.scenario.iterationInTest % pictures.length];
  const fresh = Math.random() * 100 >= REPEATS; // bytes behind its end make it another one
  const body = fresh ? joined(picture, crypto.randomBytes(16)) : picture;
  const headers = Object.assign({ 'Content-Type': 'image/jpeg' }, KEY);
  const answer = http.post(`${HOST}/api/v1/inference/image`, body, { headers });
  check(answer, {
    'answered, or refused with a time to wait': ({ status, headers: its }) =>
      status === 200 || ((status === 429 || status === 503) && its['Retry-After'] !== undefined),
  });
}

/** A box of nothing (ISO/IEC 14496-12, "free"), which makes a clip another one. */
function box() {
  const bytes = new Uint8Array(8);
  bytes.set([0, 0, 0, 24, 0x66, 0x72, 0x65, 0x65]);
  return joined(bytes.buffer, crypto.randomBytes(16));
}

export function video() {
  const headers = Object.assign({ 'Content-Type': 'video/mp4' }, KEY);
  const uploaded = http.post(`${HOST}/api/v1/videos`, joined(clip, box()), { headers });
  const json = Object.assign({ 'Content-Type': 'application/json' }, KEY);
  const order = JSON.stringify({ video_id: uploaded.json('id') });
  const begin = Date.now();
  const submitted = http.post(`${HOST}/api/v1/videos/process`, order, { headers: json });
  const place = `${HOST}/api/v1/jobs/${submitted.json('id')}`;
  let state = String(submitted.json('state'));
  while (['queued', 'running'].includes(state) && Date.now() - begin < JOB_LIMIT_S * 1000) {
    sleep(1);
    state = String(http.get(place, { headers: KEY, tags: { name: 'job' } }).json('state'));
  }
  jobTime.add(Date.now() - begin);
  check(state, { 'the job has succeeded': (its) => its === 'succeeded' });
  const results = http.get(`${place}/results/summary.json`, { headers: KEY, tags: { name: 'summary' } });
  check(results, { 'its summary is there': ({ status }) => status === 200 });
}
