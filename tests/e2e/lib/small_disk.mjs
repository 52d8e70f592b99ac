// A small file system of a test's own, which can be filled: a tmpfs in a mount namespace, so that nobody else sees it
// and it is gone with the test, however that ends.

import { spawn, spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const root = process.getuid() === 0;
const unshare = root ? ['unshare', '-m'] : ['unshare', '-Urm'];
const MOUNT = 'mount -t tmpfs -o mode=0777,size="$2" none "$1" && echo ready && exec cat';

/** What node:test's skip option wants: false, or why it can't be. Loud, since it matters. */
export function skipWithoutSmallDisk() {
  const [program, ...args] = [...unshare, 'sh', '-c', 'mount -t tmpfs -o size=64k none /mnt'];
  if (spawnSync(program, args).status === 0) {
    return false;
  }
  console.error('SKIPPED: no file system can be mounted here, not even in a namespace of its own');
  return 'no file system can be mounted here';
}

/** Whether a program can be another user in there: PostgreSQL must not be root. */
export const canBeOthers = root;

/** Starts what holds a mount; { seen, inside(), end() }. */
export async function hold(script, path, what) {
  const [program, ...args] = [...unshare, 'sh', '-c', script, 'sh', path, String(what)];
  const holder = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  let said = '';
  holder.stderr.setEncoding('utf8').on('data', (text) => { said += text; });
  const ended = new Promise((resolve) => holder.once('close', resolve));
  await new Promise((resolve, reject) => {
    holder.stdout.once('data', resolve);
    holder.once('close', () => reject(new Error(said.trim())));
  });
  const inside = ({ uid, gid } = {}) => ['nsenter', '-t', String(holder.pid), '-m',
    ...(root ? [] : ['-U', '--preserve-credentials']),
    ...(uid === undefined ? [] : ['-S', String(uid), '-G', String(gid)]), '--'];
  return {
    seen: `/proc/${holder.pid}/root${path}`,
    inside,
    async end() {
      holder.stdin.end();
      await ended;
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/**
 * A small one. path: where those see it who are started with inside() before them; seen: where this process sees the
 * same. fill(keep) writes until there are so many bytes left, free() takes that away again.
 */
export async function makeSmallDisk(bytes) {
  const path = mkdtempSync(join(tmpdir(), 'nexus-disk-'));
  const { seen, inside, end } = await hold(MOUNT, path, bytes);
  const filler = join(seen, 'filler');
  const left = () => {
    const { bavail, bsize } = statfsSync(seen);
    return bavail * bsize;
  };
  return {
    path,
    seen,
    left,
    inside,
    /** Whoever writes at the same time may find a little more or less. */
    fill(keep = 0) {
      const file = openSync(filler, 'a');
      const chunk = Buffer.alloc(4096);
      try {
        while (left() > keep) {
          writeSync(file, chunk);
        }
      } catch (error) {
        if (error.code !== 'ENOSPC') {
          throw error;
        }
      } finally {
        closeSync(file);
      }
    },
    free() {
      const file = openSync(filler, 'a');
      ftruncateSync(file, 0);
      closeSync(file);
    },
    remove: end,
  };
}
