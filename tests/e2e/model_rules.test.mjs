// Who may use a model: saying it, and what is refused. On a server in open use everybody may still use
// every model, which is what this file asks as well.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { makeDataDir } from './lib/data_dir.mjs';
import { sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const USER = '0190a000-0000-7000-8000-000000000001';

describe('rules of models', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  before(async () => {
    data = makeDataDir();
    writeTinyModel(join(data.path, 'models/base.onnx'));
    server = await startServer({
      args: ['--data-dir', data.path, '--model', 'base'],
      env: { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false' },
    });
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  const ask = async (method, path, value) => {
    const response = await fetch(`${server.url}/api/v1/models/${path}`, {
      method,
      ...(value !== undefined && {
        headers: { 'Content-Type': 'application/json' },
        body: typeof value === 'string' ? value : JSON.stringify(value),
      }),
    });
    return { status: response.status, value: await response.json() };
  };

  it('are what was said last', async () => {
    assert.deepEqual((await ask('GET', 'base/access')).value,
      { model: 'base', level: 'authenticated', grants: [] });
    const made = await ask('PUT', 'base/access', { level: 'private' });
    assert.equal(made.status, 200, made.value.detail);
    assert.equal(made.value.level, 'private');
    await ask('POST', 'base/grants', { key_id: 'abcdefghij', expires_in_s: 3600 });
    const { status, value } = await ask('POST', 'base/grants', { user_id: USER });
    assert.equal(status, 200, value.detail);
    assert.deepEqual(value.grants.map((grant) => [grant.user_id, grant.key_id]),
      [[USER, null], [null, 'abcdefghij']]);
    assert.equal(value.grants[0].expires_at, null);
    assert.ok(Date.parse(value.grants[1].expires_at) > Date.parse(value.grants[1].granted_at));
    assert.equal((await ask('DELETE', 'base/grants/abcdefghij')).value.grants.length, 1);
    assert.equal((await ask('DELETE', `base/grants/${USER}`)).value.grants.length, 0);
    assert.equal((await ask('DELETE', `base/grants/${USER}`)).status, 404);
    assert.equal((await ask('PUT', 'not-there-yet/access', { level: 'public' })).status, 200);
  });

  it('keep nobody out where there are no accounts', async () => {
    assert.equal((await ask('PUT', 'base/access', { level: 'private' })).status, 200);
    const answer = await fetch(`${server.url}/api/v1/inference/image`, {
      method: 'POST',
      headers: { 'Content-Type': 'image/jpeg' },
      body: readFileSync(sharedPath('images/bus.jpg')),
    });
    assert.equal(answer.status, 200);
    assert.equal((await fetch(`${server.url}/v2/models/base`)).status, 200);
    const { items } = await (await fetch(`${server.url}/api/v1/models`)).json();
    assert.deepEqual(items.map(({ name }) => name), ['base']);
  });

  it('are refused when they are none', async () => {
    const wrong = [
      ['PUT', 'base/access', { level: 'Public' }],
      ['PUT', 'base/access', {}],
      ['PUT', 'base/access', { level: 'public', more: 1 }],
      ['POST', 'base/grants', {}],
      ['POST', 'base/grants', { user_id: USER, key_id: 'abcdefghij' }],
      ['POST', 'base/grants', { user_id: "x' OR '1'='1" }],
      ['POST', 'base/grants', { key_id: '../../..//' }],
      ['POST', 'base/grants', { user_id: USER, expires_in_s: 0 }],
      ['POST', 'base/grants', { user_id: USER, expires_in_s: 1e12 }],
      ['POST', 'base/grants', { user_id: USER, expires_in_s: '9' }],
      ['PUT', 'a%20b/access', { level: 'public' }],
    ];
    for (const [method, path, value] of wrong) {
      const answer = await ask(method, path, value);
      assert.equal(answer.status, 422, `${method} ${path} ${JSON.stringify(value)}`);
    }
    assert.equal((await ask('PUT', 'base/access', '[1]')).status, 400);
    assert.equal((await ask('PUT', 'base/access', '{')).status, 400);
    assert.equal((await ask('GET', 'base/access')).value.level, 'private');
  });
});
