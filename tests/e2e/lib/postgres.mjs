// A PostgreSQL of the test's own: it listens on a socket in its folder alone, and is killed and
// started again as the test likes. It has the settings of deploy/postgres/postgresql.conf.

import { execFileSync, spawn } from 'node:child_process';
import {
  chownSync, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from './server.mjs';

const START_MS = 60_000;
const TUNING = fileURLToPath(new URL('../../../deploy/postgres/postgresql.conf', import.meta.url));

/** Where Debian puts the programs; undefined: there are none. */
function findPrograms() {
  const home = '/usr/lib/postgresql';
  const versions = existsSync(home) ? readdirSync(home).sort() : [];
  return [...versions.map((version) => join(home, version, 'bin')), '/usr/bin']
    .filter((folder) => existsSync(join(folder, 'postgres')))
    .at(-1);
}
const programs = findPrograms();

/** What node:test's skip option wants. */
export function skipWithoutPostgres() {
  if (programs !== undefined) {
    return false;
  }
  console.error('SKIPPED: there is no PostgreSQL');
  return 'there is no PostgreSQL';
}

/** The server refuses to be root. */
function otherUser() {
  if (process.getuid() !== 0) {
    return {};
  }
  const users = readFileSync('/etc/passwd', 'utf8').split('\n').map((line) => line.split(':'));
  const [, , uid, gid] = ['postgres', 'nobody']
    .map((wanted) => users.find(([name]) => name === wanted))
    .find((user) => user !== undefined);
  return { uid: Number(uid), gid: Number(gid) };
}

/** { url, kill(), start(), query(sql), session(), remove() } */
export async function startPostgres() {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-postgres-'));
  const user = otherUser();
  if (user.uid !== undefined) {
    chownSync(folder, user.uid, user.gid);
  }
  const data = join(folder, 'data');
  execFileSync(join(programs, 'initdb'),
    ['-D', data, '-N', '-A', 'trust', '-U', 'nexus', '-E', 'UTF8', '--locale=C'],
    { cwd: '/', stdio: 'ignore', ...user });
  // a copy, for the tree may be closed to that user
  const config = join(folder, 'nexus.conf');
  writeFileSync(config, readFileSync(TUNING));
  const url = `postgres://nexus@/postgres?host=${folder}`;
  let server;
  let log = '';

  /** As a process of its own; resolves to whether it became ready. */
  async function tryStart() {
    const child = spawn(join(programs, 'postgres'),
      ['-D', data, '-k', folder, '-h', '', '-F', '-c', `config_file=${config}`],
      { cwd: '/', stdio: ['ignore', 'ignore', 'pipe'], ...user });
    const ended = new Promise((resolve) => { child.once('close', resolve); });
    child.stderr.setEncoding('utf8').on('data', (chunk) => { log += chunk; });
    server = { child, ended };
    const file = join(data, 'postmaster.pid');
    await eventually(() => {
      const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [];
      return child.exitCode !== null || (Number(lines[0]) === child.pid && /^ready/.test(lines[7]));
    }, 'PostgreSQL starts', START_MS);
    return child.exitCode === null;
  }
  /** After a kill it refuses to start until the last process of the one before has gone. */
  async function start() {
    const until = Date.now() + START_MS;
    while (!(await tryStart())) {
      if (Date.now() > until || !/is still in use/.test(log)) {
        throw new Error(`PostgreSQL does not start\n${log}`);
      }
    }
  }
  async function kill(signal = 'SIGKILL') {
    server.child.kill(signal);
    await server.ended;
  }
  const psql = ['-X', '-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1', '-d', url];
  await start();
  return {
    url,
    start,
    kill,
    pid: () => server.child.pid,
    query: (sql) => execFileSync(join(programs, 'psql'), [...psql, '-c', sql]).toString().trim(),
    /** A psql that runs what is written to its standard input. */
    session: () => spawn(join(programs, 'psql'), psql, { stdio: ['pipe', 'pipe', 'ignore'] }),
    async remove() {
      await kill('SIGQUIT');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
