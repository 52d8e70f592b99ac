// A real server of its own for a test file: the binary, on a free port, with its log kept.
//
// NEXUS_BIN names the binary; without it, build/release/nexus.

import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export const binary =
  process.env.NEXUS_BIN ?? here('../../../build/release/nexus');
export const shared = process.env.NEXUS_SHARED ?? here('../../../../shared');

const START_MS = 60_000; // a sanitized binary takes a while to load a model
const STOP_MS = 30_000;

/** Path of a file in the shared data folder. */
export function sharedPath(relative) {
  return `${shared}/${relative}`;
}

/** What node:test's skip option wants: false, or why the tests can't run. Loud, since it matters. */
export function skipWithoutShared() {
  if (existsSync(sharedPath('DATA.md'))) {
    return false;
  }
  const reason = `no shared data at ${shared} (set NEXUS_SHARED)`;
  console.error(`SKIPPED: ${reason}`);
  return reason;
}

/**
 * Starts `nexus serve --port 0` with more arguments and environment, and waits until it listens. No
 * predictions are kept unless env says so: who sends a picture twice here wants the model to run twice.
 * stop() ends it with SIGTERM (or the signal given) and resolves to its exit code. inside: a program and its
 * arguments that execute what follows them, as small_disk.mjs has them.
 */
export async function startServer({ args = [], env = {}, inside = [] } = {}) {
  const [program, ...all] = [...inside, binary, 'serve', '--port', '0', ...args];
  const child = spawn(program, all, {
    env: { ...process.env, LOG_FORMAT: 'json', CACHE_TTL_PREDICTIONS: '0', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  const exited = new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve(code ?? signal));
  });
  const url = await new Promise((resolve, reject) => {
    const fail = (why) => {
      clearTimeout(timer);
      reject(new Error(`${why}\n${log}`));
    };
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      fail(`no server within ${START_MS} ms`);
    }, START_MS);
    const listen = (chunk) => {
      log += chunk;
      const match = /listening on (http:\/\/[^\s"]+:\d+)/.exec(log);
      if (match) {
        clearTimeout(timer);
        resolve(match[1]);
      }
    };
    child.stdout.setEncoding('utf8').on('data', listen);
    child.stderr.setEncoding('utf8').on('data', listen);
    child.once('error', (error) => fail(`cannot start ${binary}: ${error.message}`));
    child.once('exit', (code, signal) => fail(`${binary} ended with ${code ?? signal}`));
  });
  async function stop(signal = 'SIGTERM') {
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    const code = await exited;
    clearTimeout(timer);
    return code;
  }
  return { url, port: Number(new URL(url).port), pid: child.pid, stop, exited, logs: () => log };
}

/** Resident bytes of a process. */
export function rss(pid) {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(kilobytes) * 1024;
}

/** Resident bytes of a process once it gives nothing back any more. */
export async function settledRss(pid) {
  const quietMs = 5000; // the memory of Runs goes 3 s after the last one
  let least = Infinity;
  let since = Date.now();
  await eventually(() => {
    const now = rss(pid);
    if (now < least) {
      [least, since] = [now, Date.now()];
    }
    return Date.now() - since > quietMs;
  }, 'memory settles', 60_000);
  return least;
}

/** The pids of a process's children that run. */
export function children(parent) {
  return readdirSync('/proc').filter((pid) => {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [, state, its] = /^\d+ \(.*\) (\S) (\d+)/s.exec(stat);
      return state !== 'Z' && Number(its) === parent;
    } catch {
      return false; // it is no process, or no more
    }
  }).map(Number);
}

/** Open descriptors of a process. */
export function fdCount(pid) {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** The value of a metric without labels, or of the series whose name and labels are given. */
export async function metric(url, series) {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((l) => l.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

/** Asks again and again until it is true; for what becomes true by itself but tells nobody. */
export async function eventually(condition, what, milliseconds = 10_000) {
  const end = Date.now() + milliseconds;
  while (!(await condition())) {
    if (Date.now() > end) {
      throw new Error(`not within ${milliseconds} ms: ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
