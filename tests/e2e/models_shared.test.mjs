// Several servers and one database: what one of them does with a model, all of them follow. Servers
// that share a data folder, and hosts with disks of their own, PostgreSQL and S3 between them.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { nexus } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { sha256 } from './lib/hash.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { skipWithoutS3, startS3 } from './lib/s3.mjs';
import { eventually, metric, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { tinyModel, writeTinyModel } from './lib/tiny_model.mjs';

const FOLLOW_MS = 60_000; // it takes a second; a machine that is busy may take its time
const skip = skipWithoutShared() || skipWithoutPostgres() || skipWithoutS3();

/** A server with what the tests do with it. */
async function startHost(options) {
  const server = await startServer({
    ...options,
    args: ['--data-dir', options.data, '--model', 'base'],
    env: { RUN_JOBS: 'false', MAX_LOADED_MODELS: '4', ...options.env },
  });
  const ask = (path, init) => fetch(`${server.url}/api/v1/${path}`, init);
  const answer = async (path, init) => {
    const response = await ask(path, init);
    return { status: response.status, ...(response.status === 204 ? {} : await response.json()) };
  };
  return {
    ...server,
    data: options.data,
    answer,
    model: (name) => answer(`models/${name}`),
    post: (path) => answer(path, { method: 'POST' }),
    remove: (path) => answer(path, { method: 'DELETE' }),
    upload: (name, bytes) =>
      answer(`models?name=${name}`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/octet-stream' },
        body: bytes,
      }),
    detect: (model) =>
      answer(`inference/image?model=${model}`, {
        method: 'POST',
        headers: { 'Content-Type': 'image/jpeg' },
        body: readFileSync(sharedPath('images/bus.jpg')),
      }),
    folder: (name, version) => join(options.data, 'models', name, `${version}`),
  };
}

const versions = (model) => (model.versions ?? []).map(({ version }) => version);

/** Waits until a server shows a model so; what it showed last is in the message. */
async function shows(host, name, wanted) {
  let last;
  const same = async () => {
    const { serving_version: serving, ...model } = await host.model(name);
    last = { status: model.status, serving, versions: versions(model), classes: model.classes };
    return Object.entries(wanted).every(
      ([key, value]) => JSON.stringify(last[key]) === JSON.stringify(value));
  };
  await eventually(same, 'the other server follows', FOLLOW_MS).catch((error) => {
    throw new Error(`${error.message}: ${JSON.stringify(wanted)}, not ${JSON.stringify(last)}\n` +
      host.logs().slice(-3000));
  });
}

/** A data folder with the default model on its disk, as 'nexus models pull' leaves it. */
function dataWithBase() {
  const data = makeDataDir();
  writeTinyModel(join(data.path, 'models/base.onnx'));
  return data;
}

describe('servers with one data folder', { skip }, () => {
  let data;
  let a;
  let b;
  const env = { DATABASE_URL: '', OBJECTS_URL: '' };
  before(async () => {
    data = dataWithBase();
    a = await startHost({ data: data.path, env });
    b = await startHost({ data: data.path, env });
  });
  after(async () => {
    assert.equal(await a?.stop(), 0);
    assert.equal(await b?.stop(), 0);
    data?.remove();
  });

  it('serve an upload, a rollback and a removal, whoever was asked', async () => {
    const made = await a.upload('base', tinyModel(['a', 'b']));
    assert.equal(made.status, 201, made.detail);
    assert.equal(made.serving_version, 2);
    assert.deepEqual(made.versions.map(({ version, shared }) => [version, shared]),
      [[1, false], [2, true]]);
    await shows(b, 'base', { serving: 2, classes: ['a', 'b'] });
    assert.equal((await b.post('models/base/rollback')).serving_version, 1);
    await shows(a, 'base', { serving: 1, classes: ['red', 'blue'] });
    assert.equal((await a.post('models/base/load?version=2')).serving_version, 2);
    await shows(b, 'base', { serving: 2, classes: ['a', 'b'] });
    assert.equal((await b.remove('models/base?version=2')).status, 204);
    await shows(a, 'base', { serving: 1, versions: [1], classes: ['red', 'blue'] });
    // a number is given once
    assert.equal((await b.upload('base', tinyModel(['c', 'd']))).serving_version, 3);
    await shows(a, 'base', { serving: 3, classes: ['c', 'd'] });
  });

  it('take a model out of memory together', async () => {
    assert.equal((await a.upload('spare', tinyModel(['e', 'f']))).status, 201);
    await eventually(async () => (await b.detect('spare')).status === 200, 'b has it', FOLLOW_MS);
    assert.equal((await b.model('spare')).state, 'ready');
    assert.equal((await a.post('models/spare/unload')).state, 'unloaded');
    await eventually(async () => (await b.model('spare')).state === 'unloaded', 'b follows',
      FOLLOW_MS);
  });

  it('follow the command line where it removes what they share', async () => {
    assert.equal((await a.detect('spare')).status, 200);
    const { stdout } = await nexus(['models', 'list', '--format', 'json', '--data-dir', data.path]);
    assert.deepEqual(JSON.parse(stdout).map(({ name, version, shared }) => [name, version, shared]),
      [['base', 1, false], ['base', 3, true], ['spare', 1, true]]);
    const gone = await nexus(['models', 'remove', 'spare', '--data-dir', data.path], { env });
    assert.equal(gone.code, 0, gone.stderr);
    await shows(a, 'spare', { status: 404 });
    await shows(b, 'spare', { status: 404 });
  });

  it('leave nothing behind', () => {
    const hidden = readdirSync(join(data.path, 'models')).filter((name) => name[0] === '.');
    assert.deepEqual(hidden, []);
    assert.equal(existsSync(join(data.path, 'objects')), false, 'files are not stored twice');
  });
});

describe('hosts with disks of their own', { skip }, () => {
  let postgres;
  let s3;
  let a;
  let b;
  const folders = [];
  const env = () => ({ ...s3.env, DATABASE_URL: postgres.url });
  const start = (data) => startHost({ data, env: env() });
  before(async () => {
    [postgres, s3] = await Promise.all([startPostgres(), startS3()]);
    folders.push(dataWithBase(), dataWithBase());
    a = await start(folders[0].path);
    b = await start(folders[1].path);
  });
  after(async () => {
    assert.equal(await a?.stop(), 0);
    assert.equal(await b?.stop(), 0);
    await postgres?.remove();
    s3?.remove();
    folders.forEach(({ remove }) => remove());
  });

  it('fetch what the other one was given, and serve what it serves', async () => {
    const first = tinyModel(['a', 'b']);
    assert.equal((await a.upload('doors', first)).serving_version, 1);
    await shows(b, 'doors', { serving: 1, versions: [1] });
    await eventually(() => existsSync(b.folder('doors', 1)), 'it is fetched', FOLLOW_MS);
    assert.ok(readFileSync(join(b.folder('doors', 1), 'model.onnx')).equals(first));
    assert.equal((await b.detect('doors')).status, 200);
    assert.deepEqual((await b.model('doors')).classes, ['a', 'b']);
    assert.equal((await b.upload('doors', tinyModel(['c', 'd']))).serving_version, 2);
    await shows(a, 'doors', { serving: 2, versions: [1, 2], classes: ['c', 'd'] });
    assert.equal((await a.post('models/doors/rollback')).serving_version, 1);
    await shows(b, 'doors', { serving: 1, classes: ['a', 'b'] });
  });

  it('give two uploads at once two numbers, and agree which one serves', async () => {
    const [one, other] = await Promise.all([
      a.upload('doors', tinyModel(['e', 'f'])),
      b.upload('doors', tinyModel(['g', 'h'])),
    ]);
    assert.deepEqual([one.status, other.status], [201, 201], one.detail ?? other.detail);
    await shows(a, 'doors', { versions: [1, 2, 3, 4] });
    await shows(b, 'doors', { versions: [1, 2, 3, 4] });
    const active = Number(await postgres.query("SELECT active FROM models WHERE name = 'doors'"));
    await shows(a, 'doors', { serving: active });
    await shows(b, 'doors', { serving: active });
    assert.deepEqual((await a.model('doors')).classes, (await b.model('doors')).classes);
    for (const version of [3, 4]) {
      const file = (host) => sha256(readFileSync(join(host.folder('doors', version), 'model.onnx')));
      assert.equal(file(a), file(b));
    }
  });

  it('remove together, from their disks as well', async () => {
    assert.equal((await b.remove('models/doors?version=4')).status, 204);
    await shows(a, 'doors', { versions: [1, 2, 3] });
    assert.equal(existsSync(a.folder('doors', 4)), false);
    assert.equal((await a.remove('models/doors')).status, 204);
    await shows(b, 'doors', { status: 404 });
    assert.equal(existsSync(b.folder('doors', 1)), false);
  });

  it('swap the default model on every host without a failed request', async () => {
    let stop = false;
    const statuses = new Set();
    const client = (async () => {
      while (!stop) {
        statuses.add((await b.detect('base')).status);
      }
    })();
    assert.equal((await a.upload('base', tinyModel(['i', 'j']))).serving_version, 2);
    await shows(b, 'base', { serving: 2, classes: ['i', 'j'] });
    stop = true;
    await client;
    assert.deepEqual([...statuses], [200]);
  });

  it('start with what others have, and with a version that lay on one disk alone', async () => {
    const added = await nexus(['models', 'add', join(a.data, 'models/base.onnx'), '--name', 'own',
      '--data-dir', a.data]);
    assert.equal(added.code, 0, added.stderr);
    assert.equal((await b.model('own')).status, 404, 'it is of a alone');
    assert.equal((await a.post('models/own/load?version=1')).status, 200);
    await shows(b, 'own', { versions: [1] });
    const empty = makeDataDir();
    folders.push(empty);
    const c = await start(empty.path);
    try {
      assert.deepEqual((await c.model('base')).classes, ['i', 'j']);
      assert.equal((await c.detect('own')).status, 200);
    } finally {
      assert.equal(await c.stop(), 0);
    }
  });

  it('refuse an object that is damaged, say so, and take it when it is whole again', async () => {
    assert.equal(await b.stop(), 0);
    const bytes = tinyModel(['k', 'l']);
    assert.equal((await a.upload('base', bytes)).serving_version, 3);
    const object = s3.file(sha256(bytes));
    const damaged = Buffer.from(bytes);
    damaged[100] ^= 1;
    writeFileSync(object, damaged);
    b = await start(b.data);
    const model = await b.model('base');
    assert.equal(model.serving_version, 2, 'the one before goes on');
    assert.equal(model.versions.at(-1).state, 'failed');
    assert.match(model.versions.at(-1).reason, /damaged in the object store: its SHA-256 is/);
    assert.match(b.logs(), /base can't be followed, and is tried again: .*damaged/);
    assert.equal(await metric(b.url, 'shared_models_behind'), 1);
    assert.ok((await metric(b.url, 'shared_models_failures_total')) >= 1);
    assert.equal(existsSync(b.folder('base', 3)), false);
    writeFileSync(object, bytes);
    await shows(b, 'base', { serving: 3, classes: ['k', 'l'] });
    await eventually(async () => (await metric(b.url, 'shared_models_behind')) === 0, 'it is told',
      FOLLOW_MS);
  });

  it('agree after one of them is killed with an upload under way', async () => {
    const bytes = tinyModel(['m', 'n']);
    const half = connect(a.port, '127.0.0.1');
    half.on('error', () => {}); // the kill resets it
    half.write(`POST /api/v1/models?name=base HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${bytes.length}\r\n` +
      'Content-Type: application/octet-stream\r\n\r\n');
    half.write(bytes.subarray(0, bytes.length / 2));
    const incoming = () => readdirSync(join(a.data, 'models')).some((name) => name[0] === '.');
    await eventually(incoming, 'the upload has begun', FOLLOW_MS);
    await a.stop('SIGKILL');
    a = await start(a.data);
    assert.equal((await a.model('base')).serving_version, 3, 'half of a file is nothing');
    // and one that is killed while a whole upload is on its way, wherever that is
    let over = false; // it may be faster than we look
    const lost = a.upload('base', bytes).catch(() => undefined).finally(() => { over = true; });
    await eventually(() => over || (existsSync(join(a.data, 'uploads')) &&
      readdirSync(join(a.data, 'uploads')).length > 0), 'its file is stored', FOLLOW_MS);
    await a.stop('SIGKILL');
    await lost;
    a = await start(a.data);
    const known = await postgres.query(
      "SELECT string_agg(version::text, ',' ORDER BY version) FROM model_versions" +
      " WHERE name = 'base' AND removed_at IS NULL");
    const active = Number(await postgres.query("SELECT active FROM models WHERE name = 'base'"));
    await shows(a, 'base', { serving: active });
    await shows(b, 'base', { serving: active });
    const of = async (host) => (await host.model('base')).versions
      .filter(({ shared }) => shared).map(({ version }) => version).join(',');
    await eventually(async () => (await of(a)) === known && (await of(b)) === known,
      'both have what the database knows', FOLLOW_MS);
    const next = await b.upload('base', tinyModel(['o', 'p']));
    assert.equal(next.status, 201);
    await shows(a, 'base', { serving: next.serving_version, classes: ['o', 'p'] });
  });
});
