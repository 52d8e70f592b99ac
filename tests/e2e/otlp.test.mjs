// Traces as a collector gets them: what they say, which are kept, and what happens when it is ill.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { nexus } from './lib/cli.mjs';
import { startCollector } from './lib/collector.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { addVideo, submitJob } from './lib/jobs.mjs';
import { children, eventually, metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const CLOCK_NS = 1_000_000n; // each time is turned into that of the day by itself
const LONG_MS = 120_000;
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const STAGES = ['queue', 'decode', 'preprocess', 'inference', 'postprocess'];
const [INTERNAL, SERVER, CLIENT, CONSUMER] = [1, 2, 3, 5];

const picture = () => readFileSync(sharedPath('images/bus.jpg'));
const detect = (server, headers = {}, query = '') => fetch(`${server.url}/api/v1/inference/image${query}`, {
  method: 'POST', headers: { 'Content-Type': 'image/jpeg', ...headers }, body: picture(),
});
const spanOf = (answer) => answer.headers.get('traceparent').split('-');

describe('traces', { skip }, () => {
  let collector;
  let data;
  let server;
  let hook;
  const find = (name, test = () => true) => collector.spans.find((span) => span.name === name && test(span));
  const comes = async (name, test) => {
    await eventually(() => find(name, test), `a span ${name}`, LONG_MS);
    return find(name, test);
  };
  before(async () => {
    collector = await startCollector();
    hook = createServer((request, response) => request.resume().on('end', () => response.writeHead(204).end()));
    await new Promise((resolve) => { hook.listen(0, '127.0.0.1', resolve); });
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    const key = join(data.path, 'otlp-headers');
    writeFileSync(key, 'authorization=Bearer%20geheim\n', { mode: 0o600 });
    server = await startServer({
      args: ['--data-dir', data.path],
      env: {
        DATABASE_URL: '', OBJECTS_URL: '', WEBHOOK_ALLOW_PRIVATE: 'true', CACHE_TTL_PREDICTIONS: '60',
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_HEADERS_FILE: key,
        OTEL_SERVICE_NAME: 'gate', OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test,service.version=7',
        OTEL_TRACES_SAMPLER: 'parentbased_always_off',
      },
    });
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    hook?.close();
    await collector?.close();
    data?.remove();
    assert.deepEqual(collector?.errors, []);
    assert.ok(!server?.logs().includes('geheim'));
  });

  it('say what was asked and how it was answered, with the stages of the inference', async () => {
    const answer = await detect(server, { traceparent: `00-${TRACE}-${SPAN}-01` }, '?confidence=0.4');
    assert.equal(answer.status, 200, await answer.text());
    const [, trace, id, flags] = spanOf(answer);
    assert.deepEqual([trace, flags], [TRACE, '01']);
    const request = await comes('POST /api/v1/inference/image', ({ spanId }) => spanId === id);
    assert.deepEqual([request.traceId, request.parentSpanId, request.kind, request.scope], [TRACE, SPAN, SERVER, 'nexus']);
    const { 'nexus.request_id': requestId, ...attributes } = request.attributes;
    assert.equal(requestId, answer.headers.get('x-request-id'));
    assert.deepEqual(attributes, {
      'http.request.method': 'POST', 'http.route': '/api/v1/inference/image', 'url.scheme': 'http',
      'url.path': '/api/v1/inference/image', 'http.response.status_code': '200', 'client.address': '127.0.0.1',
      'server.address': '127.0.0.1', 'server.port': String(server.port),
    });
    assert.equal(request.status, undefined);
    assert.equal(request.flags & 0x301, 0x301, 'sampled, and its parent is another\'s');
    const { resource } = request;
    assert.deepEqual([resource['service.name'], resource['service.version'], resource['deployment.environment.name'],
      resource['process.pid']], ['gate', '7', 'test', String(server.pid)]);
    assert.match(resource['service.instance.id'], /^[0-9a-f-]{36}$/);
    assert.equal(collector.posts[0].headers.authorization, 'Bearer geheim');
    assert.equal(collector.posts[0].url, '/v1/traces');

    const infer = await comes('infer', ({ parentSpanId }) => parentSpanId === id);
    assert.deepEqual([infer.attributes['nexus.model'], infer.kind, infer.traceId], ['yolov8n', INTERNAL, TRACE]);
    await comes('postprocess', ({ parentSpanId }) => parentSpanId === infer.spanId);
    const stages = collector.spans.filter(({ parentSpanId }) => parentSpanId === infer.spanId);
    assert.deepEqual(stages.map(({ name }) => name), STAGES);
    let at = BigInt(infer.startTimeUnixNano);
    for (const { startTimeUnixNano: began, endTimeUnixNano: ended } of stages) {
      assert.ok(BigInt(began) >= at - CLOCK_NS && BigInt(ended) >= BigInt(began), 'one after the other');
      at = BigInt(ended);
    }
    assert.ok(BigInt(request.startTimeUnixNano) <= BigInt(infer.startTimeUnixNano));
    assert.ok(Math.abs(Number(BigInt(request.endTimeUnixNano) / 1000000n) - Date.now()) < LONG_MS, 'by the real time');
  });

  it('have no inference where the cache had the answer, and are of pictures of a batch without stages', async () => {
    const cached = await detect(server, { traceparent: `00-${TRACE}-${SPAN}-01` }, '?confidence=0.4');
    assert.equal((await cached.json()).cached, true);
    const [, , id] = spanOf(cached);
    const form = new FormData();
    ['a.jpg', 'b.jpg'].forEach((name) => form.append('images', new Blob([picture()], { type: 'image/jpeg' }), name));
    const batch = await fetch(`${server.url}/api/v1/inference/batch?confidence=0.6`, {
      method: 'POST', headers: { traceparent: `00-${TRACE}-${SPAN}-01` }, body: form,
    });
    assert.equal(batch.status, 200, await batch.text());
    const [, , batchId] = spanOf(batch);
    await comes('POST /api/v1/inference/batch', ({ spanId }) => spanId === batchId);
    assert.ok(find('POST /api/v1/inference/image', ({ spanId }) => spanId === id));
    assert.ok(!find('infer', ({ parentSpanId }) => parentSpanId === id));
    const pictures = collector.spans.filter(({ parentSpanId }) => parentSpanId === batchId);
    assert.ok(pictures.length >= 1 && pictures.every(({ name }) => name === 'infer'));
    assert.ok(pictures.every(({ spanId }) => !collector.spans.some(({ parentSpanId }) => parentSpanId === spanId)));
  });

  it('are those that the caller keeps, show no key, and tell of errors', async () => {
    const ask = (path, headers) => fetch(server.url + path, { headers }).then((answer) => answer.text().then(() => answer));
    const not = [
      await ask('/api/v1/models', { traceparent: `00-${TRACE}-${SPAN}-00` }), await ask('/api/v1/models', {}),
      await ask('/health', {}),
    ].map((answer) => spanOf(answer));
    assert.deepEqual(not.map(([, , , flags]) => flags), ['00', '00', '00']);
    await ask('/api/v1/keys/nxk_geheim', { traceparent: `00-${TRACE}-${SPAN}-01` });
    const none = spanOf(await ask('/nowhere?token=geheim', { traceparent: `00-${TRACE}-${SPAN}-01` }))[2];
    const span = await comes('GET', ({ spanId }) => spanId === none);
    assert.deepEqual([span.attributes['url.path'], span.attributes['http.response.status_code'],
      span.attributes['http.route'], span.status], ['/nowhere', '404', undefined, undefined]);
    assert.ok(!JSON.stringify(collector.spans).includes('geheim'));
    assert.deepEqual(not.filter(([, , id]) => collector.spans.some(({ spanId }) => spanId === id)), []);
  });

  it('go on with a job and its webhook', async () => {
    const answer = await fetch(`${server.url}/api/v1/videos/process`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', traceparent: `00-${TRACE}-${SPAN}-01` },
      body: JSON.stringify({ video_id: await addVideo(server), stride: 100,
        webhook_url: `http://127.0.0.1:${hook.address().port}/geheim?key=geheim` }),
    });
    const job = await answer.json();
    assert.equal(answer.status, 202, job.detail);
    const [, , id] = spanOf(answer);
    const work = await comes('job video');
    const { 'nexus.job.id': jobId, 'nexus.job.outcome': outcome, 'nexus.job.frames': frames } = work.attributes;
    assert.deepEqual([jobId, outcome, work.traceId, work.parentSpanId, work.kind], [job.id, 'succeeded', TRACE, id, CONSUMER]);
    assert.ok(Number(frames) > 0 && work.status === undefined);
    const post = await comes('POST');
    assert.deepEqual([post.traceId, post.parentSpanId, post.kind], [TRACE, id, CLIENT]);
    const { 'nexus.delivery.id': delivery, ...attributes } = post.attributes;
    assert.match(delivery, new RegExp(`^${job.id}:`));
    assert.deepEqual(attributes, {
      'http.request.method': 'POST', 'server.address': '127.0.0.1', 'server.port': String(hook.address().port),
      'url.full': `http://127.0.0.1:${hook.address().port}/REDACTED`, 'http.response.status_code': '204',
    });
  });

  it('wait for a collector that is ill, and are counted', async () => {
    const before = { posts: collector.posts.length, taken: await metric(server.url, 'otlp_spans_exported_total') };
    collector.answers.push([429, { 'Retry-After': '2' }], 503, 'close');
    const answer = await fetch(`${server.url}/api/v1/models`, { headers: { traceparent: `00-${TRACE}-${SPAN}-01` } });
    await answer.text();
    const [, , id] = spanOf(answer);
    await comes('GET /api/v1/models', ({ spanId }) => spanId === id);
    const [first, second, ...rest] = collector.posts.slice(before.posts);
    assert.deepEqual([first.answer, second.answer, ...rest.map((post) => post.answer)].slice(0, 4), [429, 503, 'close', 200]);
    assert.ok(second.at - first.at >= 1990, `${second.at - first.at} ms`);
    assert.ok(await metric(server.url, 'otlp_spans_exported_total') > before.taken);
    assert.equal(await metric(server.url, 'otlp_spans_dropped_total{reason="unreachable"}'), 0);
    assert.match(server.logs(), /traces are not taken: http:\/\/127\.0\.0\.1:\d+\/v1\/traces answers 429/);
    await eventually(() => /traces are taken again/.test(server.logs()), 'the log says so');
  });
});

describe('a server with traces', { skip }, () => {
  const open = async (collector, env) => {
    const data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    const server = await startServer({
      args: ['--data-dir', data.path],
      env: { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${collector.url}/here`, ...env },
    });
    return { data, server };
  };

  it('of several processes sends those of each, and at its end what is left', async () => {
    const collector = await startCollector();
    const { data, server } = await open(collector, { WORKERS: '2' });
    const ids = new Set();
    try {
      await eventually(() => children(server.pid).length >= 2, 'there are two');
      for (let i = 0; i < 40; i++) {
        const answer = await fetch(`${server.url}/api/v1/models`, { headers: { Connection: 'close' } });
        await answer.text();
        ids.add(spanOf(answer)[2]);
      }
    } finally {
      assert.equal(await server.stop(), 0);
      data.remove();
    }
    await collector.close();
    const found = collector.spans.filter(({ spanId }) => ids.has(spanId));
    assert.equal(found.length, 40);
    assert.equal(new Set(found.map(({ traceId }) => traceId)).size, 40);
    assert.equal(new Set(found.map(({ resource }) => resource['service.instance.id'])).size, 2);
    assert.ok(collector.posts.every(({ url }) => url === '/here'));
    assert.deepEqual(collector.errors, []);
  });

  it('ends in time although the collector hangs, and answers meanwhile', async () => {
    const collector = await startCollector();
    collector.answers.push(...Array(20).fill('hang'));
    const { data, server } = await open(collector, {});
    try {
      await (await fetch(`${server.url}/api/v1/models`)).text();
      await eventually(() => collector.posts.length > 0, 'it was asked', LONG_MS);
      assert.equal((await detect(server)).status, 200);
    } finally {
      assert.equal(await server.stop(), 0);
      data.remove();
    }
    assert.match(server.logs(), /spans of traces were not sent at the end/);
    await collector.close();
  });
});

describe('what is said of traces', () => {
  it('is checked before it is used', async () => {
    const check = async (env) => JSON.parse((await nexus(['check', '--format', 'json'], { env: { DATABASE_URL: '', ...env } })).stdout)
      .checks.find(({ name }) => name === 'traces');
    const { status, detail } = await check({});
    assert.deepEqual([status, detail], ['ok', 'they go nowhere']);
    const secret = 'geheim';
    for (const [env, expected] of [
      [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4318' }, ['failed', /begins with neither http:/]],
      [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4317' }, ['warning', /4318/]],
      [{ OTEL_EXPORTER_OTLP_ENDPOINT: `http://me:${secret}@collector:4318` }, ['ok', /go to http:\/\/collector:4318/]],
      [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318', OTEL_EXPORTER_OTLP_HEADERS: secret }, ['failed', /otlp_headers/]],
    ]) {
      const found = await check(env);
      assert.equal(found.status, expected[0], found.detail);
      assert.match(found.detail, expected[1]);
      assert.ok(!found.detail.includes(secret));
    }
  });

  it('is in a file for a collector, whose parts are there', () => {
    const path = fileURLToPath(new URL('../../deploy/otel/collector.yaml', import.meta.url));
    const config = JSON.parse(execFileSync('python3',
      ['-c', 'import json,sys,yaml;print(json.dumps(yaml.safe_load(open(sys.argv[1]))))', path], { encoding: 'utf8' }));
    for (const pipeline of Object.values(config.service.pipelines)) {
      for (const part of ['receivers', 'processors', 'exporters']) {
        assert.deepEqual(pipeline[part].filter((name) => !(name in config[part])), []);
      }
    }
    assert.deepEqual(config.service.extensions.filter((name) => !(name in config.extensions)), []);
    assert.match(config.receivers.otlp.protocols.http.endpoint, /:4318$/);
  });
});
