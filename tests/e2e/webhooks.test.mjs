// Webhooks as their receiver sees them: a real HTTP server here, told by every process that may.

import assert from 'node:assert/strict';
import { createHmac, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const SECRET = 'whsec_\u00e4 b';
const LONG_MS = 120_000;

/** Keeps what is posted to it: {headers, body}. Answers with the next of answers, then 200. */
async function startReceiver() {
  const posts = [];
  const answers = [];
  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      posts.push({ headers: request.headers, body: Buffer.concat(chunks) });
      response.writeHead(answers.shift() ?? 200).end();
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${server.address().port}/hook?who=nexus`;
  return { url, posts, answers, close: () => new Promise((resolve) => server.close(resolve)) };
}

/** The message of a post, once its signature is verified as a receiver would. */
function verified({ headers, body }) {
  const [, time, hex] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers['x-nexus-signature']);
  assert.ok(Math.abs(Number(time) - Date.now() / 1000) < 300, time);
  const expected = createHmac('sha256', SECRET).update(`${time}.`).update(body).digest();
  assert.ok(timingSafeEqual(expected, Buffer.from(hex, 'hex')));
  assert.match(headers['content-type'], /^application\/json/);
  const message = JSON.parse(body.toString());
  assert.equal(headers['x-nexus-event'], message.event);
  assert.equal(headers['x-nexus-delivery'], message.delivery_id);
  return message;
}

describe('webhooks', { skip }, () => {
  let receiver;
  let data;
  let servers;
  let video;

  const env = () => ({
    NEXUS_DATA_DIR: data.path,
    DATABASE_URL: '',
    OBJECTS_URL: '',
    RUN_JOBS: 'false',
    WEBHOOK_SECRET: SECRET,
    WEBHOOK_ALLOW_PRIVATE: 'true',
  });
  const ask = (path, init) => fetch(`${servers[0].url}/api/v1/${path}`, init);
  async function submit(value) {
    return ask('videos/process', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ video_id: video, ...value }),
    });
  }
  async function queued(value) {
    const answer = await submit({ webhook_url: receiver.url, ...value });
    const job = await answer.json();
    assert.equal(answer.status, 202, job.detail);
    return job.id;
  }

  const deliveries = async (id) => (await (await ask(`jobs/${id}/webhooks`)).json()).items;

  before(async () => {
    receiver = await startReceiver();
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    servers = [await startServer({ env: env() })];
    const answer = await ask('videos?name=cars.mp4', {
      method: 'POST',
      headers: { 'Content-Type': 'video/mp4' },
      body: readFileSync(sharedPath('videos/car-detection.mp4')),
    });
    video = (await answer.json()).id;
  });
  after(async () => {
    for (const server of servers ?? []) {
      assert.equal(await server.stop(), 0);
    }
    await receiver?.close();
    data?.remove();
  });

  it('comes once and signed, whichever of several processes sends it', async () => {
    servers.push(await startServer({ env: env() }), await startServer({ env: env() }));
    const ids = [];
    for (let i = 0; i < 24; i++) {
      ids.push(await queued());
    }
    for (const id of ids) {
      assert.equal((await ask(`jobs/${id}`, { method: 'DELETE' })).status, 200);
    }
    await eventually(() => receiver.posts.length >= ids.length, 'all are told', LONG_MS);
    const [first, ...others] = servers;
    servers = [first];
    for (const server of others) {
      assert.equal(await server.stop(), 0);
    }
    const messages = receiver.posts.map(verified);
    assert.deepEqual(messages.map(({ job }) => job.id).sort(), ids.sort());
    assert.equal(new Set(messages.map(({ delivery_id: id }) => id)).size, ids.length);
    for (const { event, attempt, job } of messages) {
      assert.deepEqual([event, attempt, job.state], ['job.cancelled', 1, 'cancelled']);
      assert.equal((await deliveries(job.id)).length, 1);
    }
  });

  it('logs each attempt, and says when the next one is', async () => {
    receiver.posts.length = 0;
    receiver.answers.push(500);
    const id = await queued();
    assert.deepEqual(await deliveries(id), []);
    assert.equal((await ask(`jobs/${id}`, { method: 'DELETE' })).status, 200);
    const one = async () => (await deliveries(id))[0];
    await eventually(async () => (await one()).log.length > 0, 'an attempt is logged', LONG_MS);
    const failed = await one();
    const { at, duration_ms: duration, ...attempt } = failed.log[0];
    assert.deepEqual(attempt, { attempt: 1, status: 500, error: 'the receiver answers 500' });
    assert.ok(duration >= 0);
    assert.deepEqual([failed.url, failed.state, failed.attempts], [receiver.url, 'pending', 1]);
    const wait = Date.parse(failed.next_attempt_at) - Date.parse(at);
    assert.ok(wait > 4000 && wait <= 10_000, `${wait} ms`);
    assert.equal(failed.finished_at, null);

    await eventually(async () => (await one()).state !== 'pending', 'it is tried again', LONG_MS);
    const delivered = await one();
    assert.deepEqual([delivered.id, delivered.state, delivered.attempts], [failed.id, 'delivered', 2]);
    assert.deepEqual(
      delivered.log.map(({ status, error }) => [status, error]),
      [[500, attempt.error], [200, null]],
    );
    assert.equal(delivered.next_attempt_at, null);
    assert.ok(delivered.finished_at >= at);
    assert.equal(receiver.posts.length, 2);
    assert.deepEqual(receiver.posts.map(verified).map((post) => post.delivery_id), [failed.id, failed.id]);

    assert.equal((await ask(`jobs/${id}/retry`, { method: 'POST' })).status, 202);
    assert.equal((await ask(`jobs/${id}`, { method: 'DELETE' })).status, 200);
    assert.equal((await deliveries(id)).length, 2);
    assert.equal((await ask('jobs/01890000-0000-7000-8000-000000000000/webhooks')).status, 404);
    await eventually(async () => (await one()).state === 'delivered', 'the second end is told', LONG_MS);

    const metrics = await (await fetch(`${servers[0].url}/metrics`)).text();
    const value = (series) => Number(metrics.split('\n').find((line) => line.startsWith(series)).split(' ')[1]);
    assert.ok(value('deliveries_sent_total{target="job_webhook"}') >= 2);
    assert.equal(value('deliveries_failed_total{target="job_webhook",reason="refused"}'), 1);
    assert.equal(value('deliveries_given_up_total{target="job_webhook"}'), 0);
    assert.equal(value('deliveries_waiting{target="job_webhook"}'), 0);
    assert.equal(value('deliveries_oldest_seconds{target="mqtt"}'), 0);
  });

  it('tells of the end that a worker brought about', async () => {
    receiver.posts.length = 0;
    const id = await queued({ stride: 50 });
    const { child, ended } = start(['worker'], { env: env(), milliseconds: LONG_MS });
    await eventually(() => receiver.posts.length > 0, 'the end is told', LONG_MS);
    child.kill('SIGTERM');
    const { code, stderr } = await ended;
    assert.equal(code, 0, stderr);
    assert.equal(receiver.posts.length, 1);
    const { event, job } = verified(receiver.posts[0]);
    assert.deepEqual([event, job.id, job.state], ['job.succeeded', id, 'succeeded']);
    assert.ok(job.result.summary.frames > 0);
  });

  it('goes to no private address unless that is allowed', async () => {
    const strict = await startServer({ env: { ...env(), WEBHOOK_ALLOW_PRIVATE: 'false' } });
    servers.unshift(strict);
    const before = (await (await ask('jobs')).json()).items.length;
    const hosts = ['127.0.0.1', 'localhost', '[::1]', '10.1.2.3', '169.254.169.254', '0x7f.1'];
    for (const host of hosts) {
      const answer = await submit({ webhook_url: `http://${host}/hook` });
      const problem = await answer.json();
      assert.equal(answer.status, 422, host);
      assert.match(problem.detail, /^webhook_url: .*WEBHOOK_ALLOW_PRIVATE/);
    }
    assert.equal((await (await ask('jobs')).json()).items.length, before);
    assert.equal((await submit({ webhook_url: 'https://example.org/hook' })).status, 202);
    servers.shift();
    assert.equal(await strict.stop(), 0);
  });
});
