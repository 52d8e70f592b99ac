// Models by level and by who asks: everybody, users, keys, grants that end and are taken back, and jobs
// that ask again when they start.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { addKey, addUser, ask, json, setUp, signIn } from './lib/accounts.mjs';
import { assertRefused, nexus, start } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { eventually, sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';
import { tinyModel, writeTinyModel } from './lib/tiny_model.mjs';

const FOLLOW_MS = 60_000;
const env = { DATABASE_URL: '', OBJECTS_URL: '', RUN_JOBS: 'false' };

describe('who may use a model', { skip: skipWithoutShared() }, () => {
  let data;
  let server;
  let admin;
  let olga;
  let oscar;
  let vera;
  let ids;
  const bus = skipWithoutShared() ? null : readFileSync(sharedPath('images/bus.jpg'));
  before(async () => {
    data = makeDataDir();
    for (const name of ['base', 'open', 'closed']) {
      writeTinyModel(join(data.path, `models/${name}.onnx`));
    }
    server = await startServer({
      args: ['--data-dir', data.path, '--model', 'base'],
      env,
    });
    admin = await setUp(server);
    ids = {
      olga: (await addUser(server, admin, 'olga', 'operator')).id,
      oscar: (await addUser(server, admin, 'oscar', 'operator')).id,
      vera: (await addUser(server, admin, 'vera', 'viewer')).id,
    };
    [olga, oscar, vera] = [await signIn(server, 'olga'), await signIn(server, 'oscar'),
      await signIn(server, 'vera')];
    const level = (name, value) =>
      ask(server, `/api/v1/models/${name}/access`, json('PUT', { level: value }, admin.headers));
    assert.equal((await level('open', 'public')).status, 200);
    assert.equal((await level('closed', 'private')).status, 200);
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  const detect = async (who, model) =>
    (await ask(server, `/api/v1/inference/image?model=${model}`, {
      method: 'POST',
      headers: { 'Content-Type': 'image/jpeg', ...who?.headers },
      body: bus,
    }));
  const status = async (who, model) => (await detect(who, model)).status;
  const kserve = async (who, model) =>
    (await ask(server, `/v2/models/${model}`, { headers: who?.headers })).status;
  const listed = async (who) =>
    (await ask(server, '/api/v1/models', { headers: who.headers })).value.items.map(({ name }) => name);
  const grant = (value) =>
    ask(server, '/api/v1/models/closed/grants', json('POST', value, admin.headers));
  const revoke = (id) => ask(server, `/api/v1/models/closed/grants/${id}`,
    { method: 'DELETE', headers: admin.headers });
  const becomes = (who, wanted) =>
    eventually(async () => (await status(who, 'closed')) === wanted, `${wanted}`, FOLLOW_MS);

  it('is said by its level', async () => {
    await eventually(async () => (await status(undefined, 'open')) === 200, 'everybody', FOLLOW_MS);
    const expected = [
      [undefined, { open: 200, base: 401, closed: 401, none: 401 }],
      [vera, { open: 200, base: 403, closed: 403, none: 403 }],
      [olga, { open: 200, base: 200, closed: 404, none: 404 }],
      [admin, { open: 200, base: 200, closed: 200, none: 404 }],
    ];
    for (const [who, models] of expected) {
      for (const [model, code] of Object.entries(models)) {
        assert.equal(await status(who, model), code, `${who?.me.user?.name} ${model}`);
      }
    }
    assert.deepEqual(await listed(olga), ['base', 'open']);
    assert.deepEqual(await listed(admin), ['base', 'closed', 'open']);
    const words = async (model) => (await detect(olga, model)).value.detail;
    assert.equal(await words('closed'), await words('none'), 'it looks as if it was not there');
    assert.equal(await kserve(olga, 'closed'), 404);
    assert.equal(await kserve(admin, 'closed'), 200);
    const hidden = await ask(server, '/api/v1/models/closed', { headers: olga.headers });
    assert.equal(hidden.status, 404);
  });

  it('is granted to a user or to a key, until it ends or is taken back', async () => {
    assert.equal((await grant({ user_id: ids.olga })).status, 200);
    await becomes(olga, 200);
    assert.equal(await status(oscar, 'closed'), 404);
    assert.deepEqual(await listed(olga), ['base', 'closed', 'open']);
    const key = await addKey(server, oscar, ['infer', 'read']);
    assert.equal((await grant({ key_id: key.id, expires_in_s: 3 })).status, 200);
    await becomes(key, 200);
    assert.equal(await status(oscar, 'closed'), 404, 'the key alone');
    await becomes(key, 404); // by itself
    assert.equal((await revoke(ids.olga)).status, 200);
    await becomes(olga, 404);
  });

  it('is granted by name, too', async () => {
    const given = await grant({ user: 'OLGA', expires_in_s: 3600 });
    assert.equal(given.status, 200);
    const [first] = given.value.grants.filter(({ user }) => user === 'olga');
    assert.deepEqual([first.user_id, first.key_id, first.granted_by], [ids.olga, null, 'ann']);
    await becomes(olga, 200);
    assert.equal((await revoke('Olga')).status, 200);
    await becomes(olga, 404);
    assert.equal((await revoke('olga')).status, 404, 'it is taken back already');
    for (const value of [{ user: 'nobody' }, { user: "' OR 1=1" }]) {
      const refused = await grant(value);
      assert.equal(refused.status, 404, JSON.stringify(value));
      assert.match(refused.value.detail, /there is no user/);
    }
    for (const value of [{ user: 'olga', user_id: ids.olga }, { user: '' }, { user: 7 }, {}]) {
      assert.ok([404, 422].includes((await grant(value)).status), JSON.stringify(value));
    }
    const { value: log } = await ask(server, '/api/v1/audit?action=model.', { headers: admin.headers });
    const rows = log.items.filter(({ object }) => object === 'model:closed')
      .map(({ action, result, details }) => [action, result, JSON.parse(details).user_id]);
    assert.deepEqual(rows.filter(([, result]) => result === 'ok').slice(0, 2),
      [['model.revoke', 'ok', ids.olga], ['model.grant', 'ok', ids.olga]]);
    assert.deepEqual(rows[0], ['model.grant', 'failed', undefined]);
  });

  it('is said from the command line', async () => {
    const run = (...args) => nexus(['models', 'access', ...args, '--data-dir', data.path], { env });
    const ok = async (...args) => {
      const { code, stdout, stderr } = await run(...args);
      assert.equal(code, 0, stderr);
      return stdout;
    };
    assert.match(await ok('base'), /^base is authenticated: for whoever is signed in or has a key\.\n$/);
    await ok('base', 'private', '--grant', 'Olga', '--days', '30');
    const code = async (who) => (await detect(who, 'base')).status;
    await eventually(async () => (await code(oscar)) === 404, 'it is private', FOLLOW_MS);
    assert.equal(await code(olga), 200);
    const key = await addKey(server, oscar, ['infer']);
    const shown = await ok('base', '--grant-key', key.id, '--grant', ids.vera);
    assert.match(shown, /\nolga +user +20\d\d-\S+Z +20\d\d-\S+Z  command line\n/);
    assert.match(shown, new RegExp(`\n${key.id} +key +never `));
    await eventually(async () => (await code(key)) === 200, 'the key may', FOLLOW_MS);
    const rules = JSON.parse(await ok('base', '--revoke', 'OLGA', '--revoke', 'vera', '--format', 'json'));
    assert.deepEqual([rules.model, rules.level, rules.grants.length], ['base', 'private', 1]);
    assert.deepEqual([rules.grants[0].key_id, rules.grants[0].user, rules.grants[0].expires], [key.id, null, null]);
    await eventually(async () => (await code(olga)) === 404, 'hers is taken back', FOLLOW_MS);
    await ok('base', 'authenticated', '--revoke-key', key.id);
    await eventually(async () => (await code(olga)) === 200, 'as before', FOLLOW_MS);

    for (const [args, exit, why] of [
      [['base', 'secret'], 2, /'secret' is no level; use public, authenticated or private/],
      [['../base', 'public'], 2, /name/],
      [['base', '--days', '3'], 2, /--days says when --grant/],
      [['base', '--grant', 'olga', '--days', '0'], 2, /--days/],
      [['base', '--grant-key', 'x'], 2, /no ID of an API key/],
      [['base', 'private', '--grant', 'olga', '--grant', 'nobody'], 3, /there is no user 'nobody'/],
      [['base', '--revoke', 'olga'], 3, /has no grant for the user/],
      [['missing'], 3, /there is no model 'missing'/],
    ]) {
      assertRefused(await run(...args), exit, why);
    }
    assert.match(await ok('base'), /^base is authenticated/, 'what was refused changed nothing');
    const early = await run('later', 'private');
    assert.deepEqual([early.code, early.stdout], [0, 'later is private: for admins, and whoever has a grant.\n']);
    assert.match(early.stderr, /no model 'later' in this data folder \(yet\)/);
    const { value: log } = await ask(server, '/api/v1/audit?action=model.&limit=100', { headers: admin.headers });
    const rows = log.items.filter(({ actor_kind: kind }) => kind === 'command').reverse();
    const told = ({ action, object, result, details }) => [action, object, result, JSON.parse(details)];
    assert.deepEqual(rows.slice(0, 2).map(told), [
      ['model.grant', 'model:base', 'ok', { user_id: ids.olga }],
      ['model.access', 'model:base', 'ok', { level: 'private' }],
    ]);
    assert.ok(rows.some(({ action, result }) => action === 'model.revoke' && result === 'failed'));
  });

  it('is asked again when a job starts', async () => {
    const put = await ask(server, '/api/v1/videos?name=cars.mp4', {
      method: 'POST',
      headers: { 'Content-Type': 'video/mp4', ...olga.headers },
      body: readFileSync(sharedPath('videos/car-detection.mp4')),
    });
    assert.equal(put.status, 201);
    const submit = (model, who = olga) => ask(server, '/api/v1/videos/process',
      json('POST', { video_id: put.value.id, model, stride: 50, outputs: ['csv'] }, who.headers));
    assert.equal((await submit('closed')).status, 404);
    await grant({ user_id: ids.olga });
    await becomes(olga, 200);
    const lost = await submit('closed');
    const kept = await submit('base');
    const adam = await addUser(server, admin, 'adam', 'admin');
    const demoted = await submit('closed', await signIn(server, 'adam'));
    const boss = await submit('closed', admin);
    assert.deepEqual([lost, kept, demoted, boss].map((job) => job.status), [202, 202, 202, 202]);
    const lower = json('PATCH', { role: 'operator' }, admin.headers);
    assert.equal((await ask(server, `/api/v1/users/${adam.id}`, lower)).status, 200);
    await revoke(ids.olga);
    await becomes(olga, 404);
    const worker = start(['worker', '--data-dir', data.path, '--model', 'base'],
      { env, milliseconds: FOLLOW_MS });
    const ended = async ({ value: { id } }) => {
      const shown = async () =>
        (await ask(server, `/api/v1/jobs/${id}`, { headers: olga.headers })).value;
      await eventually(async () => (await shown()).finished_at !== null, 'it ends', FOLLOW_MS);
      return shown();
    };
    for (const job of [lost, demoted]) {
      const failed = await ended(job);
      assert.equal(failed.state, 'failed');
      assert.match(failed.error, /whoever submitted the job may not use closed any more/);
    }
    for (const job of [kept, boss]) {
      assert.equal((await ended(job)).state, 'succeeded');
    }
    worker.child.kill('SIGTERM');
    assert.equal((await worker.ended).code, 0);
  });

  it('keeps its name, and tells no more of itself', async () => {
    const upload = (who, name) => ask(server, `/api/v1/models?name=${name}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/octet-stream', ...who.headers },
      body: tinyModel(['a', 'b']),
    });
    const reserved = await ask(server, '/api/v1/models/none-yet/access',
      json('PUT', { level: 'private' }, admin.headers));
    assert.equal(reserved.status, 200);
    await eventually(async () => (await upload(oscar, 'none-yet')).status === 409, 'it is reserved', FOLLOW_MS);
    const told = async (name) => {
      const { status: code, value } = await upload(oscar, name);
      return [code, value.detail.replace(name, '*'), value.advice];
    };
    assert.deepEqual(await told('closed'), await told('none-yet'));
    assert.equal((await told('closed'))[0], 409);
    const mine = await upload(oscar, 'oscars');
    assert.equal(mine.status, 201, JSON.stringify(mine.value));
    await eventually(async () => {
      const { value } = await ask(server, '/api/v1/models/oscars', { headers: admin.headers });
      return value.versions[0].added_by === 'oscar';
    }, 'who added it is shown', FOLLOW_MS);
    const { value: base } = await ask(server, '/api/v1/models/base', { headers: admin.headers });
    assert.equal(base.versions[0].added_by, null, "the host's own");
  });

  it('is for admins alone to say', async () => {
    for (const who of [olga, vera]) {
      const answer = await ask(server, '/api/v1/models/open/access', { headers: who.headers });
      assert.equal(answer.status, 403);
    }
  });
});
