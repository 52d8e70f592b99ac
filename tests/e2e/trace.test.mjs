// What is logged of a request, a job, a webhook and a stream; the trace that ties them; no secret.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { addKey, PASSWORD, setUp } from './lib/accounts.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { addVideo } from './lib/jobs.mjs';
import { eventually, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const LONG_MS = 120_000;
const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';
const deploy = (path) => fileURLToPath(new URL(`../../deploy/${path}`, import.meta.url));

const lines = (server) => server.logs().split('\n').filter((line) => line.startsWith('{')).flatMap((line) => {
  try {
    return [JSON.parse(line)];
  } catch {
    return []; // the last one, while it is on its way
  }
});

/** Keeps the headers and bodies of what is posted to it. */
export async function startReceiver() {
  const posts = [];
  const server = createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', () => {
      posts.push({ url: request.url, headers: request.headers, body: Buffer.concat(chunks).toString() });
      response.writeHead(200).end('{}');
    });
  });
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    posts,
    close: () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); }),
  };
}

/** The answer's head to a request of these very lines. */
const raw = (port, head) => new Promise((resolve, reject) => {
  const socket = connect(port, '127.0.0.1', () => socket.write(`${head.join('\r\n')}\r\n\r\n`));
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk) => { text += chunk; }).on('end', () => resolve(text)).on('error', reject);
});

describe('a trace', { skip }, () => {
  let data;
  let receiver;
  let server;
  before(async () => {
    receiver = await startReceiver();
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({
      args: ['--data-dir', data.path],
      env: { DATABASE_URL: '', OBJECTS_URL: '', WEBHOOK_ALLOW_PRIVATE: 'true', LOG_LEVEL: 'info,http=debug' },
    });
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    await receiver?.close();
    data?.remove();
  });
  const ask = (traceparent, path = '/health') =>
    fetch(server.url + path, { headers: traceparent === undefined ? {} : { traceparent } });

  it('goes on with what the caller sends, and is in the answer', async () => {
    const answer = await ask(`00-${TRACE}-${SPAN}-01`);
    const [, trace, span, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])$/.exec(answer.headers.get('traceparent'));
    assert.equal(trace, TRACE);
    assert.notEqual(span, SPAN);
    assert.equal(flags, '01');
    const problem = await (await ask(`00-${TRACE}-${SPAN}-00`, '/api/v1/none')).json();
    assert.equal(problem.trace_id, TRACE);
    await eventually(() => lines(server).some(({ module, trace_id: id, request_id: request }) =>
      module === 'http' && id === TRACE && request === answer.headers.get('x-request-id')), 'the log has it');
  });

  it('begins anew without one, and with one that is none', async () => {
    const seen = new Set();
    for (const text of [undefined, '', 'nonsense', `00-${TRACE.toUpperCase()}-${SPAN}-01`, `00-${TRACE}-${SPAN}`,
      `ff-${TRACE}-${SPAN}-01`, `00-${'0'.repeat(32)}-${SPAN}-01`, `00-${TRACE}-${'0'.repeat(16)}-01`,
      `00-${TRACE}-${SPAN}-01-x`]) {
      const answer = await ask(text);
      assert.equal(answer.status, 200);
      const [, trace] = /^00-([0-9a-f]{32})-[0-9a-f]{16}-00$/.exec(answer.headers.get('traceparent'));
      assert.notEqual(trace, TRACE, text);
      seen.add(trace);
    }
    assert.equal(seen.size, 9);
    const twice = await raw(server.port, ['GET /health HTTP/1.1', 'Host: localhost', 'Connection: close',
      `traceparent: 00-${TRACE}-${SPAN}-01`, `traceparent: 00-${TRACE}-${SPAN}-01`]);
    assert.match(twice, /^HTTP\/1\.1 200/);
    assert.match(twice, /\r\ntraceparent: 00-[0-9a-f]{32}-/);
    assert.ok(!twice.includes(TRACE), 'two are none');
  });

  it('is kept with a job, in the worker\'s log, and told with its webhook', async () => {
    const video = await addVideo(server);
    const answer = await fetch(`${server.url}/api/v1/videos/process`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', traceparent: `00-${TRACE}-${SPAN}-01` },
      body: JSON.stringify({ video_id: video, webhook_url: `${receiver.url}/hook`, stride: 100 }),
    });
    const job = await answer.json();
    assert.equal(answer.status, 202, job.detail);
    await eventually(() => receiver.posts.length > 0, 'it is told', LONG_MS);
    const [{ headers }] = receiver.posts;
    const [, trace, span, flags] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])$/.exec(headers.traceparent);
    assert.equal(trace, TRACE);
    assert.ok(span !== SPAN && !answer.headers.get('traceparent').includes(span));
    assert.equal(flags, '01');
    const said = (text) => eventually(() => lines(server).some((line) => line.message.includes(text) &&
      line.module === 'jobs' && line.job === job.id && line.trace_id === TRACE), text, LONG_MS);
    await said('has succeeded after');
    await said('is delivered');
  });

  it('is in lines of one module alone that was asked for', () => {
    const levels = new Map(lines(server).filter(({ level }) => level === 'debug').map(({ module }) => [module, true]));
    assert.deepEqual([...levels.keys()], ['http']);
  });
});

describe('the log', { skip }, () => {
  it('tells of users and streams, and shows no secret at any level', async () => {
    const data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    const server = await startServer({
      args: ['--data-dir', data.path],
      env: {
        DATABASE_URL: '', OBJECTS_URL: '', LOG_LEVEL: 'debug', STREAM_ALLOW_LOOPBACK: 'true',
        WEBHOOK_ALLOW_PRIVATE: 'true', WEBHOOK_SECRET: 'geheim-hook',
        MQTT_URL: 'mqtt://nexus:geheim-mqtt@127.0.0.1:9', EVENT_WEBHOOK_URL: 'http://127.0.0.1:9/geheim-event',
      },
    });
    const secrets = ['geheim-', PASSWORD];
    try {
      const admin = await setUp(server, 'ann');
      const key = await addKey(server, admin, ['read', 'infer']);
      secrets.push(key.key, admin.token, admin.me.csrf_token);
      const asks = (path, init = {}) => fetch(server.url + path, init).then((answer) => answer.text());
      const json = { 'Content-Type': 'application/json' };
      await asks('/api/v1/jobs', { headers: key.headers });
      await asks('/api/v1/jobs', { headers: { 'X-API-Key': 'nxk_geheim-wrong' } });
      await asks('/api/v1/jobs', { headers: { Cookie: 'nexus_session=nxs_geheim-cookie' } });
      await asks('/api/v1/jobs?token=geheim-query', { headers: { 'X-CSRF-Token': 'geheim-csrf' } });
      await asks('/api/v1/auth/login', { method: 'POST', headers: json,
        body: JSON.stringify({ name: 'ann', password: 'geheim-password' }) });
      const by = { ...json, ...admin.headers };
      const stream = await fetch(`${server.url}/api/v1/streams`, { method: 'POST', headers: by,
        body: JSON.stringify({ name: 'gate', url: 'rtsp://cam:geheim-camera@127.0.0.1:9/live?token=geheim-token' }) });
      assert.equal(stream.status, 201, await stream.text());
      await asks('/api/v1/videos/process', { method: 'POST', headers: by, body: JSON.stringify({
        video_id: 'x', webhook_url: 'http://who:geheim-hookuser@127.0.0.1:9/?key=geheim-hookkey' }) });
      await eventually(() => lines(server).some((line) => line.module === 'streams' && line.stream === 'gate' &&
        /reconnect|retry|lost|waits|error|cannot|refused/i.test(line.message)), 'the camera is not there', LONG_MS);
      await eventually(() => lines(server).some((line) => line.module === 'http' && line.user === 'ann'),
        'the log has who asked');
    } finally {
      assert.equal(await server.stop(), 0);
      data.remove();
    }
    for (const secret of secrets) {
      assert.ok(secret.length > 6);
      const at = server.logs().indexOf(secret);
      assert.equal(at, -1, `${secret}: ${server.logs().slice(at - 200, at + 100)}`);
    }
  });
});

describe('what ships the log', () => {
  const read = (name) => JSON.parse(execFileSync('python3',
    ['-c', 'import json,sys,yaml;print(json.dumps(yaml.safe_load(open(sys.argv[1])),default=str))', deploy(`logs/${name}`)],
    { encoding: 'utf8' }));
  // log.c writes these, and no others
  const source = readFileSync(fileURLToPath(new URL('../../src/base/log.c', import.meta.url)), 'utf8');
  const written = new Set([...source.matchAll(/nx_json_key_(?:string|int)\(&json, "(\w+)"|\{"(\w+)", context->/g)]
    .map(([, one, other]) => one ?? other));

  it('names the fields that the log has', () => {
    assert.ok(written.has('request_id') && written.has('message'));
    const { scrape_configs: jobs } = read('promtail.yml');
    assert.equal(jobs.length, 2);
    for (const { pipeline_stages: stages } of jobs) {
      const { expressions } = stages.find(({ json }) => json).json;
      assert.deepEqual(Object.values(expressions).filter((name) => !written.has(name)), []);
      assert.deepEqual([...written].filter((name) => name !== 'message' && !Object.values(expressions).includes(name)), []);
      const used = stages.flatMap(({ labels, structured_metadata: more, timestamp }) =>
        [...Object.keys(labels ?? {}), ...Object.keys(more ?? {}), ...(timestamp ? [timestamp.source] : [])]);
      assert.deepEqual(used.filter((name) => !(name in expressions)), []);
    }
    assert.equal(read('loki.yml').limits_config.allow_structured_metadata, true);
  });

  it('is a file that journald reads', () => {
    const text = readFileSync(deploy('logs/journald.conf'), 'utf8');
    assert.deepEqual(text.split('\n').filter((line) => line && !/^(#|\[Journal\]$|[A-Z][A-Za-z]+=\S+$)/.test(line)), []);
  });
});
