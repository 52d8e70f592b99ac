// The audit log: what a server's requests leave in it, and nexus audit, which reads and checks it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { addKey, setUp } from './lib/accounts.mjs';
import { nexus } from './lib/cli.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { sharedPath, skipWithoutShared, startServer } from './lib/server.mjs';

const skip = skipWithoutShared();
const env = { DATABASE_URL: '', OBJECTS_URL: '' };
const NONE = '01890000-0000-7000-8000-000000000000';

describe('the audit log', { skip }, () => {
  let server;
  let data;
  let keyId;
  let who; // headers of an admin's key
  let admin; // who signed in
  const cars = readFileSync(sharedPath('videos/car-detection.mp4'));
  const audit = (...args) => nexus(['audit', ...args, '--data-dir', data.path, '--log-level', 'error'], { env });
  async function rows(...args) {
    const run = await audit('list', '--format', 'json', ...args);
    assert.equal(run.code, 0, run.stderr);
    return run.stdout.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }
  const ask = (path, method = 'POST', headers = {}) => fetch(server.url + path, { method, headers: { ...who, ...headers } });

  before(async () => {
    data = makeDataDir({ 'yolov8n.onnx': 'models/yolov8n.onnx' });
    server = await startServer({
      args: ['--data-dir', data.path],
      env: { ...env, RUN_JOBS: 'false', TRUSTED_PROXIES: '127.0.0.1' },
    });
    admin = await setUp(server);
    const key = await addKey(server, admin, ['read', 'videos', 'models', 'metrics']);
    who = key.headers;
    keyId = key.id;
  });
  after(async () => {
    assert.equal(await server?.stop(), 0);
    data?.remove();
  });

  it('has what was done before it is answered, and what failed', async () => {
    const made = await fetch(`${server.url}/api/v1/videos`, {
      method: 'POST',
      headers: { ...who, 'Content-Type': 'video/mp4' },
      body: cars,
    });
    const { id } = await made.json();
    const headers = { 'X-Request-Id': 'audit-1', 'X-Forwarded-For': '10.9.9.9, 192.0.2.7' };
    assert.equal((await ask(`/api/v1/videos/${id}`, 'DELETE', headers)).status, 204);
    const [removed] = await rows('--action', 'video.remove');
    assert.deepEqual(
      { ...removed, seq: 0, at: '', hash: '' },
      {
        seq: 0,
        at: '',
        actor_kind: 'key',
        actor: 'ann',
        actor_key: keyId,
        address: '192.0.2.7',
        action: 'video.remove',
        object: `video:${id}`,
        result: 'ok',
        details: '{}',
        request_id: 'audit-1',
        hash: '',
      },
    );
    assert.equal((await ask(`/api/v1/jobs/${NONE}/retry`)).status, 404);
    const [retried] = await rows('--action', 'job.');
    assert.equal(retried.object, `job:${NONE}`);
    assert.equal(retried.result, 'failed');
    assert.deepEqual(JSON.parse(retried.details), { error: 'not_found' });
    assert.equal((await ask('/api/v1/models/yolov8n/load')).status, 200);
    assert.equal((await rows('--action', 'model.load')).at(-1).object, 'model:yolov8n');
    const metrics = await (await ask('/metrics', 'GET')).text();
    assert.match(metrics, /audit_rows_total\{outcome="written"\} [1-9]/);
    assert.match(metrics, /audit_rows_waiting 0/);
  });

  it('is listed, filtered and exported', async () => {
    const all = await rows();
    assert.equal(all[0].action, 'server.start');
    assert.deepEqual(all.map((row) => row.seq), all.map((_, i) => i + 1));
    assert.equal((await rows('--since', '1h')).length, all.length);
    assert.equal((await rows('--until', '2020-01-01')).length, 0);
    assert.equal((await rows('--since', all[2].at, '--until', '2999-01-01T00:00:00Z')).length >= all.length - 2, true);
    assert.equal((await rows('--actor', 'nobody')).length, 0);
    const csv = (await audit('list', '--format', 'csv')).stdout.split('\r\n');
    assert.equal(csv[0], 'seq,at,actor_kind,actor,actor_key,address,action,object,result,details,request_id,hash');
    assert.equal(csv.length, all.length + 2);
    assert.ok(csv.at(-2).endsWith(all.at(-1).hash));
    const table = (await audit('list')).stdout;
    assert.match(table, /192\.0\.2\.7 +video\.remove +ok +video:/);
    const wrong = await audit('list', '--since', 'yesterday');
    assert.equal(wrong.code, 2);
    assert.match(wrong.stderr, /--since: 'yesterday' is no time/);
  });

  it('is read and exported over HTTP, by admins alone', async () => {
    const get = (query, headers = admin.headers) => fetch(`${server.url}/api/v1/audit${query}`, { headers });
    assert.equal((await get('', who)).status, 403);
    const all = await rows('--until', new Date().toISOString());
    const until = `until=${new Date(Date.parse(all.at(-1).at) + 1).toISOString()}`;
    const found = [];
    for (let cursor = ''; cursor !== null;) {
      const page = await (await get(`?${until}&limit=3${cursor}`)).json();
      assert.ok(page.items.length <= 3);
      found.push(...page.items);
      cursor = page.next_cursor === null ? null : `&cursor=${page.next_cursor}`;
    }
    const fitting = await rows('--until', until.slice(6));
    assert.deepEqual(found.reverse(), fitting);
    const lines = await get(`?${until}&format=ndjson`);
    assert.equal(lines.headers.get('content-type'), 'application/x-ndjson');
    assert.deepEqual((await lines.text()).trim().split('\n').map((line) => JSON.parse(line)), fitting);
    const csv = await get(`?${until}&format=csv`);
    assert.match(csv.headers.get('content-type'), /^text\/csv/);
    assert.equal(await csv.text(), (await audit('list', '--format', 'csv', '--until', until.slice(6))).stdout);
    const some = await (await get(`?action=video.remove&actor=${admin.me.name}`)).json();
    assert.deepEqual(some.items.map((row) => row.action), ['video.remove']);
    for (const wrong of ['?limit=0', '?limit=x', '?cursor=-1', '?format=xml', '?since=never', '?what=1', '?since']) {
      assert.equal((await get(wrong)).status, 422, wrong);
    }
  });

  it('verifies, also by what docs/audit.md says', async () => {
    const all = await rows();
    const verified = await audit('verify');
    assert.equal(verified.code, 0, verified.stderr);
    assert.equal(verified.stdout, `${all.length} rows, intact\n`);
    const doc = readFileSync(new URL('../../docs/audit.md', import.meta.url), 'utf8');
    const script = /```python\n([\s\S]*?)```/.exec(doc)[1];
    const text = (await audit('list', '--format', 'json')).stdout;
    assert.equal(execFileSync('python3', ['-c', script], { input: text }).toString(), 'intact\n');
    assert.equal(execFileSync('python3', ['-c', script], { input: text.replace('server.start', 'server.stop') }).toString(), 'broken\n');
  });

  it('tells the first row that does not fit, and a log that was cut', async () => {
    const head = (await audit('head')).stdout.trim();
    const count = Number(head.split(':')[0]);
    const sql = (...statements) =>
      execFileSync('python3', ['-c', 'import sqlite3, sys\n'
        + 'db = sqlite3.connect(sys.argv[1], timeout=20)\n'
        + 'db.create_function("nx_now", 0, lambda: 0)\n'
        + 'for text in sys.argv[2:]: db.execute(text)\n'
        + 'db.commit()', `${data.path}/nexus.db`, ...statements], { stdio: 'pipe' });
    assert.throws(() => sql("UPDATE audit_log SET actor = 'eve' WHERE seq = 2"), /never changed/);
    sql('DROP TRIGGER audit_log_update', 'DROP TRIGGER audit_log_delete', 'DROP TRIGGER audit_head_update',
      "UPDATE audit_log SET actor = 'eve' WHERE seq = 2");
    const changed = await audit('verify');
    assert.equal(changed.code, 1);
    assert.match(changed.stderr, /row 2 is not what was written there/);
    const check = await nexus(['check', '--data-dir', data.path], { env });
    assert.match(check.stdout, /failed +audit log +row 2 is not what was written/);
    assert.equal(check.code, 3);
    sql("UPDATE audit_log SET actor = '' WHERE seq = 2");
    assert.equal((await audit('verify', '--head', head)).code, 0);
    sql(`DELETE FROM audit_log WHERE seq = ${count}`);
    assert.match((await audit('verify')).stderr, new RegExp(`row ${count} is missing`));
    sql(`UPDATE audit_head SET seq = ${count - 1}, hash = (SELECT hash FROM audit_log WHERE seq = ${count - 1})`);
    assert.equal((await audit('verify')).code, 0);
    assert.match((await audit('verify', '--head', head)).stderr, /it was cut/);
    assert.match((await audit('verify', '--head', 'x')).stderr, /--head is what 'nexus audit head' printed/);
  });
});
