// The real binary from the command line: run it, talk to it while it runs, read what it wrote.

import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { binary } from './server.mjs';

const LIMIT_MS = 60_000;

/** The caller's environment without settings of Nexus, but with the places of runtime and model. */
function plainEnvironment() {
  const settings = /^(NEXUS_(?!DATA_DIR$|ORT_LIBRARY$)|INFERENCE_|LOG_|LIMIT_|MAX_|RUN_JOBS$|CONCURRENCY$|PREFETCH_MULTIPLIER$|JOB_LEASE$|DATABASE_|DB_|OBJECTS_|UPLOAD_|S3_|AWS_|WEBHOOK_|HTTP_THREADS$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !settings.test(name)));
}

/**
 * Starts a program (nexus unless told otherwise). stdin and stdout may be descriptors or 'pipe'.
 * Returns {child, ended}; ended resolves to {code, signal, stdout, stderr}, and code is null when a
 * signal ended it. What hangs (for so many milliseconds) is killed and shows as SIGKILL.
 */
export function start(
  args,
  { program = binary, env = {}, cwd, stdin = 'ignore', stdout = 'pipe', milliseconds = LIMIT_MS } = {},
) {
  const child = spawn(program, args, {
    cwd,
    env: { ...plainEnvironment(), ...env },
    stdio: [stdin, stdout, 'pipe'],
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), milliseconds);
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) {
    child[name]?.setEncoding('utf8').on('data', (chunk) => {
      said[name] += chunk;
    });
  }
  child.stdin?.on('error', () => {}); // it may end without reading to the end
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, ...said });
    });
  });
  return { child, ended };
}

/** Runs nexus to its end, with input (bytes) on its standard input. */
export function nexus(args, { input, ...options } = {}) {
  const { child, ended } = start(args, {
    stdin: input === undefined ? 'ignore' : 'pipe',
    ...options,
  });
  if (input !== undefined) {
    child.stdin.end(input);
  }
  return ended;
}

/** Runs `nexus detect --format json`; results is what it printed, parsed. */
export async function detectJson(args, options) {
  const result = await nexus(['detect', '--format', 'json', ...args], options);
  return { ...result, results: JSON.parse(result.stdout) };
}

/** How many detections of each class: {person: 4, bus: 1}. */
export function counts(detections) {
  const result = {};
  for (const { class_name: name } of detections) {
    result[name] = (result[name] ?? 0) + 1;
  }
  return result;
}

/** It said why on standard error, and nothing on standard output. */
export function assertRefused({ code, stdout, stderr }, expectedCode, message) {
  assert.match(stderr, message);
  assert.equal(code, expectedCode, stderr);
  assert.equal(stdout, '');
}

/** Runs a line of bash; "$NEXUS" is the binary. */
export function bash(line, options = {}) {
  return start(['-c', line], {
    ...options,
    program: 'bash',
    env: { NEXUS: binary, ...options.env },
  }).ended;
}

/** What node:test's skip option wants: false, or why a test can't run without a program. */
export function skipWithout(program) {
  if (spawnSync('sh', ['-c', `command -v ${program}`]).status === 0) {
    return false;
  }
  console.error(`SKIPPED: there is no ${program}`);
  return `there is no ${program}`;
}

/** The same for the disk that is always full. */
export const skipWithoutFull = existsSync('/dev/full') ? false : 'there is no /dev/full';

/** A folder that is gone after the test t. */
export function scratch(t) {
  const folder = mkdtempSync(join(tmpdir(), 'nexus-cli-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Rows of CSV text as RFC 4180 section 2 has it, quoted line breaks included. */
export function parseCsv(text) {
  const rows = [];
  let row = [];
  let at = 0;
  while (at < text.length) {
    let field = '';
    if (text[at] === '"') {
      const end = /^"((?:[^"]|"")*)"(?=,|\r\n)/.exec(text.slice(at));
      if (end === null) {
        throw new Error(`a quoted field that does not end: ${text.slice(at, at + 60)}`);
      }
      field = end[1].replaceAll('""', '"');
      at += end[0].length;
    } else {
      field = /^[^,\r\n"]*/.exec(text.slice(at))[0];
      at += field.length;
    }
    row.push(field);
    if (text[at] === ',') {
      at += 1;
    } else if (text.startsWith('\r\n', at)) {
      rows.push(row);
      row = [];
      at += 2;
    } else {
      throw new Error(`neither comma nor line break: ${text.slice(at, at + 60)}`);
    }
  }
  return rows;
}
