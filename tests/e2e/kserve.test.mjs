// The KServe protocol (Open Inference Protocol v2 with Triton's extensions) on a real server, byte by
// byte: what NVIDIA's client sends and expects (bench/kserve runs the client itself).

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { eventually, metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const MODEL = 'yolov8n';
const SHAPE = [1, 3, 640, 640];
const ELEMENTS = 3 * 640 * 640;

describe('the KServe protocol', { skip }, () => {
  let server;
  let bus;

  before(async () => {
    server = await startServer({ args: ['--model', sharedPath(`models/${MODEL}.onnx`)] });
    bus = readFileSync(sharedPath('images/bus.jpg'));
  });
  after(() => server?.stop());

  async function get(path) {
    const response = await fetch(`${server.url}/v2${path}`);
    return { status: response.status, body: await response.json() };
  }

  /** Posts a request, with binary data behind its JSON when there is some. */
  async function infer(request, { tail, model = MODEL, version, headers = {} } = {}) {
    const json = Buffer.from(typeof request === 'string' ? request : JSON.stringify(request));
    const path = `/v2/models/${model}${version ? `/versions/${version}` : ''}/infer`;
    const response = await fetch(server.url + path, {
      method: 'POST',
      headers: tail ? { 'Inference-Header-Content-Length': json.length, ...headers } : headers,
      body: tail ? Buffer.concat([json, tail]) : json,
    });
    const bytes = Buffer.from(await response.arrayBuffer());
    const split = response.headers.get('inference-header-content-length');
    const end = split === null ? bytes.length : Number(split);
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      body: JSON.parse(bytes.subarray(0, end).toString()),
      tail: bytes.subarray(end),
    };
  }

  const tensor = (more) => ({ name: 'images', shape: SHAPE, datatype: 'FP32', ...more });
  const binaryTensor = (size = ELEMENTS * 4) => tensor({ parameters: { binary_data_size: size } });
  /** A picture-like input: the same for every caller. */
  function input() {
    const values = new Float32Array(ELEMENTS);
    for (let i = 0, seed = 7; i < ELEMENTS; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      values[i] = Math.fround(seed / 2 ** 32);
    }
    return values;
  }
  const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);
  /** BYTES elements: each with its length in front. */
  function elements(...pictures) {
    return Buffer.concat(pictures.flatMap((picture) => {
      const size = Buffer.alloc(4);
      size.writeUInt32LE(picture.length);
      return [size, picture];
    }));
  }
  const image = (count, size) => ({
    name: 'image', shape: [count], datatype: 'BYTES', parameters: { binary_data_size: size },
  });

  it('tells about the server and its models', async () => {
    const about = await get('');
    assert.equal(about.status, 200);
    assert.equal(about.body.name, 'nexus');
    assert.deepEqual(about.body.extensions,
      ['binary_tensor_data', 'model_configuration', 'model_repository', 'statistics']);
    assert.deepEqual(await get('/health/live'), { status: 200, body: { live: true } });
    assert.deepEqual(await get('/health/ready'), { status: 200, body: { ready: true } });
    for (const path of [`/models/${MODEL}`, `/models/${MODEL}/versions/1`]) {
      assert.equal((await get(`${path}/ready`)).status, 200);
      assert.deepEqual((await get(path)).body, {
        name: MODEL,
        versions: ['1'],
        platform: 'onnxruntime_onnx',
        inputs: [{ name: 'images', datatype: 'FP32', shape: SHAPE }],
        outputs: [{ name: 'output0', datatype: 'FP32', shape: [1, 84, 8400] }],
      });
      const { body: config } = await get(`${path}/config`);
      assert.equal(config.max_batch_size, 0);
      assert.deepEqual(config.input, [{ name: 'images', data_type: 'TYPE_FP32', dims: SHAPE }]);
      assert.equal(config.instance_group[0].kind, 'KIND_CPU');
    }
    const pictures = await get(`/models/${MODEL}.image`);
    assert.deepEqual(pictures.body.inputs, [{ name: 'image', datatype: 'BYTES', shape: [-1] }]);
    assert.deepEqual(pictures.body.outputs.map(({ name }) => name),
      ['boxes', 'scores', 'classes', 'num_detections']);
    const head = await fetch(`${server.url}/v2/health/ready`, { method: 'HEAD' });
    assert.equal(head.status, 200);
  });

  it('lists the repository', async () => {
    for (const body of [undefined, '{}', '{"ready":true}']) {
      const response = await fetch(`${server.url}/v2/repository/index`, { method: 'POST', body });
      assert.equal(response.status, 200);
      const index = await response.json();
      const own = index.filter(({ name }) => name === MODEL || name === `${MODEL}.image`);
      assert.deepEqual(own.map(({ version, state }) => [version, state]), [['1', 'READY'], ['1', 'READY']]);
    }
    const broken = await fetch(`${server.url}/v2/repository/index`, { method: 'POST', body: '{' });
    assert.equal(broken.status, 400);
    assert.match((await broken.json()).error, /JSON cannot be read/);
  });

  it('gives the same numbers for JSON and binary tensors', async () => {
    const values = input();
    const outputs = [{ name: 'output0', parameters: { binary_data: true } }];
    const binary = await infer({ id: 'a1', inputs: [binaryTensor()], outputs }, { tail: bytesOf(values) });
    assert.equal(binary.status, 200);
    assert.equal(binary.type, 'application/octet-stream');
    assert.equal(binary.body.id, 'a1');
    assert.equal(binary.body.model_name, MODEL);
    assert.equal(binary.body.model_version, '1');
    const [described] = binary.body.outputs;
    assert.deepEqual(described, {
      name: 'output0', datatype: 'FP32', shape: [1, 84, 8400],
      parameters: { binary_data_size: 84 * 8400 * 4 },
    });
    assert.equal(binary.tail.length, 84 * 8400 * 4);
    const expected = new Float32Array(new Uint8Array(binary.tail).buffer);
    assert.ok(expected.some((value) => value > 1), 'boxes are in pixels');

    const flat = await infer({ inputs: [tensor({ data: Array.from(values) })] }, { version: '1' });
    assert.equal(flat.status, 200);
    assert.equal(flat.type, 'application/json');
    assert.equal('id' in flat.body, false);
    assert.deepEqual(Float32Array.from(flat.body.outputs[0].data), expected);

    const rows = Array.from({ length: 3 * 640 }, (_, r) => Array.from(values.subarray(r * 640, r * 640 + 640)));
    const planes = [0, 1, 2].map((c) => rows.slice(c * 640, c * 640 + 640));
    const nested = await infer(
      { inputs: [tensor({ data: [planes] })], parameters: { binary_data_output: true } });
    assert.equal(nested.status, 200);
    assert.deepEqual(nested.tail, binary.tail);
  });

  it('finds in encoded pictures what /api/v1/inference/image finds', async () => {
    const response = await fetch(`${server.url}/api/v1/inference/image`, {
      method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: bus,
    });
    const { detections } = await response.json();
    assert.equal(detections.length, 5); // DATA.md: 4 persons and a bus
    const tail = elements(bus);
    for (const model of [MODEL, `${MODEL}.image`]) {
      const { status, body } = await infer({ inputs: [image(1, tail.length)] }, { tail, model });
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal(body.model_name, model);
      const by = Object.fromEntries(body.outputs.map((output) => [output.name, output]));
      assert.deepEqual(by.num_detections, { name: 'num_detections', datatype: 'INT32', shape: [1], data: [5] });
      assert.deepEqual(by.boxes.shape, [1, 5, 4]);
      assert.deepEqual(by.classes.data, detections.map((d) => d.class_id));
      assert.equal(by.classes.datatype, 'INT64');
      detections.forEach((d, i) => {
        assert.ok(Math.abs(by.scores.data[i] - d.confidence) < 1e-4);
        [d.box.x1, d.box.y1, d.box.x2, d.box.y2].forEach((edge, e) => {
          assert.ok(Math.abs(by.boxes.data[4 * i + e] - edge) < 0.01);
        });
      });
    }
  });

  it('takes several pictures, base64, options and chosen outputs', async () => {
    const zidane = readFileSync(sharedPath('images/zidane.jpg'));
    const tail = elements(bus, zidane, bus);
    const several = await infer({
      inputs: [image(3, tail.length)],
      outputs: [{ name: 'classes' }, { name: 'num_detections', parameters: { binary_data: true } }],
      parameters: { confidence: 0.5, classes: 'person' },
    }, { tail });
    assert.equal(several.status, 200, JSON.stringify(several.body));
    const [classes, counts] = several.body.outputs;
    assert.equal(classes.name, 'classes');
    assert.deepEqual(counts.parameters, { binary_data_size: 12 });
    const numbers = [0, 4, 8].map((at) => several.tail.readInt32LE(at));
    assert.deepEqual(numbers, [3, 2, 3]); // DATA.md: persons over 0.5
    assert.deepEqual(classes.shape, [3, 3]);
    assert.deepEqual(classes.data, [0, 0, 0, 0, 0, -1, 0, 0, 0]);

    const base64 = await infer(
      { inputs: [{ name: 'image', shape: [1, 1], datatype: 'BYTES', data: [bus.toString('base64')] }] });
    assert.equal(base64.status, 200, JSON.stringify(base64.body));
    assert.deepEqual(base64.body.outputs.at(-1).data, [5]);

    const none = await infer({ inputs: [image(1, 4 + bus.length)], parameters: { confidence: 1 } },
      { tail: elements(bus) });
    assert.deepEqual(none.body.outputs[0].shape, [1, 0, 4]);
    assert.deepEqual(none.body.outputs[0].data, []);
  });

  it('refuses what is wrong, in the words of the protocol', async () => {
    const tail = bytesOf(new Float32Array(ELEMENTS));
    const raw = (inputs, more) => ({ inputs, ...more });
    const cases = [
      [404, /no model .*nothing|no.*nothing/, raw([binaryTensor()]), { tail, model: 'nothing' }],
      [404, /no version '?7/, raw([binaryTensor()]), { tail, version: '7' }],
      [400, /no input 'x'/, raw([{ ...binaryTensor(), name: 'x' }]), { tail }],
      [400, /takes 1 inputs?; 2|no input/, raw([binaryTensor(), { name: 'y', shape: [1], datatype: 'FP32', data: [1] }]), { tail }],
      [400, /no output 'x'/, raw([binaryTensor()], { outputs: [{ name: 'x' }] }), { tail }],
      [400, /datatype 'FP128'/, raw([{ ...binaryTensor(), datatype: 'FP128' }]), { tail }],
      [400, /is int32\[/, raw([{ ...binaryTensor(), datatype: 'INT32' }]), { tail }],
      [400, /takes float32\[1,3,640,640\]/, raw([{ ...binaryTensor(), shape: [1, 3, 640, 641] }]), { tail }],
      [400, /takes float32/, raw([{ ...binaryTensor(), shape: [3, 640, 640] }]), { tail }],
      [400, /only 4915200 bytes/, raw([binaryTensor(ELEMENTS * 4 + 4)]), { tail }],
      [400, /belong to no input/, raw([binaryTensor(ELEMENTS * 4 - 4)]), { tail }],
      [400, /has 4915196 bytes of binary data/, raw([binaryTensor(ELEMENTS * 4 - 4)]), { tail: tail.subarray(4) }],
      [400, /negative dimension/, raw([{ ...binaryTensor(), shape: [1, 3, -640, 640] }]), { tail }],
      [400, /too many elements/, raw([{ ...binaryTensor(), shape: [2 ** 32, 2 ** 32, 3, 1] }]), { tail }],
      [400, /fewer elements/, raw([tensor({ data: [1, 2, 3] })])],
      [400, /shared memory/, raw([tensor({ parameters: { shared_memory_region: 'x' } })])],
      [400, /classification/, raw([binaryTensor()], { outputs: [{ name: 'output0', parameters: { classification: 3 } }] }), { tail }],
      [400, /no 'inputs'/, '{}'],
      [400, /JSON cannot be read/, '{"inputs":[}'],
      [400, /nested too deeply/, `{"x":${'['.repeat(100000)}`],
      [400, /no length/, raw([binaryTensor()]), { tail, headers: { 'Inference-Header-Content-Length': '-1' } }],
      [400, /but the body has/, raw([binaryTensor()]), { tail, headers: { 'Inference-Header-Content-Length': '99999999' } }],
      [400, /takes one input 'image'/, raw([binaryTensor()]), { tail, model: `${MODEL}.image` }],
      [400, /1 to 100/, raw([{ name: 'image', shape: [0], datatype: 'BYTES', data: [] }])],
      [400, /not 1 elements/, raw([image(1, 8)]), { tail: Buffer.from([255, 255, 255, 255, 1, 2, 3, 4]) }],
      [400, /empty/, raw([image(1, 4)]), { tail: elements(Buffer.alloc(0)) }],
      [400, /picture 1/, raw([image(2, bus.length + 12)]), { tail: elements(bus, Buffer.from('text')) }],
      [400, /not base64/, raw([{ name: 'image', shape: [1], datatype: 'BYTES', data: ['*'] }])],
      [400, /confidence/, raw([image(1, 5)], { parameters: { confidence: 7 } }), { tail: elements(Buffer.from('x')) }],
      [415, /gzip/, raw([binaryTensor()]), { tail, headers: { 'Content-Encoding': 'gzip' } }],
    ];
    for (const [status, message, request, options] of cases) {
      const answer = await infer(request, options);
      assert.equal(answer.status, status, `${message}: ${JSON.stringify(answer.body)}`);
      assert.deepEqual(Object.keys(answer.body), ['error']);
      assert.match(answer.body.error, message);
    }
    const empty = await fetch(`${server.url}/v2/models/${MODEL}/infer`, { method: 'POST' });
    assert.equal(empty.status, 400);
    assert.match((await empty.json()).error, /no body/);
    const wrong = await fetch(`${server.url}/v2/models/${MODEL}/infer`);
    assert.equal(wrong.status, 405);
    assert.equal(wrong.headers.get('allow'), 'POST');
    assert.match((await wrong.json()).error, /does not answer GET/);
    assert.match((await get('/nowhere')).body.error, /nothing at/);
  });

  it('counts what it did', async () => {
    const stats = async () => (await get(`/models/${MODEL}/stats`)).body.model_stats[0];
    const before = await stats();
    const tail = bytesOf(new Float32Array(ELEMENTS));
    const request = { inputs: [binaryTensor()], parameters: { binary_data_output: true } };
    await Promise.all([1, 2, 3].map(() => infer(request, { tail })));
    await infer({ inputs: [{ ...binaryTensor(), name: 'x' }] }, { tail });
    const now = await stats();
    assert.equal(now.inference_count - before.inference_count, 3);
    assert.equal(now.execution_count - before.execution_count, 3);
    const parts = ['success', 'queue', 'compute_input', 'compute_infer', 'compute_output'];
    for (const part of parts) {
      assert.equal(now.inference_stats[part].count - before.inference_stats[part].count, 3, part);
    }
    assert.equal(now.inference_stats.fail.count - before.inference_stats.fail.count, 1);
    const spent = (part) => now.inference_stats[part].ns - before.inference_stats[part].ns;
    assert.ok(spent('compute_infer') > spent('compute_output'), 'the Run takes the most');
    assert.ok(spent('success') >= parts.slice(1).reduce((sum, part) => sum + spent(part), 0));
    assert.equal(now.batch_stats[0].batch_size, 1);
    assert.ok(Math.abs(now.last_inference - Date.now()) < 60_000);
    const { body } = await get('/models/stats');
    assert.ok(body.model_stats.some(({ name }) => name === `${MODEL}.image`));
  });

  it('lets go of what nobody waits for any more', async () => {
    const tensors = bytesOf(new Float32Array(ELEMENTS));
    const pictures = elements(...Array(20).fill(bus));
    const kinds = [[binaryTensor(), tensors], [image(20, pictures.length), pictures]];
    const leave = async ([given, tail]) => {
      const json = Buffer.from(JSON.stringify({ inputs: [given] }));
      const gone = new AbortController();
      const sent = fetch(`${server.url}/v2/models/${MODEL}/infer`, {
        method: 'POST',
        headers: { 'Inference-Header-Content-Length': json.length },
        body: Buffer.concat([json, tail]),
        signal: gone.signal,
      });
      setImmediate(() => gone.abort());
      await assert.rejects(sent, { name: 'AbortError' });
    };
    await Promise.all(Array.from({ length: 12 }, (_, i) => leave(kinds[i % 2])));
    await eventually(async () => (await metric(server.url, 'inference_queue_depth')) === 0, 'an empty queue');
    const after = await infer({ inputs: [image(1, bus.length + 4)] }, { tail: elements(bus) });
    assert.equal(after.status, 200);
  });

  it('loads and unloads', async () => {
    const post = (path) => fetch(`${server.url}/v2/repository/models/${path}`, { method: 'POST', body: '{}' });
    assert.equal((await post(`${MODEL}/load`)).status, 200);
    assert.equal((await post('nothing/load')).status, 404);
    assert.equal((await post('nothing/unload')).status, 404);
    const refused = await post(`${MODEL}/unload`);
    assert.ok(refused.status >= 400 && refused.status < 500, 'the model that serves stays');
    assert.equal((await get(`/models/${MODEL}/ready`)).status, 200);
  });
});

describe('KServe requests at the same time', { skip }, () => {
  const COUNT = 8;
  const BATCH = 4;
  const EACH = 3 * 64 * 96;
  let server;
  before(async () => {
    server = await startServer({
      args: ['--model', sharedPath('models/yolov8n-dynamic.onnx')],
      // a batch waits until it is full, so that the number of Runs is known
      env: { INFERENCE_WORKERS: '1', INFERENCE_BATCH_SIZE: `${BATCH}`, INFERENCE_BATCH_DELAY_US: '10000000' },
    });
  });
  after(() => server?.stop());

  it('share batches and get the results that they would get alone', async () => {
    const series = (kind) => metric(server.url, `model_inference_batch_size_${kind}{model="yolov8n-dynamic"}`);
    const values = new Float32Array(COUNT * EACH);
    values.forEach((_, i) => {
      values[i] = ((i * 7919 + Math.floor(i / EACH) * 104729) % 1000) / 1000;
    });
    const infer = async (from, count) => {
      const tail = Buffer.from(values.buffer, from * EACH * 4, count * EACH * 4);
      const json = JSON.stringify({
        inputs: [{ name: 'images', shape: [count, 3, 64, 96], datatype: 'FP32',
          parameters: { binary_data_size: tail.length } }],
        parameters: { binary_data_output: true },
      });
      const response = await fetch(`${server.url}/v2/models/yolov8n-dynamic/infer`, {
        method: 'POST',
        headers: { 'Inference-Header-Content-Length': json.length },
        body: Buffer.concat([Buffer.from(json), tail]),
      });
      const bytes = Buffer.from(await response.arrayBuffer());
      const end = Number(response.headers.get('inference-header-content-length') ?? bytes.length);
      const { outputs, error } = JSON.parse(bytes.subarray(0, end).toString());
      assert.equal(response.status, 200, error);
      return { shape: outputs[0].shape, data: new Float32Array(new Uint8Array(bytes.subarray(end)).buffer) };
    };
    const whole = await infer(0, COUNT); // in one request: a Run of its own
    assert.deepEqual(whole.shape, [COUNT, 84, 126]);
    const [runs, pictures] = [await series('count'), await series('sum')];
    const answers = await Promise.all(Array.from({ length: COUNT }, (_, i) => infer(i, 1)));
    assert.equal((await series('count')) - (runs || 0), COUNT / BATCH);
    assert.equal((await series('sum')) - (pictures || 0), COUNT);
    answers.forEach(({ shape, data }, i) => {
      assert.deepEqual(shape, [1, 84, 126]);
      const part = whole.data.subarray(i * data.length, (i + 1) * data.length);
      assert.ok(data.every((value, k) => Math.abs(value - part[k]) < 1e-2), `the answer to request ${i}`);
    });
    assert.ok(answers[0].data.some((value, k) => Math.abs(value - answers[1].data[k]) > 0.1), 'all alike');
  });
});

describe('the KServe protocol on a graph of free sizes', { skip }, () => {
  let server;
  before(async () => {
    server = await startServer({ args: ['--model', sharedPath('models/yolov8n-dynamic.onnx')] });
  });
  after(() => server?.stop());

  it('takes batches', async () => {
    const url = `${server.url}/v2/models/yolov8n-dynamic`;
    const config = await (await fetch(`${url}/config`)).json();
    assert.equal(config.max_batch_size, 64);
    assert.deepEqual(config.input[0].dims, [3, -1, -1]);
    const metadata = await (await fetch(url)).json();
    assert.deepEqual(metadata.inputs[0].shape, [-1, 3, -1, -1]);
    const ask = async (batch, { height = 64, width = 96, datatype = 'FP32' } = {}) => {
      const size = batch * 3 * height * width * (datatype === 'FP32' ? 4 : 1);
      const json = JSON.stringify({
        inputs: [{ name: 'images', shape: [batch, 3, height, width], datatype,
          parameters: { binary_data_size: size } }],
        parameters: { binary_data_output: true },
      });
      const response = await fetch(`${url}/infer`, {
        method: 'POST',
        headers: { 'Inference-Header-Content-Length': json.length },
        body: Buffer.concat([Buffer.from(json), Buffer.alloc(size)]),
      });
      const head = Number(response.headers.get('inference-header-content-length') ?? Infinity);
      const bytes = Buffer.from(await response.arrayBuffer());
      return { status: response.status, body: JSON.parse(bytes.subarray(0, head).toString()) };
    };
    const three = await ask(3);
    assert.equal(three.status, 200, JSON.stringify(three.body));
    assert.deepEqual(three.body.outputs[0].shape, [3, 84, 126]);
    for (const batch of [0, 65]) {
      const refused = await ask(batch);
      assert.equal(refused.status, 400);
      assert.match(refused.body.error, /1 to 64 are taken/);
    }
    // The graph would take memory by the pixel. In bytes, so that the body is no larger than need be.
    const huge = await ask(1, { height: 5120, width: 5152, datatype: 'UINT8' });
    assert.equal(huge.status, 413);
    assert.match(huge.body.error, /'images' has 26378240 pixels; 26214400 are taken at most/);
    const [stats] = (await (await fetch(`${url}/stats`)).json()).model_stats;
    assert.equal(stats.inference_count, 3);
    assert.equal(stats.execution_count, 1);
    assert.deepEqual(stats.batch_stats.map(({ batch_size: size }) => size), [3]);
  });
});
