// How long a session lives, over HTTP and with two servers on one database: as long as it is used
// within the hour, at either, and no longer than thirty days. Time passes by moving the row's times.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { addUser, ask, cookieOf, json, PASSWORD, session, setUp } from './lib/accounts.mjs';
import { makeDataDir } from './lib/data_dir.mjs';
import { eventually, skipWithoutShared, startServer } from './lib/server.mjs';
import { writeTinyModel } from './lib/tiny_model.mjs';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const LONG_MS = 60_000; // what takes a second; a machine that is busy may take its time

// argv: database, hash, column, milliseconds; what is added to the column, and the row's age since
const script = `
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], timeout=20)
with db:
    db.execute('UPDATE sessions SET ' + sys.argv[3] + ' = ' + sys.argv[3] + ' - ? WHERE hash = ?', (int(sys.argv[4]), sys.argv[2]))
row = db.execute('SELECT ' + sys.argv[3] + ' FROM sessions WHERE hash = ?', (sys.argv[2],)).fetchone()
print(-1 if row is None else int(time.time() * 1000) - row[0])
`;

describe('a session', { skip: skipWithoutShared() }, () => {
  let data;
  let a;
  let b;

  before(async () => {
    data = makeDataDir();
    writeTinyModel(join(data.path, 'models/base.onnx'));
    const options = {
      args: ['--data-dir', data.path, '--model', 'base'],
      env: { RUN_JOBS: 'false', DATABASE_URL: '', OBJECTS_URL: '', REDIS_URL: '', TRUSTED_PROXIES: '127.0.0.1' },
    };
    a = await startServer(options);
    const admin = await setUp(a);
    await addUser(a, admin, 'vic', 'viewer');
    b = await startServer(options);
  });
  after(async () => {
    assert.equal(await a?.stop(), 0);
    assert.equal(await b?.stop(), 0);
    data?.remove();
  });

  /** Signs in at the first server: {headers, maxAge, age(column), older(column, ms)}. */
  async function begin() {
    const answer = await ask(a, '/api/v1/auth/login', json('POST', { name: 'vic', password: PASSWORD }));
    assert.equal(answer.status, 200, JSON.stringify(answer.value));
    const { token, cookie } = session(answer);
    const hash = createHash('sha256').update(token).digest('hex');
    const older = (column, ms) =>
      Number(execFileSync('python3', ['-c', script, join(data.path, 'nexus.db'), hash, column, String(ms)]));
    return { cookie, maxAge: Number(cookieOf(answer)['Max-Age']), older, age: (column) => older(column, 0) };
  }
  const status = async (server, { cookie }) => (await ask(server, '/api/v1/models', { headers: cookie })).status;
  const ends = (server, own) =>
    eventually(async () => (await status(server, own)) === 401, 'it is over', LONG_MS);

  it('goes on as long as it is used, whichever server sees it', async () => {
    const own = await begin();
    assert.equal(own.maxAge, (30 * DAY) / 1000); // the browser keeps it: the server knows when it is over
    for (const server of [b, a, b]) { // 150 minutes in all, never an hour without a use
      assert.ok(own.older('seen_at', 50 * MINUTE) >= 50 * MINUTE, 'it is there');
      await eventually(async () => {
        assert.equal(await status(server, own), 200);
        return own.age('seen_at') < 10 * MINUTE;
      }, 'its use is noted', LONG_MS); // a server asks the database again within a second
    }
    assert.equal(await status(a, own), 200);
  });

  it('ends an hour after its last use, everywhere, and the cookie is taken back', async () => {
    const [unused, used] = [await begin(), await begin()];
    assert.equal(await status(b, unused), 200);
    unused.older('seen_at', HOUR);
    await ends(a, unused);
    await ends(b, unused);
    const me = await ask(b, '/api/v1/auth/me', { headers: unused.cookie });
    assert.equal(me.value.kind, 'anonymous');
    assert.deepEqual([cookieOf(me).value, cookieOf(me)['Max-Age']], ['', '0']);
    assert.equal(await status(a, used), 200, 'the other one goes on');
  });

  it('ends after thirty days, however much it is used', async () => {
    const own = await begin();
    own.older('created_at', 29 * DAY);
    assert.equal(await status(b, own), 200);
    own.older('created_at', DAY);
    await ends(b, own);
    await ends(a, own);
  });
});
