// What happens on the machine stays there: no run leaves files behind that nobody asked for. ONNX
// Runtime from npm would keep a database of its use in the user's cache folder and report from it.

import assert from 'node:assert/strict';
import { mkdtempSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { spawnSync } from 'node:child_process';
import { binary } from './lib/server.mjs';

const dataDir =
  process.env.NEXUS_DATA_DIR ??
  join(process.env.XDG_DATA_HOME ?? join(homedir(), '.local/share'), 'nexus');

test('a run leaves nothing in the home, cache and temporary folders', (t) => {
  const root = mkdtempSync(join(tmpdir(), 'nexus-private-'));
  t.after(() => rmSync(root, { recursive: true }));
  const folder = (name) => {
    mkdirSync(join(root, name));
    return join(root, name);
  };
  const run = spawnSync(binary, ['detect', join(dataDir, 'samples/dog.jpg'), '--format', 'json'], {
    cwd: folder('cwd'),
    encoding: 'utf8',
    env: {
      ...process.env,
      HOME: folder('home'),
      XDG_CACHE_HOME: folder('cache'),
      TMPDIR: folder('tmp'),
      NEXUS_DATA_DIR: dataDir,
      ORT_DISABLE_TELEMETRY: '0', // whoever starts it can't switch it on either
    },
  });
  assert.equal(run.status, 0, run.stderr);
  assert.match(run.stdout, /"class_name": ?"dog"/);
  assert.deepEqual(readdirSync(root, { recursive: true }).sort(), ['cache', 'cwd', 'home', 'tmp']);
});
