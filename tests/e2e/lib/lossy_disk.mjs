// A disk of a test's own that loses what nobody waited for, as disks do when the power goes: an ext4 on a loop device,
// which is told to forget what it has not written yet (EXT4_IOC_SHUTDOWN), in a mount namespace as in small_disk.mjs.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './server.mjs';
import { hold } from './small_disk.mjs';

const MiB = 1 << 20;
const OPTIONS = 'loop,commit=300'; // nothing gets onto the disk by itself while a test lasts
const MOUNT = `mount -o ${OPTIONS} "$2" "$1" && chmod 0777 "$1" && echo ready && exec cat`;
const AGAIN = `umount "$1" && mount -o ${OPTIONS} "$2" "$1"`;
/* _IOR('X', 125, __u32) with EXT4_GOING_FLAGS_NOLOGFLUSH, which fs/ext4/ext4.h has */
const SHUT_DOWN = 'import fcntl, os, struct, sys; '
  + "fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";

/** A file system of so many bytes in a file, beside the folder where it is to be mounted. */
function makeImage(bytes) {
  const path = mkdtempSync(join(tmpdir(), 'nexus-lossy-'));
  const image = `${path}.img`;
  writeFileSync(image, '');
  truncateSync(image, bytes);
  execFileSync('mkfs.ext4', ['-q', '-F', image], { stdio: ['ignore', 'ignore', 'pipe'] });
  return { path, image };
}

/** What node:test's skip option wants: false, or why it can't be. Loud, since it matters. */
export function skipWithoutLossyDisk() {
  let why = 'only root can mount a disk that loses what it holds';
  if (process.getuid() === 0) {
    let made;
    try {
      made = makeImage(8 * MiB);
      const tried = spawnSync('unshare', ['-m', 'sh', '-c', MOUNT, 'sh', made.path, made.image], { input: '' });
      if (tried.status === 0) {
        return false;
      }
      why = `no disk can be mounted here: ${tried.stderr}`.trim();
    } catch (error) {
      why = `no disk can be made here: ${error.message}`;
    } finally {
      rmSync(made?.path ?? '', { recursive: true, force: true });
      rmSync(made?.image ?? '', { force: true });
    }
  }
  console.error(`SKIPPED: ${why}`);
  return why;
}

/**
 * One of so many bytes. path: where those see it who are started with inside() before them; seen: where this process sees
 * the same. cut() takes away what is not on the disk; whoever used it must have gone.
 */
export async function makeLossyDisk(bytes) {
  const { path, image } = makeImage(bytes);
  const { seen, inside, end } = await hold(MOUNT, path, image);
  const canary = join(seen, 'canary');
  return {
    path,
    seen,
    inside,
    keep: () => execFileSync('sync', ['-f', seen]),
    async cut() {
      writeFileSync(canary, 'nobody waits for this');
      execFileSync('python3', ['-c', SHUT_DOWN, seen]);
      const [program, ...args] = inside();
      let tried;
      await eventually(() => {
        tried = spawnSync(program, [...args, 'sh', '-c', AGAIN, 'sh', path, image], { encoding: 'utf8' });
        return !/busy/.test(tried.stderr); // what was killed may not be gone altogether
      }, 'nobody has the disk', 60_000);
      assert.equal(tried.status, 0, tried.stderr);
      assert.ok(!existsSync(canary), 'the disk lost what nobody waited for');
    },
    async remove() {
      await end();
      rmSync(image, { force: true });
    },
  };
}
