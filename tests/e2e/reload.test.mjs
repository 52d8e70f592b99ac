// SIGHUP: a server and a worker read their configuration again while they work.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { nexus, scratch, skipWithout, start } from './lib/cli.mjs';
import {
  binary, children, eventually, sharedPath, skipWithoutShared, startServer,
} from './lib/server.mjs';

const skip = skipWithoutShared();

/** What the log says at the end of each reading. */
const times = (log) => log.match(/SIGHUP: the configuration (?:was read again|stays as it was)/g)?.length ?? 0;

describe('a server', { skip }, () => {
  const bus = skip ? undefined : readFileSync(sharedPath('images/bus.jpg'));
  let server;
  let path;
  let secret;
  let cleanUp;

  before(async () => {
    const folder = scratch({ after: (f) => { cleanUp = f; } });
    path = join(folder, 'nexus.yaml');
    secret = join(folder, 'secret');
    writeFileSync(secret, 'geheim\n', { mode: 0o600 });
    writeFileSync(path, 'max_detections: 1\nwebhook_secret_file: secret\n');
    server = await startServer({
      args: ['--config', path],
      env: { DATABASE_URL: `sqlite:${folder}/nexus.db`, LOG_FORMAT: '' },
    });
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    cleanUp?.();
  });

  /** Writes the file, tells the server, and resolves to what it logged about it. */
  async function reload(text) {
    const from = server.logs().length;
    writeFileSync(path, text);
    process.kill(server.pid, 'SIGHUP');
    await eventually(() => times(server.logs().slice(from)) === 1, 'it is read again', 60_000);
    return server.logs().slice(from);
  }

  /** What the audit log has of it, the newest first, once that are so many rows. */
  async function noted(count) {
    let rows = [];
    await eventually(async () => {
      const { items } = await (await fetch(`${server.url}/api/v1/audit?action=settings.reload`)).json();
      rows = items.map(({ actor_kind: kind, result, details }) => `${kind} ${result} ${details}`);
      return rows.length === count;
    }, 'the audit log has it', 60_000);
    return rows;
  }

  async function detect() {
    const response = await fetch(`${server.url}/api/v1/inference/image`,
      { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: bus });
    return { status: response.status, body: await response.json() };
  }
  const found = async () => (await detect()).body.detections.length;

  it('takes what it can and says what needs a restart', async () => {
    assert.equal(await found(), 1);
    const log = await reload('max_detections: 2\nbacklog: 7\nwebhook_secret_file: secret\n');
    assert.match(log, /max_detections: changed from '1' to '2' \(.*nexus\.yaml:1\)/);
    assert.match(log, /backlog: changed from '2048' to '7' in .*nexus\.yaml:2, needs a restart/);
    assert.match(log, /read again: 1 settings changed, 1 need a restart/);
    assert.equal(await found(), 2);
    assert.deepEqual(await noted(1), ['system ok {"changed":["max_detections"],"needs_restart":["backlog"]}']);
  });

  it('takes a new secret from its file, and shows none', async () => {
    writeFileSync(secret, 'auch geheim\n', { mode: 0o600 });
    const log = await reload('max_detections: 2\nbacklog: 7\nwebhook_secret_file: secret\n');
    assert.match(log, /webhook_secret: changed from '\*\*\*' to '\*\*\*'/);
    assert.match(log, /backlog: changed from '2048' to '7'/, 'it still needs one');
    assert.doesNotMatch(server.logs(), /geheim/);
    assert.equal((await noted(2))[0], 'system ok {"changed":["webhook_secret"],"needs_restart":["backlog"]}');
  });

  it('stays as it was when there is a mistake', async () => {
    for (const [text, message] of [
      ['max_detections: 3\nprot: 1\n', /stays as it was: .*nexus\.yaml:2: there is no setting 'prot'; did you mean 'port'/],
      ['max_detections: 0\n', /stays as it was: .*max_detections is 0; it must be from 1 to 10000/],
      ['webhook_secret_file: none\n', /stays as it was: .*cannot open .*none/],
      ['inference_device: cpu\nuse_tensorrt: true\n', /stays as it was: use_tensorrt is for a GPU/],
    ]) {
      assert.match(await reload(text), message);
      assert.equal(await found(), 2);
    }
    assert.deepEqual((await noted(6)).slice(0, 4), Array(4).fill('system failed {"error":"invalid"}'));
  });

  it('changes limits for what comes next', async () => {
    await reload('max_body_bytes: 2k\n');
    const refused = await detect();
    assert.equal(refused.status, 413, JSON.stringify(refused.body));
    await reload('log_level: error\n');
    assert.equal((await detect()).status, 200);
  });

  it('answers every request while it is told again and again', async () => {
    const everything = await found();
    let done = false;
    const statuses = new Map();
    const counts = new Set();
    const ask = async () => {
      while (!done) {
        const { status, body } = await detect();
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        counts.add(body.detections?.length);
      }
    };
    const clients = Array.from({ length: 4 }, ask);
    try {
      for (let i = 0; i < 20; i += 1) {
        await reload(`max_detections: ${1 + (i % 2)}\nlimit_concurrency: ${100 + i}\nlog_level: info\n`
          + `request_timeout: ${30 + i}\nlog_format: ${i % 2 ? 'json' : 'text'}\nvideo_folders: /tmp/${i}\n`);
      }
    } finally {
      done = true;
      await Promise.all(clients);
    }
    assert.deepEqual([...statuses.keys()], [200]);
    // the first ones are as before, and none is between two settings
    counts.delete(everything);
    assert.ok([...counts].every((n) => n === 1 || n === 2), [...counts].join());
    assert.equal(await found(), 2);
  });
});

describe('a cache', { skip }, () => {
  it('is switched on and off', async (t) => {
    const folder = scratch(t);
    const path = join(folder, 'nexus.yaml');
    const picture = readFileSync(sharedPath('images/bus.jpg'));
    writeFileSync(path, 'cache_ttl_predictions: 0\n');
    const server = await startServer({
      args: ['--config', path],
      env: { DATABASE_URL: `sqlite:${folder}/nexus.db`, CACHE_TTL_PREDICTIONS: '' },
    });
    const reload = async (seconds) => {
      const before = times(server.logs());
      writeFileSync(path, `cache_ttl_predictions: ${seconds}\n`);
      process.kill(server.pid, 'SIGHUP');
      await eventually(() => times(server.logs()) === before + 1, 'it is read again', 60_000);
    };
    const from = async () => {
      const response = await fetch(`${server.url}/api/v1/inference/image`,
        { method: 'POST', headers: { 'Content-Type': 'image/jpeg' }, body: picture });
      await response.arrayBuffer();
      assert.equal(response.status, 200);
      return response.headers.get('x-cache');
    };
    assert.equal(await from(), null);
    await reload(300);
    assert.deepEqual([await from(), await from()], ['miss', 'hit']);
    await reload(0);
    assert.deepEqual([await from(), await from()], [null, null]);
    await reload(300);
    assert.equal(await from(), 'hit');
    assert.equal(await server.stop(), 0);
  });
});

describe('a worker', { skip }, () => {
  it('reads it again, too', async (t) => {
    const folder = scratch(t);
    const path = join(folder, 'nexus.yaml');
    writeFileSync(path, 'confidence: 0.3\n');
    const env = { DATABASE_URL: `sqlite:${folder}/nexus.db`, LOG_FORMAT: 'json' };
    const { child, ended } = start(['worker', '--config', path], { env, milliseconds: 120_000 });
    let log = '';
    child.stderr.on('data', (chunk) => { log += chunk; });
    await eventually(() => /ready for jobs/.test(log), 'the worker is ready', 60_000);
    writeFileSync(path, 'confidence: 0.4\nconcurrency: 2\n');
    child.kill('SIGHUP');
    await eventually(() => times(log) === 1, 'it is read again', 60_000);
    assert.match(log, /confidence: changed from '0\.3' to '0\.4'/);
    assert.match(log, /concurrency: changed from '4' to '2' in .*nexus\.yaml:2, needs a restart/);
    child.kill('SIGTERM');
    assert.equal((await ended).code, 0);
    const { stdout } = await nexus(['audit', 'list', '--format', 'json', '--action', 'settings.reload'], { env });
    const { actor_kind: kind, details } = JSON.parse(stdout);
    assert.deepEqual([kind, JSON.parse(details)],
      ['system', { changed: ['confidence'], needs_restart: ['concurrency'] }]);
  });
});

describe('a terminal', { skip: skip || skipWithout('script') }, () => {
  it('that is closed ends the server that was started from it', async (t) => {
    const folder = scratch(t);
    const env = { ...process.env, DATABASE_URL: `sqlite:${folder}/nexus.db` };
    // script(1) gives it a terminal of its own, which ends with script
    const terminal = spawn('script',
      ['-q', '-f', '-c', `exec ${binary} serve --port 0 2>${folder}/log`, '/dev/null'],
      { env, stdio: ['pipe', 'ignore', 'ignore'] });
    t.after(() => terminal.kill('SIGKILL'));
    const log = () => {
      try {
        return readFileSync(`${folder}/log`, 'utf8');
      } catch {
        return '';
      }
    };
    await eventually(() => /listening on/.test(log()), 'the server listens', 60_000);
    const [server] = children(terminal.pid);
    const gone = once(terminal, 'exit');
    terminal.kill('SIGKILL');
    await gone;
    await eventually(() => /the terminal was closed: finishing/.test(log()), 'it is told', 60_000);
    try {
      process.kill(server, 'SIGHUP'); // again, as a shell does
    } catch {
      // it has ended
    }
    await eventually(() => !existsSync(`/proc/${server}`), 'it ends', 60_000);
  });
});
