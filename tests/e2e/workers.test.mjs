// What the workers of one server (WORKERS) do together: a reload, a worker's end and its successor,
// the set-up link, the end of the terminal, models.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { PASSWORD, json, setUpToken } from './lib/accounts.mjs';
import { nexus, skipWithout } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import {
  binary, children, eventually, metric, sharedPath, skipWithoutShared, startServer,
} from './lib/server.mjs';
import { tinyModel, writeTinyModel } from './lib/tiny_model.mjs';

const skip = skipWithoutShared();
const LONG_MS = 60_000; // what takes a second; a machine that is busy may take its time
const ENV = { WORKERS: '2', DATABASE_URL: '', OBJECTS_URL: '', REDIS_URL: '', NEXUS_MODEL: 'base', RUN_JOBS: 'false' };
const times = (text, pattern) => (text.match(pattern) ?? []).length;

function dataWithBase() {
  const data = makeDataDir();
  writeTinyModel(join(data.path, 'models/base.onnx'));
  return data;
}

/** Asks on one connection, which is one worker's: resolves to {status, value}. */
async function askBy(server, agent, path, { method = 'GET', headers = {}, body } = {}) {
  const request = http.request(server.url + path, { agent, method, headers });
  request.end(body);
  const [response] = await once(request, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  const isJson = /json/.test(response.headers['content-type'] ?? '');
  return { status: response.statusCode, value: isJson ? JSON.parse(text) : text };
}

/** A connection to that worker (from 1): (path, init) => askBy(...), to be closed with close(). */
async function connectionTo(server, worker) {
  let agent;
  await eventually(async () => {
    agent?.destroy();
    agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    return (await askBy(server, agent, '/health')).value.worker === worker;
  }, `worker ${worker} answers`, LONG_MS);
  const ask = (path, init) => askBy(server, agent, path, init);
  ask.close = () => agent.destroy();
  return ask;
}

/** What each worker answers. */
async function askAll(server, path) {
  const answers = [];
  for (const worker of [1, 2]) {
    const ask = await connectionTo(server, worker);
    answers.push((await ask(path)).value);
    ask.close();
  }
  return answers;
}

describe('the workers of a server', { skip }, () => {
  let data;
  let server;
  let path;

  before(async () => {
    data = dataWithBase();
    path = join(data.path, 'nexus.yaml');
    writeFileSync(path, 'max_detections: 1\n');
    server = await startServer({ args: ['--data-dir', data.path, '--config', path], env: ENV });
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  /** Of a setting, what each worker runs with. */
  const values = async (name) =>
    (await askAll(server, '/api/v1/settings')).map(({ items }) => items.find((item) => item.name === name).value);
  const all = async (name, value) =>
    eventually(async () => (await values(name)).every((text) => text === value), `${name} is ${value}`, LONG_MS);

  /** Writes the file, tells the server, and resolves to what was logged until end. */
  async function reload(text, end) {
    const from = server.logs().length;
    writeFileSync(path, text);
    process.kill(server.pid, 'SIGHUP');
    await eventually(() => end.test(server.logs().slice(from)), `${end}`, LONG_MS);
    return server.logs().slice(from);
  }

  it('all take a new configuration, which is told once', async () => {
    const log = await reload('max_detections: 2\nbacklog: 7\n', /the configuration was read again/);
    await all('max_detections', '2');
    await all('backlog', '2048');
    assert.match(log, /max_detections: changed from '1' to '2' \(.*nexus\.yaml:1\)/);
    assert.equal(times(server.logs(), /the configuration was read again/g), 1);
    assert.equal(times(server.logs(), /max_detections: changed/g), 1);
    assert.equal(times(server.logs(), /backlog: changed from .*, needs a restart/g), 1);
    const rows = await nexus(['audit', 'list', '--action', 'settings.reload', '--format', 'json', '--data-dir', data.path], { env: ENV });
    assert.equal(rows.stdout.trim().split('\n').length, 1, rows.stdout + rows.stderr);
  });

  it('none takes one with a mistake, which is told by name', async () => {
    const log = await reload('max_detections: 3\nprot: 1\n', /stays as it was/);
    assert.match(log, /nexus\.yaml:2: there is no setting 'prot'; did you mean 'port'/);
    await reload('max_detections: 4\n', /the configuration was read again/); // which comes behind it
    await all('max_detections', '4');
    assert.equal(times(server.logs(), /stays as it was/g), 1);
    assert.doesNotMatch(server.logs(), /changed from '2' to '3'/);
  });

  it('one in the place of a dead one is as the others are, and the dead are counted', async () => {
    for (const lost of [1, 2]) {
      const [victim] = children(server.pid); // the one that has lived longest
      process.kill(victim, 'SIGKILL');
      await eventually(() => times(server.logs(), /of 2 is ready/g) === 2 + lost, 'another one is ready', LONG_MS);
      await eventually(async () => (await metric(server.url, 'workers_lost_total')) === lost, 'it is counted', LONG_MS);
    }
    assert.equal(times(server.logs(), /was killed by signal 9; starting it again in \d+ ms/g), 2);
    await all('max_detections', '4');
  });

  it('print one set-up link, which any of them takes, once', async () => {
    const token = await setUpToken(server);
    assert.equal(times(server.logs(), /\/setup#nxi_/g), 1);
    const body = (name) => json('POST', { token, name, password: PASSWORD });
    const [first, second] = [await connectionTo(server, 1), await connectionTo(server, 2)];
    assert.equal((await second('/api/v1/auth/setup', body('ann'))).status, 201);
    assert.equal((await second('/api/v1/auth/setup', body('eve'))).status, 403);
    assert.equal((await first('/api/v1/auth/setup', body('eve'))).status, 403);
    first.close();
    second.close();
  });
});

describe('a terminal that is closed', { skip: skip || skipWithout('script') }, () => {
  it('ends the workers after what is in flight, however often it is told', async (t) => {
    const data = dataWithBase();
    const log = () => (existsSync(`${data.path}/log`) ? readFileSync(`${data.path}/log`, 'utf8') : '');
    // script(1) gives it a terminal of its own, which ends with script
    const terminal = spawn('script',
      ['-q', '-f', '-c', `exec ${binary} serve --port 0 2>${data.path}/log`, '/dev/null'],
      { env: { ...process.env, ...ENV, NEXUS_DATA_DIR: data.path }, stdio: ['pipe', 'ignore', 'ignore'] });
    t.after(() => {
      terminal.kill('SIGKILL');
      data.remove();
    });
    await eventually(() => /2 workers listening/.test(log()), 'the server listens', LONG_MS);
    const url = /listening on (http:\/\/[^\s"]+)/.exec(log())[1];
    const [supervisor] = children(terminal.pid);
    const workers = children(supervisor);
    const bus = readFileSync(sharedPath('images/bus.jpg'));

    // requests that have not come in whole
    const requests = [];
    for (let i = 0; i < 4; i++) {
      const socket = net.connect(Number(new URL(url).port), '127.0.0.1');
      let answer = '';
      socket.setEncoding('latin1').on('data', (chunk) => { answer += chunk; });
      const closed = once(socket, 'close');
      socket.write('POST /api/v1/inference/image HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n' +
        `Connection: close\r\nContent-Length: ${bus.length}\r\nExpect: 100-continue\r\n\r\n`);
      await eventually(() => /^HTTP\/1\.1 100/.test(answer), 'it is let in', LONG_MS);
      requests.push({ finish: () => socket.write(bus), closed, answer: () => answer });
    }
    const gone = once(terminal, 'exit');
    terminal.kill('SIGKILL');
    await gone;
    for (const pid of workers) process.kill(pid, 'SIGHUP'); // as a shell does, of the whole job
    await eventually(() => times(log(), /SIGTERM: finishing/g) === 2, 'both workers drain', LONG_MS);
    for (const pid of [supervisor, ...workers]) process.kill(pid, 'SIGHUP'); // and as the kernel does when that ends
    await eventually(() => !/^ShdPnd:.*[13579bdf]$/m.test(readFileSync(`/proc/${supervisor}/status`, 'utf8')), 'it is heard', LONG_MS);
    for (const { finish, closed, answer } of requests) {
      finish();
      await closed;
      assert.match(answer(), /\r\nHTTP\/1\.1 200 /);
    }
    await eventually(() => [supervisor, ...workers].every((pid) => !existsSync(`/proc/${pid}`)), 'all end', LONG_MS);
    assert.equal(times(log(), /the terminal was closed: finishing/g), 1);
    assert.doesNotMatch(log(), /was killed|ended with/);
  });
});

/** Uploads to one worker, and asks the other. */
async function followEachOther(env, data) {
  const server = await startServer({ args: ['--data-dir', data.path], env: { ...ENV, ...env } });
  try {
    const upload = async (worker, classes) => {
      const ask = await connectionTo(server, worker);
      const { status, value } = await ask('/api/v1/models?name=doors',
        { method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: tinyModel(classes) });
      assert.equal(status, 201, JSON.stringify(value));
      ask.close();
    };
    const serves = async (worker, version, classes) => {
      const ask = await connectionTo(server, worker);
      const model = async () => (await ask('/api/v1/models/doors')).value;
      await eventually(async () => (await model()).serving_version === version, `worker ${worker} has version ${version}`, LONG_MS);
      const { status, value } = await ask('/api/v1/inference/image?model=doors',
        { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: readFileSync(sharedPath('images/bus.jpg')) });
      assert.equal(status, 200, JSON.stringify(value));
      assert.equal(value.model, 'doors');
      const { state, classes: shown, serving_version: serving } = await model(); // loaded by that request
      assert.deepEqual([state, shown, serving], ['ready', classes, version]);
      ask.close();
    };
    await upload(1, ['open', 'shut']);
    await serves(1, 1, ['open', 'shut']);
    await serves(2, 1, ['open', 'shut']);
    await upload(2, ['ajar', 'shut']);
    await serves(2, 2, ['ajar', 'shut']);
    await serves(1, 2, ['ajar', 'shut']);
  } finally {
    assert.equal(await server.stop(), 0);
  }
}

describe('models of several workers', { skip }, () => {
  it('that one takes all serve, with SQLite', async (t) => {
    const data = dataWithBase();
    t.after(() => data.remove());
    await followEachOther({}, data);
  });

  it('that one takes all serve, with PostgreSQL, whose bound nexus check knows', { skip: skipWithoutPostgres() }, async (t) => {
    const data = dataWithBase();
    const postgres = await startPostgres();
    t.after(async () => {
      data.remove();
      await postgres.remove();
    });
    await followEachOther({ DATABASE_URL: postgres.url }, data);
    const check = async (more) => {
      const { stdout } = await nexus(['check', '--format', 'json', '--data-dir', data.path],
        { env: { ...ENV, DATABASE_URL: postgres.url, ...more } });
      return JSON.parse(stdout).checks.find(({ name }) => name === 'connections');
    };
    assert.deepEqual(await check({}), { name: 'connections', status: 'ok', detail: 'up to 75 of the 197 that PostgreSQL has' });
    const many = await check({ WORKERS: '64', DB_POOL_SIZE: '10', DB_MAX_OVERFLOW: '140' });
    assert.equal(many.status, 'warning');
    assert.match(many.detail, /allow 204 connections, and PostgreSQL has 197; raise its max_connections/);
  });
});
