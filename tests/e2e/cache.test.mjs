// Answers that are given twice for the price of once: predictions from the cache, equal requests at
// the same time, and what must never come out of a cache.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { after, before, describe, it } from 'node:test';
import { makeDataDir } from './lib/data_dir.mjs';
import { eventually, metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { tinyModel, writeTinyModel } from './lib/tiny_model.mjs';

const skip = skipWithoutShared();
const ON = { CACHE_TTL_PREDICTIONS: '300', INFERENCE_WORKERS: '1' };
/** A server with a data folder of its own; close() ends both. */
async function start(env) {
  const data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
  const server = await startServer({ args: ['--data-dir', data.path], env });
  const close = async () => {
    assert.equal(await server.stop(), 0);
    data.remove();
  };
  return { ...server, close };
}

const picture = (name) => readFileSync(sharedPath(`images/${name}`));

/** One POST of a picture; options are the query's. { status, from (X-Cache), text, json } */
async function detect(server, bytes, options = {}, headers = {}) {
  const query = new URLSearchParams(options);
  const response = await fetch(`${server.url}/api/v1/inference/image?${query}`, {
    method: 'POST',
    headers: { 'Content-Type': 'image/jpeg', ...headers },
    body: bytes,
  });
  const text = await response.text();
  const json = /json/.test(response.headers.get('content-type')) ? JSON.parse(text) : null;
  assert.equal(response.status, 200, text);
  return { from: response.headers.get('x-cache'), text, json };
}

const runs = async (server, name = 'yolov8n') =>
  (await metric(server.url, `model_inference_batch_size_sum{model="${name}"}`)) ?? 0;
const looks = async (server, result, cache = 'predictions') =>
  (await metric(server.url, `cache_requests_total{cache="${cache}",result="${result}"}`)) ?? 0;

describe('predictions from the cache', { skip }, () => {
  let server;
  const bus = skip ? null : picture('bus.jpg');

  before(async () => {
    server = await start(ON);
  });
  after(() => server?.close());

  it('are those of the model to the last digit, in every format', async () => {
    const ran = await detect(server, bus);
    assert.equal(ran.from, 'miss');
    assert.equal(ran.json.cached, false);
    let before = await runs(server);
    const found = await detect(server, bus);
    assert.equal(found.from, 'hit');
    assert.equal(found.json.cached, true);
    const { request_id: one, timings_ms: ranIn, cached: _, ...rest } = ran.json;
    const { request_id: other, timings_ms: foundIn, cached: __, ...same } = found.json;
    assert.deepEqual(same, rest);
    assert.notEqual(one, other);
    assert.ok(ranIn.inference > 0);
    assert.deepEqual({ ...foundIn, total: 0 },
      { queue: 0, decode: 0, preprocess: 0, inference: 0, postprocess: 0, total: 0 });
    for (const format of ['coco', 'yolo', 'csv']) {
      const again = await detect(server, bus, { format });
      assert.equal(again.from, 'hit');
      assert.equal(await runs(server), before);
      const anew = await detect(server, bus, { format }, { 'Cache-Control': 'no-store' });
      assert.equal(anew.from, null);
      assert.equal(again.text, anew.text, format);
      before += 1;
    }
  });

  it('have the name and the request_id of each request', async () => {
    const send = async (name) => {
      const body = new FormData();
      body.append('image', new Blob([bus]), name);
      const url = `${server.url}/api/v1/inference/image?format=csv`;
      const response = await fetch(url, { method: 'POST', body });
      return [response.headers.get('x-cache'), (await response.text()).split('\n')[1].split(',')[0]];
    };
    assert.deepEqual(await send('one.jpg'), ['hit', 'one.jpg']);
    assert.deepEqual(await send('two.jpg'), ['hit', 'two.jpg']);
    const json = await fetch(`${server.url}/api/v1/inference/image`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-Request-Id': 'my-own' },
      body: JSON.stringify({ image: bus.toString('base64') }),
    });
    const answer = await json.json();
    assert.deepEqual([answer.request_id, answer.cached], ['my-own', true]);
    assert.equal(json.headers.get('x-request-id'), 'my-own');
  });

  it('are found by every option that changes them, and by every byte', async () => {
    const different = [{ confidence: 0.6 }, { iou: 0.2 }, { max_detections: 1 }, { classes: 'person' },
      { classes: 'bus' }];
    for (const options of different) {
      const first = await detect(server, bus, options);
      const second = await detect(server, bus, options);
      assert.deepEqual([first.from, second.from], ['miss', 'hit'], JSON.stringify(options));
      assert.deepEqual(second.json.detections, first.json.detections);
    }
    assert.equal((await detect(server, bus, { classes: 'bus' })).json.detections.length, 1);
    assert.equal((await detect(server, bus, { classes: 'bus,5' })).from, 'hit', 'the same classes');
    const longer = Buffer.concat([bus, Buffer.from([0])]);
    assert.equal((await detect(server, longer)).from, 'miss');
    assert.equal((await detect(server, picture('zidane.jpg'))).from, 'miss');
  });

  it('are left out with no-store and made anew with no-cache', async () => {
    const zidane = picture('zidane.jpg');
    await detect(server, zidane);
    const before = await runs(server);
    const hits = await looks(server, 'hit');
    for (const directive of ['no-store', 'max-age=5, No-Store', 'no-cache', ' max-age=0 ,x']) {
      const anew = await detect(server, zidane, {}, { 'Cache-Control': directive });
      assert.equal(anew.json.cached, false, directive);
    }
    assert.equal(await runs(server), before + 4);
    assert.equal(await looks(server, 'hit'), hits);
    const fresh = Buffer.concat([zidane, Buffer.from('no-store')]);
    await detect(server, fresh, {}, { 'Cache-Control': 'no-store' });
    assert.equal((await detect(server, fresh)).from, 'miss', 'nothing was left there');
    const anew = Buffer.concat([zidane, Buffer.from('no-cache')]);
    await detect(server, anew, {}, { 'Cache-Control': 'no-cache' });
    assert.equal((await detect(server, anew)).from, 'hit', 'the new result was');
  });

  it('are shared by single pictures, drawn ones and batches', async () => {
    const fresh = Buffer.concat([bus, Buffer.from('drawn')]);
    const drawn = await fetch(`${server.url}/api/v1/inference/image`, {
      method: 'POST',
      headers: { 'Content-Type': 'image/jpeg', Accept: 'image/jpeg' },
      body: fresh,
    });
    assert.equal(drawn.headers.get('x-nexus-detections'), '5');
    await drawn.arrayBuffer();
    const before = await runs(server);
    assert.equal((await detect(server, fresh)).from, 'hit');
    const body = new FormData();
    const other = Buffer.concat([bus, Buffer.from('batch')]);
    [fresh, other].forEach((bytes, i) => body.append('image', new Blob([bytes]), `${i}.jpg`));
    const answer = await fetch(`${server.url}/api/v1/inference/batch`, { method: 'POST', body });
    const { items } = await answer.json();
    assert.deepEqual(items.map(({ source, cached }) => [source, cached]),
      [['0.jpg', true], ['1.jpg', false]]);
    assert.deepEqual(items[0].detections, items[1].detections);
    assert.equal((await detect(server, other)).from, 'hit');
    assert.equal(await runs(server), before + 1);
  });

  it('never hold what went wrong', async () => {
    const broken = picture('odd/truncated.jpg');
    for (let i = 0; i < 2; i++) {
      const answer = await fetch(`${server.url}/api/v1/inference/image`, {
        method: 'POST',
        headers: { 'Content-Type': 'image/jpeg' },
        body: broken,
      });
      assert.equal(answer.status, 422);
      assert.equal(answer.headers.get('x-cache'), null);
      await answer.arrayBuffer();
    }
  });
});

describe('equal requests at the same time', { skip }, () => {
  let server;
  before(async () => {
    server = await start({ ...ON, LIMIT_CONCURRENCY_PER_CLIENT: '0' });
  });
  after(() => server?.close());

  it('run the model once', async () => {
    const bytes = picture('traffic-1080p-00.jpg');
    const before = await runs(server);
    const all = await Promise.all(Array.from({ length: 24 }, () => detect(server, bytes)));
    assert.equal(await runs(server), before + 1);
    assert.equal(all.filter(({ from }) => from === 'miss').length, 1);
    assert.equal(all.filter(({ json }) => json.cached).length, 23);
    all.forEach(({ json }) => assert.deepEqual(json.detections, all[0].json.detections));
    assert.equal(new Set(all.map(({ json }) => json.request_id)).size, 24);
    assert.equal((await looks(server, 'join')) + (await looks(server, 'hit')), 23);
    assert.equal(await looks(server, 'miss'), 1);
  });

  it('all get the same error when the picture is to blame', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, async () => {
      const response = await fetch(`${server.url}/api/v1/inference/image`, {
        method: 'POST',
        headers: { 'Content-Type': 'image/jpeg' },
        body: picture('odd/truncated.jpg'),
      });
      return [response.status, (await response.json()).detail];
    }));
    answers.forEach((answer) => assert.deepEqual(answer, answers[0]));
    assert.equal(answers[0][0], 422);
  });

  it('go on when one of them leaves, whichever it is', async () => {
    for (let round = 0; round < 6; round++) {
      const bytes = Buffer.concat([picture('bus.jpg'), Buffer.from(`leaves ${round}`)]);
      const others = [];
      /* the first one leads, or so it is with luck: what is asserted holds for any order */
      const leaver = http.request(`${server.url}/api/v1/inference/image`, {
        method: 'POST',
        headers: { 'Content-Type': 'image/jpeg', 'Content-Length': bytes.length },
      });
      leaver.on('error', () => {});
      const sent = new Promise((resolve) => leaver.end(bytes, resolve));
      if (round % 2 === 0) {
        await sent;
      }
      for (let i = 0; i < 5; i++) {
        others.push(detect(server, bytes));
      }
      leaver.destroy();
      const answers = await Promise.all(others);
      answers.forEach(({ json }) => assert.equal(json.detections.length, 5));
    }
    const ready = await (await fetch(`${server.url}/health/ready`)).json();
    assert.equal(ready.queue.depth ?? 0, 0);
  });
});

describe('predictions by the KServe protocol', { skip }, () => {
  let server;
  const bus = skip ? null : picture('bus.jpg');
  const other = skip ? null : picture('zidane.jpg');
  before(async () => {
    server = await start({ ...ON, LIMIT_CONCURRENCY_PER_CLIENT: '0', INFERENCE_QUEUE_SIZE: '4' });
  });
  after(() => server?.close());

  /** An inference on pictures; { status, from, bytes }. */
  async function infer(pictures, { parameters = {}, headers = {}, signal } = {}) {
    const tail = Buffer.concat(pictures.flatMap((bytes) => {
      const size = Buffer.alloc(4);
      size.writeUInt32LE(bytes.length);
      return [size, bytes];
    }));
    const json = Buffer.from(JSON.stringify({
      id: 'same',
      inputs: [{ name: 'image', shape: [pictures.length], datatype: 'BYTES',
        parameters: { binary_data_size: tail.length } }],
      parameters: { ...parameters, binary_data_output: true },
    }));
    const response = await fetch(`${server.url}/v2/models/yolov8n.image/infer`, {
      method: 'POST',
      headers: { 'Inference-Header-Content-Length': json.length, ...headers },
      body: Buffer.concat([json, tail]),
      signal,
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status: response.status, from: response.headers.get('x-cache'), bytes };
  }
  const named = (name) => Buffer.concat([bus, Buffer.from(name)]);

  it('are those of the model to the last byte, and shared with the other ways in', async () => {
    const parameters = { confidence: 0.3 };
    const plain = await infer([bus, other], { parameters, headers: { 'Cache-Control': 'no-store' } });
    assert.deepEqual([plain.status, plain.from], [200, null]);
    const first = await infer([bus, other], { parameters });
    assert.equal(first.from, 'miss');
    const before = await runs(server);
    const again = await infer([bus, other], { parameters });
    assert.equal(again.from, 'hit');
    assert.ok(first.bytes.equals(plain.bytes) && again.bytes.equals(plain.bytes));
    assert.equal((await detect(server, bus, { confidence: 0.3 })).from, 'hit');
    assert.equal(await runs(server), before);
    const mixed = await infer([bus, named('kserve')], { parameters });
    assert.equal(mixed.from, 'miss');
    assert.equal(await runs(server), before + 1);
    assert.equal((await detect(server, named('kserve'), { confidence: 0.3 })).from, 'hit');
    await detect(server, named('first'), { confidence: 0.3 });
    assert.equal((await infer([named('first')], { parameters })).from, 'hit');
    const stats = await (await fetch(`${server.url}/v2/models/yolov8n.image/stats`)).json();
    const { inference_stats: { cache_hit: hits, cache_miss: misses }, execution_count: run } = stats.model_stats[0];
    assert.deepEqual([hits.count, misses.count, run], [4, 3, 5]);
  });

  it('run the model once for each picture, however requests cross', async () => {
    const pictures = Array.from({ length: 6 }, (_, i) => named(`cross ${i}`));
    const before = await runs(server);
    const orders = Array.from({ length: 8 }, (_, i) =>
      [...pictures.slice(i % 6), ...pictures.slice(0, i % 6), pictures[i % 6]]);
    const answers = await Promise.all(orders.map((order, i) =>
      infer(i % 2 === 0 ? order : order.reverse())));
    /* the queue is short: a request may be refused, and its pictures are then others' to run */
    answers.forEach(({ status }) => assert.ok(status === 200 || status === 429 || status === 503, `${status}`));
    assert.ok(answers.some(({ status }) => status === 200));
    assert.ok(await runs(server) <= before + pictures.length);
    for (const one of pictures) {
      assert.equal((await infer([one])).status, 200);
    }
    assert.equal(await runs(server), before + pictures.length);
  });

  it('go on when a request leaves that others wait for', async () => {
    for (let round = 0; round < 5; round++) {
      const pictures = [0, 1, 2, 3].map((i) => named(`leaves ${round} ${i}`));
      const leaver = new AbortController();
      const left = infer(pictures, { signal: leaver.signal });
      const others = [infer(pictures.slice(0, 2)), infer(pictures.slice(2))];
      leaver.abort();
      await assert.rejects(left, { name: 'AbortError' });
      for (const { status } of await Promise.all(others)) {
        assert.equal(status, 200);
      }
    }
    await eventually(async () => (await metric(server.url, 'inference_queue_depth')) === 0, 'an empty queue');
  });

  it('all get the same error when a picture is to blame', async () => {
    const broken = picture('odd/truncated.jpg');
    const answers = await Promise.all([1, 2, 3, 4].map(() => infer([bus, broken])));
    answers.forEach(({ status, bytes }) => {
      assert.equal(status, 400);
      assert.match(JSON.parse(bytes.toString()).error, /^picture 1/);
    });
  });
});

describe('a model that is swapped', { skip }, () => {
  let data;
  let server;
  const bus = skip ? null : picture('bus.jpg');
  const made = (sure) => tinyModel(['red', 'blue'], sure);
  const second = () => made(0.9);
  before(async () => {
    data = makeDataDir();
    writeTinyModel(`${data.path}/models/yolov8n.onnx`);
    server = await startServer({ args: ['--data-dir', data.path], env: ON });
  });
  after(async () => {
    await server?.stop();
    data?.remove();
  });

  const models = async (path, method, body) => {
    const response = await fetch(`${server.url}/api/v1/models${path}`, {
      method,
      headers: body ? { 'Content-Type': 'application/octet-stream' } : {},
      body,
    });
    assert.ok(response.ok, await response.clone().text());
    return response;
  };
  /** Installs a model and lets it serve; its version. */
  const add = async (bytes) =>
    (await (await models('?name=yolov8n', 'POST', bytes)).json()).serving_version;
  const boxes = async (headers = {}) =>
    JSON.stringify((await detect(server, bus, { confidence: 0.01 }, headers)).json.detections);
  const plainly = () => boxes({ 'Cache-Control': 'no-store' });

  it('never gives what another one found', async () => {
    const first = await boxes();
    assert.equal(await boxes(), first);
    const seen = [];
    for (const bytes of [second(), made(0.8), made(0.7)]) {
      const version = await add(bytes);
      const now = await boxes();
      assert.equal(now, await plainly());
      assert.notEqual(now, first);
      assert.ok(!seen.includes(now));
      assert.equal(await boxes(), now);
      seen.push(now);
      await models('/yolov8n/rollback', 'POST');
      assert.equal(await boxes(), first, 'its own, kept all the while');
      await models(`/yolov8n?version=${version}`, 'DELETE');
    }
    /* what was removed and comes back is the same model again */
    const again = await add(second());
    assert.equal(await boxes(), seen[0]);
    await models('/yolov8n/rollback', 'POST');
    await models(`/yolov8n?version=${again}`, 'DELETE');
  });

  it('never does while requests are in flight', async () => {
    const first = await plainly();
    const added = await add(second());
    const other = await plainly();
    let serving = 'changes'; /* what a request must find that begins and ends now */
    let changes = 0;
    let ended = false;
    const ask = async () => {
      while (!ended) {
        const [expected, before] = [serving, changes];
        const found = await boxes();
        const sure = expected !== 'changes' && changes === before; /* one on its way may meet either */
        assert.ok(sure ? found === expected : found === first || found === other);
      }
    };
    const clients = [ask(), ask(), ask()];
    for (let swap = 0; swap < 10; swap++) {
      const version = swap % 2 === 0 ? 1 : added;
      serving = 'changes';
      changes++;
      await models(`/yolov8n/load?version=${version}`, 'POST');
      serving = version === 1 ? first : other;
      await boxes();
      await boxes();
    }
    ended = true;
    await Promise.all(clients);
  });
});

describe('the lifetime of predictions', { skip }, () => {
  it('ends', async (t) => {
    const server = await start({ ...ON, CACHE_TTL_PREDICTIONS: '1' });
    t.after(server.close);
    const bytes = picture('bus.jpg');
    assert.equal((await detect(server, bytes)).from, 'miss');
    await eventually(async () => (await detect(server, bytes)).from === 'miss', 'it is forgotten');
  });

  it('is none with 0, and then nobody waits for another', async (t) => {
    const server = await start({ ...ON, CACHE_TTL_PREDICTIONS: '0' });
    t.after(server.close);
    const bytes = picture('bus.jpg');
    const all = await Promise.all([1, 2, 3].map(() => detect(server, bytes)));
    assert.deepEqual(all.map(({ from, json }) => [from, json.cached]), Array(3).fill([null, false]));
    assert.equal(await runs(server), 3);
    assert.equal(await looks(server, 'miss'), 0);
  });
});
