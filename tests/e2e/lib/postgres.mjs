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

/** A file's bytes; undefined: it is not there, or no more. */
export function readIfThere(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error.code === 'ENOENT') {
      return undefined;
    }
    throw error;
  }
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

/**
 * { url, kill(), start(), query(sql), session(), remove() }. disk: one of small_disk.mjs's for its data. durable: it waits
 * for the disk, which only matters to whoever takes the disk away. env: what its environment has besides.
 */
export async function startPostgres({ disk, durable = false, env = {} } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-postgres-'));
  const user = otherUser();
  if (user.uid !== undefined) {
    chownSync(folder, user.uid, user.gid);
  }
  const data = join(disk?.path ?? folder, 'data');
  const inside = disk?.inside(user) ?? [];
  const who = disk === undefined ? user : {}; // who is inside is that user
  const command = (name, ...args) => [...inside, join(programs, name), ...args];
  const [make, ...making] = command('initdb', '-D', data, '-N', '-A', 'trust', '-U', 'nexus', '-E', 'UTF8', '--locale=C');
  execFileSync(make, making, { cwd: '/', stdio: 'ignore', ...who });
  // a copy, for the tree may be closed to that user
  const config = join(folder, 'nexus.conf');
  writeFileSync(config, readFileSync(TUNING));
  const url = `postgres://nexus@/postgres?host=${folder}`;
  let server;
  let log = '';

  /** As a process of its own; resolves to whether it became ready. */
  async function tryStart() {
    const [program, ...args] = command('postgres', '-D', data, '-k', folder, '-h', '',
      ...(durable ? [] : ['-F']), '-c', `config_file=${config}`);
    const child = spawn(program, args,
      { cwd: '/', env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'], ...who });
    const ended = new Promise((resolve) => { child.once('close', resolve); });
    child.stderr.setEncoding('utf8').on('data', (chunk) => { log += chunk; });
    server = { child, ended };
    const file = join(disk?.seen ?? folder, 'data/postmaster.pid');
    await eventually(() => {
      const lines = (readIfThere(file) ?? '').toString().split('\n'); // that of one before may be there, and go
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
    ended: () => server.ended,
    query: (sql) => execFileSync(join(programs, 'psql'), [...psql, '-c', sql]).toString().trim(),
    /** A psql that runs what is written to its standard input. */
    session: () => spawn(join(programs, 'psql'), psql, { stdio: ['pipe', 'pipe', 'ignore'] }),
    async remove() {
      await kill('SIGQUIT');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
