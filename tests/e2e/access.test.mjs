// Who may do what: every operation of openapi.yaml, asked by everybody. An operation without
// x-nexus-access fails here, and so does one that the server judges otherwise.

import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { addKey, addUser, ask, setUp, signIn } from './lib/accounts.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { skipWithoutShared, startServer } from './lib/server.mjs';

const ROLES = ['viewer', 'operator', 'admin'];
const SCOPES = ['read', 'infer', 'videos', 'models', 'metrics', 'admin'];
/** The smallest role that has a scope. */
const NEEDS = { read: 'viewer', metrics: 'viewer', infer: 'operator', videos: 'operator', models: 'operator', admin: 'admin' };

describe('access', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  let operations;
  const people = []; // {name, role, scopes, headers}
  const keys = [];

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    // nobody is "on this machine": everybody comes through a proxy
    const env = { RUN_JOBS: 'false', TRUSTED_PROXIES: '127.0.0.1', RATE_LIMIT: 'false' };
    server = await startServer({ args: ['--data-dir', data.path], env });
    const admin = await setUp(server, 'admin');
    await addUser(server, admin, 'viewer', 'viewer');
    await addUser(server, admin, 'operator', 'operator');
    for (const role of ROLES) {
      const { headers, me } = role === 'admin' ? admin : await signIn(server, role);
      people.push({ name: `the ${role}`, role, scopes: me.scopes, headers });
    }
    for (const scope of SCOPES) {
      const { headers } = await addKey(server, admin, [scope]);
      keys.push({ name: `an admin's key for ${scope}`, role: 'admin', scopes: [scope], headers, key: true });
    }
    const { headers } = await addKey(server, admin, ['read'], { user: 'viewer' });
    keys.push({ name: "the viewer's key for read", role: 'viewer', scopes: ['read'], headers, key: true });

    const { value: document } = await ask(server, '/openapi.json');
    operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })),
    );
  });
  after(async () => {
    await server?.stop();
    data?.remove();
  });

  /** 0: may; otherwise the status of the refusal. */
  function verdict(access, who) {
    if (access === 'open' || access === 'anybody') {
      return 0;
    }
    if (who === undefined) {
      return 401;
    }
    if (access === 'own') {
      return !who.key || who.scopes.includes('admin') ? 0 : 403;
    }
    const enough = ROLES.indexOf(who.role) >= ROLES.indexOf(access.role);
    return enough && who.scopes.includes(access.scope) ? 0 : 403;
  }

  /** Of an answer that goes on for as long as somebody listens only the beginning is waited for. */
  async function begin(target, init) {
    const abort = new AbortController();
    const { status } = await fetch(server.url + target, { ...init, signal: abort.signal });
    abort.abort();
    return { status };
  }

  /** Asks for something that is not there, so that nothing happens to those who may. */
  async function check({ path, method, responses, 'x-nexus-access': access }, who) {
    const target = path.replace('/{file}', '/none').replaceAll(/\{\w+\}/g, 'none');
    const init = { method, headers: who?.headers ?? {} };
    const goesOn = 'text/event-stream' in (responses['200']?.content ?? {});
    const { status, value } = await (goesOn ? begin(target, init) : ask(server, target, init));
    const expected = verdict(access, who);
    const what = `${method} ${path} by ${who?.name ?? 'a stranger'}: ${status} ${JSON.stringify(value)?.slice(0, 300)}`;
    if (expected === 0) {
      assert.ok(![401, 403].includes(status), what);
    } else {
      assert.equal(status, expected, what);
    }
  }

  it('is decided for every operation', () => {
    assert.ok(operations.length > 60);
    for (const { path, method, 'x-nexus-access': access, responses, security } of operations) {
      const what = `${method} ${path}`;
      if (access === 'open') {
        assert.deepEqual(security, [], what);
        continue;
      }
      assert.ok(responses['403'], `${what} documents no 403`);
      if (access !== 'anybody') {
        assert.ok(responses['401'], `${what} documents no 401`);
        assert.equal(security, undefined, what);
      }
      if (!['anybody', 'own'].includes(access)) {
        assert.equal(NEEDS[access.scope], access.role, `${what}: ${JSON.stringify(access)}`);
      }
    }
  });

  it('is refused to strangers', async () => {
    for (const operation of operations) {
      await check(operation, undefined);
    }
  });

  it('follows the role of who signed in', async () => {
    for (const operation of operations.filter(({ operationId }) => operationId !== 'signOut')) {
      for (const who of people) {
        await check(operation, who);
      }
    }
  });

  it('follows the scopes of a key', async () => {
    for (const operation of operations) {
      for (const who of keys) {
        await check(operation, who);
      }
    }
  });
});
