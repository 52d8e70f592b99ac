// A wall clock of a test's own, which jumps while processes run that have it: libfaketime, which answers what they ask of
// the clock. What measures durations (CLOCK_MONOTONIC) goes on as ever, as it does when somebody sets a clock.

import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { binary } from './server.mjs';

/** Where Debian puts it; undefined: it is not there. */
const library = readdirSync('/usr/lib', { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => join('/usr/lib', name, 'faketime/libfaketimeMT.so.1'))
  .find(existsSync);

/** { env: for those who have this clock, ahead(seconds): how far it is ahead of the machine's from now on, remove() } */
export function makeClock() {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-clock-'));
  const file = join(folder, 'ahead');
  const clock = {
    env: {
      LD_PRELOAD: library,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_FORCE_MONOTONIC_FIX: '0',
    },
    ahead(seconds) {
      writeFileSync(`${file}.new`, `${seconds < 0 ? '' : '+'}${seconds}\n`);
      chmodSync(`${file}.new`, 0o644); // others have to read it, too
      renameSync(`${file}.new`, file); // nobody finds it empty
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
  chmodSync(folder, 0o755);
  clock.ahead(0);
  return clock;
}

/** What node:test's skip option wants: false, or why it can't be. Loud, since it matters. */
export function skipWithoutFaketime() {
  let why = 'there is no libfaketime (scripts/bootstrap test)';
  if (library !== undefined) {
    const clock = makeClock();
    const { status, stderr } = spawnSync(binary, ['--version'], { env: { ...process.env, ...clock.env }, encoding: 'utf8' });
    clock.remove();
    if (status === 0) {
      return false;
    }
    why = `this binary does not start with libfaketime: ${stderr}`; // AddressSanitizer wants to be first
  }
  console.error(`SKIPPED: ${why}`);
  return why;
}
