// `nexus users` and `nexus keys` on a database, without a server: SQLite and PostgreSQL.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { assertRefused, nexus, scratch, skipWithout } from './lib/cli.mjs';
import { skipWithoutPostgres, startPostgres } from './lib/postgres.mjs';
import { binary } from './lib/server.mjs';

const PASSWORD = 'correct horse battery';
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

/** Commands on a database of the test's own. */
function accounts(folder, env = {}) {
  const run = (args, options = {}) => nexus(args, {
    ...options,
    env: { NEXUS_DATA_DIR: folder, LOG_LEVEL: 'warning', ...env, ...options.env },
  });
  return {
    run,
    async ok(args, options) {
      const { code, stdout, stderr } = await run(args, options);
      assert.equal(code, 0, stderr);
      return stdout;
    },
    async json(args) {
      return JSON.parse(await this.ok([...args, '--format', 'json']));
    },
    add(name, role) {
      return this.ok(['users', 'add', name, '--role', role], { input: `${PASSWORD}\n` });
    },
  };
}

/** What holds on either database. */
async function usersAndKeys(nx) {
  assert.equal(await nx.ok(['users', 'list']), '');
  assert.deepEqual(await nx.json(['users', 'list']), []);
  assertRefused(await nx.run(['users', 'add', 'bob'], { input: PASSWORD }), 3, /first user must be an admin/);
  const link = await nx.ok(['users', 'setup-link']);
  assert.match(link, /^http:\/\/127\.0\.0\.1:8000\/setup#nxi_[\w-]{43}\n$/);
  assert.equal(await nx.add('Ann', 'admin'), 'Ann can sign in, as admin.\n');
  await nx.add('bob', 'operator');
  assertRefused(await nx.run(['users', 'setup-link']), 3, /there are users already/);
  assertRefused(await nx.run(['users', 'add', 'ANN'], { input: PASSWORD }), 3, /there is a user 'ANN' already/);

  const [ann, bob] = await nx.json(['users', 'list']);
  assert.deepEqual([ann.name, ann.role, ann.disabled, ann.last_login], ['Ann', 'admin', false, null]);
  assert.match(ann.created, TIME);
  assert.equal(bob.role, 'operator');
  assert.match(await nx.ok(['users', 'list']), /^NAME .*LAST LOGIN\nAnn +admin +active .*\nbob +operator +active .*\n$/);

  assert.equal(await nx.ok(['users', 'role', 'BOB', 'viewer']), 'BOB is a viewer.\n');
  for (const args of [['remove', 'ann'], ['disable', 'ann'], ['role', 'ann', 'operator']]) {
    assertRefused(await nx.run(['users', ...args]), 3, /last active admin/);
  }
  assert.equal(await nx.ok(['users', 'disable', 'bob']), 'bob is disabled.\n');
  assert.equal((await nx.json(['users', 'list']))[1].disabled, true);
  await nx.ok(['users', 'enable', bob.id]);
  assert.match(await nx.ok(['users', 'passwd', 'bob'], { input: `${PASSWORD}!\n` }), /^bob has a new password/);

  const key = await nx.ok(['keys', 'add', 'camera', '--user', 'ann', '--scopes', 'read,infer']);
  assert.match(key, /^nxk_[0-9a-z]{10}_[\w-]{43}\n$/);
  const made = await nx.json(['keys', 'add', 'Tür 7', '--user', 'bob', '--scopes', 'read', '--days', '1']);
  assert.equal(made.key.slice(4, 14), made.id);
  assert.equal(Date.parse(made.expires) - Date.parse(made.created), 86_400_000);
  const keys = await nx.json(['keys', 'list']);
  assert.deepEqual(keys.map(({ name }) => name).sort(), ['Tür 7', 'camera']);
  const camera = keys.find(({ name }) => name === 'camera');
  assert.deepEqual([camera.user, camera.scopes, camera.state, camera.id, camera.key],
    ['Ann', ['read', 'infer'], 'good', key.slice(4, 14), undefined]);
  assert.match(await nx.ok(['keys', 'list', '--user', 'bob']), /^ID .*NAME\n\w{10} +bob +good .* read +Tür 7\n$/);
  const { code, stdout, stderr } = await nx.run(['keys', 'revoke', camera.id, 'nosuchkey0']);
  assert.deepEqual([code, stdout], [1, `${camera.id} is revoked.\n`]);
  assert.match(stderr, /there is no API key 'nosuchkey0'/);
  assert.equal((await nx.json(['keys', 'list', '--user', 'ann']))[0].state, 'revoked');

  assert.equal(await nx.ok(['users', 'remove', 'bob']), 'bob is removed.\n');
  assert.deepEqual(await nx.json(['keys', 'list', '--user', 'ann']), await nx.json(['keys', 'list']));
  assertRefused(await nx.run(['keys', 'list', '--user', 'bob']), 3, /there is no user 'bob'/);
  await inTheAuditLog(nx, made.id, camera.id);
}

/** What usersAndKeys did, by whom, in the order in which it did it; no secret. */
async function inTheAuditLog(nx, made, camera) {
  const text = await nx.ok(['audit', 'list', '--format', 'json']);
  const rows = text.trim().split('\n').map((line) => JSON.parse(line));
  const who = userInfo().username;
  assert.deepEqual(rows.map((row) => [row.actor_kind, row.actor]), rows.map(() => ['command', who]));
  assert.deepEqual(rows.map(({ action, object, result, details }) => `${action} ${object} ${result} ${details}`), [
    'user.add user:bob failed {"error":"conflict"}',
    'auth.setup_link  ok {}',
    'user.add user:Ann ok {"role":"admin"}',
    'user.add user:bob ok {"role":"operator"}',
    'auth.setup_link  failed {"error":"conflict"}',
    'user.add user:ANN failed {"error":"conflict"}',
    'user.change user:BOB ok {"role":"viewer"}',
    'user.remove user:ann failed {"error":"conflict"}',
    'user.change user:ann failed {"error":"conflict"}',
    'user.change user:ann failed {"error":"conflict"}',
    'user.change user:bob ok {"disabled":true}',
    `user.change user:${rows[11].object.slice(5)} ok {"disabled":false}`,
    'user.change user:bob ok {"change":"password"}',
    `key.add key:${rows[13].object.slice(4)} ok {}`,
    `key.add key:${made} ok {}`,
    `key.revoke key:${camera} ok {}`,
    'key.revoke key:nosuchkey0 failed {"error":"not_found"}',
    'user.remove user:bob ok {}',
  ]);
  assert.match(await nx.ok(['audit', 'verify']), /^18 rows, intact\n$/);
  assert.doesNotMatch(text, /correct horse/);
}

describe('accounts from the command line', () => {
  it('manages users and keys in SQLite, which keeps no secret', async (t) => {
    const folder = scratch(t);
    const nx = accounts(folder);
    await usersAndKeys(nx);
    const key = (await nx.ok(['keys', 'add', 'k', '--user', 'ann', '--scopes', 'read'])).trim();
    for (const name of ['nexus.db', 'nexus.db-wal']) {
      let bytes = Buffer.alloc(0);
      try {
        bytes = readFileSync(join(folder, name));
      } catch (error) {
        assert.equal(error.code, 'ENOENT'); // the last to close it takes the log away
      }
      assert.equal(bytes.includes(PASSWORD), false);
      assert.equal(bytes.includes(key.slice(15)), false);
    }
  });

  it('takes passwords from files and standard input, and none from nowhere', async (t) => {
    const folder = scratch(t);
    const nx = accounts(folder);
    const file = join(folder, 'secret');
    writeFileSync(file, `${PASSWORD}\r\nanother line\n`);
    await nx.ok(['users', 'add', 'ann', '--role', 'admin', '--password-file', file]);
    await nx.ok(['users', 'passwd', 'ann', '--password-file', '-'], { input: 'without its end' });
    const add = (args, options) => nx.run(['users', 'add', 'bob', ...args], options);
    assertRefused(await add([]), 2, /there is no password in standard input/);
    assertRefused(await add([], { input: '\n' }), 2, /8 to 1024 bytes; this one has 0/);
    assertRefused(await add([], { input: 'short\n' }), 2, /this one has 5/);
    assertRefused(await add([], { input: `${'x'.repeat(5000)}\n` }), 2, /8 to 1024 bytes/);
    assertRefused(await add(['--password-file', join(folder, 'none')]), 3, /cannot open .*none/);
    assertRefused(await add(['--password-file', folder]), 3, /cannot read the password/);
    assert.equal((await nx.json(['users', 'list'])).length, 1);
  });

  it('says what is wrong', async (t) => {
    const nx = accounts(scratch(t));
    await nx.add('ann', 'admin');
    const cases = [
      [['users', 'add', 'a b'], 2, /'a b' is no name for a user/],
      [['users', 'add', 'x'.repeat(65)], 2, /1 to 64 characters, not 65/],
      [['users', 'add', 'bob', '--role', 'root'], 2, /--role is 'root'; use one of viewer\|operator\|admin/],
      [['users', 'role', 'ann', 'root'], 2, /there is no role 'root'/],
      [['users', 'role', 'ann'], 2, /viewer\|operator\|admin is missing/],
      [['users', 'passwd', 'bob'], 3, /there is no user 'bob'/],
      [['users', 'remove', "x'; DROP TABLE users; --"], 3, /there is no user/],
      [['keys', 'add', 'k'], 2, /--user ann --scopes read,infer/],
      [['keys', 'add', 'k', '--user', 'ann', '--scopes', 'read,modles'], 2, /did you mean 'models'\?/],
      [['keys', 'add', 'k', '--user', 'bob', '--scopes', 'read'], 3, /there is no user 'bob'/],
      [['keys', 'add', 'k', '--user', 'ann', '--scopes', 'read', '--days', '0'], 2, /--days is '0'/],
      [['keys', 'add', 'a\nb', '--user', 'ann', '--scopes', 'read'], 2, /without control characters/],
      [['keys', 'revoke', '%'], 3, /'%' is no id of an API key/],
      [['keys', 'lst'], 2, /did you mean 'list'\?/],
    ];
    for (const [args, code, message] of cases) {
      assertRefused(await nx.run(args, { input: PASSWORD }), code, message);
    }
    assert.equal((await nx.json(['users', 'list'])).length, 1);
  });

  it('asks on a terminal, unseen and twice', { skip: skipWithout('python3') }, async (t) => {
    const nx = accounts(scratch(t));
    const folder = scratch(t);
    // a terminal of its own for nexus; each line is sent when its prompt has come
    const script = `
import os, pty, sys
lines = sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], ['nexus', 'users', 'add', 'ann', '--role', 'admin'])
seen = b''
sent = 0
while True:
    try:
        got = os.read(fd, 1000)
    except OSError:
        break
    if not got:
        break
    seen += got
    if sent < len(lines) and seen.count(b': ') > sent:
        os.write(fd, lines[sent].encode())
        sent += 1
status = os.waitpid(pid, 0)[1]
sys.stdout.buffer.write(seen)
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
`;
    const type = (...lines) => new Promise((resolve, reject) => {
      const child = spawn('python3', ['-c', script, binary, ...lines], {
        env: { ...process.env, NEXUS_DATA_DIR: folder, LOG_LEVEL: 'warning', DATABASE_URL: '' },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      let shown = '';
      child.stdout.setEncoding('utf8').on('data', (text) => { shown += text; });
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, shown }));
    });
    let answer = await type(`${PASSWORD}\n`, 'something else\n');
    assert.match(answer.shown, /the two passwords are not the same/);
    assert.equal(answer.code, 2);
    answer = await type('short\n');
    assert.match(answer.shown, /this one has 5/);
    answer = await type('\x03'); // Ctrl+C
    assert.equal(answer.code, 128 + 2);
    answer = await type(`${PASSWORD}\n`, `${PASSWORD}\n`);
    assert.equal(answer.code, 0, answer.shown);
    assert.match(answer.shown, /^Password: \r\nThe same again: \r\nann can sign in, as admin\.\r\n$/);
    assert.equal((await accounts(folder).json(['users', 'list']))[0].name, 'ann');
    assert.deepEqual(await nx.json(['users', 'list']), []);
  });
});

describe('accounts on PostgreSQL', { skip: skipWithoutPostgres() }, () => {
  let postgres;
  before(async () => { postgres = await startPostgres(); });
  after(() => postgres?.remove());

  it('manages users and keys', async (t) => {
    await usersAndKeys(accounts(scratch(t), { DATABASE_URL: postgres.url }));
  });
});
